//! Projects, versions and files, while nothing goes wrong.

use std::os::unix::fs::PermissionsExt as _;

use backhaul_testkit::SimDisk;
use backhaul_weave::{Kind, OfflineTraceServer, ProjectId, TraceErrorKind, digest};
use serde_json::json;

use super::support::{call, call_ids, entries, names_in, object, open, open_at, project, records};

#[test]
fn projects_of_any_name_stay_inside_and_are_found_again() {
    let outside = tempfile::tempdir().unwrap();
    let dir = outside.path().join("offline");
    let hostile = [
        "..",
        ".",
        "a\\..\\b",
        "nul\0l",
        "CON",
        "dots...",
        " ",
        "%41",
        "~",
        "a~b",
        ".backhaul",
        "naïve 🐕",
    ];
    let long = ["x".repeat(300), "é".repeat(300), format!("{}y", "x".repeat(300)), "%".repeat(199)];
    let names: Vec<&str> = hostile.into_iter().chain(long.iter().map(String::as_str)).collect();
    let mut projects: Vec<ProjectId> = names
        .iter()
        .flat_map(|name| [ProjectId::new(name, "p"), ProjectId::new("e", name)])
        .map(Result::unwrap)
        .collect();
    projects.push(ProjectId::new(&long[0], &long[1]).unwrap());
    projects.sort();
    let server = open_at(&dir);
    for (number, project) in projects.iter().enumerate() {
        server.log(project, &[call(&number.to_string())]).unwrap();
    }
    drop(server);
    let server = open_at(&dir);
    assert_eq!(server.projects().unwrap(), projects);
    for (number, project) in projects.iter().enumerate() {
        assert_eq!(call_ids(&server, project), [number.to_string()], "{project}");
    }
    assert_eq!(names_in(outside.path()), ["offline"]);
}

#[test]
fn what_is_asked_of_a_project_that_is_not_there_makes_none() {
    let disk = SimDisk::new();
    let server = open(&disk);
    let project = project("me/mine");
    assert!(server.spool(&project, Kind::Calls).unwrap().is_none());
    assert!(server.imported(&project).unwrap().is_whole());
    let error = server.file(&project, &digest::of_file(b"abc")).unwrap_err();
    assert_eq!(error.kind(), TraceErrorKind::NotFound);
    assert_eq!(server.projects().unwrap(), []);
}

#[test]
fn a_project_is_introduced_once_before_anything_else_of_it() {
    let disk = SimDisk::new();
    let project = project("my_team/my_project");
    for round in 0..3 {
        let server = open(&disk);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (server, project) = (server.clone(), &project);
                scope.spawn(move || server.log(project, &[call(&format!("{round}-{thread}"))]));
            }
        });
        let metadata = entries(&server, &project, Kind::Metadata);
        let [introduction] = &metadata[..] else { panic!("{metadata:?}") };
        let expected = json!({
            "entity": "my_team",
            "project": "my_project",
            "created_at": "2026-01-01T00:00:00Z",
        });
        assert_eq!((introduction.entry_type().name(), introduction.value()), ("project", expected));
    }
}

/// The digests of the records of an object, in order.
fn stored(server: &OfflineTraceServer, project: &ProjectId) -> Vec<String> {
    let records = [Kind::Ops, Kind::Objects].map(|kind| records(server, project, kind)).concat();
    records.iter().map(|record| record.facts.labels["digest"].clone()).collect()
}

#[test]
fn a_version_is_stored_when_it_is_not_the_newest_and_only_then() {
    let disk = SimDisk::new();
    let project = project("me/mine");
    let (a, b) = (json!({"v": 1}), json!({"v": 2}));
    let [of_a, of_b] = [&a, &b].map(digest::of_value);
    let create = |server: &OfflineTraceServer, value| {
        server.create_object(&project, &object("thing", value)).unwrap()
    };
    let server = open(&disk);
    assert_eq!((create(&server, &a), create(&server, &a)), (of_a.clone(), of_a.clone()));
    create(&server, &b);
    drop(server);
    // Another process knows it too.
    let server = open(&disk);
    create(&server, &b);
    assert_eq!(stored(&server, &project), [&*of_a, &of_b]);
    // What was the newest before is it again only by being stored again.
    create(&server, &a);
    assert_eq!(stored(&server, &project), [&*of_a, &of_b, &of_a]);
}

