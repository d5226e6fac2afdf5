//! What is asked of a real server that can be reached, and what is remembered of it.

use std::io::Write as _;
use std::time::{Duration, Instant};

use backhaul_testkit::{Answer, FaultServer, Request, WeaveServer};
use serde_json::{Value, json};
use tempfile::tempdir;

use super::{collector, offline};
use crate::support::{Hub, Reply, head, header, wait_until};

/// As a client with this key.
fn post(hub: &Hub, path: &str, body: &Value) -> Reply {
    let key = header("Authorization", "Basic YXBpOnJlZmVyZW5jZS1rZXk=");
    hub.request("POST", path, &[key], body.to_string().as_bytes())
}

const VIEWER: &str = "query DefaultEntity { viewer { username defaultEntity { name } } }";

fn viewer(hub: &Hub) -> Value {
    post(hub, "/graphql", &json!({"query": VIEWER})).json()["data"]["viewer"].clone()
}

#[test]
fn what_a_real_server_says_is_passed_on_and_remembered_for_when_it_is_gone() {
    let dir = tempdir().unwrap();
    let server = WeaveServer::start("0.52.42", &dir.path().join("weave.db")).unwrap();
    let hub = collector(dir.path(), &server.url());
    let of_server = json!({"username": "reference-user", "defaultEntity": {"name": "local"}});
    assert_eq!(viewer(&hub), of_server);
    let projects = json!({"project_ids": ["local/demo"]});
    let info = post(&hub, "/traces/service/projects_info", &projects).json();
    let id = info[0]["internal_project_id"].as_str().unwrap().to_owned();
    assert!(id.len() > 20, "{info}");
    // What only the server can answer, and what it refuses.
    let asked = post(&hub, "/calls/query_stats", &json!({"project_id": "local/demo"}));
    assert_eq!((asked.status, &asked.json()["count"]), (200, &json!(0)));
    let unknown = json!({"project_id": "local/demo", "object_id": "a", "digest": "x"});
    assert_eq!(post(&hub, "/obj/read", &unknown).status, 404);
    drop((hub, server));

    let hub = offline(dir.path());
    assert_eq!(viewer(&hub), of_server);
    assert_eq!(post(&hub, "/service/projects_info", &projects).json(), info);
    let key = "reference-key";
    let files = std::process::Command::new("grep").args(["-r", key]).arg(dir.path()).output();
    assert_eq!(String::from_utf8_lossy(&files.unwrap().stdout), "", "the key was written");
    assert!(!hub.said().contains(key));
}

#[test]
fn init_is_answered_at_once_by_a_server_that_is_silent() {
    let dir = tempdir().unwrap();
    // Takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let hub = collector(dir.path(), &format!("http://{}", silent.local_addr().unwrap()));
    let began = Instant::now();
    assert_eq!(viewer(&hub), json!({"username": "offline", "defaultEntity": {"name": "offline"}}));
    let project = json!({
        "query": "query Project($name: String!) { project(name: $name) { name } }",
        "variables": {"name": "demo", "entityName": "e"},
    });
    let answer = post(&hub, "/graphql", &project).json();
    assert_eq!(answer, json!({"data": {"project": {"name": "demo"}}}));
    let info = hub.get("/server_info").json();
    assert_eq!(info["min_required_weave_python_version"], "0.0.1");
    let unknown = post(&hub, "/service/projects_info", &json!({"project_ids": ["a/b"]}));
    assert_eq!(unknown.json(), json!([]));
    // One question is waited for, not four.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn who_has_it_answers_what_is_read() {
    let dir = tempdir().unwrap();
    let server = WeaveServer::start("0.52.42", &dir.path().join("weave.db")).unwrap();
    let hub = collector(dir.path(), &server.url());
    let there = collector(&dir.path().join("other"), &server.url());
    let object =
        |value: u32| json!({"obj": {"project_id": "local/demo", "object_id": "a", "val": value}});
    let read = |hub: &Hub, digest: &Value| {
        let asked = json!({"project_id": "local/demo", "object_id": "a", "digest": digest});
        post(hub, "/obj/read", &asked)
    };
    // The server has one version from somebody else, and this folder has another.
    let of_server = posted_to(&server, "/obj/create", &object(1))["digest"].clone();
    assert_eq!(read(&there, &of_server).json()["obj"]["val"], 1);
    let here = post(&hub, "/obj/create", &object(2)).json()["digest"].clone();
    assert_eq!(read(&hub, &here).json()["obj"]["val"], 2);
    assert_eq!(read(&hub, &of_server).json()["obj"]["val"], 1);
    drop(server);
    assert_eq!(read(&hub, &here).json()["obj"]["val"], 2);
    assert_eq!(read(&hub, &of_server).status, 404);
    let tags = hub.get("/tags?project_id=local%2Fdemo");
    assert_eq!((tags.status, tags.json()), (200, json!({"tags": []})));
}

#[test]
fn a_key_that_a_server_takes_ends_the_pause_that_another_one_began() {
    let dir = tempdir().unwrap();
    let server = FaultServer::new(|request| match request.header("Authorization") {
        Some(key) if key.ends_with(GOOD_KEY) => Answer::new(503),
        _ => Answer::new(401),
    });
    let server = server.unwrap();
    let hub = collector(dir.path(), &format!("http://{}", server.address()));
    let is_good =
        |asked: &Request| asked.header("Authorization").is_some_and(|it| it.ends_with(GOOD_KEY));
    let tried = || server.requests().iter().any(is_good);
    let log = |key: &str| {
        let body = json!({"batch": [{"project_id": "e/p", "weave_ref": "weave:///e/p/call/1",
                                     "feedback_type": "custom", "payload": {}}]});
        let key = header("Authorization", format!("Basic {key}"));
        hub.request("POST", "/feedback/batch/create", &[key], body.to_string().as_bytes())
    };
    assert_eq!(log("YXBpOmJhZA==").status, 200);
    wait_until(|| hub.said().contains("paused"));
    assert!(!tried());
    assert_eq!(log(GOOD_KEY).status, 200);
    wait_until(tried);
}

/// `api:good`, as it is sent.
const GOOD_KEY: &str = "YXBpOmdvb2Q=";

/// What the real server answers itself.
fn posted_to(server: &WeaveServer, path: &str, body: &Value) -> Value {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    let body = body.to_string();
    let headers = [
        header("Authorization", "Basic YXBpOnJlZmVyZW5jZS1rZXk="),
        header("Content-Type", "application/json"),
    ];
    stream.write_all(&head("POST", path, &headers, body.len())).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    Reply::read(stream).json()
}
