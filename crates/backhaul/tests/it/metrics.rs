//! The page of metrics, read by the parser of Prometheus's own Python client.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use backhaul::store::{Options, Spool};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{Hub, command, noise, runs, wait_until};

/// Prints each family as a line of JSON: name, type, help, samples.
const PARSE: &str = "
import json, sys
from prometheus_client.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    samples = [[sample.name, sample.labels, sample.value] for sample in family.samples]
    print(json.dumps([family.name, family.type, family.documentation, samples]))
";

/// The families of a page, as Prometheus understands them.
#[track_caller]
fn parsed(page: &str) -> Vec<(String, String, Vec<Value>)> {
    let python = std::env::var("BACKHAUL_READERS_PYTHON").unwrap_or_else(|_| {
        panic!(
            "BACKHAUL_READERS_PYTHON is not set: it has to name a Python that has \
             prometheus_client.\nRun `./test` at the root, or: \
             export BACKHAUL_READERS_PYTHON=\"$(scripts/readers-venv)\""
        )
    });
    let mut parser = Command::new(python)
        .args(["-c", PARSE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    parser.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = parser.wait_with_output().unwrap();
    assert!(output.status.success(), "{page}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    let family = |line: &str| {
        let (name, kind, help, samples): (String, String, String, Vec<Value>) =
            serde_json::from_str(line).unwrap();
        assert!(!help.is_empty(), "{name}");
        (name, kind, samples)
    };
    stdout.lines().map(family).collect()
}

#[test]
fn prometheus_reads_every_family_with_its_type_and_labels() {
    let dir = tempdir().unwrap();
    let hub = Hub::start_with(dir.path(), &["--runs-url", "http://127.0.0.1:9", "--cap", "10MB"]);
    assert_eq!(hub.post(&runs(1..=3)).receipt(), (3, 0));
    assert_eq!(hub.offer(1, "1-2", &runs(4..=5)).receipt(), (2, 0));
    assert_eq!(hub.offer(1, "1-2", &runs(4..=5)).receipt(), (0, 2));
    let (code, ..) = crate::support::backhaul(&["sync"], dir.path());
    assert_eq!(code, 1);
    let page = hub.get("/metrics").body;
    let families = parsed(&page);
    // Each family stands in the page once, with all that belongs to it.
    let heads = page.lines().filter(|line| line.starts_with("# TYPE ")).count();
    assert_eq!(families.len(), heads);
    assert!(
        families.iter().all(|(name, kind, _)| kind != "unknown" && name.starts_with("backhaul_"))
    );
    let value = |name: &str, labels: Value| {
        let samples = families.iter().flat_map(|(_, _, samples)| samples);
        let mut found = samples.filter(|sample| sample[0] == name && sample[1] == labels);
        let value = found.next().unwrap_or_else(|| panic!("{name} {labels}\n{page}"))[2].as_f64();
        assert!(found.next().is_none(), "{name}");
        value.unwrap()
    };
    let runs = serde_json::json!({"spool": "runs"});
    let waiting = serde_json::json!({"spool": "runs", "lane": "normal", "standing": "pending"});
    let none = serde_json::json!({});
    assert_eq!(value("backhaul_spool_records", waiting), 5.0);
    assert_eq!(value("backhaul_spool_cap_bytes", runs.clone()), 10e6);
    assert!(value("backhaul_spool_bytes", runs.clone()) > 4096.0);
    assert!(value("backhaul_spool_oldest_age_seconds", runs.clone()) < 600.0);
    assert_eq!(value("backhaul_sync_online", runs.clone()), 0.0);
    assert_eq!(value("backhaul_sync_paused", runs), 0.0);
    assert_eq!(value("backhaul_hub_accepted_total", none.clone()), 5.0);
    assert_eq!(value("backhaul_hub_duplicates_total", none.clone()), 2.0);
    assert_eq!(value("backhaul_outage", none), 0.0);
    let cap = serde_json::json!({"spool": "runs", "limit": "cap"});
    assert_eq!(value("backhaul_spool_high_water", cap), 0.0);
}

#[test]
fn one_scrape_of_a_gateway_shows_all_spools_of_the_device() {
    let dir = tempdir().unwrap();
    // An agent has left something, and Weave's clients log.
    drop(Spool::open(dir.path().join("offline"), Options::default()).unwrap());
    const NOBODY: &str = "http://127.0.0.1:9";
    let mut serve = command(&["serve", "--weave-url", NOBODY, "--wandb-url", NOBODY]);
    let hub = Hub::try_start(serve.env("HOME", dir.path()).env("WANDB_API_KEY", "key"), dir.path());
    assert_eq!(hub.post(&runs(1..=2)).receipt(), (2, 0));
    for project in ["team/one", "team/two words"] {
        let object = json!({"obj": {"project_id": project, "object_id": "a", "val": 1}});
        let reply = hub.request("POST", "/obj/create", &[], object.to_string().as_bytes());
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    let objects = "weave/team/two words/objects";
    let has_courier = || {
        let courier = format!("backhaul_sync_paused{{spool=\"{objects}\"}} 0");
        hub.get("/metrics").body.lines().any(|line| line == courier)
    };
    wait_until(has_courier);
    let page = hub.get("/metrics").body;
    let families = parsed(&page);
    assert_eq!(families.len(), page.lines().filter(|line| line.starts_with("# TYPE ")).count());
    let records = families.iter().find(|(name, ..)| name == "backhaul_spool_records").unwrap();
    let waiting = |spool: &str| {
        let of_spool = records.2.iter().filter(|sample| sample[1]["spool"] == spool);
        let of_spool = of_spool.filter(|sample| sample[1]["standing"] == "pending");
        of_spool.map(|sample| sample[2].as_f64().unwrap()).sum::<f64>()
    };
    assert_eq!(
        (waiting("runs"), waiting(objects), waiting("weave/team/one/objects")),
        (2.0, 1.0, 1.0)
    );
    let bytes = families.iter().find(|(name, ..)| name == "backhaul_spool_bytes").unwrap();
    let spools: Vec<&str> = bytes.2.iter().map(|it| it[1]["spool"].as_str().unwrap()).collect();
    let expected = ["offline", "runs", "weave/team/one/metadata", "weave/team/one/objects"];
    assert_eq!(spools[..4], expected.map(|it| it));
}

#[test]
fn a_spool_that_fills_up_raises_the_alert_everywhere() {
    let dir = tempdir().unwrap();
    let hub = Hub::start_with(dir.path(), &["--cap", "1MB"]);
    let alert = || {
        let (_, stdout, _) = crate::support::backhaul(&["status", "--json"], dir.path());
        let status: Value = serde_json::from_str(&stdout).unwrap();
        status["spools"]["runs"]["high_water"]["limit"].clone()
    };
    assert_eq!(alert(), Value::Null);
    let large = format!("{{\"run_id\": \"x\", \"noise\": \"{}\"}}", noise(1, 100_000));
    let mut sent = 0;
    while alert().is_null() {
        assert_eq!(hub.post(&large).status, 200);
        sent += 1;
        assert!(sent < 12);
    }
    assert_eq!(alert(), "cap");
    let line = "backhaul_spool_high_water{spool=\"runs\",limit=\"cap\"} 1";
    assert!(hub.get("/metrics").body.lines().any(|found| found == line));
    let (_, text, _) = crate::support::backhaul(&["status"], dir.path());
    assert!(text.contains("runs: ROOM RUNS OUT: the spool takes "), "{text}");
    // The log says it too, once, by the thread that looks every second.
    let patience = Instant::now() + Duration::from_secs(30);
    while !hub.said().contains("room runs out") {
        assert!(Instant::now() < patience, "{}", hub.said());
    }
    assert_eq!(hub.said().matches("WARN").count(), 1, "{}", hub.said());
}

#[test]
fn an_outage_is_nothing_that_the_operator_has_to_act_on() {
    let dir = tempdir().unwrap();
    let hub = Hub::start_with(dir.path(), &["--runs-url", "http://127.0.0.1:9"]);
    assert_eq!(hub.post(&runs(1..=3)).receipt(), (3, 0));
    for outage in ["on", "off"] {
        assert_eq!(crate::support::backhaul(&["outage", outage], dir.path()).0, 0);
        assert_eq!(crate::support::backhaul(&["sync"], dir.path()).0, 1);
    }
    let lines = hub.said();
    assert!(lines.lines().all(|line| line.starts_with("listening on")), "{lines}");
}
