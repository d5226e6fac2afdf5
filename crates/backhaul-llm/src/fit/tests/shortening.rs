//! What there is no room for.

use serde_json::json;

use super::*;
use crate::{Part, TokenBudget};

#[tokio::test]
async fn the_oldest_turns_are_left_out_and_no_more_than_has_to_be() {
    let request = ChatRequest::new(turns(100));
    let (all, model) = (tokens(&request), Counter::of(2_000));
    let fitted = fit(&request, &model).await.unwrap();
    let left = tokens(&fitted.request);
    assert!(left <= 1_500 && left > 1_300, "{left}");
    assert_eq!(fitted.changes.trimmed_tokens, all - left);
    let count = (request.messages.len() - fitted.request.messages.len()) / 2;
    assert_eq!(fitted.changes.notes(), [format!("{count} oldest turns left out")]);
    assert_eq!(fitted.request.messages[0], request.messages[0]);
    assert_eq!(fitted.request.messages[1..], request.messages[1 + 2 * count..]);
    assert!(model.counts() <= 9, "{}", model.counts());
}

#[tokio::test]
async fn a_budget_holds_where_it_is_less_than_the_context() {
    for budget in [2_000, 1_000_000] {
        let budget = TokenBudget::new(budget).reserved_for_output(100);
        let request = ChatRequest::new(turns(100)).token_budget(budget.clone());
        let fitted = fit(&request, &Counter::of(3_000)).await.unwrap();
        let (fits, left) = (budget.max_tokens.min(3_000) - 100, tokens(&fitted.request));
        assert!(left <= fits && left > fits - 100, "{left} of {fits}");
    }
}

#[tokio::test]
async fn what_the_answer_may_take_is_kept_and_a_quarter_at_most() {
    for (name, most, room) in [
        ("max_completion_tokens", 100, 2_900),
        ("max_tokens", 0, 2_999),
        ("max_tokens", 100_000, 2_250),
        ("other", 1, 2_250),
    ] {
        let request = ChatRequest::new(turns(100)).field(name, most.into());
        let left = tokens(&fit(&request, &Counter::of(3_000)).await.unwrap().request);
        assert!(left <= room && left > room - 100, "{name} {most}: {left} of {room}");
    }
}

#[tokio::test]
async fn where_there_is_no_room_at_all_that_is_said() {
    for context in [0, 1] {
        let error = fit(&ChatRequest::new(turns(0)), &Counter::of(context)).await.unwrap_err();
        assert_eq!(error.kind(), LlmErrorKind::ContextLength);
    }
    let error = fit(&ChatRequest::new(vec![]), &Counter::of(0)).await.unwrap_err();
    assert_eq!(error.kind(), LlmErrorKind::ContextLength);
}

#[tokio::test]
async fn what_cannot_be_made_to_fit_is_told_in_numbers() {
    let request = ChatRequest::new(vec![Message::user("x".repeat(5_000))]);
    let error = fit(&request, &Counter::of(1_000)).await.unwrap_err();
    assert_eq!(error.kind(), LlmErrorKind::ContextLength);
    for number in [tokens(&request), 750, 1_000] {
        assert!(error.message().contains(&number.to_string()), "{error}");
    }
}

fn image() -> Message {
    Message::user(vec![Part::image("image/png", &[0; 600])])
}

#[tokio::test]
async fn old_images_go_before_anything_else_the_oldest_first() {
    let seen = || [image(), Message::assistant("I see.")];
    let messages = [seen(), seen(), seen()].concat();
    let messages = [messages, vec![image()]].concat();
    let (kept, said) = within(3_000, &messages).await;
    assert_eq!(said, ["2 images replaced by text for want of room"]);
    assert!(kept[0].text().starts_with("[an image was here"), "{:?}", kept[0]);
    assert_eq!(kept[3..], messages[3..]);
}

#[tokio::test]
async fn the_image_that_is_asked_about_goes_last() {
    let mut messages = turns(20);
    messages.push(Message::assistant("Show me."));
    messages.push(image());
    let (kept, said) = within(1_500, &messages).await;
    assert_eq!((kept.last(), said.len()), (messages.last(), 1), "{said:?}");
    let (kept, said) = within(1_000, &messages).await;
    assert!(kept.last().unwrap().text().starts_with("[an image was here"));
    assert_eq!(said.len(), 2, "{said:?}");
}

