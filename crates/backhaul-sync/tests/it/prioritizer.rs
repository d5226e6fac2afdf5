//! Rules: what they give, what lanes follow, and what is said of bad ones.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use backhaul_store::{Choice, Lane, Timestamp};
use backhaul_sync::{Entry, LaneScores, PrioritizerConfig, RuleConfig, SyncPrioritizer};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tracing::span;

/// The three rules of CEMAF's document, as closures.
fn documented() -> SyncPrioritizer {
    SyncPrioritizer::builder()
        .rule("priority", |r| {
            if r.metadata.get("critical") == Some(&json!(true)) { 100.0 } else { 0.0 }
        })
        .rule("recency", |r| 50.0 / r.age_hours.max(1.0))
        .rule("size", |r| if r.size_kb < 10.0 { 10.0 } else { 0.0 })
        .build()
        .unwrap()
}

/// The same rules as configuration.
const DOCUMENTED: &str = r#"
    [[rules]]
    name = "priority"
    field = "metadata.critical"
    compare = "=="
    value = true
    points = 100

    [[rules]]
    name = "recency"
    field = "age_hours"
    points_divided = 50

    [[rules]]
    name = "size"
    field = "size_kb"
    compare = "<"
    value = 10
    points = 10
"#;

fn configured(toml: &str) -> Result<SyncPrioritizer, String> {
    let config: PrioritizerConfig = toml::from_str(toml).map_err(|error| error.to_string())?;
    SyncPrioritizer::from_config(&config).map_err(|error| error.to_string())
}

fn metadata(value: Value) -> Map<String, Value> {
    serde_json::from_value(value).unwrap()
}

fn entry(age_hours: f64, size_kb: f64, critical: bool) -> Entry {
    let metadata = metadata(if critical { json!({"critical": true}) } else { json!({}) });
    Entry { age_hours, size_kb, metadata, critical, ..Entry::default() }
}

#[test]
fn the_documented_rules_give_the_documented_scores() {
    let table = [
        (0.0, 2.0, false, 60.0),
        (0.0, 10.0, false, 50.0),
        (1.0, 9.99, false, 60.0),
        (2.0, 25.0, false, 25.0),
        (100.0, 2.0, false, 10.5),
        (1000.0, 25.0, false, 0.05),
        (1000.0, 25.0, true, 100.05),
        (0.0, 2.0, true, 160.0),
    ];
    for (prioritizer, kind) in
        [(documented(), "closures"), (configured(DOCUMENTED).unwrap(), "TOML")]
    {
        for (age, size, critical, expected) in table {
            let score = prioritizer.score(&entry(age, size, critical));
            assert!((score - expected).abs() < 1e-9, "{kind}: {age} h, {size} KB: {score}");
        }
        assert!(prioritizer.failing_rules().is_empty());
    }
}

proptest! {
    #[test]
    fn closures_and_configuration_agree(age in 0.0..1e6, size in 0.0..1e5, critical: bool) {
        let entry = entry(age, size, critical);
        let (closures, config) = (documented(), configured(DOCUMENTED).unwrap());
        prop_assert_eq!(closures.score(&entry), config.score(&entry));
        prop_assert_eq!(closures.lane(&entry), config.lane(&entry));
        // A critical record always beats one that is not.
        let other = Entry { critical: false, metadata: Map::new(), ..entry.clone() };
        prop_assert!(!critical || closures.score(&entry) > closures.score(&other));
    }
}

