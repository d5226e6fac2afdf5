//! Feedback on calls and other things.

use std::collections::{BTreeSet, HashSet};

use redb::ReadableTable as _;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::calls::{Direction, SortBy, or_default, page};
use super::expr::{Expr, Fields, MANY_PER_CALL};
use super::failure::{Failure, Result, if_there};
use super::index::{FEEDBACK, FEEDBACK_OF, PURGES, hash};
use super::place::Place;
use super::project_reads::View;
use super::sql::{Affinity, Cast, Sql};
use super::{json_field, path, time};
use crate::entry::EntryType;
use crate::kind::Kind;
use crate::refs;

/// All fields, in the server's order.
const FIELDS: [&str; 19] = [
    "id",
    "project_id",
    "weave_ref",
    "wb_user_id",
    "creator",
    "created_at",
    "feedback_type",
    "payload",
    "annotation_ref",
    "runnable_ref",
    "call_ref",
    "trigger_ref",
    "queue_id",
    "scorer_tags",
    "scorer_tag_reasons",
    "scorer_tag_confidences",
    "scorer_ratings",
    "scorer_rating_reasons",
    "scorer_rating_confidences",
];
/// Those of the feedback that comes with a call leave these out.
const NOT_WITH_CALLS: [&str; 2] = ["project_id", "queue_id"];
/// A list, which is empty where nothing is said.
const LIST: &str = "scorer_tags";
/// Fields with values in them; the ones that are maps are empty where nothing is said.
const VALUES: [&str; 6] = [
    "payload",
    "scorer_tag_reasons",
    "scorer_tag_confidences",
    "scorer_ratings",
    "scorer_rating_reasons",
    "scorer_rating_confidences",
];

/// The body of `feedback/query`.
#[derive(Debug, Deserialize, Default)]
#[serde(default)]
pub(super) struct FeedbackQuery {
    #[serde(deserialize_with = "or_default")]
    fields: Vec<String>,
    query: Value,
    #[serde(deserialize_with = "or_default")]
    sort_by: Vec<SortBy>,
    limit: Option<i64>,
    offset: Option<i64>,
}

/// One piece of feedback.
struct Feedback<'a> {
    view: &'a View,
    at: i64,
    data: Value,
}

/// What was asked for.
pub(super) fn query(view: &View, query: &FeedbackQuery) -> Result<Vec<Value>> {
    let condition = Expr::of_query(&query.query)?;
    let mut found = Vec::new();
    for feedback in candidates(view, condition.as_ref())? {
        if condition.as_ref().map_or(Ok(true), |condition| condition.holds(&feedback))? {
            let values = query.sort_by.iter().map(|by| feedback.sort_values(&by.field));
            found.push((values.collect::<Result<Vec<_>>>()?, feedback));
        }
    }
    found.sort_by(|(one, _), (other, _)| compare(one, other, &query.sort_by));
    let fields: Vec<&str> = match query.fields.as_slice() {
        [] => FIELDS.to_vec(),
        fields => fields.iter().map(String::as_str).collect(),
    };
    // Unlike for calls, a limit of 0 is one.
    let (skipped, taken) = page(query.limit, query.offset);
    let taken = if query.limit == Some(0) { 0 } else { taken };
    let found = found.iter().skip(skipped).take(taken);
    found.map(|(_, feedback)| feedback.to_json(&fields)).collect()
}

/// The feedback on a call, as it comes with the call.
pub(super) fn on_call(view: &View, id: &str) -> Result<Vec<Value>> {
    let fields: Vec<&str> =
        FIELDS.into_iter().filter(|field| !NOT_WITH_CALLS.contains(field)).collect();
    about(view, &[call_ref(view, id)])?.iter().map(|feedback| feedback.to_json(&fields)).collect()
}

