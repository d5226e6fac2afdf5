//! The ledger's file.

use std::path::{Path, PathBuf};

use super::account::Accounts;
use super::boots::{Boot, Boots};
use super::entry::{Entry, Line, Parsed};
use crate::context::{read_whole, write_whole};
use crate::disk::{Disk, DiskFile, Open};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::quota::{Quota, on_disk};

/// A new file is begun with a snapshot when this much was written since the last: a
/// mebibyte, or less where the spool has a small cap.
fn snapshot_after(cap: Option<u64>) -> u64 {
    const MOST: u64 = 1 << 20;
    /// Two files are kept, so that the ledger takes at most a sixteenth of the cap.
    const SHARE: u64 = 32;
    cap.map_or(MOST, |cap| (cap / SHARE).clamp(4 * PAGE, MOST))
}

/// What was flushed ends on a page, so that no later write touches a page that
/// holds it: a power cut may destroy the page that is being written.
const PAGE: u64 = 4096;

/// Kept filled, and given up where the disk is full: what was delivered can be written
/// down even then, and so makes room.
const RESERVE_NAME: &str = "ledger.reserve";
/// Room for some fifty lines, each of which may settle a range of any length.
const RESERVE: usize = 16 << 10;

/// Blanks up to the next page, ending the line.
fn padding(len: u64) -> Vec<u8> {
    let gap = usize::try_from(len.next_multiple_of(PAGE) - len).unwrap_or(0);
    let mut blanks = vec![b' '; gap];
    if let Some(last) = blanks.last_mut() {
        *last = b'\n';
    }
    blanks
}

/// The accounts, and the log that makes them durable.
#[derive(Debug)]
pub(crate) struct Ledger {
    dir: PathBuf,
    number: u64,
    pub(crate) accounts: Accounts,
    pub(crate) boots: Boots,
    file: Option<Box<dyn DiskFile>>,
    len: u64,
    snapshot_after: u64,
    snapshot_len: u64,
    /// Bytes that its files have grown and shrunk by and that were not told yet.
    grown: u64,
    shrunk: u64,
    /// The reserve was given up.
    pub(crate) needs_reserve: bool,
    /// Lines that the disk did not take yet.
    unsaved: Vec<u8>,
    dirty: bool,
    /// The newest file was written by another process. It may have been killed before it
    /// was flushed, or a flush may have failed: then a flush that succeeds proves nothing.
    is_inherited: bool,
    /// Lines that could not be read when the ledger was opened.
    pub(crate) damaged_lines: u64,
    /// No sound ledger was found.
    pub(crate) was_lost: bool,
}

fn file_name(number: u64) -> String {
    format!("ledger-{number:06}.jsonl")
}

fn number_of(name: &str) -> Option<u64> {
    name.strip_prefix("ledger-")?.strip_suffix(".jsonl")?.parse().ok()
}

impl Ledger {
    /// Reads the newest ledger in `dir` that has a sound snapshot. Nothing is written.
    /// `cap`: of the spool. `keep_us`: how long it keeps what was delivered.
    pub(crate) fn load(
        disk: &dyn Disk,
        dir: &Path,
        cap: Option<u64>,
        keep_us: i64,
    ) -> Result<Self> {
        let entries = disk.list(dir).doing("list the state folder", dir)?;
        let mut numbers: Vec<u64> =
            entries.iter().filter_map(|entry| number_of(&entry.name)).collect();
        numbers.sort_unstable();
        let mut damaged_lines = 0;
        for &number in numbers.iter().rev() {
            let bytes = read_whole(disk, &dir.join(file_name(number)))?;
            let parsed = parse(&bytes, keep_us).map_err(|NewerFormat| {
                Error::at(
                    ErrorKind::Unsupported,
                    &dir.join(file_name(number)),
                    "the ledger has lines of a newer format than this program knows: use a newer backhaul",
                )
            })?;
            if let Some(Parts { accounts, boots, damaged }) = parsed {
                let newest = numbers.last().copied().unwrap_or(number);
                let mut ledger = Self::at(dir, number, cap);
                (ledger.accounts, ledger.boots) = (accounts, boots);
                ledger.len = bytes.len() as u64;
                ledger.damaged_lines = damaged_lines + damaged;
                (ledger.dirty, ledger.is_inherited) = (true, true);
                // What stands in a newer, damaged file is not written over.
                ledger.number = newest;
                let is_whole = bytes.ends_with(b"\n") && ledger.len.is_multiple_of(PAGE);
                if newest != number || !is_whole {
                    ledger.snapshot_len = 0;
                    ledger.len = ledger.snapshot_after;
                }
                return Ok(ledger);
            }
            damaged_lines += 1;
        }
        let mut ledger = Self::at(dir, numbers.last().copied().unwrap_or(0), cap);
        ledger.len = ledger.snapshot_after;
        ledger.damaged_lines = damaged_lines;
        ledger.was_lost = true;
        Ok(ledger)
    }

