//! A program that is online: stored first, delivered beside it, and never held up.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use backhaul_testkit::WeaveServer;
use backhaul_weave as weave;
use serde_json::json;
use tempfile::tempdir;
use weave::{Kind, SyncArguments, WeaveClient};

#[weave::op]
fn double(n: u32) -> u32 {
    2 * n
}

fn online(dir: &Path, url: &str) -> WeaveClient {
    let init = weave::init("me/mine").offline_dir(dir.join("offline")).api_key("a-key");
    init.trace_url(url).wandb_url(url).start().unwrap()
}

/// How many calls a server has.
async fn calls_at(server: &WeaveServer) -> u64 {
    let url = format!("{}/calls/query_stats", server.url());
    let body = json!({"project_id": "me/mine"}).to_string();
    let answer = tokio::task::spawn_blocking(move || post(&url, &body)).await.unwrap();
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    answer["count"].as_u64().unwrap()
}

fn post(url: &str, body: &str) -> String {
    let output = std::process::Command::new("curl")
        .args(["--silent", "--user", "api:a-key", "--data", body, url])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Asks until there are so many; what takes longer than a minute never comes.
async fn until_there_are(server: &WeaveServer, wanted: u64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while calls_at(server).await != wanted {
        assert!(Instant::now() < deadline, "{} calls of {wanted}", calls_at(server).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_logged_gets_to_the_server_while_the_program_runs() {
    let dir = tempdir().unwrap();
    let server = WeaveServer::start("0.52.42", &dir.path().join("server.db")).unwrap();
    let client = online(dir.path(), &server.url());
    for n in 0..20 {
        assert_eq!(double(n), 2 * n);
    }
    until_there_are(&server, 20).await;
    // What is there already is not sent again; what is new is, at once.
    double(20);
    let statistics = weave::sync_offline_data(SyncArguments::default()).await.unwrap();
    assert!(statistics.is_complete(), "{statistics}");
    until_there_are(&server, 21).await;
    client.finish().unwrap();
    assert_eq!(calls_at(&server).await, 21);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_gets_what_was_logged_without_it() {
    let dir = tempdir().unwrap();
    let database = dir.path().join("server.db");
    let server = WeaveServer::start("0.52.42", &database).unwrap();
    let (port, url) = (server.port(), server.url());
    let client = online(dir.path(), &url);
    double(1);
    until_there_are(&server, 1).await;
    drop(server);
    (2..12).for_each(|n| assert_eq!(double(n), 2 * n));
    client.finish().unwrap();
    let server = WeaveServer::start_at(port, "0.52.42", &database).unwrap();
    assert_eq!(calls_at(&server).await, 1);
    // The next start delivers it.
    let client = online(dir.path(), &url);
    until_there_are(&server, 11).await;
    client.finish().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_never_answers_holds_up_neither_start_nor_ops_nor_the_end() {
    let dir = tempdir().unwrap();
    // It takes connections, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let began = Instant::now();
    let client = online(dir.path(), &url);
    (0..1_000).for_each(|n| assert_eq!(double(n), 2 * n));
    client.flush().unwrap();
    let before_the_end = began.elapsed();
    client.finish().unwrap();
    // The end waits for requests under way, 5 seconds; the bounds leave room for a busy machine.
    assert!(before_the_end < Duration::from_secs(5), "{before_the_end:?}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let folder = dir.path().join("offline");
    assert_eq!(weave::calls_in(&folder, "me/mine").unwrap().list().unwrap().len(), 1_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_delivers_what_the_client_of_the_program_has_logged_so_far_with_its_key() {
    let dir = tempdir().unwrap();
    let server = WeaveServer::start("0.52.42", &dir.path().join("server.db")).unwrap();
    let init = weave::init("me/mine").offline(true).offline_dir(dir.path().join("offline"));
    let init = init.api_key("a-key").trace_url(server.url()).wandb_url(server.url());
    // Nothing of it would be on disk for an hour.
    let client = init.collect_for(Duration::from_secs(3600)).start().unwrap();
    double(1);
    let statistics = weave::sync_offline_data(SyncArguments::default()).await.unwrap();
    assert_eq!(statistics["me/mine"][&Kind::Calls], (1, 0));
    // Safe to repeat, and nothing is there twice.
    double(2);
    for (synced, there) in [(1, 2), (0, 2)] {
        let statistics = weave::sync_offline_data(SyncArguments::default()).await.unwrap();
        assert_eq!(statistics["me/mine"][&Kind::Calls], (synced, 0));
        assert_eq!(calls_at(&server).await, there);
    }
    client.finish().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_was_stored_twice_over_a_failing_disk_is_at_the_server_once() {
    let dir = tempdir().unwrap();
    let server = WeaveServer::start("0.52.42", &dir.path().join("server.db")).unwrap();
    let init = weave::init("me/mine").offline(true).offline_dir(dir.path().join("offline"));
    let client =
        init.api_key("a-key").trace_url(server.url()).wandb_url(server.url()).start().unwrap();
    double(1);
    let open = weave::call("open").start().unwrap();
    client.flush().unwrap();
    open.finish(7);
    client.flush().unwrap();
    // What a retry leaves of a batch of which the first part was on disk already.
    let project = client.project().clone();
    let spool = client.server().spool(&project, Kind::Calls).unwrap().unwrap();
    let mut again = Vec::new();
    spool
        .each_from(&std::collections::BTreeMap::new(), &mut |record| {
            again.push(weave::Entry::of_record(&record).unwrap());
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(again.len(), 3);
    client.server().log(&project, &again).unwrap();
    let statistics = weave::sync_offline_data(SyncArguments::default()).await.unwrap();
    assert!(statistics.is_complete(), "{statistics}");
    assert_eq!(calls_at(&server).await, 2);
    assert_eq!(weave::calls().list().unwrap().len(), 2);
    client.finish().unwrap();
}
