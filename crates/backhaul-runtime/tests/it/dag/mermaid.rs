//! Pictures of graphs.

use backhaul_runtime::dag::{Condition, Dag, Join, Node};
use proptest::prelude::*;

use super::generated::full_dag;

#[test]
fn shapes_and_labels_tell_what_is_what() {
    let dag = Dag::new("sensor_dag")
        .node(Node::tool("read", "read_sensors"))
        .node(Node::llm("decide"))
        .node(Node::function("act", "act"))
        .node(Node::function("end", "tidy_up").join(Join::Any))
        .edge("read", "decide")
        .edge_when("decide", "act", Condition::equals("decision[\"x\"]", "a\nb"))
        .edge_on_failure("read", "end")
        .edge_always("act", "end")
        .build()
        .unwrap();
    let expected = r##"flowchart TD
    n0[["read<br/>read_sensors"]]
    n1{{"decide"}}
    n2["act"]
    n3["end<br/>tidy_up<br/>after any"]
    n0 --> n1
    n0 -.->|"on failure"| n3
    n1 -->|"decision#91;#34;x#34;#93; equals #34;a#92;nb#34;"| n2
    n2 -->|"always"| n3
"##;
    assert_eq!(dag.to_mermaid(), expected);
}

#[test]
fn labels_are_no_markdown() {
    for (name, label) in [
        ("1. read", "1#46; read"),
        ("- read", "#45; read"),
        ("__all__", "#95;#95;all#95;#95;"),
        ("read_sensors v1.2", "read_sensors v1.2"),
        ("  a  b", "#32;#32;a #32;b"),
        ("a\n---\tb\r", "a<br/>#45;#45;#45;#32;b#32;"),
        ("größe: 5 °C", "größe: 5 #176;C"),
    ] {
        let dag = Dag::new("d").node(Node::llm(name)).build().unwrap();
        assert_eq!(dag.to_mermaid(), format!("flowchart TD\n    n0{{{{\"{label}\"}}}}\n"));
    }
}

#[test]
fn long_text_is_cut() {
    let dag = Dag::new("d").node(Node::llm("x".repeat(300))).build().unwrap();
    let label = format!("{}…", "x".repeat(200));
    assert_eq!(dag.to_mermaid(), format!("flowchart TD\n    n0{{{{\"{label}\"}}}}\n"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_picture_of_any_text_is_well_formed(dag in full_dag()) {
        let picture = dag.to_mermaid();
        let mut lines = picture.split('\n');
        prop_assert_eq!(lines.next(), Some("flowchart TD"));
        prop_assert_eq!(lines.next_back(), Some(""));
        let lines: Vec<&str> = lines.collect();
        let (nodes, edges) = lines.split_at(dag.nodes().len());
        for (i, line) in nodes.iter().enumerate() {
            prop_assert!(is_node(line, i), "{}", line);
        }
        prop_assert_eq!(edges.len(), dag.edges().len());
        for line in edges {
            prop_assert!(is_edge(line, dag.nodes().len()), "{}", line);
        }
    }
}

fn is_node(line: &str, position: usize) -> bool {
    let Some(shape) = line.strip_prefix(&format!("    n{position}")) else {
        return false;
    };
    let brackets = [("[[\"", "\"]]"), ("{{\"", "\"}}"), ("[\"", "\"]")];
    brackets.iter().any(|(open, close)| {
        let label = shape.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
        label.is_some_and(is_label)
    })
}

fn is_edge(line: &str, count: usize) -> bool {
    let is_name = |text: &str| {
        text.strip_prefix('n').and_then(|n| n.parse().ok()).is_some_and(|n: usize| n < count)
    };
    let Some((source, rest)) = line.trim_start().split_once(' ') else {
        return false;
    };
    let Some((arrow, target)) = rest.rsplit_once(' ') else {
        return false;
    };
    let label = arrow.strip_prefix("-->").or_else(|| arrow.strip_prefix("-.->"));
    let is_arrow = label.is_some_and(|label| {
        let text = label.strip_prefix("|\"").and_then(|rest| rest.strip_suffix("\"|"));
        label.is_empty() || text.is_some_and(is_label)
    });
    is_name(source) && is_name(target) && is_arrow
}

/// The inside of quotes: line breaks and numbered characters, and nothing else that could mean
/// something.
fn is_label(label: &str) -> bool {
    let plain = label.replace("<br/>", "");
    let mut parts = plain.split('#');
    let is_plain = |text: &str| {
        !text.contains(['"', '[', ']', '{', '}', '(', ')', '<', '>', '|', '&', '`', '%', ';'])
    };
    let numbered = |part: &str| {
        part.split_once(';').is_some_and(|(number, rest)| {
            number.parse::<u32>().is_ok_and(|n| char::from_u32(n).is_some()) && is_plain(rest)
        })
    };
    is_plain(parts.next().unwrap_or_default()) && parts.all(numbered)
}