/// A field such as `feedback.[wandb.runnable.judge].payload.output.score` of a call: that of
/// the first feedback of the kind; of all of them with a comma between, where `*` is asked
/// for or a call has many of the kind.
pub(super) fn of_call(
    view: &View,
    id: &str,
    field: &str,
    cast: Option<Cast>,
) -> Result<(Sql, Affinity)> {
    let parts = field.strip_prefix("feedback.[").and_then(|rest| rest.split_once("].")).filter(
        |(_, path)| {
            let top = path.split('.').next().unwrap_or_default();
            ["payload", "runnable_ref", "trigger_ref"].contains(&top)
        },
    );
    let Some((kind, path)) = parts else {
        return Err(Failure::invalid(format!(
            "{field:?} is no field of feedback: expected such as feedback.[KIND].payload.output"
        )));
    };
    let mut found = Vec::new();
    for feedback in about(view, &[call_ref(view, id)])? {
        if kind == "*" || feedback.data["feedback_type"] == kind {
            found.extend(path::get(&feedback.data, path).filter(|value| !value.is_null()).cloned());
        }
    }
    if kind == "*" || MANY_PER_CALL.contains(&kind) {
        let texts: Vec<String> = found.iter().filter_map(word).collect();
        let joined = (!texts.is_empty()).then(|| texts.join(","));
        return Ok((Sql::of_text(joined.as_deref()), Affinity::None));
    }
    let first = found.into_iter().next();
    match cast {
        Some(cast) => Ok(json_field::compared(first.as_ref(), Some(cast))),
        None => Ok((
            first.as_ref().map_or(Sql::Null, |value| match value {
                Value::Bool(is) => Sql::of_text(Some(&is.to_string())),
                other => Sql::of_json(other),
            }),
            Affinity::None,
        )),
    }
}

fn word(value: &Value) -> Option<String> {
    match value {
        Value::Bool(is) => Some(is.to_string()),
        other => Sql::of_json(other).to_text(),
    }
}

fn call_ref(view: &View, id: &str) -> String {
    format!("{}{}/call/{id}", refs::SCHEME, view.reads.project)
}

/// All feedback for which a condition may hold, in the order in which it came, but what was
/// removed.
fn candidates<'a>(view: &'a View, condition: Option<&Expr>) -> Result<Vec<Feedback<'a>>> {
    match condition.and_then(|condition| condition.demanded("weave_ref")) {
        Some(addresses) => about(view, &addresses),
        None => {
            let mut places = Vec::new();
            for entry in view.tables.open_table(FEEDBACK)?.iter()? {
                let (at, place) = entry?.0.value();
                places.push((at, Place(place)));
            }
            Purges::read(view)?.pass_all(view, places)
        }
    }
}

/// The feedback on some things, in the order in which it came.
fn about<'a>(view: &'a View, addresses: &[String]) -> Result<Vec<Feedback<'a>>> {
    let table = view.tables.open_table(FEEDBACK_OF)?;
    let mut places = BTreeSet::new();
    for address in addresses {
        let hash = hash(address);
        for entry in table.range((hash, i64::MIN, 0)..=(hash, i64::MAX, u64::MAX))? {
            let (_, at, place) = entry?.0.value();
            places.insert((at, Place(place)));
        }
    }
    let mut found = Purges::read(view)?.pass_all(view, places)?;
    let is_meant = |address: &str| addresses.iter().any(|one| one == address);
    found.retain(|feedback| feedback.data["weave_ref"].as_str().is_some_and(is_meant));
    Ok(found)
}

/// What removed feedback: when, by which record, and which.
struct Purges(Vec<(i64, Place, Expr)>);

impl Purges {
    fn read(view: &View) -> Result<Self> {
        let mut purges = Vec::new();
        for entry in view.tables.open_table(PURGES)?.iter()? {
            let (at, place) = entry?.0.value();
            let place = Place(place);
            let entry = if_there(view.reads.bodies.entry(Kind::Feedback, place))?;
            let Some(entry) = entry else { continue };
            let data = entry.value();
            let query = match entry.entry_type() {
                EntryType::FeedbackReplace => {
                    json!({"$expr": {"$eq": [{"$getField": "id"}, {"$literal": data["feedback_id"]}]}})
                }
                _ => data["query"].clone(),
            };
            // One that says nothing that can be understood removes nothing.
            purges.extend(Expr::of_query(&query).ok().flatten().map(|expr| (at, place, expr)));
        }
        Ok(Self(purges))
    }

