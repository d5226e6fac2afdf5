//! Graphs as JSON and TOML.

use std::time::Duration;

use backhaul_runtime::dag::{
    Condition, Dag, DagProblemKind, EdgeCondition, Input, Join, Node, NodeKind,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::generated::full_dag;

fn problems(text: &str) -> Vec<String> {
    let error = Dag::from_json(text).unwrap_err();
    error.problems().iter().map(ToString::to_string).collect()
}

/// What is said of one node that is otherwise in order.
fn problems_of_node(fields: &Value) -> Vec<String> {
    let mut node = json!({"id": "a", "type": "tool"});
    for (key, value) in fields.as_object().unwrap() {
        node[key] = value.clone();
    }
    problems(&json!({"name": "d", "nodes": [node]}).to_string())
}

/// What is said of one edge that is otherwise in order.
fn problems_of_edge(fields: &Value) -> Vec<String> {
    let mut edge = json!({"source": "a", "target": "b"});
    for (key, value) in fields.as_object().unwrap() {
        edge[key] = value.clone();
    }
    let nodes = json!([{"id": "a", "type": "tool"}, {"id": "b", "type": "tool"}]);
    problems(&json!({"name": "d", "nodes": nodes, "edges": [edge]}).to_string())
}

#[test]
fn reads_what_upstream_writes() {
    let dag = Dag::from_json(
        r#"{
            "name": "sensor_dag", "description": "", "entry_node": "read", "metadata": {"v": 1},
            "nodes": [
                {"id": "read", "type": "tool", "name": "Read", "description": "", "ref_id": "read_sensors",
                 "config": {}, "input_mapping": {"room": "site.room"}, "output_key": "reading"},
                {"id": "plan", "type": "agent", "name": "Plan", "ref_id": "planner", "output_key": "",
                 "max_retries": 5, "parallel_nodes": [], "routes": {}, "checkpoint_enabled": false},
                {"id": "act", "type": "skill", "name": "Act", "retry_on_failure": false, "max_retries": 5}
            ],
            "edges": [
                {"source": "read", "target": "plan", "condition": "always", "condition_rule": null},
                {"source": "plan", "target": "act", "condition": "json_rule", "metadata": {},
                 "condition_rule": {"field": "reading.c", "operator": "greater_than", "value": 30}}
            ]
        }"#,
    );
    let expected = Dag::new("sensor_dag")
        .entry("read")
        .metadata("v", 1)
        .node(
            Node::tool("read", "read_sensors")
                .name("Read")
                .input("room", "site.room")
                .output_key("reading"),
        )
        .node(Node::function("plan", "planner").name("Plan").max_attempts(5))
        .node(Node::function("act", "act").name("Act").max_attempts(1))
        .edge_always("read", "plan")
        .edge_when("plan", "act", Condition::greater_than("reading.c", 30));
    assert_eq!(dag.unwrap(), expected.build().unwrap());
}

#[test]
fn every_field_has_a_key() {
    let dag = Dag::from_json(
        r#"{"name": "d", "nodes": [{
            "id": "a", "type": "llm", "prompt": "How {warm}?", "system": "Be short.",
            "input_mapping": {"warm": {"value": {"value": null}}, "where": "site"},
            "max_attempts": 2, "timeout_seconds": 1.5, "join": "any", "config": {"model": "m"}
        }, {"id": "b", "type": "tool", "timeout_seconds": "none"}],
        "edges": [{"source": "a", "target": "b"}]}"#,
    );
    let dag = dag.unwrap();
    let node = dag.node("a").unwrap();
    let kind = NodeKind::Llm { prompt: "How {warm}?".into(), system: Some("Be short.".into()) };
    assert_eq!(node.kind, kind);
    assert_eq!(node.input_mapping["warm"], Input::Value(json!({"value": null})));
    assert_eq!(node.input_mapping["where"], Input::Path("site".into()));
    assert_eq!((node.max_attempts, node.join), (2, Join::Any));
    assert_eq!(node.timeout, Some(Duration::from_millis(1500)));
    assert_eq!(node.config["model"], "m");
    assert_eq!(dag.node("b").unwrap().timeout, None);
    assert_eq!(dag.node("b").unwrap().max_attempts, 3);
    assert_eq!(dag.edges()[0].condition, EdgeCondition::OnSuccess);
}

