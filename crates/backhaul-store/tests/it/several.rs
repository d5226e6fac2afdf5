//! Several processes on one folder: they come, append, deliver, hand over and die, also
//! in the middle of each other's calls; then the power goes. What was acknowledged is
//! offered once under one name, and nothing sound counts as damaged.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use backhaul_store::{
    Clock, Disk, DiskFile, Entry, ErrorKind, Flush, Lane, Limits, Open, Options, Position, Settled,
    Space, Spool, Standing, State, Timestamp,
};
use backhaul_testkit::errno::EIO;
use backhaul_testkit::{
    Call, CrashStyle, Fault, Faults, FaultyDisk, ManualClock, Prng, SimDisk, SimSnapshot,
};

use crate::support::{Layout, number_of, numbered, open_at, options};

/// Seeds per layout in the ordinary test run, half as many of each form of segments; `BACKHAUL_SEVERAL_SEEDS` asks for more.
const SEEDS: u64 = 60;
/// Steps before the power goes, and after it.
const STEPS: (usize, usize) = (90, 10);
/// How many of its moments a seed is cut at.
const CUTS: usize = 6;
/// Most processes at a time.
const PROCESSES: usize = 3;
/// At most after so many calls to the disk another process comes between.
const CALLS: usize = 40;
/// Locks that are held for a moment only: who waits for one waits in vain while its
/// holder stands still.
const MOMENTARY: [&str; 2] = ["identity.lock", "names.lock"];

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// --- A process: what it opened dies with it -------------------------------

type Between = (usize, Box<dyn FnOnce() + Send>);

/// The disk as one process sees it.
struct Process {
    disk: FaultyDisk<SimDisk>,
    is_dead: Mutex<bool>,
    files: Mutex<Vec<Weak<Opened>>>,
    /// After so many calls something comes between.
    between: Mutex<Option<Between>>,
}

struct Opened(PathBuf, Mutex<Option<Box<dyn DiskFile>>>);

struct File(Arc<Opened>, Arc<Process>);

struct View(Arc<Process>);

impl Process {
    fn die(&self) {
        *lock(&self.is_dead) = true;
        for file in lock(&self.files).drain(..).filter_map(|file| file.upgrade()) {
            *lock(&file.1) = None;
        }
    }

    fn holds_up_others(&self) -> bool {
        let files = lock(&self.files);
        files.iter().filter_map(Weak::upgrade).any(|file| {
            MOMENTARY.iter().any(|name| file.0.ends_with(name)) && lock(&file.1).is_some()
        })
    }

    /// What comes between calls comes now; the dead get no further.
    fn call(&self) -> io::Result<()> {
        let due = {
            let mut between = lock(&self.between);
            if let Some((calls, _)) = between.as_mut() {
                *calls = calls.saturating_sub(1);
            }
            let is_due = between.as_ref().is_some_and(|(calls, _)| *calls == 0);
            if is_due && !self.holds_up_others() { between.take() } else { None }
        };
        if let Some((_, run)) = due {
            run();
        }
        if *lock(&self.is_dead) { Err(io::Error::from_raw_os_error(EIO)) } else { Ok(()) }
    }
}

impl File {
    fn call<T>(&self, call: impl FnOnce(&dyn DiskFile) -> io::Result<T>) -> io::Result<T> {
        self.1.call()?;
        call(&**lock(&self.0.1).as_ref().ok_or_else(|| io::Error::from_raw_os_error(EIO))?)
    }
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.0.fmt(f)
    }
}

impl DiskFile for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.call(|file| file.read_at(buffer, offset))
    }
    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.call(|file| file.write_all_at(data, offset))
    }
    fn len(&self) -> io::Result<u64> {
        self.call(|file| file.len())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.call(|file| file.set_len(len))
    }
    fn flush(&self) -> io::Result<()> {
        self.call(|file| file.flush())
    }
    fn try_lock(&self) -> io::Result<bool> {
        self.call(|file| file.try_lock())
    }
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("View")
    }
}

