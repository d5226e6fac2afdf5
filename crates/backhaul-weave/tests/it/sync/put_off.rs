//! Records of one call that a broken link has put off together.

use backhaul_testkit::{FaultLink, LinkFault, Point};
use backhaul_weave::{OfflineDataSyncer, ProjectId};

use super::{World, quickly, remote};

/// So many requests a project takes at most.
const REQUESTS: u64 = 12;

#[tokio::test(flavor = "multi_thread")]
async fn records_of_one_call_that_were_put_off_do_not_wait_for_each_other() {
    let mut world = World::new("0.52.42");
    for passed in 0..REQUESTS {
        world.project = ProjectId::new("local", &format!("p{passed}")).unwrap();
        let offline = world.offline();
        let number = usize::try_from(passed).unwrap();
        let calls = [world.start(number, "f"), world.end(number)];
        let after = ["one", "two", "three"].map(|name| world.rename(number, name));
        world.log(&offline, &calls);
        world.log(&offline, &after);
        let link = FaultLink::to(([127, 0, 0, 1], world.shared.server.port()).into()).unwrap();
        link.pass(passed);
        link.next(1, LinkFault::reset(Point::RequestEnd));
        let syncer =
            OfflineDataSyncer::of_server(remote(&link.url()), offline.clone(), quickly()).unwrap();
        let project = world.project.to_string();
        let first = syncer.sync_project(&project).await.unwrap();
        let second = syncer.sync_project(&project).await.unwrap();
        assert!(second.is_complete(), "after {passed} requests: {first:?}, {second:?}");
        assert_eq!(world.calls().await[0]["display_name"], "three");
    }
}
