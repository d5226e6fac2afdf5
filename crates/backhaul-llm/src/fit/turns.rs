//! The turns of a conversation.

use crate::message::{Message, Role};

/// The turns before the last one, oldest first, as places of messages: what somebody said, and
/// what followed it. Calls of tools and their results are in one. Instructions are in none, and
/// stand between them at most. The last one begins with the last thing that somebody said; where
/// nobody said anything it is all there is.
pub(super) fn earlier_turns(messages: &[Message]) -> Vec<Vec<usize>> {
    let last = messages.iter().rposition(|message| message.role() == Role::User);
    let earlier = messages.iter().take(last.unwrap_or(0));
    let mut turns: Vec<Vec<usize>> = Vec::new();
    for (place, message) in earlier.enumerate() {
        match message.role() {
            role if role.is_instruction() => {}
            Role::User => turns.push(vec![place]),
            _ => match turns.last_mut() {
                Some(turn) => turn.push(place),
                None => turns.push(vec![place]),
            },
        }
    }
    turns
}

/// Places of results of tools that are not the newest: those before the last call.
pub(super) fn old_results(messages: &[Message]) -> Vec<usize> {
    let calls = |message: &Message| message.as_json().contains_key("tool_calls");
    let newest = messages.iter().rposition(calls).unwrap_or(messages.len());
    let is_result = |place: &usize| messages.get(*place).is_some_and(|it| it.role() == Role::Tool);
    (0..newest).filter(is_result).collect()
}
