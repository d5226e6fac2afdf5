//! Graphs, contexts and outcomes of every kind.

use std::time::Duration;

use backhaul_agent::Context;
use backhaul_runtime::dag::{Condition, Dag, DagBuilder, Edge, EdgeCondition, Join, Node, Outcome};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

/// The paths that conditions ask about.
const FIELDS: [&str; 2] = ["a", "b.c"];

/// Values between which every operator finds something to tell apart.
pub(crate) fn small_value() -> impl Strategy<Value = Value> {
    select(vec![
        json!(null),
        json!(0),
        json!(1),
        json!(1.0),
        json!(2.5),
        json!(true),
        json!(""),
        json!("x"),
        json!("xy"),
        json!([1, "x"]),
        json!([true, "x"]),
        json!({"x": 1}),
    ])
}

pub(crate) fn context() -> impl Strategy<Value = Context> {
    let field = || prop::option::of(small_value());
    (field(), field()).prop_map(|values| {
        let entries = FIELDS.into_iter().zip([values.0, values.1]);
        entries.fold(Context::new(), |context, (path, value)| match value {
            Some(value) => context.set(path, value),
            None => context,
        })
    })
}

pub(crate) fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![4 => Just(Outcome::Succeeded), 1 => Just(Outcome::Failed)]
}

fn condition() -> impl Strategy<Value = Condition> {
    type Make = fn(&'static str, Value) -> Condition;
    let makes: Vec<Make> = vec![
        |field, value| Condition::equals(field, value),
        |field, value| Condition::not_equals(field, value),
        |field, value| Condition::greater_than(field, value),
        |field, value| Condition::less_than(field, value),
        |field, value| Condition::contains(field, value),
        |field, _| Condition::is_none(field),
        |field, _| Condition::is_not_none(field),
    ];
    (select(makes), select(FIELDS.to_vec()), small_value())
        .prop_map(|(make, field, value)| make(field, value))
}

fn edge_condition() -> impl Strategy<Value = EdgeCondition> {
    prop_oneof![
        3 => Just(EdgeCondition::OnSuccess),
        1 => Just(EdgeCondition::OnFailure),
        2 => Just(EdgeCondition::Always),
        2 => condition().prop_map(EdgeCondition::When),
    ]
}

/// A graph of up to twelve nodes, declared in any order, with any edges and joins.
pub(crate) fn dag() -> impl Strategy<Value = Dag> {
    (1..=12_usize).prop_flat_map(|count| {
        let nodes = Just((0..count).collect::<Vec<_>>()).prop_shuffle();
        let joins = prop::collection::vec(select(vec![Join::All, Join::Any]), count);
        (nodes, joins, edges(count)).prop_map(|(order, joins, edges)| {
            let nodes = order.into_iter().map(|i| Node::function(id(i), "f").join(joins[i]));
            with_edges(nodes.fold(Dag::new("random"), DagBuilder::node), edges)
        })
    })
}

fn id(position: usize) -> String {
    format!("n{position}")
}

/// Edges from lower to higher numbers, in any order.
fn edges(count: usize) -> impl Strategy<Value = Vec<(usize, usize, EdgeCondition)>> {
    let pairs: Vec<_> = (0..count).flat_map(|i| (i + 1..count).map(move |j| (i, j))).collect();
    let most = pairs.len().min(24);
    let chosen = prop::sample::subsequence(pairs, 0..=most).prop_shuffle();
    chosen.prop_flat_map(|pairs| {
        let conditions = prop::collection::vec(edge_condition(), pairs.len());
        conditions.prop_map(move |conditions| {
            let ends = pairs.iter().zip(conditions);
            ends.map(|((source, target), condition)| (*source, *target, condition)).collect()
        })
    })
}

fn with_edges(dag: DagBuilder, edges: Vec<(usize, usize, EdgeCondition)>) -> Dag {
    let edges = edges.into_iter();
    let dag = edges.fold(dag, |dag, (source, target, condition)| {
        dag.edge_if(id(source), id(target), condition)
    });
    dag.build().unwrap()
}

/// Any JSON value that TOML can write too.
fn value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |float| float.is_finite()).prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    scalar.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(text(), inner, 0..4).prop_map(|entries| json!(entries)),
        ]
    })
}

/// Text of any kind, words of Mermaid and its punctuation among them.
pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-z]{1,6}",
        "[\\[\\](){}|\"'`<>#;&%\n\r\\\\-]{1,8}",
        select(vec!["end", "graph", "n0", "subgraph", "%%{init}%%", "#quot;", "<br/>"])
            .prop_map(str::to_owned),
    ]
}

fn kind() -> impl Strategy<Value = Node> {
    prop_oneof![
        text().prop_map(|name| Node::function("", format!("f{name}"))),
        text().prop_map(|name| Node::tool("", format!("t{name}"))),
        (text(), prop::option::of(text())).prop_map(|(prompt, system)| {
            let node = Node::llm("").prompt(prompt);
            system.into_iter().fold(node, Node::system)
        }),
    ]
}

fn full_node() -> impl Strategy<Value = Node> {
    let paths = prop::collection::btree_map(text(), "[a-z.]{1,6}", 0..3);
    let values = prop::collection::btree_map(text(), value(), 0..3);
    let config = prop::collection::btree_map(text(), value(), 0..3);
    let limits = (1..9_u32, prop::option::of(1..10_000_000_u64), any::<bool>());
    (kind(), text(), text(), prop::option::of("[a-z.]{1,6}"), (paths, values, config), limits)
        .prop_map(|(node, name, description, output_key, (paths, values, config), limits)| {
            let (attempts, milliseconds, is_any) = limits;
            let node = node.name(name).description(description).max_attempts(attempts);
            let node = node.timeout(milliseconds.map(Duration::from_millis));
            let node = if is_any { node.join(Join::Any) } else { node };
            let node = output_key.into_iter().fold(node, Node::output_key);
            let node = paths.into_iter().fold(node, |node, (k, path)| node.input(k, path));
            let node = values.into_iter().fold(node, |node, (k, v)| node.input_value(k, v));
            config.into_iter().fold(node, |node, (k, v)| node.config(k, v))
        })
}

/// A graph in which every field says something.
pub(crate) fn full_dag() -> impl Strategy<Value = Dag> {
    let nodes = prop::collection::vec((text(), full_node()), 1..6);
    let metadata = prop::collection::btree_map(text(), value(), 0..3);
    let numbered = nodes.prop_flat_map(|nodes| (edges(nodes.len()), Just(nodes)));
    (text(), text(), numbered, metadata).prop_map(
        |(name, description, (edges, nodes), metadata)| {
            let ids: Vec<String> =
                nodes.iter().enumerate().map(|(i, (text, _))| format!("{text}{i}")).collect();
            let nodes = nodes.into_iter().zip(&ids).map(|((_, mut node), id)| {
                node.id = id.clone();
                node
            });
            let dag = nodes.fold(Dag::new(name).description(description), DagBuilder::node);
            let dag = metadata.into_iter().fold(dag, |dag, (k, v)| dag.metadata(k, v));
            let edges = edges.into_iter().map(|(source, target, condition)| Edge {
                source: ids[source].clone(),
                target: ids[target].clone(),
                condition,
            });
            edges.fold(dag, |dag, e| dag.edge_if(e.source, e.target, e.condition)).build().unwrap()
        },
    )
}