impl Disk for View {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.0.call()?;
        self.0.disk.create_dir_all(path)
    }
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>> {
        self.0.call()?;
        let file = Mutex::new(Some(self.0.disk.open(path, how)?));
        let opened = Arc::new(Opened(path.to_owned(), file));
        let mut files = lock(&self.0.files);
        files.retain(|file| file.strong_count() > 0);
        files.push(Arc::downgrade(&opened));
        Ok(Box::new(File(opened, Arc::clone(&self.0))))
    }
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.0.call()?;
        self.0.disk.list(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.call()?;
        self.0.disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.call()?;
        self.0.disk.remove(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.call()?;
        self.0.disk.sync_dir(path)
    }
    fn sync_all(&self, path: &Path) -> io::Result<()> {
        self.0.call()?;
        self.0.disk.sync_all(path)
    }
    fn space(&self, path: &Path) -> io::Result<Space> {
        self.0.disk.space(path)
    }
}

/// A process with the spool open.
struct Member {
    number: u64,
    flush: Flush,
    process: Arc<Process>,
    /// None while it is closed, or at work.
    spool: Mutex<Option<Spool>>,
}

impl Member {
    fn is_dead(&self) -> bool {
        *lock(&self.process.is_dead)
    }
}

// --- What the processes were told ------------------------------------------

#[derive(Debug, Clone, Default)]
struct Told {
    /// Handed over, acknowledged or not, with the length of their filling.
    attempted: BTreeMap<u64, usize>,
    /// Acknowledged for good.
    acknowledged: BTreeSet<u64>,
    /// Acknowledged until the power goes: by which process, and under which name.
    until_cut: BTreeMap<u64, (u64, String)>,
    /// Some settlement was asked for that ends them.
    asked: BTreeSet<u64>,
    /// Of those, the ones that were settled since the power came.
    ended: BTreeSet<u64>,
    /// What the hub has seen, under which name.
    offered: BTreeMap<u64, String>,
    names: BTreeMap<String, u64>,
    log: Vec<String>,
    trouble: Option<String>,
}

impl Told {
    fn fails(&mut self, why: String) {
        self.log.push(why.clone());
        self.trouble.get_or_insert(why);
    }

    fn name(&mut self, name: String, number: u64) {
        let passing = self.until_cut.iter().find(|(_, (_, passing))| *passing == name);
        let before = self.names.get(&name).or(passing.map(|(number, _)| number));
        if let Some(&before) = before.filter(|before| **before != number) {
            self.fails(format!("{name} names record {before} and record {number}"));
        }
        self.names.insert(name, number);
    }

    fn cut(&mut self) {
        self.until_cut.clear();
        self.ended.clear();
    }

    /// What has to be offered still.
    fn missing(&self) -> Vec<u64> {
        let owed = self.acknowledged.iter().chain(self.until_cut.keys());
        owed.filter(|number| !self.asked.contains(number)).copied().collect()
    }

    /// The hub has seen a record under a name; it knows both from now on.
    fn offer(&mut self, name: String, number: u64) {
        self.name(name.clone(), number);
        let before = self.offered.entry(number).or_insert_with(|| name.clone()).clone();
        if before != name {
            self.fails(format!("record {number} is {name}, and was {before}"));
        }
    }

    /// Records that a power cut may have taken after others behind them were kept. Where
    /// flushes fail, that may be some that were offered.
    fn may_be_gone(&self, kind: Kind) -> u64 {
        let gone = |number: &&u64| {
            !self.acknowledged.contains(number)
                && (kind.flushes_fail || !self.offered.contains_key(number))
        };
        self.attempted.keys().filter(gone).count() as u64
    }
}

// --- The processes together -------------------------------------------------

#[derive(Debug, Clone, Copy)]
struct Kind {
    layout: Layout,
    /// Some of the processes acknowledge before the disk has it.
    relaxed: bool,
    /// Flushes and syncs fail now and then.
    flushes_fail: bool,
}

struct World {
    disk: SimDisk,
    clock: ManualClock,
    kind: Kind,
    random: Mutex<Prng>,
    told: Arc<Mutex<Told>>,
    members: Mutex<Vec<Arc<Member>>>,
    /// Nothing fails any more.
    is_calm: Mutex<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Act {
    Append,
    Deliver,
    Maintain,
    Requeue,
    Flush,
    Status,
    Close,
    Die,
}

const ACTS: [Act; 14] = [
    Act::Append,
    Act::Append,
    Act::Append,
    Act::Append,
    Act::Deliver,
    Act::Deliver,
    Act::Deliver,
    Act::Maintain,
    Act::Maintain,
    Act::Requeue,
    Act::Flush,
    Act::Status,
    Act::Close,
    Act::Die,
];

impl World {
    fn new(disk: SimDisk, kind: Kind, seed: u64, clock: ManualClock, told: Told) -> Arc<Self> {
        Arc::new(Self {
            disk,
            clock,
            kind,
            random: Mutex::new(Prng::new(seed)),
            told: Arc::new(Mutex::new(told)),
            members: Mutex::default(),
            is_calm: Mutex::default(),
        })
    }

