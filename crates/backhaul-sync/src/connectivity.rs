//! Whether there is a link.
//!
//! # Rules
//! - Evidence comes from checks, and from traffic, which makes checks unnecessary. Changes
//!   of the network say nothing themselves: they have a check made at once, and when something
//!   is there that was not, what is offline becomes unknown, so that others try as well.
//! - `judge.rs` says what evidence comes to and `schedule.rs` when to look again; neither
//!   has a clock or a socket. `shared.rs` has the task that acts on it.
//! - Nobody is waited for: callbacks run on their own.

mod callbacks;
mod check_url;
mod credit;
mod dial;
mod evidence;
mod http_probe;
mod judge;
mod link_events;
#[cfg(target_os = "linux")]
mod net_table;
#[cfg(target_os = "linux")]
mod netlink;
mod options;
mod probe;
mod schedule;
mod shared;
mod spending;
mod state;
mod status;
mod tls;

use std::sync::Arc;

use backhaul_store::{Clock, SystemClock};
use tokio::sync::watch;

use crate::bandwidth::BandwidthManager;
use crate::options::OptionError;
use crate::planned_outage::PlannedOutage;
use shared::Shared;

pub use callbacks::{Async, Callback, CallbackHandle, Plain};
pub use check_url::CheckUrl;
pub use evidence::Evidence;
pub use http_probe::HttpProbe;
pub use link_events::{LinkChange, LinkEvents, Listen, SystemLinkEvents};
pub use options::{CheckRule, ConnectivityOptions};
pub use probe::{Check, Probe, ProbeBytes, ProbeError, ProbeErrorKind};
pub use state::Connectivity;
pub use status::ConnectivityStatus;

/// Watches whether there is a link, by checks, by what traffic tells, and by the machine's
/// own events.
///
/// Before the first check, and while it does not run, nothing is known: [`Connectivity::Unknown`],
/// which [`is_online`](ConnectivityMonitor::is_online) counts as offline. When an interface,
/// an address or a default route comes, what was offline is unknown again until somebody has
/// found out.
///
/// Cheap to clone; all clones are one monitor, which stops when the last of them is
/// dropped. A callback that holds a clone keeps it running.
///
/// ```
/// use backhaul_sync::{ConnectivityMonitor, ConnectivityOptions};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// let monitor = ConnectivityMonitor::new(ConnectivityOptions {
///     check_urls: vec!["http://127.0.0.1:7117/healthz".parse()?],
///     ..ConnectivityOptions::default()
/// })?;
/// monitor.on_offline(|| eprintln!("Gone offline"));
/// let online = monitor.on_online(|| async { /* a courier that watches it goes by itself */ });
/// monitor.start().await;
///
/// // Whoever uses the network tells how it went; a link in use is not probed.
/// monitor.evidence().report_success();
///
/// // For tests, and for hours in which the link is too dear.
/// monitor.set_offline();
/// assert!(!monitor.is_online());
/// monitor.clear_override();
///
/// online.remove();
/// monitor.stop().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ConnectivityMonitor {
    handle: Arc<Handle>,
}

/// What the clones share; the task does not.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        drop(self.shared.end());
    }
}

