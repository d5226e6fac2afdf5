//! References: strings such as `weave:///entity/project/object/name:digest`.

use serde_json::Value;

use crate::project::ProjectId;

/// How references from outside begin.
pub const SCHEME: &str = "weave:///";
/// How a server that has projects by internal names keeps them.
pub const INTERNAL_SCHEME: &str = "weave-trace-internal:///";

/// The project that a reference is into, and the rest of it, such as `object/name:digest`.
/// `None`: it is no reference.
///
/// ```
/// use backhaul_weave::refs;
/// let (project, rest) = refs::parts("weave:///me/mine/call/0192f3a4").unwrap();
/// assert_eq!((project.to_string().as_str(), rest), ("me/mine", "call/0192f3a4"));
/// assert!(refs::parts("weave is nice").is_none());
/// ```
pub fn parts(text: &str) -> Option<(ProjectId, &str)> {
    let path = text.strip_prefix(SCHEME)?;
    let mut parts = path.splitn(3, '/');
    let (entity, project, rest) = (parts.next()?, parts.next()?, parts.next()?);
    Some((ProjectId::new(entity, project).ok()?, rest))
}

/// Rewrites every text in `value` that is a reference, at any depth, as `replace` says; where
/// it gives `None` the reference stays. Keys are left alone. Says whether anything changed.
///
/// ```
/// use backhaul_weave::refs;
/// let mut value = serde_json::json!({"rows": "weave:///me/mine/table/18cd", "n": [1, "text"]});
/// let changed = refs::rewrite(&mut value, &mut |project, rest| {
///     (project.entity() == "me").then(|| format!("weave-trace-internal:///UHJv/{rest}"))
/// });
/// assert!(changed);
/// assert_eq!(value["rows"], "weave-trace-internal:///UHJv/table/18cd");
/// ```
pub fn rewrite(
    value: &mut Value,
    replace: &mut dyn FnMut(&ProjectId, &str) -> Option<String>,
) -> bool {
    let mut changed = false;
    let mut left = vec![value];
    // A stack of its own: values may nest as deep as their writer liked.
    while let Some(value) = left.pop() {
        match value {
            Value::String(text) => {
                let new = parts(text).and_then(|(project, rest)| replace(&project, rest));
                if let Some(new) = new {
                    *text = new;
                    changed = true;
                }
            }
            Value::Array(items) => left.extend(items),
            Value::Object(map) => left.extend(map.values_mut()),
            _ => {}
        }
    }
    changed
}
