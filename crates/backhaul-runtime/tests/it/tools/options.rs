//! What a tool says of outages, and which of it contradicts itself.

use std::time::Duration;

use backhaul_runtime::tools::{
    OfflinePolicy, OnUnknown, RegistrationErrorKind, Tool, ToolOptions, tool,
};

const DAY: Duration = Duration::from_secs(86_400);

/// Is queued.
#[tool(
    offline_policy = queue,
    on_unknown = ask_person,
    timeout = Duration::from_millis(1_500),
    expires_after = 3 * DAY,
    collapse_by(a, r#type),
    max_retries = 5,
)]
fn queued(a: u8, b: u8, r#type: u8) -> u8 {
    a + b + r#type
}

/// Falls back.
#[tool(offline_policy = OfflinePolicy::LocalFallback, local_cache_ttl = 60 * 60, stale_allowed)]
fn falls_back() {}

/// Is skipped.
#[tool(offline_policy = skip, on_unknown = OnUnknown::Abandon)]
fn skipped() {}

/// Is plain.
#[tool]
fn plain() {}

#[test]
fn options_are_as_they_are_given() {
    let expected = ToolOptions::new()
        .offline_policy(OfflinePolicy::Queue)
        .on_unknown(OnUnknown::AskPerson)
        .timeout(Duration::from_millis(1_500))
        .expires_after(3 * DAY)
        .collapse_by(["a", "type"])
        .max_retries(5);
    assert_eq!(*queued::tool().options(), expected);
    let expected = ToolOptions::new()
        .offline_policy(OfflinePolicy::LocalFallback)
        .local_cache_ttl(Duration::from_secs(3_600))
        .stale_allowed();
    assert_eq!(*falls_back::tool().options(), expected);
    let expected =
        ToolOptions::new().offline_policy(OfflinePolicy::Skip).on_unknown(OnUnknown::Abandon);
    assert_eq!(*skipped::tool().options(), expected);
    assert_eq!(*plain::tool().options(), ToolOptions::default());
    assert_eq!(queued(1, 2, 3), 6);
    falls_back();
    skipped();
    plain();
}

#[test]
fn what_is_made_by_attributes_is_sound() {
    for tool in [&queued::tool() as &dyn Tool, &falls_back::tool(), &skipped::tool()] {
        assert_eq!(tool.options().check(), Ok(()));
    }
}

#[test]
fn contradictions_are_told() {
    let queue = || ToolOptions::new().offline_policy(OfflinePolicy::Queue);
    let fallback = || ToolOptions::new().offline_policy(OfflinePolicy::LocalFallback);
    for (options, expected) in [
        (queue().local_cache_ttl(DAY), "`local_cache_ttl` is for `offline_policy` local_fallback"),
        (ToolOptions::new().expires_after(DAY), "`expires_after` is for `offline_policy` queue"),
        (fallback().collapse_by(["a"]), "`collapse_by` is for `offline_policy` queue"),
        (fallback().stale_allowed(), "`stale_allowed` needs `local_cache_ttl`"),
        (queue().expires_after(Duration::ZERO), "`expires_after` is zero"),
        (ToolOptions::new().timeout(Duration::ZERO), "`timeout` is zero"),
    ] {
        let error = options.check().expect_err(expected);
        assert_eq!(error.kind(), RegistrationErrorKind::InvalidOptions);
        assert!(error.to_string().starts_with(expected), "{error}");
    }
    assert_eq!(fallback().local_cache_ttl(Duration::ZERO).stale_allowed().check(), Ok(()));
}
