//! One rule, which may fail without harm.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use super::entry::Entry;

type Points = Box<dyn Fn(&Entry) -> Result<f64, String> + Send + Sync>;

/// A rule that has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailingRule {
    /// Its name.
    pub rule: String,
    /// How it failed first.
    pub reason: String,
}

pub(super) struct Rule {
    name: String,
    points: Points,
    failure: OnceLock<String>,
}

impl Rule {
    pub(super) fn new(
        name: String,
        points: impl Fn(&Entry) -> Result<f64, String> + Send + Sync + 'static,
    ) -> Self {
        Self { name, points: Box::new(points), failure: OnceLock::new() }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What the rule gives an entry; 0 where it fails, which is told of once.
    pub(super) fn points(&self, entry: &Entry) -> f64 {
        // A rule is told of nothing else, so that nothing is left half changed.
        let reason = match catch_unwind(AssertUnwindSafe(|| (self.points)(entry))) {
            Ok(Ok(points)) if points.is_finite() => return points,
            Ok(Ok(points)) => format!("it gave {points}: expected a number"),
            Ok(Err(reason)) => reason,
            Err(panic) => format!("it panicked: {}", text_of(&*panic)),
        };
        if self.failure.set(reason).is_ok() {
            let reason = self.failure.get();
            tracing::warn!(
                rule = self.name,
                reason,
                "a rule of the prioritizer fails: it counts 0"
            );
        }
        0.0
    }

    pub(super) fn failing(&self) -> Option<FailingRule> {
        let reason = self.failure.get()?.clone();
        Some(FailingRule { rule: self.name.clone(), reason })
    }
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
