//! What came of a call, as programs and models read it.

use std::time::Duration;

use backhaul_runtime::tools::{IdempotencyKey, ToolError, ToolErrorKind, ToolResult};
use serde_json::{Value, json};

fn cached(age: Duration, is_stale: bool) -> ToolResult {
    ToolResult::Cached { value: json!(1), age, is_stale }
}

#[test]
fn nothing_is_made_up_and_each_says_how_it_came_about() {
    let queued = ToolResult::Queued { id: "7".to_owned(), key: IdempotencyKey::chosen("key") };
    for (result, data, metadata) in [
        (ToolResult::Done(json!(null)), Some(json!(null)), json!({})),
        (
            cached(Duration::from_millis(1_500), true),
            Some(json!(1)),
            json!({"cached": true, "age_seconds": 1.5, "stale": true}),
        ),
        (
            cached(Duration::MAX, true),
            Some(json!(1)),
            json!({"cached": true, "age_seconds": null, "stale": true}),
        ),
        (ToolResult::Local(json!(2)), Some(json!(2)), json!({"local": true})),
        (queued, None, json!({"queued": true, "queue_id": "7", "idempotency_key": "key"})),
        (ToolResult::Skipped, None, json!({"skipped": true})),
    ] {
        assert!(result.is_success(), "{result:?}");
        assert_eq!(result.data(), data.as_ref());
        assert_eq!(Value::Object(result.metadata()), metadata);
        let whole = json!({
            "success": true, "data": data, "error": null, "metadata": metadata,
        });
        assert_eq!(result.to_value(), whole);
    }
}

#[test]
fn a_failure_has_its_causes_and_its_kind() {
    let error = ToolError::new(ToolErrorKind::Offline, "there is no network")
        .with_source(std::io::Error::other("the modem sleeps"));
    let result = ToolResult::Failed(error);
    assert!(!result.is_success() && result.data().is_none());
    assert_eq!(
        result.to_value(),
        json!({
            "success": false, "data": null, "error": "there is no network: the modem sleeps",
            "metadata": {"error_kind": "offline"},
        })
    );
}
