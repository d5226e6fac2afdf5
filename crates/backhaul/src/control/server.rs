//! The task that serves the control socket.

use std::path::Path;
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::desk::Desk;
use super::routes::router;
use super::socket::ControlSocket;

/// The served control socket.
pub(crate) struct Control(JoinHandle<()>);

impl Control {
    /// Serves the control socket of a data dir, from inside a runtime.
    ///
    /// # Errors
    /// As for [`ControlSocket::bind`].
    pub(crate) fn serve(data_dir: &Path, desk: Desk) -> anyhow::Result<Self> {
        let socket = ControlSocket::bind(data_dir)?;
        let router = router(Arc::new(desk));
        Ok(Self(tokio::spawn(async move {
            if let Err(error) = axum::serve(socket, router).await {
                tracing::warn!(%error, "the control socket is not served any more: restart to have it again");
            }
        })))
    }

    /// Ends it: the socket is gone when this returns.
    pub(crate) async fn stop(self) {
        self.0.abort();
        let _ = self.0.await;
    }
}
