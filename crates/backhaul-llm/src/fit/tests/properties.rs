//! What holds for any conversation and any model.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::room::Room;
use super::*;
use crate::{Part, Role};

/// A message of any role; ids are few, so that calls and results meet, or do not.
fn message() -> impl Strategy<Value = Message> {
    let ids = prop::collection::vec(0..6_u8, 1..3);
    let calls = ids.prop_map(|ids| {
        let ids: Vec<_> = ids.iter().map(|id| format!("id{id}")).collect();
        calling(&ids.iter().map(String::as_str).collect::<Vec<_>>())
    });
    let image = || Part::image("image/png", &[7; 90]);
    let result = |id: u8, content: crate::Content| Message::tool_result(format!("id{id}"), content);
    prop_oneof![
        1 => "[a-zé]{0,30}".prop_map(Message::system),
        4 => "[a-zé]{0,60}".prop_map(Message::user),
        1 => Just(Message::user(vec![Part::text("See"), image()])),
        3 => "[a-zé]{0,60}".prop_map(Message::assistant),
        3 => calls,
        3 => (0..6_u8, "[a-zé漢]{0,600}").prop_map(move |(id, text)| result(id, text.into())),
        1 => (0..6_u8, "[a-zé漢]{0,600}").prop_map(move |(id, text)| {
            result(id, vec![Part::text(text), image()].into())
        }),
    ]
}

fn request() -> impl Strategy<Value = ChatRequest> {
    let choice = prop_oneof![Just(Value::Null), Just("required".into()), Just(named("read"))];
    let messages = prop::collection::vec(message(), 0..30);
    (messages, 0..3_usize, choice).prop_map(|(messages, count, choice)| {
        let tools: Vec<_> = ["read", "write"].into_iter().take(count).map(tool).collect();
        match tools.is_empty() {
            true => ChatRequest::new(messages),
            false => ChatRequest::new(messages).tools(&tools).field("tool_choice", choice),
        }
    })
}

fn capabilities() -> impl Strategy<Value = ModelCapabilities> {
    (200..6_000_u64, any::<[bool; 4]>()).prop_map(|(context, can)| {
        let [vision, tools, forced_tools, json_schema] = can;
        let can = ModelCapabilities { vision, tools, forced_tools, json_schema, ..LOCAL };
        can.with_context_tokens(context)
    })
}

/// Results to which there is no call before them.
fn orphans(messages: &[Message]) -> usize {
    let mut called = BTreeSet::new();
    let is_orphan = |message: &&Message| {
        called.extend(message.tool_calls().into_iter().map(|call| call.id));
        message.role() == Role::Tool && !called.contains(message.tool_call_id().unwrap_or(""))
    };
    messages.iter().filter(is_orphan).count()
}

/// Calls to which there is no result after them.
fn unanswered(messages: &[Message]) -> usize {
    let is_answered = |after: &[Message], id: &str| {
        after.iter().any(|message| message.tool_call_id() == Some(id))
    };
    let calls = messages.iter().enumerate().flat_map(|(place, message)| {
        message.tool_calls().into_iter().map(move |call| (place, call.id))
    });
    calls.filter(|(place, id)| !is_answered(&messages[*place..], id)).count()
}

/// Role and ids of a message: what no cut changes.
fn core(message: &Message) -> (Role, Option<String>, usize) {
    (message.role(), message.tool_call_id().map(str::to_owned), message.tool_calls().len())
}

fn cores(messages: &[Message]) -> Vec<(Role, Option<String>, usize)> {
    messages.iter().map(core).collect()
}

fn run(request: &ChatRequest, can: ModelCapabilities) -> Result<Fitted, LlmError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(fit(request, &Counter::new(can)))
}

proptest! {
    #[test]
    fn what_is_fitted_fits_and_hangs_together(request in request(), can in capabilities()) {
        let fitted = match run(&request, can) {
            Ok(fitted) => fitted,
            Err(error) => {
                prop_assert_eq!(error.kind(), LlmErrorKind::ContextLength);
                return Ok(());
            }
        };
        let (before, after) = (&request.messages, &fitted.request.messages);
        prop_assert!(tokens(&fitted.request) <= Room::of(&fitted.request, can).unwrap().prompt);

        // Once more changes nothing.
        let again = run(&fitted.request, can).unwrap();
        prop_assert_eq!(&again.request, &fitted.request);
        prop_assert!(again.changes.notes().is_empty(), "{:?}", again.changes);

        // All that was told is told, and by whom.
        let told = |messages: &[Message]| -> String {
            let told = messages.iter().filter(|it| it.role().is_instruction());
            told.map(Message::text).collect::<String>().replace("\n\n", "")
        };
        let (told, all_told) = (told(after), told(before));
        let (known, new) = told.split_at_checked(all_told.len()).unwrap();
        prop_assert!(known == all_told || fitted.phrasing.forced.is_some());
        prop_assert!(new.is_empty() || fitted.phrasing.forced.is_some());

        // Calls become text where a model knows none; all else is as it was.
        if can.tools {
            prop_assert!(orphans(after) <= orphans(before));
            prop_assert!(unanswered(after) <= unanswered(before));
            let others = |messages: &[Message]| -> Vec<Message> {
                messages.iter().filter(|it| !it.role().is_instruction()).cloned().collect()
            };
            let (before, after) = (others(before), others(after));
            let kept = &before[before.len() - after.len()..];
            prop_assert_eq!(cores(kept), cores(&after));
            if let Some(last) = before.iter().rposition(|it| it.role() == Role::User) {
                prop_assert!(after.len() >= before.len() - last);
                let place = after.len() - (before.len() - last);
                if before[last].as_json()["content"].is_string() {
                    prop_assert_eq!(&after[place], &before[last]);
                }
            }
        } else {
            prop_assert!(after.iter().all(|it| it.role() != Role::Tool && it.tool_calls().is_empty()));
            let last = before.iter().rfind(|it| it.role() == Role::User);
            if let Some(text) = last.and_then(|it| it.as_json()["content"].as_str()) {
                prop_assert!(after.iter().any(|it| it.text() == text));
            }
        }
    }
}
