//! The gateway: one address that the programs of a device send to. What comes is stored
//! here, acknowledged, and delivered when the link allows.
//!
//! `backhaul serve` is a gateway until it is told to stop, `backhaul run` one around a child
//! process.

mod intake;
mod memory;
mod models;
mod open_files;
mod plan;
mod runs;
mod waiting;
mod weave;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use backhaul_store::Spool;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::intake::RunsIntake;
use self::models::ModelsPart;
pub(crate) use self::open_files::OpenFiles;
pub(crate) use self::plan::{Plan, WORKER_THREADS};
use self::runs::Others;
pub(crate) use self::waiting::Waiting;
use self::weave::Weave;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::hub::{self, server};
use crate::intake::Requests;
use crate::metrics::Measured;

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
    models: ModelsPart,
    requests: Arc<Requests>,
    limits: hub::Limits,
    giving_back: JoinHandle<()>,
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
        let (of_weave, data_dir) = (weave.clone(), DataDir::of(config)?);
        let measure = Arc::new(move |measured: &mut Measured| {
            of_weave.measure(measured);
            measure_resting(&data_dir, measured);
        });
        // The models' part keeps its calls with the runs, and so is opened after them.
        let of_models: Arc<OnceLock<ModelsPart>> = Arc::default();
        let models = {
            let of_models = Arc::clone(&of_models);
            Arc::new(move || of_models.get().map_or_else(Vec::new, ModelsPart::report))
        };
        let others = Others { measure, models };
        let of_runs = Arc::clone(&requests);
        let runs = RunsIntake::open(plan.clone(), config.clone(), of_runs, others, beside).await?;
        let models = ModelsPart::open(plan, config.clone(), runs.router()).await?;
        let models = of_models.get_or_init(|| models).clone();
        let giving_back = memory::give_back_now_and_then();
        Ok(Self { runs, weave, models, requests, limits, giving_back })
    }

    /// Serves until `shutdown` is ready; returns how many connections were broken off then.
    pub(crate) async fn serve(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> usize {
        let router = self.weave.router().merge(self.runs.router()).merge(self.models.router());
        let shutdown = async {
            shutdown.await;
            self.models.close();
        };
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
        self.giving_back.abort();
        // What it keeps of the last calls goes to the runs.
        self.models.stop().await;
        tokio::join!(self.runs.stop(), self.weave.stop());
    }
}

/// Adds the spools that this process has not open, as their files tell.
fn measure_resting(data_dir: &DataDir, measured: &mut Measured) {
    for (name, path) in data_dir.present() {
        if measured.spools.contains_key(&name) {
            continue;
        }
        match Spool::open_read_only(&path).and_then(|spool| spool.status()) {
            Ok(status) => drop(measured.spools.insert(name, status)),
            Err(error) => tracing::debug!(name, %error, "a spool is not measured"),
        }
    }
}
