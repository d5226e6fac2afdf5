//! Power cuts and kills: random work on two projects, disks as a power cut could leave them at
//! every flush of it; what opens them next finds all that was acknowledged, once and whole.
//!
//! `BACKHAUL_CRASH_IMAGES` asks for more images than the ordinary run has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use backhaul_testkit::errno::{EIO, ENOSPC};
use backhaul_testkit::{
    Call, CrashStyle, Fault, Faults, FaultyDisk, ManualClock, Prng, SimDisk, SimSnapshot,
};
use backhaul_weave::{
    Entry, EntryType, Kind, OfflineOptions, OfflineTraceServer, ProjectId, digest,
};
use serde_json::{Value, json};

use super::support::{call, deliver, entries, object, open, open_on, options, project};

/// Images in the ordinary test run.
const IMAGES: usize = 1_000;
/// Every so many images, the recovery itself is cut too.
const CUT_RECOVERY_EVERY: usize = 60;

/// Something that is logged: its project, its kind, and what no other of that kind has.
type Item = (ProjectId, Kind, String);

/// What the workload was told so far.
#[derive(Debug, Clone, Default)]
struct Told {
    attempted: BTreeSet<Item>,
    acknowledged: BTreeSet<Item>,
    /// Those that may be delivered, and removed.
    delivered: BTreeSet<Item>,
}

struct Moment {
    snapshot: SimSnapshot,
    told: Told,
}

/// Content follows from a number.
fn content(number: u64) -> Vec<u8> {
    Prng::new(number).bytes([0, 30, 5_000, 20_000][usize::try_from(number % 4).unwrap()] + 8)
}

/// What tells a record from others of its kind.
fn mark_of(entry: &Entry) -> String {
    let value = entry.value();
    let mark = match entry.entry_type() {
        EntryType::CallStart => &value["id"],
        EntryType::ObjCreate | EntryType::OpCreate => &value["val"]["n"],
        EntryType::TableCreate => &value["rows"][0]["n"],
        EntryType::FileCreate => &value["digest"],
        other => panic!("{other:?} was never logged"),
    };
    mark.as_str().map_or_else(|| mark.to_string(), ToOwned::to_owned)
}

struct Workload {
    disk: SimDisk,
    faults: Faults,
    clock: ManualClock,
    server: Option<OfflineTraceServer>,
    random: Prng,
    told: Arc<Mutex<Told>>,
    next: u64,
    has_faults: bool,
}

