//! The outage switch: while it is on, this device counts as offline.
//!
//! It stands in a file of the data dir, so that it survives restarts and is seen by
//! every process that delivers from there. Its time is counted as the store counts the
//! age of a record: by the boot clock within a boot; across boots by the wall clock, and
//! never by less than the time since the boot, so that a wall clock that went backwards
//! cannot keep a device silent.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backhaul_store::{Clock, Disk, Open, OsDisk, Stamp, SystemClock, Timestamp};
use backhaul_sync::PlannedOutage;
use serde::{Deserialize, Serialize};

use crate::config::OutageSetting;

const FILE: &str = "outage.json";
const FORMAT: u32 = 1;

/// The switch of a data dir, which `backhaul outage` turns on and off.
///
/// ```
/// use backhaul::config::OutageSetting;
/// use backhaul::offline::OutageSwitch;
///
/// # let data_dir = std::env::temp_dir().join(format!("backhaul-outage-doc-{}", std::process::id()));
/// let switch = OutageSwitch::of(&data_dir, OutageSetting::Off);
/// switch.turn_on(None)?;
/// assert!(switch.outage().is_some());
/// // courier.offline_while(move || switch.outage());
/// switch.turn_off()?;
/// assert!(switch.outage().is_none());
/// # std::fs::remove_dir_all(&data_dir)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct OutageSwitch {
    dir: PathBuf,
    clock: Arc<dyn Clock>,
    /// As the settings of this process say.
    from_setting: Option<TurnedOn>,
    has_warned: AtomicBool,
}

/// An outage that lasts, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutageReport {
    /// None: until it is turned off.
    pub left_seconds: Option<u64>,
    /// What turned it on: `switch` or `setting`.
    pub source: String,
}

/// When the switch was turned on, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct TurnedOn {
    format: u32,
    /// When, by the wall clock.
    at: String,
    boot: String,
    since_boot_ms: u64,
    /// None: until it is turned off.
    for_ms: Option<u64>,
}

impl OutageSwitch {
    /// The switch of a data dir, which need not be there yet, with what the setting says
    /// for this process, from now on.
    pub fn of(data_dir: &Path, setting: OutageSetting) -> Self {
        Self::new(data_dir, Arc::new(SystemClock::new()), setting)
    }

    fn new(data_dir: &Path, clock: Arc<dyn Clock>, setting: OutageSetting) -> Self {
        let from_setting = match setting {
            OutageSetting::Off => None,
            OutageSetting::On => Some(TurnedOn::now(&*clock, None)),
            OutageSetting::For(time) => Some(TurnedOn::now(&*clock, Some(time))),
        };
        let dir = data_dir.to_owned();
        Self { dir, clock, from_setting, has_warned: AtomicBool::new(false) }
    }

    /// The outage that lasts, if one does.
    pub fn report(&self) -> Option<OutageReport> {
        let in_file = self.read().and_then(|turned_on| turned_on.left(&*self.clock));
        let in_settings = || self.from_setting.as_ref()?.left(&*self.clock);
        let (left, source) = match in_file {
            Some(left) => (left, "switch"),
            None => (in_settings()?, "setting"),
        };
        // Rounded up: what lasts has some time left.
        let seconds = |left: Duration| left.as_secs() + u64::from(left.subsec_nanos() > 0);
        Some(OutageReport { left_seconds: left.map(seconds), source: source.to_owned() })
    }

    /// [`report`](OutageSwitch::report), as a courier
    /// [asks for it](backhaul_sync::SyncManager::offline_while).
    pub fn outage(&self) -> Option<PlannedOutage> {
        let report = self.report()?;
        Some(PlannedOutage {
            reason: report.to_string(),
            left: report.left_seconds.map(Duration::from_secs),
        })
    }

