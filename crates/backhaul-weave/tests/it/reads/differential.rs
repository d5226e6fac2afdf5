//! The same data in a real server and in a folder, and the same questions to both.

use backhaul_testkit::WeaveServer;
use backhaul_weave::{OfflineOptions, OfflineTraceServer, Reads, TraceError};
use serde_json::{Value, json};

use super::dice::Dice;
use super::logged::{self, PROJECT, Step, project};
use super::queries;
use crate::http::{post_json, post_lines};

/// The real server, and the folder, with the same in both.
struct Both {
    server: WeaveServer,
    ours: OfflineTraceServer,
    reads: Reads,
    _folder: tempfile::TempDir,
}

impl Both {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = WeaveServer::start("0.52.42", &folder.path().join("weave.db")).unwrap();
        let ours = OfflineTraceServer::open(folder.path().join("ours"), OfflineOptions::default())
            .unwrap();
        let reads = Reads::of_server(&ours);
        Self { server, ours, reads, _folder: folder }
    }

    fn log(&self, steps: &[Step]) {
        for step in steps {
            let (status, answer) = post_json(&self.server, step.path, &step.body);
            assert_eq!(status, 200, "{}: {}: {answer}", step.path, step.body);
        }
        logged::log(&self.ours, steps);
    }

    /// The answers to a request, which both give.
    #[track_caller]
    fn answers_are_the_same(
        &self,
        path: &str,
        request: &Value,
        ours: impl FnOnce(&Reads, &Value) -> Result<Value, TraceError>,
    ) -> Value {
        let mut request = request.clone();
        request["project_id"] = json!(PROJECT);
        let (status, theirs) = match path {
            "/calls/stream_query" => post_lines(&self.server, path, &request),
            path => post_json(&self.server, path, &request),
        };
        assert_eq!(status, 200, "{request}: {theirs}");
        let ours = comparable(ours(&self.reads, &request).unwrap());
        let theirs = comparable(theirs);
        let same = backhaul_json::same_in_python(&ours, &theirs);
        assert!(same, "{path} {request:#}\n{}", difference(&ours, &theirs, "answer"));
        ours
    }

    #[track_caller]
    fn refuse_both(
        &self,
        path: &str,
        request: &Value,
        ours: impl FnOnce(&Reads, &Value) -> Result<Value, TraceError>,
    ) -> TraceError {
        let mut request = request.clone();
        request["project_id"] = json!(PROJECT);
        let (status, theirs) = post_json(&self.server, path, &request);
        assert!(status >= 400, "{request}: {theirs}");
        ours(&self.reads, &request).unwrap_err()
    }
}

fn calls(reads: &Reads, request: &Value) -> Result<Value, TraceError> {
    reads.calls_stream_query(request)?.collect::<Result<Vec<_>, _>>().map(Value::Array)
}

