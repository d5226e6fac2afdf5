//! Files are marked when all of them is delivered, and what is marked is done.

use std::path::Path;

use backhaul_testkit::Prng;
use backhaul_weave::{EntryType, Kind, OfflineDataSyncer, OfflineOptions, OfflineTraceServer};
use serde_json::{Value, json};

use super::{World, numbers, quickly, remote};

/// As one that closes its files early.
fn of_small_files(world: &World) -> OfflineTraceServer {
    let options = OfflineOptions { max_file_size: 16 << 10, ..OfflineOptions::default() };
    OfflineTraceServer::open(world.folder.path(), options).unwrap()
}

/// A call that fills a file with a few of its kind.
fn large(world: &World, number: usize, random: &mut Prng) -> (EntryType, Value) {
    let (_, mut call) = world.start(number, "f");
    let (_, end) = world.end(number);
    call.as_object_mut().unwrap().extend(end.as_object().unwrap().clone());
    let noise: String = random.bytes(3_000).iter().map(|byte| format!("{byte:02x}")).collect();
    call["inputs"] = json!({"noise": noise});
    (EntryType::CallComplete, call)
}

fn names(world: &World) -> Vec<String> {
    let folder = Path::new(&world.project.to_string()).join(Kind::Calls.name());
    let files = std::fs::read_dir(world.folder.path().join(folder)).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.contains(".jsonl")).collect();
    names.sort();
    names
}

/// The numbers of the files that are marked, and of those that are not.
#[track_caller]
fn marked(world: &World) -> (Vec<u32>, Vec<u32>) {
    let (mut marked, mut others) = (Vec::new(), Vec::new());
    for name in names(world) {
        let (stem, form) = name.split_once('.').unwrap();
        let number = stem.split_once('_').unwrap().1.parse().unwrap();
        match form {
            "synced.jsonl.gz" => marked.push(number),
            "jsonl.gz" => others.push(number),
            _ => panic!("{name}"),
        }
    }
    (marked, others)
}

/// One record that a server refuses keeps its own file from being marked, and no other; and
/// what is marked is neither sent again nor renamed.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_marked_once_all_of_it_is_delivered_whatever_becomes_of_others() {
    let world = World::new("0.52.42");
    let offline = of_small_files(&world);
    let mut random = Prng::new(1);
    for number in 0..30 {
        let (kind, mut call) = large(&world, number, &mut random);
        if number == 1 {
            call["inputs"]["bad"] = json!("weave:///nowhere");
        }
        world.log(&offline, &[(kind, call)]);
    }
    let (none, all) = marked(&world);
    assert!(none.is_empty() && all.len() > 3, "{all:?}");
    let link = world.link();
    let syncer =
        OfflineDataSyncer::of_server(remote(&link.url()), offline.clone(), quickly()).unwrap();
    assert_eq!(numbers(&syncer.sync().await.unwrap())[5], (29, 1));
    drop((syncer, offline));
    let (delivered, left) = marked(&world);
    assert_eq!(
        (left.as_slice(), delivered.len()),
        ([1].as_slice(), all.len() - 1),
        "{delivered:?}"
    );
    let names_before = names(&world);
    assert_eq!(world.calls().await.len(), 29);

    let sent = link.counts().connections;
    let syncer =
        OfflineDataSyncer::of_server(remote(&link.url()), of_small_files(&world), quickly());
    let syncer = syncer.unwrap();
    for _ in 0..2 {
        assert_eq!(numbers(&syncer.sync().await.unwrap())[5], (0, 0));
    }
    assert_eq!(link.counts().connections, sent);
    assert_eq!(names(&world), names_before);
    assert_eq!(world.calls().await.len(), 29);
}