#[test]
fn every_field_can_be_compared_and_what_is_missing_gives_nothing() {
    let entry = Entry {
        run_id: "run_7".into(),
        metadata: metadata(json!({"site": "north", "level": 3, "ratio": 0.5, "dry": false})),
        age_hours: 2.5,
        size_kb: 12.0,
        success: false,
        attempts: 2,
        enqueued_at: Timestamp::parse("2026-01-01T12:00:00Z").unwrap(),
        critical: false,
    };
    let table = [
        ("run_id", "==", json!("run_7"), true),
        ("run_id", "<", json!("run_8"), true),
        ("metadata.site", "!=", json!("south"), true),
        ("metadata.site", "==", json!("south"), false),
        ("metadata.level", ">=", json!(3), true),
        ("metadata.level", ">", json!(3), false),
        ("metadata.ratio", "<", json!(0.75), true),
        ("metadata.dry", "==", json!(false), true),
        ("metadata.missing", "!=", json!("anything"), false),
        ("metadata.missing", "==", json!("anything"), false),
        ("age_hours", "<=", json!(2.5), true),
        ("size_kb", ">", json!(12), false),
        ("success", "==", json!(false), true),
        ("critical", "!=", json!(false), false),
        ("attempts", ">", json!(1), true),
        ("enqueued_at", ">=", json!("2026-01-01T12:00:00Z"), true),
        ("enqueued_at", "<", json!("2026-01-01T12:00:00Z"), false),
    ];
    for (field, compare, value, holds) in table {
        let rule = RuleConfig {
            name: "rule".into(),
            field: field.into(),
            compare: Some(compare.into()),
            value: Some(value.clone()),
            points: Some(7.0),
            ..RuleConfig::default()
        };
        let config = PrioritizerConfig { rules: vec![rule], ..PrioritizerConfig::default() };
        let prioritizer = SyncPrioritizer::from_config(&config).unwrap();
        let expected = if holds { 7.0 } else { 0.0 };
        assert_eq!(prioritizer.score(&entry), expected, "{field} {compare} {value}");
        assert!(prioritizer.failing_rules().is_empty(), "{field} {compare} {value}");
    }
}

#[test]
fn points_grow_with_a_field_up_to_their_cap() {
    let rule = |rest: &str| configured(&format!("rules = [{{ name = \"r\", {rest} }}]")).unwrap();
    let old = |hours: f64| Entry { age_hours: hours, attempts: 4, ..Entry::default() };
    let capped = rule("field = 'age_hours', points_per_unit = 2, cap = 30");
    assert_eq!(
        [0.0, 1.5, 15.0, 1e9].map(|hours| capped.score(&old(hours))),
        [0.0, 3.0, 30.0, 30.0]
    );
    let falling = rule("field = 'attempts', points_per_unit = -10, cap = 25.5");
    assert_eq!(falling.score(&old(0.0)), -25.5);
    let free = rule("field = 'age_hours', points_per_unit = 2");
    assert_eq!(free.score(&old(1e6)), 2e6);
    let missing = rule("field = 'metadata.level', points_divided = 9");
    assert_eq!(missing.score(&old(1.0)), 0.0);
}