/// Without what two servers cannot share: when things were made, and what a reaction is
/// called in words.
fn comparable(mut value: Value) -> Value {
    match &mut value {
        Value::Object(map) => {
            for key in ["created_at", "alias", "detoned", "detoned_alias"] {
                map.remove(key);
            }
            map.values_mut().for_each(|inner| *inner = comparable(inner.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|inner| *inner = comparable(inner.take())),
        _ => {}
    }
    value
}

/// The first place where two values differ.
fn difference(ours: &Value, theirs: &Value, at: &str) -> String {
    match (ours, theirs) {
        (Value::Object(one), Value::Object(other)) => {
            let keys = one.keys().chain(other.keys());
            let mut differing = keys.filter(|key| {
                !backhaul_json::same_in_python(&ours[key.as_str()], &theirs[key.as_str()])
                    || one.contains_key(*key) != other.contains_key(*key)
            });
            let key = differing.next().unwrap();
            difference(&ours[key.as_str()], &theirs[key.as_str()], &format!("{at}.{key}"))
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let mut pairs = one.iter().zip(other).enumerate();
            let (index, (one, other)) =
                pairs.find(|(_, (one, other))| !backhaul_json::same_in_python(one, other)).unwrap();
            difference(one, other, &format!("{at}[{index}]"))
        }
        (Value::Array(one), Value::Array(other)) => {
            let ids =
                |list: &[Value]| list.iter().map(|one| one["id"].to_string()).collect::<Vec<_>>();
            format!("{at}: ours {:?}\ntheirs {:?}", ids(one), ids(other))
        }
        _ => format!("{at}: ours {ours}, theirs {theirs}"),
    }
}

#[test]
fn calls_are_found_sorted_and_shown_as_by_the_real_server() {
    let both = Both::new();
    let mut dice = Dice::new(42);
    let (steps, known) = logged::calls(160, &mut dice);
    both.log(&steps);
    both.log(&logged::feedback(&known, &mut dice));
    let all = both.answers_are_the_same("/calls/stream_query", &json!({}), calls);
    // Some were deleted, with what was below them.
    assert!((100..158).contains(&all.as_array().unwrap().len()));
    let mut found = 0;
    for _ in 0..400 {
        let query = queries::query(&known, &mut dice);
        let answer = both.answers_are_the_same("/calls/stream_query", &query, calls);
        found += answer.as_array().unwrap().len();
    }
    // The questions are not about nothing.
    assert!(found > 4_000, "{found}");
    for _ in 0..60 {
        let filter = queries::filter(&known, &mut dice);
        let mut query = json!({"filter": filter});
        if found % 2 == 0 {
            query["query"] = json!({"$expr": queries::condition(1, &mut dice)});
        }
        found += 1;
        both.answers_are_the_same("/calls/query_stats", &query, Reads::calls_query_stats);
    }
    for one in known.iter().take(40) {
        both.answers_are_the_same("/call/read", &json!({"id": one.id}), Reads::call_read);
    }
    feedback_is_the_same(&both, &known);
    questions_without_sense_are_refused(&both);
}

fn feedback_is_the_same(both: &Both, known: &[logged::Known]) {
    let eq =
        |field: &str, value: Value| json!({"$eq": [{"$getField": field}, {"$literal": value}]});
    let about = format!("weave:///{PROJECT}/call/{}", known[7].id);
    for query in [
        json!({}),
        json!({"query": {"$expr": eq("weave_ref", json!(about))}}),
        json!({"query": {"$expr": eq("feedback_type", json!("wandb.note.1"))}, "limit": 3}),
        json!({"query": {"$expr": eq("payload.output.score", json!(2))}, "offset": 1, "limit": 50}),
        json!({"query": {"$expr": {"$not": [eq("creator", json!("me"))]}}}),
        json!({"fields": ["id", "payload", "feedback_type"],
            "sort_by": [{"field": "feedback_type", "direction": "desc"}, {"field": "id", "direction": "asc"}]}),
    ] {
        let answer = both.answers_are_the_same("/feedback/query", &query, Reads::feedback_query);
        assert!(answer["result"].is_array());
    }
}

fn questions_without_sense_are_refused(both: &Both) {
    for expr in [
        json!({"$eq": [{"$getField": "no_such_field"}, {"$literal": 1}]}),
        json!({"$almost": []}),
        json!({"$and": []}),
        json!({"$convert": {"input": {"$getField": "inputs.n"}, "to": "money"}}),
    ] {
        let request = json!({"query": {"$expr": expr}});
        let error = both.refuse_both("/calls/stream_query", &request, calls);
        assert_eq!(error.kind(), backhaul_weave::TraceErrorKind::InvalidInput, "{error}");
    }
    let sort_by = json!([{"field": "no_such_field", "direction": "asc"}]);
    both.refuse_both("/calls/stream_query", &json!({"sort_by": sort_by}), calls);
    both.refuse_both("/calls/query_stats", &json!({"limit": 0}), Reads::calls_query_stats);
}

/// Stores an object in both.
fn create_object(both: &Both, name: &str, value: &Value) -> String {
    let object = json!({"project_id": PROJECT, "object_id": name, "val": value});
    let (status, answer) = post_json(&both.server, "/obj/create", &json!({"obj": object}));
    assert_eq!(status, 200, "{answer}");
    let digest = answer["digest"].as_str().unwrap().to_owned();
    assert_eq!(both.ours.create_object(&project(), &object).unwrap(), digest);
    digest
}

fn create_table(both: &Both, rows: &Value) -> (String, Vec<String>) {
    let table = json!({"project_id": PROJECT, "rows": rows});
    let (status, answer) = post_json(&both.server, "/table/create", &json!({"table": table}));
    assert_eq!(status, 200, "{answer}");
    let created = both.ours.create_table(&project(), &table).unwrap();
    assert_eq!(answer["digest"], created.digest);
    (created.digest, created.row_digests)
}

/// What the real server calls the project.
fn learn_internal_id(both: &Both) {
    let projects = json!({"project_ids": [PROJECT]});
    let (_, ids) = post_json(&both.server, "/service/projects_info", &projects);
    let id = ids[0]["internal_project_id"].as_str().unwrap();
    both.ours.set_internal_id(&project(), id);
}

#[test]
fn objects_tables_and_addresses_are_read_as_by_the_real_server() {
    let both = Both::new();
    learn_internal_id(&both);
    let rows = json!([{"q": "one", "n": 3}, {"q": "two", "n": 1.5}, {"q": "three", "n": null}, {"q": "one", "n": 3}]);
    let (table, row_digests) = create_table(&both, &rows);
    let dataset = json!({
        "_type": "Dataset", "_class_name": "Dataset", "_bases": ["Object", "BaseModel"],
        "name": "d", "rows": format!("weave:///{PROJECT}/table/{table}"),
    });
    let dataset = create_object(&both, "dataset", &dataset);
    let model = |n: i64| {
        json!({
            "_type": "Net", "_class_name": "Net", "_bases": ["Model", "Object", "BaseModel"],
            "n": n, "list": [{"a b/c": "deep"}, 2], "data": format!("weave:///{PROJECT}/object/dataset:{dataset}"),
        })
    };
    let [first, second] = [1, 2].map(|n| create_object(&both, "model", &model(n)));
    // Again: the latest, and no version of its own.
    assert_eq!(create_object(&both, "model", &model(1)), first);
    let op =
        json!({"_type": "CustomWeaveType", "weave_type": {"type": "Op"}, "files": {"obj.py": "x"}});
    create_object(&both, "an_op", &op);
    let gone = create_object(&both, "gone", &json!({"n": 1}));
    create_object(&both, "gone", &json!({"n": 2}));
    let tags = |path: &'static str, entry_type, body: Value, extra: Value| {
        let (status, answer) = crate::http::put_json(&both.server, path, &body);
        assert_eq!(status, 200, "{answer}");
        let mut data = body;
        data.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        both.ours.log(&project(), &[backhaul_weave::Entry::of_value(entry_type, &data)]).unwrap();
    };
    let tagged = format!("/objs/model/versions/{second}/tags");
    tags(
        tagged.leak(),
        backhaul_weave::EntryType::ObjTags,
        json!({"project_id": PROJECT, "tags": ["checked", "b"]}),
        json!({"object_id": "model", "digest": second}),
    );
    tags(
        "/objs/model/aliases",
        backhaul_weave::EntryType::ObjAliases,
        json!({"project_id": PROJECT, "digest": second, "aliases": ["production"]}),
        json!({"object_id": "model"}),
    );
    let deletion = json!({"project_id": PROJECT, "object_id": "gone", "digests": [gone]});
    both.log(&[Step {
        path: "/obj/delete",
        entry: (backhaul_weave::EntryType::ObjDelete, deletion.clone()),
        body: deletion,
    }]);

    for (name, digest) in [
        ("model", first.as_str()),
        ("model", "latest"),
        ("model", "v0"),
        ("model", "v1"),
        ("model", "production"),
        ("dataset", "latest"),
        ("an_op", "v0"),
        ("gone", "latest"),
        ("gone", "v1"),
    ] {
        let request =
            json!({"object_id": name, "digest": digest, "include_tags_and_aliases": true});
        both.answers_are_the_same("/obj/read", &request, object_read);
    }
    for (name, digest) in
        [("gone", gone.as_str()), ("gone", "v0"), ("model", "v7"), ("nothing", "latest")]
    {
        let request = json!({"object_id": name, "digest": digest});
        let error = both.refuse_both("/obj/read", &request, Reads::obj_read);
        assert_eq!(error.kind(), backhaul_weave::TraceErrorKind::NotFound, "{error}");
    }
    for filter in [
        json!(null),
        json!({"is_op": true}),
        json!({"is_op": false, "latest_only": true}),
        json!({"object_ids": ["model", "gone"]}),
        json!({"base_object_classes": ["Model", "Dataset"]}),
        json!({"exclude_base_object_classes": ["Model"]}),
        json!({"leaf_object_classes": ["Net"]}),
        json!({"tags": ["checked"]}),
        json!({"aliases": ["production"]}),
        json!({"aliases": ["latest"]}),
    ] {
        for rest in [
            json!({}),
            json!({"metadata_only": true, "include_tags_and_aliases": true}),
            json!({"sort_by": [{"field": "object_id", "direction": "desc"}], "limit": 3, "offset": 1}),
        ] {
            let mut request = rest;
            request["filter"] = filter.clone();
            both.answers_are_the_same("/objs/query", &request, objects_query);
        }
    }
    for request in [
        json!({"digest": table}),
        json!({"digest": table, "limit": 2, "offset": 1}),
        json!({"digest": table, "filter": {"row_digests": [row_digests[1], "nobody"]}}),
        json!({"digest": table, "sort_by": [{"field": "n", "direction": "desc"}, {"field": "q", "direction": "asc"}]}),
        json!({"digest": "nobody"}),
    ] {
        both.answers_are_the_same("/table/query", &request, Reads::table_query);
    }
    let stats = json!({"digests": [table, "nobody"]});
    both.answers_are_the_same("/table/query_stats_batch", &stats, Reads::table_query_stats_batch);
    both.answers_are_the_same(
        "/table/query_stats",
        &json!({"digest": table}),
        Reads::table_query_stats,
    );
    let object = |rest: &str| format!("weave:///{PROJECT}/object/{rest}");
    let refs = [
        object(&format!("model:{first}")),
        object(&format!("model:{first}/attr/list/index/0/key/a%20b%2Fc")),
        object(&format!("model:{second}/attr/n")),
        object(&format!("dataset:{dataset}/attr/rows/id/{}", row_digests[2])),
        object(&format!("gone:{gone}")),
    ];
    for count in 1..=refs.len() {
        let request = json!({"refs": refs[..count]});
        let (status, theirs) = post_json(&both.server, "/refs/read_batch", &request);
        assert_eq!(status, 200, "{theirs}");
        assert_eq!(both.reads.refs_read_batch(&request).unwrap(), theirs);
    }
    for bad in [
        object("model:nobody"),
        object("nobody:abc"),
        format!("weave:///{PROJECT}/table/{table}"),
        object("model"),
    ] {
        let request = json!({"refs": [bad]});
        assert!(post_json(&both.server, "/refs/read_batch", &request).0 >= 400);
        both.reads.refs_read_batch(&request).unwrap_err();
    }
}

/// The order of versions that were made at the same moment is nobody's promise, nor who
/// wrote them.
fn object_read(reads: &Reads, request: &Value) -> Result<Value, TraceError> {
    let mut answer = reads.obj_read(request)?;
    answer["obj"]["wb_user_id"] = json!("reference-user");
    Ok(answer)
}

fn objects_query(reads: &Reads, request: &Value) -> Result<Value, TraceError> {
    let mut answer = reads.objs_query(request)?;
    for object in answer["objs"].as_array_mut().unwrap() {
        object["wb_user_id"] = json!("reference-user");
    }
    Ok(answer)
}
