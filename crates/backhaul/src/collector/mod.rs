//! The collector: what unmodified Weave clients log to.
//!
//! It answers all that `weave.init` asks and all that clients write, both at `/` and below
//! `/traces`, where a client looks that is told of `WANDB_BASE_URL` alone. A write is answered
//! with 200 when it is on stable storage, and not before; delivering it is the business of
//! others. What `weave.init` asks is asked of the real server for a moment, and answered
//! without it where that does not help; what clients read is answered by who has it.

mod answers;
mod asked;
mod calls;
mod costs;
mod feedback;
mod fields;
mod files;
mod graphql;
mod ids;
mod known;
mod lines;
mod objects;
mod reads;
mod refs;
mod routes;
mod service_info;
mod spans;
mod storing;
mod tables;
mod upstream;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use backhaul_weave::{OfflineTraceServer, Reads, Remote};

use self::known::Known;
pub(crate) use self::routes::router;
use self::upstream::Upstream;
use crate::hub::token::Token;
use crate::intake::{Intake, MostBytes, Pace};

/// A request of 64 MiB with what stands around it, which is twice what hosted Weave takes. In
/// flight: one of the largest that is compressed, and another.
const MOST_BYTES: MostBytes =
    MostBytes { received: 66 << 20, decompressed: 66 << 20, in_flight: 200 << 20 };

/// What a collector is made of.
pub(crate) struct Options {
    /// Where everything goes.
    pub(crate) server: OfflineTraceServer,
    /// What is asked where this one does not know, and whose key clients bring.
    pub(crate) remote: Option<Remote>,
    /// What clients have to show as their key. None: any key will do.
    pub(crate) token: Option<Token>,
    pub(crate) pace: Pace,
    /// The entity of who names none: `WANDB_ENTITY`.
    pub(crate) entity: Option<String>,
    /// Whether nothing may be asked of the real server at this moment.
    pub(crate) is_outage: Box<dyn Fn() -> bool + Send + Sync>,
}

/// Takes what Weave clients log. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(crate) struct WeaveCollector {
    inner: Arc<Inner>,
}

struct Inner {
    server: OfflineTraceServer,
    reads: Reads,
    upstream: Upstream,
    known: Known,
    token: Option<Token>,
    intake: Intake,
}

impl WeaveCollector {
    /// May read a file.
    pub(crate) fn new(options: Options) -> Self {
        let Options { server, remote, token, pace, entity, is_outage } = options;
        let known = Known::read(&server, entity);
        let upstream = Upstream::new(remote, is_outage);
        let intake = Intake::new(MOST_BYTES, pace);
        let reads = Reads::of_server(&server);
        Self { inner: Arc::new(Inner { server, reads, upstream, known, token, intake }) }
    }

    fn server(&self) -> &OfflineTraceServer {
        &self.inner.server
    }

    fn reads(&self) -> &Reads {
        &self.inner.reads
    }

    fn upstream(&self) -> &Upstream {
        &self.inner.upstream
    }

    fn known(&self) -> &Known {
        &self.inner.known
    }

    fn intake(&self) -> &Intake {
        &self.inner.intake
    }
}
