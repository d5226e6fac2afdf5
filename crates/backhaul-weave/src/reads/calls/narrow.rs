//! What a condition says of fields that calls are found by: then fewer have to be read.

use std::ops::RangeInclusive;

use super::request::CallsFilter;
use crate::reads::expr::{Comparison, Expr};
use crate::reads::sql::Sql;
use crate::reads::time;

/// More values than this are not worth it.
const MAX_VALUES: usize = 1000;

/// What a call has to be like for a condition to hold, and for the filter.
#[derive(Debug)]
pub(in crate::reads) struct Narrowed {
    pub(in crate::reads) filter: CallsFilter,
    /// When it has to have started, in microseconds.
    pub(in crate::reads) started: RangeInclusive<i64>,
}

impl Narrowed {
    pub(in crate::reads) fn new(filter: &CallsFilter, condition: Option<&Expr>) -> Self {
        let mut filter = filter.clone();
        for (field, list) in [
            ("id", &mut filter.call_ids),
            ("trace_id", &mut filter.trace_ids),
            ("parent_id", &mut filter.parent_ids),
            ("thread_id", &mut filter.thread_ids),
            ("turn_id", &mut filter.turn_ids),
            ("op_name", &mut filter.op_names),
            ("wb_run_id", &mut filter.wb_run_ids),
        ] {
            let demanded = condition.and_then(|condition| condition.demanded(field));
            let demanded = demanded.filter(|texts| (1..=MAX_VALUES).contains(&texts.len()));
            // An empty list of threads is about no call.
            let says_nothing =
                list.as_ref().is_none_or(|list| list.is_empty() && field != "thread_id");
            if says_nothing && demanded.is_some() {
                *list = demanded;
            }
        }
        let (mut from, mut to) = (i64::MIN, i64::MAX);
        if let Some(condition) = condition {
            bound(condition, &mut from, &mut to);
        }
        Self { filter, started: from..=to }
    }
}

fn bound(condition: &Expr, from: &mut i64, to: &mut i64) {
    match condition {
        Expr::And(parts) => parts.iter().for_each(|part| bound(part, from, to)),
        Expr::Compare(how, sides) => {
            let (Expr::Field(field), Expr::Literal(value, _)) = &**sides else { return };
            let at = match value {
                Sql::Text(text) => time::of_text(text),
                number => number.as_real().map(time::of_number),
            };
            let Some(at) = at.filter(|_| field == "started_at") else { return };
            match how {
                Comparison::Equal => (*from, *to) = ((*from).max(at), (*to).min(at)),
                Comparison::Greater | Comparison::GreaterOrEqual => *from = (*from).max(at),
                Comparison::Less | Comparison::LessOrEqual => *to = (*to).min(at),
            }
        }
        _ => {}
    }
}
