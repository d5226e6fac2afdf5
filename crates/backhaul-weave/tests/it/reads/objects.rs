//! Objects, tables and addresses beside the real server.

use backhaul_weave::{Entry, EntryType, Reads, TraceError, TraceErrorKind};
use serde_json::{Value, json};

use super::both::Both;
use super::logged::{PROJECT, Step, id, project, time, trace_id};
use crate::http::{post_json, put_json};

/// Objects in both: two versions of a model, the first stored again; a dataset; an op; and
/// one of which the first version was deleted.
struct Stored {
    both: Both,
    table: String,
    rows: Vec<String>,
    dataset: String,
    models: [String; 2],
    deleted: String,
}

impl Stored {
    fn new() -> Self {
        let both = Both::new();
        learn_internal_id(&both);
        let (table, rows) = create_table(&both);
        let dataset = json!({
            "_type": "Dataset", "_class_name": "Dataset", "_bases": ["Object", "BaseModel"],
            "name": "d", "rows": format!("weave:///{PROJECT}/table/{table}"),
        });
        let dataset = create_object(&both, "dataset", &dataset);
        let models = [1, 2].map(|n| create_object(&both, "model", &model(n, &dataset)));
        // Again: the latest, and no version of its own.
        assert_eq!(create_object(&both, "model", &model(1, &dataset)), models[0]);
        let op = json!({"_type": "CustomWeaveType", "weave_type": {"type": "Op"}, "files": {}});
        create_object(&both, "an_op", &op);
        let deleted = create_object(&both, "gone", &json!({"n": 1}));
        create_object(&both, "gone", &json!({"n": 2}));
        let deletion = json!({"project_id": PROJECT, "object_id": "gone", "digests": [deleted]});
        both.log(&[Step {
            path: "/obj/delete",
            entry: (EntryType::ObjDelete, deletion.clone()),
            body: deletion,
        }]);
        let stored = Self { both, table, rows, dataset, models, deleted };
        stored.tag();
        stored
    }

    fn tag(&self) {
        let second = &self.models[1];
        self.put(
            &format!("/objs/model/versions/{second}/tags"),
            EntryType::ObjTags,
            json!({"project_id": PROJECT, "tags": ["checked", "b"]}),
            &json!({"object_id": "model", "digest": second}),
        );
        self.put(
            "/objs/model/aliases",
            EntryType::ObjAliases,
            json!({"project_id": PROJECT, "digest": second, "aliases": ["production"]}),
            &json!({"object_id": "model"}),
        );
    }

    /// `of_path`: what the path says beside the body.
    fn put(&self, path: &str, entry_type: EntryType, mut body: Value, of_path: &Value) {
        let (status, answer) = put_json(&self.both.server, path, &body);
        assert_eq!(status, 200, "{answer}");
        body.as_object_mut().unwrap().extend(of_path.as_object().unwrap().clone());
        self.both.ours.log(&project(), &[Entry::of_value(entry_type, &body)]).unwrap();
    }
}

fn model(n: i64, dataset: &str) -> Value {
    json!({
        "_type": "Net", "_class_name": "Net", "_bases": ["Model", "Object", "BaseModel"],
        "n": n, "list": [{"a b/c": "deep"}, 2],
        "data": format!("weave:///{PROJECT}/object/dataset:{dataset}"),
    })
}

fn create_object(both: &Both, name: &str, value: &Value) -> String {
    let object = json!({"project_id": PROJECT, "object_id": name, "val": value});
    let (status, answer) = post_json(&both.server, "/obj/create", &json!({"obj": object}));
    assert_eq!(status, 200, "{answer}");
    let digest = answer["digest"].as_str().unwrap().to_owned();
    assert_eq!(both.ours.create_object(&project(), &object).unwrap(), digest);
    digest
}

fn create_table(both: &Both) -> (String, Vec<String>) {
    let rows = [("one", json!(3)), ("two", json!(1.5)), ("three", json!(null)), ("one", json!(3))];
    let rows: Vec<Value> = rows.iter().map(|(q, n)| json!({"q": q, "n": n})).collect();
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
    let stored = Stored::new();
    versions_are_read(&stored);
    versions_are_listed(&stored);
    rows_are_read(&stored);
    tables_that_are_made_of_others_are_read(&stored);
    addresses_are_followed(&stored);
    questions_at_the_edges_are_answered(&stored);
    addresses_at_the_edges_are_followed(&stored);
    addresses_in_calls_are_expanded(&stored);
}

