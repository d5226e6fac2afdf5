//! The next batch is read while one is on its way.

use std::time::Duration;

use backhaul_store::{Lane, Limits};
use backhaul_sync::{LinkError, SyncManager};

use crate::support::{Device, plain, record, takes_all};

/// Has the hub do something before it answers the second request.
fn at_the_second(device: &Device, act: impl Fn() + Send + 'static) {
    let mut requests = 0;
    device.hub.answers(move |bodies| {
        requests += 1;
        if requests == 2 {
            act();
        }
        takes_all(bodies)
    });
}

fn appends_an_alarm(courier: &SyncManager) -> impl Fn() + Send + use<> {
    let spool = courier.spool().clone();
    move || {
        spool.append(record("alarm").lane(Lane::Critical)).unwrap();
    }
}

async fn place_of_the_alarm(answers_take: Duration) -> Option<usize> {
    let device = Device::new();
    let courier = device.courier_of(250);
    device.hub.takes(answers_take);
    at_the_second(&device, appends_an_alarm(&courier));
    assert_eq!(courier.sync_now().await.synced, 251);
    device.hub.log().iter().position(|sent| sent.bodies == ["alarm"])
}

#[tokio::test(start_paused = true)]
async fn an_urgent_record_waits_for_one_more_batch_where_answers_come_soon_and_for_none_else() {
    assert_eq!(place_of_the_alarm(Duration::from_millis(99)).await, Some(3));
    assert_eq!(place_of_the_alarm(Duration::from_millis(100)).await, Some(2));
}

#[tokio::test(start_paused = true)]
async fn what_was_read_ahead_waits_again_where_the_batch_before_it_fails() {
    let device = Device::new();
    let courier = device.courier_of(200);
    let mut requests = 0;
    device.hub.answers(move |bodies| {
        requests += 1;
        if requests == 2 { Err(LinkError::unreachable("no link")) } else { takes_all(bodies) }
    });
    let report = courier.sync_now().await;
    assert_eq!((report.synced, report.remaining), (50, 150));
    let limits = Limits { records: 200, ..Limits::default() };
    assert_eq!(courier.spool().take(&limits).unwrap().unwrap().records.len(), 150);

    assert_eq!(courier.sync_now().await.synced, 150);
    let taken: Vec<String> = device.hub.bodies().into_iter().skip(100).collect();
    let expected: Vec<String> = (50..200).map(|n| n.to_string()).collect();
    assert_eq!(taken, expected);
}

#[tokio::test(start_paused = true)]
async fn no_batch_holds_a_record_of_a_stream_that_is_on_its_way() {
    let device = Device::new();
    device.hub.takes(Duration::from_millis(1));
    let courier = device.courier(plain());
    for number in 0..4 {
        for stream in 0..120 {
            let record = record(&format!("{stream}.{number}")).stream(stream.to_string());
            courier.spool().append(record).unwrap();
        }
    }
    assert_eq!(courier.sync_now().await.synced, 480);
    let bodies = device.hub.bodies();
    for stream in 0..120 {
        let start = format!("{stream}.");
        let of_stream: Vec<&String> = bodies.iter().filter(|it| it.starts_with(&start)).collect();
        let expected: Vec<String> = (0..4).map(|number| format!("{start}{number}")).collect();
        assert_eq!(of_stream, expected.iter().collect::<Vec<_>>());
    }
}
