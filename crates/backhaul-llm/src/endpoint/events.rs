//! The events of an answer in pieces.

use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use super::reply::RawReply;
use crate::error::{LlmError, LlmErrorKind};
use crate::sse::{MOST_EVENT_BYTES, SseEvent, SseParser};

/// How long the end of a body may take that has said it all.
const LAST_PIECE: Duration = Duration::from_secs(1);

/// The events of an answer in pieces.
#[derive(Debug)]
pub(crate) struct Events {
    pub(crate) reply: RawReply,
    parser: SseParser,
    has_any: bool,
}

impl Events {
    pub(crate) fn new(reply: RawReply) -> Self {
        Self { reply, parser: SseParser::new(MOST_EVENT_BYTES), has_any: false }
    }

    /// The next event. `None`: the body is at its end.
    pub(crate) async fn next(&mut self) -> Result<Option<SseEvent>, LlmError> {
        loop {
            let event = self.parser.next_event();
            let event =
                event.map_err(|error| self.reply.garbled(&format!("is no use: {error}")))?;
            if event.is_some() {
                self.has_any = true;
                return Ok(event);
            }
            match self.reply.piece().await? {
                Some(piece) => self.parser.push(&piece),
                None if self.has_any => return Ok(None),
                None => return Err(self.reply.garbled("has no event: expected an event stream")),
            }
        }
    }

    /// What an event says, as JSON.
    pub(crate) fn json(&self, event: &SseEvent) -> Result<Value, LlmError> {
        serde_json::from_str(&event.data)
            .map_err(|error| self.reply.garbled(&format!("has a piece that is no JSON: {error}")))
    }

    /// The body ended, and the answer did not.
    pub(crate) fn broken_off(&self) -> LlmError {
        self.reply.error(
            LlmErrorKind::BrokenOff,
            "broke off: it ended without the model's reason to stop",
        )
    }

    /// All was said. What is left of the body is read in the background, so that the
    /// connection can be used again.
    pub(crate) fn finish(mut self) {
        tokio::spawn(timeout(LAST_PIECE, async move {
            while let Ok(Some(_)) = self.reply.piece().await {}
        }));
    }
}
