//! The rate, on a clock that stands still until everybody waits.

use std::time::Duration;

use backhaul_sync::{BandwidthManager, BandwidthOptions};
use tokio::time::Instant;

fn limited(kbps: u64) -> BandwidthManager {
    let options = BandwidthOptions { rate_limit_kbps: Some(kbps), ..BandwidthOptions::default() };
    BandwidthManager::new("/nowhere", options).unwrap()
}

/// Sends pieces until the time is over: bytes in each ten seconds.
async fn bytes_in_each_ten_seconds(
    budget: &BandwidthManager,
    piece: u64,
    windows: u64,
) -> Vec<u64> {
    let start = Instant::now();
    let mut sent = vec![0; usize::try_from(windows).unwrap()];
    loop {
        budget.pace(piece).await;
        let window = usize::try_from(start.elapsed().as_secs() / 10).unwrap();
        let Some(bytes) = sent.get_mut(window) else { return sent };
        *bytes += piece;
    }
}

#[tokio::test(start_paused = true)]
async fn fifty_kilobits_are_6250_bytes_a_second_within_a_twentieth() {
    for (kbps, piece) in [(50, 100), (50, 1_500), (1_000, 1_400), (20_000, 64_000)] {
        let budget = limited(kbps);
        for bytes in bytes_in_each_ten_seconds(&budget, piece, 6).await {
            let exact = kbps * 1_250;
            assert!(bytes.abs_diff(exact) * 20 <= exact, "{kbps} kbps: {bytes} of {exact}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn several_tasks_share_the_rate() {
    let budget = limited(80);
    let start = Instant::now();
    let tasks: Vec<_> = (0..5)
        .map(|_| {
            let budget = budget.clone();
            tokio::spawn(async move {
                for _ in 0..20 {
                    budget.pace(1_000).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    // 100,000 bytes at 10,000 a second, less the burst.
    let took = start.elapsed();
    assert!((9_740..=9_800).contains(&took.as_millis()), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn the_wait_is_told_before_it_is_taken() {
    let budget = limited(50);
    assert_eq!(budget.burst_bytes(), 1_562);
    assert_eq!(budget.wait_for(1_562), Duration::ZERO);
    budget.pace(1_562).await;
    let wait = budget.wait_for(625);
    assert!((90..=100).contains(&wait.as_millis()), "{wait:?}");
    assert_eq!(budget.wait_for(625), wait);
    tokio::time::sleep(wait).await;
    assert_eq!(budget.wait_for(625), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn without_a_rate_nobody_waits() {
    let budget = BandwidthManager::new("/nowhere", BandwidthOptions::default()).unwrap();
    let start = Instant::now();
    budget.pace(u64::MAX).await;
    assert_eq!((start.elapsed(), budget.wait_for(u64::MAX)), (Duration::ZERO, Duration::ZERO));
    assert_eq!(budget.burst_bytes(), u64::MAX);
}

#[tokio::test(start_paused = true)]
async fn what_did_not_wait_is_waited_for_by_what_comes_next() {
    let budget = limited(80);
    let start = Instant::now();
    for _ in 0..10 {
        budget.pace(1_000).await;
        budget.note_unpaced(9_000);
    }
    // 91,000 bytes at 10,000 a second, less the burst.
    let took = start.elapsed();
    assert!((8_850..=8_860).contains(&took.as_millis()), "{took:?}");
}
