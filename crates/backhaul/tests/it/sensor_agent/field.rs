//! Where the agent works: a hub, a link that fails, a model; and the books at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use backhaul::observability::RunRecord;
use backhaul::store::{Books, Spool};
use backhaul_testkit::{Answer, FaultLink, FaultServer, Prng};
use serde_json::{Value, json};

use super::process::{Agent, Said, heard};
use crate::support::{Hub, stored, wait_until};

/// What a device has of memory, descriptors and disk at a moment.
#[derive(Debug, Clone, Copy)]
struct Sample {
    resident_kb: u64,
    descriptors: u64,
    disk_kb: u64,
}

/// What came of it.
#[derive(Debug)]
#[allow(dead_code, reason = "it is printed")]
pub(super) struct Figures {
    pub(super) rounds: u64,
    pub(super) kills: u64,
    pub(super) outages: u64,
    /// Runs that a kill cut short and a later process brought to their end.
    pub(super) went_on: u64,
    /// Records of runs that were cut short.
    pub(super) interrupted: u64,
    pub(super) messages: u64,
    /// Of these: how many came again under the key they had.
    pub(super) repeated: u64,
    lost: u64,
}

pub(super) struct Field {
    dir: tempfile::TempDir,
    _hub: Hub,
    link: FaultLink,
    is_up: bool,
    model: FaultServer,
    pub(super) random: Prng,
    said: Arc<Mutex<Said>>,
    kills: u64,
    pub(super) outages: u64,
    samples: Vec<Sample>,
}

impl Field {
    pub(super) fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let hub = Hub::start(&dir.path().join("hub"));
        let link = FaultLink::to(hub.address).unwrap();
        Self {
            dir,
            _hub: hub,
            link,
            is_up: true,
            model: FaultServer::new(|_| alarm()).unwrap(),
            random: Prng::new(seed),
            said: Arc::default(),
            kills: 0,
            outages: 0,
            samples: Vec::new(),
        }
    }

    pub(super) fn said(&self) -> MutexGuard<'_, Said> {
        heard(&self.said)
    }

    /// Runs that ended.
    pub(super) fn rounds(&self) -> u64 {
        self.said().ended.len() as u64
    }

    // --- Living ------------------------------------------------------------------

    /// An agent that works for up to three seconds, under a network that comes and goes.
    pub(super) fn live_and_be_killed(&mut self, start: &mut dyn FnMut(&Path) -> Command) {
        let agent = self.start(start);
        let micros = self.random.below(3_000_000);
        self.outlast(&agent, Duration::from_micros(micros));
        self.sample(&agent);
        agent.kill();
        self.kills += 1;
        self.model.take_requests();
    }

    /// An agent that works for so long, and is looked at all the time.
    pub(super) fn live(&mut self, time: Duration, start: &mut dyn FnMut(&Path) -> Command) {
        let agent = self.start(start);
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.outlast(&agent, Duration::from_secs(2));
            self.sample(&agent);
            self.model.take_requests();
        }
        self.heal();
        agent.interrupt();
    }

    fn start(&self, start: &mut dyn FnMut(&Path) -> Command) -> Agent {
        let mut command = start(&self.agent_dir());
        command
            .env("CLOUD_URL", self.link.url())
            .env("LOCAL_MODEL_URL", format!("{}/v1", self.model.url()))
            .env_remove("OPENAI_API_KEY");
        Agent::start(command, &self.dir.path().join("errors"), &self.said)
    }

    fn outlast(&mut self, _agent: &Agent, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            let step = Duration::from_millis(200).min(end - Instant::now());
            std::thread::sleep(step);
            if self.random.chance(0.15) {
                self.is_up = !self.is_up;
                match self.is_up {
                    true => self.link.up(),
                    false if self.random.chance(0.5) => self.link.down(),
                    false => self.link.refuse(),
                }
                self.outages += u64::from(!self.is_up);
            }
        }
    }

    fn heal(&mut self) {
        self.is_up = true;
        self.link.up();
    }

    fn agent_dir(&self) -> PathBuf {
        self.dir.path().join("agent")
    }

    // --- Looking -----------------------------------------------------------------

    fn sample(&mut self, agent: &Agent) {
        self.samples.push(Sample {
            resident_kb: agent.resident_kb(),
            descriptors: agent.descriptors(),
            disk_kb: blocks(&self.agent_dir()) / 2,
        });
    }

    /// Whether disk and descriptors took more in the last quarter of the time than in the one
    /// before.
    pub(super) fn leaves_nothing_behind(&self) {
        self.is_flat("descriptors", 2, |sample| sample.descriptors);
        self.is_flat("KB on disk", 600, |sample| sample.disk_kb);
    }

    /// Whether memory did: of one life that is long enough to tell.
    pub(super) fn does_not_grow(&self) {
        self.leaves_nothing_behind();
        self.is_flat("KB of memory", 500, |sample| sample.resident_kb);
    }

    #[track_caller]
    fn is_flat(&self, name: &str, slack: u64, of: fn(&Sample) -> u64) {
        let quarter = self.samples.len() / 4;
        let [before, last] = [2, 3].map(|at| &self.samples[at * quarter..(at + 1) * quarter]);
        let [before, last] = [before, last].map(|samples| middle(samples, of));
        println!("{name}: {before} in the third quarter, {last} in the last");
        assert!(last <= before + before / 20 + slack, "{name}: {before}, and then {last}");
    }

    // --- Counting ----------------------------------------------------------------

    /// Lets an agent deliver everything under a good network, and balances the books.
    pub(super) fn end(mut self, start: &mut dyn FnMut(&Path) -> Command) -> Figures {
        self.heal();
        let agent = self.start(start);
        let rounds = self.rounds();
        wait_until(|| self.rounds() > rounds + 1 && self.waiting() < 5);
        agent.interrupt();
        let figures = self.balanced();
        println!("{figures:?}");
        figures
    }

    fn waiting(&self) -> u64 {
        self.books("offline").pending + self.books("tools").pending
    }

    fn books(&self, spool: &str) -> Books {
        Spool::open_read_only(self.agent_dir().join(spool)).unwrap().status().unwrap().books
    }

    fn balanced(&self) -> Figures {
        let errors = std::fs::read_to_string(self.dir.path().join("errors")).unwrap();
        let said = self.said();
        assert_eq!(said.trouble, [""; 0], "{errors}");
        for spool in ["offline", "tools"] {
            let books = self.books(spool);
            assert_eq!((books.pending, books.rejected), (0, 0), "{spool}: {books:?}");
        }
        // At the hub: each record once, and each run has one end at most. (Where the kill fell
        // between a run's end and its record, that is one that says it was cut short.)
        let mut ended = BTreeSet::new();
        let mut cut_short = BTreeSet::new();
        let mut keys: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for record in stored(&self.dir.path().join("hub")) {
            let run = RunRecord::from_json(&record.body).unwrap();
            keys.entry(run.run_id.clone()).or_default().extend(keys_of(&run));
            if run.metadata.get("interrupted") == Some(&Value::Bool(true)) {
                assert!(cut_short.insert(record.body.clone()), "twice: {}", run.run_id);
            } else {
                assert!(run.success, "{run:?}");
                assert!(ended.insert(run.run_id.clone()), "twice: {}", run.run_id);
            }
        }
        assert_eq!((ended.len() + cut_short.len()) as u64, self.books("offline").accepted);
        let lost = said.ended.difference(&ended).count() as u64;
        assert_eq!(lost, 0, "of what was said to be stored");
        // Each run has one message, under one key, however often it was begun.
        for (run_id, keys) in &keys {
            assert!(keys.len() == 1 || keys.is_empty() && !ended.contains(run_id), "{run_id}");
        }
        let recorded: BTreeSet<String> = keys.into_values().flatten().collect();
        assert_eq!(recorded, said.messages.keys().cloned().collect());
        let repeated = said.messages.values().filter(|times| **times > 1).count() as u64;
        assert!(repeated <= self.kills, "{repeated} messages were repeated");
        Figures {
            rounds: ended.len() as u64,
            kills: self.kills,
            outages: self.outages,
            went_on: said.went_on.len() as u64,
            interrupted: cut_short.len() as u64,
            messages: said.messages.len() as u64,
            repeated,
            lost,
        }
    }
}