    /// A ledger that knows nothing yet.
    pub(crate) fn new(dir: &Path) -> Self {
        Self::at(dir, 0, None)
    }

    fn at(dir: &Path, number: u64, cap: Option<u64>) -> Self {
        Self {
            dir: dir.to_owned(),
            number,
            accounts: Accounts::default(),
            boots: Boots::default(),
            file: None,
            len: 0,
            snapshot_after: snapshot_after(cap),
            snapshot_len: 0,
            grown: 0,
            shrunk: 0,
            needs_reserve: false,
            unsaved: Vec::new(),
            dirty: false,
            is_inherited: false,
            damaged_lines: 0,
            was_lost: false,
        }
    }

    /// Writes entries down. The accounts hold them whatever the disk says; what it
    /// refuses is tried again with the next call.
    pub(crate) fn record(&mut self, disk: &dyn Disk, entries: Vec<Entry>) -> Result<()> {
        for entry in entries {
            self.accounts.apply(&entry);
            self.unsaved.extend_from_slice(&Line::Entry(entry).encode());
        }
        self.save(disk)
    }

    /// Writes down how long a boot was seen to last.
    pub(crate) fn note_boot(&mut self, disk: &dyn Disk, boot: Boot) -> Result<()> {
        self.boots.note(&boot);
        self.unsaved.extend_from_slice(&Line::Boot(boot).encode());
        self.save(disk)
    }

    /// Hands what is unsaved to the disk.
    fn save(&mut self, disk: &dyn Disk) -> Result<()> {
        self.with_reserve(disk, Self::try_save)
    }

    /// Makes what was recorded durable.
    pub(crate) fn flush(&mut self, disk: &dyn Disk) -> Result<()> {
        self.with_reserve(disk, Self::try_flush)
    }

    /// Does something, and where the disk is full once more without the reserve.
    fn with_reserve(
        &mut self,
        disk: &dyn Disk,
        act: impl Fn(&mut Self, &dyn Disk) -> Result<()>,
    ) -> Result<()> {
        match act(self, disk) {
            Err(error) if error.is_full() => {
                if disk.remove(&self.dir.join(RESERVE_NAME)).is_err() {
                    return Err(error);
                }
                self.needs_reserve = true;
                // A journal gives removed blocks back when it commits.
                let _ = disk.sync_dir(&self.dir);
                self.shrunk += RESERVE as u64;
                act(self, disk)
            }
            done => done,
        }
    }

    /// Fills the reserve where it is not there. Best effort.
    pub(crate) fn keep_reserve(&mut self, disk: &dyn Disk) {
        let path = self.dir.join(RESERVE_NAME);
        if !self.needs_reserve && disk.open(&path, Open::Read).is_ok() {
            return;
        }
        let written = write_whole(disk, &path, &vec![b' '; RESERVE]);
        self.needs_reserve = written.is_err();
        match written {
            Ok(()) => self.grown += RESERVE as u64,
            Err(_) => drop(disk.remove(&path)),
        }
    }

    fn try_save(&mut self, disk: &dyn Disk) -> Result<()> {
        if self.unsaved.is_empty() {
            return Ok(());
        }
        if self.is_due_for_snapshot() {
            return self.snapshot(disk);
        }
        self.open(disk)?;
        let path = self.dir.join(file_name(self.number));
        let Some(file) = &self.file else { return Ok(()) };
        if let Err(error) = file.write_all_at(&self.unsaved, self.len) {
            // The handle is not used again; the next try begins a new file.
            self.file = None;
            self.len = self.snapshot_after.max(self.snapshot_len * 4);
            return Err(error).doing("write to the ledger", &path);
        }
        let len = self.len + self.unsaved.len() as u64;
        self.grown += on_disk(len) - on_disk(self.len);
        self.len = len;
        self.unsaved.clear();
        self.dirty = true;
        Ok(())
    }

    /// Tells the quota what the ledger's files have come to take since the last time.
    pub(crate) fn tell(&mut self, quota: &Quota) {
        quota.add(std::mem::take(&mut self.grown));
        quota.release(std::mem::take(&mut self.shrunk));
    }

    fn is_due_for_snapshot(&self) -> bool {
        self.len >= self.snapshot_after.max(self.snapshot_len * 4)
    }