#[test]
fn of_two_that_store_at_once_each_sees_what_the_other_made_the_newest() {
    let disk = SimDisk::new();
    let project = project("me/mine");
    let (one, other) = (open(&disk), open(&disk));
    let create = |server: &OfflineTraceServer, version: u64| {
        let value = json!({"v": version});
        server.create_object(&project, &object("thing", &value)).unwrap();
    };
    create(&one, 1);
    create(&other, 1);
    assert_eq!(stored(&one, &project).len(), 1);
    create(&other, 2);
    // The newest is what the other stored, so this is news.
    create(&one, 1);
    create(&one, 1);
    assert_eq!(stored(&one, &project).len(), 3);
}

#[test]
fn an_op_and_an_object_of_one_name_take_turns_as_the_newest() {
    let disk = SimDisk::new();
    let project = project("me/mine");
    let op = json!({"_type": "CustomWeaveType", "weave_type": {"type": "Op"}});
    let server = open(&disk);
    for value in [&op, &json!({"v": 1}), &op, &op] {
        server.create_object(&project, &object("f", value)).unwrap();
    }
    assert_eq!(entries(&server, &project, Kind::Ops).len(), 2);
    assert_eq!(entries(&server, &project, Kind::Objects).len(), 1);
}

#[test]
fn files_of_any_bytes_come_back_and_are_stored_once_per_content() {
    let disk = SimDisk::new();
    let project = project("me/mine");
    let server = open(&disk);
    let contents: [&[u8]; 3] = [b"", &[0, 0xff, 0x80, b'\n'], &[7; 300_000]];
    for content in contents {
        for name in ["a.bin", "b.bin"] {
            let digest = server.create_file(&project, name, None, content).unwrap();
            assert_eq!(digest, digest::of_file(content));
            assert_eq!(server.file(&project, &digest).unwrap(), content);
        }
    }
    assert_eq!(entries(&server, &project, Kind::Files).len(), 6);
    let raw = disk.paths().into_iter().filter(|path| path.parent().unwrap().ends_with("files"));
    assert_eq!(raw.filter(|path| !path.to_str().unwrap().contains(".jsonl")).count(), 3);
}

#[test]
fn digests_that_lead_elsewhere_are_no_files() {
    let server = open(&SimDisk::new());
    for digest in ["", "../../../../etc/passwd", &"a".repeat(42), &"/".repeat(43)] {
        let error = server.file(&project("me/mine"), digest).unwrap_err();
        assert_eq!(error.kind(), TraceErrorKind::NotFound, "{digest}");
    }
}

#[test]
fn a_file_whose_bytes_have_changed_is_damaged() {
    let disk = SimDisk::new();
    let project = project("me/mine");
    let server = open(&disk);
    let digest = server.create_file(&project, "a", None, b"abc").unwrap();
    let path = server.dir().join(project.folder()).join("files").join(&digest);
    disk.flip_bit(path, 1, 1).unwrap();
    let error = server.file(&project, &digest).unwrap_err();
    assert_eq!(error.kind(), TraceErrorKind::Damaged);
    // Stored again it is whole again.
    server.create_file(&project, "a", None, b"abc").unwrap();
    assert_eq!(server.file(&project, &digest).unwrap(), b"abc");
}

#[test]
fn everything_is_its_owners_alone() {
    let outside = tempfile::tempdir().unwrap();
    let dir = outside.path().join("offline");
    let server = open_at(&dir);
    let long = ProjectId::new("me", &"x".repeat(300)).unwrap();
    server.log(&long, &[call("1")]).unwrap();
    server.create_file(&long, "a", None, b"abc").unwrap();
    server.create_object(&long, &object("thing", &json!(1))).unwrap();
    let (mut left, mut seen) = (vec![dir], 0);
    while let Some(path) = left.pop() {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
        left.extend(names_in(&path).iter().map(|name| path.join(name)));
        seen += 1;
    }
    assert!(seen > 20);
}
