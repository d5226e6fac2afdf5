//! The signals that a program is told by way of the process around it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use anyhow::Context as _;
use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind};

/// Those that are passed on.
const PASSED_ON: [Signal; 6] =
    [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT, Signal::USR1, Signal::USR2];

/// Who sent a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    /// Another process, and to this one, as far as can be known.
    Process,
    /// The kernel, on behalf of a terminal: the whole group has it.
    Kernel,
}

/// The signals that come to this process from now on, in place of what they do to it.
pub(super) struct Signals(Vec<Listener>);

struct Listener {
    signal: Signal,
    arrived: unix::Signal,
    by_process: Arc<AtomicBool>,
}

impl Signals {
    /// Leaves out those that this process was started to ignore, as `nohup` does: then the
    /// program ignores them as well.
    ///
    /// # Errors
    /// Where the system refuses it.
    pub(super) fn listen() -> anyhow::Result<Self> {
        let ignored = ignored();
        let wanted = PASSED_ON.into_iter().filter(|signal| !is_among(*signal, ignored));
        let listeners = wanted.map(|signal| {
            Listener::new(signal).with_context(|| format!("{signal:?} cannot be awaited"))
        });
        Ok(Self(listeners.collect::<Result<_, _>>()?))
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> (Signal, Sender) {
        std::future::poll_fn(|context| {
            for Listener { signal, arrived, by_process } in &mut self.0 {
                if arrived.poll_recv(context).is_ready() {
                    let sender = match by_process.swap(false, Ordering::Relaxed) {
                        true => Sender::Process,
                        false => Sender::Kernel,
                    };
                    return Poll::Ready((*signal, sender));
                }
            }
            Poll::Pending
        })
        .await
    }
}

impl Listener {
    fn new(signal: Signal) -> std::io::Result<Self> {
        let by_process = Arc::new(AtomicBool::new(false));
        let noted = Arc::clone(&by_process);
        let number = signal.as_raw();
        // Registered before the runtime's, and therefore called before it.
        //
        // SAFETY: all that it does in the signal handler is to store to an atomic, which is
        // allowed there.
        #[expect(unsafe_code, reason = "only a signal handler is told who sent the signal")]
        unsafe {
            signal_hook_registry::register_sigaction(number, move |info| {
                // Codes of what processes send are 0 and below: sigaction(2).
                if info.si_code <= 0 {
                    noted.store(true, Ordering::Relaxed);
                }
            })?;
        }
        let arrived = unix::signal(SignalKind::from_raw(number))?;
        Ok(Self { signal, arrived, by_process })
    }
}

/// Whether a signal tells a process to end.
pub(super) fn is_to_stop(signal: Signal) -> bool {
    [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT].contains(&signal)
}

/// The set of signals that this process ignores; none where that is not said.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0)
}

fn is_among(signal: Signal, set: u64) -> bool {
    set >> (signal.as_raw() - 1) & 1 == 1
}
