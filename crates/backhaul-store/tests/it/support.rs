//! What the tests share: a spool on a simulated disk, records that know their number.

use std::ops::ControlFlow;
use std::sync::Arc;

use backhaul_store::{Clock, Disk, Limits, Options, Record, Result, Settled, Spool, State};
use backhaul_testkit::{ManualClock, SimDisk};

pub(crate) const DIR: &str = "/spool";

/// The ways in which records stand on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    Folder,
    Segments,
    /// Segments that are not compressed.
    Plain,
}

pub(crate) const LAYOUTS: [Layout; 3] = [Layout::Folder, Layout::Segments, Layout::Plain];

/// The two forms of segments.
pub(crate) const FORMS: [Layout; 2] = [Layout::Segments, Layout::Plain];

impl Layout {
    /// That of a spool whose segments have one form.
    pub(crate) fn of(spool: &Spool) -> Self {
        let files = spool.disk().list(spool.dir()).unwrap();
        match spool.layout() {
            backhaul_store::Layout::Folder => Layout::Folder,
            backhaul_store::Layout::Segments => {
                let is_plain =
                    |name: &String| is_of_form(std::path::Path::new(name), Layout::Plain);
                let is_plain = files.iter().any(|file| is_plain(&file.name));
                if is_plain { Layout::Plain } else { Layout::Segments }
            }
        }
    }

    /// How many cases of a campaign this layout gets: as many as a variable asks for, and
    /// else `cases`, which the two forms of segments share.
    pub(crate) fn wanted(self, variable: &str, cases: u64) -> u64 {
        let share = if self == Layout::Folder { cases } else { cases / 2 };
        std::env::var(variable).map_or(share, |text| {
            text.parse().unwrap_or_else(|_| panic!("{variable} has to be a number, not {text}"))
        })
    }

    fn of_store(self) -> backhaul_store::Layout {
        match self {
            Layout::Folder => backhaul_store::Layout::Folder,
            Layout::Segments | Layout::Plain => backhaul_store::Layout::Segments,
        }
    }
}

/// Whether this is the path of a segment, in either form.
pub(crate) fn is_segment(path: &std::path::Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("20") && (name.ends_with(".jsonl.gz") || name.ends_with(".jsonl"))
}

/// Whether this is a segment of that form.
pub(crate) fn is_of_form(path: &std::path::Path, form: Layout) -> bool {
    is_segment(path) && path.to_string_lossy().ends_with(".gz") == (form == Layout::Segments)
}

/// Small segments, so that a few dozen records span several of them.
pub(crate) fn options(layout: Layout) -> Options {
    Options {
        layout: layout.of_store(),
        compress: layout != Layout::Plain,
        segment_bytes: 32 << 10,
        first_extent_bytes: 8 << 10,
        maintenance_thread: false,
        machine: Some("this machine".to_owned()),
        ..Options::default()
    }
}

pub(crate) fn open(disk: &SimDisk, options: Options) -> Result<Spool> {
    open_at(Arc::new(disk.clone()), options, &ManualClock::new())
}

pub(crate) fn open_at(disk: Arc<dyn Disk>, options: Options, clock: &ManualClock) -> Result<Spool> {
    let clock: Arc<dyn Clock> = Arc::new(clock.clone());
    Spool::open_on(DIR, options, disk, clock)
}

/// A record that tells its number, filled up to about `len` bytes.
pub(crate) fn numbered(number: u64, len: usize) -> Record {
    let body = format!(
        "{{\"run_id\":\"run_{number}\",\"n\":{number},\"fill\":\"{}\"}}",
        filling(number, len)
    );
    Record::new("run", body.into_bytes()).label("run_id", format!("run_{number}"))
}

/// Text that does not compress to nothing.
fn filling(seed: u64, len: usize) -> String {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b'a' + u8::try_from(state >> 59).unwrap() % 26)
        })
        .collect()
}

pub(crate) fn number_of(body: &[u8]) -> u64 {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap();
    value["n"].as_u64().unwrap()
}

/// Numbers of all records on disk, lane by lane in order.
pub(crate) fn numbers(spool: &Spool) -> Vec<u64> {
    let mut numbers = Vec::new();
    let mut positions = Vec::new();
    spool
        .each(None, &mut |entry| {
            positions.push(entry.id.position);
            ControlFlow::Continue(())
        })
        .unwrap();
    for position in positions {
        numbers.push(number_of(&spool.get(position).unwrap().1.body));
    }
    numbers
}

/// Takes one batch and settles it as delivered. The numbers of its records, where
/// anything waits.
pub(crate) fn deliver(spool: &Spool, limits: &Limits) -> Option<Vec<u64>> {
    let batch = spool.take(limits).unwrap()?;
    let settled: Vec<_> = batch
        .records
        .iter()
        .map(|offer| (offer.record.id.position, Settled::new(State::Delivered)))
        .collect();
    spool.settle(&settled).unwrap();
    Some(batch.records.iter().map(|offer| number_of(&offer.record.body)).collect())
}

/// Delivers everything that can be taken now. The numbers of the records, in order.
pub(crate) fn deliver_all(spool: &Spool) -> Vec<u64> {
    std::iter::from_fn(|| deliver(spool, &Limits::default())).flatten().collect()
}
