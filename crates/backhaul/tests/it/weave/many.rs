//! A gateway with as many projects as a busy device has.

use backhaul::weave::Kind;
use serde_json::{Value, json};
use tempfile::tempdir;

use super::{counts, form, offline};
use crate::support::{Hub, header, wait_until};

const PROJECTS: u64 = 12;

/// Something of each kind.
fn log_all(hub: &Hub, project: &str, number: u64) {
    let id = format!("0192f3a4-0000-7000-8000-{number:012}");
    let op = json!({"_type": "CustomWeaveType", "weave_type": {"type": "Op"}, "files": {}});
    let call = json!({
        "project_id": project, "id": id, "trace_id": id, "op_name": "measure",
        "started_at": "2026-01-01T00:00:00Z", "attributes": {}, "inputs": {},
    });
    let writes: [(&str, Value); 5] = [
        ("/table/create", json!({"table": {"project_id": project, "rows": [{"a": 1}]}})),
        ("/obj/create", json!({"obj": {"project_id": project, "object_id": "a", "val": 1}})),
        ("/obj/create", json!({"obj": {"project_id": project, "object_id": "op", "val": op}})),
        ("/call/start", json!({"start": call})),
        (
            "/feedback/create",
            json!({
                "project_id": project, "weave_ref": format!("weave:///{project}/call/{id}"),
                "feedback_type": "custom", "payload": {},
            }),
        ),
    ];
    for (path, body) in writes {
        hub.answer(path, &body);
    }
    let (mut headers, body) = form(&[
        ("name=\"project_id\"", project.as_bytes()),
        ("name=\"file\"; filename=\"a.txt\"", b"abc"),
    ]);
    headers.push(key());
    let reply = hub.request("POST", "/file/create", &headers, &body);
    assert_eq!(reply.status, 200, "{reply:?}");
}

/// With a key, it delivers.
fn key() -> (String, String) {
    header("Authorization", "Basic YXBpOmtleQ==")
}

#[test]
fn many_couriers_and_their_sockets_make_no_noise_and_are_gone_at_the_end() {
    let dir = tempdir().unwrap();
    let hub = offline(dir.path());
    let project = |number| format!("team/project {number}");
    (0..PROJECTS).for_each(|number| log_all(&hub, &project(number), number));
    let sockets = || {
        let of_project = |number| dir.path().join("weave").join(project(number));
        let of_kind = |folder: std::path::PathBuf| {
            Kind::ALL.map(|kind| folder.join(kind.name()).join("state/control.sock"))
        };
        let all = (0..PROJECTS).flat_map(|number| of_kind(of_project(number)));
        all.filter(|path| path.exists()).count()
    };
    wait_until(|| sockets() == 12 * Kind::ALL.len());
    let lines = hub.said();
    assert!(lines.lines().all(|line| line.starts_with("listening on")), "{lines}");
    let (_, is_well) = hub.terminate();
    assert!(is_well);
    assert_eq!(sockets(), 0);
    let of_one = counts(dir.path(), &project(3));
    assert_eq!(of_one.iter().map(|(_, count)| count).sum::<usize>(), 6, "{of_one:?}");
}
