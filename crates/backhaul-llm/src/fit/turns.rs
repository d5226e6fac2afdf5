//! The turns of a conversation.

use std::ops::Range;

use crate::message::{Message, Role};

/// The turns before the last one, oldest first, as places of messages: what somebody said, and
/// what followed it. Calls of tools and their results are in one. Instructions are in none, and
/// stand between them at most.
pub(super) fn earlier_turns(messages: &[Message]) -> Vec<Vec<usize>> {
    let mut turns: Vec<Vec<usize>> = Vec::new();
    for place in last_turn(messages).start_before() {
        let Some(message) = messages.get(place) else { break };
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

/// The last thing that somebody said, and what follows it; all where nobody said anything.
pub(super) fn last_turn(messages: &[Message]) -> LastTurn {
    let last = messages.iter().rposition(|message| message.role() == Role::User);
    LastTurn(last.unwrap_or(0))
}

/// Where the last turn begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastTurn(usize);

impl LastTurn {
    /// The places before it.
    fn start_before(self) -> Range<usize> {
        0..self.0
    }
}

/// Places of results of tools that are not the newest: those before the last call.
pub(super) fn old_results(messages: &[Message]) -> Vec<usize> {
    let calls = |message: &Message| message.as_json().contains_key("tool_calls");
    let newest = messages.iter().rposition(calls).unwrap_or(messages.len());
    let is_result = |place: &usize| messages.get(*place).is_some_and(|it| it.role() == Role::Tool);
    (0..newest).filter(is_result).collect()
}
