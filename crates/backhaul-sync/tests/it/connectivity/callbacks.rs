//! Who is told, when, and that nobody stands in the way of another.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use backhaul_sync::{Connectivity, ConnectivityMonitor};
use tokio::sync::Semaphore;

use super::support::{World, becomes, pass, plain};

/// A monitor of a link that is down, with states set by hand from here on.
struct Stage {
    monitor: ConnectivityMonitor,
    log: Arc<Mutex<Vec<&'static str>>>,
}

impl Stage {
    async fn new() -> Self {
        let monitor = Arc::new(World::new()).monitor(plain());
        monitor.start().await;
        Self { monitor, log: Arc::default() }
    }

    /// A callback that leaves a word.
    fn says(&self, word: &'static str) -> impl Fn() + Send + Sync + 'static {
        let log = self.log.clone();
        move || log.lock().unwrap().push(word)
    }

    async fn online(&self) {
        self.monitor.set_online();
        pass(Duration::from_millis(1)).await;
    }

    async fn offline(&self) {
        self.monitor.set_offline();
        pass(Duration::from_millis(1)).await;
    }

    fn heard(&self) -> String {
        self.log.lock().unwrap().drain(..).collect::<Vec<_>>().join(" ")
    }
}

#[tokio::test(start_paused = true)]
async fn plain_and_async_callbacks_hear_of_their_state_the_first_one_too() {
    let stage = Stage::new().await;
    stage.monitor.on_offline(stage.says("down"));
    let up = Arc::new(stage.says("up"));
    stage.monitor.on_online(move || {
        let up = up.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            up();
            "any result"
        }
    });
    becomes(&stage.monitor, Connectivity::Offline).await;
    pass(Duration::from_millis(1)).await;
    assert_eq!(stage.heard(), "down");
    stage.online().await;
    pass(Duration::from_millis(10)).await;
    assert_eq!(stage.heard(), "up");
    stage.monitor.set_online();
    pass(Duration::from_secs(10)).await;
    assert_eq!(stage.heard(), "", "only changes are told of");
}

#[tokio::test(start_paused = true)]
async fn callbacks_come_in_the_order_of_the_states() {
    let stage = Stage::new().await;
    let slow = Arc::new(stage.says("up"));
    stage.monitor.on_online(move || {
        let slow = slow.clone();
        async move {
            tokio::time::sleep(Duration::from_secs(4)).await;
            slow();
        }
    });
    stage.monitor.on_offline(stage.says("down"));
    stage.online().await;
    stage.offline().await;
    pass(Duration::from_secs(5)).await;
    assert_eq!(stage.heard(), "up down");
}

#[tokio::test(start_paused = true)]
async fn a_callback_that_is_removed_is_not_called_any_more() {
    let stage = Stage::new().await;
    let first = stage.monitor.on_online(stage.says("first"));
    stage.monitor.on_online(stage.says("second"));
    first.remove();
    first.remove();
    stage.online().await;
    assert_eq!(stage.heard(), "second");
}

#[tokio::test(start_paused = true)]
async fn a_callback_may_remove_itself_and_use_the_monitor() {
    let stage = Stage::new().await;
    let monitor = stage.monitor.clone();
    let handle = Arc::new(Mutex::new(None::<backhaul_sync::CallbackHandle>));
    let (own, says) = (handle.clone(), stage.says("once"));
    let registered = stage.monitor.on_online(move || {
        says();
        assert!(monitor.is_online());
        own.lock().unwrap().take().unwrap().remove();
    });
    *handle.lock().unwrap() = Some(registered);
    for _ in 0..3 {
        stage.online().await;
        stage.offline().await;
    }
    assert_eq!(stage.heard(), "once");
}

#[tokio::test(start_paused = true)]
async fn a_callback_that_panics_stops_nobody() {
    let stage = Stage::new().await;
    let calls = Arc::new(AtomicUsize::new(0));
    for _ in 0..2 {
        let (plain, future, inside) = (calls.clone(), calls.clone(), calls.clone());
        stage.monitor.on_online(move || {
            let calls = plain.fetch_add(1, Ordering::SeqCst);
            assert_eq!(calls, usize::MAX, "a plain callback that panics");
        });
        stage.monitor.on_online(move || {
            let inside = inside.clone();
            async move {
                inside.fetch_add(1, Ordering::SeqCst);
                panic!("an async callback")
            }
        });
        stage.monitor.on_online(move || {
            future.fetch_add(1, Ordering::SeqCst);
            if true {
                panic!("before its future")
            }
            async {}
        });
    }
    stage.monitor.on_online(stage.says("up"));
    for round in 1..=3 {
        stage.online().await;
        stage.offline().await;
        assert_eq!(stage.heard(), "up");
        assert_eq!(calls.load(Ordering::SeqCst), 6 * round);
    }
    stage.monitor.clear_override();
    becomes(&stage.monitor, Connectivity::Offline).await;
    assert!(stage.monitor.status().is_running);
}

#[tokio::test(start_paused = true)]
async fn an_async_callback_that_hangs_delays_the_others_by_a_bounded_time() {
    let stage = Stage::new().await;
    stage.monitor.on_online(std::future::pending::<()>);
    stage.monitor.on_online(stage.says("up"));
    stage.monitor.on_offline(stage.says("down"));
    for _ in 0..3 {
        stage.online().await;
        assert_eq!(stage.heard(), "up", "the others of its state do not wait");
        stage.offline().await;
        pass(Duration::from_secs(5)).await;
        assert_eq!(stage.heard(), "down");
    }
}

#[tokio::test]
async fn a_plain_callback_that_hangs_stops_nobody() {
    let stage = Stage::new().await;
    let (release, hang) = mpsc::channel::<()>();
    let hang = Mutex::new(hang);
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    stage.monitor.on_online(move || {
        counter.fetch_add(1, Ordering::SeqCst);
        let _ = hang.lock().unwrap().recv();
    });
    let (heard, mut hears) = tokio::sync::mpsc::unbounded_channel();
    stage.monitor.on_online(move || heard.send(()).unwrap());
    stage.online().await;
    hears.recv().await.unwrap();
    stage.monitor.set_offline();
    assert!(!stage.monitor.is_online());
    drop(release);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_still_busy_is_called_once_more_if_the_state_is_the_same() {
    let stage = Stage::new().await;
    let (begun, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let (counter, wait) = (begun.clone(), gate.clone());
    stage.monitor.on_online(move || {
        counter.fetch_add(1, Ordering::SeqCst);
        let wait = wait.clone();
        async move { wait.acquire().await.unwrap().forget() }
    });
    for _ in 0..3 {
        stage.online().await;
        pass(Duration::from_secs(5)).await;
        stage.offline().await;
        pass(Duration::from_secs(5)).await;
    }
    assert_eq!(begun.load(Ordering::SeqCst), 1, "never twice at a time");
    gate.add_permits(1);
    pass(Duration::from_secs(1)).await;
    assert_eq!(begun.load(Ordering::SeqCst), 1, "it is offline: nothing to be told");

    stage.online().await;
    pass(Duration::from_secs(5)).await;
    stage.offline().await;
    pass(Duration::from_secs(5)).await;
    stage.online().await;
    pass(Duration::from_secs(5)).await;
    assert_eq!(begun.load(Ordering::SeqCst), 2);
    gate.add_permits(1);
    pass(Duration::from_secs(1)).await;
    assert_eq!(begun.load(Ordering::SeqCst), 3, "it is online again: told when it came back");
}
