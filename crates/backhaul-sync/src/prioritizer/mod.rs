//! Rules that say which of the waiting records go first.
//!
//! # Rules
//! - A record's score is the sum of its rules; the highest go first, of equal ones the
//!   oldest.
//! - When a record is stored its score chooses the lane ([`LaneScores`]). Among those that
//!   wait, scores are taken anew for each batch, over a window at each lane's head
//!   ([`Choice`]): a million that wait behind it cost nothing.
//! - The oldest has a share that no score takes from it: of ten batches that are answered
//!   one begins with the record that has waited longest, whatever its lane, and each tenth
//!   place of a batch goes to the oldest of the window. So the oldest of all goes within ten
//!   batches; an outage does not count.
//! - Order within a stream stays: scores order the first records of streams.
//! - A rule that fails counts 0 and is told of once.

mod config;
mod entry;
mod field;
mod lane_scores;
mod rule;

use std::fmt;
use std::sync::Arc;

use backhaul_store::{Choice, Chooser, Lane, Scorer, StoredRecord, WINDOW, Waited};

pub use self::config::{PrioritizerConfig, RuleConfig};
pub use self::entry::Entry;
pub use self::lane_scores::LaneScores;
pub use self::rule::FailingRule;
use self::rule::Rule;
use crate::options::OptionError;

/// Completes an entry with what its record says: run id, metadata, success. The crate that
/// knows what a record means gives it.
pub type Describe = Arc<dyn Fn(&StoredRecord, &mut Entry) + Send + Sync>;

/// Named rules that score records: which go first when there is not bandwidth for all.
///
/// Cheap to clone; all clones are one.
///
/// ```
/// use backhaul_store::Lane;
/// use backhaul_sync::{Entry, SyncPrioritizer};
///
/// let prioritizer = SyncPrioritizer::builder()
///     // Critical runs first.
///     .rule("priority", |r| if r.critical { 100.0 } else { 0.0 })
///     // Recent over old.
///     .rule("recency", |r| 50.0 / r.age_hours.max(1.0))
///     // Small records first: they sync faster.
///     .rule("size", |r| if r.size_kb < 10.0 { 10.0 } else { 0.0 })
///     .build()?;
///
/// let entry = Entry { age_hours: 5.0, size_kb: 2.0, ..Entry::default() };
/// assert_eq!(prioritizer.score(&entry), 20.0);
/// assert_eq!(prioritizer.lane(&entry), Lane::Normal);
/// assert_eq!(prioritizer.lane(&Entry { critical: true, ..entry }), Lane::Critical);
/// # Ok::<(), backhaul_sync::OptionError>(())
/// ```
#[derive(Clone)]
pub struct SyncPrioritizer {
    rules: Arc<Rules>,
    describe: Option<Describe>,
}

struct Rules {
    rules: Vec<Rule>,
    lanes: LaneScores,
    choice: Choice,
}

/// How a prioritizer is put together; made by [`SyncPrioritizer::builder`].
#[derive(Default)]
pub struct SyncPrioritizerBuilder {
    rules: Vec<Result<Rule, OptionError>>,
    lanes: LaneScores,
    choice: Choice,
}

impl SyncPrioritizerBuilder {
    /// Adds a rule as a function of the entry. It is called while the spool is locked, so it
    /// must not use the spool. One that panics, or gives no number, counts 0.
    #[must_use]
    pub fn rule(
        mut self,
        name: impl Into<String>,
        points: impl Fn(&Entry) -> f64 + Send + Sync + 'static,
    ) -> Self {
        self.rules.push(Ok(Rule::new(name.into(), move |entry| Ok(points(entry)))));
        self
    }

    /// Adds the rules of a configuration, and takes its other settings.
    #[must_use]
    pub fn config(mut self, config: &PrioritizerConfig) -> Self {
        self.rules.extend(config.rules.iter().map(RuleConfig::to_rule));
        self.lanes = config.lanes;
        self.choice = config.choice();
        self
    }

    /// The scores from which on a record goes to a lane.
    #[must_use]
    pub fn lanes(mut self, lanes: LaneScores) -> Self {
        self.lanes = lanes;
        self
    }

    /// The window, and the share of the oldest.
    #[must_use]
    pub fn choice(mut self, choice: Choice) -> Self {
        self.choice = choice;
        self
    }

