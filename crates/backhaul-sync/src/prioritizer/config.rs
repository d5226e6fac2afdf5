//! Rules as configuration.

use std::borrow::Cow;
use std::cmp::Ordering;

use backhaul_store::{Choice, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::entry::Entry;
use super::field::{FIELDS, Field, Kind, Scalar};
use super::lane_scores::LaneScores;
use super::rule::Rule;
use crate::options::OptionError;

/// A prioritizer as configuration, in any format that serde reads.
///
/// ```toml
/// oldest_every = 10               # of ten batches one begins with the oldest record
///
/// [[rules]]
/// name = "priority"               # points where a comparison holds
/// field = "metadata.critical"
/// compare = "=="
/// value = true
/// points = 100
///
/// [[rules]]
/// name = "recency"                # points divided by the field, where that is above 1
/// field = "age_hours"
/// points_divided = 50
///
/// [[rules]]
/// name = "waiting"                # points for each unit of the field, at most 30
/// field = "age_hours"
/// points_per_unit = 2
/// cap = 30
///
/// [lanes]                         # the least score of each lane
/// critical = 1000
/// high = 100
/// normal = 0
/// low = -100
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrioritizerConfig {
    /// The rules; their points are summed. Default: none.
    pub rules: Vec<RuleConfig>,
    /// The least score of each lane.
    pub lanes: LaneScores,
    /// Records in the window of a lane; 1 to 4096. Default: 256.
    pub window_records: usize,
    /// The window ends with the record with which it reaches so many bytes. Default: 32 MB.
    pub window_bytes: usize,
    /// Of so many batches one begins with the record that has waited longest, and every place
    /// of this number in a batch goes to the oldest. Default: 10.
    pub oldest_every: u32,
}

impl Default for PrioritizerConfig {
    fn default() -> Self {
        let Choice { window_records, window_bytes, oldest_every } = Choice::default();
        let (rules, lanes) = (Vec::new(), LaneScores::default());
        Self { rules, lanes, window_records, window_bytes, oldest_every }
    }
}

impl PrioritizerConfig {
    pub(super) fn choice(&self) -> Choice {
        let Self { window_records, window_bytes, oldest_every, .. } = *self;
        Choice { window_records, window_bytes, oldest_every }
    }
}

/// A rule as configuration. It gives points in one of three ways: `points` where a
/// comparison holds, `points_per_unit`, or `points_divided`. A record that has nothing in
/// the field gets 0.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    /// Names the rule where it is spoken of.
    pub name: String,
    /// What it looks at: `run_id`, `metadata.KEY`, `age_hours`, `size_kb`, `success`,
    /// `attempts`, `enqueued_at` or `critical`.
    pub field: String,
    /// With `points`: `==`, `!=`, `<`, `<=`, `>` or `>=`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare: Option<String>,
    /// With `points`: what the field is compared with. A time is given as a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// Given where the comparison holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points: Option<f64>,
    /// Given for each unit of the field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points_per_unit: Option<f64>,
    /// With `points_per_unit`: the most that is given, or taken. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap: Option<f64>,
    /// Divided by the field where that is above 1, and given whole where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points_divided: Option<f64>,
}

/// How a field stands to a value.
#[derive(Clone, Copy)]
struct Comparison {
    text: &'static str,
    holds: fn(Ordering) -> bool,
    /// Says more than whether two are the same.
    orders: bool,
}

const COMPARISONS: [Comparison; 6] = [
    Comparison { text: "==", holds: Ordering::is_eq, orders: false },
    Comparison { text: "!=", holds: Ordering::is_ne, orders: false },
    Comparison { text: "<", holds: Ordering::is_lt, orders: true },
    Comparison { text: "<=", holds: Ordering::is_le, orders: true },
    Comparison { text: ">", holds: Ordering::is_gt, orders: true },
    Comparison { text: ">=", holds: Ordering::is_ge, orders: true },
];

impl RuleConfig {
    /// The rule, where it makes sense.
    pub(super) fn to_rule(&self) -> Result<Rule, OptionError> {
        self.compile().map_err(|message| {
            OptionError::inside("rules", format!("rule {:?}: {message}", self.name))
        })
    }

    fn compile(&self) -> Result<Rule, String> {
        let field = Field::parse(&self.field)
            .ok_or_else(|| format!("there is no field {:?}: expected {FIELDS}", self.field))?;
        match (self.points, self.points_per_unit, self.points_divided) {
            (Some(points), None, None) => self.comparing(field, finite("points", points)?),
            (None, Some(points), None) => self.per_unit(field, finite("points_per_unit", points)?),
            (None, None, Some(points)) => self.divided(field, finite("points_divided", points)?),
            _ => Err("expected one of points, points_per_unit and points_divided".to_owned()),
        }
    }

