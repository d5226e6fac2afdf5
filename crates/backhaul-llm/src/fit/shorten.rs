//! A request that is too long, made shorter: the least needed first.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Room;
use super::changes::Changes;
use super::images::{self, Sort};
use super::turns;
use crate::client::LlmClient;
use crate::error::{LlmError, LlmErrorKind};
use crate::request::ChatRequest;

/// The longest result of a tool that is left as it is, in bytes.
const MOST_RESULT: usize = 1_024;
/// What is left of a longer one, at either end.
const END: usize = 400;

/// Makes a request fit.
///
/// # Errors
/// [`LlmErrorKind::ContextLength`] where it cannot be done.
pub(super) async fn shorten(
    request: &mut ChatRequest,
    client: &dyn LlmClient,
    room: Room,
    changes: &mut Changes,
) -> Result<(), LlmError> {
    let before = count(client, request).await?;
    if before <= room.prompt {
        return Ok(());
    }
    let mut now = before;
    for step in [leave_out_images, elide_results] {
        if step(request, changes) {
            now = count(client, request).await?;
        }
        if now <= room.prompt {
            changes.trimmed_tokens += before - now;
            return Ok(());
        }
    }
    now = leave_out_turns(request, client, room, now, changes).await?;
    if now > room.prompt && leave_out_descriptions(request, changes) {
        now = count(client, request).await?;
    }
    changes.trimmed_tokens += before.saturating_sub(now);
    if now <= room.prompt { Ok(()) } else { Err(too_long(before, now, room)) }
}

async fn count(client: &dyn LlmClient, request: &ChatRequest) -> Result<u64, LlmError> {
    Ok(client.count_tokens(request).await?.tokens)
}

fn too_long(before: u64, now: u64, room: Room) -> LlmError {
    let Room { context, prompt } = room;
    let message = format!(
        "the request is {before} tokens, and {now} with all left out that may be: this model has \
         room for {prompt}, of a context of {context}; shorten the last message or the \
         instructions"
    );
    LlmError::new(LlmErrorKind::ContextLength, message)
}

fn leave_out_images(request: &mut ChatRequest, changes: &mut Changes) -> bool {
    let images = images::replace(&mut request.messages, Sort::Image);
    changes.count(images, "image", "images", "replaced by text for want of room");
    images > 0
}

fn elide_results(request: &mut ChatRequest, changes: &mut Changes) -> bool {
    let mut elided = 0;
    for place in turns::old_results(&request.messages) {
        let message = request.messages.get_mut(place);
        let content = message.and_then(|it| it.as_json_mut().get_mut("content"));
        if let Some(Value::String(text)) = content.filter(|it| is_long(it)) {
            *text = elide(text);
            elided += 1;
        }
    }
    changes.count(elided, "older result of a tool", "older results of tools", "cut in the middle");
    elided > 0
}

fn is_long(content: &Value) -> bool {
    content.as_str().is_some_and(|text| text.len() > MOST_RESULT)
}

/// Head and tail, and between them how much was cut.
fn elide(text: &str) -> String {
    let head = text.floor_char_boundary(END);
    let tail = text.ceil_char_boundary(text.len() - END);
    let (head, tail) = (text.get(..head).unwrap_or(""), text.get(tail..).unwrap_or(""));
    let cut = text.len() - head.len() - tail.len();
    format!("{head}\n[… {cut} bytes cut …]\n{tail}")
}

/// Leaves out as few of the oldest turns as it takes, or all but the last.
async fn leave_out_turns(
    request: &mut ChatRequest,
    client: &dyn LlmClient,
    room: Room,
    now: u64,
    changes: &mut Changes,
) -> Result<u64, LlmError> {
    let turns = turns::earlier_turns(&request.messages);
    let without = |count: usize| {
        let left_out: BTreeSet<usize> = turns.iter().take(count).flatten().copied().collect();
        let kept = request.messages.iter().enumerate();
        let kept = kept.filter(|(place, _)| !left_out.contains(place));
        let messages = kept.map(|(_, message)| message.clone()).collect();
        ChatRequest { messages, ..request.clone() }
    };
    // Too few, and enough as far as is known.
    let (mut few, mut enough, mut tokens) = (0, turns.len(), now);
    if enough == 0 {
        return Ok(now);
    }
    let mut best = without(enough);
    let all = count(client, &best).await?;
    if all <= room.prompt {
        tokens = all;
        while few + 1 < enough {
            let middle = few.midpoint(enough);
            let candidate = without(middle);
            let counted = count(client, &candidate).await?;
            if counted <= room.prompt {
                (enough, best, tokens) = (middle, candidate, counted);
            } else {
                few = middle;
            }
        }
    } else {
        tokens = tokens.min(all);
    }
    changes.count(enough, "oldest turn", "oldest turns", "left out");
    *request = best;
    Ok(tokens)
}

fn leave_out_descriptions(request: &mut ChatRequest, changes: &mut Changes) -> bool {
    let Some(tools) = request.fields.get_mut("tools") else { return false };
    let before = tools.clone();
    remove_descriptions(tools);
    let is_changed = *tools != before;
    if is_changed {
        changes.note("descriptions of tools left out");
    }
    is_changed
}

/// A property may be called so too: only texts are descriptions.
fn remove_descriptions(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, value| name != "description" || !value.is_string());
            fields.values_mut().for_each(remove_descriptions);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_descriptions),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_result_keeps_its_ends_and_is_never_cut_inside_a_character() {
        let text = format!("head {} tail", "é漢".repeat(1_000));
        let elided = elide(&text);
        assert!(elided.starts_with("head ") && elided.ends_with(" tail"), "{elided}");
        assert!(elided.len() < MOST_RESULT && elided.contains("bytes cut"), "{elided}");
    }
}