impl ConnectivityMonitor {
    /// A monitor that asks over HTTP and hears the machine's own events. It does nothing yet.
    ///
    /// # Errors
    /// When an option makes no sense.
    pub fn new(options: ConnectivityOptions) -> Result<Self, OptionError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let probe = Arc::new(HttpProbe::new(Arc::clone(&clock)));
        Self::new_on(options, probe, Arc::new(SystemLinkEvents), clock)
    }

    /// The same with other probes, events and clocks.
    ///
    /// # Errors
    /// When an option makes no sense.
    pub fn new_on(
        options: ConnectivityOptions,
        probe: Arc<dyn Probe>,
        links: Arc<dyn LinkEvents>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OptionError> {
        options.check()?;
        let shared = Arc::new(Shared::new(options, probe, links, clock));
        Ok(Self { handle: Arc::new(Handle { shared }) })
    }

    /// Starts watching, with a check at once. A monitor that runs goes on.
    ///
    /// It needs a tokio runtime with time and, on Linux, I/O enabled.
    pub async fn start(&self) {
        self.shared().start();
    }

    /// Stops watching: nothing is known then, unless it was set by hand. A check under way
    /// is given up; callbacks under way go on.
    pub async fn stop(&self) {
        if let Some(task) = self.shared().end() {
            let _ = task.await;
        }
    }

    /// Whether it is known that there is a link.
    pub fn is_online(&self) -> bool {
        self.state().is_online()
    }

    /// What is known of the link.
    pub fn state(&self) -> Connectivity {
        *self.shared().subscribe().borrow()
    }

    /// How things stand, with the reason of the last failure.
    pub fn status(&self) -> ConnectivityStatus {
        self.shared().status()
    }

    /// The settings.
    pub fn options(&self) -> &ConnectivityOptions {
        &self.shared().options
    }

    // --- Being told ------------------------------------------------------------

    /// Has `callback` called when the state becomes online, while the monitor runs; also
    /// when that is the first that is known. It is a closure, plain or async.
    ///
    /// Callbacks of one state are called together, and those of the next when they have
    /// come back, or after five seconds. A state that ends within that time is not told of.
    /// One that is still busy when its turn comes again is called once more afterwards, if
    /// the state is then the same. One that panics is logged and called again next time. A
    /// plain closure that never comes back keeps the runtime from ending.
    pub fn on_online<Kind>(&self, callback: impl Callback<Kind>) -> CallbackHandle {
        self.shared().callbacks.add(Connectivity::Online, callback.into_call())
    }

    /// Has `callback` called when the state becomes offline, as
    /// [`on_online`](ConnectivityMonitor::on_online) does.
    pub fn on_offline<Kind>(&self, callback: impl Callback<Kind>) -> CallbackHandle {
        self.shared().callbacks.add(Connectivity::Offline, callback.into_call())
    }

    /// The state and its changes, for tasks that wait for them. It keeps no monitor running.
    pub fn subscribe(&self) -> watch::Receiver<Connectivity> {
        self.shared().subscribe()
    }

    /// Changes with each change of the machine's network: an interface, an address or a route,
    /// while the monitor runs. It keeps no monitor running.
    pub fn network_changes(&self) -> watch::Receiver<u64> {
        self.shared().network_changes()
    }

    /// Charges what checks cost to a data cap, as critical traffic. A check that it has no
    /// room for, 64 KB, is not made: what is known stays as it is, and traffic says more.
    pub fn charge(&self, budget: &BandwidthManager) {
        self.shared().charge(budget.clone());
    }

    // --- Telling ---------------------------------------------------------------

    /// Has `outage` asked before each check, on a thread that may wait. While it gives a
    /// [`PlannedOutage`] nobody is asked, and the check counts as failed.
    pub fn offline_while(
        &self,
        outage: impl Fn() -> Option<PlannedOutage> + Send + Sync + 'static,
    ) {
        self.shared().offline_while(Arc::new(outage));
    }

    /// Has a check made at once, while the monitor runs and has addresses to ask. Who asks
    /// for it again and again gets one in each interval.
    pub fn check_soon(&self) {
        self.shared().check_soon();
    }

    /// Where traffic tells how it went.
    pub fn evidence(&self) -> Evidence {
        Evidence::new(Arc::clone(self.shared()))
    }

    /// Says that it is online, whatever the evidence, until it is said otherwise. Nothing
    /// is probed meanwhile.
    pub fn set_online(&self) {
        self.shared().force(Some(Connectivity::Online));
    }

    /// Says that it is offline, whatever the evidence, until it is said otherwise. Nothing
    /// is probed meanwhile.
    pub fn set_offline(&self) {
        self.shared().force(Some(Connectivity::Offline));
    }

    /// Lets the evidence decide again. The state stays until there is some; a check is
    /// made at once.
    pub fn clear_override(&self) {
        self.shared().force(None);
    }

    /// Why nothing is to be tried over the link, where that is so. A monitor that has nobody to
    /// ask finds out from requests alone that the link is back: those go on then.
    pub fn why_offline(&self) -> Option<String> {
        let status = self.status();
        if status.state != Connectivity::Offline {
            return None;
        }
        if status.is_forced {
            return Some("offline was set by hand".to_owned());
        }
        // Whoever asks the cap himself says so better.
        if status.last_error.as_ref().is_some_and(|error| error.kind() == ProbeErrorKind::Cap) {
            return None;
        }
        let why = status.last_error.map(|error| format!(": {error}")).unwrap_or_default();
        self.asks().then(|| format!("there is no link{why}"))
    }

    /// Whether there are addresses to ask.
    fn asks(&self) -> bool {
        self.shared().asks()
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }
}
