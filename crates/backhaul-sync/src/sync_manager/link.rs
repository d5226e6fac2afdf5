//! What a courier knows of the link from a monitor, and what it makes of it.

use backhaul_store::Batch;
use tokio::sync::watch;
use tokio::time::Instant;

use super::drain::bytes_of;
use super::shared::Shared;
use crate::connectivity::{Connectivity, ConnectivityMonitor, ConnectivityStatus};
use crate::destination::{Destination, Verdict};
use crate::link_error::{LinkError, LinkErrorKind};
use crate::report::{Blocked, BlockedKind};
use crate::way::Way;

/// What there is to hear of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkNews {
    /// What the monitor makes of it.
    State(Connectivity),
    /// The machine's network is another: an interface, an address or a route.
    Network,
}

/// The monitor that a courier watches, and keeps.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    monitor: ConnectivityMonitor,
    state: watch::Receiver<Connectivity>,
    network: watch::Receiver<u64>,
}

impl Link {
    pub(super) fn new(monitor: &ConnectivityMonitor) -> Self {
        Self {
            state: monitor.subscribe(),
            network: monitor.network_changes(),
            monitor: monitor.clone(),
        }
    }

    pub(super) fn monitor(&self) -> &ConnectivityMonitor {
        &self.monitor
    }

    pub(super) fn status(&self) -> ConnectivityStatus {
        self.monitor.status()
    }

    /// Why nothing is to be tried, where that is so.
    pub(super) fn offline(&self) -> Option<String> {
        if *self.state.borrow() != Connectivity::Offline {
            return None;
        }
        self.monitor.why_offline()
    }

    /// Tells the monitor whether a request was answered.
    pub(super) fn report(&self, is_answered: bool) {
        let evidence = self.monitor.evidence();
        if is_answered {
            evidence.report_success();
        } else {
            evidence.report_failure();
        }
    }

    /// Waits for another state than the last one that was waited for, or for a change of the
    /// machine's network.
    pub(super) async fn changed(&mut self) -> LinkNews {
        let news = tokio::select! {
            biased;
            changed = self.state.changed() => {
                changed.map(|()| LinkNews::State(*self.state.borrow_and_update()))
            }
            changed = self.network.changed() => changed.map(|()| LinkNews::Network),
        };
        match news {
            Ok(news) => news,
            // The monitor is gone: what it said last stays.
            Err(_) => std::future::pending().await,
        }
    }

    /// Waits for the end of a link under a request to a destination: the monitor says that
    /// it is gone, or there is another way or none.
    pub(super) async fn lost(mut self, destination: &dyn Destination) -> LinkError {
        let way = destination.way();
        loop {
            match self.changed().await {
                LinkNews::State(_) if self.offline().is_some() => {
                    return LinkError::unreachable("the link went away during the request");
                }
                LinkNews::Network if destination.way() != way => {
                    return LinkError::unreachable("the network changed during the request");
                }
                LinkNews::State(_) | LinkNews::Network => {}
            }
        }
    }
}

impl Shared {
    /// Whoever watches the link says that it is up.
    pub(crate) fn link_is_up(&self) {
        let mut state = self.lock();
        if state.is_asked() || state.background.is_none() {
            return;
        }
        let (now, chance) = (self.spool.clock().now().since_boot, state.chance());
        if state.outage.is_long(now) {
            state.pace.begin_small();
        }
        let wait = state.outage.link_is_up(now, chance);
        let at = Instant::now() + wait;
        state.asked = Some(at).filter(|_| !wait.is_zero());
        state.next_attempt = Some(at);
        state.failures = 0;
        drop(state);
        self.ended.notify_one();
    }

    pub(super) fn hear(&self, news: LinkNews) {
        match news {
            LinkNews::State(Connectivity::Offline) => self.link_is_down(),
            LinkNews::Network if !self.has_another_way() => {}
            LinkNews::State(state) => {
                self.link_is_up();
                if state.is_online() {
                    self.lock().outage.link_is_proven(self.spool.clock().now().since_boot);
                }
            }
            LinkNews::Network => self.link_is_up(),
        }
    }

    /// Whether there is a way, and nothing was tried on it yet since nothing gets through.
    fn has_another_way(&self) -> bool {
        let way = self.destination.way().filter(Way::leads_there);
        let state = self.lock();
        state.failures > 0 && way.is_some() && way != state.lost_way
    }

    /// Whoever watches the link says that it is down.
    fn link_is_down(&self) {
        self.destination.forget_connections();
        self.lock().outage.link_fails(self.spool.clock().now().since_boot);
    }

    /// Offers a batch, and breaks it off where the link goes meanwhile.
    pub(super) async fn deliver(&self, batch: &Batch) -> Result<Vec<Verdict>, LinkError> {
        let now = self.spool.clock().now().wall;
        let (before, begun, link) = {
            let mut state = self.lock();
            let before = state.last_attempt_at.replace(now);
            (before, state.answered_at.take().unwrap_or_else(Instant::now), state.link.clone())
        };
        let lost = async {
            match link {
                Some(link) => link.lost(&*self.destination).await,
                None => std::future::pending().await,
            }
        };
        let answer = tokio::select! {
            biased;
            answer = self.destination.deliver(batch) => answer,
            error = lost => Err(error),
        };
        match &answer {
            Ok(_) => {
                let mut state = self.lock();
                state.pace.took(bytes_of(batch), begun.elapsed());
                state.answered_at = Some(Instant::now());
            }
            Err(error) if error.kind() == LinkErrorKind::OverBudget => {
                // Nothing was sent.
                self.lock().last_attempt_at = before;
                return answer;
            }
            Err(_) => {}
        }
        self.note_answer(answer.as_ref().err().is_none_or(LinkError::is_answer));
        answer
    }

    /// What the monitor has against a sync. Waits for the disk where an outage was asked for.
    pub(crate) fn offline(&self) -> Option<Blocked> {
        let link = self.lock().link.clone();
        let reason = link?.offline()?;
        let planned = self.lock().offline_while.clone();
        Some(match planned.and_then(|outage| outage()) {
            Some(outage) => Blocked::new(BlockedKind::Outage, outage.reason),
            None => Blocked::new(BlockedKind::Offline, reason),
        })
    }

    /// Takes down whether a request was answered.
    fn note_answer(&self, is_answered: bool) {
        if !is_answered {
            self.destination.forget_connections();
        }
        let lost_way = self.destination.way().filter(|_| !is_answered);
        let mut state = self.lock();
        state.lost_way = lost_way;
        state.is_online = Some(is_answered);
        if let Some(link) = &state.link {
            link.report(is_answered);
        }
    }
}

/// Waits for the monitor to say something else, where there is one.
pub(super) async fn changed(link: &mut Option<Link>) -> LinkNews {
    match link {
        Some(link) => link.changed().await,
        None => std::future::pending().await,
    }
}
