//! How a command asks the process that a spool belongs to.

use std::path::Path;

use anyhow::Context as _;
use axum::http::{Method, Request, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::message::Overview;
use super::refused::Refused;
use super::socket;
use crate::exit::OrUsage as _;

/// Longer than any answer.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// A connection to the process that a spool belongs to.
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
}

impl Client {
    /// Connects to the process that the spool in this folder belongs to. `Ok(None)`: there
    /// is none, or none that listens.
    ///
    /// # Errors
    /// Where there is one that must not, or cannot, be asked.
    pub(crate) async fn of_spool(path: &Path) -> anyhow::Result<Option<Self>> {
        let Some(stream) = socket::connect(path).await? else { return Ok(None) };
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the control socket broke off");
            }
        });
        Ok(Some(Self { sender }))
    }

    /// How many records wait.
    pub(crate) async fn pending(&mut self) -> anyhow::Result<u64> {
        let overview: Overview = self.get("/v1/status").await?;
        Ok(overview.spool.pending)
    }

    /// Asks for something without saying more.
    pub(crate) async fn get<T: DeserializeOwned>(&mut self, path: &str) -> anyhow::Result<T> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        said: &impl Serialize,
    ) -> anyhow::Result<T> {
        self.call(Method::POST, path, serde_json::to_vec(said)?.into()).await
    }

    pub(crate) async fn put<T: DeserializeOwned>(
        &mut self,
        path: &str,
        said: &impl Serialize,
    ) -> anyhow::Result<T> {
        self.call(Method::PUT, path, serde_json::to_vec(said)?.into()).await
    }

    pub(crate) async fn delete<T: DeserializeOwned>(&mut self, path: &str) -> anyhow::Result<T> {
        self.call(Method::DELETE, path, Bytes::new()).await
    }

    /// # Errors
    /// [`Refused`] where the process answered with anything but 200.
    async fn call<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> anyhow::Result<T> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "backhaul")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let broken = "the process that has the spool open does not answer";
        let response = self.sender.send_request(request).await.context(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("{broken}: {error}"))?.to_bytes();
        if status == StatusCode::OK {
            let unclear = "the process that has the spool open is of another version";
            return serde_json::from_slice(&body).context(unclear);
        }
        let said: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let said = said.get("reason").and_then(|reason| reason.as_str());
        let reason = said.map_or_else(|| format!("it answered {status}"), ToOwned::to_owned);
        let refused = Err(Refused { status, reason }.into());
        if status == StatusCode::BAD_REQUEST { refused.or_usage() } else { refused }
    }
}

/// `None` for what there is not, and others may have.
///
/// # Errors
/// All others.
pub(crate) fn unless_absent<T>(answer: anyhow::Result<T>) -> anyhow::Result<Option<T>> {
    let is_absent = |error: &anyhow::Error| {
        error.downcast_ref().is_some_and(|it: &Refused| it.status == StatusCode::NOT_FOUND)
    };
    match answer {
        Err(error) if is_absent(&error) => Ok(None),
        answer => answer.map(Some),
    }
}
