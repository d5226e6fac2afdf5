//! What becomes of a healthy answer.

use std::time::Duration;

use serde_json::Value;

use super::events::Events;
use super::form::{Asked, Form};
use super::scenario::LlmScenario;
use super::{chat, other_forms};
use crate::Answer;

/// Tokens that are out before a stream breaks.
const TOKENS_BEFORE: usize = 4;

/// An answer that is not streamed.
pub(super) fn whole(scenario: LlmScenario, asked: &Asked, gap: Duration) -> Answer {
    let text = body(scenario, asked).to_string();
    let (first, second) = text.split_at(text.floor_char_boundary(text.len() / 2));
    let answer = Answer::new(200).header("Content-Type", "application/json");
    let half = answer.clone().piece(first);
    match scenario {
        LlmScenario::ErrorAfterRole | LlmScenario::ErrorAt4 => answer
            .body(r#"{"error": {"message": "The server had an error.", "type": "server_error"}}"#),
        LlmScenario::SilentAfterRole => answer.then_stall().piece(text),
        LlmScenario::CutAt4 | LlmScenario::CutInLine => half.then_reset().piece(second),
        LlmScenario::HangUpAt4 => half.then_hang_up().piece(second),
        LlmScenario::StallAt4 => half.then_stall().piece(second),
        LlmScenario::EndsAt4 => half,
        LlmScenario::MalformedAt4 => half.piece("\u{0}").piece(second),
        LlmScenario::CutInCharacter => answer.piece(cut_in_character(&text)),
        LlmScenario::Odd => answer.body(format!("\r\n \n{text}\n")),
        LlmScenario::Crumbs => in_crumbs(answer, [text]),
        LlmScenario::Trickle => half.pause(gap).piece(second),
        _ => answer.body(text),
    }
}

/// An answer that is. `None`: the form has none.
pub(super) fn streamed(scenario: LlmScenario, asked: &Asked, gap: Duration) -> Option<Answer> {
    let Events { opening, tokens, finish, done, error } = events(scenario, asked)?;
    let (before, behind) = tokens.split_at(TOKENS_BEFORE.min(tokens.len()));
    let fifth = behind.first().map_or("", String::as_str);
    let opened = in_pieces(Answer::events(), &opening);
    let four = in_pieces(opened.clone(), before);
    let spoken = in_pieces(opened.clone(), &tokens);
    let all = || opening.iter().chain(&tokens).chain(&finish).chain(&done).cloned();
    Some(match scenario {
        LlmScenario::ErrorAfterRole => opened.piece(error),
        LlmScenario::SilentAfterRole => opened.then_stall(),
        LlmScenario::CutAt4 => four.then_reset(),
        LlmScenario::HangUpAt4 => four.then_hang_up(),
        LlmScenario::StallAt4 => four.then_stall(),
        LlmScenario::MalformedAt4 => {
            let broken = four.piece("data: {\"choices\": [{\"delta\": {\"content\": \n\n");
            in_pieces(broken, behind.iter().chain(&finish).chain(&done))
        }
        LlmScenario::ErrorAt4 => four.piece(error),
        LlmScenario::EndsAt4 => four,
        LlmScenario::CutInCharacter => four.piece(cut_in_character(fifth)),
        LlmScenario::CutInLine => {
            let (half, _) = fifth.split_at(fifth.floor_char_boundary(fifth.len() / 2));
            four.piece(half).then_reset()
        }
        LlmScenario::NoDone => in_pieces(spoken, &finish),
        LlmScenario::Odd => in_pieces(Answer::events(), all().enumerate().map(|it| odd(it, asked))),
        LlmScenario::Crumbs => in_crumbs(Answer::events(), all()),
        LlmScenario::Trickle => {
            let slow =
                tokens.iter().fold(opened, |answer, it| answer.pause(gap).piece(it.as_str()));
            in_pieces(slow, finish.iter().chain(&done))
        }
        _ => in_pieces(spoken, finish.iter().chain(&done)),
    })
}

fn body(scenario: LlmScenario, asked: &Asked) -> Value {
    match &asked.form {
        Form::Chat => chat::whole(scenario, asked),
        Form::Completions => other_forms::completion(asked),
        Form::Responses => other_forms::response(asked),
        Form::Messages => other_forms::message(asked),
        Form::Embeddings => other_forms::embeddings(asked),
        Form::Models => other_forms::models(),
        Form::Model(id) => other_forms::model(id),
    }
}

fn events(scenario: LlmScenario, asked: &Asked) -> Option<Events> {
    match asked.form {
        Form::Chat => Some(chat::events(scenario, asked)),
        Form::Completions => Some(other_forms::completion_events(asked)),
        Form::Responses => Some(other_forms::response_events(asked)),
        Form::Messages => Some(other_forms::message_events(asked)),
        Form::Embeddings | Form::Models | Form::Model(_) => None,
    }
}

fn in_pieces(answer: Answer, events: impl IntoIterator<Item: AsRef<[u8]>>) -> Answer {
    events.into_iter().fold(answer, |answer, it| answer.piece(it.as_ref()))
}

fn in_crumbs(answer: Answer, events: impl IntoIterator<Item = String>) -> Answer {
    let bytes: Vec<u8> = events.into_iter().flat_map(String::into_bytes).collect();
    in_pieces(answer, bytes.chunks(3))
}

/// All up to the first byte of the first character that has two or more; of what has none,
/// half, and such a byte.
fn cut_in_character(text: &str) -> Vec<u8> {
    let wide = text.char_indices().find(|(_, it)| it.len_utf8() > 1);
    let (at, byte) = wide.map_or((text.len() / 2, 0xc3), |(at, it)| {
        (at, it.encode_utf8(&mut [0; 4]).as_bytes().first().copied().unwrap_or_default())
    });
    let mut cut = text.as_bytes().iter().take(at).copied().collect::<Vec<u8>>();
    cut.push(byte);
    cut
}

/// An event as the standard allows it and as few servers write it.
fn odd((number, event): (usize, String), asked: &Asked) -> String {
    match number % 5 {
        // On the last event alone: after an `id`, OpenAI's client for Python (3.54.0) takes a
        // comment that stands alone for an event, and fails.
        _ if event.contains("[DONE]") => format!("id: {number}\nretry: 100\n{event}"),
        0 => format!(": keep-alive\n\n{event}"),
        1 => event.replace('\n', "\r\n"),
        2 if !event.contains("event:") => format!("event: message\n{event}"),
        // Lines of data are joined with a line feed, which JSON allows between two fields.
        3 if !event.contains("event:") => event.replacen(",\"", ",\ndata: \"", 1),
        4 if asked.form == Form::Chat => format!("{}{event}", chat::empty_chunk(asked)),
        _ => event.replace("data: ", "data:"),
    }
}