#[test]
fn a_bad_rule_is_refused_with_its_name_what_was_found_and_what_was_expected() {
    let rule =
        |rest: &str| configured(&format!("rules = [{{ name = \"mine\", {rest} }}]")).unwrap_err();
    let table = [
        (
            "field = 'sucess', points_divided = 1",
            r#"rule "mine": there is no field "sucess": expected run_id, metadata.KEY, age_hours, size_kb, success, attempts, enqueued_at or critical"#,
        ),
        (
            "field = 'metadata.', points_divided = 1",
            r#"rule "mine": there is no field "metadata.""#,
        ),
        ("field = 'age_hours'", "expected one of points, points_per_unit and points_divided"),
        ("field = 'age_hours', points_per_unit = 1, points_divided = 1", "expected one of points,"),
        ("field = 'age_hours', points = 1", "compare is missing: expected ==, !=, <, <=, > or >="),
        (
            "field = 'age_hours', compare = '=>', value = 1, points = 1",
            r#"compare is "=>": expected =="#,
        ),
        ("field = 'age_hours', compare = '<', points = 1", "value is missing"),
        (
            "field = 'size_kb', compare = '<', value = 'ten', points = 1",
            r#"rule "mine": value is "ten": expected a number, as size_kb is"#,
        ),
        (
            "field = 'success', compare = '==', value = 1, points = 1",
            "value is 1: expected true or false, as success is",
        ),
        (
            "field = 'success', compare = '<', value = true, points = 1",
            r#"compare is "<": expected == or !=, because success is true or false"#,
        ),
        (
            "field = 'enqueued_at', compare = '<', value = 'today', points = 1",
            r#"value is "today": expected a time such as "2026-01-01T00:00:00Z", as enqueued_at is"#,
        ),
        (
            "field = 'metadata.x', compare = '==', value = [1], points = 1",
            "value is [1]: expected a text, a number, true or false",
        ),
        (
            "field = 'run_id', points_per_unit = 1",
            "points_per_unit needs a number: expected another field, because run_id is a text",
        ),
        ("field = 'age_hours', points_per_unit = 1, cap = -1", "cap is -1: expected at least 0"),
        ("field = 'age_hours', points_per_unit = nan", "points_per_unit is NaN: expected a number"),
        ("field = 'age_hours', points_divided = inf", "points_divided is inf: expected a number"),
        (
            "field = 'age_hours', points_divided = 1, cap = 3",
            "cap means nothing with points_divided: leave it out",
        ),
        (
            "field = 'age_hours', points_divided = 1, value = 3",
            "value means nothing with points_divided: leave it out",
        ),
        ("field = 'age_hours', points_divided = 1, weigth = 3", "unknown field `weigth`"),
    ];
    for (rest, expected) in table {
        let error = rule(rest);
        assert!(error.contains(expected), "{rest}\n  says: {error}\n  not:  {expected}");
    }
}