    fn index(&self, len: usize) -> usize {
        lock(&self.random).index(len)
    }

    fn chance(&self, p: f64) -> bool {
        lock(&self.random).chance(p)
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        lock(&self.told)
    }

    fn say(&self, what: String) {
        self.told().log.push(what);
    }

    fn is_well(&self) -> bool {
        self.told().trouble.is_none()
    }

    /// What came of a call; only the dead may fail, and those whose disk does.
    fn hears<T>(
        &self,
        member: &Member,
        what: &str,
        result: backhaul_store::Result<T>,
    ) -> Option<T> {
        let error = match result {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let may_fail = self.kind.flushes_fail && error.kind() == ErrorKind::Io;
        let is_told = member.is_dead() || error.kind() == ErrorKind::Busy || may_fail;
        let why = format!("p{} {what}: {error}", member.number);
        if is_told {
            self.say(why)
        } else {
            self.told().fails(why)
        }
        None
    }

    fn enter(self: &Arc<Self>, may_be_disturbed: bool) {
        let mut told = self.told();
        let number = told.log.len() as u64;
        told.log.push(format!("p{number} opens"));
        drop(told);
        let is_relaxed = self.kind.relaxed && self.chance(0.5);
        let process = Arc::new(Process {
            disk: FaultyDisk::new(self.disk.clone(), Faults::new()),
            is_dead: Mutex::default(),
            files: Mutex::default(),
            between: Mutex::default(),
        });
        let member = Arc::new(Member {
            number,
            flush: if is_relaxed { Flush::Never } else { Flush::Always },
            process: Arc::clone(&process),
            spool: Mutex::default(),
        });
        if may_be_disturbed {
            self.plan_between(&member, 0.4);
        }
        let options = Options {
            segment_bytes: 16 << 10,
            flush: member.flush,
            keep_delivered_for: Duration::from_secs(40),
            ..options(self.kind.layout)
        };
        self.plan_failures(&member);
        let opened = open_at(Arc::new(View(Arc::clone(&process))), options, &self.clock);
        *lock(&process.between) = None;
        *lock(&member.spool) = self.hears(&member, "opens", opened);
        if lock(&member.spool).is_some() && !member.is_dead() {
            lock(&self.members).push(member);
        }
    }

    /// One of the processes that are not at work, for whom others have to wait.
    fn pick(&self) -> Option<(Arc<Member>, Spool)> {
        let members = lock(&self.members).clone();
        let idle: Vec<_> = members.iter().filter(|member| lock(&member.spool).is_some()).collect();
        let member = Arc::clone(idle.get(self.index(idle.len().max(1)))?);
        let spool = lock(&member.spool).take()?;
        Some((member, spool))
    }

    /// Sometimes a flush or a sync fails that the process asks for soon, or two do.
    fn plan_failures(&self, member: &Member) {
        if self.kind.flushes_fail && !*lock(&self.is_calm) && self.chance(0.15) {
            let calls = [&[Call::Flush][..], &[Call::Flush, Call::SyncDir]][self.index(2)];
            let fault = Fault::any(calls, EIO).after(self.index(4) as u64);
            member.process.disk.faults().add(fault.times(1 + self.index(2) as u64));
            self.say(format!("flushes of p{} are to fail", member.number));
        }
    }

    /// Sometimes other processes come between the calls of this one, or its death does.
    fn plan_between(self: &Arc<Self>, member: &Arc<Member>, p: f64) {
        if !self.chance(p) {
            return;
        }
        let (world, of_plan) = (Arc::clone(self), Arc::clone(member));
        let (calls, kills) = (1 + self.index(CALLS), self.chance(0.15));
        let between = Box::new(move || {
            if kills {
                world.say(format!("p{} dies in the middle", of_plan.number));
                return of_plan.process.die();
            }
            world.say(format!("between calls of p{}:", of_plan.number));
            world.act(false);
            world.say(format!("p{} goes on", of_plan.number));
            world.plan_between(&of_plan, 0.5);
        });
        *lock(&member.process.between) = Some((calls, between));
    }

    /// One process does something; another one may come between.
    fn act(self: &Arc<Self>, may_be_disturbed: bool) {
        let count = lock(&self.members).len();
        if count == 0 || (count < PROCESSES && self.chance(0.15)) {
            return self.enter(may_be_disturbed);
        }
        let Some((member, spool)) = self.pick() else { return };
        let act = ACTS[self.index(ACTS.len())];
        if may_be_disturbed {
            self.plan_between(&member, 0.4);
        }
        self.plan_failures(&member);
        self.say(format!("p{} {act:?}", member.number));
        match act {
            Act::Append => self.append(&member, &spool),
            Act::Deliver => {
                self.clock.advance(Duration::from_millis(250));
                self.deliver(&member, &spool, false);
            }
            Act::Maintain => {
                self.clock.advance(Duration::from_secs([1, 11][self.index(2)]));
                self.hears(&member, "maintains", spool.maintain());
            }
            Act::Requeue => self.requeue(&member, &spool),
            Act::Flush => self.flush(&member, &spool),
            Act::Status => self.look_at_the_books(&member, &spool),
            Act::Close => {}
            Act::Die => member.process.die(),
        }
        let leaves = act == Act::Close || member.is_dead();
        if leaves {
            lock(&self.members).retain(|other| other.number != member.number);
            drop(spool);
        } else {
            *lock(&member.spool) = Some(spool);
        }
        *lock(&member.process.between) = None;
    }

    fn append(&self, member: &Member, spool: &Spool) {
        let mut tickets = Vec::new();
        for _ in 0..=self.index(3) {
            let len = [0, 300, 3000, 9000][self.index(4)];
            let lane = [Lane::Normal, Lane::Normal, Lane::Critical][self.index(3)];
            let mut told = self.told();
            let number = told.attempted.len() as u64 + 1;
            told.attempted.insert(number, len);
            drop(told);
            let ticket = spool.submit(numbered(number, len).lane(lane));
            tickets.extend(self.hears(member, "submits", ticket).map(|ticket| (number, ticket)));
        }
        for (number, ticket) in tickets {
            let Some(id) = self.hears(member, "appends", ticket.wait()) else { continue };
            let mut told = self.told();
            told.log.push(format!("p{} appended {number} as {}", member.number, id.position));
            told.name(id.to_string(), number);
            if member.flush == Flush::Always {
                told.acknowledged.insert(number);
            } else {
                // The name may go with the record, unless it was offered by now.
                if !told.offered.contains_key(&number) {
                    told.names.remove(&id.to_string());
                }
                told.until_cut.insert(number, (member.number, id.to_string()));
            }
        }
    }

    /// `false`: there was nothing to deliver, or somebody else does.
    fn deliver(&self, member: &Member, spool: &Spool, all: bool) -> bool {
        let records = if all { 100 } else { 1 + self.index(20) };
        let taken = spool.take(&Limits { records, bytes: 1 << 20, ..Limits::default() });
        let Some(Some(batch)) = self.hears(member, "takes", taken) else { return false };
        let mut settled: Vec<(Position, Settled)> = Vec::new();
        let mut ended = Vec::new();
        for offer in &batch.records {
            let (id, number) = (offer.record.id, number_of(&offer.record.body));
            let fate = if all { 9 } else { self.index(10) };
            let mut told = self.told();
            told.log.push(format!("p{} offers {number} as {}", member.number, id.position));
            told.offer(id.to_string(), number);
            let len = told.attempted.get(&number).copied();
            if len.is_none_or(|len| numbered(number, len).body() != offer.record.body) {
                told.fails(format!("record {number} is not what was appended"));
            }
            // Where flushes fail, the ledger may not be on disk when its process dies.
            if told.ended.contains(&number) && !self.kind.flushes_fail {
                told.fails(format!("record {number} is settled, and is offered again"));
            }
            let settlement = match fate {
                0 => continue,
                1 => {
                    let later = self.clock.now().wall.as_micros() + 20_000_000;
                    Settled::new(State::Later).not_before(Timestamp::from_micros(later))
                }
                2 => Settled::new(State::Started),
                3 => Settled::new(State::Rejected).reason("test"),
                _ => Settled::new(State::Delivered),
            };
            if settlement.state.is_final() {
                told.asked.insert(number);
                ended.push(number);
            }
            settled.push((id.position, settlement));
        }
        if self.hears(member, "settles", spool.settle(&settled)).is_some() && !member.is_dead() {
            self.told().ended.extend(ended);
        }
        true
    }

    fn requeue(&self, member: &Member, spool: &Spool) {
        let mut failed = Vec::new();
        let listed = spool.each(Some(Standing::Failed), &mut |entry| {
            failed.push((entry.id.position, entry.facts.labels["run_id"].clone()));
            std::ops::ControlFlow::Continue(())
        });
        self.hears(member, "lists", listed);
        let Some((position, run_id)) = failed.pop() else { return };
        let number: u64 = run_id.trim_start_matches("run_").parse().expect("a number");
        // Another process may requeue it between the calls of this one.
        self.told().ended.remove(&number);
        let requeued = self.hears(member, "requeues", spool.requeue(position));
        if requeued == Some(true) && !member.is_dead() {
            let mut told = self.told();
            told.log.push(format!("p{} requeued {number}", member.number));
            if !self.kind.flushes_fail {
                told.asked.remove(&number);
            }
        }
    }

    fn flush(&self, member: &Member, spool: &Spool) {
        if self.hears(member, "flushes", spool.flush()).is_none() || member.is_dead() {
            return;
        }
        let mut told = self.told();
        for (number, (by, name)) in std::mem::take(&mut told.until_cut) {
            if by == member.number {
                told.acknowledged.insert(number);
                told.names.insert(name, number);
            } else {
                told.until_cut.insert(number, (by, name));
            }
        }
    }

    fn look_at_the_books(&self, member: &Member, spool: &Spool) {
        let Some(status) = self.hears(member, "tells", spool.status()) else { return };
        let mut told = self.told();
        let books = status.books;
        if !books.balance() || books.damaged > told.may_be_gone(self.kind) {
            told.fails(format!("p{}: {books:?}", member.number));
        }
    }

    fn live(self: &Arc<Self>, steps: usize) {
        for _ in 0..steps {
            if !self.is_well() {
                return;
            }
            self.act(true);
        }
    }

    /// Everything is delivered by whoever can, undisturbed, and the sums are right.
    fn settle_up(self: &Arc<Self>) {
        *lock(&self.is_calm) = true;
        for member in lock(&self.members).iter() {
            member.process.disk.faults().clear();
        }
        for round in 0..4 {
            while lock(&self.members).is_empty() || (round == 0 && self.chance(0.3)) {
                let before = lock(&self.members).len();
                if before >= PROCESSES || !self.is_well() {
                    break;
                }
                self.enter(false);
            }
            self.clock.advance(Duration::from_secs(25));
            let members = lock(&self.members).clone();
            for member in &members {
                let Some(spool) = lock(&member.spool).clone() else { continue };
                while self.is_well() && self.deliver(member, &spool, true) {}
                if self.is_well() {
                    self.hears(member, "maintains", spool.maintain());
                }
            }
            if round == 1 {
                // Who holds on to the delivering part may be one that has not seen all.
                lock(&self.members).clear();
            }
        }
        let members = lock(&self.members).clone();
        let Some(spool) = members.first().and_then(|member| lock(&member.spool).clone()) else {
            return;
        };
        let books = spool.status().map(|status| status.books);
        let mut told = self.told();
        let missing = told.missing();
        if !missing.is_empty() {
            told.fails(format!("acknowledged, and not offered: {missing:?}"));
        }
        match books {
            Ok(books) if !books.balance() || books.pending > 0 => {
                told.fails(format!("the books say {books:?}"));
            }
            Ok(books) if books.damaged > told.may_be_gone(self.kind) => {
                told.fails(format!("sound records count as damaged: {books:?}"));
            }
            Ok(_) => {}
            Err(error) => told.fails(error.to_string()),
        }
    }

    fn verdict(&self) -> Result<(), String> {
        let told = self.told();
        match &told.trouble {
            None => Ok(()),
            Some(why) => Err(format!("{why}\n{}", told.log.join("\n"))),
        }
    }
}

// --- The campaign -------------------------------------------------------------

struct Cut {
    snapshot: SimSnapshot,
    told: Told,
    at: Timestamp,
}

/// One seed: how many power cuts it was verified at.
fn run(kind: Kind, seed: u64, sabotage: fn(&SimDisk)) -> Result<usize, String> {
    let context = |at: &str, why: String| format!("{kind:?} seed {seed} {at}: {why}");
    let disk = SimDisk::new();
    sabotage(&disk);
    let world = World::new(disk.clone(), kind, seed, ManualClock::new(), Told::default());
    let cuts: Arc<Mutex<Vec<Cut>>> = Arc::default();
    let (of_hook, told, clock) = (Arc::clone(&cuts), Arc::clone(&world.told), world.clock.clone());
    let (mut chooser, mut seen) = (Prng::new(!seed), 0);
    disk.on_flush(Box::new(move |snapshot| {
        // Any flush is as likely as any other to be among those that are kept.
        seen += 1;
        let mut cuts = lock(&of_hook);
        let at = if cuts.len() < CUTS { cuts.len() } else { chooser.index(seen) };
        if at < CUTS {
            let (told, wall) = (lock(&told).clone(), clock.now().wall);
            let cut = Cut { snapshot: snapshot.clone(), told, at: wall };
            if at < cuts.len() { cuts[at] = cut } else { cuts.push(cut) }
        }
    }));
    world.live(STEPS.0);
    disk.clear_on_flush();
    let (told, at) = (world.told().clone(), world.clock.now().wall);
    let now = Cut { snapshot: disk.snapshot(), told, at };
    let mut cuts = std::mem::take(&mut *lock(&cuts));
    cuts.push(now);
    world.settle_up();
    lock(&world.members).clear();
    world.verdict().map_err(|why| context("without a cut", why))?;
    for (index, cut) in cuts.iter().enumerate() {
        let mut random = Prng::new(seed << 8 | index as u64);
        let style = match random.below(4) {
            0 => CrashStyle::KEEP_ALL,
            1 => CrashStyle::DROP_ALL,
            2 => CrashStyle::WORST,
            _ => CrashStyle::random(&mut random),
        };
        let mut told = cut.told.clone();
        told.cut();
        told.log.push(format!("the power goes at {:?}, {style:?}", cut.snapshot.point()));
        let image = cut.snapshot.crash_image(&mut random, &style);
        let clock = ManualClock::at(cut.at);
        clock.reboot();
        let world = World::new(image, kind, random.next_u64(), clock, told);
        world.live(random.index(STEPS.1));
        world.settle_up();
        lock(&world.members).clear();
        world.verdict().map_err(|why| context(&format!("cut {index}"), why))?;
    }
    Ok(cuts.len())
}

fn campaign(layout: Layout, seeds: u64, sabotage: fn(&SimDisk)) -> Result<usize, String> {
    // Every third seed has processes that acknowledge before the disk has it, and every
    // second one flushes that fail.
    let kind = |seed| Kind { layout, relaxed: seed % 3 == 0, flushes_fail: seed % 2 == 0 };
    let first =
        std::env::var("BACKHAUL_SEVERAL_FIRST").map_or(1, |text| text.parse().expect("a seed"));
    (first..first + seeds).map(|seed| run(kind(seed), seed, sabotage)).sum()
}

fn survives(layout: Layout) {
    let seeds = layout.wanted("BACKHAUL_SEVERAL_SEEDS", SEEDS);
    let cuts = campaign(layout, seeds, |_| {}).unwrap_or_else(|why| panic!("{why}"));
    println!("{layout:?}: {seeds} seeds with several processes, {cuts} power cuts");
}

#[test]
fn several_processes_lose_nothing_in_the_folder_layout() {
    survives(Layout::Folder);
}

#[test]
fn several_processes_lose_nothing_in_the_segment_layout() {
    survives(Layout::Segments);
}

#[test]
fn several_processes_lose_nothing_in_plain_segments() {
    survives(Layout::Plain);
}

#[test]
fn the_campaign_of_several_processes_notices_a_missing_flush() {
    for layout in crate::support::LAYOUTS {
        let result = campaign(layout, 40, |disk| disk.ignore_flushes(true));
        result.expect_err("flushes were ignored, and nothing was lost");
    }
}

#[test]
fn the_campaign_of_several_processes_notices_a_missing_directory_sync() {
    for layout in crate::support::LAYOUTS {
        let result = campaign(layout, 40, |disk| disk.ignore_dir_syncs(true));
        result.expect_err("directory syncs were ignored, and nothing was lost");
    }
}
