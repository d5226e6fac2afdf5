//! Keys that stand twice in an object of JSON, of which a reader would take one and drop the
//! other without a word. TOML has none.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::error::{DagProblem, DagProblemKind};

/// Every key that stands a second time in its object, in a text that is JSON and nests no deeper
/// than a reader takes.
pub(super) fn of(text: &str) -> Vec<DagProblem> {
    let mut problems = Vec::new();
    find(String::new(), text.trim_start(), &mut problems);
    problems
}

fn find(at: String, text: &str, problems: &mut Vec<DagProblem>) {
    if text.starts_with('{') {
        let Entries(entries) = serde_json::from_str(text).unwrap_or_default();
        let mut seen = HashSet::new();
        for (key, value) in entries {
            let at = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
            if !seen.insert(key) {
                let message = "this key stands twice in one object; keep one";
                problems.push(DagProblem::new(DagProblemKind::RepeatedKey, at.clone(), message));
            }
            find(at, value.get(), problems);
        }
    } else if text.starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
        for (position, item) in items.into_iter().enumerate() {
            find(format!("{at}[{position}]"), item.get(), problems);
        }
    }
}

/// An object as it stands there.
#[derive(Default)]
struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Entries(entries))
    }
}
