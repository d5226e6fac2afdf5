//! One kept result, as a file holds it.

use std::borrow::Cow;
use std::time::Duration;

use backhaul_store::{Clock, Moment, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::tools::fingerprint::fingerprint;

/// A result, and when it was stored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    /// What the call is known by, so that a file under another name is noticed.
    pub(super) key: String,
    /// For who reads the file.
    pub(super) tool: String,
    /// By the wall clock of then, RFC 3339.
    stored_at: String,
    boot_id: String,
    since_boot_us: u64,
    pub(super) value: Value,
}

/// The text of a file: the result, and what tells whether it is whole.
#[derive(Serialize, Deserialize)]
struct Text<'a> {
    #[serde(borrow)]
    sha256: Cow<'a, str>,
    #[serde(borrow)]
    kept: &'a RawValue,
}

impl Kept {
    /// A result that is stored now.
    pub(super) fn now(key: String, tool: &str, value: &Value, clock: &dyn Clock) -> Self {
        let now = clock.now();
        Self {
            key,
            tool: tool.to_owned(),
            stored_at: now.wall.to_string(),
            boot_id: clock.boot_id().to_owned(),
            since_boot_us: u64::try_from(now.since_boot.as_micros()).unwrap_or(u64::MAX),
            value: value.clone(),
        }
    }

    /// The text of the file.
    pub(super) fn encode(&self) -> serde_json::Result<Vec<u8>> {
        let kept = serde_json::value::to_raw_value(self)?;
        let sha256 = Cow::Owned(fingerprint(&[kept.get()]));
        serde_json::to_vec(&Text { sha256, kept: &kept })
    }

    /// Reads a file. `None`: it is not as it was written.
    pub(super) fn decode(bytes: &[u8], key: &str) -> Option<Self> {
        let text: Text<'_> = serde_json::from_slice(bytes).ok()?;
        if fingerprint(&[text.kept.get()]) != text.sha256 {
            return None;
        }
        let kept: Self = serde_json::from_str(text.kept.get()).ok()?;
        (kept.key == key).then_some(kept)
    }

    /// How long ago it was stored. Within one boot its clock knows. After that the wall clock
    /// does, if it was set both times, has not gone backwards, and says no less than the time
    /// since this boot began. `None`: nobody knows.
    pub(super) fn age(&self, now: &Moment, boot_id: &str) -> Option<Duration> {
        if self.boot_id == boot_id {
            return now.since_boot.checked_sub(Duration::from_micros(self.since_boot_us));
        }
        let stored_at = Timestamp::parse(&self.stored_at)?;
        if !stored_at.min(now.wall).is_set() || now.wall < stored_at {
            return None;
        }
        Some(now.wall.since(stored_at)).filter(|age| *age >= now.since_boot)
    }
}
