//! A queue with rules: which lane a run is stored in, and which runs go first.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backhaul_agent::{
    CloudRunLogger, OfflineQueue, OfflineRunLogger, RunEnd, RunLogger, RunRecord, RunStart,
};
use backhaul_store::{Disk, Open};
use backhaul_sync::{PrioritizerConfig, SyncManager, SyncOptions, SyncPrioritizer};
use serde_json::{Value, json};

use crate::device::{Device, PATH, Told, large_record, record};
use crate::http_server::HttpServer;

/// The rules of CEMAF's document, and one for runs that failed.
fn rules() -> SyncPrioritizer {
    let config: PrioritizerConfig = serde_json::from_value(json!({"rules": [
        {"name": "priority", "field": "metadata.critical", "compare": "==", "value": true, "points": 100},
        {"name": "recency", "field": "age_hours", "points_divided": 50},
        {"name": "size", "field": "size_kb", "compare": "<", "value": 10, "points": 10},
        {"name": "failed", "field": "success", "compare": "==", "value": false, "points": 30},
        {"name": "site", "field": "metadata.site", "compare": "==", "value": "reactor", "points": 60},
        {"name": "chatter", "field": "metadata.level", "points_per_unit": -100},
    ]}))
    .unwrap();
    SyncPrioritizer::from_config(&config).unwrap()
}

fn run(run_id: &str, metadata: Value) -> RunRecord {
    let mut record = record(run_id);
    record.metadata = serde_json::from_value(metadata).unwrap();
    record
}

fn failed(run_id: &str) -> RunRecord {
    let mut record = record(run_id);
    (record.success, record.error) = (false, Some("no answer".into()));
    record
}

/// Lanes and run ids of everything in the queue.
fn lanes(queue: &OfflineQueue) -> Vec<(&'static str, String)> {
    let mut lanes = Vec::new();
    let mut note = |entry: backhaul_store::QueueEntry| {
        let run_id = entry.facts.labels["run_id"].clone();
        lanes.push((entry.id.position.chain.lane.name(), run_id));
        ControlFlow::Continue(())
    };
    queue.each(None, &mut note).unwrap();
    lanes
}

/// A courier of the queue to a logger that notes the runs that it is given.
fn courier(queue: OfflineQueue) -> (SyncManager, Arc<Mutex<Vec<String>>>) {
    let given = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&given);
    let primary = Told::new(move |record| {
        noted.lock().unwrap().push(record.run_id.clone());
        Ok(())
    });
    let logger = OfflineRunLogger::builder().primary(primary).queue(queue).build().unwrap();
    (logger.offline_queue().sync_manager(SyncOptions::default()).unwrap(), given)
}

#[test]
fn the_score_chooses_the_lane_but_never_within_a_stream() {
    let queue = Device::new().builder().prioritizer(rules()).open().unwrap();
    for record in [
        record("plain"),
        large_record("large", 20_000),
        run("alarm", json!({"critical": true})),
        run("reactor", json!({"site": "reactor"})),
        run("chatter", json!({"level": 1})),
        run("noise", json!({"level": 2})),
        run("reactor in a stream", json!({"site": "reactor", "stream": "s"})),
        run("alarm in a stream", json!({"critical": true, "stream": "s"})),
        run("not critical", json!({"critical": "yes"})),
    ] {
        queue.enqueue(&record).unwrap();
    }
    let expected = [
        ("critical", "alarm"),
        ("critical", "alarm in a stream"),
        ("high", "reactor"),
        ("normal", "plain"),
        ("normal", "large"),
        ("normal", "reactor in a stream"),
        ("normal", "not critical"),
        ("low", "chatter"),
        ("bulk", "noise"),
    ];
    assert_eq!(lanes(&queue), expected.map(|(lane, run_id)| (lane, run_id.to_owned())));
}

