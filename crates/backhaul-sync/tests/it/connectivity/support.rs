//! A monitor whose probe and network do as they are told.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backhaul_sync::{
    Check, CheckUrl, Connectivity, ConnectivityMonitor, ConnectivityOptions, LinkChange,
    LinkEvents, Listen, Probe, ProbeBytes, ProbeError, ProbeErrorKind,
};
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::support::TokioClock;

/// What a probe of the fake costs.
pub(crate) const COST: u64 = 1000;

/// How long an answer takes, and what it is.
pub(crate) type Answer = (Duration, Result<(), ProbeError>);

/// A network: what each host answers, and who was asked when.
pub(crate) struct World {
    start: Instant,
    answers: Mutex<BTreeMap<String, Answer>>,
    asked: Mutex<Vec<(Duration, String)>>,
    changes: broadcast::Sender<LinkChange>,
    is_deaf: bool,
}

impl World {
    /// One in which nobody answers.
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            answers: Mutex::default(),
            asked: Mutex::default(),
            changes: broadcast::Sender::new(16),
            is_deaf: false,
        }
    }

    /// One whose events cannot be heard.
    pub(crate) fn deaf() -> Self {
        Self { is_deaf: true, ..Self::new() }
    }

    pub(crate) fn monitor(self: &Arc<Self>, options: ConnectivityOptions) -> ConnectivityMonitor {
        let clock = TokioClock::new();
        ConnectivityMonitor::new_on(options, self.clone(), self.clone(), clock).unwrap()
    }

    pub(crate) fn set(&self, host: &str, after: Duration, answer: Result<(), ProbeError>) {
        self.answers.lock().unwrap().insert(host.to_owned(), (after, answer));
    }

    pub(crate) fn up(&self) {
        self.set("a", Duration::ZERO, Ok(()));
    }

    pub(crate) fn down(&self) {
        self.set("a", Duration::ZERO, refused());
    }

    /// Half-open: an answer never comes.
    pub(crate) fn silent(&self) {
        self.set("a", Duration::MAX, Ok(()));
    }

    pub(crate) fn change(&self, change: LinkChange) {
        self.changes.send(change).unwrap();
    }

    /// The seconds at which somebody was asked.
    pub(crate) fn seconds(&self) -> Vec<f64> {
        self.asked.lock().unwrap().iter().map(|(at, _)| at.as_secs_f64()).collect()
    }

    pub(crate) fn hosts(&self) -> String {
        self.asked.lock().unwrap().drain(..).map(|(_, host)| host).collect()
    }

    pub(crate) fn probes(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

pub(crate) fn refused() -> Result<(), ProbeError> {
    Err(ProbeError::new(ProbeErrorKind::Connect, "refused"))
}

impl Probe for World {
    fn check<'a>(&'a self, url: &'a CheckUrl, bytes: &'a Arc<ProbeBytes>) -> Check<'a> {
        Box::pin(async move {
            let host = url.to_string().trim_start_matches("https://").trim_end_matches('/').into();
            let answer = self.answers.lock().unwrap().get(&host).cloned();
            self.asked.lock().unwrap().push((self.start.elapsed(), host));
            bytes.add(COST);
            assert!(!url.to_string().contains("panic"));
            let (after, answer) = answer.unwrap_or((Duration::ZERO, refused()));
            match after {
                Duration::MAX => std::future::pending().await,
                after => tokio::time::sleep(after).await,
            }
            answer
        })
    }
}

impl LinkEvents for World {
    fn listen<'a>(&'a self, tell: &'a (dyn Fn(LinkChange) + Send + Sync)) -> Listen<'a> {
        let mut changes = self.changes.subscribe();
        Box::pin(async move {
            if self.is_deaf {
                return io::ErrorKind::PermissionDenied.into();
            }
            while let Ok(change) = changes.recv().await {
                tell(change);
            }
            io::ErrorKind::UnexpectedEof.into()
        })
    }
}

/// One address, no jitter.
pub(crate) fn plain() -> ConnectivityOptions {
    of("a")
}

/// Addresses of one letter each.
pub(crate) fn of(hosts: &str) -> ConnectivityOptions {
    let url = |host| format!("https://{host}/").parse().unwrap();
    ConnectivityOptions {
        check_urls: hosts.chars().map(url).collect(),
        jitter: false,
        ..ConnectivityOptions::default()
    }
}

/// Waits for a state, as long as it takes.
pub(crate) async fn becomes(monitor: &ConnectivityMonitor, state: Connectivity) {
    monitor.subscribe().wait_for(|now| *now == state).await.unwrap();
}

/// Lets time pass, and everybody act on it.
pub(crate) async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}
