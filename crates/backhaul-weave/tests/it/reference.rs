//! The real Weave server and the real clients: that what is compared between them is the
//! same for two runs of one agent and for no other, and that a live server names things as
//! this crate does.

use backhaul_testkit::{WeaveServer, weave_agent, weave_holdings};
use backhaul_weave::{digest, refs};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::digests::{list, vectors};
use crate::http::{post, post_json};

/// What a new server holds after the agent has logged to it.
fn logged(client: &str, server: &str, options: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let server = WeaveServer::start(server, &folder.path().join("weave.db")).unwrap();
    let agent =
        weave_agent(client).unwrap().args(["--url", &server.url()]).args(options).output().unwrap();
    let said = String::from_utf8_lossy(&agent.stderr);
    assert!(agent.status.success(), "{said}");
    weave_holdings(&server.url()).unwrap()
}

/// What a client logs of: calls, objects, tables, files, feedback.
const PYTHON: [usize; 5] = [50, 29, 3, 3, 8];
const NODE: [usize; 5] = [26, 25, 2, 1, 1];

/// What the agent leaves in each of two servers, which is one of everything.
#[track_caller]
fn logged_twice(client: &str, server: &str, expected: [usize; 5]) -> [String; 2] {
    let [first, second] = std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| logged(client, server, &[])));
        both.map(|run| run.join().unwrap())
    });
    let holdings: Value = serde_json::from_str(&first).unwrap();
    let count = |key: &str| match &holdings[key] {
        Value::Array(items) => items.len(),
        number => number.as_u64().unwrap().try_into().unwrap(),
    };
    assert_eq!(["count", "objects", "tables", "files", "feedback"].map(count), expected);
    assert!(!first.contains("(nothing)") && !first.contains("\"missing\""), "{first}");
    [first, second]
}

#[track_caller]
fn are_the_same([first, second]: &[String; 2]) {
    assert!(first == second, "two runs differ:\n{}", difference(first, second));
}

/// The lines around the first that differs.
fn difference(first: &str, second: &str) -> String {
    let same = first.lines().zip(second.lines()).take_while(|(a, b)| a == b).count();
    let part = |text: &str| -> Vec<String> {
        text.lines().skip(same.saturating_sub(20)).take(30).map(ToOwned::to_owned).collect()
    };
    format!("{}\n--- and ---\n{}", part(first).join("\n"), part(second).join("\n"))
}

#[test]
fn client_0_52_23_logs_the_same_twice() {
    are_the_same(&logged_twice("0.52.23", "0.52.23", PYTHON));
}

#[test]
fn client_0_52_42_logs_the_same_twice() {
    are_the_same(&logged_twice("0.52.42", "0.52.42", PYTHON));
}

#[test]
fn client_0_54_0_logs_the_same_twice_and_a_missing_call_is_noticed() {
    let twice = logged_twice("0.54.0", "0.52.42", PYTHON);
    are_the_same(&twice);
    assert!(twice[0] != logged("0.54.0", "0.52.42", &["--leave-out-a-call"]));
}

#[test]
fn the_client_for_node_logs_the_same_twice_and_a_missing_call_is_noticed() {
    let twice = logged_twice("npm", "0.52.42", NODE);
    are_the_same(&twice);
    assert!(twice[0] != logged("npm", "0.52.42", &["--leave-out-a-call"]));
}

const PROJECT: &str = "local/vectors";

fn create_object(server: &WeaveServer, value: &Value) -> (u16, Value) {
    let object = json!({"project_id": PROJECT, "object_id": "vector", "val": value});
    post_json(server, "/obj/create", &json!({"obj": object}))
}

/// The digest that this crate gives a value which is stored in this server.
fn our_digest(server: &WeaveServer, value: &Value) -> String {
    let mut value = value.clone();
    refs::rewrite(&mut value, &mut |project, rest| {
        let projects = json!({"project_ids": [project.to_string()]});
        let (_, ids) = post_json(server, "/service/projects_info", &projects);
        let id = ids[0]["internal_project_id"].as_str().unwrap();
        Some(format!("{}{id}/{rest}", refs::INTERNAL_SCHEME))
    });
    digest::of_value(&value)
}

#[track_caller]
fn has_our_digest(server: &WeaveServer, value: &Value) {
    let (status, answer) = create_object(server, value);
    let digest = json!(our_digest(server, value));
    assert_eq!((status, &answer["digest"]), (200, &digest), "{value}");
}

#[test]
fn a_live_server_names_things_as_we_do() {
    let folder = tempfile::tempdir().unwrap();
    let server = WeaveServer::start("0.52.42", &folder.path().join("weave.db")).unwrap();
    it_gives_our_digests_to_the_vectors(&server);
    it_rewrites_the_references_that_we_rewrite_and_no_others(&server);
    it_refuses_what_only_begins_like_a_reference(&server);
}

fn it_gives_our_digests_to_the_vectors(server: &WeaveServer) {
    let vectors = vectors();
    for vector in list(&vectors, "objects") {
        has_our_digest(server, &vector["val"]);
    }
    for vector in list(&vectors, "tables") {
        let table = json!({"project_id": PROJECT, "rows": vector["rows"]});
        let (status, answer) = post_json(server, "/table/create", &json!({"table": table}));
        assert_eq!(status, 200, "{answer}");
        let rows: Vec<String> = list(vector, "rows").iter().map(digest::of_value).collect();
        assert_eq!(answer["row_digests"], json!(rows), "{vector}");
        assert_eq!(answer["digest"], digest::of_table(&rows), "{vector}");
    }
    for vector in list(&vectors, "files") {
        let content = STANDARD.decode(vector["base64"].as_str().unwrap()).unwrap();
        let (status, answer) = create_file(server, &content);
        assert_eq!((status, &answer["digest"]), (200, &json!(digest::of_file(&content))));
    }
}

fn create_file(server: &WeaveServer, content: &[u8]) -> (u16, Value) {
    let head = format!(
        "--cut\r\nContent-Disposition: form-data; name=\"project_id\"\r\n\r\n{PROJECT}\r\n\
         --cut\r\nContent-Disposition: form-data; name=\"file\"; filename=\"vector\"\r\n\r\n"
    );
    let body = [head.as_bytes(), content, b"\r\n--cut--\r\n"].concat();
    post(server, "/file/create", "multipart/form-data; boundary=cut", &body)
}

fn it_rewrites_the_references_that_we_rewrite_and_no_others(server: &WeaveServer) {
    const REFERENCE: &str = "weave:///local/vectors/object/a:1/attr/x";
    for value in [
        json!({"itself": REFERENCE, "deep": [{"down": ["weave:///local/vectors/call/1"]}]}),
        json!({"of another project": "weave:///else/where/op/f:1"}),
        json!({"amid text": format!("see {REFERENCE}")}),
        json!({"in JSON": json!({"a": REFERENCE}).to_string()}),
        json!({"in a JSON list": json!([REFERENCE]).to_string()}),
        json!({REFERENCE: "as a key"}),
    ] {
        has_our_digest(server, &value);
    }
}

fn it_refuses_what_only_begins_like_a_reference(server: &WeaveServer) {
    for text in ["weave:///", "weave:///local/vectors", "weave-trace-internal:///other/object/a:1"]
    {
        let (status, answer) = create_object(server, &json!({"text": text}));
        assert_eq!(status, 400, "{text}: {answer}");
    }
}
