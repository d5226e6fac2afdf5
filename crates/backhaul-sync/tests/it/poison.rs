//! One bad record costs the others little, and nothing but itself in the end.

use std::collections::BTreeMap;
use std::time::Duration;

use backhaul_store::Standing;
use backhaul_sync::{BlockedKind, LinkError, SyncOptions, Verdict};
use backhaul_testkit::Prng;

use crate::support::{Answer, Device, append, entries, pass, plain, record, takes_all};

/// Refuses every request that holds one of these, as servers do that say no more.
fn refuses(poison: &[usize]) -> impl FnMut(&[String]) -> Answer + Send + 'static {
    let poison: Vec<String> = poison.iter().map(ToString::to_string).collect();
    move |bodies| match bodies.iter().any(|body| poison.contains(body)) {
        true => Err(LinkError::bad_batch("cannot read it").with_status(422)),
        false => takes_all(bodies),
    }
}

async fn extra_requests(records: usize, batch: usize, poison: &[usize]) -> usize {
    let device = Device::new();
    device.hub.answers(refuses(poison));
    let options = SyncOptions { batch_size: Some(batch), ..plain() };
    let courier = device.courier(options);
    for n in 0..records {
        append(&courier, &n.to_string());
    }
    let report = courier.sync_now().await;
    assert_eq!(report.failed, poison.len() as u64, "{poison:?}");
    assert_eq!(report.synced, (records - poison.len()) as u64, "{poison:?}");
    let failed = entries(courier.spool(), Standing::Failed);
    let mut found: Vec<usize> = failed
        .iter()
        .map(|entry| {
            let (_, stored) = courier.spool().get(entry.id.into()).unwrap();
            String::from_utf8(stored.body).unwrap().parse().unwrap()
        })
        .collect();
    found.sort_unstable();
    assert_eq!(found, poison);
    for entry in failed {
        assert!(entry.last_error.unwrap().contains("cannot read it"));
    }
    device.hub.requests() - records.div_ceil(batch)
}

#[tokio::test(start_paused = true)]
async fn a_bad_record_anywhere_in_a_batch_is_found_in_few_requests() {
    for bad in 0..64 {
        let extra = extra_requests(64, 64, &[bad]).await;
        assert!(extra <= 7, "record {bad} of 64 took {extra} more requests");
    }
    for bad in 0..50 {
        let extra = extra_requests(50, 50, &[bad]).await;
        assert!(extra <= 7, "record {bad} of 50 took {extra} more requests");
    }
    for bad in 0..50 {
        let extra = extra_requests(150, 50, &[bad]).await;
        assert!(extra <= 7, "record {bad} of 150 took {extra} more requests");
    }
}

/// On a slow link a request takes as long as it has records: one of 50 a second.
const EACH: Duration = Duration::from_millis(20);
const BATCH: Duration = Duration::from_secs(1);

/// Sends a thousand records, each request as long as these say: when each arrived, and
/// how many requests it took.
async fn arrivals_of_a_thousand(
    poison: &[usize],
    request: Duration,
    each: Duration,
) -> (BTreeMap<String, Duration>, usize) {
    let device = Device::new();
    device.hub.takes(request);
    device.hub.takes_for_each_record(each);
    device.hub.answers(refuses(poison));
    let courier = device.courier_of(1000);
    let report = courier.sync_now().await;
    let (bad, good) = (poison.len() as u64, 1000 - poison.len() as u64);
    assert_eq!((report.synced, report.failed, report.remaining), (good, bad, 0), "{poison:?}");
    // The last time that it was offered is when it arrived.
    let log = device.hub.log();
    let offered = log.iter().flat_map(|sent| sent.bodies.iter().map(|body| (body, sent.answered)));
    (offered.map(|(body, at)| (body.clone(), at)).collect(), log.len())
}

/// What one bad record among a thousand costs: requests, and by how much the record that
/// suffered most came later than without the bad one.
async fn cost_of_one_in_a_thousand(
    bad: usize,
    request: Duration,
    each: Duration,
) -> (usize, Duration) {
    let (without, requests) = arrivals_of_a_thousand(&[], request, each).await;
    let (mut with, more_requests) = arrivals_of_a_thousand(&[bad], request, each).await;
    assert_eq!((requests, with.len()), (20, 1000));
    with.remove(&bad.to_string());
    let later = with.iter().map(|(body, at)| at.saturating_sub(without[body]));
    (more_requests - requests, later.max().unwrap())
}

