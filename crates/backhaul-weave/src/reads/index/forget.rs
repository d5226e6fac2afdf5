//! Taking out of the index what was removed from disk.

use std::collections::HashSet;

use redb::{ReadableTable as _, WriteTransaction};

use super::call_row::CallRow;
use super::schema::{
    CALLS, DELETED, FEEDBACK, FEEDBACK_OF, IDS, KEYS, KeyKind, OBJECTS, PURGES, ROWS, STARTS,
    TABLES,
};
use crate::kind::Kind;
use crate::reads::failure::Result;
use crate::reads::place::Place;

/// Takes out what stands in records of a kind that are gone. What is left is what an
/// index of the records that are left would hold.
pub(super) fn forget(
    transaction: &WriteTransaction,
    kind: Kind,
    is_gone: &dyn Fn(Place) -> bool,
) -> Result<()> {
    let is_gone_number = |place: u64| is_gone(Place(place));
    match kind {
        Kind::Calls => forget_calls(transaction, is_gone)?,
        Kind::Ops | Kind::Objects => {
            let of_kind = u8::from(kind == Kind::Objects);
            let mut objects = transaction.open_table(OBJECTS)?;
            objects.retain(|(_, _, kind, place), _| kind != of_kind || !is_gone_number(place))?;
        }
        Kind::Tables => {
            let mut tables = transaction.open_table(TABLES)?;
            tables.retain(|_, (place, _)| !is_gone_number(place))?;
            let mut rows = transaction.open_table(ROWS)?;
            rows.retain(|_, (place, _)| !is_gone_number(place))?;
        }
        Kind::Feedback => {
            let mut feedback = transaction.open_table(FEEDBACK)?;
            feedback.retain(|(_, place), _| !is_gone_number(place))?;
            let mut feedback_of = transaction.open_table(FEEDBACK_OF)?;
            feedback_of.retain(|(_, _, place), ()| !is_gone_number(place))?;
            let mut purges = transaction.open_table(PURGES)?;
            purges.retain(|(_, place), ()| !is_gone_number(place))?;
        }
        Kind::Files | Kind::Metadata => {}
    }
    Ok(())
}

fn forget_calls(transaction: &WriteTransaction, is_gone: &dyn Fn(Place) -> bool) -> Result<()> {
    let mut rows = transaction.open_table(CALLS)?;
    let mut ids = transaction.open_table(IDS)?;
    let mut deleted = transaction.open_table(DELETED)?;
    deleted.retain(|_, (_, place)| !is_gone(Place(place)))?;
    let mut changed = Vec::new();
    for entry in rows.iter()? {
        let (number, row) = entry?;
        let old = CallRow::of_stored(row.value());
        let mut new = old.clone();
        if !new.forget(is_gone) && deleted.get(number.value())?.is_none() {
            changed.push((number.value(), old, None));
        } else if new != old {
            changed.push((number.value(), old, Some(new)));
        }
    }
    let mut starts = transaction.open_table(STARTS)?;
    let (mut startless, mut endless) = (HashSet::new(), HashSet::new());
    for (number, old, new) in changed {
        match &new {
            Some(new) => rows.insert(number, new.to_stored()).map(drop)?,
            None => {
                rows.remove(number)?;
                ids.remove(old.id.as_str())?;
            }
        }
        let new = new.unwrap_or_default();
        if new.start.is_none() {
            starts.remove((old.started_at, number))?;
        }
        startless.extend(new.start.is_none().then_some(number));
        endless.extend(new.end.is_none().then_some(number));
    }
    let mut keys = transaction.open_table(KEYS)?;
    keys.retain(|(kind, _, _, number), ()| {
        let gone = if kind == KeyKind::Output as u8 { &endless } else { &startless };
        !gone.contains(&number)
    })?;
    Ok(())
}