#[tokio::test]
async fn old_results_of_tools_lose_their_middle_before_a_turn_is_left_out() {
    let long = "é漢".repeat(800);
    let parts = Message::tool_result("b", vec![Part::text(long.clone())]);
    let messages = [
        turns(1),
        called("a", &long).to_vec(),
        vec![calling(&["b"]), parts],
        called("c", "new").to_vec(),
    ]
    .concat();
    let (kept, said) = within(4_400, &messages).await;
    assert_eq!(said, ["2 results of tools cut in the middle"]);
    for place in [5, 7] {
        let left = kept[place].text();
        assert!(left.starts_with("é漢é") && left.ends_with("é漢"), "{left}");
        assert!(left.len() <= 1_024 && left.contains(" bytes cut …]"), "{left}");
    }
    assert_eq!((&kept[..5], &kept[8..]), (&messages[..5], &messages[8..]));
}

#[tokio::test]
async fn results_that_were_answered_are_old_though_no_call_came_after() {
    let answered = [called("a", &"x".repeat(4_000)).to_vec(), vec![Message::assistant("Warm.")]];
    let messages = [turns(0), answered.concat(), vec![Message::user("And now?")]].concat();
    let (kept, said) = within(2_000, &messages).await;
    assert_eq!((kept.len(), said), (messages.len(), vec![CUT.to_owned()]));
}

const CUT: &str = "1 result of a tool cut in the middle";

#[tokio::test]
async fn the_results_that_the_model_is_to_read_now_are_cut_last_and_as_little_as_it_takes() {
    for end in [vec![], vec![Message::assistant("So it ")]] {
        let messages = [turns(3), called("a", &"x".repeat(4_000)).to_vec(), end].concat();
        let (kept, said) = within(2_000, &messages).await;
        assert_eq!(said, ["3 oldest turns left out", CUT]);
        let left = tokens(&ChatRequest::new(kept));
        assert!(left <= 1_500 && left > 800, "{left}");
    }
}

#[tokio::test]
async fn descriptions_of_tools_go_after_the_turns_and_nothing_that_is_called_so() {
    let mut read = tool("read");
    read.parameters["properties"]["kind"] = json!({ "enum": [{ "description": "x" }] });
    let request = ChatRequest::new(turns(3)).tools(&[read]).max_tokens(1);
    let bare = ChatRequest { messages: turns(0), ..request.clone() };
    let fitted = fit(&request, &Counter::of(tokens(&bare) - 10)).await.unwrap();
    let said = ["3 oldest turns left out", "3 descriptions of tools left out"];
    assert_eq!(fitted.changes.notes(), said);
    let function = &fitted.request.fields["tools"][0]["function"];
    assert!(function.get("description").is_none());
    let properties = &function["parameters"]["properties"];
    assert_eq!(properties["place"], json!({ "type": "string" }));
    assert!(properties["description"].is_object());
    assert_eq!(properties["kind"]["enum"][0]["description"], "x");
}

/// Leaves something out of messages that have no room for all of them.
async fn without_the_oldest(messages: &[Message]) -> Vec<Message> {
    let request = ChatRequest::new(messages.to_vec()).max_tokens(1);
    let fitted = fit(&request, &Counter::of(tokens(&request))).await.unwrap();
    assert!(fitted.changes.trimmed_tokens > 0);
    fitted.request.messages
}

