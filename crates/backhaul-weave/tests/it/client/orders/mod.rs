//! The queue and the phases of calls, in every order in which their steps can be taken: the
//! very files of the client, on loom's locks.

#![allow(dead_code, reason = "not all of it is asked here")]

#[path = "../../../../src/client/phase.rs"]
mod phase;
#[path = "../../../../src/client/queue.rs"]
mod queue;

/// In the place of the client's own.
mod sync {
    pub(super) use loom::sync::atomic::{AtomicUsize, Ordering};
    pub(super) use loom::sync::{Condvar, Mutex, MutexGuard};
}

use std::time::Duration;

use loom::sync::{Arc, Mutex};
use loom::thread;

use phase::{Ending, Part, Phase};
use queue::{Pushed, Queue};

enum Item {
    Call(Arc<Phase<u8>>),
    End(u8),
}

/// What the disk has got, in order.
type Disk = Arc<Mutex<Vec<&'static str>>>;

/// Stores until the queue is closed, as the writer does.
fn store_all(queue: &Queue<Item>, disk: &Disk) {
    store_all_as(queue, disk, false);
}

/// `says_so_before`: sabotage.
fn store_all_as(queue: &Queue<Item>, disk: &Disk, says_so_before: bool) {
    while let Some(items) = queue.take(Duration::ZERO) {
        for item in items {
            let stored = match item {
                Item::Call(phase) => phase.store().map(|part| match part {
                    Part::Start => "start",
                    Part::Whole(_) => "whole",
                }),
                Item::End(_) => Some("end"),
            };
            if says_so_before {
                queue.done(1, 1);
                thread::yield_now();
            }
            disk.lock().unwrap().extend(stored);
            if !says_so_before {
                queue.done(1, 1);
            }
        }
    }
}

/// A call that begins and ends.
fn call(queue: &Queue<Item>) {
    let phase = Arc::new(Phase::new());
    assert!(matches!(queue.push(Item::Call(Arc::clone(&phase)), 1), Pushed::Taken(_)));
    if let Ending::ByItself(output) = phase.end(7) {
        queue.push(Item::End(output), 1);
    }
}

fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    // More of them found nothing else, and took minutes.
    builder.preemption_bound = Some(3);
    builder.check(check);
}

#[test]
fn a_call_is_stored_whole_or_as_its_start_and_then_its_end_and_a_flush_sees_it() {
    a_flush_sees_a_call(false);
}

#[test]
#[should_panic(expected = "the flush saw []")]
fn a_disk_that_is_said_to_have_what_it_has_not_is_noticed() {
    a_flush_sees_a_call(true);
}

fn a_flush_sees_a_call(is_sabotaged: bool) {
    model(move || {
        let queue = Arc::new(Queue::new(100));
        let disk = Disk::default();
        let storing = thread::spawn({
            let (queue, disk) = (Arc::clone(&queue), Arc::clone(&disk));
            move || store_all_as(&queue, &disk, is_sabotaged)
        });
        call(&queue);
        assert!(queue.wait_until_stored(queue.end()));
        let flushed = disk.lock().unwrap().clone();
        assert!(flushed == ["whole"] || flushed == ["start", "end"], "the flush saw {flushed:?}");
        queue.close();
        storing.join().unwrap();
        assert_eq!(*disk.lock().unwrap(), flushed);
        assert_eq!(queue.waiting(), 0);
    });
}

#[test]
fn calls_of_two_threads_are_all_stored_when_the_queue_is_closed() {
    model(|| {
        let queue = Arc::new(Queue::new(100));
        let disk = Disk::default();
        let other = thread::spawn({
            let queue = Arc::clone(&queue);
            move || call(&queue)
        });
        call(&queue);
        other.join().unwrap();
        queue.close();
        store_all(&queue, &disk);
        assert_eq!(*disk.lock().unwrap(), ["whole", "whole"]);
    });
}

#[test]
fn whoever_finds_no_room_goes_on_when_there_is() {
    model(|| {
        let queue = Arc::new(Queue::new(1));
        let disk = Disk::default();
        let storing = thread::spawn({
            let (queue, disk) = (Arc::clone(&queue), Arc::clone(&disk));
            move || store_all(&queue, &disk)
        });
        for _ in 0..2 {
            assert!(matches!(queue.push(Item::End(1), 1), Pushed::Taken(_)));
        }
        queue.close();
        storing.join().unwrap();
        assert_eq!(disk.lock().unwrap().len(), 2);
        assert_eq!(queue.dropped(), 0);
    });
}

#[test]
fn a_disk_that_refuses_wakes_whoever_waits_for_it() {
    model(|| {
        let queue = Arc::new(Queue::<Item>::new(1));
        let refusing = thread::spawn({
            let queue = Arc::clone(&queue);
            move || {
                let items = queue.take(Duration::ZERO).unwrap();
                queue.refuse(Duration::ZERO);
                queue.drop_taken(items.len() as u64, items.len());
            }
        });
        queue.push(Item::End(1), 1);
        // Refused, or dropped since: it comes back either way.
        queue.wait_until_stored(queue.end());
        refusing.join().unwrap();
        assert_eq!((queue.waiting(), queue.dropped()), (0, 1));
    });
}