#[test]
fn nodes_of_types_that_there_are_none_of_are_refused_with_what_to_do() {
    for (kind, message) in [
        (
            "router",
            "there are no nodes of type `router`; use edges with the condition `json_rule` out of the node that decides",
        ),
        (
            "conditional",
            "there are no nodes of type `conditional`; use edges with the condition `json_rule` out of the node before it",
        ),
        (
            "parallel",
            "there are no nodes of type `parallel`; nodes that do not wait for each other run at the same time",
        ),
        (
            "loop",
            "there are no nodes of type `loop`; repeat it within a function, or run the graph again",
        ),
        (
            "checkpoint",
            "there are no nodes of type `checkpoint`; leave it out: checkpoints are the executor's",
        ),
        ("tol", "it is `tol`; expected function, tool or llm: did you mean `tool`?"),
        ("council", "it is `council`; expected function, tool or llm"),
    ] {
        let node = json!({"type": kind, "routes": {"x": "y"}});
        assert_eq!(problems_of_node(&node), [format!("nodes[0].type: {message}")]);
    }
    assert_eq!(
        problems(r#"{"name": "d", "nodes": [{"id": "a"}]}"#),
        ["nodes[0].type: it is missing; give a text"],
    );
}

#[test]
fn what_is_wrong_with_a_node_is_said_with_its_place() {
    for (fields, message) in [
        (json!({"output_kay": "x"}), "output_kay: no such key: did you mean `output_key`?"),
        (json!({"prompt": "x"}), "prompt: no such key"),
        (json!({"output_key": 5}), "output_key: it is 5; expected text"),
        (json!({"config": []}), "config: it is a list; expected an object"),
        (
            json!({"max_attempts": -1}),
            "max_attempts: it is -1; expected a whole number from 0 to 4294967295",
        ),
        (json!({"max_attempts": 0}), "max_attempts: it is 0; a node is tried at least once"),
        (
            json!({"max_attempts": 2, "max_retries": 2}),
            "max_retries: `max_attempts` says how often the node is tried; keep that alone",
        ),
        (json!({"retry_on_failure": "no"}), "retry_on_failure: it is `no`; expected true or false"),
        (
            json!({"timeout_seconds": "1m"}),
            "timeout_seconds: it is `1m`; expected seconds, or `none` for no limit",
        ),
        (
            json!({"timeout_seconds": -1}),
            "timeout_seconds: it is -1; expected seconds, or `none` for no limit",
        ),
        (json!({"timeout_seconds": 0}), "timeout_seconds: it is 0; give the node some time"),
        (json!({"join": "one"}), "join: it is `one`; expected `all` or `any`"),
        (
            json!({"input_mapping": {"x": 5}}),
            "input_mapping.x: expected a path in the context, or {\"value\": …} for a value",
        ),
        (
            json!({"input_mapping": {"x": {"value": 1, "y": 2}}}),
            "input_mapping.x: expected a path in the context, or {\"value\": …} for a value",
        ),
        (
            json!({"routes": {"x": "y"}}),
            "routes: it is not supported; use edges with the condition `json_rule`",
        ),
        (
            json!({"parallel_nodes": ["x"]}),
            "parallel_nodes: it is not supported; nodes that do not wait for each other run at the same time",
        ),
    ] {
        assert_eq!(problems_of_node(&fields), [format!("nodes[0].{message}")]);
    }
}

#[test]
fn what_is_wrong_with_an_edge_is_said_with_its_place() {
    let rule = json!({"field": "x", "operator": "equals", "value": 1});
    for (fields, message) in [
        (
            json!({"condition": "on_sucess"}),
            "condition: it is `on_sucess`; expected on_success, on_failure, always or json_rule: did you mean `on_success`?",
        ),
        (
            json!({"condition": "json_rule"}),
            "condition_rule: it is missing; give `field`, `operator` and `value`",
        ),
        (
            json!({"condition_rule": rule}),
            "condition_rule: it goes with the condition `json_rule`, and this is `on_success`",
        ),
        (
            json!({"condition": "json_rule", "condition_rule": {"field": "x", "operator": "equal"}}),
            "condition_rule.operator: there is no operator `equal`: did you mean `equals`?",
        ),
        (
            json!({"condition": "json_rule", "condition_rule": {"operator": "is_none"}}),
            "condition_rule.field: it is missing; give a text",
        ),
        (
            json!({"condition": "json_rule", "condition_rule": {"field": "x", "operator": "is_none", "valeu": 1}}),
            "condition_rule.valeu: no such key: did you mean `value`?",
        ),
        (
            json!({"metadata": {"x": 1}}),
            "metadata: it is not supported; use the `metadata` of the graph",
        ),
        (json!({"target": null}), "target: it is missing; give a text"),
    ] {
        assert_eq!(problems_of_edge(&fields), [format!("edges[0].{message}")]);
    }
}

#[test]
fn what_is_wrong_with_a_document_is_said_at_once() {
    assert_eq!(
        problems(r#"{"entry": "a", "nodes": [5], "edges": {}}"#),
        [
            "name: it is missing; give a text",
            "nodes[0]: it is 5; expected an object",
            "nodes[0].id: it is missing; give a text",
            "nodes[0].type: it is missing; give a text",
            "edges: it is an object; expected a list",
            "entry: no such key: did you mean `entry_node`?",
        ],
    );
    assert_eq!(problems("[]")[0], "it is a list; expected an object");
    let error = Dag::from_json("{\n\"name\": }").unwrap_err();
    assert_eq!(error.problems()[0].kind(), DagProblemKind::Syntax);
    let text = error.to_string();
    assert_eq!(text, "the graph has a problem: it is not JSON: expected value at line 2 column 9");
}

#[test]
fn a_key_that_stands_twice_is_refused_and_not_read_as_one_of_them() {
    let text = r#" {"name": "d", "nodes": [
        {"id": "a", "type": "tool", "config": {"x": {"k": 1, "k": 2}, "y": {"k": 3}}},
        {"id": "b", "type": "tool", "\u0069d": "c"}
    ], "edges": [{"source": "a", "target": "b"}], "edges": []}"#;
    let twice = "this key stands twice in one object; keep one";
    let places = ["nodes[0].config.x.k", "nodes[1].id", "edges"];
    assert_eq!(problems(text), places.map(|at| format!("{at}: {twice}")));
    let error = Dag::from_json(text).unwrap_err();
    assert_eq!(error.problems()[0].kind(), DagProblemKind::RepeatedKey);
}

