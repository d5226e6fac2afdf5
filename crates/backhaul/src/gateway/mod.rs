//! The gateway: one address that the programs of a device send to. What comes is stored
//! here, acknowledged, and delivered when the link allows.
//!
//! `backhaul serve` is a gateway until it is told to stop, `backhaul run` one around a child
//! process.

mod intake;
mod plan;
mod runs;
mod waiting;
mod weave;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::time::Instant;

use self::intake::RunsIntake;
pub(crate) use self::plan::{Plan, WORKER_THREADS, allow_files};
pub(crate) use self::waiting::Waiting;
use self::weave::Weave;
use crate::config::Config;
use crate::hub::{self, server};
use crate::intake::Requests;

/// Whether a process that serves from the same data dir is in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beside {
    /// Yes: this one is to be the one that does.
    Nobody,
    /// No: the run records that come here go to that one, until it is gone.
    Others,
}

/// A gateway that is open.
pub(crate) struct Gateway {
    runs: RunsIntake,
    weave: Weave,
    requests: Arc<Requests>,
    limits: hub::Limits,
}

impl Gateway {
    /// Listens as planned, so that senders of a gateway that restarts wait in the listener's
    /// queue, and are not turned away, while it opens.
    ///
    /// # Errors
    /// Where the address is not to be had.
    pub(crate) async fn listen(address: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}"))?;
        let address = listener.local_addr().context("the listener has no address")?;
        Ok((listener, address))
    }

    /// Opens everything that a plan names, and begins to deliver.
    ///
    /// # Errors
    /// Where something of it cannot be opened, and with [`Beside::Nobody`] where another
    /// process serves from the data dir.
    pub(crate) async fn open(plan: Plan, config: &Config, beside: Beside) -> anyhow::Result<Self> {
        let limits = plan.limits;
        let requests = Requests::new(limits.request_timeout);
        let weave = Weave::open(plan.clone(), config.clone()).await?;
        let runs = RunsIntake::open(plan, config.clone(), Arc::clone(&requests), beside).await?;
        Ok(Self { runs, weave, requests, limits })
    }

    /// Serves until `shutdown` is ready; returns how many connections were broken off then.
    pub(crate) async fn serve(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> usize {
        let router = self.weave.router().merge(self.runs.router());
        server::serve(listener, self.requests.bound(router), self.limits, shutdown).await
    }

    /// Takes over what of the settings can change while it runs.
    ///
    /// # Errors
    /// Where they make no sense.
    pub(crate) fn reload(&self, config: &Config) -> anyhow::Result<()> {
        self.runs.reload(config)
    }

    /// Delivers what waits, until then, and says what still does.
    pub(crate) async fn drain(&self, until: Instant) -> Waiting {
        let (runs, weave) = tokio::join!(self.runs.drain(until), self.weave.drain(until));
        runs.and(weave)
    }

    /// Ends everything but what is under way. To be called when nothing is served any more.
    pub(crate) async fn stop(&self) {
        tokio::join!(self.runs.stop(), self.weave.stop());
    }
}