/// First, last, in the middle, and anywhere.
fn places_in_a_thousand() -> impl Iterator<Item = usize> {
    let mut random = Prng::new(17);
    let anywhere = std::iter::repeat_with(move || random.index(1000)).take(20);
    [0, 49, 499, 500, 950, 999].into_iter().chain(anywhere)
}

/// Property 17 of `store_and_forward.md`: at most 12 more requests, and nobody held up for
/// more than the time of two batches.
#[tokio::test(start_paused = true)]
async fn one_bad_record_in_a_thousand_costs_few_requests_and_the_time_of_two_batches() {
    let (mut most, mut longest) = (0, Duration::ZERO);
    for bad in places_in_a_thousand() {
        let (extra, later) = cost_of_one_in_a_thousand(bad, Duration::ZERO, EACH).await;
        assert!(extra <= 12, "record {bad} took {extra} more requests");
        assert!(later <= 2 * BATCH, "record {bad} held others up for {later:?}");
        (most, longest) = (most.max(extra), longest.max(later));
    }
    println!("at most {most} more requests, {longest:?} later");
}

/// Where a request takes as long whatever is in it, they wait for as many as were needed.
#[tokio::test(start_paused = true)]
async fn on_a_link_that_is_far_rather_than_slow_others_wait_for_the_extra_requests() {
    let (mut most, mut longest) = (0, Duration::ZERO);
    for bad in places_in_a_thousand() {
        let (extra, later) = cost_of_one_in_a_thousand(bad, BATCH, Duration::ZERO).await;
        assert!(later <= BATCH * 7, "record {bad} held others up for {later:?}");
        (most, longest) = (most.max(extra), longest.max(later));
    }
    println!("at most {most} more requests, {longest:?} later");
}