#[tokio::test]
async fn calls_and_their_results_stay_together_wherever_they_are() {
    let result = |id: &str| Message::tool_result(id, "7");
    let user = Message::user;
    // A word of the user between them; results in another order, of which one comes later.
    let messages =
        [user("One"), calling(&["a"]), user("Two"), result("a"), user("Three"), user("Four")];
    assert_eq!(without_the_oldest(&messages).await, messages[4..]);
    let messages = [
        user("One"),
        calling(&["a", "b"]),
        result("b"),
        user("Two"),
        result("a"),
        Message::assistant("Both."),
        user("Three"),
    ];
    assert_eq!(without_the_oldest(&messages).await, messages[6..]);
    // What the last word of the user stands within is all of the last turn.
    let messages = [user("One"), user("Two"), calling(&["a"]), user("Three"), result("a")];
    assert_eq!(without_the_oldest(&messages).await, messages[1..]);
    // The same id in every turn, as some clients have it.
    let turn = [user("Read."), calling(&["a"]), result("a")];
    let messages = [turn.clone(), turn.clone(), turn].concat();
    assert_eq!(without_the_oldest(&messages).await, messages[3..]);
    // Functions, as they were called before there were tools.
    let call = json!({ "name": "read", "arguments": "{}" });
    let call = Message::assistant("").with("function_call", call);
    let result = json!({ "role": "function", "name": "read", "content": "7" });
    let result = Message::from_json(result).unwrap();
    let messages = [user("One"), call, user("Two"), result, user("Three")];
    assert_eq!(without_the_oldest(&messages).await, messages[4..]);
}

#[tokio::test]
async fn instructions_stay_and_those_of_turns_that_are_left_out_go_to_the_beginning() {
    let developer = json!({ "role": "developer", "content": "Be kind." });
    let mut messages = turns(40);
    messages.insert(80, Message::from_json(developer).unwrap());
    messages.insert(2, Message::system("And now in French."));
    let (kept, _) = within(1_000, &messages).await;
    assert_eq!(kept[0], Message::system("Be brief.\n\nAnd now in French."));
    let places = kept.iter().filter(|it| **it == Message::system("Be kind.")).count();
    assert_eq!((places, &kept[kept.len() - 3]), (1, &Message::system("Be kind.")));
}

#[tokio::test]
async fn a_conversation_without_a_user_keeps_what_came_last() {
    let calls = (0..20).flat_map(|at| called(&format!("c{at}"), "21 degrees"));
    let messages: Vec<_> = [Message::system("Watch.")].into_iter().chain(calls).collect();
    let (kept, said) = within(1_500, &messages).await;
    assert!(said[0].ends_with(" oldest turns left out"), "{said:?}");
    assert_eq!(kept[1..], messages[messages.len() + 1 - kept.len()..]);
    assert_eq!(kept[1].tool_calls().len(), 1);
}

#[tokio::test]
async fn an_answer_that_was_begun_stays_with_its_question() {
    let mut messages = turns(50);
    messages.push(Message::assistant("It is "));
    let (kept, _) = within(1_000, &messages).await;
    assert_eq!(kept[kept.len() - 2..], messages[messages.len() - 2..]);
}

#[tokio::test]
async fn whatever_a_model_counts_it_is_given_no_more_than_it_has_room_for() {
    // One that counts more where there are fewer messages, and one that adds at random.
    let rising = |request: &ChatRequest| 2_000 - request.messages.len() as u64;
    let jumping = |request: &ChatRequest| {
        let count = request.messages.len() as u64;
        600 + 10 * count + (count * 7_919) % 500
    };
    for count in [rising, jumping] as [fn(&ChatRequest) -> u64; 2] {
        for context in (800..4_000).step_by(100) {
            let model = Counter { tokens: count, ..Counter::of(context) };
            match fit(&ChatRequest::new(turns(60)), &model).await {
                Ok(fitted) => assert!(count(&fitted.request) <= context * 3 / 4),
                Err(error) => assert_eq!(error.kind(), LlmErrorKind::ContextLength),
            }
        }
    }
}

#[tokio::test]
async fn what_would_make_it_longer_is_not_done() {
    // An image is one token to this one, and text is many.
    let count = |request: &ChatRequest| {
        let texts = request.messages.iter().map(|message| message.text().len() as u64);
        texts.sum::<u64>() + 1
    };
    let messages = [vec![image(), Message::assistant("I see.")], turns(40)].concat();
    let model = Counter { tokens: count, ..Counter::of(900) };
    let fitted = fit(&ChatRequest::new(messages), &model).await.unwrap();
    let notes = fitted.changes.notes();
    assert!(notes.len() == 1 && notes[0].ends_with("oldest turns left out"), "{notes:?}");
}
