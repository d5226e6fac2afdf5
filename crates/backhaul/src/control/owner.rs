//! The process that a spool belongs to, and what it answers in the place of another.

use std::path::Path;

use anyhow::Context as _;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Uri, header};
use axum::response::Response;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::routes::INTAKE;
use super::socket;

/// About one connection, and not about what goes over it.
const OF_THE_CONNECTION: [header::HeaderName; 3] =
    [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE];

/// A connection to the process that a spool belongs to.
pub(crate) struct Owner(UnixStream);

impl Owner {
    /// Connects to the process that the spool in this folder belongs to. `Ok(None)`: there
    /// is none, or none that listens.
    ///
    /// # Errors
    /// Where there is one that must not, or cannot, be asked.
    pub(crate) async fn of_spool(spool: &Path) -> anyhow::Result<Option<Self>> {
        Ok(socket::connect(spool).await?.map(Self))
    }

    /// Passes a request on, and its answer back.
    ///
    /// # Errors
    /// Where the process goes away meanwhile.
    pub(crate) async fn answer(self, mut request: Request) -> anyhow::Result<Response> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(self.0)).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the control socket broke off");
            }
        });
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = Uri::try_from(format!("{INTAKE}{path}"))?;
        without_connection(request.headers_mut());
        let answer = sender.send_request(request).await.context("no answer")?;
        let mut answer = answer.map(Body::new);
        without_connection(answer.headers_mut());
        Ok(answer)
    }
}

fn without_connection(headers: &mut HeaderMap) {
    OF_THE_CONNECTION.iter().for_each(|name| drop(headers.remove(name)));
}
