//! A link that is there for a short time, once in a while.

use std::time::{Duration, Instant};

use backhaul_testkit::Cable;

use super::{Setup, World, run, sleep};

/// Of the link, in bytes per second: 1 Mbit/s, with all headers from Ethernet's on.
const RATE: f64 = 125_000.0;
/// A link that was down for as long begins small.
const LONG: Duration = Duration::from_secs(570);
const FIRST: Duration = Duration::from_secs(60);

/// How often a link is up, and for how long.
#[derive(Clone, Copy)]
struct Windows {
    count: u32,
    up: Duration,
    down: Duration,
    record_bytes: usize,
}

impl Windows {
    /// The part of the usable bytes that carried new records.
    ///
    /// Usable is the rate of the link times the time from the call that sets the device's
    /// interface up to the return of the one that sets it down. New records are those in the
    /// hub's own files at the end, each once, as the device stored them: without compression,
    /// headers, and what was sent twice.
    fn share(self, set_up: impl FnOnce(Setup) -> Setup + Send) -> f64 {
        let cable = Cable::new();
        cable.address();
        cable.shape_device("tbf rate 1mbit burst 4kb limit 60kb");
        cable.shape_hub("tbf rate 1mbit burst 4kb limit 60kb");
        let mut world = World::new(cable);
        let (clock, is_short) = (world.clock.clone(), self.down < LONG);
        let most = RATE * self.up.as_secs_f64() * f64::from(self.count);
        let mut bytes = 0;
        while (bytes as f64) < most {
            bytes += world.enqueue(10, self.record_bytes);
        }
        let setup = set_up(Setup::of(Cable::HUB, world.port()));
        let World { cable, queue, .. } = &world;
        let up = run(cable, async || {
            let device = setup.start(queue).await;
            let mut up = Duration::ZERO;
            for window in 0..self.count {
                // The first has no other before it to be away from.
                sleep(if window == 0 { self.down.min(FIRST) } else { self.down }).await;
                if is_short {
                    clock.advance(LONG);
                }
                let (begun, pending, sent) = (Instant::now(), device.pending(), cable.sent());
                cable.plug();
                sleep(self.up).await;
                cable.unplug();
                let time = begun.elapsed();
                let (sent, records) = (cable.sent() - sent, pending - device.pending());
                println!("window {window}: {time:?}, {records} records, {sent} bytes sent");
                up += time;
            }
            device.stop().await;
            up
        });
        let stored = world.check().unwrap();
        let new: usize = stored.iter().map(|record| record.body.len()).sum();
        let share = new as f64 / (RATE * up.as_secs_f64());
        println!("{new} bytes of new records in {up:?}: {share:.3}");
        share
    }
}

/// Small batches: of a short window a batch that is broken off is a large part.
fn small_batches(mut setup: Setup) -> Setup {
    setup.sync.batch_size = Some(10);
    setup
}

/// In the short form windows are so short that what a busy machine takes for itself counts.
/// The long form, `BACKHAUL_WINDOWS=6`, is what is promised, with all defaults.
fn are_filled(record_bytes: usize) {
    if let Ok(count) = std::env::var("BACKHAUL_WINDOWS") {
        let (up, count) = (Duration::from_secs(30), count.parse().unwrap());
        let windows = Windows { count, up, down: LONG, record_bytes };
        assert!(windows.share(|setup| setup) >= 0.9);
    } else {
        let (up, down) = (Duration::from_secs(4), Duration::from_secs(2));
        let windows = Windows { count: 3, up, down, record_bytes };
        assert!(windows.share(small_batches) >= 0.6);
    }
}

#[test]
fn windows_are_filled_with_small_records() {
    are_filled(2_000);
}

#[test]
fn windows_are_filled_with_large_records() {
    are_filled(20_000);
}

#[test]
fn the_share_notices_a_monitor_that_hears_no_events() {
    let (up, down) = (Duration::from_secs(3), Duration::from_secs(1));
    let windows = Windows { count: 1, up, down, record_bytes: 2_000 };
    assert!(windows.share(|setup| small_batches(setup).by_events_alone().deaf()) < 0.1);
}