    /// Puts the prioritizer together. Without a rule all scores are 0.
    ///
    /// # Errors
    /// Names the rule or the setting, what was found and what was expected.
    pub fn build(self) -> Result<SyncPrioritizer, OptionError> {
        let rules = self.rules.into_iter().collect::<Result<Vec<_>, _>>()?;
        for (index, rule) in rules.iter().enumerate() {
            if rule.name().is_empty() {
                let found = format!("rule {} has no name", index + 1);
                return Err(OptionError::inside(
                    "rules",
                    format!("{found}: expected a name of its own"),
                ));
            }
            if rules.iter().take(index).any(|other| other.name() == rule.name()) {
                let found = format!("two rules are called {:?}", rule.name());
                return Err(OptionError::inside(
                    "rules",
                    format!("{found}: expected a name for each"),
                ));
            }
        }
        self.lanes.check()?;
        check_choice(&self.choice)?;
        let rules = Rules { rules, lanes: self.lanes, choice: self.choice };
        Ok(SyncPrioritizer { rules: Arc::new(rules), describe: None })
    }
}

impl fmt::Debug for SyncPrioritizerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncPrioritizerBuilder")
            .field("rules", &self.rules.len())
            .field("lanes", &self.lanes)
            .field("choice", &self.choice)
            .finish()
    }
}

fn check_choice(choice: &Choice) -> Result<(), OptionError> {
    let most = usize::try_from(WINDOW).unwrap_or(usize::MAX);
    let bad = |option, found: usize, expected| Err(OptionError::new(option, found, expected));
    if !(1..=most).contains(&choice.window_records) {
        return bad("window_records", choice.window_records, "1 to 4096");
    }
    if choice.window_bytes == 0 {
        return bad("window_bytes", 0, "at least 1");
    }
    if choice.oldest_every == 0 {
        return bad("oldest_every", 0, "at least 1");
    }
    Ok(())
}

impl SyncPrioritizer {
    /// A prioritizer to be put together.
    pub fn builder() -> SyncPrioritizerBuilder {
        SyncPrioritizerBuilder::default()
    }

    /// The prioritizer of a configuration.
    ///
    /// # Errors
    /// As for [`SyncPrioritizerBuilder::build`].
    pub fn from_config(config: &PrioritizerConfig) -> Result<Self, OptionError> {
        Self::builder().config(config).build()
    }

    /// The same rules, which see of each record what `describe` says. Without it they see
    /// the record's labels as its metadata, and success.
    #[must_use]
    pub fn describing(&self, describe: Describe) -> Self {
        Self { rules: Arc::clone(&self.rules), describe: Some(describe) }
    }

    /// The sum of what the rules give.
    pub fn score(&self, entry: &Entry) -> f64 {
        self.rules.score(entry)
    }

    /// The lane for a record that is to be stored: critical for one that says so of itself,
    /// else by its score. Lanes overtake each other, so it is not for records of a stream,
    /// whose order is to be kept.
    pub fn lane(&self, entry: &Entry) -> Lane {
        if entry.critical { Lane::Critical } else { self.rules.lanes.lane(self.score(entry)) }
    }

    /// The rules that have failed so far, each with how it failed first.
    pub fn failing_rules(&self) -> Vec<FailingRule> {
        self.rules.rules.iter().filter_map(Rule::failing).collect()
    }
}

impl Rules {
    fn score(&self, entry: &Entry) -> f64 {
        self.rules.iter().map(|rule| rule.points(entry)).sum()
    }
}

impl Chooser for SyncPrioritizer {
    fn scorer(&self, record: &StoredRecord) -> Scorer {
        let rules = Arc::clone(&self.rules);
        let mut entry = Entry::of(record);
        if let Some(describe) = &self.describe {
            describe(record, &mut entry);
        }
        Box::new(move |Waited { age, attempts }| {
            entry.age_hours = age.as_secs_f64() / 3600.0;
            entry.attempts = *attempts;
            rules.score(&entry)
        })
    }

    fn choice(&self) -> Choice {
        self.rules.choice
    }
}

impl fmt::Debug for SyncPrioritizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.rules.rules.iter().map(Rule::name).collect();
        f.debug_struct("SyncPrioritizer")
            .field("rules", &names)
            .field("lanes", &self.rules.lanes)
            .field("choice", &self.rules.choice)
            .finish_non_exhaustive()
    }
}
