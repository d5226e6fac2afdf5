//! What can be asked of calls.

use serde::Deserialize;
use serde_json::Value;

/// Which calls of a project are wanted, in what order, and what of them: the body of
/// `calls/stream_query`, without its `project_id`. All that is not said is as there.
///
/// ```
/// use backhaul_weave::{CallsFilter, CallsQuery, SortBy};
/// let newest = CallsQuery {
///     filter: CallsFilter { trace_roots_only: Some(true), ..Default::default() },
///     sort_by: Some(vec![SortBy::descending("started_at")]),
///     limit: Some(50),
///     ..Default::default()
/// };
/// let read: CallsQuery = serde_json::from_str(
///     r#"{"filter": {"trace_roots_only": true}, "limit": 50,
///         "sort_by": [{"field": "started_at", "direction": "desc"}]}"#,
/// )?;
/// assert_eq!(read, newest);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct CallsQuery {
    /// What calls are found by.
    #[serde(deserialize_with = "or_default")]
    pub filter: CallsFilter,
    /// A condition: `{"$expr": …}`. Default: none.
    pub query: Value,
    /// At most so many; none, 0 and less: all.
    pub limit: Option<i64>,
    /// So many are left out first.
    pub offset: Option<i64>,
    /// The order. Default: as they started.
    pub sort_by: Option<Vec<SortBy>>,
    /// The fields that are wanted, beside those that every call has. Default: all.
    pub columns: Option<Vec<String>>,
    /// Fields that hold addresses, in whose place what they lead to is wanted.
    #[serde(deserialize_with = "or_default")]
    pub expand_columns: Vec<String>,
    /// Whether the feedback on each call is wanted, as `summary.weave.feedback`.
    #[serde(deserialize_with = "or_default")]
    pub include_feedback: bool,
    /// Whether `storage_size_bytes` is wanted.
    #[serde(deserialize_with = "or_default")]
    pub include_storage_size: bool,
}

/// What calls are found by. A call is wanted that has one of the values of each list that
/// is there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "each is named as the field of a call that it is about")]
pub struct CallsFilter {
    /// With `:*` at the end: any version.
    pub op_names: Option<Vec<String>>,
    /// Addresses that the inputs hold, at any depth. With `:*` at the end: any version.
    pub input_refs: Option<Vec<String>>,
    /// The same of the output.
    pub output_refs: Option<Vec<String>>,
    pub parent_ids: Option<Vec<String>>,
    pub trace_ids: Option<Vec<String>>,
    pub call_ids: Option<Vec<String>>,
    pub thread_ids: Option<Vec<String>>,
    pub turn_ids: Option<Vec<String>>,
    /// Only calls that have no parent.
    pub trace_roots_only: Option<bool>,
    pub wb_user_ids: Option<Vec<String>>,
    pub wb_run_ids: Option<Vec<String>>,
}

/// A field that is sorted by.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SortBy {
    /// Such as `started_at`, `inputs.question` or `summary.weave.latency_ms`.
    pub field: String,
    /// Which comes first.
    pub direction: Direction,
}

impl SortBy {
    /// The smallest first.
    pub fn ascending(field: impl Into<String>) -> Self {
        Self { field: field.into(), direction: Direction::Ascending }
    }

    /// The largest first.
    pub fn descending(field: impl Into<String>) -> Self {
        Self { field: field.into(), direction: Direction::Descending }
    }
}

/// Which comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Direction {
    /// The smallest.
    #[serde(rename = "asc", alias = "ASC")]
    Ascending,
    /// The largest.
    #[serde(rename = "desc", alias = "DESC")]
    Descending,
}

impl Direction {
    pub(in crate::reads) fn apply(self, order: std::cmp::Ordering) -> std::cmp::Ordering {
        match self {
            Self::Ascending => order,
            Self::Descending => order.reverse(),
        }
    }
}

/// `null` is what is not said.
pub(in crate::reads) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
