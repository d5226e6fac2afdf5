//! The turns of a conversation.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::message::{Message, Role};

/// The turns of a conversation: what somebody said, and all that followed until the next thing
/// that was said. What a model said before anybody spoke is in turns of its own. A call of a
/// tool and its result are never in two. Instructions are in none.
#[derive(Debug)]
pub(super) struct Turns {
    /// Where each begins, the oldest first. The last one begins with the last thing that
    /// somebody said, or before it, where that stands between a call and its result.
    starts: Vec<usize>,
    /// What the model is to read now.
    newest: usize,
}

impl Turns {
    pub(super) fn of(messages: &[Message]) -> Self {
        let last = messages.iter().rposition(|message| message.role() == Role::User);
        let is_in_time = |start: &usize| last.is_none_or(|last| *start <= last);
        let starts = starts(messages).into_iter().take_while(is_in_time).collect();
        // An answer that was begun, at the end, is no answer yet.
        let mut before_last = messages.iter().take(messages.len().saturating_sub(1));
        let newest = before_last.rposition(|message| message.role() == Role::Assistant);
        Self { starts, newest: newest.unwrap_or(0) }
    }

    /// How many there are before the last one.
    pub(super) fn old(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Leaves so many out, the oldest first. Instructions stay.
    pub(super) fn leave_out(&self, messages: &mut Vec<Message>, count: usize) {
        let end = self.starts.get(count).copied().unwrap_or(0);
        let mut places = 0..;
        messages.retain(|message| {
            places.next().is_some_and(|place| place >= end) || message.role().is_instruction()
        });
    }

    /// Whether a message is what the model is asked now: the last thing that somebody said, and
    /// results that no answer has followed.
    pub(super) fn is_asked_now(&self, place: usize, message: &Message) -> bool {
        let last = self.starts.last().is_some_and(|start| place >= *start);
        place > self.newest || (last && message.role() == Role::User)
    }
}

/// Where a conversation may be cut: before what somebody said, and not between a call and its
/// result.
fn starts(messages: &[Message]) -> Vec<usize> {
    // By the place of each call, that of its last result.
    let mut results = vec![0; messages.len()];
    let mut calls = BTreeMap::new();
    for (place, message) in messages.iter().enumerate() {
        calls.extend(ids_called(message).map(|id| (id, place)));
        if message.role() == Role::Tool {
            let call = calls.get(message.tool_call_id().unwrap_or_default());
            if let Some(result) = call.and_then(|call| results.get_mut(*call)) {
                *result = place;
            }
        }
    }
    let (mut starts, mut has_user, mut open_until) = (Vec::new(), false, 0);
    for (place, (message, result)) in messages.iter().zip(results).enumerate() {
        let role = message.role();
        has_user |= role == Role::User;
        let begins = role == Role::User || (role == Role::Assistant && !has_user);
        if !role.is_instruction() && (starts.is_empty() || (begins && place > open_until)) {
            starts.push(place);
        }
        open_until = open_until.max(result);
    }
    starts
}

/// The ids of the calls that a message makes; that of a function, as it was called before there
/// were tools, is empty.
fn ids_called(message: &Message) -> impl Iterator<Item = &str> {
    let fields = message.as_json();
    let tools = fields.get("tool_calls").and_then(Value::as_array).into_iter().flatten();
    let tools = tools.filter_map(|call| call.get("id")?.as_str());
    let function = fields.get("function_call").filter(|it| it.is_object());
    tools.chain(function.map(|_| ""))
}