#[test]
fn a_logger_stores_its_runs_by_the_rules_of_its_queue() {
    let queue = Device::new().builder().prioritizer(rules()).open().unwrap();
    let logger = OfflineRunLogger::builder().queue(queue.clone()).build().unwrap();
    logger.start_run(RunStart::new("reactor").metadata("site", "reactor"));
    logger.end_run(RunEnd::new()).unwrap();
    logger.start_run("plain".into());
    logger.end_run(RunEnd::new()).unwrap();
    assert_eq!(lanes(&queue), [("high", "reactor".to_owned()), ("normal", "plain".to_owned())]);
}

#[tokio::test]
async fn what_scores_highest_is_handed_to_the_primary_first() {
    let device = Device::new();
    let queue = device.builder().prioritizer(rules()).open().unwrap();
    for record in [large_record("large", 20_000), record("old and small")] {
        queue.enqueue(&record).unwrap();
    }
    device.clock.advance(Duration::from_secs(3 * 3600));
    for record in
        [large_record("new", 20_000), failed("failed"), run("alarm", json!({"critical": true}))]
    {
        queue.enqueue(&record).unwrap();
    }
    let (courier, primary) = courier(queue);
    assert_eq!(courier.sync_now().await.synced, 5);
    // 160 in a lane of its own; 90, 50, 16.7 + 10, 16.7.
    assert_eq!(*primary.lock().unwrap(), ["alarm", "failed", "new", "old and small", "large"]);
    assert!(courier.status().failing_rules.is_empty());
}

#[tokio::test]
async fn runs_that_others_stored_are_scored_by_what_their_json_says() {
    let device = Device::new();
    let queue = device.queue();
    queue.enqueue(&record("before there were rules")).unwrap();
    queue.enqueue(&run("reactor before", json!({"site": "reactor"}))).unwrap();
    drop(queue);
    let nan =
        r#"{"run_id": "by hand", "x": NaN, "success": false, "metadata": {"site": "reactor"}}"#;
    let path = format!("{PATH}/pending/2026-01-01T00:00:00_by_hand.json");
    let file = device.disk.open(Path::new(&path), Open::CreateNew).unwrap();
    file.write_all_at(nan.as_bytes(), 0).unwrap();
    let queue = device.builder().prioritizer(rules()).open().unwrap();
    let (courier, primary) = courier(queue);
    assert_eq!(courier.sync_now().await.synced, 3);
    let expected = ["by hand", "reactor before", "before there were rules"];
    assert_eq!(*primary.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_courier_may_be_given_rules_of_its_own() {
    let queue = Device::new().queue();
    for site in ["pond", "reactor"] {
        queue.enqueue(&run(site, json!({"site": site}))).unwrap();
    }
    let (courier, primary) = courier(queue);
    let courier = courier.with_prioritizer(rules());
    courier.sync_now().await;
    assert_eq!(*primary.lock().unwrap(), ["reactor", "pond"]);
}

#[tokio::test]
async fn a_chosen_batch_goes_to_a_hub_in_one_request_of_ascending_sequences() {
    let server = HttpServer::hub();
    let queue = Device::new().builder().prioritizer(rules()).sync_batch_size(3).open().unwrap();
    for n in 1..=6 {
        let record = if n % 2 == 0 { failed(&n.to_string()) } else { record(&n.to_string()) };
        queue.enqueue(&record).unwrap();
    }
    queue.bind(Arc::new(CloudRunLogger::new(server.url()).unwrap()));
    let courier = queue.sync_manager(SyncOptions::default()).unwrap();
    assert_eq!(courier.sync_now().await.synced, 6);
    let requests = server.requests();
    let sequences: Vec<&str> =
        requests.iter().map(|it| it.header("backhaul-sequences").unwrap()).collect();
    assert_eq!(sequences, ["2,4,6", "1,3,5"]);
    let floors: Vec<&str> =
        requests.iter().map(|it| it.header("backhaul-floor").unwrap()).collect();
    assert_eq!(floors, ["1", "1"]);
}
