//! Idempotency keys of clients that are no backhauls.

use std::time::Duration;

use tempfile::tempdir;

use crate::support::{Hub, header, run, runs, stored};

fn keyed(run_id: &str, key: &str) -> String {
    format!("{{\"run_id\": \"{run_id}\", \"metadata\": {{\"idempotency_key\": \"{key}\"}}}}")
}

#[test]
fn a_key_is_known_again_also_after_kills() {
    let dir = tempdir().unwrap();
    let both = format!("[{}, {}]", keyed("a", "one"), keyed("b", "two"));
    let hub = Hub::start(dir.path());
    assert_eq!(hub.post(&both).receipt(), (2, 0));
    assert_eq!(hub.post(&keyed("a", "one")).receipt(), (0, 1));
    hub.kill();
    let hub = Hub::start(dir.path());
    assert_eq!(hub.post(&both).receipt(), (0, 2));
    assert_eq!(hub.post(&keyed("c", "three")).receipt(), (1, 0));
    hub.terminate();
    let hub = Hub::start(dir.path());
    assert_eq!(hub.post(&keyed("c", "three")).receipt(), (0, 1));
    assert_eq!(stored(dir.path()).len(), 3);
}

#[test]
fn a_key_that_comes_twice_in_one_request_counts_once() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    let body = format!("[{},{},{}]", keyed("a", "k"), keyed("b", "k"), run(1));
    assert_eq!(hub.post(&body).receipt(), (2, 1));
    assert_eq!(stored(dir.path()).len(), 2);
}

#[test]
fn a_requests_key_covers_each_of_its_records() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    let key = [header("Idempotency-Key", "4f2c")];
    assert_eq!(hub.send(&key, runs(0..5).as_bytes()).receipt(), (5, 0));
    assert_eq!(hub.send(&key, runs(0..5).as_bytes()).receipt(), (0, 5));
    hub.kill();
    let hub = Hub::start(dir.path());
    assert_eq!(hub.send(&key, runs(0..6).as_bytes()).receipt(), (1, 5));
}

#[test]
fn without_a_key_nothing_is_held_back() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    assert_eq!(hub.post(&run(1)).receipt(), (1, 0));
    assert_eq!(hub.post(&run(1)).receipt(), (1, 0));
    let null = r#"{"run_id": "x", "metadata": {"idempotency_key": null}}"#;
    assert_eq!(hub.post(null).receipt(), (1, 0));
    assert_eq!(hub.post(null).receipt(), (1, 0));
}

#[test]
fn a_key_that_means_nothing_is_refused() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    for (key, found) in [("7", "a number"), ("\"\"", "an empty string"), ("[1]", "an array")] {
        let odd = format!("{{\"run_id\": \"x\", \"metadata\": {{\"idempotency_key\": {key}}}}}");
        let reply = hub.post(&format!("[{},{odd}]", run(1)));
        assert_eq!(reply.refusal(), (422, Some(1)));
        assert!(reply.body.contains("idempotency_key") && reply.body.contains(found), "{reply:?}");
        // A backhaul's records are known by their sequences.
        assert_ne!(hub.offer(1, "1", &odd).status, 422);
    }
    assert_eq!(stored(dir.path()).len(), 1);
}

#[test]
fn a_requests_key_that_means_nothing_is_refused() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    let key = |value: &str| header("Idempotency-Key", value);
    for (headers, said) in [
        (vec![key("")], "empty"),
        (vec![key(" \t")], "empty"),
        (vec![key("a"), key("b")], "more than once"),
        (vec![key("\u{e9}")], "plain text"),
    ] {
        let reply = hub.send(&headers, run(1).as_bytes());
        assert_eq!(reply.refusal(), (400, None), "{headers:?}");
        assert!(reply.body.contains("Idempotency-Key") && reply.body.contains(said), "{reply:?}");
    }
    assert_eq!(stored(dir.path()).len(), 0);
}

#[test]
fn keys_of_requests_and_of_records_are_apart() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    let key = [header("Idempotency-Key", "k")];
    assert_eq!(hub.send(&key, run(1).as_bytes()).receipt(), (1, 0));
    assert_eq!(hub.post(&keyed("a", "k#0")).receipt(), (1, 0));
    hub.kill();
    let hub = Hub::start(dir.path());
    assert_eq!(hub.send(&key, run(1).as_bytes()).receipt(), (0, 1));
    assert_eq!(hub.post(&keyed("a", "k#0")).receipt(), (0, 1));
}

#[test]
fn keys_of_any_length_and_alphabet_work() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    let long = "é".repeat(5000);
    for key in [long.as_str(), "\\ud800", "a b/c"] {
        assert_eq!(hub.post(&keyed("a", key)).receipt(), (1, 0));
        assert_eq!(hub.post(&keyed("a", key)).receipt(), (0, 1));
    }
    hub.kill();
    let hub = Hub::start(dir.path());
    assert_eq!(hub.post(&keyed("a", &long)).receipt(), (0, 1));
}

#[test]
fn keys_are_forgotten_when_they_are_old() {
    let dir = tempdir().unwrap();
    let hub = Hub::start_with(dir.path(), &["--remember-keys", "1s"]);
    assert_eq!(hub.post(&keyed("a", "k")).receipt(), (1, 0));
    std::thread::sleep(Duration::from_millis(2100));
    assert_eq!(hub.post(&keyed("a", "k")).receipt(), (1, 0));
    assert_eq!(hub.post(&keyed("a", "k")).receipt(), (0, 1));
}

#[test]
fn one_key_at_the_same_moment_is_stored_once() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    for round in 0..10 {
        let accepted: u64 = std::thread::scope(|scope| {
            let send = || hub.post(&keyed("a", &format!("key {round}"))).receipt().0;
            let senders: Vec<_> = (0..8).map(|_| scope.spawn(send)).collect();
            senders.into_iter().map(|sender| sender.join().unwrap()).sum()
        });
        assert_eq!(accepted, 1);
    }
    assert_eq!(stored(dir.path()).len(), 10);
}
