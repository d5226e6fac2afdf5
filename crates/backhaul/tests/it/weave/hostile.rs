//! What no client of Weave sends, or only a broken one: the collector stays, and what it
//! acknowledges is there and can be read.

use std::io::Write as _;
use std::net::Shutdown;

use backhaul::weave::{EntryType, Kind};
use backhaul_testkit::Prng;
use serde_json::{Value, json};
use tempfile::tempdir;

use super::{counts, entries, logged, offline};
use crate::support::{Hub, Reply, head};

/// What has a meaning in Python's JSON alone, or none for those who read it.
const ODD: [&str; 8] = [
    r#""\ud800""#,
    r#"{"\udfff":"\udc00\ud800"}"#,
    r#""\ufdd0NaN""#,
    r#"["\ufdd0d800","\ufdd0\ufdd0"]"#,
    r#"{"$serde_json::private::Number":"1"}"#,
    "1e+400",
    "123456789012345678901234567890",
    r#""\u0000""#,
];

#[test]
fn what_only_python_reads_is_read_back_as_it_was_sent() {
    let dir = tempdir().unwrap();
    let hub = offline(dir.path());
    let written = |held: &str| {
        let value = backhaul_json::from_slice(held.as_bytes()).unwrap();
        String::from_utf8(backhaul_json::to_vec(&value, backhaul_json::Style::Compact)).unwrap()
    };
    for (number, odd) in ODD.iter().enumerate() {
        let call = format!(
            r#"{{"project_id": "e/p", "id": "{number}", "trace_id": "t", "op_name": "f",
            "started_at": "2026-01-01T00:00:00Z", "ended_at": "2026-01-01T00:00:01Z",
            "attributes": {{}}, "inputs": {{}}, "summary": {{}}, "output": {odd}, "\ud800": 1}}"#
        );
        let batch = format!("{{\"batch\": [{call}]}}");
        assert_eq!(hub.post_json("/v2/e/p/calls/complete", &batch).status, 200, "{odd}");
        let object = format!(
            r#"{{"obj": {{"project_id": "e/p", "object_id": "o", "val": {{"odd": {odd}}}}}}}"#
        );
        let digest = hub.post_json("/obj/create", &object).json()["digest"].clone();
        let table = format!(r#"{{"table": {{"project_id": "e/p", "rows": [{{"odd": {odd}}}]}}}}"#);
        let table = hub.post_json("/table/create", &table).json()["digest"].clone();

        let ask = |path: &str, question: Value| {
            let reply = hub.post_json(path, &question.to_string());
            assert_eq!(reply.status, 200, "{odd}: {reply:?}");
            reply.body
        };
        let call = ask("/call/read", json!({"project_id": "e/p", "id": number.to_string()}));
        assert!(call.contains(&format!("\"output\":{}", written(odd))), "{odd}: {call}");
        let named = json!({"project_id": "e/p", "object_id": "o", "digest": digest});
        let object = ask("/obj/read", named);
        assert!(object.contains(&format!("\"odd\":{}", written(odd))), "{odd}: {object}");
        let rows = ask("/table/query_stream", json!({"project_id": "e/p", "digest": table}));
        assert!(rows.contains(&format!("\"odd\":{}", written(odd))), "{odd}: {rows}");
    }
    let all = hub.post_json("/calls/stream_query", r#"{"project_id": "e/p"}"#);
    assert!(all.body.contains(r#""output":"\ud800""#), "{all:?}");
    // A question may hold it too.
    let question = r#"{"project_id": "e/p", "filter": {"op_names": ["\ud800"]}}"#;
    assert_eq!(hub.post_json("/calls/stream_query", question).status, 200);
}

#[test]
fn what_nests_too_deep_to_be_read_again_is_refused_and_says_so() {
    let dir = tempdir().unwrap();
    let hub = offline(dir.path());
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let of_levels = |levels: usize| {
        let deep = nested(levels);
        [
            (
                "/v2/e/p/calls/complete",
                format!(r#"{{"batch": [{{"project_id": "e/p", "id": "1", "output": {deep}}}]}}"#),
            ),
            (
                "/call/upsert_batch",
                format!(
                    r#"{{"batch": [{{"mode": "end", "req": {{"end": {{"project_id": "e/p", "id": "1", "output": {deep}}}}}}}]}}"#
                ),
            ),
            (
                "/obj/create",
                format!(r#"{{"obj": {{"project_id": "e/p", "object_id": "o", "val": {deep}}}}}"#),
            ),
            (
                "/table/create",
                format!(r#"{{"table": {{"project_id": "e/p", "rows": [{{"a": {deep}}}]}}}}"#),
            ),
            (
                "/feedback/create",
                format!(
                    r#"{{"project_id": "e/p", "weave_ref": "r", "feedback_type": "t", "payload": {{"a": {deep}}}}}"#
                ),
            ),
        ]
    };
    for levels in [1_025, 200_000] {
        for (path, body) in of_levels(levels) {
            let reply = hub.post_json(path, &body);
            assert_eq!(reply.status, 422, "{path}: {reply:?}");
            assert!(reply.body.contains("nesting deeper than 1024 levels"), "{path}: {reply:?}");
        }
    }
    for (path, body) in of_levels(1_000) {
        assert_eq!(hub.post_json(path, &body).status, 200, "{path}");
    }
    drop(hub);
    let calls = entries(dir.path(), "e/p", Kind::Calls);
    assert!(calls.len() == 2 && calls.iter().all(|call| call.value()["id"] == "1"));
    let all = counts(dir.path(), "e/p");
    assert_eq!(all.iter().map(|(_, count)| count).sum::<usize>(), 5, "{all:?}");
}

const END: &str = r#"{"end": {"project_id": "e/p", "id": "1", "output": [1, "a"]}}"#;

#[test]
fn a_request_that_is_cut_anywhere_is_refused_and_leaves_nothing() {
    let dir = tempdir().unwrap();
    let hub = offline(dir.path());
    for len in 0..END.len() {
        let reply = hub.post_json("/call/end", &END[..len]);
        assert_eq!(reply.status, 422, "{len}: {reply:?}");
    }
    // Less than was announced, and chunks without their end.
    let announced = head("POST", "/call/end", &[], END.len());
    let chunked = "POST /call/end HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\
                   Transfer-Encoding: chunked\r\n\r\n";
    let chunk = format!("{:x}\r\n{END}\r\n", END.len());
    for sent in [
        [&announced, &END.as_bytes()[..END.len() - 1]].concat(),
        [chunked, &chunk].concat().into_bytes(),
        [chunked, "ffff\r\n", END, "\r\n0\r\n\r\n"].concat().into_bytes(),
        [chunked, "5\r\n", END, "\r\n0\r\n\r\n"].concat().into_bytes(),
        [chunked, "ffffffffffffffffff\r\n", END].concat().into_bytes(),
    ] {
        assert_eq!(broken_off(&hub, &sent).status, 400, "{}", String::from_utf8_lossy(&sent));
    }
    assert_eq!(hub.post_json("/call/end", END).status, 200);
    drop(hub);
    assert_eq!(logged(dir.path(), "e/p", Kind::Calls).len(), 1);
}

/// The answer to who sends this and no more.
fn broken_off(hub: &Hub, sent: &[u8]) -> Reply {
    let mut stream = hub.connect();
    stream.write_all(sent).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    Reply::read(stream)
}

#[test]
fn requests_that_come_at_once_are_answered_one_by_one() {
    let dir = tempdir().unwrap();
    let hub = offline(dir.path());
    let request = |body: &str, connection: &str| {
        let length = body.len();
        format!(
            "POST /call/end HTTP/1.1\r\nHost: hub\r\nConnection: {connection}\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )
    };
    let (good, bad) = (request(END, "keep-alive"), request("[]", "keep-alive"));
    let all = [good.repeat(50), bad, good.clone(), request(END, "close")].concat();
    let mut stream = hub.connect();
    stream.write_all(all.as_bytes()).unwrap();
    let mut said = String::new();
    std::io::Read::read_to_string(&mut stream, &mut said).unwrap();
    let statuses: Vec<&str> = said.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, [["200"; 50].as_slice(), &["422", "200", "200"]].concat());
    drop(hub);
    assert_eq!(logged(dir.path(), "e/p", Kind::Calls).len(), 52);
}

#[test]
fn a_batch_may_hold_nothing_or_more_than_a_client_sends_at_once() {
    let dir = tempdir().unwrap();
    let hub = offline(dir.path());
    for path in ["/v2/e/p/calls/complete", "/call/upsert_batch", "/feedback/batch/create"] {
        assert_eq!(hub.post_json(path, r#"{"batch": []}"#).status, 200, "{path}");
    }
    assert!(!dir.path().join("weave/e").exists());
    let call = |number: u32| json!({"project_id": "e/p", "id": number.to_string()});
    let batch: Vec<Value> = (0..1_001).map(call).collect();
    assert_eq!(hub.answer("/v2/e/p/calls/complete", &json!({"batch": batch})), json!({}));
    drop(hub);
    let stored = entries(dir.path(), "e/p", Kind::Calls);
    let ids: Vec<Value> = stored.iter().map(|entry| entry.value()["id"].clone()).collect();
    assert_eq!(ids, (0..1_001).map(|number| json!(number.to_string())).collect::<Vec<_>>());
}

/// A request with some bytes changed, removed or doubled.
fn changed(request: &str, random: &mut Prng) -> Vec<u8> {
    const BYTES: &[u8] = b"\"\\{}[],:0-eE.ntuN/ \n\x00\x7f\x80\xff\xed\xa0";
    let mut bytes = request.as_bytes().to_vec();
    for _ in 0..=random.index(3) {
        let at = random.index(bytes.len());
        match random.index(4) {
            0 => bytes.insert(at, BYTES[random.index(BYTES.len())]),
            1 => drop(bytes.remove(at)),
            2 => {
                let end = at + random.index(bytes.len() - at);
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => bytes[at] = BYTES[random.index(BYTES.len())],
        }
    }
    bytes
}

#[test]
fn whatever_is_changed_in_a_request_what_is_acknowledged_is_there_and_can_be_read() {
    let dir = tempdir().unwrap();
    let hub = offline(dir.path());
    let requests = [
        (
            "/call/start",
            r#"{"start": {"project_id": "e/p", "id": "1", "trace_id": "2", "op_name": "weave:///e/p/op/f:x", "started_at": "2026-01-01T00:00:00Z", "inputs": {"é": 1.5e3}}}"#,
        ),
        ("/call/end", END),
        ("/calls/delete", r#"{"project_id": "e/p", "call_ids": ["1", "2"]}"#),
        (
            "/obj/create",
            r#"{"obj": {"project_id": "e/p", "object_id": "o", "val": {"a": [true, null, -0.0]}, "expected_digest": null}}"#,
        ),
        (
            "/table/create",
            r#"{"table": {"project_id": "e/p", "rows": [{"a": 1}, {"a": "\u00e9"}]}}"#,
        ),
        (
            "/feedback/create",
            r#"{"project_id": "e/p", "id": "1", "weave_ref": "weave:///e/p/call/1", "feedback_type": "t", "payload": {"a": 1}}"#,
        ),
    ];
    let mut random = Prng::new(1);
    let mut acknowledged = 0;
    for _ in 0..600 {
        let (path, request) = requests[random.index(requests.len())];
        let body = changed(request, &mut random);
        let reply = hub.request("POST", path, &[], &body);
        assert!([200, 422].contains(&reply.status), "{}: {reply:?}", body.escape_ascii());
        acknowledged += usize::from(reply.status == 200 && path != "/obj/create");
    }
    assert!(acknowledged > 50, "{acknowledged}");
    drop(hub);
    let projects = std::fs::read_dir(dir.path().join("weave")).unwrap();
    let folders = projects.flat_map(|entity| {
        let entity = entity.unwrap();
        let inside = std::fs::read_dir(entity.path()).into_iter().flatten();
        inside.map(move |project| (entity.file_name(), project.unwrap().file_name()))
    });
    let mut stored = 0;
    for (entity, project) in folders {
        let folder = format!("{}/{}", entity.to_str().unwrap(), project.to_str().unwrap());
        for kind in Kind::ALL {
            let entries = entries(dir.path(), &folder, kind);
            assert!(entries.iter().all(|entry| entry.value().is_object()), "{folder}");
            let objects = [EntryType::ObjCreate, EntryType::OpCreate, EntryType::Project];
            stored += entries.iter().filter(|entry| !objects.contains(&entry.entry_type())).count();
        }
    }
    assert_eq!(stored, acknowledged);
}
