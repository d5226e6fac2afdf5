//! What is wrong with graphs, in words.

use std::time::Duration;

use backhaul_runtime::dag::{Dag, DagBuilder, DagProblemKind, Node};

fn problems(dag: DagBuilder) -> Vec<String> {
    dag.build().unwrap_err().problems().iter().map(ToString::to_string).collect()
}

fn named(ids: &[&str]) -> DagBuilder {
    ids.iter().fold(Dag::new("sensor_dag"), |dag, id| dag.node(Node::function(*id, "f")))
}

#[test]
fn a_graph_without_nodes_is_refused() {
    let error = Dag::new("sensor_dag").build().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the graph `sensor_dag` has a problem: nodes: there are none; add at least one",
    );
    assert_eq!(error.problems()[0].kind(), DagProblemKind::NoNodes);
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let dag = Dag::new("sensor_dag")
        .node(Node::tool("read", "read_sensors").max_attempts(0).timeout(Duration::ZERO))
        .node(Node::function("", "f").output_key("").input("x", ""))
        .node(Node::tool("read", ""))
        .edge("read", "dicide")
        .entry("raed");
    assert_eq!(
        dag.build().unwrap_err().to_string(),
        "the graph `sensor_dag` has 9 problems:\n\
         - nodes[0].max_attempts: it is 0; a node is tried at least once\n\
         - nodes[0].timeout_seconds: it is 0; give the node some time\n\
         - nodes[1].id: it is empty; give the node an id\n\
         - nodes[1].output_key: it is empty; leave it out if the output is put nowhere\n\
         - nodes[1].input_mapping.x: it is empty; give a path in the context\n\
         - nodes[2].id: nodes[0] is called `read` too\n\
         - nodes[2].ref_id: it is empty; name what is called\n\
         - edges[0].target: no node is called `dicide`\n\
         - entry_node: no node is called `raed`: did you mean `read`?",
    );
}

#[test]
fn an_unknown_end_of_an_edge_is_told_with_the_name_that_was_meant() {
    assert_eq!(
        problems(named(&["read", "decide"]).edge("red", "dicide")),
        [
            "edges[0].source: no node is called `red`: did you mean `read`?",
            "edges[0].target: no node is called `dicide`: did you mean `decide`?",
        ],
    );
}

#[test]
fn an_edge_to_its_own_source_and_a_second_edge_are_refused() {
    let dag = named(&["a", "b"]).edge("a", "a").edge("a", "b").edge_on_failure("a", "b");
    assert_eq!(
        problems(dag),
        [
            "edges[0]: it leads from `a` to itself",
            "edges[2]: edges[1] leads from `a` to `b` too; keep one",
        ],
    );
}

#[test]
fn a_cycle_is_told_with_the_nodes_on_it() {
    let dag = named(&["in", "a", "b", "c", "out"])
        .edge("in", "a")
        .edge("a", "b")
        .edge("b", "c")
        .edge("c", "a")
        .edge("c", "out");
    assert_eq!(problems(dag), ["edges: they make a cycle: a -> b -> c -> a"]);
}

#[test]
fn every_separate_cycle_is_told() {
    let dag =
        named(&["a", "b", "c", "d"]).edge("a", "b").edge("b", "a").edge("c", "d").edge("d", "c");
    assert_eq!(
        problems(dag.edge("b", "c")),
        ["edges: they make a cycle: a -> b -> a", "edges: they make a cycle: c -> d -> c"],
    );
}

#[test]
fn what_the_entry_does_not_reach_is_refused_and_several_roots_without_one_are_not() {
    let dag = || named(&["a", "b", "c", "d"]).edge("a", "b").edge("c", "d");
    assert!(dag().build().is_ok());
    assert_eq!(
        problems(dag().entry("a")),
        [
            "nodes[2]: no way leads to `c` from the entry `a`; add an edge, or name no entry",
            "nodes[3]: no way leads to `d` from the entry `a`; add an edge, or name no entry",
        ],
    );
}

#[test]
fn ten_thousand_nodes_are_a_graph_and_one_more_is_not() {
    let of = |count: usize| {
        (0..count).fold(Dag::new("large"), |dag, i| dag.node(Node::llm(i.to_string())))
    };
    assert!(of(Dag::MAX_NODES).build().is_ok());
    assert_eq!(
        problems(of(Dag::MAX_NODES + 1)),
        ["nodes: there are 10001; a graph has at most 10000"],
    );
}

#[test]
fn a_cycle_of_ten_thousand_nodes_is_found() {
    let count = Dag::MAX_NODES;
    let dag = (0..count).fold(Dag::new("round"), |dag, i| {
        dag.node(Node::llm(i.to_string())).edge(i.to_string(), ((i + 1) % count).to_string())
    });
    let problems = problems(dag);
    assert_eq!(problems.len(), 1);
    assert!(problems[0].ends_with("-> 9998 -> 9999 -> 0"));
}
