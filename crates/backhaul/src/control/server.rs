//! The task that serves a control socket.

use std::future::IntoFuture as _;
use std::sync::Arc;
use std::time::Duration;

use backhaul_runtime::tool_queue::ToolQueue;
use backhaul_sync::SyncManager;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::desk::Desk;
use super::routes::router;
use super::socket::Socket;
use crate::offline::OutageSwitch;

/// How often it is looked whether the socket is this process's to serve.
const TURN: Duration = Duration::from_millis(500);

/// The control socket of an agent's queue, by which the commands of `backhaul` reach the
/// agent's process. [`ConfiguredLogger`](crate::offline::ConfiguredLogger) has one; this is
/// for agents that put their parts together by themselves.
///
/// Of several processes that deliver from one queue, the one serves it that does so at the
/// moment; the next takes it over. It is gone when this is dropped.
///
/// ```
/// use std::sync::Arc;
/// use backhaul::config::OutageSetting;
/// use backhaul::observability::CloudRunLogger;
/// use backhaul::offline::{ControlSocket, OfflineQueue, OfflineRunLogger};
/// use backhaul::offline::{OutageSwitch, SyncOptions};
///
/// # let dir = std::env::temp_dir().join(format!("backhaul-control-doc-{}", std::process::id()));
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let url = "http://127.0.0.1:9";
/// let logger = OfflineRunLogger::builder()
///     .primary(CloudRunLogger::new(url)?)
///     .queue(OfflineQueue::new(dir.join("offline"))?)
///     .build()?;
/// let courier = logger.offline_queue().sync_manager(SyncOptions::default())?;
/// courier.start().await;
/// let outage = Arc::new(OutageSwitch::of(&dir, OutageSetting::Off));
/// let control = ControlSocket::serve(&courier, url, outage);
/// assert!(dir.join("offline/state/control.sock").exists());
///
/// courier.stop().await;
/// control.stop().await;
/// assert!(!dir.join("offline/state/control.sock").exists());
/// # drop((courier, logger));
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ControlSocket(JoinHandle<()>);

impl ControlSocket {
    /// Serves the control socket of the queue that `courier` delivers from, to
    /// `destination`, from inside a runtime; `outage` is what `backhaul outage` turns on and
    /// off. Where the process owns the queue already, the socket is there when this returns.
    ///
    /// Where the file system takes no sockets, that is logged once, and tried again.
    pub fn serve(courier: &SyncManager, destination: &str, outage: Arc<OutageSwitch>) -> Self {
        Self::of(Desk::of_agent(courier.clone(), destination, outage))
    }

    /// Serves the control socket of calls of tools, from inside a runtime: `backhaul queue
    /// --spool tools` shows them and decides those of which nobody knows whether they were done.
    /// The folder of the queue is `tools` in the data dir then.
    pub fn serve_tools(queue: &ToolQueue, outage: Arc<OutageSwitch>) -> Self {
        Self::of(Desk::of_tools(queue, outage))
    }

    pub(crate) fn of(desk: Desk) -> Self {
        let socket = desk.bind();
        Self(tokio::spawn(serve_in_turn(Arc::new(desk), socket)))
    }

    /// Ends it: the socket is gone when this returns.
    pub async fn stop(mut self) {
        self.0.abort();
        let _ = (&mut self.0).await;
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Serves the socket whenever it is this process's turn.
async fn serve_in_turn(desk: Arc<Desk>, mut socket: anyhow::Result<Option<Socket>>) {
    let mut has_warned = false;
    loop {
        match socket {
            Ok(Some(socket)) => {
                let served = axum::serve(socket, router(Arc::clone(&desk)));
                tokio::select! {
                    _ = served.into_future() => {}
                    () = turn_ends(&desk) => {}
                }
            }
            Ok(None) => {}
            Err(error) => {
                let error = format!("{error:#}");
                if !std::mem::replace(&mut has_warned, true) {
                    tracing::warn!(
                        error,
                        "without a control socket, commands do not reach this process"
                    );
                }
            }
        }
        sleep(TURN).await;
        socket = desk.bind();
    }
}

async fn turn_ends(desk: &Desk) {
    while desk.is_in_charge() {
        sleep(TURN).await;
    }
}

#[cfg(test)]
#[cfg(feature = "cli")]
mod tests {
    use std::path::Path;

    use backhaul_agent::{InMemoryRunLogger, OfflineQueue, RunLoggerDestination};
    use backhaul_store::ErrorKind;
    use backhaul_sync::SyncOptions;

    use super::*;
    use crate::config::OutageSetting;
    use crate::control::Client;
    use crate::control::message::Overview;

    /// What a process has of the queue, and its control socket.
    fn agent(dir: &Path, destination: &str) -> (OfflineQueue, SyncManager, ControlSocket) {
        let queue = OfflineQueue::builder(dir).maintenance_thread(false).open().unwrap();
        queue.bind(Arc::new(RunLoggerDestination::new(Arc::new(InMemoryRunLogger::new()))));
        let courier = queue.sync_manager(SyncOptions::default()).unwrap();
        let outage = Arc::new(OutageSwitch::of(dir, OutageSetting::Off));
        let control = ControlSocket::serve(&courier, destination, outage);
        (queue, courier, control)
    }

    async fn who_answers(dir: &Path) -> Option<String> {
        let mut client = Client::of_spool(dir).await.unwrap()?;
        let overview: Overview = client.get("/v1/status").await.unwrap();
        Some(overview.spool.courier?.destination)
    }

    #[tokio::test(start_paused = true)]
    async fn the_socket_goes_with_the_part_of_delivering() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        let (first, ..) = &agent(dir, "http://first");
        let (second, ..) = &agent(dir, "http://second");
        assert_eq!(who_answers(dir).await.as_deref(), Some("http://first"));
        sleep(TURN * 10).await;
        assert_eq!(who_answers(dir).await.as_deref(), Some("http://first"));

        let busy = second.spool().settle(&[]).unwrap_err();
        assert_eq!(busy.kind(), ErrorKind::Busy);
        first.spool().maintain().unwrap();
        second.spool().settle(&[]).unwrap();
        sleep(TURN * 4).await;
        assert_eq!(who_answers(dir).await.as_deref(), Some("http://second"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_stands_in_the_way_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        let in_the_way = dir.join("state/control.sock");
        drop(OfflineQueue::new(dir).unwrap());
        std::fs::write(&in_the_way, "mine").unwrap();
        let (_queue, _courier, control) = agent(dir, "http://first");
        sleep(TURN * 10).await;
        assert_eq!(std::fs::read(&in_the_way).unwrap(), b"mine");
        std::fs::remove_file(&in_the_way).unwrap();
        sleep(TURN * 2).await;
        assert_eq!(who_answers(dir).await.as_deref(), Some("http://first"));
        control.stop().await;
        assert_eq!(who_answers(dir).await, None);
    }
}