    fn comparing(&self, field: Field, points: f64) -> Result<Rule, String> {
        self.refuse("points", &[("cap", self.cap.is_some())])?;
        let comparison = self.comparison()?;
        let Some(value) = &self.value else {
            return Err("value is missing: expected what the field is compared with".to_owned());
        };
        let value = self.operand(&field, value)?;
        if comparison.orders && value.kind() == Kind::Flag {
            let (name, found) = (&self.field, comparison.text);
            return Err(format!(
                "compare is {found:?}: expected == or !=, because {name} is true or false"
            ));
        }
        let name = self.field.clone();
        Ok(Rule::new(self.name.clone(), move |entry| {
            let Some(found) = read(&field, &name, value.kind(), entry)? else { return Ok(0.0) };
            let holds = found.compare(&value).is_some_and(comparison.holds);
            Ok(if holds { points } else { 0.0 })
        }))
    }

    fn per_unit(&self, field: Field, points: f64) -> Result<Rule, String> {
        let cap = finite("cap", self.cap.unwrap_or(f64::MAX))?;
        if cap < 0.0 {
            return Err(format!("cap is {cap}: expected at least 0"));
        }
        self.of_number("points_per_unit", field, move |units| (units * points).clamp(-cap, cap))
    }

    fn divided(&self, field: Field, points: f64) -> Result<Rule, String> {
        self.refuse("points_divided", &[("cap", self.cap.is_some())])?;
        self.of_number("points_divided", field, move |units| points / units.max(1.0))
    }

    fn of_number(
        &self,
        form: &str,
        field: Field,
        points: impl Fn(f64) -> f64 + Send + Sync + 'static,
    ) -> Result<Rule, String> {
        self.refuse(form, &[("compare", self.compare.is_some()), ("value", self.value.is_some())])?;
        if let Some(kind) = field.kind().filter(|kind| *kind != Kind::Number) {
            let (name, kind) = (&self.field, kind.name());
            return Err(format!(
                "{form} needs a number: expected another field, because {name} is {kind}"
            ));
        }
        let name = self.field.clone();
        Ok(Rule::new(self.name.clone(), move |entry| {
            match read(&field, &name, Kind::Number, entry)? {
                Some(Scalar::Number(units)) => Ok(points(units)),
                _ => Ok(0.0),
            }
        }))
    }

    fn comparison(&self) -> Result<Comparison, String> {
        let expected = "expected ==, !=, <, <=, > or >=";
        let Some(text) = &self.compare else {
            return Err(format!("compare is missing: {expected}"));
        };
        let known = COMPARISONS.into_iter().find(|comparison| comparison.text == text);
        known.ok_or_else(|| format!("compare is {text:?}: {expected}"))
    }

    /// The value to compare with, as what the field holds.
    fn operand(&self, field: &Field, value: &Value) -> Result<Scalar<'static>, String> {
        let given = match Scalar::of(value) {
            Some(Scalar::Text(text)) => Some(Scalar::Text(Cow::Owned(text.into_owned()))),
            Some(Scalar::Number(number)) => Some(Scalar::Number(number)),
            Some(Scalar::Flag(flag)) => Some(Scalar::Flag(flag)),
            Some(Scalar::Time(_)) | None => None,
        };
        let fitting = match (given, field.kind()) {
            (Some(Scalar::Text(text)), Some(Kind::Time)) => {
                Timestamp::parse(&text).map(Scalar::Time)
            }
            (Some(given), Some(kind)) => Some(given).filter(|given| given.kind() == kind),
            (given, None) => given,
            (None, Some(_)) => None,
        };
        fitting.ok_or_else(|| match field.kind() {
            Some(kind) => {
                format!("value is {value}: expected {}, as {} is", kind.name(), self.field)
            }
            None => format!("value is {value}: expected a text, a number, true or false"),
        })
    }

    /// Refuses settings that mean nothing in this form.
    fn refuse(&self, form: &str, settings: &[(&str, bool)]) -> Result<(), String> {
        match settings.iter().find(|(_, is_there)| *is_there) {
            Some((setting, _)) => Err(format!("{setting} means nothing with {form}: leave it out")),
            None => Ok(()),
        }
    }
}

/// What an entry has in a field. `Ok(None)`: nothing.
fn read<'a>(
    field: &Field,
    name: &str,
    expected: Kind,
    entry: &'a Entry,
) -> Result<Option<Scalar<'a>>, String> {
    match field.read(entry) {
        Some(found) if found.kind() != expected => {
            Err(format!("{name} is {}: expected {}", found.kind().name(), expected.name()))
        }
        found => Ok(found),
    }
}

fn finite(setting: &str, number: f64) -> Result<f64, String> {
    if number.is_finite() {
        Ok(number)
    } else {
        Err(format!("{setting} is {number}: expected a number"))
    }
}
