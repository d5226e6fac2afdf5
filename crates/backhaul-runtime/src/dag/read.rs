//! A graph from JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::builder::DagBuilder;
use super::condition::{Condition, Operator};
use super::edge::{Edge, EdgeCondition};
use super::error::{DagError, DagProblem, DagProblemKind};
use super::fields::Fields;
use super::node::{Input, Join, Node};
use super::{names, repeated_keys};

pub(super) fn parse_json(text: &str) -> Result<Value, DagError> {
    let value = serde_json::from_str(text).map_err(|error| {
        let message = format!("it is not JSON: {error}");
        DagError::new("", vec![DagProblem::new(DagProblemKind::Syntax, "", message)])
    })?;
    let repeated = repeated_keys::of(text);
    if repeated.is_empty() { Ok(value) } else { Err(DagError::new("", repeated)) }
}

/// What stands in the document, and what is wrong with how it stands there.
pub(super) fn read(value: Value) -> DagBuilder {
    let mut problems = Vec::new();
    let mut fields = Fields::new(String::new(), value, &mut problems);
    let mut dag = DagBuilder::new(fields.required_text("name"));
    dag.description = fields.text("description").unwrap_or_default();
    dag.entry = fields.text("entry_node");
    dag.metadata = fields.object("metadata");
    dag.nodes = each(&mut fields, "nodes", node);
    dag.edges = each(&mut fields, "edges", edge);
    fields.finish();
    dag.problems = problems;
    dag
}

fn each<T>(
    fields: &mut Fields<'_>,
    key: &'static str,
    read: fn(String, Value, &mut Vec<DagProblem>) -> T,
) -> Vec<T> {
    let items = fields.list(key).into_iter().enumerate();
    items.map(|(i, item)| read(format!("{key}[{i}]"), item, fields.problems())).collect()
}

fn node(at: String, value: Value, problems: &mut Vec<DagProblem>) -> Node {
    let mut fields = Fields::new(at, value, problems);
    let id = fields.required_text("id");
    let Some(mut node) = of_type(&mut fields, &id) else {
        return Node::llm(id); // Its keys depend on its type.
    };
    if let Some(name) = fields.text("name") {
        node.name = name;
    }
    node.description = fields.text("description").unwrap_or_default();
    node.config = fields.object("config");
    node.input_mapping = input_mapping(&mut fields);
    node.output_key = fields.text("output_key").filter(|path| !path.is_empty());
    node.max_attempts = max_attempts(&mut fields).unwrap_or(node.max_attempts);
    node.timeout = timeout(&mut fields).unwrap_or(node.timeout);
    node.join = join(&mut fields);
    for (key, instead) in UPSTREAM_KEYS {
        fields.nothing(key, instead);
    }
    fields.finish();
    node
}

/// Keys of upstream's nodes that must be empty, with what is done instead.
const UPSTREAM_KEYS: [(&str, &str); 4] = [
    ("parallel_nodes", "nodes that do not wait for each other run at the same time"),
    ("routes", "use edges with the condition `json_rule`"),
    ("structured_output", "say it in `config`"),
    ("checkpoint_enabled", "checkpoints are the executor's"),
];

/// Types of upstream's nodes that there are none of, with what is done instead.
const UPSTREAM_TYPES: [(&str, &str); 5] = [
    ("router", "use edges with the condition `json_rule` out of the node that decides"),
    ("conditional", "use edges with the condition `json_rule` out of the node before it"),
    ("parallel", "nodes that do not wait for each other run at the same time"),
    ("loop", "repeat it within a function, or run the graph again"),
    ("checkpoint", "leave it out: checkpoints are the executor's"),
];

/// The types that there are.
const TYPES: [&str; 5] = ["function", "tool", "llm", "agent", "skill"];

/// A node of the type that stands there, or a problem. What it calls is, by default, called as
/// the node is.
fn of_type(fields: &mut Fields<'_>, id: &str) -> Option<Node> {
    let kind = fields.required_text("type");
    match kind.as_str() {
        "function" | "agent" | "skill" => Some(Node::function(id, reference(fields, id))),
        "tool" => Some(Node::tool(id, reference(fields, id))),
        "llm" => {
            let node = Node::llm(id).prompt(fields.text("prompt").unwrap_or_default());
            Some(fields.text("system").into_iter().fold(node, Node::system))
        }
        other => {
            report_type(fields, other);
            None
        }
    }
}

fn reference(fields: &mut Fields<'_>, id: &str) -> String {
    fields.text("ref_id").filter(|name| !name.is_empty()).unwrap_or_else(|| id.to_owned())
}

fn report_type(fields: &mut Fields<'_>, found: &str) {
    match UPSTREAM_TYPES.iter().find(|(name, _)| *name == found) {
        Some((name, instead)) => {
            let message = format!("there are no nodes of type `{name}`; {instead}");
            fields.report(DagProblemKind::Unsupported, "type", message);
        }
        None if found.is_empty() => {} // It is missing, which is reported.
        None => {
            let hint = names::hint(found, TYPES.into_iter());
            let message = format!("it is `{found}`; expected function, tool or llm{hint}");
            fields.report(DagProblemKind::InvalidValue, "type", message);
        }
    }
}

