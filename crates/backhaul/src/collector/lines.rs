//! Answers of many lines, made while they are read.

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use backhaul_json::Style;
use backhaul_weave::TraceError;
use http_body_util::channel::{Channel, Sender};
use serde_json::Value;
use tokio::runtime::Handle;

/// Most bytes of lines that are sent at a time, but for one line that is longer.
const PIECE: usize = 64 << 10;
/// How many such pieces may wait for who reads.
const PIECES: usize = 4;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// 200 with JSON, one value a line. Where one cannot be read the answer breaks off.
pub(super) fn answer(
    values: impl Iterator<Item = Result<Value, TraceError>> + Send + 'static,
) -> Response {
    let (sender, body) = Channel::<Bytes, Failed>::new(PIECES);
    // Ends when whoever asked is gone.
    tokio::task::spawn_blocking(move || send(values, sender));
    ([(header::CONTENT_TYPE, "application/jsonl")], Body::new(body)).into_response()
}

/// Blocks.
fn send(
    values: impl Iterator<Item = Result<Value, TraceError>>,
    mut sender: Sender<Bytes, Failed>,
) {
    let runtime = Handle::current();
    let mut piece = Vec::new();
    for value in values {
        match value {
            Ok(value) => {
                piece.extend(backhaul_json::to_vec(&value, Style::Compact));
                piece.push(b'\n');
            }
            Err(error) => {
                tracing::warn!(%error, "an answer broke off");
                return sender.abort(error.into());
            }
        }
        if piece.len() >= PIECE
            && runtime.block_on(sender.send_data(std::mem::take(&mut piece).into())).is_err()
        {
            return;
        }
    }
    let _ = runtime.block_on(sender.send_data(piece.into()));
}
