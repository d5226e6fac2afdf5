//! What was promised, against what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// More of a kind is counted and not listed.
const MOST_SHOWN: usize = 10;

/// A record as either end knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The record's id, as text.
    pub key: String,
    /// Its bytes.
    pub body: Vec<u8>,
}

impl Item {
    /// A record with an id.
    pub fn new(key: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), body: body.into() }
    }
}

/// A record that is kept as failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The record.
    pub item: Item,
    /// What it failed with, as it is kept with it.
    pub reason: String,
}

impl Failed {
    /// A record and why it failed.
    pub fn new(item: Item, reason: impl Into<String>) -> Self {
        Self { item, reason: reason.into() }
    }
}

/// Where records are at the end of a test.
#[derive(Debug, Clone, Default)]
pub struct Ends {
    /// At the other end, in the order in which they were stored there.
    pub arrived: Vec<Item>,
    /// Kept as failed on the device.
    pub failed: Vec<Failed>,
    /// Keys of those that still wait on the device. One of them may have arrived: the
    /// answer to it was lost.
    pub waiting: Vec<String>,
}

/// Remembers what was acknowledged: each is a debt, to be paid exactly once.
///
/// ```
/// use backhaul_testkit::{Ends, Item, Oracle};
///
/// let mut oracle = Oracle::new();
/// oracle.acknowledged("1", Some("room"), "a");
/// oracle.acknowledged("2", Some("room"), "b");
/// let arrived = vec![Item::new("2", "b"), Item::new("1", "x")];
/// let wrong = oracle.check(&Ends { arrived, ..Ends::default() }).unwrap_err();
/// assert_eq!(
///     wrong.to_string(),
///     "2 things went wrong with 2 acknowledged records:\n\
///      - 1 was damaged: 1 byte became 1, the first difference is at 0\n\
///      - 1 of the stream \"room\" arrived after 2"
/// );
/// ```
#[derive(Debug, Clone, Default)]
pub struct Oracle {
    debts: Vec<Debt>,
    /// What each record that has to fail has in its reason.
    failures: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
struct Debt {
    item: Item,
    stream: Option<String>,
}

impl Oracle {
    /// Nothing was promised yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A record was acknowledged, behind those before. Records of one stream have to
    /// arrive in this order; `None`: a record in no order.
    pub fn acknowledged(
        &mut self,
        key: impl Into<String>,
        stream: Option<&str>,
        body: impl Into<Vec<u8>>,
    ) {
        let stream = stream.map(str::to_owned);
        self.debts.push(Debt { item: Item::new(key, body), stream });
    }

    /// A record that was acknowledged has to end as failed, with this in its reason. All
    /// others have to arrive.
    pub fn has_to_fail(&mut self, key: impl Into<String>, reason: impl Into<String>) {
        self.failures.insert(key.into(), reason.into());
    }

    /// How many records were acknowledged.
    pub fn len(&self) -> usize {
        self.debts.len()
    }

    /// Whether nothing was acknowledged.
    pub fn is_empty(&self) -> bool {
        self.debts.is_empty()
    }

    /// Compares: each record is at the other end, or failed where it has to and for its
    /// reason, once in all, undamaged, and those of a stream in order. What waits is not
    /// missed.
    ///
    /// # Errors
    /// All that is wrong, to be read.
    pub fn check(&self, ends: &Ends) -> Result<(), Differences> {
        let mut found = Vec::new();
        let arrived = Places::of(&ends.arrived);
        let failed = Places::of(ends.failed.iter().map(|failed| &failed.item));
        let waiting: BTreeSet<&str> = ends.waiting.iter().map(String::as_str).collect();
        for debt in &self.debts {
            debt.check(&arrived, &failed, &waiting, &mut found);
            self.check_reason(&debt.item.key, ends, &arrived, &mut found);
        }
        self.check_order(&arrived, &mut found);
        let known: BTreeSet<&str> = self.debts.iter().map(|debt| &*debt.item.key).collect();
        for item in arrived.items.iter().chain(&failed.items) {
            if !known.contains(&*item.key) {
                found.push(Difference::Unknown { key: item.key.clone() });
            }
        }
        if found.is_empty() { Ok(()) } else { Err(Differences { of: self.debts.len(), found }) }
    }

    fn check_reason(
        &self,
        key: &str,
        ends: &Ends,
        arrived: &Places<'_>,
        found: &mut Vec<Difference>,
    ) {
        let expected = self.failures.get(key);
        let mut wrong = |reason: Option<&String>| {
            let (expected, found_reason) = (expected.cloned(), reason.cloned());
            found.push(Difference::Reason { key: key.to_owned(), expected, found: found_reason });
        };
        for failed in ends.failed.iter().filter(|failed| failed.item.key == key) {
            if expected.is_none_or(|expected| !failed.reason.contains(expected)) {
                wrong(Some(&failed.reason));
            }
        }
        if expected.is_some() && arrived.count(key) > 0 {
            wrong(None);
        }
    }

