//! The digests that objects and tables are answered with, and what is stored of them.

use std::ops::ControlFlow;
use std::path::Path;

use backhaul_store::StoredRecord;
use backhaul_weave::{
    DIGEST_LABEL, Entry, Kind, OfflineOptions, OfflineTraceServer, ProjectId, TraceErrorKind,
    digest,
};
use serde_json::{Value, json};

fn server(dir: &Path) -> OfflineTraceServer {
    let options = OfflineOptions { min_free_bytes: Some(0), ..OfflineOptions::default() };
    OfflineTraceServer::open(dir, options).unwrap()
}

fn project() -> ProjectId {
    "me/mine".parse().unwrap()
}

fn stored(server: &OfflineTraceServer, kind: Kind) -> Vec<StoredRecord> {
    let mut records = Vec::new();
    let spool = server.spool(&project(), kind).unwrap().unwrap();
    spool
        .each_from(&Default::default(), &mut |record| {
            records.push(record);
            ControlFlow::Continue(())
        })
        .unwrap();
    records
}

#[test]
fn an_object_is_stored_to_the_character() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let text = r#"{"object_id":"a",  "val":{"n":1.50e3,"s":"é\u00e9"},"new_field":[1 , 2]}"#;
    let digest = server.create_object_json(&project(), text).unwrap();
    assert_eq!(digest, digest::of_value(&json!({"n": 1500.0, "s": "éé"})));
    let records = stored(&server, Kind::Objects);
    assert_eq!(Entry::of_record(&records[0]).unwrap().data(), text);
}

#[test]
fn a_client_is_answered_the_digest_that_it_has_computed_where_a_server_may_give_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    server.set_internal_id(&project(), "UHJv");
    let outer = json!({"rows": "weave:///me/mine/table/18cd"});
    let inner = json!({"rows": "weave-trace-internal:///UHJv/table/18cd"});
    let (outer_digest, inner_digest) = (digest::of_value(&outer), digest::of_value(&inner));
    for (expected, answered) in [
        (Value::Null, &inner_digest),
        (json!(inner_digest), &inner_digest),
        (json!(outer_digest), &outer_digest),
        (json!("x".repeat(43)), &inner_digest),
    ] {
        let object = json!({"object_id": "a", "val": outer, "expected_digest": expected});
        assert_eq!(&server.create_object(&project(), &object).unwrap(), answered, "{expected}");
    }
    let table = digest::of_table([&outer_digest]);
    let request = json!({"rows": [outer], "expected_digest": table});
    let created = server.create_table(&project(), &request).unwrap();
    assert_eq!((created.digest, created.row_digests), (table, vec![outer_digest]));
}

fn row(number: u32) -> Value {
    json!({"n": number})
}

fn rows(numbers: &[u32]) -> Vec<String> {
    numbers.iter().map(|number| digest::of_value(&row(*number))).collect()
}

#[track_caller]
fn update(server: &OfflineTraceServer, base: &str, updates: Value) -> (String, Vec<String>) {
    let request = json!({"project_id": "me/mine", "base_digest": base, "updates": updates});
    let updated = server.update_table(&project(), &request.to_string()).unwrap();
    (updated.digest, updated.updated_row_digests)
}

#[test]
fn a_table_is_updated_from_the_rows_that_are_here() {
    let dir = tempfile::tempdir().unwrap();
    let first = server(dir.path());
    let table = json!({"rows": [row(1), row(2)]});
    let base = first.create_table(&project(), &table).unwrap().digest;
    let append = json!([{"append": {"row": row(3)}}]);
    let (longer, touched) = update(&first, &base, append);
    assert_eq!((&longer, touched), (&digest::of_table(rows(&[1, 2, 3])), rows(&[3])));
    // Back to what it was, and to what it was then: no circle comes of it.
    assert_eq!(update(&first, &longer, json!([{"pop": {"index": 2}}])).0, base);
    assert_eq!(update(&first, &base, json!([{"append": {"row": row(3)}}])).0, longer);
    drop(first);

    let again = server(dir.path());
    let changes = json!([{"pop": {"index": 0}}, {"insert": {"index": 1, "row": row(4)}}]);
    let (digest, touched) = update(&again, &longer, changes);
    assert_eq!(digest, digest::of_table(rows(&[2, 4, 3])));
    assert_eq!(touched, [&rows(&[1])[0], &rows(&[4])[0]].map(Clone::clone));
    assert_eq!(stored(&again, Kind::Tables)[4].facts.labels[DIGEST_LABEL], digest);
}

#[test]
fn a_table_of_known_rows_may_be_updated_too() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let request = json!({"project_id": "me/mine", "row_digests": rows(&[1, 2])});
    let base = server.create_table_of_rows(&project(), &request.to_string()).unwrap();
    assert_eq!(base, digest::of_table(rows(&[1, 2])));
    let append = json!([{"append": {"row": row(3)}}]);
    assert_eq!(update(&server, &base, append).0, digest::of_table(rows(&[1, 2, 3])));
}

#[test]
fn an_update_of_a_table_that_is_not_here_is_stored_under_a_stand_in() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let changes = json!([{"append": {"row": row(3)}}, {"pop": {"index": 0}}]);
    let (first, touched) = update(&server, "abc", changes.clone());
    assert_eq!((touched.len(), &touched[0]), (2, &rows(&[3])[0]));
    assert_eq!(update(&server, "abc", changes.clone()).0, first);
    assert_ne!(update(&server, &first, changes).0, first);
    assert_eq!(stored(&server, Kind::Tables).len(), 3);
}

#[test]
fn an_update_that_no_server_takes_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let base = server.create_table(&project(), &json!({"rows": [row(1)]})).unwrap().digest;
    for updates in [
        json!([{"pop": {"index": 1}}]),
        json!([{"insert": {"index": 2, "row": row(2)}}]),
        json!([{"append": {"row": 7}}]),
        json!([{"twist": {}}]),
        json!("all"),
    ] {
        let request = json!({"base_digest": base, "updates": updates}).to_string();
        let error = server.update_table(&project(), &request).unwrap_err();
        assert_eq!(error.kind(), TraceErrorKind::InvalidInput, "{updates}");
    }
    assert_eq!(stored(&server, Kind::Tables).len(), 1);
}