#[tokio::test(start_paused = true)]
async fn several_bad_records_are_found_at_the_price_of_each() {
    for poison in [[0, 1, 2], [0, 31, 63], [10, 100, 190], [62, 63, 64], [197, 198, 199]] {
        let extra = extra_requests(200, 64, &poison).await;
        assert!(extra <= 3 * 7, "{poison:?} took {extra} more requests");
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_nothing_but_bad_records_comes_to_its_end() {
    let all: Vec<usize> = (0..20).collect();
    assert!(extra_requests(20, 8, &all).await <= 20 * 4);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_a_whole_batch_once_costs_no_record() {
    let device = Device::new();
    let mut refused = false;
    device.hub.answers(move |bodies| {
        if std::mem::replace(&mut refused, true) {
            return takes_all(bodies);
        }
        Err(LinkError::bad_batch("a moment of confusion").with_status(400))
    });
    let report = device.courier_of(50).sync_now().await;
    assert_eq!((report.synced, report.failed), (50, 0));
}

#[tokio::test(start_paused = true)]
async fn what_refuses_everything_in_the_servers_place_empties_no_queue() {
    let device = Device::new();
    let refusal = || LinkError::bad_batch("bad request").with_status(400).doubtful();
    device.hub.answers(move |_| Err(refusal()));
    let courier = device.courier_of(50);
    for _ in 0..10 {
        let report = courier.sync_now().await;
        assert_eq!((report.synced, report.failed, report.remaining), (0, 0, 50));
        assert_eq!(report.blocked_by.unwrap().kind, BlockedKind::Busy);
    }
    // It is gone, and one record is bad indeed.
    device.hub.answers(move |bodies| match bodies.iter().any(|body| body == "0") {
        true => Err(refusal()),
        false => takes_all(bodies),
    });
    let report = courier.sync_now().await;
    assert_eq!((report.synced, report.failed, report.remaining), (49, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_waits_alone_is_rejected_when_it_has_had_its_retries() {
    let device = Device::new();
    device.hub.answers(|_| Err(LinkError::too_large("too large").with_status(413).doubtful()));
    let courier = device.courier_of(1);
    for _ in 0..3 {
        assert_eq!(courier.sync_now().await.remaining, 1);
    }
    assert_eq!(courier.sync_now().await.failed, 1);
    assert_eq!(device.hub.requests(), 4);
    let failed = entries(courier.spool(), Standing::Failed);
    assert_eq!(failed[0].last_error.as_deref(), Some("HTTP 413: too large"));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_names_the_bad_record_is_asked_about_that_one() {
    let device = Device::new();
    device.hub.answers(|bodies| match bodies.iter().position(|body| body == "37") {
        Some(index) => Err(LinkError::bad_batch("no run_id").with_status(422).with_index(index)),
        None => takes_all(bodies),
    });
    let report = device.courier_of(50).sync_now().await;
    assert_eq!((report.synced, report.failed), (49, 1));
    assert_eq!(device.hub.sizes(), [50, 1, 49]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_names_the_wrong_record_loses_none() {
    let device = Device::new();
    device.hub.answers(|bodies| match bodies.iter().any(|body| body == "3") {
        true => Err(LinkError::bad_batch("bad").with_status(422).with_index(0)),
        false => takes_all(bodies),
    });
    let report = device.courier_of(8).sync_now().await;
    assert_eq!((report.synced, report.failed), (7, 1));
}

#[tokio::test(start_paused = true)]
async fn a_record_alone_that_is_too_large_fails_with_that_reason() {
    let device = Device::new();
    device.hub.answers(|bodies| match bodies.iter().any(|body| body.len() > 5) {
        true => Err(LinkError::too_large("the limit is 5").with_status(413)),
        false => takes_all(bodies),
    });
    let courier = device.courier_of(10);
    append(&courier, "far too large");
    append(&courier, "ok");
    let report = courier.sync_now().await;
    assert_eq!((report.synced, report.failed, report.remaining), (11, 1, 0));
    let failed = entries(courier.spool(), Standing::Failed);
    let why = failed[0].last_error.as_deref().unwrap();
    assert_eq!(why, "HTTP 413: the limit is 5");
}

#[tokio::test(start_paused = true)]
async fn a_rejected_record_of_an_answered_batch_fails_alone() {
    let device = Device::new();
    device.hub.answers(|bodies| {
        let verdict = |body: &String| match body.as_str() {
            "1" => Verdict::Rejected { reason: "no run_id".into(), status: Some(422) },
            _ => Verdict::Delivered,
        };
        Ok(bodies.iter().map(verdict).collect())
    });
    let courier = device.courier_of(3);
    let report = courier.sync_now().await;
    assert_eq!((report.synced, report.failed, report.remaining), (2, 1, 0));
    assert!(!report.is_complete());
    assert_eq!(courier.status().failed_count, 1);
    // And it is not sent again until somebody says so.
    courier.sync_now().await;
    assert_eq!(device.hub.requests(), 1);
    let id = entries(courier.spool(), Standing::Failed)[0].id;
    device.hub.answers(takes_all);
    assert!(courier.spool().requeue(id.into()).unwrap());
    assert_eq!(courier.sync_now().await.synced, 1);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_crashes_the_server_ends_in_failed_and_others_get_through() {
    for bad in [0, 7, 49, 50, 119] {
        let device = Device::new();
        let poison = bad.to_string();
        device.hub.answers(move |bodies| match bodies.contains(&poison) {
            true => Err(LinkError::busy("stack overflow").with_status(500)),
            false => takes_all(bodies),
        });
        let courier = device.courier_of(120);
        courier.start().await;
        // Alone it would wait for ever: nothing tells a bad record from a bad server.
        for _ in 0..20 {
            append(&courier, "good");
            pass(60).await;
        }
        let status = courier.status();
        assert_eq!((status.pending_count, status.failed_count), (0, 1), "record {bad}");
    }
}

#[tokio::test(start_paused = true)]
async fn several_records_in_a_row_that_crash_the_server_do_not_pass_for_an_outage() {
    let device = Device::new();
    device.hub.answers(|bodies| match bodies.iter().any(|body| body.starts_with("bad")) {
        true => Err(LinkError::busy("stack overflow").with_status(500)),
        false => takes_all(bodies),
    });
    let courier = device.courier(plain());
    for n in 0..6 {
        append(&courier, &format!("bad {n}"));
    }
    for n in 0..60 {
        append(&courier, &n.to_string());
    }
    courier.start().await;
    for _ in 0..60 {
        append(&courier, "good");
        pass(60).await;
    }
    let status = courier.status();
    assert_eq!((status.pending_count, status.failed_count), (0, 6));
}

#[tokio::test(start_paused = true)]
async fn a_bad_record_holds_up_no_other_stream() {
    let device = Device::new();
    device.hub.answers(refuses(&[0]));
    let courier = device.courier(plain());
    for (body, stream) in [("0", "a"), ("1", "b"), ("2", "a"), ("3", "b")] {
        courier.spool().append(record(body).stream(stream)).unwrap();
    }
    let report = courier.sync_now().await;
    assert_eq!((report.synced, report.failed, report.remaining), (3, 1, 0));
}
