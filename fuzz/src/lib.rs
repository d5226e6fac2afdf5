//! What the fuzz targets share: a spool on a simulated disk, and ways to read all of it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use backhaul_store::{
    Disk, Layout, Limits, Options, Record, Result, Settled, Spool, State, StoredRecord,
};
use backhaul_testkit::{ManualClock, SimDisk};

/// Where the spool lies on the disk.
pub const DIR: &str = "/spool";

/// Opens the spool on a disk; small segments, nothing in the background.
pub fn open(disk: &SimDisk, layout: Layout) -> Result<Spool> {
    open_in(disk, layout, true)
}

/// The same, with new segments in one form or the other.
pub fn open_in(disk: &SimDisk, layout: Layout, compress: bool) -> Result<Spool> {
    let options = Options {
        layout,
        compress,
        segment_bytes: 16 << 10,
        first_extent_bytes: 8 << 10,
        maintenance_thread: false,
        machine: Some("the fuzzer".to_owned()),
        ..Options::default()
    };
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Spool::open_on(DIR, options, disk, Arc::new(ManualClock::new()))
}

/// All records that can be read.
pub fn read_all(spool: &Spool) -> Vec<StoredRecord> {
    let mut records = Vec::new();
    let read = spool.each_from(&BTreeMap::new(), &mut |record| {
        records.push(record);
        ControlFlow::Continue(())
    });
    // A file of a newer format is refused in the middle of reading too.
    drop(read);
    records
}

/// Takes and settles everything, listing and maintaining on the way. Gives up after
/// more rounds than any input of a fuzzer can need.
pub fn use_up(spool: &Spool) {
    for _ in 0..300 {
        let Ok(Some(batch)) =
            spool.take(&Limits { records: 1000, bytes: 1 << 30, ..Limits::default() })
        else {
            break;
        };
        let settled: Vec<_> = batch
            .records
            .iter()
            .map(|offer| (offer.record.id.position, Settled::new(State::Delivered)))
            .collect();
        assert!(!settled.is_empty(), "an empty batch");
        let _ = spool.settle(&settled);
    }
    let _ = spool.maintain();
    let _ = spool.each(None, &mut |_| ControlFlow::Continue(()));
}

/// A record that tells its number.
pub fn numbered(number: u64, len: usize) -> Record {
    let fill: String =
        (0..len).map(|at| char::from(b'a' + ((at as u64 * number) % 26) as u8)).collect();
    Record::new("run", format!("{{\"n\":{number},\"fill\":\"{fill}\"}}").into_bytes())
}

/// The number of a record made by [`numbered`].
pub fn number_of(body: &[u8]) -> Option<u64> {
    serde_json::from_slice::<serde_json::Value>(body).ok()?["n"].as_u64()
}

/// Takes bytes off the front of a fuzzer's input.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    pub fn number(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }

    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (first, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        first
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
