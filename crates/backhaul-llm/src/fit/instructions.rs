//! What a model is told to be.

use serde_json::{Value, json};

use crate::message::{Message, Role};

/// Makes one message of the instructions that a conversation begins with, and one of role
/// `system` of each: many templates know no other role, or no second such message, and drop it
/// or fail. Those with more than a role and a text, such as a name, are left as they are.
pub(super) fn unite(messages: &mut Vec<Message>) {
    for message in messages.iter_mut().filter(|it| it.role() == Role::Developer) {
        message.as_json_mut().insert("role".to_owned(), "system".into());
    }
    let is_plain = |message: &&Message| {
        message.role().is_instruction()
            && message.as_json().keys().all(|field| field == "role" || field == "content")
    };
    let count = messages.iter().take_while(is_plain).count();
    if count < 2 {
        return;
    }
    let others = messages.drain(1..count).collect::<Vec<_>>();
    if let Some(first) = messages.first_mut() {
        for mut other in others {
            append(first, other.as_json_mut().remove("content").unwrap_or_default());
        }
    }
}

/// Adds to what a model is told at the beginning.
pub(super) fn add(messages: &mut Vec<Message>, text: String) {
    match messages.first_mut().filter(|first| first.role().is_instruction()) {
        Some(first) => append(first, text.into()),
        None => messages.insert(0, Message::system(text)),
    }
}

/// Adds to the content of a message: texts with a line between them, else part by part.
pub(super) fn append(message: &mut Message, more: Value) {
    let content = message.as_json_mut().entry("content").or_insert(Value::Null);
    *content = match (content.take(), more) {
        (none, one) | (one, none) if none.is_null() || none == "" => one,
        (Value::String(text), Value::String(more)) => format!("{text}\n\n{more}").into(),
        (one, other) => Value::Array([parts(one), parts(other)].concat()),
    };
}

fn parts(content: Value) -> Vec<Value> {
    match content {
        Value::Array(parts) => parts,
        text => vec![json!({ "type": "text", "text": text })],
    }
}
