//! A sync that dies at any point, with its process.

use std::time::Duration;

use backhaul_testkit::{FaultLink, LinkFault, Point, Prng};
use backhaul_weave::{EntryType, OfflineDataSyncer};
use serde_json::json;

use super::{World, quickly, remote};

/// Ends each of them with a request in one of these states.
const POINTS: [Point; 4] =
    [Point::Request, Point::RequestEnd, Point::AnswerLost, Point::AnswerHead];

/// Ends when a request is stuck on the link.
async fn struck(link: &FaultLink) {
    while link.counts().faults == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn a_sync_dies_at_random_points(version: &str, times: usize) {
    let first = World::new(version);
    let mut random = Prng::new(times as u64);
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let calm = runtime();
    for time in 0..times {
        let world = first.beside();
        let offline = world.offline();
        world.publish(&offline, "thing", json!({"z": time, "version": 1}));
        world.publish(&offline, "thing", json!({"z": time, "version": 2}));
        let (kind, mut late) = world.start(4, "late");
        late["parent_id"] = json!(world.id(3));
        let (_, mut replaced) = world.note(3, 1);
        replaced["feedback_id"] = world.note(2, 1).1["id"].clone();
        world.log(
            &offline,
            &[
                world.start(1, "pair"),
                world.start(2, "alone"),
                world.end(1),
                world.rename(1, "renamed"),
                world.start(3, "deleted"),
                world.deletion(&[3]),
                // It begins after its parent was deleted, and stays.
                (kind, late),
                world.note(1, 1),
                world.note(2, 1),
                (EntryType::FeedbackReplace, replaced),
            ],
        );
        // Each process gets so far and is gone; the last one is let through.
        drop(offline);
        for _ in 0..1 + random.below(3) {
            let link = world.link();
            link.pass(random.below(22));
            let point = *random.pick(&POINTS);
            link.next(1, LinkFault::stall(point));
            let offline = world.offline();
            let syncer =
                OfflineDataSyncer::of_server(remote(&link.url()), offline, quickly()).unwrap();
            let project = world.project.to_string();
            let dying = runtime();
            dying.block_on(async {
                tokio::select! {
                    _ = syncer.sync_project(&project) => {}
                    () = struck(&link) => {}
                }
            });
            drop(syncer);
            dying.shutdown_timeout(Duration::from_secs(10));
        }
        calm.block_on(async {
            let offline = world.offline();
            let project = world.project.to_string();
            let statistics = world.syncer_of(&offline).sync_project(&project).await.unwrap();
            assert!(statistics.is_complete(), "{version} {time}: {statistics:?}");
            let calls = world.calls().await;
            let said: Vec<_> = calls
                .iter()
                .map(|call| (&call["op_name"], &call["output"], &call["display_name"]))
                .collect();
            let pair = (&json!("pair"), &json!({"answer": 1}), &json!("renamed"));
            let alone = (&json!("alone"), &json!(null), &json!(null));
            let late = (&json!("late"), &json!(null), &json!(null));
            assert_eq!(said, [pair, alone, late], "{version} {time}");
            assert_eq!(world.notes().await, ["note 1", "note 3"], "{version} {time}");
            let versions = world.versions("thing").await;
            let latest: Vec<bool> = versions.iter().map(|(_, latest)| *latest).collect();
            assert_eq!(latest, [false, true], "{version} {time}");
        });
    }
}

#[test]
fn a_sync_dies_at_a_hundred_random_points_and_nothing_is_lost_or_doubled() {
    a_sync_dies_at_random_points("0.52.42", 70);
    a_sync_dies_at_random_points("0.52.23", 30);
}
