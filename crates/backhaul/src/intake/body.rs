//! Receives a request's body and decompresses it, within the limits.

use std::io::Read;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http_body_util::BodyExt as _;
use tokio::time::Instant;

use super::budget::Share;
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
    Deflate,
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
                ("deflate", Self::Identity) => Self::Deflate,
                _ => {
                    return Err(Refusal::new(
                        StatusCode::UNSUPPORTED_MEDIA_TYPE,
                        format!("Content-Encoding is {text:?}: send gzip, deflate, or none"),
                    ));
                }
            };
        }
        Ok(coding)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    /// What reads a body of this coding.
    fn reader(self, body: &[u8]) -> Box<dyn Read + '_> {
        match self {
            Self::Identity => Box::new(body),
            Self::Gzip => Box::new(MultiGzDecoder::new(body)),
            // Some senders leave out zlib's head, which is a multiple of 31 and says 8.
            Self::Deflate => match body {
                [first, second, ..]
                    if first & 0x0f == 8 && u16::from_be_bytes([*first, *second]) % 31 == 0 =>
                {
                    Box::new(ZlibDecoder::new(body))
                }
                _ => Box::new(DeflateDecoder::new(body)),
            },
        }
    }
}

/// As [`Intake::receive`](super::Intake::receive).
pub(super) async fn receive(
    headers: &HeaderMap,
    body: &mut Body,
    pace: Pace,
    most: usize,
    share: &mut Share,
) -> Result<Vec<u8>, Refusal> {
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|announced| announced > most) {
        return Err(too_long(most));
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
        if received.len() + data.len() > most {
            return Err(too_long(most));
        }
        reserve(share, data.len())?;
        received.extend_from_slice(&data);
    }
}

/// Reads on without keeping anything, so that a sender that is still writing sees
/// the answer and not a broken connection, which would look like an outage to it.
/// One that waits to be asked for the body gets its answer at once.
pub(super) async fn discard(headers: &HeaderMap, body: &mut Body, most: usize) {
    if headers.contains_key(header::EXPECT) {
        return;
    }
    let rest = async {
        let mut left = most;
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

/// As [`Intake::decompress`](super::Intake::decompress).
pub(super) fn decompress(
    body: Vec<u8>,
    coding: Coding,
    most: usize,
    share: &mut Share,
) -> Result<Vec<u8>, Refusal> {
    if coding == Coding::Identity {
        return Ok(body);
    }
    let mut plain = Vec::new();
    let mut decoder = coding.reader(&body);
    let mut piece = vec![0; 64 << 10];
    loop {
        let read = decoder.read(&mut piece).map_err(|error| {
            Refusal::bad_request(format!("the body is no {}: {error}", coding.name()))
        })?;
        if read == 0 {
            return Ok(plain);
        }
        if plain.len() + read > most {
            return Err(Refusal::too_large(format!(
                "the body decompresses to more than {most} bytes: send less at a time"
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

fn too_long(most: usize) -> Refusal {
    Refusal::too_large(format!("the body has more than {most} bytes: send less at a time, or gzip"))
}
