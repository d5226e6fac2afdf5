//! What the process that a spool belongs to does when it is asked.

use std::sync::Arc;

use axum::Router;
use backhaul_runtime::tool_queue::ToolQueue;
use backhaul_store::Spool;
use backhaul_sync::SyncManager;

use super::keeper::Keeper;
use super::message::Overview;
use super::socket::Socket;
use crate::config::{OFFLINE, TOOLS};
use crate::hub_address;
use crate::metrics::{Measured, Page};
use crate::model_report::ModelReport;
use crate::offline::OutageSwitch;
use crate::report::{CourierReport, SpoolReport};

/// Everything that a request may be about.
pub(crate) struct Desk {
    pub(crate) keeper: Keeper,
    pub(crate) forwarding: Option<Forwarding>,
    pub(crate) outage: Arc<OutageSwitch>,
    pub(crate) metrics: Measure,
    /// How the models stand that are asked through this process.
    pub(crate) models: Box<dyn Fn() -> Vec<ModelReport> + Send + Sync>,
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
            let (Forwarding { courier, .. }, outage) = &measured;
            let mut measured = Measured { outage: outage.report(), ..Measured::default() };
            measured.spools.insert(spool.clone(), courier.spool().status()?);
            measured.add_courier(&spool, courier);
            let mut page = Page::default();
            measured.write(&mut page);
            Ok(page.text())
        };
        Self {
            keeper: Keeper::new(forwarding.courier.spool().clone()),
            forwarding: Some(forwarding),
            outage,
            metrics: Box::new(metrics),
            models: Box::new(Vec::new),
            intake: None,
            is_shared: true,
        }
    }

    /// Of an agent that does calls of tools.
    pub(crate) fn of_tools(queue: &ToolQueue, outage: Arc<OutageSwitch>) -> Self {
        let (spool, switch) = (queue.spool().clone(), Arc::clone(&outage));
        let metrics = move || {
            let mut measured = Measured { outage: switch.report(), ..Measured::default() };
            measured.spools.insert(TOOLS.to_owned(), spool.status()?);
            let mut page = Page::default();
            measured.write(&mut page);
            Ok(page.text())
        };
        Self {
            keeper: Keeper::of_tools(queue.clone()),
            forwarding: None,
            outage,
            metrics: Box::new(metrics),
            models: Box::new(Vec::new),
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
        let (process, outage) = (std::process::id(), self.outage.report());
        Ok(Overview { process, outage, spool, models: (self.models)() })
    }
}
