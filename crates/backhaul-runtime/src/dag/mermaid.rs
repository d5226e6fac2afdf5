//! A graph as a picture.

use std::fmt::Write as _;

use super::edge::EdgeCondition;
use super::graph::Dag;
use super::node::{Join, Node, NodeKind};

/// A flowchart from the top down. Nodes are called `n0`, `n1`, … there, so that no id can be
/// taken for a word of the language.
pub(super) fn of(dag: &Dag) -> String {
    let mut text = String::from("flowchart TD\n");
    for (position, node) in dag.nodes.iter().enumerate() {
        let (open, close) = brackets(&node.kind);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "    n{position}{open}\"{}\"{close}", label(node));
    }
    for source in dag.topology.indices() {
        for (edge, target) in dag.outgoing(source) {
            let arrow = arrow(&edge.condition);
            let _ = writeln!(text, "    n{} {arrow} n{}", source.get(), target.get());
        }
    }
    text
}

fn brackets(kind: &NodeKind) -> (&'static str, &'static str) {
    match kind {
        NodeKind::Function { .. } => ("[", "]"),
        NodeKind::Tool { .. } => ("[[", "]]"),
        NodeKind::Llm { .. } => ("{{", "}}"),
    }
}

/// What people call it, what it calls, and how it joins.
fn label(node: &Node) -> String {
    let name = if node.name.is_empty() { &node.id } else { &node.name };
    let mut label = escaped(name);
    if let Some(reference) = node.kind.reference().filter(|reference| reference != name) {
        let _ = write!(label, "<br/>{}", escaped(reference));
    }
    if node.join == Join::Any {
        label.push_str("<br/>after any");
    }
    label
}

fn arrow(condition: &EdgeCondition) -> String {
    match condition {
        EdgeCondition::OnSuccess => "-->".to_owned(),
        EdgeCondition::OnFailure => "-.->|\"on failure\"|".to_owned(),
        EdgeCondition::Always => "-->|\"always\"|".to_owned(),
        EdgeCondition::When(rule) => {
            let operator = rule.operator.as_str().replace('_', " ");
            let mut question = format!("{} {operator}", rule.field);
            if !rule.value.is_null() {
                let _ = write!(question, " {}", rule.value);
            }
            format!("-->|\"{}\"|", escaped(&question))
        }
    }
}

/// Text of any kind as the inside of a quoted label: what might mean something to Mermaid, or to
/// the Markdown that it reads labels as, is written as its number, and a line break as `<br/>`.
fn escaped(text: &str) -> String {
    let mut label = String::with_capacity(text.len());
    let mut characters = text.chars().take(MOST_SHOWN).peekable();
    let mut before = '\n';
    while let Some(character) = characters.next() {
        let after = characters.peek().copied().unwrap_or('\n');
        match character {
            '\n' => label.push_str("<br/>"),
            plain if is_plain(before, plain, after) => label.push(plain),
            control if control.is_control() => label.push_str("#32;"),
            other => _ = write!(label, "#{};", u32::from(other)),
        }
        before = character;
    }
    if text.chars().nth(MOST_SHOWN).is_some() {
        label.push('…');
    }
    label
}

/// Whether a character means itself between these two: a point within a word does, and one that
/// makes a list of `1. read` does not.
fn is_plain(before: char, character: char, after: char) -> bool {
    match character {
        ' ' => !before.is_whitespace(),
        '-' | '_' | '.' | '/' | '=' => before.is_alphanumeric() && after.is_alphanumeric(),
        ',' | ':' => true,
        other => other.is_alphanumeric(),
    }
}

/// So many characters of a text are shown at most.
const MOST_SHOWN: usize = 200;
