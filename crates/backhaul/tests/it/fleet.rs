//! A hub that stores at a rate, and the many that come back to it at once.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use backhaul::observability::{CloudRunLogger, OfflineQueue, RunRecord};
use backhaul::store::StoredRecord;
use backhaul::sync::{SyncManager, SyncOptions};
use backhaul_testkit::{Ends, Item, Oracle};
use tempfile::tempdir;

use crate::support::{Hub, SOURCE, head, origin, run, runs, stored};

#[test]
fn those_beyond_the_rate_are_told_when_to_come_before_they_have_sent_anything() {
    let dir = tempdir().unwrap();
    let hub = Hub::start_with(dir.path(), &["--records-per-second", "20"]);
    // Sixty records are three seconds' work, and as much is kept for what comes next.
    assert_eq!(hub.offer(1, "1-60", &runs(1..=60)).receipt(), (60, 0));
    let other = SOURCE.replace("6ba7", "7ba7");
    let mut stream = hub.connect();
    stream.write_all(&head("POST", "/v1/runs", &origin(&other, 1, "1"), 1_000_000)).unwrap();
    let mut reply = [0; 2048];
    let read = stream.read(&mut reply).unwrap();
    let reply = String::from_utf8_lossy(&reply[..read]).to_ascii_lowercase();
    assert!(reply.starts_with("http/1.1 429 ") && reply.contains("connection: close"), "{reply}");
    let wait = reply.split("retry-after: ").nth(1).unwrap().split('\r').next().unwrap();
    assert!((5..=7).contains(&wait.parse::<u32>().unwrap()), "{wait}");

    // Critical records pass, within as much again; health is told in any case.
    let critical = SOURCE.replace("normal", "critical");
    let reply = hub.send(&origin(&critical, 1, "1"), run(100).as_bytes());
    assert_eq!(reply.receipt(), (1, 0));
    for path in ["/healthz", "/readyz"] {
        assert_eq!(hub.get(path).status, 200);
    }
    let metrics = hub.get("/metrics").body;
    assert!(metrics.contains("\nbackhaul_admission_backlog_seconds "), "{metrics}");
    assert!(metrics.contains("{status=\"429\"} 1\n"), "{metrics}");
}

#[test]
fn who_is_served_while_others_wait_is_told_when_to_come_with_more() {
    let dir = tempdir().unwrap();
    let hub = Hub::start_with(dir.path(), &["--records-per-second", "10"]);
    let first = hub.offer(1, "1-30", &runs(1..=30));
    assert_eq!(first.receipt(), (30, 0));
    assert!(first.head.contains("\r\nretry-after: 3"), "{first:?}");
}

#[test]
fn without_a_rate_nobody_is_told_to_wait() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    for number in 0..20 {
        let reply =
            hub.offer(1, &format!("{}-{}", number * 100 + 1, number * 100 + 100), &runs(0..100));
        assert_eq!(reply.status, 200);
        assert!(!reply.head.contains("retry-after"), "{reply:?}");
    }
}

const DEVICES: usize = 50;
const RECORDS: usize = 20;
const RATE: usize = 200;
const BATCH: usize = 10;

/// Fifty couriers, each of a queue of its own, drain to one hub over TCP: none loses a
/// record. Gives how many were stored in each second, and the hub's metrics.
fn drain_fifty(options: &[&str]) -> (BTreeMap<i64, usize>, String) {
    let dir = tempdir().unwrap();
    let hub_dir = dir.path().join("hub");
    let hub = Hub::start_with(&hub_dir, options);
    let mut oracle = Oracle::new();
    let couriers: Vec<SyncManager> = (0..DEVICES)
        .map(|device| {
            let queue = OfflineQueue::new(dir.path().join(format!("device-{device}"))).unwrap();
            for number in 0..RECORDS {
                let id = format!("run_{device}_{number}");
                let record = RunRecord::new(&id, queue.spool().clock().now().wall);
                queue.enqueue(&record).unwrap();
                oracle.acknowledged(id, None, record.to_json());
            }
            let url = format!("http://{}", hub.address);
            queue.bind(Arc::new(CloudRunLogger::new(url).unwrap()));
            let options = SyncOptions { batch_size: Some(BATCH), ..SyncOptions::default() };
            queue.sync_manager(options).unwrap()
        })
        .collect();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(drain(&couriers));
    let metrics = hub.get("/metrics").body;
    hub.terminate();

    let stored = stored(&hub_dir);
    let micros = |record: &StoredRecord| record.stamp.wall.as_micros();
    let first = stored.iter().map(micros).min().unwrap();
    let mut of_second = BTreeMap::new();
    for record in &stored {
        *of_second.entry((micros(record) - first) / 1_000_000).or_default() += 1;
    }
    let arrived = stored.into_iter().map(|record| {
        let body: serde_json::Value = serde_json::from_slice(&record.body).unwrap();
        Item::new(body["run_id"].as_str().unwrap(), record.body)
    });
    oracle.check(&Ends { arrived: arrived.collect(), ..Ends::default() }).unwrap();
    (of_second, metrics)
}

async fn drain(couriers: &[SyncManager]) {
    for courier in couriers {
        courier.start().await;
    }
    let drained = async {
        while couriers.iter().any(|courier| courier.status().pending_count > 0) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), drained).await.unwrap();
    for courier in couriers {
        courier.stop().await;
    }
}

/// What a second may see of a rate of 200: a batch may lie on either side of the second's
/// end, and the machine may be slow to store what was let in.
const MOST: usize = RATE * 3 / 2;

#[test]
fn fifty_couriers_that_come_at_once_are_served_at_the_rate_and_lose_nothing() {
    let (of_second, metrics) = drain_fifty(&["--records-per-second", &RATE.to_string()]);
    assert!(of_second.values().all(|count| *count <= MOST), "{of_second:?}");
    assert!(metrics.contains("{status=\"429\"}"), "nobody was refused: {metrics}");
}

#[test]
fn the_count_of_each_second_notices_a_hub_without_a_rate() {
    let (of_second, metrics) = drain_fifty(&[]);
    assert!(of_second.values().any(|count| *count > MOST), "{of_second:?}");
    assert!(!metrics.contains("{status=\"429\"}"), "{metrics}");
}
