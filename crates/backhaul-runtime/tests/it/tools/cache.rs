//! Results that are kept for an outage.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use backhaul_runtime::tools::{
    CachedResult, OfflinePolicy, ToolCache, ToolCacheOptions, ToolOptions, ToolResult,
};
use backhaul_store::{Clock as _, Timestamp};
use backhaul_testkit::{
    Call, CrashStyle, Fault, Faults, FaultyDisk, ManualClock, Prng, SimDisk, errno,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::fields;

const DIR: &str = "/data/tool_cache";
/// The most results in the cache that is compared with a model.
const MOST: usize = 4;
const HOUR: Duration = Duration::from_secs(3_600);

/// A disk and a clock that outlive the cache.
struct Device {
    disk: SimDisk,
    faults: Faults,
    clock: ManualClock,
    options: ToolCacheOptions,
}

impl Device {
    fn new(options: ToolCacheOptions) -> Self {
        let (disk, clock) = (SimDisk::new(), ManualClock::new());
        Self { disk, faults: Faults::new(), clock, options }
    }

    fn open(&self) -> ToolCache {
        let disk = FaultyDisk::new(self.disk.clone(), self.faults.clone());
        let clock = Arc::new(self.clock.clone());
        ToolCache::open_on(Arc::new(disk), clock, DIR, self.options.clone()).unwrap()
    }

    fn files(&self) -> Vec<PathBuf> {
        let is_file = |path: &PathBuf| path.extension().is_some();
        self.disk.paths().into_iter().filter(is_file).collect()
    }

    fn set_wall(&self, time: &str) {
        self.clock.set_wall(Timestamp::parse(time).unwrap());
    }
}

fn device() -> Device {
    Device::new(ToolCacheOptions::new())
}

fn number(n: u64) -> Map<String, Value> {
    fields(json!({ "n": n }))
}

fn age(cache: &ToolCache) -> Duration {
    cache.get("read", &number(1)).expect("a result").age
}

#[test]
fn a_result_is_that_of_the_same_tool_and_arguments_in_any_order() {
    let cache = device().open();
    let of = |text: &str| fields(serde_json::from_str(text).unwrap());
    let value = json!({"celsius": -3, "exact": 0.1});
    cache.put("read", &of(r#"{"a": 1, "b": {"c": 2, "d": 3}}"#), &value);
    let same = of(r#"{"b": {"d": 3, "c": 2}, "a": 1}"#);
    let found = cache.get("read", &same);
    assert_eq!(found, Some(CachedResult { value, age: Duration::ZERO }));
    assert_eq!(cache.get("write", &same), None);
    assert_eq!(cache.get("read", &of(r#"{"a": 1}"#)), None);
}

#[test]
fn a_result_survives_the_process_and_the_newest_counts() {
    let device = device();
    device.open().put("read", &number(1), &json!("old"));
    let cache = device.open();
    cache.put("read", &number(1), &json!("new"));
    device.clock.advance(HOUR);
    for cache in [cache, device.open()] {
        let new = CachedResult { value: json!("new"), age: HOUR };
        assert_eq!(cache.get("read", &number(1)), Some(new));
        assert_eq!(cache.status().entries, 1);
    }
    assert_eq!(device.files().len(), 1);
}

#[test]
fn within_a_boot_the_wall_clock_does_not_matter() {
    let device = device();
    let cache = device.open();
    cache.put("read", &number(1), &json!(1));
    device.clock.advance(HOUR);
    device.set_wall("1970-01-01T00:00:00Z");
    assert_eq!(age(&cache), HOUR);
    device.set_wall("2100-01-01T00:00:00Z");
    assert_eq!(age(&device.open()), HOUR);
}

#[test]
fn after_a_reboot_the_wall_clock_tells_where_it_can_be_believed() {
    let device = device();
    let cache = device.open();
    device.set_wall("2026-03-01T12:00:00Z");
    cache.put("read", &number(1), &json!(1));
    device.clock.reboot();
    device.set_wall("2026-03-01T13:00:00Z");
    device.clock.advance(HOUR);
    assert_eq!(age(&cache), 2 * HOUR);
    for (time, why) in [
        ("1970-01-01T01:00:00Z", "it is not set"),
        ("2026-03-01T11:59:59Z", "it was set back"),
        ("2026-03-01T12:30:00Z", "the boot alone was longer ago"),
    ] {
        device.set_wall(time);
        assert_eq!(age(&cache), Duration::MAX, "{why}");
    }
}

#[test]
fn a_result_that_was_stored_before_the_clock_was_set_has_no_age_after_a_reboot() {
    let device = device();
    let cache = device.open();
    device.set_wall("1970-01-01T00:00:10Z");
    cache.put("read", &number(1), &json!(1));
    device.clock.reboot();
    device.set_wall("2026-03-01T12:00:00Z");
    assert_eq!(age(&cache), Duration::MAX);
}

#[test]
fn a_tool_decides_how_old_a_result_may_be() {
    let fallback = || ToolOptions::new().offline_policy(OfflinePolicy::LocalFallback);
    let given = |age: Duration, options: &ToolOptions| match (CachedResult { value: json!(1), age })
        .for_outage(options)
    {
        Some(ToolResult::Cached { is_stale, .. }) => Some(is_stale),
        _ => None,
    };
    let fresh = fallback().local_cache_ttl(HOUR);
    assert_eq!(given(HOUR, &fresh), Some(false));
    assert_eq!(given(HOUR + Duration::from_nanos(1), &fresh), None);
    assert_eq!(given(Duration::MAX, &fallback().local_cache_ttl(Duration::MAX)), None);
    assert_eq!(given(Duration::ZERO, &fallback()), None);
    assert_eq!(given(Duration::ZERO, &fallback().local_cache_ttl(Duration::ZERO)), None);
    let stale = fresh.stale_allowed();
    assert_eq!(given(HOUR, &stale), Some(false));
    assert_eq!(given(Duration::MAX, &stale), Some(true));
}

#[test]
fn past_its_bounds_what_was_stored_first_goes() {
    let device = Device::new(ToolCacheOptions::new().max_entries(3));
    let cache = device.open();
    for n in [1, 2, 3, 1, 4] {
        cache.put("read", &number(n), &json!(n));
    }
    let held = |cache: &ToolCache| {
        (1..=4).filter(|n| cache.get("read", &number(*n)).is_some()).collect::<Vec<u64>>()
    };
    assert_eq!(held(&cache), [1, 3, 4]);
    let smaller = Device { options: ToolCacheOptions::new().max_entries(2), ..device };
    assert_eq!(held(&smaller.open()), [1, 4]);
    assert_eq!(smaller.files().len(), 2);
}

#[test]
fn bytes_are_bounded_and_what_is_larger_than_all_is_not_kept() {
    let device = Device::new(ToolCacheOptions::new().max_bytes(1_000));
    let cache = device.open();
    let text = |length| json!("x".repeat(length));
    cache.put("read", &number(1), &text(300));
    cache.put("read", &number(1), &text(2_000));
    assert_eq!(cache.get("read", &number(1)).unwrap().value, text(300), "the earlier one stays");
    cache.put("read", &number(2), &text(500));
    assert!(cache.get("read", &number(1)).is_none());
    assert!(cache.get("read", &number(2)).is_some());
    let status = cache.status();
    assert_eq!((status.entries, status.damaged), (1, 0));
    assert!((500..=1_000).contains(&status.bytes), "{status:?}");
    let none = Device::new(ToolCacheOptions::new().max_entries(0)).open();
    none.put("read", &number(1), &json!(1));
    assert_eq!(none.status().entries, 0);
}

#[test]
fn a_file_with_any_damage_is_counted_and_removed() {
    let device = device();
    let cache = device.open();
    cache.put("read", &number(1), &json!({"celsius": 21.5}));
    let path = device.files().remove(0);
    let whole = device.disk.read_file(&path).unwrap();
    let cut = whole.len() / 2;
    let mut damages: Vec<Vec<u8>> = (0..whole.len())
        .map(|at| {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            bytes
        })
        .collect();
    damages.extend([Vec::new(), whole[..cut].to_vec(), vec![0; whole.len()]]);
    for bytes in damages {
        device.disk.write_file(&path, &bytes).unwrap();
        let cache = device.open();
        assert_eq!(cache.get("read", &number(1)), None, "{}", String::from_utf8_lossy(&bytes));
        assert_eq!((cache.status().damaged, cache.status().entries), (1, 0));
        assert!(device.files().is_empty());
    }
}

#[test]
fn a_result_under_the_name_of_another_is_damaged() {
    let device = device();
    device.open().put("read", &number(1), &json!("of 1"));
    let first = device.files().remove(0);
    let bytes = device.disk.read_file(&first).unwrap();
    device.open().put("read", &number(2), &json!("of 2"));
    let second = device.files().into_iter().find(|path| *path != first).unwrap();
    device.disk.write_file(&second, &bytes).unwrap();
    assert_eq!(device.open().get("read", &number(2)), None);
}

#[test]
fn files_of_others_and_of_later_versions_are_left_alone() {
    let device = device();
    let cache = device.open();
    cache.put("read", &number(1), &json!(1));
    let own = device.files().remove(0).display().to_string();
    let theirs = [own.replace(".v1.", ".v2."), format!("{DIR}/notes.txt")];
    for path in &theirs {
        device.disk.write_file(path, b"theirs").unwrap();
    }
    let partial = own.replace(".json", ".tmp");
    device.disk.write_file(&partial, b"half").unwrap();
    let cache = Device { options: ToolCacheOptions::new().max_entries(0), ..device };
    assert_eq!(cache.open().status().entries, 0);
    let left: Vec<String> = cache.files().iter().map(|path| path.display().to_string()).collect();
    let mut expected = theirs.to_vec();
    expected.sort();
    assert_eq!(left, expected, "what is this cache's own is gone, the half of a file too");
}

#[test]
fn a_disk_that_fails_is_no_failure_of_a_tool() {
    let device = device();
    let cache = device.open();
    cache.put("read", &number(1), &json!("old"));
    for call in [Call::Create, Call::Write, Call::Rename] {
        device.faults.add(Fault::new(call, errno::EIO).times(1));
        cache.put("read", &number(1), &json!("new"));
        assert_eq!(cache.get("read", &number(1)).unwrap().value, json!("old"), "{call:?}");
        assert_eq!(device.files().len(), 1, "{call:?}");
    }
    device.faults.add(Fault::new(Call::Read, errno::EIO).times(1));
    assert_eq!(cache.get("read", &number(1)), None);
    assert!(cache.get("read", &number(1)).is_some(), "it was not the file");
    device.faults.add(Fault::new(Call::Remove, errno::EIO).times(1));
    cache.put("read", &number(1), &json!("new"));
    assert_eq!(device.files().len(), 2, "the old one could not be removed");
    assert_eq!(device.open().get("read", &number(1)).unwrap().value, json!("new"));
    assert_eq!(device.files().len(), 1);
}

#[test]
fn a_folder_that_cannot_be_read_is_told_when_it_is_opened() {
    let faults = Faults::new();
    faults.add(Fault::new(Call::List, errno::EACCES));
    let disk = Arc::new(FaultyDisk::new(SimDisk::new(), faults));
    let clock = Arc::new(ManualClock::new());
    let error = ToolCache::open_on(disk, clock, DIR, ToolCacheOptions::new()).unwrap_err();
    assert!(error.to_string().starts_with("the cache of tools in /data/tool_cache: "), "{error}");
}

#[test]
fn files_are_their_owners_alone_and_their_names_tell_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("tool_cache");
    let cache = ToolCache::open(&dir, ToolCacheOptions::new()).unwrap();
    cache.put("unlock", &fields(json!({"pin": "4711"})), &json!("ok"));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    let files: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|file| file.unwrap()).collect();
    assert_eq!(files.len(), 1);
    assert_eq!(mode(&files[0].path()), 0o600);
    let name = files[0].file_name().into_string().unwrap();
    assert!(!name.contains("4711") && !name.contains("unlock"), "{name}");
}

#[test]
fn the_format_is_as_it_is_documented() {
    let device = device();
    device.clock.advance(Duration::from_micros(1_500_000));
    device.open().put("read", &number(1), &json!({"celsius": 21.50}));
    let path = device.files().remove(0);
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    assert!(name.starts_with("0000000000000000-") && name.ends_with(".v1.json"), "{name}");
    let text: Value = serde_json::from_slice(&device.disk.read_file(&path).unwrap()).unwrap();
    let kept = &text["kept"];
    assert_eq!(text["sha256"].as_str().map(str::len), Some(64));
    assert_eq!(name[17..81], *kept["key"].as_str().unwrap());
    assert_eq!(kept["tool"], "read");
    assert_eq!(kept["stored_at"], "2026-01-01T00:00:01.5Z");
    assert_eq!(kept["boot_id"], "boot-1");
    assert_eq!(kept["since_boot_us"], 1_500_000);
    assert_eq!(kept["value"], json!({"celsius": 21.50}));
}

/// What may happen to a cache.
#[derive(Debug, Clone)]
enum Event {
    Put {
        n: u64,
        length: usize,
    },
    Get(u64),
    Advance(u64),
    SetWall(i64),
    Reboot,
    Reopen,
    /// One bit of a file flips.
    Damage {
        file: usize,
        offset: u64,
    },
    PowerCut(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..6_u64, 0..400_usize).prop_map(|(n, length)| Event::Put { n, length }),
        6 => (0..6_u64).prop_map(Event::Get),
        2 => (0..10_000_u64).prop_map(Event::Advance),
        1 => (0..4_000_000_000_i64).prop_map(Event::SetWall),
        1 => Just(Event::Reboot),
        1 => Just(Event::Reopen),
        1 => (0..10_usize, 0..300_u64).prop_map(|(file, offset)| Event::Damage { file, offset }),
        1 => any::<u64>().prop_map(Event::PowerCut),
    ]
}

/// What a cache should hold.
#[derive(Default)]
struct Model {
    held: BTreeMap<u64, Stored>,
    /// All that was ever stored, by number. A power cut may bring any of it back.
    ever: BTreeMap<u64, Vec<Stored>>,
    puts: u64,
    seconds: u64,
    boot: u64,
    /// Whether the wall clock was tampered with, ever.
    is_wall_wrong: bool,
    was_cut: bool,
}

#[derive(Clone)]
struct Stored {
    /// How many had been stored before it.
    order: u64,
    value: String,
    at: u64,
    boot: u64,
    /// It may be damaged.
    is_doubtful: bool,
}

impl Model {
    fn put(&mut self, n: u64, value: String) {
        let (at, boot, order) = (self.seconds, self.boot, self.puts);
        let stored = Stored { order, value, at, boot, is_doubtful: false };
        self.puts += 1;
        self.ever.entry(n).or_default().push(stored.clone());
        self.held.insert(n, stored);
        if self.held.len() > MOST {
            let first = self.held.iter().min_by_key(|(_, stored)| stored.order);
            let first = *first.expect("it is not empty").0;
            self.held.remove(&first);
        }
    }

    fn check(&mut self, n: u64, found: Option<CachedResult>, since_boot: Duration) {
        match (found, self.held.get(&n)) {
            (None, None) => {}
            (None, Some(stored)) => {
                assert!(stored.is_doubtful || self.was_cut, "{n} is lost");
                self.held.remove(&n);
            }
            (Some(found), _) if self.was_cut => {
                let all = self.ever.get(&n).into_iter().flatten();
                let is_one = all.clone().any(|stored| self.is_of(stored, &found, since_boot));
                assert!(is_one, "{n}: {found:?} was never stored");
            }
            (Some(found), Some(stored)) => {
                assert!(self.is_of(stored, &found, since_boot), "{n}: {found:?}");
            }
            (Some(found), None) => panic!("{n}: {found:?} was evicted"),
        }
    }

    fn is_of(&self, stored: &Stored, found: &CachedResult, since_boot: Duration) -> bool {
        let age = Duration::from_secs(self.seconds - stored.at);
        let is_age = match stored.boot == self.boot || !self.is_wall_wrong {
            true => found.age == age,
            false => found.age >= since_boot,
        };
        found.value == json!(stored.value) && is_age
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_cache_is_as_its_model_whatever_happens(events in prop::collection::vec(event(), 1..60)) {
        let device = Device::new(ToolCacheOptions::new().max_entries(MOST));
        let (mut cache, mut model) = (device.open(), Model::default());
        for event in events {
            match event {
                Event::Put { n, length } => {
                    let value = format!("{n}:{}", "x".repeat(length));
                    cache.put("read", &number(n), &json!(value));
                    model.put(n, value);
                }
                Event::Get(n) => {
                    let found = cache.get("read", &number(n));
                    model.check(n, found, device.clock.now().since_boot);
                }
                Event::Advance(seconds) => {
                    device.clock.advance(Duration::from_secs(seconds));
                    model.seconds += seconds;
                }
                Event::SetWall(second) => {
                    device.clock.set_wall(Timestamp::from_micros(second * 1_000_000));
                    model.is_wall_wrong = true;
                }
                Event::Reboot => {
                    device.clock.reboot();
                    model.boot += 1;
                }
                Event::Reopen => cache = device.open(),
                Event::Damage { file, offset } => {
                    if let Some(path) = device.files().get(file) {
                        // Beyond its end: nothing happens.
                        let _ = device.disk.flip_bit(path, offset, 1);
                        model.held.values_mut().for_each(|stored| stored.is_doubtful = true);
                    }
                }
                Event::PowerCut(seed) => {
                    let mut prng = Prng::new(seed);
                    let style = CrashStyle::random(&mut prng);
                    device.disk.power_cut(&mut prng, &style);
                    device.clock.reboot();
                    cache = device.open();
                    model.boot += 1;
                    model.was_cut = true;
                }
            }
            prop_assert!(cache.status().entries <= MOST);
        }
    }
}
