//! What the data cap holds back, and what not.

use std::time::Duration;

use backhaul_store::{Lane, Standing};
use backhaul_sync::{BlockedKind, Criticality, Denied, SyncManager};

use crate::support::{Answer, Device, append, entries, pass, record, takes_all};

const HOUR: Duration = Duration::from_secs(3600);

/// Lets bytes of bodies pass, and of critical records some more.
fn allows(normal: usize, critical: usize) -> impl FnMut(&[String]) -> Answer + Send + 'static {
    let (mut normal, mut critical) = (normal, critical);
    move |bodies| {
        let bytes: usize = bodies.iter().map(String::len).sum();
        let is_critical = bodies.iter().all(|body| body.starts_with('!'));
        let left = if is_critical { &mut critical } else { &mut normal };
        match left.checked_sub(bytes) {
            Some(rest) => {
                *left = rest;
                takes_all(bodies)
            }
            None if is_critical => {
                Err(Denied::Cap { left: *left as u64, refill_in: Some(HOUR) }.into())
            }
            None => Err(Denied::Reserve { left: *left as u64, refill_in: Some(HOUR) }.into()),
        }
    }
}

fn append_critical(courier: &SyncManager, body: &str) {
    courier.spool().append(record(body).lane(Lane::Critical)).unwrap();
    courier.notify();
}

#[tokio::test(start_paused = true)]
async fn as_much_is_sent_as_the_cap_has_room_for() {
    let device = Device::new();
    device.hub.answers(allows(37, 0));
    let courier = device.courier_of(0);
    for _ in 0..50 {
        append(&courier, "x");
    }
    let report = courier.sync_now().await;
    assert_eq!((report.synced, report.remaining), (37, 13));
    assert_eq!(report.blocked_by.unwrap().kind, BlockedKind::Cap);
    let status = courier.status();
    assert!(status.last_error.unwrap().contains("kept for critical records"));
    // It is not the link's fault: nobody is offline, no record has spent a try.
    assert_ne!(status.is_online, Some(false));
    assert!(entries(courier.spool(), Standing::Pending).iter().all(|it| it.attempts == 0));
}

#[tokio::test(start_paused = true)]
async fn a_critical_record_goes_at_once_while_others_wait_for_the_refill() {
    let device = Device::new();
    device.hub.answers(allows(2, 4));
    let courier = device.courier_of(0);
    for _ in 0..5 {
        append(&courier, "x");
    }
    courier.start().await;
    pass(1).await;
    assert_eq!(courier.status().pending_count, 3);
    let asked = device.hub.requests();
    append_critical(&courier, "!1");
    append(&courier, "y");
    courier.notify();
    pass(1).await;
    // The others were not asked about again.
    assert_eq!(device.hub.bodies().last().unwrap(), "!1");
    assert_eq!(device.hub.requests(), asked + 1);
    // Nothing is left for critical ones either: a new one waits for the next look.
    append_critical(&courier, "!234");
    pass(1).await;
    append_critical(&courier, "!2");
    pass(1).await;
    assert_eq!(courier.status().pending_count, 6);
    device.hub.answers(takes_all);
    pass(60).await;
    assert_eq!(courier.status().pending_count, 0);
    courier.stop().await;
}

#[tokio::test(start_paused = true)]
async fn asking_for_a_sync_looks_at_everything_again() {
    let device = Device::new();
    device.hub.answers(allows(0, 9));
    let courier = device.courier_of(3);
    assert_eq!(courier.sync_now().await.blocked_by.unwrap().kind, BlockedKind::Cap);
    device.hub.answers(takes_all);
    assert_eq!(courier.sync_now().await.synced, 3);
}

#[tokio::test(start_paused = true)]
async fn a_record_larger_than_the_cap_holds_up_nobody_and_is_tried_again() {
    let device = Device::new();
    let never = || Denied::NeverFits { most: 5, fits_as: None };
    device.hub.answers(move |bodies| match bodies.iter().any(|body| body.len() > 5) {
        true => Err(never().into()),
        false => takes_all(bodies),
    });
    let courier = device.courier_of(3);
    append(&courier, "larger than the cap");
    append(&courier, "4");
    let report = courier.sync_now().await;
    assert_eq!((report.synced, report.failed, report.oversized), (4, 0, 1));
    assert_eq!(report.remaining, 1);
    let waiting = entries(courier.spool(), Standing::Pending);
    assert!(waiting[0].last_error.as_ref().unwrap().contains("the data cap ever allows"));
    device.hub.answers(takes_all);
    pass(3601).await;
    assert_eq!(courier.sync_now().await.synced, 1);
}

#[test]
fn what_is_critical_is_called_so() {
    assert_eq!(Criticality::Critical.to_string(), "critical");
}