/// Text is a path in the context, and `{"value": …}` is a value.
fn input_mapping(fields: &mut Fields<'_>) -> BTreeMap<String, Input> {
    let mut inputs = BTreeMap::new();
    for (argument, value) in fields.object("input_mapping") {
        let input = match value {
            Value::String(path) => Some(Input::Path(path)),
            Value::Object(map) => literal(map),
            _ => None,
        };
        match input {
            Some(input) => _ = inputs.insert(argument, input),
            None => fields.report(
                DagProblemKind::InvalidValue,
                &format!("input_mapping.{argument}"),
                r#"expected a path in the context, or {"value": …} for a value"#,
            ),
        }
    }
    inputs
}

fn literal(mut map: Map<String, Value>) -> Option<Input> {
    let value = map.shift_remove("value")?;
    map.is_empty().then_some(Input::Value(value))
}

/// All attempts, the first included; upstream calls that `max_retries`, and counts 0 as 1.
fn max_attempts(fields: &mut Fields<'_>) -> Option<u32> {
    let own = fields.count("max_attempts");
    let upstream = fields.count("max_retries").map(|attempts| attempts.max(1));
    if own.is_some() && upstream.is_some() {
        let message = "`max_attempts` says how often the node is tried; keep that alone";
        fields.report(DagProblemKind::InvalidValue, "max_retries", message);
    }
    match fields.flag("retry_on_failure") {
        Some(false) => Some(1),
        _ => own.or(upstream),
    }
}

fn timeout(fields: &mut Fields<'_>) -> Option<Option<Duration>> {
    let expected = "seconds, or `none` for no limit";
    fields.typed("timeout_seconds", expected, |value| match &value {
        Value::String(text) if text == "none" => Ok(None),
        _ => seconds(&value).map(Some).ok_or(value),
    })
}

fn seconds(value: &Value) -> Option<Duration> {
    match value.as_u64() {
        Some(whole) => Some(Duration::from_secs(whole)),
        None => Duration::try_from_secs_f64(value.as_f64()?).ok(),
    }
}

fn join(fields: &mut Fields<'_>) -> Join {
    let join = fields.typed("join", "`all` or `any`", |value| match value.as_str() {
        Some("all") => Ok(Join::All),
        Some("any") => Ok(Join::Any),
        _ => Err(value),
    });
    join.unwrap_or_default()
}

fn edge(at: String, value: Value, problems: &mut Vec<DagProblem>) -> Edge {
    let mut fields = Fields::new(at, value, problems);
    let source = fields.required_text("source");
    let target = fields.required_text("target");
    let condition = edge_condition(&mut fields);
    fields.nothing("metadata", "use the `metadata` of the graph");
    fields.finish();
    Edge { source, target, condition }
}

fn edge_condition(fields: &mut Fields<'_>) -> EdgeCondition {
    let kind = fields.text("condition").unwrap_or_else(|| "on_success".to_owned());
    let rule = fields.value("condition_rule");
    if rule.is_some() && kind != "json_rule" {
        let message = format!("it goes with the condition `json_rule`, and this is `{kind}`");
        fields.report(DagProblemKind::InvalidValue, "condition_rule", message);
    }
    match kind.as_str() {
        "on_success" => EdgeCondition::OnSuccess,
        "on_failure" => EdgeCondition::OnFailure,
        "always" => EdgeCondition::Always,
        "json_rule" => condition_rule(fields, rule),
        other => {
            let kinds = ["on_success", "on_failure", "always", "json_rule"];
            let hint = names::hint(other, kinds.into_iter());
            let message = format!(
                "it is `{other}`; expected on_success, on_failure, always or json_rule{hint}"
            );
            fields.report(DagProblemKind::InvalidValue, "condition", message);
            EdgeCondition::default()
        }
    }
}

fn condition_rule(fields: &mut Fields<'_>, rule: Option<Value>) -> EdgeCondition {
    let Some(rule) = rule else {
        let message = "it is missing; give `field`, `operator` and `value`";
        fields.report(DagProblemKind::InvalidValue, "condition_rule", message);
        return EdgeCondition::default();
    };
    let mut rule = Fields::new(fields.at("condition_rule"), rule, fields.problems());
    let field = rule.required_text("field");
    let operator = operator(&mut rule);
    let value = rule.value("value").unwrap_or(Value::Null);
    rule.finish();
    EdgeCondition::When(Condition { field, operator, value })
}

fn operator(rule: &mut Fields<'_>) -> Operator {
    let found = rule.required_text("operator");
    if let Some(operator) = Operator::ALL.into_iter().find(|known| known.as_str() == found) {
        return operator;
    }
    if !found.is_empty() {
        let hint = names::hint(&found, Operator::ALL.into_iter().map(Operator::as_str));
        let message = format!("there is no operator `{found}`{hint}");
        rule.report(DagProblemKind::InvalidValue, "operator", message);
    }
    Operator::Equals
}
