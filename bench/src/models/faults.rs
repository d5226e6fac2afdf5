//! How long a caller waits for an answer when the cloud's model fails, and what he gets.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

use backhaul_testkit::{BlackHole, LlamaOptions, LlamaServer, LlmScenario, TinyModel};
use tokio::runtime::Runtime;

use super::call::{Ask, Called, Came, Connection};
use super::gateway::{Gateway, Model, free_port};
use super::latencies::{Latencies, ms};
use super::primary::{self, Primary};
use crate::child::Server;
use crate::engines::folder;
use crate::report::Spread;
use crate::rounds::Rounds;
use crate::shuffled;

const GATEWAYS: [Gateway; 3] =
    [Gateway::Backhaul, Gateway::LiteLlm, Gateway::LiteLlmWithoutRetries];
/// Calls after the first: so many, or as many as there are in this time, and one at least.
const LATER: usize = 20;
const LATER_FOR: Duration = Duration::from_secs(1);
/// Calls of the local model without a gateway.
const DIRECT: usize = 50;

/// What is wrong with the primary.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Refused,
    BlackHole,
    Plays(LlmScenario),
    Cut,
    Ended,
}

struct Case {
    fault: Fault,
    ask: Ask,
    says: &'static str,
    goal: &'static str,
}

const fn case(fault: Fault, ask: Ask, says: &'static str, goal: &'static str) -> Case {
    Case { fault, ask, says, goal }
}

const CASES: [Case; 10] = [
    case(Fault::Refused, Ask::Whole, "connection refused", "50 ms, then +5"),
    case(Fault::BlackHole, Ask::Whole, "black hole", "2 s, then +5 ms"),
    case(Fault::Plays(LlmScenario::Slow), Ask::Whole, "no head for 30 s", "2 s, then +5 ms"),
    case(Fault::Plays(LlmScenario::ServerError), Ask::Whole, "500", "1 s"),
    case(Fault::Plays(LlmScenario::Overloaded), Ask::Whole, "503, `Retry-After: 1`", "at once"),
    case(Fault::Plays(LlmScenario::RateLimit), Ask::Whole, "429", "at once"),
    case(Fault::Refused, Ask::Streamed, "connection refused", "50 ms, then +5"),
    case(Fault::Plays(LlmScenario::Slow), Ask::Streamed, "no head for 30 s", "2 s, then +5 ms"),
    case(Fault::Cut, Ask::Streamed, "cut after 4 tokens", "an error"),
    case(Fault::Ended, Ask::Streamed, "ended after 4 tokens", "an error"),
];

/// What came of one case.
struct Answered {
    first_ms: f64,
    later_ms: f64,
    /// Beside a direct call of the local model.
    later_added_ms: f64,
    first: Came,
    later: BTreeSet<Came>,
    /// Calls that the primary saw for each that was made, where it sees any.
    seen: f64,
}

impl Fault {
    /// Whether there is somebody who sees requests.
    fn has_server(self) -> bool {
        !matches!(self, Fault::Refused | Fault::BlackHole)
    }

    /// The model that is asked for.
    fn model(self) -> String {
        match self {
            Fault::Refused => "refused".to_owned(),
            Fault::BlackHole => "black-hole".to_owned(),
            Fault::Plays(scenario) => scenario.model(),
            Fault::Cut => primary::CUT.to_owned(),
            Fault::Ended => primary::ENDED.to_owned(),
        }
    }
}

struct Measuring {
    runtime: Runtime,
    primary: Primary,
    hole: BlackHole,
    refusing: String,
    llama: LlamaServer,
    /// Peers, which have no breaker for such models and so are started once.
    peers: Vec<(Gateway, Server)>,
    answered: Rounds<(usize, Gateway), Answered>,
}

