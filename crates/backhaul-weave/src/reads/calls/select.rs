//! Finding the calls that a filter is about, by their keys.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use redb::{ReadOnlyTable, ReadableTable as _, ReadableTableMetadata as _};

use super::narrow::Narrowed;
use super::request::CallsFilter;
use crate::reads::failure::{Failure, Result};
use crate::reads::index::{
    CALLS, CallRow, DELETED, IDS, KEYS, KeyKind, OP_NAMES, STARTS, StoredCall, hash,
};
use crate::reads::project_reads::View;

/// The most values that a list of a filter may have, as at Weave's server.
const MAX_VALUES: usize = 1000;
/// At the end of a name or an address: any version.
const ANY_VERSION: &str = ":*";

/// When a call started, and its number.
pub(in crate::reads) type Started = (i64, u32);

/// The tables that calls are found in.
pub(in crate::reads) struct Selector {
    starts: ReadOnlyTable<(i64, u32), ()>,
    keys: ReadOnlyTable<(u8, u64, i64, u32), ()>,
    rows: ReadOnlyTable<u32, StoredCall<'static>>,
    ids: ReadOnlyTable<&'static str, u32>,
    op_names: ReadOnlyTable<&'static str, ()>,
    /// Calls that were deleted, and those below them.
    hidden: HashSet<u32>,
}

/// One of these keys.
type Group = Vec<(KeyKind, u64)>;

impl Selector {
    pub(in crate::reads) fn new(view: &View) -> Result<Self> {
        let mut selector = Self {
            starts: view.tables.open_table(STARTS)?,
            keys: view.tables.open_table(KEYS)?,
            rows: view.tables.open_table(CALLS)?,
            ids: view.tables.open_table(IDS)?,
            op_names: view.tables.open_table(OP_NAMES)?,
            hidden: HashSet::new(),
        };
        selector.hide(&view.tables.open_table(DELETED)?)?;
        Ok(selector)
    }

    /// Hides what was deleted, and what had been below it by then.
    fn hide(&mut self, deleted: &ReadOnlyTable<u32, (i64, u64)>) -> Result<()> {
        let mut left = Vec::new();
        for entry in deleted.iter()? {
            let (number, deletion) = entry?;
            left.push((number.value(), deletion.value().0));
        }
        let mut seen = HashSet::new();
        while let Some((number, at)) = left.pop() {
            self.hidden.insert(number);
            let Some(row) = self.row(number)?.filter(|_| seen.insert((number, at))) else {
                continue;
            };
            let children = (KeyKind::Parent, hash(&row.id));
            for child in self.keys_of(children)? {
                let (started_at, child) = child?;
                left.extend((started_at <= at).then_some((child, at)));
            }
        }
        Ok(())
    }

    pub(in crate::reads) fn row(&self, number: u32) -> Result<Option<CallRow>> {
        Ok(self.rows.get(number)?.map(|row| CallRow::of_stored(row.value())))
    }

    /// The call with an id, unless it was deleted or only its end is known.
    pub(in crate::reads) fn call(&self, id: &str) -> Result<Option<(u32, CallRow)>> {
        let Some(number) = self.ids.get(id)?.map(|number| number.value()) else { return Ok(None) };
        let Some(row) = self.row(number)? else { return Ok(None) };
        if row.id != id {
            return Err(Failure::Damaged(format!("{id} leads to another call")));
        }
        let is_shown = row.start.is_some() && !self.hidden.contains(&number);
        Ok(is_shown.then_some((number, row)))
    }

