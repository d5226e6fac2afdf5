//! The order in which calls are wanted.

use std::cmp::Ordering;

use super::narrow::Narrowed;
use super::request::{CallsQuery, Direction, SortBy};
use super::select::{Selector, Started};
use super::view::CallView;
use crate::reads::failure::{Result, if_there};
use crate::reads::index::CallRow;
use crate::reads::project_reads::View;
use crate::reads::sql::Sql;

/// What says whether a call is wanted.
type Wanted<'a> = &'a dyn Fn(&CallRow) -> Result<bool>;

/// Numbers of the calls that are wanted, in their order, `enough` at least where there are.
pub(super) fn in_order(
    view: &View,
    selector: &Selector,
    query: &CallsQuery,
    narrowed: &Narrowed,
    wanted: Wanted<'_>,
    enough: usize,
) -> Result<Vec<u32>> {
    match by_start(query.sort_by.as_deref()) {
        Some(direction) => in_order_of_start(selector, narrowed, direction, wanted, enough),
        None => sorted(view, selector, query, narrowed, wanted),
    }
}

/// Which calls come first, where their start alone says so, and their ids for equal starts.
fn by_start(sort_by: Option<&[SortBy]>) -> Option<Direction> {
    match sort_by {
        None | Some([]) => Some(Direction::Ascending),
        Some([start]) if start.field == "started_at" => Some(start.direction),
        Some([start, id]) if start.field == "started_at" && id.field == "id" => {
            (start.direction == id.direction).then_some(start.direction)
        }
        Some(_) => None,
    }
}

/// Those that started at the same time are put in the order of their ids.
fn in_order_of_start(
    selector: &Selector,
    narrowed: &Narrowed,
    direction: Direction,
    wanted: Wanted<'_>,
    enough: usize,
) -> Result<Vec<u32>> {
    let newest_first = direction == Direction::Descending;
    let (mut found, mut together): (Vec<u32>, Vec<(String, Started)>) = Default::default();
    for started in selector.select(narrowed, newest_first)? {
        let started = started?;
        let is_same = together.first().is_none_or(|(_, (at, _))| *at == started.0);
        if !is_same {
            flush(&mut together, direction, &mut found);
            if found.len() >= enough {
                return Ok(found);
            }
        }
        let row = selector.row(started.1)?.filter(|row| row.start.is_some());
        if let Some(row) = row
            && if_there(wanted(&row))? == Some(true)
        {
            together.push((row.id, started));
        }
    }
    flush(&mut together, direction, &mut found);
    Ok(found)
}

fn flush(together: &mut Vec<(String, Started)>, direction: Direction, found: &mut Vec<u32>) {
    together.sort_by(|(one, _), (other, _)| direction.apply(one.cmp(other)));
    found.extend(together.drain(..).map(|(_, (_, number))| number));
}

fn sorted(
    view: &View,
    selector: &Selector,
    query: &CallsQuery,
    narrowed: &Narrowed,
    wanted: Wanted<'_>,
) -> Result<Vec<u32>> {
    let mut sort_by = query.sort_by.clone().unwrap_or_default();
    if !sort_by.iter().any(|by| by.field == "id") {
        let last = sort_by.last().filter(|last| last.field == "started_at");
        let direction = last.map_or(Direction::Descending, |last| last.direction);
        sort_by.push(SortBy { field: "id".to_owned(), direction });
    }
    let mut found: Vec<(Vec<Sql>, u32)> = Vec::new();
    for started in selector.select(narrowed, false)? {
        let number = started?.1;
        let Some(row) = selector.row(number)?.filter(|row| row.start.is_some()) else { continue };
        if if_there(wanted(&row))? == Some(true) {
            let call = CallView::new(view, &row);
            let values = sort_by.iter().map(|by| call.sort_value(&by.field));
            found.extend(if_there(values.collect())?.map(|values| (values, number)));
        }
    }
    found.sort_by(|(one, _), (other, _)| compare(one, other, &sort_by));
    Ok(found.into_iter().map(|(_, number)| number).collect())
}

/// Compares by each field in turn.
pub(in crate::reads) fn compare(one: &[Sql], other: &[Sql], sort_by: &[SortBy]) -> Ordering {
    let pairs = one.iter().zip(other).zip(sort_by);
    let mut orders = pairs.map(|((one, other), by)| by.direction.apply(one.order(other)));
    orders.find(|order| *order != Ordering::Equal).unwrap_or(Ordering::Equal)
}