fn versions_are_read(stored: &Stored) {
    let (both, first) = (&stored.both, stored.models[0].as_str());
    for (name, digest) in [
        ("model", first),
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
    let deleted = stored.deleted.as_str();
    for (name, digest) in
        [("gone", deleted), ("gone", "v0"), ("model", "v7"), ("nothing", "latest")]
    {
        let request = json!({"object_id": name, "digest": digest});
        let error = both.refuse_both("/obj/read", &request, Reads::obj_read);
        assert_eq!(error.kind(), TraceErrorKind::NotFound, "{error}");
    }
}

fn versions_are_listed(stored: &Stored) {
    let by_name = json!([{"field": "object_id", "direction": "desc"}]);
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
        for mut request in [
            json!({}),
            json!({"metadata_only": true, "include_tags_and_aliases": true}),
            json!({"sort_by": by_name, "limit": 3, "offset": 1}),
        ] {
            request["filter"] = filter.clone();
            stored.both.answers_are_the_same("/objs/query", &request, objects_query);
        }
    }
}

fn rows_are_read(stored: &Stored) {
    let Stored { both, table, rows, .. } = stored;
    let sort_by = json!([{"field": "n", "direction": "desc"}, {"field": "q", "direction": "asc"}]);
    for request in [
        json!({"digest": table}),
        json!({"digest": table, "limit": 2, "offset": 1}),
        json!({"digest": table, "filter": {"row_digests": [rows[1], "nobody"]}}),
        json!({"digest": table, "sort_by": sort_by}),
        json!({"digest": "nobody"}),
    ] {
        both.answers_are_the_same("/table/query", &request, Reads::table_query);
    }
    let stats = json!({"digests": [table, "nobody"]});
    both.answers_are_the_same("/table/query_stats_batch", &stats, Reads::table_query_stats_batch);
    let stats = json!({"digest": table});
    both.answers_are_the_same("/table/query_stats", &stats, Reads::table_query_stats);
}

fn tables_that_are_made_of_others_are_read(stored: &Stored) {
    let Stored { both, table, rows, .. } = stored;
    let known = json!({"project_id": PROJECT, "row_digests": [rows[2], rows[0], "nobody"]});
    let (_, theirs) = post_json(&both.server, "/table/create_from_digests", &known);
    let of_rows = both.ours.create_table_of_rows(&project(), &known.to_string()).unwrap();
    assert_eq!(theirs["digest"], of_rows);
    let mut base = table.clone();
    for updates in [
        json!([{"append": {"row": {"q": "new"}}}, {"pop": {"index": 0}}]),
        json!([{"insert": {"index": 1, "row": {"q": "between"}}}]),
    ] {
        let update = json!({"project_id": PROJECT, "base_digest": base, "updates": updates});
        let (_, theirs) = post_json(&both.server, "/table/update", &update);
        base = both.ours.update_table(&project(), &update.to_string()).unwrap().digest;
        assert_eq!(theirs["digest"], base);
        both.answers_are_the_same("/table/query", &json!({"digest": base}), Reads::table_query);
    }
    both.answers_are_the_same("/table/query", &json!({"digest": of_rows}), Reads::table_query);
    let stats = json!({"digests": [base]});
    both.answers_are_the_same("/table/query_stats_batch", &stats, Reads::table_query_stats_batch);
}

fn object(rest: &str) -> String {
    format!("weave:///{PROJECT}/object/{rest}")
}

