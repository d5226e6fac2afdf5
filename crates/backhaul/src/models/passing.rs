//! An answer that a server gives in the form that was asked for, passed on as it comes.

use std::collections::VecDeque;
use std::convert::Infallible;

use axum::body::Bytes;
use backhaul_llm::{Asked, EventText, Form, LlmError, LlmErrorKind, Metadata, RawReply, SseParser};
use futures_util::{Stream, stream};
use serde_json::{Value, json};

use super::forms::Given;
use super::recording::Recording;
use super::said::Said;

/// The longest event: a whole answer with images is in the last one of some.
const MOST_EVENT: usize = 64 << 20;

/// The most events without a word that are kept back. What goes on longer says something in a
/// way that is not known here.
const MOST_WORDLESS: usize = 64;

/// An answer in pieces. Nothing of it is passed on before the model has said something.
pub(super) struct Passing {
    form: Form,
    asked: Asked,
    reply: RawReply,
    parser: SseParser,
    /// Pieces that wait for the first word, and what the events in them say.
    held: VecDeque<(Bytes, Vec<Said>)>,
    has_ended: bool,
    /// What the server has said went wrong.
    failed: Option<LlmError>,
}

impl Passing {
    /// Reads an answer as far as is needed to know that it is one.
    ///
    /// # Errors
    /// Where it is none.
    pub(super) async fn of(
        form: Form,
        asked: Asked,
        reply: RawReply,
        is_streamed: bool,
    ) -> Result<Given, LlmError> {
        if !is_streamed {
            let remarks = reply.remarks();
            let body = reply.json().await?;
            let model = body.get("model").and_then(Value::as_str).unwrap_or_default();
            let metadata = Metadata::of_model(model).with_remarks(remarks);
            return Ok(Given::PassedWhole(metadata, body));
        }
        let parser = SseParser::new(MOST_EVENT);
        let held = VecDeque::new();
        let mut passing = Self { form, asked, reply, parser, held, has_ended: false, failed: None };
        let model = passing.wait_for_word().await?;
        let metadata = Metadata::of_model(model).with_remarks(passing.reply.remarks());
        Ok(Given::PassedPieces(metadata, Box::new(passing)))
    }

    /// Returns the model, as far as it was named.
    async fn wait_for_word(&mut self) -> Result<String, LlmError> {
        let (mut model, mut wordless) = (String::new(), 0);
        loop {
            let Some(piece) = self.reply.piece().await? else {
                let message = "the answer came to its end before the model had said anything";
                return Err(LlmError::new(LlmErrorKind::BrokenOff, message));
            };
            let events = self.events_in(&piece)?;
            for event in &events {
                self.check(event)?;
                let named = ["/response/model", "/message/model", "/model"];
                let named = named.iter().find_map(|place| event.pointer(place)?.as_str());
                named.unwrap_or(&model).to_owned().clone_into(&mut model);
            }
            let said: Vec<Said> =
                events.iter().map(|event| Said::of_event(self.form, event)).collect();
            let has_spoken = said.iter().any(|said| said.is_meaningful);
            wordless += said.len();
            self.held.push_back((piece, said));
            if has_spoken || wordless >= MOST_WORDLESS {
                self.reply.has_spoken();
                return Ok(model);
            }
        }
    }

    /// An error in the place of the first word is none of the answer's words.
    fn check(&self, event: &Value) -> Result<(), LlmError> {
        let kind = event.get("type").and_then(Value::as_str);
        let is_error = matches!(kind, Some("error" | "response.failed"))
            || event.get("error").is_some_and(|error| !error.is_null());
        if is_error { Err(self.reply.error_in_band(event)) } else { Ok(()) }
    }

    fn events_in(&mut self, piece: &[u8]) -> Result<Vec<Value>, LlmError> {
        let garbled = |what: String| LlmError::new(LlmErrorKind::Garbled, what);
        self.parser.push(piece);
        let mut events = Vec::new();
        while let Some(event) =
            self.parser.next_event().map_err(|error| garbled(error.to_string()))?
        {
            if event.data.trim() == "[DONE]" {
                continue;
            }
            let value = serde_json::from_str(&event.data)
                .map_err(|error| garbled(format!("an event of the answer is no JSON: {error}")))?;
            events.push(value);
        }
        Ok(events)
    }

    /// The next piece and what it says. `None`: the answer has come to its end.
    async fn next(&mut self) -> Result<Option<(Bytes, Vec<Said>)>, LlmError> {
        if let Some(held) = self.held.pop_front() {
            return Ok(Some(held));
        }
        // Not all clients take the server's own words for an error.
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        match self.reply.piece().await {
            Ok(Some(piece)) => {
                let events = self.events_in(&piece)?;
                self.failed = events.iter().find_map(|event| self.check(event).err());
                let said = events.iter().map(|event| Said::of_event(self.form, event)).collect();
                Ok(Some((piece, said)))
            }
            // What breaks after the end breaks nothing.
            Ok(None) | Err(_) if self.has_ended => Ok(None),
            Ok(None) => {
                let message = "the answer ended before the model had said why it stopped";
                Err(LlmError::new(LlmErrorKind::BrokenOff, message))
            }
            Err(error) => Err(error),
        }
    }

    /// The pieces as they go out. An answer that breaks off ends with an error.
    pub(super) fn events(
        self: Box<Self>,
        metadata: Metadata,
        recording: Recording,
    ) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        let kept = Kept { recording: Some(recording), metadata };
        stream::unfold(Some((self, kept)), |state| async move {
            let (mut passing, mut kept) = state?;
            match passing.next().await {
                Ok(Some((piece, said))) => {
                    passing.has_ended |= said.iter().any(|said| said.is_end);
                    kept.add(&said);
                    Some((Ok(piece), Some((passing, kept))))
                }
                Ok(None) => {
                    kept.ended();
                    None
                }
                Err(error) => {
                    passing.asked.note_failure(&error);
                    kept.broken_off(&error);
                    Some((Ok(error_event(passing.form, &error)), None))
                }
            }
        })
    }
}

/// An error at the end of a stream, as clients of a form read it.
fn error_event(form: Form, error: &LlmError) -> Bytes {
    let (_, body) = form.error(error);
    let mut out = EventText::default();
    match form {
        Form::Messages => out.typed(&body),
        Form::Responses => {
            let of = |name: &str| body.get("error").and_then(|error| error.get(name)).cloned();
            out.typed(&json!({
                "type": "error", "code": of("code"), "message": error.message(), "param": null,
                // Without it clients for Python take it for an event like any other.
                "error": body.get("error"),
            }));
        }
        Form::ChatCompletions | Form::Completions => out.data(&body),
    }
    out.into_string().into()
}

/// The recording of a call, until its end. A caller who goes away before has it kept as far as
/// it came.
struct Kept {
    recording: Option<Recording>,
    metadata: Metadata,
}

impl Kept {
    fn add(&mut self, said: &[Said]) {
        if let Some(recording) = &mut self.recording {
            said.iter().for_each(|said| recording.said(said));
        }
    }

    fn ended(&mut self) {
        if let Some(recording) = self.recording.take() {
            recording.ended(&self.metadata);
        }
    }

    fn broken_off(&mut self, error: &LlmError) {
        if let Some(recording) = self.recording.take() {
            recording.broken_off(&self.metadata, error);
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(recording) = self.recording.take() {
            recording.abandoned(&self.metadata);
        }
    }
}
