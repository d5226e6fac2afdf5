//! Calls: which are wanted, in what order, and what they look like.

mod call;
mod narrow;
mod order;
mod request;
mod select;
mod view;

use serde_json::Value;

use self::narrow::Narrowed;
pub(super) use self::order::compare;
pub(super) use self::request::or_default;
pub use self::request::{CallsFilter, CallsQuery, Direction, SortBy};
pub(super) use self::select::Selector;
pub(super) use self::view::CallView;
use super::expr::Expr;
use super::failure::{Result, guarded, if_there};
use super::index::CallRow;
use super::project_reads::View;
use crate::error::TraceError;

/// Numbers of the calls that are wanted, in their order.
pub(super) fn numbers(view: &View, selector: &Selector, query: &CallsQuery) -> Result<Vec<u32>> {
    let condition = Expr::of_query(&query.query)?;
    let wanted = |row: &CallRow| match &condition {
        Some(condition) => condition.holds(&CallView::new(view, row)),
        None => Ok(true),
    };
    let (skipped, taken) = page(query.limit, query.offset);
    let narrowed = Narrowed::new(&query.filter, condition.as_ref());
    order::in_order(view, selector, query, &narrowed, &wanted, skipped.saturating_add(taken))
        .map(|numbers| numbers.into_iter().skip(skipped).take(taken).collect())
}

/// How many calls are wanted.
pub(super) fn count(view: &View, query: &CallsQuery) -> Result<usize> {
    let selector = Selector::new(view)?;
    let (_, taken) = page(query.limit, None);
    if query.query.is_null() {
        if query.filter == CallsFilter::default() {
            return Ok(selector.count()?.min(taken));
        }
        let mut count = 0;
        let narrowed = Narrowed::new(&query.filter, None);
        for started in selector.select(&narrowed, false)?.take(taken) {
            started?;
            count += 1;
        }
        return Ok(count);
    }
    Ok(numbers(view, &selector, &CallsQuery { sort_by: Some(Vec::new()), ..query.clone() })?.len())
}

/// How many are left out, and how many are wanted then.
pub(super) fn page(limit: Option<i64>, offset: Option<i64>) -> (usize, usize) {
    let size = |number: i64| usize::try_from(number).unwrap_or(0);
    let taken = limit.map(size).filter(|limit| *limit > 0);
    (offset.map_or(0, size), taken.unwrap_or(usize::MAX))
}

/// Calls, each read when it is its turn: what a Weave trace server answers.
pub struct Calls {
    view: View,
    selector: Selector,
    query: CallsQuery,
    numbers: std::vec::IntoIter<u32>,
    /// The next one, where it is read already.
    next: Option<Value>,
}

impl Calls {
    pub(super) fn new(view: View, query: &CallsQuery) -> Result<Self> {
        let selector = Selector::new(&view)?;
        let numbers = numbers(&view, &selector, query)?.into_iter();
        let mut calls = Self { view, selector, query: query.clone(), numbers, next: None };
        // While a damaged index can still be made anew without anybody noticing.
        calls.next = calls.read_next()?;
        Ok(calls)
    }

    fn read_next(&mut self) -> Result<Option<Value>> {
        while let Some(number) = self.numbers.next() {
            if let Some(call) = guarded(|| self.read(number))? {
                return Ok(Some(call));
            }
        }
        Ok(None)
    }

    fn read(&self, number: u32) -> Result<Option<Value>> {
        match self.selector.row(number)? {
            Some(row) => if_there(call::to_json(&CallView::new(&self.view, &row), &self.query)),
            None => Ok(None),
        }
    }
}

impl Iterator for Calls {
    type Item = std::result::Result<Value, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(call) = self.next.take() {
            return Some(Ok(call));
        }
        let call = self.read_next().map_err(|failure| {
            // For the next question: some of this answer is given already.
            self.view.reads.mend(&failure);
            failure.into_error()
        });
        call.transpose()
    }
}

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Calls").field("left", &self.numbers.len()).finish_non_exhaustive()
    }
}

/// A call with an id. `None`: there is none.
pub(super) fn read(view: &View, id: &str, query: &CallsQuery) -> Result<Option<Value>> {
    let selector = Selector::new(view)?;
    let Some((_, row)) = selector.call(id)? else { return Ok(None) };
    call::to_json(&CallView::new(view, &row), query).map(Some)
}