    /// The feedback at places, but what was removed. What came twice, since a client that heard
    /// no answer sent it again, is there once.
    fn pass_all<'a>(
        &self,
        view: &'a View,
        places: impl IntoIterator<Item = (i64, Place)>,
    ) -> Result<Vec<Feedback<'a>>> {
        let (mut found, mut ids) = (Vec::new(), HashSet::new());
        for (at, place) in places {
            let feedback = self.pass(view, at, place)?;
            let is_new = |one: &Feedback<'_>| {
                one.data["id"].as_str().is_none_or(|id| ids.insert(id.to_owned()))
            };
            found.extend(feedback.filter(is_new));
        }
        Ok(found)
    }

    /// The feedback at a place, unless it was removed after it had come.
    fn pass<'a>(&self, view: &'a View, at: i64, place: Place) -> Result<Option<Feedback<'a>>> {
        let data = if_there(view.reads.bodies.value(Kind::Feedback, place))?;
        let Some(data) = data else { return Ok(None) };
        let feedback = Feedback { view, at, data };
        let later = self.0.iter().filter(|(purged, by, _)| (*purged, *by) > (at, place));
        for (_, _, condition) in later {
            if condition.holds(&feedback)? {
                return Ok(None);
            }
        }
        Ok(Some(feedback))
    }
}

impl Feedback<'_> {
    fn to_json(&self, fields: &[&str]) -> Result<Value> {
        let fields = fields.iter().map(|field| Ok(((*field).to_owned(), self.get(field)?)));
        Ok(Value::Object(fields.collect::<Result<Map<_, _>>>()?))
    }

    fn get(&self, field: &str) -> Result<Value> {
        let top = field.split('.').next().unwrap_or(field);
        if !FIELDS.contains(&top) || (top != field && !VALUES.contains(&top)) {
            return Err(Failure::invalid(format!("feedback has no field {field:?}")));
        }
        Ok(match field {
            "project_id" => self.view.reads.project.to_string().into(),
            "created_at" => time::to_text(self.at).into(),
            _ if self.data[top].is_null() && top == LIST => json!([]),
            _ if self.data[top].is_null() && VALUES.contains(&field) => json!({}),
            _ => path::get(&self.data, field).cloned().unwrap_or_default(),
        })
    }

    /// What it is sorted by: fields of values by whether they are there, as numbers, and
    /// as texts.
    fn sort_values(&self, field: &str) -> Result<[Sql; 3]> {
        let value = self.get(field)?;
        let found = Sql::of_json(&value);
        if !VALUES.iter().any(|top| field == *top || field.starts_with(&format!("{top}."))) {
            return Ok([Sql::Null, found, Sql::Null]);
        }
        let number = json_field::compared(Some(&value), Some(Cast::Double)).0;
        Ok([Sql::of_bool(Some(found != Sql::Null)), number, found.cast(Cast::Text)])
    }
}

fn compare(one: &[[Sql; 3]], other: &[[Sql; 3]], sort_by: &[SortBy]) -> std::cmp::Ordering {
    let pairs = one.iter().zip(other).zip(sort_by);
    let orders = pairs.flat_map(|((one, other), by)| {
        let directions = [Direction::Descending, by.direction, by.direction];
        one.iter().zip(other).zip(directions).map(|((one, other), by)| by.apply(one.order(other)))
    });
    orders.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
}

impl Fields for Feedback<'_> {
    fn field(&self, name: &str, _cast: Option<Cast>) -> Result<(Sql, Affinity)> {
        Ok(match name {
            "created_at" => (Sql::Time(self.at), Affinity::Text),
            _ if name.contains('.') => (Sql::of_json(&self.get(name)?), Affinity::None),
            _ => (Sql::of_json(&self.get(name)?), Affinity::Text),
        })
    }

    fn null_equals_nothing(&self) -> bool {
        false
    }

    fn words(&self, name: &str) -> Option<Vec<String>> {
        let list = self.data[name].as_array().filter(|_| name == LIST)?;
        Some(list.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect())
    }
}
