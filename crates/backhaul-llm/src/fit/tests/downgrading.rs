//! What a model cannot do.

use serde_json::{Value, json};

use super::*;
use crate::Part;

#[tokio::test]
async fn a_request_that_a_model_can_answer_stays_as_it_is() {
    let parts = vec![Part::text("What?"), Part::image("image/png", b"..")];
    let request = forcing(named("read")).json_schema("x", json!({})).field("n", 3.into());
    let request = ChatRequest { messages: vec![Message::user(parts)], ..request };
    for (context, counts) in [(None, 0), (Some(100_000), 1)] {
        let can = ModelCapabilities { context_tokens: context, ..ModelCapabilities::ALL };
        let model = Counter::new(can);
        let fitted = fit(&request, &model).await.unwrap();
        assert_eq!(fitted.request, request);
        assert!(fitted.changes.notes().is_empty());
        assert_eq!(model.counts(), counts, "{context:?}");
    }
}

#[tokio::test]
async fn what_is_no_text_becomes_text_that_says_so() {
    let image = || Part::image("image/png", b"..");
    let said = vec![
        image(),
        Part::text("What?"),
        Part::image_url("http://127.0.0.1/x.png"),
        Part::of_json(json!({ "type": "input_audio", "input_audio": {} })),
        Part::of_json(json!({ "type": "file", "file": {} })),
    ];
    let [call, _] = called("a", "");
    let messages = vec![Message::user(said), call, Message::tool_result("a", vec![image()])];
    let can = ModelCapabilities { vision: false, ..LOCAL };
    let fitted = fitted(&ChatRequest::new(messages), can).await;
    let notes = ["3 images replaced by text", "2 files or sounds replaced by text"];
    assert_eq!(fitted.changes.notes(), notes);
    let content = fitted.request.messages[0].as_json()["content"].as_array().unwrap();
    assert!(content.len() == 5 && content.iter().all(|part| part["type"] == "text"));
    assert_eq!(content[0]["text"], "[an image was here; this model cannot see it]");
    assert_eq!(content[1]["text"], "What?");
    assert!(fitted.request.messages[2].text().starts_with("[an image was here"));
}

#[tokio::test]
async fn what_a_model_that_sees_can_read_beside_images_is_left_to_it() {
    let file = Part::of_json(json!({ "type": "file", "file": {} }));
    let request = ChatRequest::new(vec![Message::user(vec![file])]);
    assert_eq!(fitted(&request, ModelCapabilities::ALL).await.request, request);
}

#[tokio::test]
async fn instructions_at_the_beginning_become_one_that_every_template_knows() {
    let told = |role: &str, text: &str| {
        Message::from_json(json!({ "role": role, "content": text })).unwrap()
    };
    let messages = vec![
        told("system", "Be brief."),
        told("developer", "Be kind."),
        Message::user("Is it warm?"),
        told("developer", "And now be honest."),
        Message::user("Is it?"),
    ];
    let fitted = fitted(&ChatRequest::new(messages.clone()), LOCAL).await;
    let expected = [
        Message::system("Be brief.\n\nBe kind."),
        messages[2].clone(),
        Message::system("And now be honest."),
        messages[4].clone(),
    ];
    assert_eq!(fitted.request.messages, expected);
    assert!(fitted.changes.notes().is_empty(), "nothing is lost");
}

#[tokio::test]
async fn examples_that_are_told_by_name_stay_messages_of_their_own() {
    let example = |name: &str| Message::system("x").with("name", name.into());
    let messages = vec![Message::system("Be brief."), example("example_user"), example("other")];
    let fitted = fitted(&ChatRequest::new(messages.clone()), LOCAL).await;
    assert_eq!(fitted.request.messages, messages);
}

