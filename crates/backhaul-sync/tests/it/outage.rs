//! Outages that somebody asked for.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use backhaul_store::Lane;
use backhaul_sync::{BlockedKind, LinkError, PlannedOutage, SyncManager};
use tokio::time::Instant;

use crate::support::{Device, append, pass, record, takes_all};

/// A switch that a test holds: `Some(None)` is on until it is turned off.
#[derive(Clone, Default)]
struct Switch(Arc<Mutex<Option<Option<Instant>>>>);

impl Switch {
    fn of(courier: &SyncManager) -> Self {
        let switch = Self::default();
        let asked = switch.clone();
        courier.offline_while(move || {
            let left = (*asked.0.lock().unwrap())?
                .map(|until| until.saturating_duration_since(Instant::now()));
            let is_over = left.is_some_and(|left| left.is_zero());
            (!is_over).then(|| PlannedOutage { reason: "asked for".to_owned(), left })
        });
        switch
    }

    fn set(&self, outage: Option<Option<Duration>>) {
        *self.0.lock().unwrap() = outage.map(|left| left.map(|left| Instant::now() + left));
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_while_it_lasts_and_no_retry_is_spent() {
    let device = Device::new();
    let courier = device.courier_of(3);
    let switch = Switch::of(&courier);
    switch.set(Some(None));
    courier.start().await;
    for _ in 0..10 {
        append(&courier, "more");
        courier.notify();
        pass(60).await;
    }
    assert_eq!(device.hub.requests(), 0);
    let report = courier.sync_now().await;
    assert_eq!((report.remaining, report.blocked_by.unwrap().kind), (13, BlockedKind::Outage));
    let status = courier.status();
    assert_eq!((status.is_online, status.last_attempt_at), (Some(false), None));
    assert_eq!(status.last_error.as_deref(), Some("asked for"));
    switch.set(None);
    assert_eq!(courier.sync_now().await.synced, 13);
    assert_eq!(courier.status().is_online, Some(true));
}

#[tokio::test(start_paused = true)]
async fn the_courier_goes_on_by_itself_when_it_is_over() {
    let device = Device::new();
    let courier = device.courier_of(3);
    Switch::of(&courier).set(Some(Some(Duration::from_secs(130))));
    courier.start().await;
    pass(140).await;
    assert_eq!(device.hub.seconds(), [130]);
}

#[tokio::test(start_paused = true)]
async fn it_begins_with_the_next_request_also_in_the_middle_of_a_sync() {
    let device = Device::new();
    let courier = device.courier_of(120);
    let switch = Switch::of(&courier);
    device.hub.answers(move |bodies| {
        switch.set(Some(None));
        takes_all(bodies)
    });
    let report = courier.sync_now().await;
    assert_eq!((report.synced, device.hub.requests()), (50, 1));
    assert_eq!(report.blocked_by.unwrap().kind, BlockedKind::Outage);
}

#[tokio::test(start_paused = true)]
async fn with_nothing_to_send_it_blocks_nothing() {
    let device = Device::new();
    let courier = device.courier_of(0);
    Switch::of(&courier).set(Some(None));
    assert!(courier.sync_now().await.is_complete());
}

#[tokio::test(start_paused = true)]
async fn it_does_not_shorten_the_time_that_the_destination_asked_for() {
    let device = Device::new();
    device.hub.answers(|_| {
        let error = LinkError::busy("others are before you").with_status(429);
        Err(error.with_retry_after(Duration::from_secs(300)))
    });
    let courier = device.courier_of(3);
    let switch = Switch::of(&courier);
    courier.start().await;
    pass(1).await;
    device.hub.answers(takes_all);
    switch.set(Some(Some(Duration::from_secs(129))));
    courier.spool().append(record("alarm").lane(Lane::Critical)).unwrap();
    courier.notify();
    pass(298).await;
    assert_eq!(device.hub.seconds(), [0, 130]);
    assert_eq!(courier.status().pending_count, 3);
    pass(2).await;
    assert_eq!(device.hub.seconds(), [0, 130, 300]);
    assert_eq!(courier.status().pending_count, 0);
}
