//! What the hub takes, and that it stores before it says so.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::tempdir;

use crate::support::{Hub, header, run, runs, stored, stored_bodies};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn takes_one_record_or_an_array_of_them() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    assert_eq!(hub.post(&run(1)).receipt(), (1, 0));
    assert_eq!(hub.post(&runs(2..=4)).receipt(), (3, 0));
    assert_eq!(hub.post("[]").receipt(), (0, 0));
    assert_eq!(stored(dir.path()).len(), 4);
    assert_eq!(stored(dir.path())[3].facts.labels["run_id"], "run_4");
}

#[test]
fn what_was_answered_survives_a_kill() {
    let dir = tempdir().unwrap();
    for round in 0..5 {
        let hub = Hub::start(dir.path());
        assert_eq!(hub.post(&runs(0..20)).receipt(), (20, 0));
        hub.kill();
        assert_eq!(stored(dir.path()).len(), 20 * (round + 1));
    }
}

#[test]
fn keeps_what_python_writes_byte_for_byte() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    let records = [
        r#"{"run_id": "a", "x": [NaN, -Infinity, 1e-05, 123456789012345678901234567890]}"#,
        r#"{"run_id": "b", "text": "],[ \ud800 \\\" }"}"#,
        r#"{"run_id":"c",  "metadata" : null}"#,
    ];
    let body = format!(" [{} ,\n{}\t,{}] ", records[0], records[1], records[2]);
    assert_eq!(hub.post(&body).receipt(), (3, 0));
    assert_eq!(stored_bodies(dir.path()), records);
}

#[test]
fn the_content_type_says_nothing_and_gzip_is_understood() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    let form = [header("Content-Type", "application/x-www-form-urlencoded")];
    assert_eq!(hub.send(&form, run(1).as_bytes()).receipt(), (1, 0));
    let coding = [header("Content-Encoding", "gzip")];
    assert_eq!(hub.send(&coding, &gzip(runs(2..50).as_bytes())).receipt(), (48, 0));
    // Two members in a row are one text.
    let (left, right) = (gzip(b"[{\"run_id\": "), gzip(b"\"x\"}]"));
    assert_eq!(hub.send(&coding, &[left, right].concat()).receipt(), (1, 0));
    assert_eq!(hub.send(&coding, b"no gzip").refusal(), (400, None));
    let cut = gzip(runs(0..500).as_bytes());
    assert_eq!(hub.send(&coding, &cut[..cut.len() / 2]).refusal(), (400, None));
    let other = [header("Content-Encoding", "br")];
    assert_eq!(hub.send(&other, b"x").refusal(), (415, None));
    assert_eq!(stored(dir.path()).len(), 50);
}

#[test]
fn one_bad_record_keeps_its_whole_request_out() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    let good = run(1);
    for (body, status, index) in [
        (format!("[{good}, {{\"run_id\": 7}}, {good}]"), 422, 1),
        (format!("[{good}, {good}, {{}}]"), 422, 2),
        (format!("[{good}, 5]"), 422, 1),
        (format!("[{good}, {{\"run_id\": \"x\", \"y\": nope}}]"), 400, 1),
        (format!("[{good},]"), 400, 1),
        (format!("[{good}, {good}"), 400, 1),
        (format!("[{good}] trailing"), 400, 1),
        (String::new(), 400, 0),
        ("\"run\"".to_owned(), 422, 0),
    ] {
        assert_eq!(hub.post(&body).refusal(), (status, Some(index)), "{body}");
    }
    let reason = hub.post("{\"run_id\": null}").json()["reason"].clone();
    assert_eq!(reason, "run_id: expected a string, found null");
    assert_eq!(stored(dir.path()).len(), 0);
}

#[test]
fn a_records_metadata_choose_its_lane_and_stream() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    let record = r#"{"run_id": "a", "metadata": {"critical": true, "stream": "weather"}}"#;
    assert_eq!(hub.post(record).receipt(), (1, 0));
    let stored = &stored(dir.path())[0];
    assert_eq!(stored.id.position.to_string(), "critical/1");
    assert_eq!(stored.facts.stream.as_deref(), Some("weather"));
}

#[test]
fn says_how_it_is() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    assert_eq!(hub.get("/healthz").status, 200);
    assert_eq!(hub.get("/readyz").json()["ready"], true);
    assert_eq!(hub.post(&runs(0..3)).receipt(), (3, 0));
    assert_eq!(hub.post("nonsense").status, 400);
    assert_eq!(hub.get("/v2/runs").refusal(), (404, None));
    assert_eq!(hub.get("/v1/runs").refusal(), (405, None));
    let metrics = hub.get("/metrics");
    assert!(metrics.head.contains("text/plain; version=0.0.4"));
    for line in [
        "backhaul_spool_records{spool=\"runs\",lane=\"normal\",standing=\"pending\"} 3",
        "backhaul_spool_accepted_total{spool=\"runs\",lane=\"normal\"} 3",
        "backhaul_hub_accepted_total 3",
        "backhaul_http_requests_total{status=\"200\"} 3",
        "backhaul_http_requests_total{status=\"400\"} 1",
        "backhaul_spool_trouble{spool=\"runs\"} 0",
    ] {
        assert!(metrics.body.lines().any(|found| found == line), "{line}\n{}", metrics.body);
    }
}

#[test]
fn ends_well_when_it_is_told_to() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    assert_eq!(hub.post(&run(1)).receipt(), (1, 0));
    // A connection that says nothing does not hold it up.
    let idle = hub.connect();
    let (took, well) = hub.terminate();
    assert!(well && took.as_secs() < 8, "{took:?}");
    drop(idle);
}

#[test]
fn what_it_stores_is_its_owners() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let hub = Hub::start(&data_dir);
    assert_eq!(hub.post(&run(1)).receipt(), (1, 0));
    let mut folders = vec![data_dir];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let mode = path.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{} has {mode:o}", path.display());
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
}
