//! Room that runs out, and room that is made.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use backhaul_store::{HighWater, Limits, Options, Settled, Spool, State};
use backhaul_testkit::{ManualClock, SimDisk};

use crate::support::{LAYOUTS, deliver, deliver_all, numbered, numbers, open, open_at, options};

const HOUR: Duration = Duration::from_secs(3600);

fn filled(layout: crate::support::Layout, clock: &ManualClock, count: u64) -> Spool {
    let spool = open_at(Arc::new(SimDisk::new()), options(layout), clock).unwrap();
    for number in 0..count {
        spool.append(numbered(number, 300)).unwrap();
    }
    spool
}

#[test]
fn the_alert_is_raised_once_and_cleared_once() {
    for layout in LAYOUTS {
        let capped = Options { max_bytes: Some(1_000_000), ..options(layout) };
        let spool = open(&SimDisk::new(), capped).unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let listener = Arc::clone(&told);
        spool.on_high_water(move |alert| {
            listener.lock().unwrap().push(alert.map(|alert| alert.name()));
        });
        let mut number = 0;
        while spool.status().unwrap().high_water.is_none() {
            spool.append(numbered(number, 3000)).unwrap();
            number += 1;
            spool.maintain().unwrap();
        }
        let status = spool.status().unwrap();
        assert!(status.bytes >= 800_000 && status.bytes < 900_000, "{layout:?}: {}", status.bytes);
        let alert = HighWater::Cap { used_bytes: status.bytes, max_bytes: 1_000_000 };
        assert_eq!(status.high_water, Some(alert));
        spool.maintain().unwrap();
        assert_eq!(*told.lock().unwrap(), [Some("cap")]);
        deliver_all(&spool);
        spool.clean(Duration::ZERO).unwrap();
        spool.maintain().unwrap();
        spool.maintain().unwrap();
        assert_eq!(*told.lock().unwrap(), [Some("cap"), None], "{layout:?}");
    }
}

#[test]
fn only_delivered_data_is_cleaned() {
    for layout in LAYOUTS {
        let spool = filled(layout, &ManualClock::new(), 300);
        let some = Limits { records: 200, bytes: 1 << 20, ..Limits::default() };
        assert_eq!(deliver(&spool, &some).unwrap().len(), 200);
        let batch = spool.take(&Limits { records: 1, ..some }).unwrap().unwrap();
        let rejected = Settled::new(State::Rejected).reason("told so");
        spool.settle(&[(batch.records[0].record.id.position, rejected)]).unwrap();
        drop(batch);
        let before = spool.status().unwrap();
        let cleaned = spool.clean(Duration::ZERO).unwrap();
        let after = spool.status().unwrap();
        assert!(cleaned.records > 0 && cleaned.records <= 200, "{layout:?}: {cleaned:?}");
        assert!(after.bytes < before.bytes && cleaned.bytes > 0, "{layout:?}");
        assert_eq!(after.books, before.books, "{layout:?}");
        let left = numbers(&spool);
        assert!((200..300).all(|number| left.contains(&number)), "{layout:?}");
        assert_eq!(left.len() as u64, 300 - cleaned.records, "{layout:?}");
        assert_eq!(deliver_all(&spool).len(), 99, "{layout:?}");
    }
}

#[test]
fn everything_that_is_delivered_is_cleaned_also_of_the_segment_in_use() {
    for layout in LAYOUTS {
        let spool = filled(layout, &ManualClock::new(), 10);
        assert_eq!(spool.clean(Duration::ZERO).unwrap().records, 0);
        deliver_all(&spool);
        assert_eq!(spool.clean(Duration::ZERO).unwrap().records, 10, "{layout:?}");
        assert!(numbers(&spool).is_empty());
        spool.append(numbered(10, 300)).unwrap();
        assert_eq!(deliver_all(&spool), [10], "{layout:?}");
        assert!(spool.status().unwrap().books.balance());
    }
}

#[test]
fn younger_data_stays() {
    for layout in LAYOUTS {
        let clock = ManualClock::new();
        let spool = filled(layout, &clock, 200);
        clock.advance(HOUR);
        for number in 200..210 {
            spool.append(numbered(number, 300)).unwrap();
        }
        deliver_all(&spool);
        assert_eq!(spool.clean(HOUR * 2).unwrap().records, 0, "{layout:?}");
        let cleaned = spool.clean(HOUR).unwrap().records;
        assert!(cleaned > 100 && cleaned <= 200, "{layout:?}: {cleaned}");
        let left = numbers(&spool);
        assert!((200..210).all(|number| left.contains(&number)), "{layout:?}");
    }
}

#[test]
fn what_another_reader_wants_is_not_cleaned() {
    let kept = Options { keep_until_released: true, ..options(LAYOUTS[1]) };
    let spool = open(&SimDisk::new(), kept).unwrap();
    for number in 0..10 {
        spool.append(numbered(number, 300)).unwrap();
    }
    deliver_all(&spool);
    assert_eq!(spool.clean(Duration::ZERO).unwrap().records, 0);
    spool.release(&spool.ends().unwrap());
    assert_eq!(spool.clean(Duration::ZERO).unwrap().records, 10);
}
