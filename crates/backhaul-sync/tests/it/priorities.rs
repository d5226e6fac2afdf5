//! A courier with a prioritizer.

use std::time::Duration;

use backhaul_store::{Lane, Record};
use backhaul_sync::{SyncManager, SyncOptions, SyncPrioritizer, Verdict};

use crate::support::{Device, later, pass, plain, record};

fn one_by_one() -> SyncOptions {
    SyncOptions { batch_size: Some(1), ..plain() }
}

fn small_first() -> SyncPrioritizer {
    SyncPrioritizer::builder().rule("size", |r| -r.size_kb).build().unwrap()
}

fn append(courier: &SyncManager, records: impl IntoIterator<Item = Record>) {
    for record in records {
        courier.spool().append(record).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_highest_score_goes_first_and_of_equal_ones_the_oldest() {
    let device = Device::new();
    let courier = device.courier(one_by_one()).with_prioritizer(small_first());
    append(&courier, ["aaa", "b", "cc", "d", "ee"].map(record));
    assert_eq!(courier.sync_now().await.synced, 5);
    assert_eq!(device.hub.bodies(), ["b", "d", "cc", "ee", "aaa"]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_holds_the_best_in_the_order_in_which_they_were_stored() {
    let device = Device::new();
    let options = SyncOptions { batch_size: Some(2), ..plain() };
    let courier = device.courier(options).with_prioritizer(small_first());
    append(&courier, ["aaa", "bb", "c"].map(record));
    courier.sync_now().await;
    let log: Vec<Vec<String>> = device.hub.log().into_iter().map(|sent| sent.bodies).collect();
    assert_eq!(log, [vec!["bb", "c"], vec!["aaa"]]);
}

#[tokio::test(start_paused = true)]
async fn lanes_and_streams_keep_their_order_whatever_the_scores() {
    let device = Device::new();
    let courier = device.courier(one_by_one()).with_prioritizer(small_first());
    append(
        &courier,
        [
            record("s1-long").stream("s"),
            record("s2").stream("s"),
            record("other"),
            record("the alarm").lane(Lane::Critical),
        ],
    );
    courier.sync_now().await;
    assert_eq!(device.hub.bodies(), ["the alarm", "other", "s1-long", "s2"]);
}

#[tokio::test(start_paused = true)]
async fn rules_see_ages_and_attempts_as_they_are_at_each_batch() {
    let device = Device::new();
    let prioritizer = SyncPrioritizer::builder()
        .rule("tried", |r| -100.0 * f64::from(r.attempts))
        .rule("old", |r| if r.age_hours >= 2.0 { 10.0 } else { 0.0 })
        .rule("small", |r| -r.size_kb)
        .build()
        .unwrap();
    let courier = device.courier(one_by_one()).with_prioritizer(prioritizer);
    append(&courier, ["tried", "long one"].map(record));
    device.hub.answers(|bodies| match bodies {
        [body] if body == "tried" => Ok(vec![later(false)]),
        _ => Ok(vec![Verdict::Delivered]),
    });
    courier.sync_now().await;
    append(&courier, ["old long one".to_owned()].iter().map(|body| record(body)));
    pass(2 * 3600).await;
    append(&courier, ["new"].map(record));
    courier.sync_now().await;
    assert_eq!(device.hub.bodies(), ["tried", "long one", "old long one", "new", "tried"]);
}

#[tokio::test(start_paused = true)]
async fn rules_see_labels_until_somebody_says_what_records_mean() {
    let device = Device::new();
    let prioritizer = SyncPrioritizer::builder()
        .rule("site", |r| {
            if r.metadata.get("site").is_some_and(|site| site == "b") { 1.0 } else { 0.0 }
        })
        .rule("failed", |r| if r.success { 0.0 } else { 5.0 })
        .build()
        .unwrap();
    let courier = device.courier(one_by_one()).with_prioritizer(prioritizer);
    append(&courier, [record("1").label("site", "a"), record("2").label("site", "b")]);
    courier.sync_now().await;
    courier.describe_entries(|record, entry| entry.success = record.body != b"4");
    append(&courier, ["3", "4"].map(record));
    courier.sync_now().await;
    assert_eq!(device.hub.bodies(), ["2", "1", "4", "3"]);
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_fails_stands_in_the_status_and_stops_nothing() {
    let device = Device::new();
    let prioritizer = SyncPrioritizer::builder()
        .rule("broken", |_| panic!("there is nothing to see"))
        .rule("size", |r| -r.size_kb)
        .build()
        .unwrap();
    let courier = device.courier(one_by_one()).with_prioritizer(prioritizer);
    assert!(courier.status().failing_rules.is_empty());
    append(&courier, ["long", "s"].map(record));
    assert_eq!(courier.sync_now().await.synced, 2);
    assert_eq!(device.hub.bodies(), ["s", "long"]);
    let failing = courier.status().failing_rules;
    assert_eq!(failing.len(), 1);
    assert_eq!(failing[0].rule, "broken");
    assert_eq!(failing[0].reason, "it panicked: there is nothing to see");
}

#[tokio::test(start_paused = true)]
async fn the_oldest_gets_its_place_among_ever_better_ones() {
    let device = Device::new();
    let courier = device.courier(one_by_one()).with_prioritizer(small_first());
    append(&courier, [record("the largest of all").lane(Lane::Bulk)]);
    pass(1).await;
    append(&courier, (0..30).map(|_| record("x")));
    courier.sync_now().await;
    let place = device.hub.bodies().iter().position(|body| body == "the largest of all");
    assert_eq!(place, Some(9));
}

#[tokio::test(start_paused = true)]
async fn poison_is_found_among_chosen_records_too() {
    let device = Device::new();
    let courier = device.courier(plain()).with_prioritizer(small_first());
    append(&courier, (0..40).map(|n| record(&n.to_string())));
    device.hub.answers(|bodies| {
        if bodies.contains(&"17".to_owned()) {
            return Err(backhaul_sync::LinkError::bad_batch("17 is bad"));
        }
        Ok(vec![Verdict::Delivered; bodies.len()])
    });
    let report = courier.sync_now().await;
    assert_eq!((report.synced, report.failed, report.remaining), (39, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_outage_changes_nothing_in_the_order() {
    let device = Device::new();
    let courier = device.courier(one_by_one()).with_prioritizer(small_first());
    append(&courier, ["aaa", "b", "cc"].map(record));
    device.hub.answers(|_| Err(backhaul_sync::LinkError::unreachable("the cable is out")));
    courier.start().await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    device.hub.answers(crate::support::takes_all);
    tokio::time::sleep(Duration::from_secs(120)).await;
    courier.stop().await;
    assert_eq!(courier.status().pending_count, 0);
    let bodies = device.hub.bodies();
    assert!(bodies.len() > 3 && bodies.iter().rev().skip(2).all(|body| body == "b"), "{bodies:?}");
    assert_eq!(bodies[bodies.len() - 2..], ["cc", "aaa"]);
}
