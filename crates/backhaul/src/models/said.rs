//! What a model says in the forms that are passed on as they come.

use backhaul_llm::{Form, Usage};
use serde_json::Value;

/// What an answer, or a piece of one, says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) text: String,
    pub(super) usage: Option<Usage>,
    /// Whether the model says anything with it, be it in another way than text.
    pub(super) is_meaningful: bool,
    /// Whether it is the end of the answer.
    pub(super) is_end: bool,
}

impl Said {
    /// Of a whole answer.
    pub(super) fn of_answer(form: Form, body: &Value) -> Self {
        let text = match form {
            Form::Responses => {
                let parts = list(body, "output").flat_map(|item| list(item, "content"));
                parts.filter_map(|part| part.get("text")?.as_str()).collect()
            }
            Form::Messages => {
                let blocks = list(body, "content");
                blocks.filter_map(|block| block.get("text")?.as_str()).collect()
            }
            Form::ChatCompletions | Form::Completions => {
                text_at(body, "/choices/0/text").to_owned()
            }
        };
        Self { text, usage: usage_of(body), is_meaningful: true, is_end: true }
    }

    /// Of an event of a stream.
    pub(super) fn of_event(form: Form, event: &Value) -> Self {
        let kind = event.get("type").and_then(Value::as_str).unwrap_or_default();
        match form {
            Form::Responses => {
                let response = event.get("response").unwrap_or(&Value::Null);
                let is_text = kind == "response.output_text.delta";
                Self {
                    text: if is_text { text_at(event, "/delta").to_owned() } else { String::new() },
                    usage: usage_of(response),
                    is_meaningful: !is_preamble_of_response(kind, event),
                    is_end: matches!(
                        kind,
                        "response.completed" | "response.incomplete" | "response.failed" | "error"
                    ),
                }
            }
            Form::Messages => Self {
                text: text_at(event, "/delta/text").to_owned(),
                usage: usage_of(event),
                is_meaningful: !is_preamble_of_message(kind, event),
                is_end: matches!(kind, "message_stop" | "error"),
            },
            Form::ChatCompletions | Form::Completions => {
                let text = text_at(event, "/choices/0/text").to_owned();
                let finish = event.pointer("/choices/0/finish_reason");
                let is_end = finish.is_some_and(|finish| !finish.is_null());
                let is_meaningful = is_end || !text.is_empty();
                Self { text, usage: usage_of(event), is_meaningful, is_end }
            }
        }
    }
}

/// Whether an event of a response says only that something may come.
fn is_preamble_of_response(kind: &str, event: &Value) -> bool {
    match kind {
        "" | "response.created" | "response.in_progress" | "response.queued" => true,
        "response.content_part.added" | "response.reasoning_summary_part.added" => true,
        // Others are calls, by name.
        "response.output_item.added" => {
            matches!(text_at(event, "/item/type"), "message" | "reasoning")
        }
        _ => false,
    }
}

/// The same of a message.
fn is_preamble_of_message(kind: &str, event: &Value) -> bool {
    match kind {
        "" | "message_start" | "ping" => true,
        "content_block_start" => {
            matches!(text_at(event, "/content_block/type"), "text" | "thinking")
        }
        _ => false,
    }
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn text_at<'a>(value: &'a Value, place: &str) -> &'a str {
    value.pointer(place).and_then(Value::as_str).unwrap_or_default()
}

/// By either pair of names.
fn usage_of(value: &Value) -> Option<Usage> {
    let usage = value.get("usage")?;
    let tokens = |names: [&str; 2]| names.iter().find_map(|name| usage.get(*name)?.as_u64());
    let prompt_tokens = tokens(["input_tokens", "prompt_tokens"]);
    let completion_tokens = tokens(["output_tokens", "completion_tokens"]);
    (prompt_tokens.is_some() || completion_tokens.is_some()).then(|| Usage {
        prompt_tokens: prompt_tokens.unwrap_or_default(),
        completion_tokens: completion_tokens.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(form: Form, event: Value) -> (String, bool, bool) {
        let Said { text, is_meaningful, is_end, .. } = Said::of_event(form, &event);
        (text, is_meaningful, is_end)
    }

    #[test]
    fn a_beginning_alone_says_nothing_in_any_form() {
        for (form, begins, says, ends) in [
            (
                Form::Responses,
                json!({ "type": "response.created", "response": {} }),
                json!({ "type": "response.output_text.delta", "delta": "Yes" }),
                json!({ "type": "response.completed", "response": {} }),
            ),
            (
                Form::Messages,
                json!({ "type": "message_start", "message": {} }),
                json!({ "type": "content_block_delta", "delta": { "text": "Yes" } }),
                json!({ "type": "message_stop" }),
            ),
            (
                Form::Completions,
                json!({ "choices": [{ "text": "", "finish_reason": null }] }),
                json!({ "choices": [{ "text": "Yes", "finish_reason": null }] }),
                json!({ "choices": [{ "text": "", "finish_reason": "stop" }] }),
            ),
        ] {
            assert_eq!(event(form, begins), (String::new(), false, false), "{form:?}");
            assert_eq!(event(form, says), ("Yes".to_owned(), true, false), "{form:?}");
            assert_eq!(event(form, ends), (String::new(), true, true), "{form:?}");
        }
    }

    #[test]
    fn room_for_words_says_nothing_and_a_call_says_its_name() {
        let response = |kind: &str, item: &str| {
            event(Form::Responses, json!({ "type": kind, "item": { "type": item } })).1
        };
        assert!(!response("response.output_item.added", "message"));
        assert!(!response("response.output_item.added", "reasoning"));
        assert!(!response("response.content_part.added", ""));
        assert!(response("response.output_item.added", "function_call"));
        assert!(response("response.function_call_arguments.delta", ""));
        assert!(response("response.reasoning_summary_text.delta", ""));
        let block = |kind: &str| {
            let start = json!({ "type": "content_block_start", "content_block": { "type": kind } });
            event(Form::Messages, start).1
        };
        assert!(!block("text") && !block("thinking"));
        assert!(block("tool_use") && block("redacted_thinking"));
    }

    #[test]
    fn a_whole_answer_is_read_in_each_form() {
        let response = json!({
            "output": [{ "type": "message", "content": [{ "text": "Ye" }, { "text": "s" }] }],
            "usage": { "input_tokens": 5, "output_tokens": 2 },
        });
        let said = Said::of_answer(Form::Responses, &response);
        let usage = Usage { prompt_tokens: 5, completion_tokens: 2 };
        assert_eq!((said.text.as_str(), said.usage), ("Yes", Some(usage)));
        let message = json!({ "content": [{ "type": "text", "text": "Yes" }] });
        assert_eq!(Said::of_answer(Form::Messages, &message).text, "Yes");
        let completion = json!({ "choices": [{ "text": "Yes" }] });
        assert_eq!(Said::of_answer(Form::Completions, &completion).text, "Yes");
    }
}