pub fn measure(rounds: u64) {
    let llama = LlamaServer::start(&TinyModel::chain(), LlamaOptions::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let mut measuring = Measuring {
        runtime: runtime.expect("a runtime"),
        primary: Primary::start(),
        hole: BlackHole::new().expect("a black hole"),
        refusing: format!("http://127.0.0.1:{}", free_port()),
        llama: llama.unwrap_or_else(|error| panic!("no local model: {error}")),
        peers: Vec::new(),
        answered: Rounds::new(),
    };
    let dirs = GATEWAYS.map(|_| tempfile::tempdir_in(folder()).expect("a folder"));
    measuring.start_peers(&dirs);
    for round in 0..rounds {
        measuring.round(round);
        eprintln!("faults: round {} of {rounds}", round + 1);
    }
    measuring.print();
}

impl Measuring {
    fn primary_of(&self, fault: Fault) -> String {
        match fault {
            Fault::Refused => self.refusing.clone(),
            Fault::BlackHole => self.hole.url(),
            Fault::Plays(_) | Fault::Cut | Fault::Ended => self.primary.url.clone(),
        }
    }

    fn start_peers(&mut self, dirs: &[tempfile::TempDir]) {
        let mut faults: Vec<Fault> = CASES.iter().map(|case| case.fault).collect();
        faults.push(Fault::Plays(LlmScenario::Healthy));
        faults.sort_unstable();
        faults.dedup();
        let models: Vec<(String, String)> =
            faults.into_iter().map(|it| (it.model(), self.primary_of(it))).collect();
        let models: Vec<Model> =
            models.iter().map(|(name, primary)| Model { name, primary }).collect();
        for (gateway, dir) in GATEWAYS.into_iter().zip(dirs).filter(|(it, _)| !it.is_ours()) {
            match gateway.start(dir.path(), &models, &self.llama.url()) {
                Ok(server) => {
                    self.warm_up(&server.url);
                    self.peers.push((gateway, server));
                }
                Err(error) => println!("{gateway} is not measured: {error}\n"),
            }
        }
    }

    /// Calls while all is well.
    fn warm_up(&self, url: &str) {
        let model = Fault::Plays(LlmScenario::Healthy).model();
        self.runtime.block_on(async {
            let mut connection = Connection::open(url).await;
            for ask in [Ask::Whole, Ask::Streamed].repeat(5) {
                let called = connection.call(ask.body(&model)).await;
                assert_eq!(called.came, Came::Cloud, "{url}");
            }
        });
    }

    fn round(&mut self, round: u64) {
        let direct = [Ask::Whole, Ask::Streamed].map(|ask| (ask, self.direct(ask)));
        let places: Vec<usize> = (0..CASES.len()).collect();
        for place in shuffled(round, &places) {
            let case = &CASES[place];
            let (_, direct) = direct.iter().find(|(ask, _)| *ask == case.ask).expect("of both");
            let ours = self.ours(case, *direct);
            self.answered.add(round, (place, Gateway::Backhaul), ours);
            for peer in 0..self.peers.len() {
                let (gateway, server) = &self.peers[peer];
                let (gateway, url) = (*gateway, server.url.clone());
                let answered = self.ask(&url, case, *direct);
                self.answered.add(round, (place, gateway), answered);
            }
        }
    }

    /// What the local model takes without a gateway, in milliseconds.
    fn direct(&self, ask: Ask) -> f64 {
        let called = self.runtime.block_on(async {
            let mut connection = Connection::open(&self.llama.url()).await;
            let mut called = Vec::new();
            for _ in 0..DIRECT {
                called.push(connection.call(ask.body("local")).await);
            }
            called
        });
        assert!(called.iter().all(|it| it.came == Came::Local), "{:?}", called[0]);
        Latencies::of(called.iter().map(|it| ms(it.end))).p50()
    }

    /// A gateway of its own, which knows nothing yet of what is wrong.
    fn ours(&mut self, case: &Case, direct: f64) -> Answered {
        let dir = tempfile::tempdir_in(folder()).expect("a folder");
        let primary = self.primary_of(case.fault);
        let models = [Model { name: "any", primary: &primary }];
        let server = Gateway::Backhaul.start(dir.path(), &models, &self.llama.url());
        let server = server.expect("ours starts");
        if case.fault.has_server() {
            self.warm_up(&server.url);
        }
        self.ask(&server.url, case, direct)
    }

    fn ask(&mut self, url: &str, case: &Case, direct: f64) -> Answered {
        let body = case.ask.body(&case.fault.model());
        self.primary.take_calls();
        let (first, later) = self.runtime.block_on(async {
            let mut connection = Connection::open(url).await;
            let first = connection.call(body.clone()).await;
            let (began, mut later) = (Instant::now(), Vec::<Called>::new());
            while later.is_empty() || (later.len() < LATER && began.elapsed() < LATER_FOR) {
                later.push(connection.call(body.clone()).await);
            }
            (first, later)
        });
        let seen = self.primary.take_calls() as f64 / (later.len() + 1) as f64;
        let later_ms = Latencies::of(later.iter().map(|it| ms(it.end))).p50();
        Answered {
            first_ms: ms(first.end),
            later_ms,
            later_added_ms: later_ms - direct,
            first: first.came,
            later: later.iter().map(|it| it.came).collect(),
            seen,
        }
    }

    fn print(&self) {
        println!("### When the cloud's model fails\n");
        println!(
            "| the primary | answer | gateway | first, ms: median (low to high) | later p50, ms: median (low to high) | later, beside the local model alone, ms | comes from | requests to the primary per call | goal |"
        );
        println!("|---|---|---|---|---|---|---|---|---|");
        for (place, case) in CASES.iter().enumerate() {
            let peers = self.peers.iter().map(|(gateway, _)| *gateway);
            for gateway in std::iter::once(Gateway::Backhaul).chain(peers) {
                let key = (place, gateway);
                let of = |value: fn(&Answered) -> f64| self.answered.column(key, value);
                let is_local = self.answered.all(key).all(|it| it.later == [Came::Local].into());
                println!(
                    "| {} | {} | {gateway} | {} | {} | {} | {} | {} | {} |",
                    case.says,
                    case.ask,
                    in_ms(&of(|it| it.first_ms)),
                    in_ms(&of(|it| it.later_ms)),
                    some(is_local, format!("{:+.1}", of(|it| it.later_added_ms).median)),
                    self.comes_from(key),
                    some(case.fault.has_server(), format!("{:.1}", of(|it| it.seen).median)),
                    some(gateway.is_ours(), case.goal.to_owned()),
                );
            }
        }
    }

    /// All that came, of the first call and of later ones.
    fn comes_from(&self, key: (usize, Gateway)) -> String {
        let first: BTreeSet<Came> = self.answered.all(key).map(|it| it.first).collect();
        let later: BTreeSet<Came> =
            self.answered.all(key).flat_map(|it| it.later.clone()).collect();
        if first == later {
            return listed(&first);
        }
        format!("{}; later {}", listed(&first), listed(&later))
    }
}

fn listed(all: &BTreeSet<impl fmt::Display>) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}

fn some(is: bool, text: String) -> String {
    if is { text } else { String::new() }
}

fn in_ms(it: &Spread) -> String {
    format!("{:.1} ({:.1} to {:.1})", it.median, it.low, it.high)
}
