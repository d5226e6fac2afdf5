//! What the process that serves a data dir does when it is asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use backhaul_store::Spool;
use backhaul_sync::SyncManager;

use super::keeper::Keeper;
use super::message::Overview;
use crate::data_dir::RUNS;
use crate::hub::Service;
use crate::metrics::{self, Page};
use crate::offline::OutageSwitch;
use crate::report::{CourierReport, SpoolReport};

/// Everything that a request may be about.
pub(crate) struct Desk {
    pub(crate) service: Arc<Service>,
    pub(crate) keeper: Keeper,
    pub(crate) forwarding: Option<Forwarding>,
    pub(crate) outage: Arc<OutageSwitch>,
}

/// The courier, and where it delivers to.
#[derive(Clone)]
pub(crate) struct Forwarding {
    pub(crate) courier: SyncManager,
    /// Without credentials.
    pub(crate) url: String,
}

impl Forwarding {
    fn report(&self) -> CourierReport {
        CourierReport::new(&self.url, self.courier.status())
    }

    pub(crate) fn measure(&self, page: &mut Page) {
        let status = self.courier.status();
        metrics::courier(page, RUNS, &status);
        if let Some(budget) = &status.bandwidth {
            metrics::budget(page, budget);
        }
    }
}

impl Desk {
    /// The spool of this name, if this process has it open.
    pub(crate) fn keeper(&self, name: &str) -> Option<&Keeper> {
        (name == RUNS).then_some(&self.keeper)
    }

    pub(crate) fn spool(&self) -> &Spool {
        self.keeper.spool()
    }

    /// Has the courier look for what may be sent now.
    pub(crate) fn wake_courier(&self) {
        if let Some(Forwarding { courier, .. }) = self.forwarding.clone() {
            tokio::spawn(async move { courier.sync_now().await });
        }
    }

    pub(crate) fn overview(&self) -> backhaul_store::Result<Overview> {
        let mut report = SpoolReport::new(&self.spool().status()?);
        report.courier = self.forwarding.as_ref().map(Forwarding::report);
        report.forwards = Some(report.courier.is_some());
        Ok(Overview {
            process: std::process::id(),
            outage: self.outage.report(),
            spools: BTreeMap::from([(RUNS.to_owned(), report)]),
        })
    }

    /// All that is measured, in the text format of Prometheus.
    pub(crate) fn metrics(&self) -> backhaul_store::Result<String> {
        self.service.metrics()
    }
}
