//! Records that no data cap holds, and their summaries.

use std::collections::BTreeSet;

use backhaul_store::{Lane, Standing};
use backhaul_sync::{
    BlockedKind, Denied, LinkError, Oversized, SyncEvent, SyncManager, SyncOptions, Verdict,
};

use crate::support::{Answer, Device, append, entries, pass, plain, record, takes_all};

const LARGE: &str = "larger than the cap";
const SUMMARY: &str = "s";
const HOUR: u64 = 3600;

/// A hub behind a cap of five bytes.
fn capped(bodies: &[String]) -> Answer {
    match bodies.iter().any(|body| body.len() > 5) {
        true => Err(Denied::NeverFits { most: 5, fits_as: None }.into()),
        false => takes_all(bodies),
    }
}

/// The same, with an answer of its own to a summary.
fn capped_but(summary: impl Fn() -> Answer + Send + 'static) -> impl FnMut(&[String]) -> Answer {
    move |bodies| if bodies == [SUMMARY] { summary() } else { capped(bodies) }
}

fn with_summaries() -> SyncOptions {
    SyncOptions { oversized: Oversized::Summary, ..plain() }
}

/// A courier whose records are summed up as `s`.
fn courier(device: &Device, options: SyncOptions) -> SyncManager {
    let courier = device.courier(options);
    courier.summarize_with(|record| (record.body == LARGE.as_bytes()).then(|| SUMMARY.into()));
    courier
}

fn last_error(courier: &SyncManager) -> String {
    entries(courier.spool(), Standing::Pending)[0].last_error.clone().unwrap()
}

/// How often the summary was offered.
fn summaries(device: &Device) -> u64 {
    let offers = device.hub.offers();
    offers.iter().filter(|((_, body), _)| body == SUMMARY).map(|(_, count)| count).sum()
}

#[tokio::test(start_paused = true)]
async fn a_summary_goes_once_and_the_record_goes_whole_when_the_cap_is_raised() {
    let device = Device::new();
    device.hub.answers(capped);
    let courier = courier(&device, with_summaries());
    let mut events = courier.events();
    let id = append(&courier, LARGE);
    append(&courier, "2");
    let report = courier.sync_now().await;
    assert_eq!((report.synced, report.remaining, report.failed), (1, 1, 0));
    assert_eq!((report.oversized, report.summarized), (1, 1));
    let blocked = report.blocked_by.unwrap();
    assert!(blocked.reason.ends_with("1 of them for a larger data cap"), "{blocked}");
    assert!(last_error(&courier).ends_with("; its summary was delivered"));
    let status = courier.status();
    assert_eq!((status.oversized_count, status.summarized_count), (1, 1));
    assert!(courier.spool().books().unwrap().balance());
    // It was looked at again in each hour.
    for _ in 0..5 {
        pass(HOUR + 1).await;
        let report = courier.sync_now().await;
        assert_eq!((report.oversized, report.summarized), (1, 1));
    }
    assert_eq!(summaries(&device), 1);
    device.hub.answers(takes_all);
    pass(HOUR + 1).await;
    assert_eq!(courier.sync_now().await.synced, 1);
    let status = courier.status();
    assert_eq!((status.oversized_count, status.pending_count), (0, 0));
    let places: BTreeSet<_> = device.hub.offers().into_keys().collect();
    let own = |place: &str, body: &str| (place.to_owned(), body.to_owned());
    let expected = [own("normal.32768/1", SUMMARY), own("normal/1", LARGE), own("normal/2", "2")];
    assert_eq!(places, expected.into());
    assert!(courier.spool().books().unwrap().balance());

    drop(courier);
    let mut told = Vec::new();
    while let Some(event) = events.next().await {
        told.extend(matches!(event, SyncEvent::Oversized { .. }).then_some(event));
    }
    let event = SyncEvent::Oversized { id, bytes: LARGE.len() as u64, is_summarized: true };
    assert_eq!(told, vec![event; 6]);
}

#[tokio::test(start_paused = true)]
async fn a_summary_that_was_delivered_is_not_sent_again_after_a_restart() {
    let device = Device::new();
    device.hub.answers(capped);
    let first = courier(&device, with_summaries());
    append(&first, LARGE);
    first.sync_now().await;
    drop(first);
    let second = courier(&device, with_summaries());
    assert_eq!(second.status().summarized_count, 1);
    pass(HOUR + 1).await;
    assert_eq!(second.sync_now().await.summarized, 1);
    assert_eq!(summaries(&device), 1);
}

#[tokio::test(start_paused = true)]
async fn a_summary_whose_answer_was_lost_goes_again_under_its_name() {
    let device = Device::new();
    device.hub.answers(capped_but(|| Err(LinkError::unreachable("the link broke"))));
    let courier = courier(&device, with_summaries());
    append(&courier, LARGE);
    append(&courier, "2");
    assert_eq!(courier.sync_now().await.blocked_by.unwrap().kind, BlockedKind::Offline);
    // It did arrive: the destination knows it again.
    device.hub.answers(capped_but(|| Ok(vec![Verdict::Duplicate])));
    let report = courier.sync_now().await;
    assert_eq!((report.synced, report.duplicates, report.summarized), (1, 0, 1));
    let offers = device.hub.offers();
    assert_eq!(offers[&("normal.32768/1".to_owned(), SUMMARY.to_owned())], 2);
    assert_eq!(summaries(&device), 2);
}

