//! Delivery beside a program that logs, in a thread of its own.

use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use backhaul_sync::SyncOptions;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::context::Context;
use crate::error::{TraceError, TraceErrorKind};
use crate::offline::OfflineTraceServer;
use crate::remote::Remote;
use crate::sync::WeaveForwarder;

/// How long requests under way are waited for when a program ends.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// A thread that delivers until it is stopped.
pub(crate) struct Online {
    forwarder: WeaveForwarder,
    handle: Handle,
    running: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

impl Online {
    /// Starts delivering what is in a folder, and what comes. Asks nobody before it returns.
    pub(crate) fn start(server: OfflineTraceServer, remote: Remote) -> Result<Self, TraceError> {
        let failed = |what: &str, error: std::io::Error| {
            TraceError::new(TraceErrorKind::Store, format!("{what} cannot be started: {error}"))
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .thread_name("weave-courier")
            .build()
            .map_err(|error| failed("the runtime of delivery", error))?;
        let options = SyncOptions { stop_timeout: LAST_REQUESTS, ..SyncOptions::default() };
        let forwarder = WeaveForwarder::new(server, remote, options)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let delivering = forwarder.clone();
        let thread =
            std::thread::Builder::new().name("weave-courier".to_owned()).spawn(move || {
                // Spans of a delivery are not logged: they would be delivered in turn.
                Context::default().without_logging().run(|| {
                    runtime.block_on(async {
                        delivering.start().await;
                        let _ = stopped.await;
                        delivering.stop().await;
                    });
                });
                // What waits for a disk or a name is not waited for.
                runtime.shutdown_background();
            });
        let thread = thread.map_err(|error| failed("the thread of delivery", error))?;
        Ok(Self { forwarder, handle, running: Mutex::new(Some((stop, thread))) })
    }

    /// Stops it, and waits for requests under way.
    pub(crate) fn stop(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((stop, thread)) = running {
            let _ = stop.send(());
            let _ = thread.join();
        }
    }

    /// What delivers, and the runtime that it belongs to; `None`: it was stopped.
    pub(crate) fn forwarder(&self) -> Option<(WeaveForwarder, Handle)> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().map(|_| (self.forwarder.clone(), self.handle.clone()))
    }
}