impl Workload {
    fn new(disk: &SimDisk, seed: u64, told: &Arc<Mutex<Told>>) -> Self {
        Self {
            disk: disk.clone(),
            faults: Faults::new(),
            clock: ManualClock::new(),
            server: None,
            random: Prng::new(seed),
            told: Arc::clone(told),
            next: seed << 20,
            has_faults: seed.is_multiple_of(2),
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap()
    }

    fn server(&mut self) -> Option<OfflineTraceServer> {
        if self.server.is_none() {
            let disk = FaultyDisk::new(self.disk.clone(), self.faults.clone());
            // Sometimes new files are plain.
            let options = OfflineOptions { compress: self.random.chance(0.7), ..options() };
            let opened = open_on(Arc::new(disk), options, &self.clock);
            assert!(opened.is_ok() || self.has_faults, "{opened:?}");
            self.server = opened.ok();
        }
        self.server.clone()
    }

    /// Sometimes a call fails soon.
    fn plan_failures(&mut self) {
        self.faults.clear();
        if self.has_faults && self.random.chance(0.15) {
            let call = *self.random.pick(&[Call::Flush, Call::Write, Call::SyncDir, Call::Rename]);
            let errno = *self.random.pick(&[EIO, ENOSPC]);
            let fault = Fault::new(call, errno).after(self.random.below(6));
            self.faults.add(fault.times(1 + self.random.below(2)));
        }
    }

    fn step(&mut self) {
        self.plan_failures();
        let Some(server) = self.server() else { return };
        let project = project(["me/one", "two"][self.random.index(2)]);
        let kind = *self.random.pick(&Kind::ALL);
        match self.random.below(20) {
            0..=5 => self.log_calls(&server, &project),
            6 | 7 => self.create_object(&server, &project),
            8 => self.create_table(&server, &project),
            9..=12 => self.create_file(&server, &project),
            13 | 14 => self.deliver(&server, &project, kind),
            15 => drop(server.clean_synced_files(Duration::ZERO)),
            16 | 17 => self.maintain(&server),
            18 => self.server = None,
            _ => {
                // The next one finds what a killed one left.
                self.server = None;
                self.disk.kill_process();
            }
        }
    }

    fn attempt<T, E: std::fmt::Debug>(&self, items: &[Item], log: impl FnOnce() -> Result<T, E>) {
        // A version or content that was delivered before is news again.
        {
            let mut told = self.told();
            told.attempted.extend(items.iter().cloned());
        }
        let result = log();
        assert!(result.is_ok() || self.has_faults, "{:?}", result.err());
        if result.is_ok() {
            self.told().acknowledged.extend(items.iter().cloned());
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn log_calls(&mut self, server: &OfflineTraceServer, project: &ProjectId) {
        let count = 1 + self.random.below(5);
        let ids: Vec<String> = (0..count).map(|_| self.number().to_string()).collect();
        let items: Vec<Item> =
            ids.iter().map(|id| (project.clone(), Kind::Calls, id.clone())).collect();
        let entries: Vec<Entry> = ids.iter().map(|id| call(id)).collect();
        self.attempt(&items, || server.log(project, &entries));
    }

    fn create_object(&mut self, server: &OfflineTraceServer, project: &ProjectId) {
        let number = self.number();
        let mut value = json!({"n": number});
        let kind = if self.random.chance(0.5) { Kind::Ops } else { Kind::Objects };
        if kind == Kind::Ops {
            value["weave_type"] = json!({"type": "Op"});
        }
        let item = (project.clone(), kind, number.to_string());
        let object = object(["f", "g"][self.random.index(2)], &value);
        let twice = 1 + self.random.below(2);
        self.attempt(&[item], || {
            (0..twice).try_for_each(|_| server.create_object(project, &object).map(drop))
        });
    }

    fn create_table(&mut self, server: &OfflineTraceServer, project: &ProjectId) {
        let number = self.number();
        let item = (project.clone(), Kind::Tables, number.to_string());
        let table = json!({"rows": [{"n": number}]});
        self.attempt(&[item], || server.create_table(project, &table));
    }

    fn create_file(&mut self, server: &OfflineTraceServer, project: &ProjectId) {
        let content = content(self.number());
        let item = (project.clone(), Kind::Files, digest::of_file(&content));
        self.attempt(&[item], || server.create_file(project, "a.bin", None, &content));
    }

    fn deliver(&mut self, server: &OfflineTraceServer, project: &ProjectId, kind: Kind) {
        // From the moment that it is asked for it may be on disk.
        {
            let mut told = self.told();
            let of_kind = |item: &&Item| item.0 == *project && item.1 == kind;
            let items: Vec<Item> = told.attempted.iter().filter(of_kind).cloned().collect();
            told.delivered.extend(items);
        }
        if let Ok(Some(spool)) = server.spool(project, kind) {
            let _ = spool.drop_all(backhaul_store::Standing::Pending, "delivered");
        }
    }

    fn maintain(&mut self, server: &OfflineTraceServer) {
        self.clock.advance(Duration::from_secs(12));
        for project in server.projects().unwrap_or_default() {
            for kind in Kind::ALL {
                if let Ok(Some(spool)) = server.spool(&project, kind) {
                    let _ = spool.maintain();
                }
            }
        }
    }
}

/// Runs one seeded workload and returns every moment at which the power may go.
fn run_workload(seed: u64, sabotage: fn(&SimDisk)) -> Vec<Moment> {
    let disk = SimDisk::new();
    sabotage(&disk);
    let told = Arc::new(Mutex::new(Told::default()));
    let moments = Arc::new(Mutex::new(Vec::new()));
    let (of_hook, known) = (Arc::clone(&moments), Arc::clone(&told));
    disk.on_flush(Box::new(move |snapshot| {
        let told = known.lock().unwrap().clone();
        of_hook.lock().unwrap().push(Moment { snapshot: snapshot.clone(), told });
    }));
    let mut workload = Workload::new(&disk, seed, &told);
    for _ in 0..50 {
        workload.step();
    }
    drop(workload);
    disk.clear_on_flush();
    let mut moments = moments.lock().unwrap();
    std::mem::take(&mut *moments)
}

/// Opens a disk and compares it with what was acknowledged.
fn verify(disk: &SimDisk, told: &Told) -> Result<(), String> {
    let server = open(disk);
    let mut found = BTreeMap::new();
    for project in server.projects().map_err(|error| format!("{error:?}"))? {
        verify_introduction(&server, &project, told)?;
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Metadata) {
            for entry in entries(&server, &project, kind) {
                let item = (project.clone(), kind, mark_of(&entry));
                if !told.attempted.contains(&item) {
                    return Err(format!("{item:?} was never logged"));
                }
                *found.entry(item).or_insert(0) += 1;
            }
        }
    }
    for item in told.acknowledged.difference(&told.delivered) {
        if !found.contains_key(item) {
            return Err(format!("{item:?} was acknowledged and is lost"));
        }
    }
    for ((project, kind, mark), count) in &found {
        let item = (project.clone(), *kind, mark.clone());
        if *kind == Kind::Files && !told.delivered.contains(&item) {
            server.file(project, mark).map_err(|error| format!("{item:?}: {error}"))?;
        }
        if *count > 1 {
            return Err(format!("{item:?} is there {count} times"));
        }
    }
    goes_on(&server)
}

/// There is one, and it is the first.
fn verify_introduction(
    server: &OfflineTraceServer,
    project: &ProjectId,
    told: &Told,
) -> Result<(), String> {
    let metadata = entries(server, project, Kind::Metadata);
    let is_used = told.acknowledged.iter().any(|item| item.0 == *project);
    let expected: Value = json!([project.entity(), project.project()]);
    let is_right = |entry: &Entry| {
        let value = entry.value();
        json!([value["entity"], value["project"]]) == expected
    };
    match &metadata[..] {
        // Nobody told what was delivered of it.
        [] => Ok(()),
        [one] if is_right(one) => Ok(()),
        _ => Err(format!("{project} is introduced as {metadata:?}, {is_used}")),
    }
}

/// What is logged now is there, too.
fn goes_on(server: &OfflineTraceServer) -> Result<(), String> {
    let project = project("me/one");
    let digest = server.create_file(&project, "a", None, b"next").map_err(|e| format!("{e:?}"))?;
    server.file(&project, &digest).map_err(|error| format!("{error:?}"))?;
    let first = entries(server, &project, Kind::Metadata);
    deliver(server, &project, Kind::Files);
    server.clean_synced_files(Duration::ZERO).map_err(|error| format!("{error:?}"))?;
    match server.file(&project, &digest) {
        Ok(_) => Err("delivered bytes are not removed".to_owned()),
        Err(_) if first.len() > 1 => Err(format!("introduced twice: {first:?}")),
        Err(_) => Ok(()),
    }
}

/// Cuts the power while an image is opened, at some of the flushes, and verifies what that leaves.
fn cut_recovery(image: &SimDisk, told: &Told, random: &mut Prng) -> Result<usize, String> {
    let snapshots = Arc::new(Mutex::new(Vec::<SimSnapshot>::new()));
    let of_hook = Arc::clone(&snapshots);
    image.on_flush(Box::new(move |snapshot| of_hook.lock().unwrap().push(snapshot.clone())));
    let server = open(image);
    for project in server.projects().map_err(|error| error.to_string())? {
        for kind in Kind::ALL {
            server.spool(&project, kind).map_err(|error| format!("{error:?}"))?;
        }
    }
    drop(server);
    image.clear_on_flush();
    let snapshots = std::mem::take(&mut *snapshots.lock().unwrap());
    let snapshots: Vec<&SimSnapshot> = snapshots.iter().step_by(7).collect();
    for snapshot in &snapshots {
        let style = CrashStyle::random(random);
        verify(&snapshot.crash_image(random, &style), told)
            .map_err(|why| format!("during recovery at {:?}: {why}", snapshot.point()))?;
    }
    Ok(snapshots.len())
}

/// Makes and verifies images until there are `wanted`; `Err` names the first bad one.
fn campaign(wanted: usize, first_seed: u64, sabotage: fn(&SimDisk)) -> Result<usize, String> {
    let mut images = 0;
    for seed in first_seed.. {
        for (index, moment) in run_workload(seed, sabotage).iter().enumerate() {
            let mut random = Prng::new(seed << 20 | index as u64);
            let style = match index % 3 {
                0 => CrashStyle::WORST,
                1 => CrashStyle::DROP_ALL,
                _ => CrashStyle::random(&mut random),
            };
            let context = |why: String| {
                format!("seed {seed} moment {index} {:?} {style:?}: {why}", moment.snapshot.point())
            };
            let again = random.clone();
            let image = moment.snapshot.crash_image(&mut random, &style);
            verify(&image, &moment.told).map_err(context)?;
            images += 1;
            if images % CUT_RECOVERY_EVERY == 0 {
                let image = moment.snapshot.crash_image(&mut again.clone(), &style);
                images += cut_recovery(&image, &moment.told, &mut random).map_err(context)?;
            }
            if images >= wanted {
                return Ok(images);
            }
        }
    }
    Ok(images)
}

#[test]
fn everything_that_was_acknowledged_survives_a_power_cut_at_any_flush() {
    let wanted = std::env::var("BACKHAUL_CRASH_IMAGES")
        .map_or(IMAGES, |text| text.parse().expect("a number of images"));
    let first_seed = std::env::var("BACKHAUL_CRASH_SEED")
        .map_or(1, |text| text.parse().expect("the number of the first workload"));
    let images = campaign(wanted, first_seed, |_| {}).unwrap();
    println!("{images} crash images of a Weave folder recovered");
    assert!(images >= wanted);
}

#[test]
fn the_campaign_notices_missing_flushes() {
    campaign(1_000, 1, |disk| disk.ignore_flushes(true)).expect_err("flushes were ignored");
    campaign(1_000, 1, |disk| disk.ignore_dir_syncs(true)).expect_err("syncs were ignored");
}

#[test]
fn the_campaign_notices_that_the_name_of_a_new_folder_is_not_durable() {
    let sabotages: [fn(&SimDisk); 4] = [
        |disk| disk.ignore_flushes_of("/home/me/.weave"),
        |disk| disk.ignore_flushes_of("/home/me/.weave/offline"),
        |disk| disk.ignore_flushes_of("/home/me/.weave/offline/me"),
        // Here raw files get their names.
        |disk| disk.ignore_flushes_of("/home/me/.weave/offline/me/one/files"),
    ];
    for (at, sabotage) in sabotages.into_iter().enumerate() {
        let noticed = campaign(2_000, 1, sabotage);
        assert!(noticed.is_err(), "sabotage {at} is not noticed: {noticed:?} images");
    }
}