#[tokio::test(start_paused = true)]
async fn a_summary_that_is_not_taken_holds_up_nobody_and_goes_later() {
    let answers: [fn() -> Answer; 8] = [
        || Ok(vec![Verdict::Rejected { reason: "no".into(), status: Some(422) }]),
        || Ok(vec![crate::support::later(true)]),
        || Err(LinkError::bad_batch("no").with_status(422)),
        || Err(LinkError::busy("no").with_status(500)),
        || Err(LinkError::timeout("too slow")),
        || Err(Denied::NeverFits { most: 0, fits_as: None }.into()),
        || Err(Denied::Reserve { left: 0, refill_in: None }.into()),
        || Err(Denied::Cap { left: 0, refill_in: None }.into()),
    ];
    for answer in answers {
        let device = Device::new();
        device.hub.answers(capped_but(answer));
        let courier = courier(&device, with_summaries());
        append(&courier, LARGE);
        append(&courier, "2");
        let report = courier.sync_now().await;
        assert_eq!((report.synced, report.failed, report.remaining), (1, 0, 1));
        assert_eq!((report.oversized, report.summarized), (1, 0));
        assert!(last_error(&courier).contains("its summary was not delivered: "));
        assert_eq!(courier.status().summarized_count, 0);
        device.hub.answers(capped);
        pass(HOUR + 1).await;
        assert_eq!(courier.sync_now().await.summarized, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_of_which_no_summary_can_be_made_is_reported_alone() {
    for is_panicking in [false, true] {
        let device = Device::new();
        device.hub.answers(capped);
        let courier = device.courier(with_summaries());
        courier.summarize_with(move |_| {
            assert!(!is_panicking, "a summary of somebody's");
            None
        });
        append(&courier, LARGE);
        append(&courier, "2");
        let report = courier.sync_now().await;
        assert_eq!((report.synced, report.oversized, report.summarized), (1, 1, 0));
        assert!(
            last_error(&courier).ends_with("its summary was not delivered: none can be made of it")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn no_summary_goes_unless_it_is_asked_for_and_one_goes_once_it_is() {
    let device = Device::new();
    device.hub.answers(capped);
    let courier = courier(&device, plain());
    append(&courier, LARGE);
    assert_eq!(courier.sync_now().await.summarized, 0);
    assert!(last_error(&courier).ends_with("the data cap ever allows"));
    courier.set_options(with_summaries()).unwrap();
    pass(HOUR + 1).await;
    assert_eq!((courier.sync_now().await.summarized, summaries(&device)), (1, 1));
    // What is there stays, whatever is asked for later.
    courier.set_options(plain()).unwrap();
    pass(HOUR + 1).await;
    assert_eq!((courier.sync_now().await.summarized, summaries(&device)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_summary_keeps_the_lane_of_its_record() {
    let device = Device::new();
    device.hub.answers(capped);
    let courier = courier(&device, with_summaries());
    append(&courier, LARGE);
    courier.spool().append(record(LARGE).lane(Lane::Critical)).unwrap();
    assert_eq!(courier.sync_now().await.summarized, 2);
    let log = device.hub.log();
    let sent: Vec<&str> =
        log.iter().filter(|sent| sent.bodies == [SUMMARY]).map(|sent| &*sent.places[0]).collect();
    assert_eq!(sent, ["critical.32768/1", "normal.32768/1"]);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_waits_for_a_larger_cap_holds_back_its_stream_alone() {
    let device = Device::new();
    device.hub.answers(capped);
    let courier = courier(&device, with_summaries());
    for (body, stream) in [(LARGE, "a"), ("2", "a"), ("3", "b")] {
        courier.spool().append(record(body).stream(stream)).unwrap();
    }
    let report = courier.sync_now().await;
    assert_eq!((report.synced, report.summarized, report.remaining), (1, 1, 2));
    device.hub.answers(takes_all);
    pass(HOUR + 1).await;
    courier.sync_now().await;
    assert_eq!(device.hub.bodies().last_chunk().unwrap(), &[LARGE, "2"]);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_dropped_is_oversized_no_more() {
    let device = Device::new();
    device.hub.answers(capped);
    let courier = courier(&device, with_summaries());
    append(&courier, LARGE);
    courier.sync_now().await;
    courier.spool().drop_all(Standing::Pending, "carried out").unwrap();
    let status = courier.status();
    assert_eq!((status.oversized_count, status.pending_count), (0, 0));
    let books = courier.spool().books().unwrap();
    assert!(books.balance() && books.dropped == 1, "{books:?}");
}