#[tokio::test]
async fn tools_and_schemas_that_a_model_does_not_know_are_left_out() {
    let request = forcing("auto".into()).json_schema("x", json!({}));
    let given = fitted(&request, ModelCapabilities::TEXT).await;
    assert!(given.request.fields.is_empty(), "{:?}", given.request.fields);
    assert_eq!(given.changes.notes().len(), 2);
    let legacy = ChatRequest::new(turns(0))
        .field("functions", json!([{ "name": "read" }]))
        .field("function_call", "auto".into());
    let given = fitted(&legacy, ModelCapabilities::TEXT).await;
    assert_eq!((given.request.fields.len(), given.changes.notes().len()), (0, 1));
    // Who asks for nothing loses nothing.
    let nothing = ChatRequest::new(turns(0))
        .field("tools", json!([]))
        .field("tool_choice", "none".into())
        .field("response_format", json!({ "type": "text" }));
    let given = fitted(&nothing, ModelCapabilities::TEXT).await;
    assert!(given.request.fields.is_empty() && given.changes.notes().is_empty());
}

#[tokio::test]
async fn a_model_that_gives_one_answer_is_asked_for_one() {
    let request = ChatRequest::new(turns(0)).field("n", 3.into());
    let given = fitted(&request, LOCAL).await;
    assert!(!given.request.fields.contains_key("n"));
    assert_eq!(given.changes.notes(), ["1 answer in place of 3: this model gives no more"]);
    let one = ChatRequest::new(turns(0)).field("n", 1.into());
    assert_eq!(fitted(&one, LOCAL).await.request, one);
}

#[tokio::test]
async fn a_model_without_tools_reads_of_the_calls_that_were_made() {
    let mut messages = turns(0);
    messages.push(calling(&["a", "b"]).with("content", Value::Null));
    messages.push(Message::tool_result("b", vec![Part::text("2")]));
    messages.push(Message::tool_result("a", "1"));
    messages.push(Message::assistant("It is 12."));
    messages.push(Message::user("Again."));
    let request = ChatRequest::new(messages.clone());
    let given = fitted(&request, ModelCapabilities::TEXT).await;
    let kept = &given.request.messages;
    assert_eq!(kept[2], Message::assistant("[called read: {}]\n[called read: {}]"));
    let results = ["[read gave:]", "2", "[read gave:]\n\n1"].map(Part::text).to_vec();
    assert_eq!(kept[3], Message::user(results));
    assert_eq!(kept[4..], messages[5..]);
    assert_eq!(given.changes.notes(), ["calls of tools and their results put as text"]);
    assert_eq!(fitted(&request, LOCAL).await.request, request);
}

#[tokio::test]
async fn where_no_call_can_be_forced_only_the_tool_that_is_meant_is_offered() {
    let can = ModelCapabilities { json_schema: false, ..LOCAL };
    let given = fitted(&forcing(named("write")), can).await;
    assert_eq!(given.request.fields["tools"], json!([tool("write").to_openai()]));
    assert!(!given.request.fields.contains_key("tool_choice"));
    assert_eq!(given.changes.notes().len(), 1);
    let given = fitted(&forcing("required".into()), can).await;
    assert_eq!(given.request.fields["tools"].as_array().unwrap().len(), 2);
    assert_eq!(given.changes.notes().len(), 1);
    assert_eq!(fitted(&forcing("auto".into()), LOCAL).await.request, forcing("auto".into()));
}

#[tokio::test]
async fn of_allowed_tools_the_others_are_not_offered() {
    let allowed = |mode: &str| {
        let allowed = json!({ "mode": mode, "tools": [named("read")] });
        forcing(json!({ "type": "allowed_tools", "allowed_tools": allowed }))
    };
    let given = fitted(&allowed("auto"), LOCAL).await;
    assert_eq!(given.request.fields["tools"], json!([tool("read").to_openai()]));
    assert!(!given.request.fields.contains_key("tool_choice"));
    let given = fitted(&allowed("required"), LOCAL).await;
    assert!(given.request.fields.contains_key("response_format"));
}
