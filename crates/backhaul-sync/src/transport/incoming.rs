//! An answer that is being read.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use reqwest::Response;
use reqwest::header::{self, HeaderMap};

use super::answer::Answer;
use super::connections::Connections;
use super::metered_body::Traffic;
use super::{http_date, length, link_error};
use crate::bandwidth::wire_bytes;
use crate::blocking::blocking;
use crate::link_error::LinkError;

/// The status line of an answer, and what separates its headers.
const ANSWER_LINES: u64 = 100;

/// An answer whose head is there. Dropping it before its end closes the connection.
pub struct Incoming {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    response: Response,
    traffic: Option<Traffic>,
    connections: Arc<Connections>,
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("status", &self.status).finish_non_exhaustive()
    }
}

impl Incoming {
    pub(super) fn new(
        mut response: Response,
        traffic: Option<Traffic>,
        connections: Arc<Connections>,
    ) -> Self {
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        let incoming = Self { status, headers, response, traffic, connections };
        incoming.connections.note_answer();
        incoming.count(ANSWER_LINES + length(&incoming.headers));
        incoming
    }

    /// The next piece of the body, as it comes. `None`: that was all.
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`LinkErrorKind::Unreachable`](crate::LinkErrorKind::Unreachable) and
    /// [`Timeout`](crate::LinkErrorKind::Timeout) where it breaks off.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, LinkError> {
        let piece = self.response.chunk().await.map_err(link_error)?;
        match &piece {
            Some(piece) => self.count(piece.len() as u64),
            None => self.ended().await,
        }
        Ok(piece)
    }

    /// Reads the rest of it.
    ///
    /// # Errors
    /// As for [`piece`](Self::piece), and where an answer of success is longer than `most`
    /// bytes. Another one is cut there.
    pub async fn whole(mut self, most: usize) -> Result<Answer, LinkError> {
        let is_success = (200..300).contains(&self.status);
        let mut body = Vec::new();
        while let Some(piece) = self.piece().await? {
            let room = most - body.len();
            if piece.len() > room && is_success {
                return Err(LinkError::unreachable(format!(
                    "the answer is longer than {most} bytes (is there a captive portal?)"
                )));
            }
            body.extend_from_slice(piece.get(..room).unwrap_or(&piece));
            if piece.len() > room {
                break;
            }
        }
        Ok(Answer { status: self.status, headers: self.headers, body })
    }

    fn count(&self, bytes: u64) {
        if let Some(traffic) = &self.traffic {
            traffic.count(wire_bytes(bytes));
        }
    }

    /// The whole answer is there, and the connection free for the next request.
    async fn ended(&mut self) {
        if self.headers.get(header::CONNECTION).is_none_or(|it| it != "close") {
            self.connections.leave_open();
        }
        let date = self.headers.get(header::DATE).and_then(|date| date.to_str().ok());
        let Some(traffic) = &self.traffic else { return };
        if let ("https", Some(date)) =
            (self.response.url().scheme(), date.and_then(http_date::parse))
        {
            let budget = traffic.budget().clone();
            blocking(move || budget.note_server_date(date)).await;
        }
    }
}