    /// Turns the switch on, durably.
    ///
    /// # Errors
    /// Where the file cannot be written; the switch stands as it stood.
    pub fn turn_on(&self, time: Option<Duration>) -> io::Result<()> {
        let text = serde_json::to_vec(&TurnedOn::now(&*self.clock, time))?;
        let path = self.dir.join(FILE);
        let write = || {
            OsDisk.create_dir_all(&self.dir)?;
            let new = path.with_extension("json.new");
            let file = OsDisk.open(&new, Open::Create)?;
            file.set_len(0)?;
            file.write_all_at(&text, 0)?;
            file.flush()?;
            OsDisk.rename(&new, &path)?;
            OsDisk.sync_dir(&self.dir)
        };
        write().map_err(|error| about("cannot write", &path, &error))
    }

    /// Turns the switch off, durably. What the setting says stays.
    ///
    /// # Errors
    /// Where the file cannot be removed.
    pub fn turn_off(&self) -> io::Result<()> {
        let path = self.dir.join(FILE);
        match std::fs::remove_file(&path).and_then(|()| OsDisk.sync_dir(&self.dir)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(about("cannot remove", &path, &error))
            }
            _ => Ok(()),
        }
    }

    /// A file that cannot be read counts as none: a device that nobody reaches any more
    /// is worse than one that sends.
    fn read(&self) -> Option<TurnedOn> {
        let path = self.dir.join(FILE);
        let bad = |error: &dyn std::fmt::Display| {
            if self.has_warned.swap(true, Ordering::Relaxed) {
                return;
            }
            tracing::warn!(path = %path.display(), %error, "the outage switch cannot be read, and counts as off: turn it on again");
        };
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                bad(&error);
                return None;
            }
        };
        match serde_json::from_slice::<TurnedOn>(&text) {
            Ok(turned_on) if turned_on.format == FORMAT => Some(turned_on),
            Ok(turned_on) => {
                bad(&format!("it has format {}, expected {FORMAT}", turned_on.format));
                None
            }
            Err(error) => {
                bad(&error);
                None
            }
        }
    }
}

impl TurnedOn {
    fn now(clock: &dyn Clock, time: Option<Duration>) -> Self {
        let now = clock.now();
        Self {
            format: FORMAT,
            at: now.wall.to_string(),
            boot: clock.boot_id().to_owned(),
            since_boot_ms: whole_ms(now.since_boot),
            for_ms: time.map(whole_ms),
        }
    }

    /// None: it is over. `Some(None)`: it lasts until it is turned off.
    fn left(&self, clock: &dyn Clock) -> Option<Option<Duration>> {
        let Some(whole) = self.for_ms.map(Duration::from_millis) else { return Some(None) };
        let left = whole.checked_sub(self.age(clock))?;
        (!left.is_zero()).then_some(Some(left))
    }

    fn age(&self, clock: &dyn Clock) -> Duration {
        let now = clock.now();
        let stamp = Stamp {
            wall: Timestamp::parse(&self.at).unwrap_or(now.wall),
            boot_id: self.boot.clone(),
            since_boot: Duration::from_millis(self.since_boot_ms),
            flush: String::new(),
        };
        let age = stamp.age(&now, clock.boot_id());
        if self.boot == clock.boot_id() { age } else { age.max(now.since_boot) }
    }
}

impl std::fmt::Display for OutageReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let who = match self.source.as_str() {
            "setting" => "the setting `outage`",
            _ => "`backhaul outage`",
        };
        write!(f, "an outage was asked for by {who}")?;
        match self.left_seconds {
            Some(seconds) => write!(f, ", for {seconds} s more"),
            None => write!(f, ", until it is turned off"),
        }
    }
}

fn about(what: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what} {}: {error}", path.display()))
}

fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use backhaul_testkit::ManualClock;
    use tempfile::tempdir;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn switch(dir: &Path, clock: &ManualClock, setting: OutageSetting) -> OutageSwitch {
        OutageSwitch::new(dir, Arc::new(clock.clone()), setting)
    }

    fn left(dir: &Path, clock: &ManualClock) -> Option<Option<u64>> {
        switch(dir, clock, OutageSetting::Off).report().map(|report| report.left_seconds)
    }

    #[test]
    fn it_is_on_until_it_is_turned_off_also_after_a_restart() {
        let (dir, clock) = (tempdir().unwrap(), ManualClock::new());
        let switch = switch(&dir.path().join("new"), &clock, OutageSetting::Off);
        assert_eq!(switch.report(), None);
        switch.turn_off().unwrap();
        switch.turn_on(None).unwrap();
        clock.advance(MINUTE * 60 * 24 * 400);
        clock.reboot();
        assert_eq!(left(&dir.path().join("new"), &clock), Some(None));
        switch.turn_off().unwrap();
        assert_eq!(left(&dir.path().join("new"), &clock), None);
    }

    #[test]
    fn its_time_is_counted_by_the_boot_clock_whatever_the_wall_clock_says() {
        let (dir, clock) = (tempdir().unwrap(), ManualClock::new());
        switch(dir.path(), &clock, OutageSetting::Off).turn_on(Some(MINUTE * 10)).unwrap();
        for wall in ["1970-01-01T00:00:00Z", "2090-01-01T00:00:00Z", "2025-01-01T00:00:00Z"] {
            clock.set_wall(Timestamp::parse(wall).unwrap());
            assert_eq!(left(dir.path(), &clock), Some(Some(600)), "{wall}");
        }
        clock.advance(MINUTE * 9);
        assert_eq!(left(dir.path(), &clock), Some(Some(60)));
        clock.advance(MINUTE);
        assert_eq!(left(dir.path(), &clock), None);
    }

    #[test]
    fn after_a_reboot_it_lasts_no_longer_than_its_time_since_the_boot() {
        for wall in ["1970-01-01T00:00:00Z", "2025-06-01T00:00:00Z"] {
            let (dir, clock) = (tempdir().unwrap(), ManualClock::new());
            clock.set_wall(Timestamp::parse("2026-01-01T00:00:00Z").unwrap());
            switch(dir.path(), &clock, OutageSetting::Off).turn_on(Some(MINUTE * 10)).unwrap();
            clock.advance(MINUTE * 2);
            clock.reboot();
            clock.set_wall(Timestamp::parse(wall).unwrap());
            assert!(left(dir.path(), &clock).is_some(), "{wall}");
            clock.advance(MINUTE * 10);
            assert_eq!(left(dir.path(), &clock), None, "{wall}");
        }
    }

    #[test]
    fn after_a_reboot_with_the_right_time_it_ends_when_it_was_going_to() {
        let (dir, clock) = (tempdir().unwrap(), ManualClock::new());
        clock.set_wall(Timestamp::parse("2026-01-01T00:00:00Z").unwrap());
        switch(dir.path(), &clock, OutageSetting::Off).turn_on(Some(MINUTE * 10)).unwrap();
        clock.advance(MINUTE * 2);
        clock.reboot();
        clock.set_wall(Timestamp::parse("2026-01-01T00:06:00Z").unwrap());
        assert_eq!(left(dir.path(), &clock), Some(Some(240)));
    }

    #[test]
    fn a_file_that_cannot_be_read_counts_as_off_and_is_replaced() {
        let (dir, clock) = (tempdir().unwrap(), ManualClock::new());
        for text in ["", "{}", "{\"format\":9,\"at\":\"\",\"boot\":\"\",\"since_boot_ms\":0}"] {
            std::fs::write(dir.path().join(FILE), text).unwrap();
            assert_eq!(left(dir.path(), &clock), None, "{text}");
        }
        switch(dir.path(), &clock, OutageSetting::Off).turn_on(None).unwrap();
        assert_eq!(left(dir.path(), &clock), Some(None));
    }

    #[test]
    fn the_setting_speaks_for_the_process() {
        let (dir, clock) = (tempdir().unwrap(), ManualClock::new());
        let report = |switch: &OutageSwitch| {
            switch.report().map(|report| (report.left_seconds, report.source))
        };
        let on = switch(dir.path(), &clock, OutageSetting::On);
        on.turn_off().unwrap();
        assert_eq!(report(&on), Some((None, "setting".to_owned())));
        let timed = switch(dir.path(), &clock, OutageSetting::For(MINUTE * 10));
        clock.advance(MINUTE * 9);
        assert_eq!(report(&timed), Some((Some(60), "setting".to_owned())));
        clock.advance(MINUTE);
        assert_eq!(report(&timed), None);
        assert_eq!(report(&switch(dir.path(), &clock, OutageSetting::Off)), None);
    }
}