    fn open(&mut self, disk: &dyn Disk) -> Result<()> {
        if self.file.is_none() {
            let path = self.dir.join(file_name(self.number));
            let opened = disk.open(&path, Open::Write).doing("open the ledger", &path)?;
            self.len = opened.len().doing("measure the ledger", &path)?;
            self.file = Some(opened);
        }
        Ok(())
    }

    fn try_flush(&mut self, disk: &dyn Disk) -> Result<()> {
        self.try_save(disk)?;
        if !self.dirty {
            return Ok(());
        }
        if self.file.is_none() && self.is_due_for_snapshot() {
            return self.snapshot(disk);
        }
        if self.is_inherited {
            match self.snapshot(disk) {
                // There may be room for a line where there is none for all.
                Err(error) if error.is_full() => {}
                written => return written,
            }
        }
        self.open(disk)?;
        let path = self.dir.join(file_name(self.number));
        if let Some(file) = &self.file
            && let Err(error) = finish_page(&**file, &mut self.len)
        {
            self.file = None;
            self.len = self.snapshot_after.max(self.snapshot_len * 4);
            // What the failed flush may have dropped comes again with a snapshot.
            self.snapshot(disk)?;
            tracing::warn!(path = %path.display(), %error, "the ledger moved to a new file");
        }
        self.dirty = false;
        Ok(())
    }

    /// Begins a new file with all that is known, and removes all but the one before.
    pub(crate) fn snapshot(&mut self, disk: &dyn Disk) -> Result<()> {
        let mut lines = Line::Snapshot(self.accounts.clone()).encode();
        for boot in self.boots.iter() {
            lines.extend_from_slice(&Line::Boot(boot.clone()).encode());
        }
        lines.extend_from_slice(&padding(lines.len() as u64));
        let number = self.number + 1;
        let path = self.dir.join(file_name(number));
        let temporary = self.dir.join("ledger.tmp");
        if let Err(error) = write_whole(disk, &temporary, &lines) {
            // On a full disk a line may need its room.
            let _ = disk.remove(&temporary);
            return Err(error);
        }
        disk.rename(&temporary, &path).doing("name a ledger", &path)?;
        disk.sync_dir(&self.dir).doing("sync the state folder", &self.dir)?;
        self.file = Some(disk.open(&path, Open::Write).doing("open the ledger", &path)?);
        self.number = number;
        self.len = lines.len() as u64;
        self.snapshot_len = self.len;
        self.grown += on_disk(self.len);
        self.unsaved.clear();
        self.dirty = false;
        self.is_inherited = false;
        self.was_lost = false;
        for entry in disk.list(&self.dir).doing("list the state folder", &self.dir)? {
            if number_of(&entry.name).is_some_and(|old| old + 1 < number) {
                let old = self.dir.join(&entry.name);
                disk.remove(&old).doing("remove an old ledger", &old)?;
                self.shrunk += on_disk(entry.len);
            }
        }
        Ok(())
    }
}

/// Fills the last page with blanks, and makes all of it durable.
fn finish_page(file: &dyn DiskFile, len: &mut u64) -> std::io::Result<()> {
    let blanks = padding(*len);
    file.write_all_at(&blanks, *len)?;
    *len += blanks.len() as u64;
    file.flush()
}

/// What all sound lines come to.
struct Parts {
    accounts: Accounts,
    boots: Boots,
    /// Lines that are not sound.
    damaged: u64,
}

/// `Ok(None)`: the snapshot at the start is not sound.
///
/// # Errors
/// A line is sound and not known: the ledger is of a newer format.
fn parse(bytes: &[u8], keep_us: i64) -> std::result::Result<Option<Parts>, NewerFormat> {
    let mut lines = bytes.split_inclusive(|&byte| byte == b'\n');
    let mut accounts = match lines.next().map(Line::parse) {
        Some(Parsed::Line(Line::Snapshot(accounts))) => accounts,
        Some(Parsed::Unknown) => return Err(NewerFormat),
        _ => return Ok(None),
    };
    let (mut boots, mut damaged) = (Boots::default(), 0);
    for line in lines.filter(|line| !line.trim_ascii().is_empty()) {
        match Line::parse(line) {
            Parsed::Line(Line::Entry(entry)) => accounts.replay(&entry, keep_us),
            Parsed::Line(Line::Snapshot(later)) => accounts = later,
            Parsed::Line(Line::Boot(boot)) => boots.note(&boot),
            Parsed::Damaged => damaged += 1,
            Parsed::Unknown => return Err(NewerFormat),
        }
    }
    Ok(Some(Parts { accounts, boots, damaged }))
}

#[derive(Debug)]
struct NewerFormat;
