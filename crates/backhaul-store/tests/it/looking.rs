//! How often a folder is looked at for what others put there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use backhaul_store::{Lane, Limits, Settled, Spool, State};
use backhaul_testkit::{ManualClock, SimDisk};

use crate::hooked::{Hook, hooked};
use crate::support::{Layout, numbered, options};

const ONE: Limits = Limits { records: 1, bytes: 1_000_000, down_to: Lane::Bulk };

/// Has each listing of the waiting files take a second, and counts them.
fn slow_listings(hook: &Hook, clock: &ManualClock) -> Arc<AtomicUsize> {
    let listings = Arc::new(AtomicUsize::new(0));
    let (counted, clock) = (Arc::clone(&listings), clock.clone());
    hook.set(Box::new(move |what, path| {
        if what == "list" && path.ends_with("pending") {
            clock.advance(Duration::from_secs(1));
            counted.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }));
    listings
}

fn deliver_one(spool: &Spool) {
    let batch = spool.take(&ONE).unwrap().unwrap();
    let position = batch.records[0].record.id.position;
    spool.settle(&[(position, Settled::new(State::Delivered))]).unwrap();
}

#[test]
fn a_folder_that_takes_long_to_list_is_looked_at_for_a_twentieth_of_the_time() {
    let (disk, clock) = (SimDisk::new(), ManualClock::new());
    let (spool, hook) = hooked(&disk, options(Layout::Folder), &clock);
    for number in 0..41 {
        spool.append(numbered(number, 100)).unwrap();
    }
    deliver_one(&spool);
    let listings = slow_listings(&hook, &clock);
    // A look every 21 seconds, which takes one of them.
    for _ in 0..40 {
        clock.advance(Duration::from_secs(1));
        deliver_one(&spool);
    }
    assert_eq!(listings.load(Ordering::Relaxed), 2);

    // With nothing to take there is time.
    assert!(spool.take(&ONE).unwrap().is_none());
    for looked in 3..6 {
        clock.advance(Duration::from_millis(200));
        assert!(spool.take(&ONE).unwrap().is_none());
        assert_eq!(listings.load(Ordering::Relaxed), looked);
    }
}
