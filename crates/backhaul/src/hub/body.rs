//! Receives a request's body and decompresses it, within the limits.

use std::io::Read as _;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use flate2::read::MultiGzDecoder;
use http_body_util::BodyExt as _;
use tokio::time::Instant;

use super::budget::Share;
use super::limits::{MAX_BODY_BYTES, MAX_DECOMPRESSED_BYTES};
use super::refusal::Refusal;

/// How slowly a body may come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// How long the sender may be silent, and what any body may take.
    pub(crate) grace: Duration,
    /// What has to come in each second after that, on the average.
    pub(crate) bytes_per_second: u64,
}

impl Pace {
    /// How long a body may have taken by which so much has come.
    fn allowance(self, received: usize) -> Duration {
        let millis = (received as u64).saturating_mul(1000) / self.bytes_per_second.max(1);
        self.grace.saturating_add(Duration::from_millis(millis))
    }
}

/// How long a refused sender may go on writing before it is cut off.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(10);

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Identity,
    Gzip,
}

impl Coding {
    /// # Errors
    /// 415, naming what is understood.
    pub(crate) fn of_headers(headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut coding = Self::Identity;
        for value in headers.get_all(header::CONTENT_ENCODING) {
            let text = value.to_str().unwrap_or("?").trim().to_ascii_lowercase();
            coding = match (text.as_str(), coding) {
                ("" | "identity", coding) => coding,
                ("gzip" | "x-gzip", Self::Identity) => Self::Gzip,
                _ => {
                    return Err(Refusal::new(
                        StatusCode::UNSUPPORTED_MEDIA_TYPE,
                        format!("Content-Encoding is {text:?}: send gzip, or none"),
                    ));
                }
            };
        }
        Ok(coding)
    }
}

/// Receives the whole body.
///
/// # Errors
/// 413 above the limit, told before the body is read where its length is announced;
/// 408 when the sender falls silent or is slower than the pace, 503 when too much is in
/// flight, 400 when the connection breaks off.
pub(crate) async fn receive(
    headers: &HeaderMap,
    body: &mut Body,
    pace: Pace,
    share: &mut Share,
) -> Result<Vec<u8>, Refusal> {
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|announced| announced > MAX_BODY_BYTES) {
        return Err(too_long());
    }
    let mut received = Vec::new();
    let began = Instant::now();
    loop {
        let end = (began + pace.allowance(received.len())).min(Instant::now() + pace.grace);
        let frame = tokio::time::timeout_at(end, body.frame()).await;
        let frame = frame.map_err(|_| too_slow(received.len(), began.elapsed(), pace))?;
        let Some(frame) = frame else { return Ok(received) };
        let frame =
            frame.map_err(|error| Refusal::bad_request(format!("the body broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if received.len() + data.len() > MAX_BODY_BYTES {
            return Err(too_long());
        }
        reserve(share, data.len())?;
        received.extend_from_slice(&data);
    }
}

/// Reads on without keeping anything, so that a sender that is still writing sees
/// the answer and not a broken connection, which would look like an outage to it.
/// One that waits to be asked for the body gets its answer at once.
pub(crate) async fn discard(headers: &HeaderMap, body: &mut Body) {
    if headers.contains_key(header::EXPECT) {
        return;
    }
    let rest = async {
        let mut left = MAX_BODY_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            let len = frame.data_ref().map_or(0, bytes::Bytes::len);
            left = left.saturating_sub(len);
            if left == 0 {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(DISCARD_TIMEOUT, rest).await;
}

/// Gives a body as it was before it was compressed.
///
/// # Errors
/// 413 above the limit, as soon as it is passed; 400 for what is no gzip; 503 when
/// too much is in flight.
pub(crate) fn decompress(
    body: Vec<u8>,
    coding: Coding,
    share: &mut Share,
) -> Result<Vec<u8>, Refusal> {
    if coding == Coding::Identity {
        return Ok(body);
    }
    let mut plain = Vec::new();
    let mut decoder = MultiGzDecoder::new(body.as_slice());
    let mut piece = vec![0; 64 << 10];
    loop {
        let read = decoder
            .read(&mut piece)
            .map_err(|error| Refusal::bad_request(format!("the body is no gzip: {error}")))?;
        if read == 0 {
            return Ok(plain);
        }
        if plain.len() + read > MAX_DECOMPRESSED_BYTES {
            return Err(Refusal::too_large(format!(
                "the body decompresses to more than {MAX_DECOMPRESSED_BYTES} bytes: send fewer \
                 records at a time"
            )));
        }
        reserve(share, read)?;
        plain.extend_from_slice(piece.get(..read).unwrap_or_default());
    }
}

fn reserve(share: &mut Share, bytes: usize) -> Result<(), Refusal> {
    match share.take(bytes) {
        true => Ok(()),
        false => Err(Refusal::unavailable("too much is being received at this moment")),
    }
}

fn too_slow(received: usize, took: Duration, pace: Pace) -> Refusal {
    let reason = format!(
        "{received} bytes of the body came in {} seconds: it may pause for {} seconds, and has to \
         come at {} bytes a second",
        took.as_secs(),
        pace.grace.as_secs(),
        pace.bytes_per_second
    );
    Refusal::new(StatusCode::REQUEST_TIMEOUT, reason)
}

fn too_long() -> Refusal {
    Refusal::too_large(format!(
        "the body has more than {MAX_BODY_BYTES} bytes: send fewer records at a time, or gzip"
    ))
}