    fn check_order(&self, arrived: &Places<'_>, found: &mut Vec<Difference>) {
        let mut last: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
        for debt in &self.debts {
            let Some(stream) = debt.stream.as_deref() else { continue };
            let key = &*debt.item.key;
            let Some(place) = arrived.first(key) else { continue };
            match last.get(stream) {
                Some((before, other)) if *before > place => found.push(Difference::OutOfOrder {
                    stream: stream.to_owned(),
                    key: (*other).to_owned(),
                    after: key.to_owned(),
                }),
                _ => {
                    last.insert(stream, (place, key));
                }
            }
        }
    }
}

impl Debt {
    fn check(
        &self,
        arrived: &Places<'_>,
        failed: &Places<'_>,
        waiting: &BTreeSet<&str>,
        found: &mut Vec<Difference>,
    ) {
        let key = &self.item.key;
        let times = arrived.count(key);
        if times == 0 && failed.count(key) == 0 && !waiting.contains(&**key) {
            found.push(Difference::Lost { key: key.clone() });
        }
        if times > 1 {
            found.push(Difference::Repeated { key: key.clone(), times });
        }
        if times > 0 && failed.count(key) > 0 {
            found.push(Difference::ArrivedAndFailed { key: key.clone() });
        }
        let bodies = arrived.bodies(key).chain(failed.bodies(key));
        for body in bodies.filter(|body| **body != self.item.body) {
            let same = body.iter().zip(&self.item.body).take_while(|(left, right)| left == right);
            found.push(Difference::Damaged {
                key: key.clone(),
                expected: self.item.body.len(),
                found: body.len(),
                at: same.count(),
            });
        }
    }
}

/// Where each key stands in a list.
struct Places<'a> {
    items: Vec<&'a Item>,
    of: BTreeMap<&'a str, Vec<usize>>,
}

impl<'a> Places<'a> {
    fn of(items: impl IntoIterator<Item = &'a Item>) -> Self {
        let items: Vec<&Item> = items.into_iter().collect();
        let mut of: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (place, item) in items.iter().enumerate() {
            of.entry(&item.key).or_default().push(place);
        }
        Self { items, of }
    }

    fn count(&self, key: &str) -> usize {
        self.of.get(key).map_or(0, Vec::len)
    }

    fn first(&self, key: &str) -> Option<usize> {
        self.of.get(key)?.first().copied()
    }

    fn bodies(&self, key: &str) -> impl Iterator<Item = &'a Vec<u8>> {
        let places = self.of.get(key).into_iter().flatten();
        places.filter_map(|place| self.items.get(*place)).map(|item| &item.body)
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// It was acknowledged, and is nowhere.
    Lost {
        /// The record.
        key: String,
    },
    /// The other end has it more than once.
    Repeated {
        /// The record.
        key: String,
        /// How often.
        times: usize,
    },
    /// The other end has it, and the device says that it failed.
    ArrivedAndFailed {
        /// The record.
        key: String,
    },
    /// It failed and was not to, it was to fail and arrived, or it failed for another reason.
    Reason {
        /// The record.
        key: String,
        /// What had to be in its reason; `None`: it had to arrive.
        expected: Option<String>,
        /// What it failed with; `None`: it arrived.
        found: Option<String>,
    },
    /// Its bytes are others.
    Damaged {
        /// The record.
        key: String,
        /// Bytes that were acknowledged.
        expected: usize,
        /// Bytes that there are.
        found: usize,
        /// The first that differs.
        at: usize,
    },
    /// It arrived after a later one of its stream.
    OutOfOrder {
        /// The stream.
        stream: String,
        /// The record.
        key: String,
        /// The one that it came behind.
        after: String,
    },
    /// It is there and was never acknowledged.
    Unknown {
        /// The record.
        key: String,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: &usize| if *count == 1 { "" } else { "s" };
        match self {
            Self::Lost { key } => write!(f, "{key} is lost"),
            Self::Repeated { key, times } => write!(f, "{key} arrived {times} times"),
            Self::ArrivedAndFailed { key } => write!(f, "{key} arrived, and is kept as failed"),
            Self::Reason { key, expected, found } => {
                match found {
                    Some(found) => write!(f, "{key} failed with {found:?}")?,
                    None => write!(f, "{key} arrived")?,
                }
                match expected {
                    Some(expected) => write!(f, ", and had to fail with {expected:?}"),
                    None => write!(f, ", and had to arrive"),
                }
            }
            Self::Damaged { key, expected, found, at } => {
                let s = plural(expected);
                write!(
                    f,
                    "{key} was damaged: {expected} byte{s} became {found}, the first difference \
                     is at {at}"
                )
            }
            Self::OutOfOrder { stream, key, after } => {
                write!(f, "{key} of the stream {stream:?} arrived after {after}")
            }
            Self::Unknown { key } => write!(f, "{key} was never acknowledged"),
        }
    }
}

/// All that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differences {
    of: usize,
    found: Vec<Difference>,
}

impl Differences {
    /// One by one.
    pub fn list(&self) -> &[Difference] {
        &self.found
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.found.len();
        write!(f, "{count} things went wrong with {} acknowledged records:", self.of)?;
        for difference in self.found.iter().take(MOST_SHOWN) {
            write!(f, "\n- {difference}")?;
        }
        match count.saturating_sub(MOST_SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n- and {more} more"),
        }
    }
}

impl std::error::Error for Differences {}
