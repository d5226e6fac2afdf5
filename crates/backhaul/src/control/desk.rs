//! What the process that a spool belongs to does when it is asked.

use std::sync::Arc;

use axum::Router;
use backhaul_store::Spool;
use backhaul_sync::SyncManager;

use super::keeper::Keeper;
use super::message::Overview;
use super::socket::Socket;
use crate::config::OFFLINE;
use crate::hub_address;
use crate::metrics::{self, Page};
use crate::offline::OutageSwitch;
use crate::report::{CourierReport, SpoolReport};

/// Everything that a request may be about.
pub(crate) struct Desk {
    pub(crate) keeper: Keeper,
    pub(crate) forwarding: Option<Forwarding>,
    pub(crate) outage: Arc<OutageSwitch>,
    pub(crate) metrics: Measure,
    /// What others reach over TCP, for a gateway that passes requests on to this process.
    pub(crate) intake: Option<Router>,
    /// Whether others may deliver from the spool too: then it belongs to the one that does.
    pub(crate) is_shared: bool,
}

/// Gives all that is measured, in the text format of Prometheus.
pub(crate) type Measure = Box<dyn Fn() -> backhaul_store::Result<String> + Send + Sync>;

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

    /// Adds what is measured of the courier of a spool to a page of metrics.
    pub(crate) fn measure(&self, spool: &str, page: &mut Page) {
        let status = self.courier.status();
        metrics::courier(page, spool, &status);
        if let Some(budget) = &status.bandwidth {
            metrics::budget(page, budget);
        }
    }
}

impl Desk {
    /// Of an agent that delivers from its own queue.
    pub(crate) fn of_agent(courier: SyncManager, url: &str, outage: Arc<OutageSwitch>) -> Self {
        Self::of_courier(OFFLINE.to_owned(), courier, url, outage)
    }

    /// Of a spool that others may deliver from too.
    pub(crate) fn of_courier(
        spool: String,
        courier: SyncManager,
        url: &str,
        outage: Arc<OutageSwitch>,
    ) -> Self {
        let forwarding = Forwarding { courier, url: hub_address::shown(url) };
        let measured = (forwarding.clone(), Arc::clone(&outage));
        let metrics = move || {
            let (forwarding, outage) = &measured;
            let mut page = Page::default();
            metrics::spool(&mut page, &spool, &forwarding.courier.spool().status()?);
            forwarding.measure(&spool, &mut page);
            metrics::outage(&mut page, outage.report().as_ref());
            Ok(page.text())
        };
        Self {
            keeper: Keeper::new(forwarding.courier.spool().clone()),
            forwarding: Some(forwarding),
            outage,
            metrics: Box::new(metrics),
            intake: None,
            is_shared: true,
        }
    }

    pub(crate) fn spool(&self) -> &Spool {
        self.keeper.spool()
    }

    /// Whether the spool belongs to this process now.
    pub(crate) fn is_in_charge(&self) -> bool {
        !self.is_shared || self.spool().is_delivering()
    }

    /// The socket of the spool. `Ok(None)`: it is another process's.
    ///
    /// # Errors
    /// As for [`Socket::bind`].
    pub(crate) fn bind(&self) -> anyhow::Result<Option<Socket>> {
        if self.is_in_charge() { Socket::bind(self.spool().dir()) } else { Ok(None) }
    }

    /// Has the courier look for what may be sent now.
    pub(crate) fn wake_courier(&self) {
        if let Some(Forwarding { courier, .. }) = self.forwarding.clone() {
            tokio::spawn(async move { courier.sync_now().await });
        }
    }

    pub(crate) fn overview(&self) -> backhaul_store::Result<Overview> {
        let mut spool = SpoolReport::new(&self.spool().status()?);
        spool.courier = self.forwarding.as_ref().map(Forwarding::report);
        spool.forwards = Some(spool.courier.is_some());
        Ok(Overview { process: std::process::id(), outage: self.outage.report(), spool })
    }
}
