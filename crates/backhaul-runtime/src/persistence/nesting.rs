//! How deep what is kept may nest, so that it can be read again.

use backhaul_agent::{Context, ContextPatch, json};
use serde_json::Value;

use super::persistence_error::{PersistenceError, PersistenceErrorKind};
use super::run_step::RunStep;

/// Levels of lists and objects, with room for what stands around them in checkpoints and lines.
const MOST: usize = json::MAX_DEPTH - 24;

/// Whether a context could be read again.
pub(super) fn check_context(context: &Context) -> Result<(), PersistenceError> {
    let deep = Some("the context").filter(|_| context.depth() > MOST);
    refuse(deep.map(str::to_owned))
}

/// Whether a step, and the context after it, could be read again.
pub(super) fn check(step: &RunStep) -> Result<(), PersistenceError> {
    refuse(match step {
        RunStep::Patch(patch) => too_deep(&Value::Null, std::slice::from_ref(patch)),
        RunStep::NodeFinished(node) => too_deep(&node.output, &node.patches),
        _ => None,
    })
}

/// What of that which a node gave could not be read again.
pub(crate) fn too_deep(output: &Value, patches: &[ContextPatch]) -> Option<String> {
    if json::depth(output) > MOST {
        return Some("what it gave".to_owned());
    }
    // What is added to becomes a list, if it is none.
    let depth = |patch: &ContextPatch| patch.keys().len() + 1 + json::depth(&patch.value);
    let deep = patches.iter().find(|patch| depth(patch) > MOST);
    deep.map(|patch| format!("patch {} with its path", patch.id))
}

/// That it is too deep, in words.
pub(crate) fn described(what: &str) -> String {
    format!("{what} nests more than {MOST} levels, which could not be read again")
}

fn refuse(deep: Option<String>) -> Result<(), PersistenceError> {
    deep.map_or(Ok(()), |what| {
        Err(PersistenceError::new(PersistenceErrorKind::TooDeep, described(&what)))
    })
}