#[test]
fn bad_settings_are_refused_by_name() {
    let table = [
        ("oldest_every = 0", "oldest_every is 0: expected at least 1"),
        ("window_records = 0", "window_records is 0: expected 1 to 4096"),
        ("window_records = 4097", "window_records is 4097: expected 1 to 4096"),
        ("window_bytes = 0", "window_bytes is 0: expected at least 1"),
        (
            "lanes = { high = 1000 }",
            "lanes.high is 1000: expected less than that of the lane before",
        ),
        ("lanes = { low = nan }", "lanes.low is NaN: expected a number"),
        ("lanes = { urgent = 5 }", "unknown field `urgent`"),
        ("rule = []", "unknown field `rule`"),
        ("rules = [{ name = '', field = 'attempts', points_divided = 1 }]", "rule 1 has no name"),
    ];
    for (toml, expected) in table {
        let error = configured(toml).unwrap_err();
        assert!(error.contains(expected), "{toml}\n  says: {error}");
    }
    let twice = SyncPrioritizer::builder().rule("a", |_| 1.0).rule("a", |_| 2.0).build();
    assert!(twice.unwrap_err().to_string().contains(r#"two rules are called "a""#));
}

#[test]
fn a_configuration_reads_the_same_from_json_and_toml_and_is_written_back() {
    let toml = format!("window_records = 64\noldest_every = 5\n[lanes]\nhigh = 70\n{DOCUMENTED}");
    let config: PrioritizerConfig = toml::from_str(&toml).unwrap();
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<PrioritizerConfig>(&json).unwrap(), config);
    let lanes = LaneScores { high: 70.0, ..LaneScores::default() };
    assert_eq!((config.lanes, config.window_records, config.oldest_every), (lanes, 64, 5));
    let defaults: PrioritizerConfig = serde_json::from_str("{}").unwrap();
    assert_eq!(defaults, PrioritizerConfig::default());
    let Choice { window_records, window_bytes, oldest_every } = Choice::default();
    assert_eq!((window_records, window_bytes, oldest_every), (256, 32_000_000, 10));
    assert_eq!(defaults.window_records, window_records);
}

#[test]
fn scores_choose_lanes_and_critical_records_say_so_themselves() {
    let constant =
        |score: f64| SyncPrioritizer::builder().rule("only", move |_| score).build().unwrap();
    let table = [
        (1000.0, Lane::Critical),
        (999.9, Lane::High),
        (100.0, Lane::High),
        (99.0, Lane::Normal),
        (0.0, Lane::Normal),
        (-1.0, Lane::Low),
        (-100.0, Lane::Low),
        (-100.1, Lane::Bulk),
    ];
    for (score, lane) in table {
        assert_eq!(constant(score).lane(&Entry::default()), lane, "{score}");
    }
    let critical = Entry { critical: true, ..Entry::default() };
    assert_eq!(constant(-1e9).lane(&critical), Lane::Critical);
    let without_rules = SyncPrioritizer::builder().build().unwrap();
    assert_eq!(without_rules.lane(&Entry::default()), Lane::Normal);
}

#[test]
fn a_rule_that_fails_counts_nothing_and_is_listed_once_with_its_first_reason() {
    let config: PrioritizerConfig = toml::from_str(
        "rules = [{ name = 'level', field = 'metadata.level', points_per_unit = 1 }]",
    )
    .unwrap();
    let prioritizer = SyncPrioritizer::builder()
        .config(&config)
        .rule("nan", |_| f64::NAN)
        .rule("infinite", |entry| 1.0 / entry.age_hours)
        .rule("panics", |entry| if entry.attempts == 0 { panic!("no {}", "attempts") } else { 3.0 })
        .rule("works", |_| 5.0)
        .build()
        .unwrap();
    let bad = Entry { metadata: metadata(json!({"level": "high"})), ..Entry::default() };
    assert_eq!(prioritizer.score(&bad), 5.0);
    let other = Entry { metadata: metadata(json!({"level": true})), ..Entry::default() };
    assert_eq!(prioritizer.clone().score(&other), 5.0);
    let failing: Vec<(String, String)> = prioritizer
        .failing_rules()
        .into_iter()
        .map(|failing| (failing.rule, failing.reason))
        .collect();
    let expected = [
        ("level", "metadata.level is a text: expected a number"),
        ("nan", "it gave NaN: expected a number"),
        ("infinite", "it gave inf: expected a number"),
        ("panics", "it panicked: no attempts"),
    ];
    let expected: Vec<(String, String)> =
        expected.iter().map(|(rule, reason)| ((*rule).into(), (*reason).into())).collect();
    assert_eq!(failing, expected);
    // It goes on where it does not fail.
    let good = Entry {
        metadata: metadata(json!({"level": 2})),
        age_hours: 1.0,
        attempts: 1,
        ..Entry::default()
    };
    assert_eq!(prioritizer.score(&good), 2.0 + 1.0 + 3.0 + 5.0);
}

#[test]
fn of_metadata_rules_see_what_is_small() {
    let all = metadata(json!({
        "site": "north", "n": 1.5, "ok": true, "none": null, "list": [1], "map": {"a": 1},
        "long": "x".repeat(990), "longer": "y".repeat(981), "last": "fits",
    }));
    let small: Vec<String> = Entry::small_metadata(&all).keys().cloned().collect();
    assert_eq!(small, ["site", "n", "ok", "last"]);
    let one = metadata(json!({"key": "z".repeat(997)}));
    assert_eq!(Entry::small_metadata(&one), one);
    assert!(Entry::small_metadata(&metadata(json!({"key": "z".repeat(998)}))).is_empty());
}

/// Notes the rules that are warned of.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut |field: &tracing::field::Field, value: &dyn Debug| {
            if field.name() == "rule" {
                self.0.lock().unwrap().push(format!("{value:?}"));
            }
        });
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[test]
fn a_rule_that_fails_is_told_of_once_by_name() {
    let warnings = Warnings::default();
    tracing::subscriber::with_default(warnings.clone(), || {
        let builder = SyncPrioritizer::builder().rule("first", |_| f64::NAN);
        let prioritizer = builder.rule("second", |_| f64::INFINITY).build().unwrap();
        for _ in 0..100 {
            prioritizer.score(&Entry::default());
            prioritizer.lane(&Entry::default());
        }
    });
    assert_eq!(*warnings.0.lock().unwrap(), ["\"first\"", "\"second\""]);
}