/// Under which keys a run had messages sent, or left for later.
fn keys_of(run: &RunRecord) -> impl Iterator<Item = String> {
    run.tool_calls.iter().filter(|call| call.tool_id == "notify").map(|call| {
        let sent = call.output["data"].as_str().and_then(|sent| sent.strip_prefix("sent "));
        let queued = call.output["metadata"]["idempotency_key"].as_str();
        sent.or(queued).unwrap_or_else(|| panic!("{call:?}")).to_owned()
    })
}

/// A model that always sees one.
fn alarm() -> Answer {
    let verdict = json!({"alarm": true, "reason": "it is too hot"}).to_string();
    let message = json!({"role": "assistant", "content": verdict});
    let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
    let completion = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": "small",
        "choices": [choice],
        "usage": {"prompt_tokens": 40, "completion_tokens": 10, "total_tokens": 50},
    });
    Answer::ok(completion.to_string()).header("content-type", "application/json")
}

/// Blocks of 512 bytes that a folder takes.
fn blocks(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    // What is being moved or removed meanwhile is not there.
    let Ok(metadata) = path.symlink_metadata() else { return 0 };
    let inside = path.read_dir().into_iter().flatten();
    metadata.blocks() + inside.map(|entry| blocks(&entry.unwrap().path())).sum::<u64>()
}

fn middle(samples: &[Sample], of: fn(&Sample) -> u64) -> u64 {
    let mut values: Vec<_> = samples.iter().map(of).collect();
    values.sort_unstable();
    values[values.len() / 2]
}
