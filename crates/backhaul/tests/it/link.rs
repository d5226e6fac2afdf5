//! What a forwarding hub is told of the link, and of what goes first.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{Hub, backhaul, command, run, runs, stored, stored_bodies, wait_until};

fn courier(data_dir: &Path) -> Value {
    let (_, text, _) = backhaul(&["status", "--json"], data_dir);
    serde_json::from_str::<Value>(&text).unwrap()["spools"]["runs"]["courier"].take()
}

/// A hub that forwards, as the variables say.
fn start(data_dir: &Path, url: &str, variables: &[(&str, &str)]) -> Hub {
    let mut serve: Command = command(&["serve", "--runs-url", url]);
    Hub::try_start(serve.envs(variables.iter().copied()), data_dir)
}

#[test]
fn while_no_check_gets_through_nothing_is_sent_and_status_says_why() {
    let (near, far) = (tempdir().unwrap(), tempdir().unwrap());
    let upstream = Hub::start(far.path());
    let address = upstream.address;
    upstream.kill();
    let check = format!("http://{address}/healthz");
    let hub = start(near.path(), &format!("http://{address}"), &[("BACKHAUL_CHECK_URLS", &check)]);
    assert_eq!(hub.post(&runs(1..=3)).receipt(), (3, 0));
    wait_until(|| courier(near.path())["link"]["state"] == "offline");
    let status = courier(near.path());
    assert_eq!((&status["is_online"], &status["blocked_by"]), (&json!(false), &json!("offline")));
    let (_, text, _) = backhaul(&["status"], near.path());
    assert!(text.contains("held up: there is no link: no connection: "), "{text}");
    assert!(text.contains(" checks so far"), "{text}");
    let (code, said, _) = backhaul(&["sync"], near.path());
    assert!(code == 1 && said.contains("there is no link"), "{code} {said}");

    let upstream = Hub::start_at(far.path(), address);
    // Asking for a sync has the link checked at once.
    backhaul(&["sync"], near.path());
    wait_until(|| stored(far.path()).len() == 3);
    assert_eq!(courier(near.path())["link"]["state"], "online");
    let metrics = hub.get("/metrics").body;
    assert!(metrics.contains("\nbackhaul_link_checks_total{spool=\"runs\"} "), "{metrics}");
    drop(upstream);
}

#[test]
fn what_is_received_is_sent_in_the_order_of_the_rules() {
    let (near, far) = (tempdir().unwrap(), tempdir().unwrap());
    let upstream = Hub::start(far.path());
    let rules = json!([
        {"name": "failed", "field": "success", "compare": "==", "value": false, "points": 80},
        {"name": "weight", "field": "metadata.weight", "points_per_unit": 1},
    ]);
    let url = format!("http://{}", upstream.address);
    let hub = start(
        near.path(),
        &url,
        &[("BACKHAUL_RULES", &rules.to_string()), ("BACKHAUL_BATCH_SIZE", "1")],
    );
    assert_eq!(backhaul(&["outage", "on"], near.path()).0, 0);
    let failed = |number, weight: Value| {
        let mut run: Value = serde_json::from_str(&run(number)).unwrap();
        run["success"] = false.into();
        run["metadata"] = json!({"weight": weight});
        run.to_string()
    };
    for body in [run(1), run(2), failed(3, json!("heavy")), failed(4, json!(7))] {
        assert_eq!(hub.post(&body).receipt(), (1, 0));
    }
    assert_eq!(backhaul(&["outage", "off"], near.path()).0, 0);
    wait_until(|| stored(far.path()).len() == 4);
    let bodies = stored_bodies(far.path());
    let expected = [failed(4, json!(7)), failed(3, json!("heavy")), run(1), run(2)];
    assert_eq!(bodies, expected);
    let status = courier(near.path());
    let said = status["failing_rules"]["weight"].as_str().unwrap();
    assert_eq!(said, "metadata.weight is a text: expected a number");
    let (_, text, _) = backhaul(&["status"], near.path());
    assert!(text.contains("the rule \"weight\" fails, and counts 0 where it does"), "{text}");
    assert!(hub.get("/metrics").body.contains("\nbackhaul_failing_rules{spool=\"runs\"} 1\n"));
}

#[test]
fn a_rule_without_sense_is_a_start_up_error_that_names_it() {
    let dir = tempdir().unwrap();
    let mut serve = command(&["serve", "--data-dir"]);
    let rules = r#"[{"name": "size", "field": "sise_kb", "points_per_unit": 1}]"#;
    let output = serve.arg(dir.path()).env("BACKHAUL_RULES", rules).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said.contains("BACKHAUL_RULES has a mistake: rule \"size\": there is no field"),
        "{said}"
    );
}