    /// Ids of calls that begin with a text, up to a number of them.
    pub(in crate::reads) fn ids(&self, prefix: &str, limit: usize) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for entry in self.ids.range(prefix..)? {
            let id = entry?.0.value().to_owned();
            if !id.starts_with(prefix) || found.len() == limit {
                break;
            }
            if self.call(&id)?.is_some() {
                found.push(id);
            }
        }
        Ok(found)
    }

    /// The calls that a filter wants, by their start.
    pub(in crate::reads) fn select<'a>(
        &'a self,
        narrowed: &Narrowed,
        newest_first: bool,
    ) -> Result<Box<dyn Iterator<Item = Result<Started>> + 'a>> {
        let Narrowed { filter, started } = narrowed;
        let mut groups = self.groups(filter)?;
        let by_id = match filter.call_ids.as_deref().unwrap_or_default() {
            [] => None,
            ids => Some(self.started_of(&at_most(ids, "call_ids")?)?),
        };
        // Of all that has to hold, what most likely holds for the fewest.
        groups.sort_by_key(|group| group.first().map(|(kind, _)| rank(*kind)));
        let mut rest = groups.into_iter();
        let first: Box<dyn Iterator<Item = Result<Started>> + 'a> = match by_id {
            Some(found) => Box::new(sorted(found, newest_first).map(Ok)),
            None => match rest.next() {
                Some(group) => self.of_group(group, started, newest_first)?,
                None => in_direction(self.started_between(started)?, newest_first),
            },
        };
        let rest: Vec<Group> = rest.collect();
        Ok(Box::new(first.filter_map(move |started| match started {
            Err(error) => Some(Err(error)),
            Ok((_, number)) if self.hidden.contains(&number) => None,
            Ok(started) => match self.is_in_all(started, &rest) {
                Ok(is) => is.then_some(Ok(started)),
                Err(error) => Some(Err(error)),
            },
        })))
    }

    fn of_group<'a>(
        &'a self,
        group: Group,
        started: &RangeInclusive<i64>,
        newest_first: bool,
    ) -> Result<Box<dyn Iterator<Item = Result<Started>> + 'a>> {
        if let [one] = *group.as_slice()
            && one.0 != KeyKind::Output
        {
            return Ok(in_direction(self.keys_between(one, started)?, newest_first));
        }
        let mut found = HashSet::new();
        for one in group {
            for key in self.keys_of(one)? {
                let (started_at, number) = key?;
                match one.0 {
                    // Ends do not know when their call began.
                    KeyKind::Output => {
                        let row = self.row(number)?.filter(|row| row.start.is_some());
                        found.extend(row.map(|row| (row.started_at, number)));
                    }
                    _ => drop(found.insert((started_at, number))),
                }
            }
        }
        Ok(Box::new(sorted(found.into_iter().collect(), newest_first).map(Ok)))
    }

    fn keys_of(
        &self,
        (kind, hash): (KeyKind, u64),
    ) -> Result<impl DoubleEndedIterator<Item = Result<Started>> + 'static> {
        self.keys_between((kind, hash), &(i64::MIN..=i64::MAX))
    }

    fn keys_between(
        &self,
        (kind, hash): (KeyKind, u64),
        started: &RangeInclusive<i64>,
    ) -> Result<impl DoubleEndedIterator<Item = Result<Started>> + 'static> {
        let kind = kind as u8;
        let (first, last) = ends(started);
        let range = (kind, hash, first, 0)..=(kind, hash, last, u32::MAX);
        Ok(self.keys.range(range)?.map(|entry| {
            let (_, _, started_at, number) = entry?.0.value();
            Ok((started_at, number))
        }))
    }

    fn started_between(
        &self,
        started: &RangeInclusive<i64>,
    ) -> Result<impl DoubleEndedIterator<Item = Result<Started>> + 'static> {
        let (first, last) = ends(started);
        let range = self.starts.range((first, 0)..=(last, u32::MAX))?;
        Ok(range.map(|entry| Ok(entry?.0.value())))
    }

    /// How many calls there are.
    pub(in crate::reads) fn count(&self) -> Result<usize> {
        let mut count = usize::try_from(self.starts.len()?).unwrap_or(usize::MAX);
        for number in &self.hidden {
            if self.row(*number)?.is_some_and(|row| row.start.is_some()) {
                count -= 1;
            }
        }
        Ok(count)
    }

    fn is_in_all(&self, (started_at, number): Started, groups: &[Group]) -> Result<bool> {
        for group in groups {
            let mut is_in_any = false;
            for (kind, hash) in group {
                let at = if *kind == KeyKind::Output { 0 } else { started_at };
                is_in_any |= self.keys.get((*kind as u8, *hash, at, number))?.is_some();
                if is_in_any {
                    break;
                }
            }
            if !is_in_any {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn started_of(&self, ids: &[String]) -> Result<Vec<Started>> {
        let mut found = HashSet::new();
        for id in ids {
            found.extend(self.call(id)?.map(|(number, row)| (row.started_at, number)));
        }
        Ok(found.into_iter().collect())
    }

    /// The keys that a filter is about: of each group one. No group: every call.
    fn groups(&self, filter: &CallsFilter) -> Result<Vec<Group>> {
        let lists = [
            (KeyKind::Parent, &filter.parent_ids, "parent_ids"),
            (KeyKind::Trace, &filter.trace_ids, "trace_ids"),
            (KeyKind::Turn, &filter.turn_ids, "turn_ids"),
            (KeyKind::Run, &filter.wb_run_ids, "wb_run_ids"),
            (KeyKind::User, &filter.wb_user_ids, "wb_user_ids"),
        ];
        let mut groups = Vec::new();
        for (kind, list, name) in lists {
            if let Some(list) = list.as_deref().filter(|list| !list.is_empty()) {
                let values = at_most(list, name)?;
                groups.push(values.iter().map(|value| (kind, hash(value))).collect());
            }
        }
        if let Some(list) = &filter.thread_ids {
            // Unlike of the others, an empty list of these is about no call.
            let values = at_most(list, "thread_ids")?;
            groups.push(values.iter().map(|value| (KeyKind::Thread, hash(value))).collect());
        }
        for (kind, list, name) in [
            (KeyKind::Input, &filter.input_refs, "input_refs"),
            (KeyKind::Output, &filter.output_refs, "output_refs"),
        ] {
            if let Some(list) = list.as_deref().filter(|list| !list.is_empty()) {
                let values = at_most(list, name)?;
                let part = |value: &String| match value.strip_suffix(ANY_VERSION) {
                    Some(name) => hash(&format!("{name}:")),
                    None => hash(value),
                };
                groups.push(values.iter().map(|value| (kind, part(value))).collect());
            }
        }
        if let Some(names) = filter.op_names.as_deref().filter(|names| !names.is_empty()) {
            groups.push(self.op_names(&at_most(names, "op_names")?)?);
        }
        if filter.trace_roots_only == Some(true) {
            groups.push(vec![(KeyKind::Root, 0)]);
        }
        Ok(groups)
    }

    fn op_names(&self, names: &[String]) -> Result<Group> {
        let mut hashes = HashSet::new();
        for name in names {
            let Some(prefix) = name.strip_suffix(ANY_VERSION).map(|name| format!("{name}:")) else {
                hashes.insert(hash(name));
                continue;
            };
            for entry in self.op_names.range(&*prefix..)? {
                let (name, _) = entry?;
                if !name.value().starts_with(&prefix) {
                    break;
                }
                hashes.insert(hash(name.value()));
            }
        }
        Ok(hashes.into_iter().map(|hash| (KeyKind::Op, hash)).collect())
    }
}

/// How few calls have a key of a kind: fewer come first.
fn rank(kind: KeyKind) -> u8 {
    match kind {
        KeyKind::Parent => 0,
        KeyKind::Trace => 1,
        KeyKind::Turn => 2,
        KeyKind::Output => 3,
        KeyKind::Input => 4,
        KeyKind::Thread => 5,
        KeyKind::Run => 6,
        KeyKind::Op => 7,
        KeyKind::Root => 8,
        KeyKind::User => 9,
    }
}

/// The first and the last of a range. One that ends before it begins is no range to the
/// database.
fn ends(range: &RangeInclusive<i64>) -> (i64, i64) {
    (*range.start(), *range.end().max(range.start()))
}

fn in_direction<'a>(
    range: impl DoubleEndedIterator<Item = Result<Started>> + 'a,
    newest_first: bool,
) -> Box<dyn Iterator<Item = Result<Started>> + 'a> {
    if newest_first { Box::new(range.rev()) } else { Box::new(range) }
}

fn sorted(mut found: Vec<Started>, newest_first: bool) -> std::vec::IntoIter<Started> {
    found.sort_unstable();
    if newest_first {
        found.reverse();
    }
    found.into_iter()
}

fn at_most(values: &[String], name: &str) -> Result<Vec<String>> {
    match values.len() {
        0..=MAX_VALUES => Ok(values.to_vec()),
        len => Err(Failure::invalid(format!(
            "{name} has {len} values: ask for at most {MAX_VALUES} at a time"
        ))),
    }
}
