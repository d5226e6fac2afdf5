//! One call, of which no more is read than is asked for.

use std::cell::OnceCell;

use serde_json::Value;

use crate::kind::Kind;
use crate::reads::expr::Fields;
use crate::reads::failure::{Failure, Result};
use crate::reads::feedback;
use crate::reads::index::CallRow;
use crate::reads::json_field;
use crate::reads::path;
use crate::reads::place::Place;
use crate::reads::project_reads::View;
use crate::reads::sql::{Affinity, Cast, Sql};

/// A call.
pub(in crate::reads) struct CallView<'a> {
    pub(in crate::reads) view: &'a View,
    pub(in crate::reads) row: &'a CallRow,
    start: OnceCell<Value>,
    end: OnceCell<Value>,
}

/// Fields with values in them.
const VALUES: [&str; 4] = ["inputs", "output", "attributes", "summary"];

impl<'a> CallView<'a> {
    pub(in crate::reads) fn new(view: &'a View, row: &'a CallRow) -> Self {
        Self { view, row, start: OnceCell::new(), end: OnceCell::new() }
    }

    /// What its start says.
    pub(in crate::reads) fn start(&self) -> Result<&Value> {
        read(&self.start, || self.said_at(self.row.start))
    }

    /// What its end says; `null` while it runs.
    pub(in crate::reads) fn end(&self) -> Result<&Value> {
        if self.row.end == self.row.start {
            return self.start();
        }
        read(&self.end, || self.said_at(self.row.end))
    }

    /// What a record says of this call.
    fn said_at(&self, place: Option<Place>) -> Result<Value> {
        let Some(place) = place else { return Ok(Value::Null) };
        let said = self.view.reads.bodies.value(Kind::Calls, place)?;
        match said["id"] == *self.row.id {
            true => Ok(said),
            false => Err(Failure::Damaged(format!("{} is another call", place.position()))),
        }
    }

    /// The name that it got last, else the one that it began with.
    pub(in crate::reads) fn display_name(&self) -> Result<Option<&str>> {
        match &self.row.name {
            Some(given) => Ok(Some(&given.name)),
            None => Ok(self.start()?["display_name"].as_str()),
        }
    }

    /// What a part of it is called in lists: its display name, or else that of its op.
    pub(in crate::reads) fn trace_name(&self) -> Result<Option<String>> {
        if let Some(name) = self.display_name()?.filter(|name| !name.is_empty()) {
            return Ok(Some(name.to_owned()));
        }
        Ok(self.start()?["op_name"].as_str().map(|name| op_name(name).to_owned()))
    }

    /// Microseconds from its start to its end.
    pub(in crate::reads) fn latency(&self) -> Option<i64> {
        Some(self.row.ended_at?.saturating_sub(self.row.started_at))
    }

    /// One of its values: inputs, output, attributes or summary.
    fn value(&self, name: &str) -> Result<Option<&Value>> {
        let of = match name {
            "inputs" | "attributes" => self.start()?,
            _ => self.end()?,
        };
        Ok(of.get(name))
    }

    /// The value at a path such as `inputs.question`. `None`: it is none of a call's values.
    fn value_at(&self, field: &str) -> Result<Option<Option<&Value>>> {
        let (name, rest) = match field.split_once('.') {
            Some((name, rest)) => (name, Some(rest)),
            None => (field, None),
        };
        if !VALUES.contains(&name) {
            return Ok(None);
        }
        let value = self.value(name)?;
        Ok(Some(match rest {
            Some(rest) => value.and_then(|value| path::get(value, rest)),
            None => value,
        }))
    }

    /// What it is sorted by.
    pub(in crate::reads) fn sort_value(&self, field: &str) -> Result<Sql> {
        if let Some(computed) = self.computed(field)? {
            return Ok(computed);
        }
        match self.value_at(field)? {
            Some(value) => {
                let of_value = if VALUES.contains(&field) { Sql::of_whole } else { Sql::of_json };
                Ok(value.map_or(Sql::Null, of_value))
            }
            None => Ok(self.field(field, None)?.0),
        }
    }

    /// Fields that stand nowhere, but follow from others.
    fn computed(&self, field: &str) -> Result<Option<Sql>> {
        Ok(Some(match field {
            "summary.weave.status" => Sql::of_text(Some(self.row.status())),
            #[expect(clippy::cast_precision_loss, reason = "beyond 285 years")]
            "summary.weave.latency_ms" => {
                Sql::Real(self.latency().unwrap_or_default() as f64 / 1000.0)
            }
            "summary.weave.trace_name" => Sql::of_text(self.trace_name()?.as_deref()),
            _ => return Ok(None),
        }))
    }
}

impl Fields for CallView<'_> {
    fn field(&self, name: &str, cast: Option<Cast>) -> Result<(Sql, Affinity)> {
        if let Some(computed) = self.computed(name)? {
            return Ok((computed, Affinity::None));
        }
        if name.starts_with("feedback.") {
            return feedback::of_call(self.view, &self.row.id, name, cast);
        }
        if let Some(value) = self.value_at(name)? {
            return Ok(json_field::compared(value, cast));
        }
        let time = |micros: Option<i64>| micros.map_or(Sql::Null, Sql::Time);
        let text = |value: &Value| Sql::of_text(value.as_str());
        Ok(match name {
            "id" => (Sql::of_text(Some(&self.row.id)), Affinity::Text),
            "project_id" => {
                (Sql::of_text(Some(&self.view.reads.project.to_string())), Affinity::Text)
            }
            "started_at" => (time(Some(self.row.started_at)), Affinity::Text),
            "ended_at" => (time(self.row.ended_at), Affinity::Text),
            "deleted_at" | "expire_at" => (Sql::Null, Affinity::Text),
            "display_name" => (Sql::of_text(self.display_name()?), Affinity::Text),
            "exception" => (text(&self.end()?["exception"]), Affinity::Text),
            "op_name" | "trace_id" | "parent_id" | "thread_id" | "turn_id" | "wb_user_id"
            | "wb_run_id" => (text(&self.start()?[name]), Affinity::Text),
            "wb_run_step" => (Sql::of_json(&self.start()?[name]), Affinity::Number),
            "wb_run_step_end" => (Sql::of_json(&self.end()?[name]), Affinity::Number),
            _ => return Err(Failure::invalid(format!("calls have no field {name:?}"))),
        })
    }
}

/// The name of an op in its address; what is no address is a name.
pub(in crate::reads) fn op_name(text: &str) -> &str {
    let Some((_, rest)) = crate::refs::parts(text) else { return text };
    let name = rest.split('/').nth(1).unwrap_or(rest);
    name.split(':').next().unwrap_or(name)
}

fn read(cell: &OnceCell<Value>, value: impl FnOnce() -> Result<Value>) -> Result<&Value> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = value()?;
    Ok(cell.get_or_init(|| value))
}