#[test]
fn toml_that_says_no_graph_is_refused_with_its_place() {
    let error = |text: &str| Dag::from_toml(text).unwrap_err().to_string();
    assert!(error("name = \"d\"\nnodes = [").contains("it is not TOML: "), "{}", error("a = ["));
    assert!(error("name = \"d\"\n\nname = 1").ends_with("at line 3"), "{}", error("a = ["));
    assert_eq!(
        error("name = \"d\"\n[[nodes]]\nid = \"a\"\nconfig = { x = [1.0, nan] }"),
        "the graph has a problem: nodes[0].config.x[1]: it is NaN; expected a finite number",
    );
}

#[test]
fn dates_of_toml_become_text() {
    let dag = Dag::from_toml(
        "name = \"d\"\nmetadata = { since = 2024-01-15 }\n[[nodes]]\nid = \"a\"\ntype = \"tool\"",
    );
    assert_eq!(dag.unwrap().metadata()["since"], "2024-01-15");
}

#[test]
fn the_digest_follows_what_a_run_depends_on() {
    let dag = || {
        Dag::new("d").node(Node::llm("a").config("x", json!({"p": 1, "q": 2}))).node(Node::llm("b"))
    };
    let digest = |dag: backhaul_runtime::dag::DagBuilder| dag.build().unwrap().digest();
    let plain = digest(dag());
    assert_eq!(plain.len(), 64);
    let named = Dag::new("e").description("other").metadata("m", 1);
    let named =
        named.node(Node::llm("a").name("A").description("d").config("x", json!({"q": 2, "p": 1})));
    assert_eq!(plain, digest(named.node(Node::llm("b"))));
    let others = [
        digest(dag().edge("a", "b")),
        digest(dag().edge_always("a", "b")),
        digest(Dag::new("d").node(Node::llm("a")).node(Node::llm("b"))),
        digest(dag().node(Node::llm("c"))),
    ];
    for (i, other) in others.iter().enumerate() {
        assert!(*other != plain && !others[i + 1..].contains(other));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_graph_comes_back_from_json(dag in full_dag()) {
        let read = Dag::from_json(&dag.to_value().to_string()).unwrap();
        prop_assert_eq!(read.digest(), dag.digest());
        prop_assert_eq!(read, dag);
    }

    #[test]
    fn a_graph_comes_back_from_toml(dag in full_dag()) {
        let text = toml::to_string(&as_toml(&dag.to_value())).unwrap();
        prop_assert_eq!(Dag::from_toml(&text).unwrap(), dag);
    }

    #[test]
    fn no_text_makes_the_reader_panic(dag in full_dag(), at in any::<prop::sample::Index>(), byte in any::<char>()) {
        let mut text: Vec<char> = dag.to_value().to_string().chars().collect();
        let at = at.index(text.len());
        text[at] = byte;
        let text: String = text.into_iter().collect();
        let _ = Dag::from_json(&text);
        let _ = Dag::from_toml(&text);
    }
}

fn as_toml(value: &Value) -> toml::Value {
    match value {
        Value::Null => panic!("TOML has no null"),
        Value::Bool(flag) => (*flag).into(),
        Value::String(text) => text.as_str().into(),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => integer.into(),
            None => number.as_f64().unwrap().into(),
        },
        Value::Array(items) => items.iter().map(as_toml).collect::<Vec<_>>().into(),
        Value::Object(map) => {
            let entries = map.iter().map(|(key, value)| (key.clone(), as_toml(value)));
            toml::Value::Table(entries.collect())
        }
    }
}