fn addresses_are_followed(stored: &Stored) {
    let Stored { both, table, rows, dataset, models: [first, second], deleted } = stored;
    let refs = [
        object(&format!("model:{first}")),
        object(&format!("model:{first}/attr/list/index/0/key/a%20b%2Fc")),
        object(&format!("model:{second}/attr/n")),
        object(&format!("dataset:{dataset}/attr/rows/id/{}", rows[2])),
        object(&format!("gone:{deleted}")),
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

/// Answered by both in the same way, or refused by both.
fn questions_at_the_edges_are_answered(stored: &Stored) {
    let Stored { both, table, .. } = stored;
    let sort_by = |field: &str| json!([{"field": field, "direction": "asc"}]);
    let mut tables = vec![
        json!({"limit": 0}),
        json!({"limit": 2, "offset": 100}),
        json!({"offset": 2}),
        json!({"filter": null, "sort_by": null}),
        json!({"filter": {"row_digests": []}}),
        json!({"filter": {"row_digests": ["nobody"]}}),
    ];
    let fields = ["q", "n", "q.deeper", "no_such", "", " ", ".q", "q.", "q..n"];
    tables.extend(fields.map(|field| json!({"sort_by": sort_by(field)})));
    for mut request in tables {
        request["digest"] = json!(table);
        both.compare("/table/query", &request, Reads::table_query).unwrap();
    }
    for request in [
        json!({"limit": 0}),
        json!({"limit": 2, "offset": 100}),
        json!({"offset": 2}),
        json!({"sort_by": sort_by("created_at"), "filter": {"latest_only": true}}),
        json!({"filter": {"object_ids": []}}),
        json!({"filter": {"object_ids": ["nobody"]}}),
        json!({"filter": {"no_such": 1}}),
        json!({"filter": {"tags": ["checked", "nobody"], "aliases": ["nobody"]}}),
    ] {
        both.compare("/objs/query", &request, objects_query).unwrap();
    }
    for (name, digest) in [("model", "v-1"), ("model", "v"), ("model", ""), ("", "latest")] {
        let request = json!({"object_id": name, "digest": digest});
        both.compare("/obj/read", &request, object_read).unwrap();
    }
    let stats = json!({"digest": "nobody"});
    both.compare("/table/query_stats", &stats, Reads::table_query_stats).unwrap();
    let content = |reads: &Reads, request: &Value| reads.file_content(request).map(|_| json!(null));
    both.compare("/file/content", &json!({"digest": "nobody"}), content).unwrap();
}

fn addresses_at_the_edges_are_followed(stored: &Stored) {
    let Stored { both, rows, dataset, models: [first, _], .. } = stored;
    let row = |rest: &str| object(&format!("dataset:{dataset}/attr/rows/{rest}"));
    let mut all = vec![vec![], vec![object("nobody:abc"); 1001]];
    all.extend(
        [
            row(&format!("id/{}/key/q", rows[0])),
            row(&format!("id/{}/attr/n", rows[1])),
            row(&format!("id/{}/key/nothing", rows[0])),
            row(&format!("id/{}/index/0", rows[0])),
            row("id/nobody"),
            object(&format!("dataset:{dataset}/attr/rows")),
            object(&format!("model:{first}/attr/list/index/-1")),
            object(&format!("model:{first}/attr/list/index/2")),
            object(&format!("model:{first}/attr/list/index/one")),
            object(&format!("model:{first}/attr/n/key/deeper")),
            object(&format!("model:{first}/attr/nothing")),
            object(&format!("model:{first}/attr")),
            object(&format!("model:{first}/step/n")),
            format!("weave:///{PROJECT}/op/nobody:abc"),
            format!("weave:///{PROJECT}/call/{}", id(1)),
            "no address".to_owned(),
        ]
        .map(|address| vec![address]),
    );
    for refs in all {
        both.compare("/refs/read_batch", &json!({"refs": refs}), Reads::refs_read_batch).unwrap();
    }
}

fn addresses_in_calls_are_expanded(stored: &Stored) {
    let Stored { both, rows, dataset, models: [first, _], .. } = stored;
    let start = json!({
        "project_id": PROJECT, "id": id(1), "trace_id": trace_id(1), "op_name": "f",
        "started_at": time(1_000), "attributes": {}, "wb_user_id": "reference-user",
        "inputs": {
            "model": object(&format!("model:{first}")),
            "row": object(&format!("dataset:{dataset}/attr/rows/id/{}", rows[1])),
            "none": "text",
        },
    });
    both.log(&[Step {
        path: "/call/start",
        body: json!({"start": start}),
        entry: (EntryType::CallStart, start),
    }]);
    let columns =
        ["inputs.model.data", "inputs.model", "inputs.row", "inputs.none", "inputs.nothing"];
    let calls = |reads: &Reads, request: &Value| {
        reads.calls_stream_query(request)?.collect::<Result<Vec<_>, _>>().map(Value::Array)
    };
    let request = json!({"expand_columns": columns});
    let found = both.answers_are_the_same("/calls/stream_query", &request, calls);
    assert_eq!(found[0]["inputs"]["model"]["data"]["_ref"], object(&format!("dataset:{dataset}")));
}

/// Who wrote a version is known to the real server alone.
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
