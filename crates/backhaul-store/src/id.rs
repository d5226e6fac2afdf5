//! Names of things: devices, epochs, lanes, writers, sequences, records.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};

/// How urgent a record is. Lanes are chosen when a record is appended and are
/// chains of their own on disk, so that eviction and priority need no rewriting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum Lane {
    /// Sent first, evicted last.
    Critical = 0,
    /// Before normal work.
    High = 1,
    /// Where everything goes that says nothing else.
    #[default]
    Normal = 2,
    /// After normal work.
    Low = 3,
    /// Large history that can wait; evicted first.
    Bulk = 4,
}

impl Lane {
    /// All lanes, the most urgent first.
    pub const ALL: [Lane; 5] = [Lane::Critical, Lane::High, Lane::Normal, Lane::Low, Lane::Bulk];

    /// The lane's name, lower case.
    pub fn name(self) -> &'static str {
        match self {
            Lane::Critical => "critical",
            Lane::High => "high",
            Lane::Normal => "normal",
            Lane::Low => "low",
            Lane::Bulk => "bulk",
        }
    }

    pub(crate) fn from_index(index: u8) -> Option<Self> {
        Self::ALL.get(usize::from(index)).copied()
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Lane {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Lane::ALL.into_iter().find(|lane| lane.name() == text).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                format!("unknown lane {text:?}: expected critical, high, normal, low or bulk"),
            )
        })
    }
}

/// The bit that the writer number of a summary has, and no writer.
pub(crate) const SUMMARIES: u16 = 1 << 15;

/// One unbroken series of sequences: a lane, as written by one writer.
///
/// A spool that several processes append to has a writer number for each of
/// them; the first is 0 and stays unnamed in text.
///
/// ```
/// use backhaul_store::Chain;
/// let chain: Chain = "critical.2".parse()?;
/// assert_eq!((chain.lane.name(), chain.writer), ("critical", 2));
/// assert_eq!("normal".parse::<Chain>()?.to_string(), "normal");
/// # Ok::<(), backhaul_store::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Chain {
    /// The lane.
    pub lane: Lane,
    /// The writer's number.
    pub writer: u16,
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.lane.name())?;
        if self.writer > 0 {
            write!(f, ".{}", self.writer)?;
        }
        Ok(())
    }
}

impl FromStr for Chain {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (lane, writer) = match text.split_once('.') {
            None => (text, 0),
            Some((lane, number)) => {
                let writer = number.parse().map_err(|_| {
                    Error::new(
                        ErrorKind::InvalidInput,
                        format!(
                            "bad writer number in chain {text:?}: expected LANE or LANE.NUMBER"
                        ),
                    )
                })?;
                (lane, writer)
            }
        };
        Ok(Chain { lane: lane.parse()?, writer })
    }
}

/// A record's place in its chain. The first is 1; a sequence is never given to
/// two records that were acknowledged or offered to a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A record's place in its spool: chain and sequence, written `normal/42`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The chain.
    pub chain: Chain,
    /// The place in it.
    pub sequence: Sequence,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.chain, self.sequence)
    }
}

impl FromStr for Position {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = text
            .rsplit_once('/')
            .and_then(|(chain, sequence)| {
                // A full id may be given too: only its last two parts say where.
                let chain = chain.rsplit('/').next()?;
                Some((chain, sequence.parse().ok()?))
            })
            .filter(|(_, sequence)| *sequence > 0);
        let Some((chain, sequence)) = parsed else {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("bad record id {text:?}: expected LANE/SEQUENCE such as normal/42"),
            ));
        };
        Ok(Position { chain: chain.parse()?, sequence: Sequence(sequence) })
    }
}

/// The spool's own random number, made once and kept in `state/identity.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(pub uuid::Uuid);

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_simple().fmt(f)
    }
}

/// Redrawn when the machine under the spool has changed (a cloned card), so that
/// two machines never use the same ids for different records. Never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// The name of a record in the whole fleet, for ever: `device/epoch/lane/sequence`.
/// It is the idempotency key under which a record is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    /// The spool's own number.
    pub device: DeviceId,
    /// The epoch in which the record was appended.
    pub epoch: Epoch,
    /// The place in the spool.
    pub position: Position,
}

impl RecordId {
    /// The name of the summary that may go in the record's place: its own, as of the writer
    /// whose number is larger by 32,768, which no writer of a spool has. So receivers tell
    /// the two apart, and know repeats of either, for ever.
    ///
    /// ```
    /// use backhaul_store::RecordId;
    /// let id: RecordId = "6ba7b8109dad11d180b400c04fd430c8/0000beef/critical/42".parse()?;
    /// let summary = "6ba7b8109dad11d180b400c04fd430c8/0000beef/critical.32768/42";
    /// assert_eq!(id.of_summary().to_string(), summary);
    /// # Ok::<(), backhaul_store::Error>(())
    /// ```
    #[must_use]
    pub fn of_summary(mut self) -> Self {
        self.position.chain.writer |= SUMMARIES;
        self
    }

    /// The id's text up to its sequence.
    pub(crate) fn prefix(&self) -> String {
        format!("{}/{}/{}/", self.device, self.epoch, self.position.chain)
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.device, self.epoch, self.position)
    }
}

impl FromStr for RecordId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.splitn(3, '/');
        let parsed = (|| {
            let device = DeviceId(uuid::Uuid::try_parse(parts.next()?).ok()?);
            let epoch = Epoch(u32::from_str_radix(parts.next()?, 16).ok()?);
            let position = parts.next()?.parse().ok()?;
            Some(RecordId { device, epoch, position })
        })();
        parsed.ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                format!("bad record id {text:?}: expected DEVICE/EPOCH/LANE/SEQUENCE"),
            )
        })
    }
}
