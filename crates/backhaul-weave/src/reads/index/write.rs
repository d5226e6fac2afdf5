//! Writing what records say to the index.

use redb::{ReadableTable as _, Table, WriteTransaction};

use super::batch::{Batch, CallChange};
use super::call_row::CallRow;
use super::schema::{
    CALLS, DELETED, FEEDBACK, FEEDBACK_OF, IDS, KEYS, KeyKind, OBJECTS, OP_NAMES, PURGES, ROWS,
    STARTS, TABLES,
};
use crate::reads::failure::Result;
use crate::reads::place::Place;

impl Batch {
    pub(super) fn write(self, transaction: &WriteTransaction) -> Result<()> {
        write_calls(transaction, &self)?;
        let mut objects = transaction.open_table(OBJECTS)?;
        for event in &self.events {
            objects.insert(event.key(), event.to_stored())?;
        }
        let mut tables = transaction.open_table(TABLES)?;
        for (digest, (place, count)) in &self.tables {
            // The same table may be stored again: either is as good.
            tables.insert(digest.as_str(), (place.0, *count))?;
        }
        let mut rows = transaction.open_table(ROWS)?;
        for (digest, place, index) in &self.rows {
            rows.insert(digest, (place.0, *index))?;
        }
        let mut feedback = transaction.open_table(FEEDBACK)?;
        let mut feedback_of = transaction.open_table(FEEDBACK_OF)?;
        for one in &self.feedback {
            feedback.insert((one.at, one.place.0), (one.id.as_str(), one.about))?;
            feedback_of.insert((one.about, one.at, one.place.0), ())?;
        }
        let mut purges = transaction.open_table(PURGES)?;
        for (at, place) in &self.purges {
            purges.insert((*at, place.0), ())?;
        }
        Ok(())
    }
}

/// The tables of calls while they are written to.
struct Calls<'a> {
    ids: Table<'a, &'static str, u32>,
    next: u32,
    starts: Vec<(i64, u32)>,
    keys: Vec<(u8, u64, i64, u32)>,
}

impl Calls<'_> {
    /// The number of a call, given to it where it has none.
    fn number(&mut self, id: &str) -> Result<u32> {
        if let Some(number) = self.ids.get(id)? {
            return Ok(number.value());
        }
        let number = self.next;
        self.next += 1;
        self.ids.insert(id, number)?;
        Ok(number)
    }

    /// Brings a row up to what `change` says.
    fn merge(&mut self, number: u32, row: &mut CallRow, change: &CallChange) -> Result<()> {
        if let Some(start) = change.start.as_ref().filter(|_| row.start.is_none()) {
            row.start = Some(start.place);
            row.started_at = start.started_at;
            row.parent = start.parent.as_deref().map(|id| self.number(id)).transpose()?;
            self.starts.push((start.started_at, number));
            let keys = start.keys.iter();
            let keys = keys.map(|(kind, hash)| (*kind as u8, *hash, start.started_at, number));
            self.keys.extend(keys);
        }
        for end in &change.ends {
            row.take_end(end);
            let keys = end.outputs.iter().map(|hash| (KeyKind::Output as u8, *hash, 0, number));
            self.keys.extend(keys);
        }
        if change.name > row.name {
            row.name.clone_from(&change.name);
        }
        Ok(())
    }
}

fn write_calls(transaction: &WriteTransaction, batch: &Batch) -> Result<()> {
    if batch.calls.is_empty() {
        return Ok(());
    }
    let ids = transaction.open_table(IDS)?;
    let mut rows = transaction.open_table(CALLS)?;
    let mut deleted = transaction.open_table(DELETED)?;
    let mut op_names = transaction.open_table(OP_NAMES)?;
    let next = super::next_number(transaction)?;
    let mut calls = Calls { ids, next, starts: Vec::new(), keys: Vec::new() };
    for (id, change) in &batch.calls {
        let number = calls.number(id)?;
        let known = rows.get(number)?.map(|row| CallRow::of_stored(row.value()));
        let mut row = known.unwrap_or_else(|| CallRow { id: id.clone(), ..CallRow::default() });
        calls.merge(number, &mut row, change)?;
        rows.insert(number, row.to_stored())?;
        if let Some((at, place)) = change.deleted {
            let known = deleted.get(number)?.map(|known| known.value());
            if known.is_none_or(|(known, known_place)| (known, Place(known_place)) < (at, place)) {
                deleted.insert(number, (at, place.0))?;
            }
        }
        let start = change.start.as_ref();
        if let Some(name) = start.and_then(|start| start.op_name.as_deref())
            && op_names.get(name)?.is_none()
        {
            op_names.insert(name, ())?;
        }
    }
    // In the order of the tables: then they are written page by page.
    calls.starts.sort_unstable();
    let mut starts = transaction.open_table(STARTS)?;
    for start in &calls.starts {
        starts.insert(start, ())?;
    }
    calls.keys.sort_unstable();
    let mut keys = transaction.open_table(KEYS)?;
    for key in &calls.keys {
        keys.insert(key, ())?;
    }
    super::set_next_number(transaction, calls.next)
}
