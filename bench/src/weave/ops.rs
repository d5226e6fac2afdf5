//! What an op costs the function that it is: `#[weave::op]` beside the function alone, and
//! beside Weave's client for Python with a server that keeps nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use backhaul_weave as weave;

use super::Rounds;
use super::child;
use super::sink::Sink;
use crate::device;
use crate::engines::folder;
use crate::records::Random;
use crate::shuffled;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    Function,
    /// There is no client.
    Unheard,
    Relaxed,
    /// One each 100 us: the disk keeps up.
    Paced,
    /// Begun, and ended after the start was stored.
    Long,
    Durable,
    /// Also sent to a server meanwhile.
    Online,
    PythonFunction,
    PythonDefault,
    PythonWal,
}

const ALL: [How; 10] = [
    How::Function,
    How::Unheard,
    How::Relaxed,
    How::Paced,
    How::Long,
    How::Durable,
    How::Online,
    How::PythonFunction,
    How::PythonDefault,
    How::PythonWal,
];
/// Bytes of the argument and of the result, as in the figures that were taken of Weave first.
const TEXT: usize = 450;
/// Texts that differ, in turns.
const QUESTIONS: u64 = 1_000;
const PACE: Duration = Duration::from_micros(100);

#[derive(Clone, Copy)]
struct Cost {
    p50_us: f64,
    p99_us: f64,
    mean_us: f64,
    /// Calls a second, until all of them are on disk, or at the server.
    rate: f64,
    cpu_us: f64,
    /// Of files, for a call; 0: nothing is stored.
    bytes: f64,
    allocations: f64,
}

impl How {
    fn key(self) -> &'static str {
        match self {
            How::Function | How::PythonFunction => "function",
            How::Unheard => "unheard",
            How::Relaxed => "relaxed",
            How::Paced => "paced",
            How::Long => "long",
            How::Durable => "durable",
            How::Online => "online",
            How::PythonDefault => "default",
            How::PythonWal => "wal",
        }
    }

    fn is_python(self) -> bool {
        matches!(self, How::PythonFunction | How::PythonDefault | How::PythonWal)
    }

    fn calls(self) -> u64 {
        match self {
            How::Function | How::Unheard | How::PythonFunction => 200_000,
            How::Relaxed | How::Long | How::Online => 100_000,
            How::Paced => 20_000,
            How::Durable => 3_000,
            How::PythonDefault | How::PythonWal => 1_500,
        }
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            How::Function => "the function alone, in Rust",
            How::Unheard => "`#[weave::op]`, no client",
            How::Relaxed => "`#[weave::op]`, one after the other",
            How::Paced => "`#[weave::op]`, 10,000 a second",
            How::Long => "`#[weave::op]`, ends after its start is stored",
            How::Durable => "`#[weave::op]`, durable",
            How::Online => "`#[weave::op]`, delivered meanwhile",
            How::PythonFunction => "the function alone, in Python",
            How::PythonDefault => "`@weave.op` of Weave 0.54",
            How::PythonWal => "`@weave.op` of Weave 0.54 with its log",
        })
    }
}

pub fn measure(rounds: u64) {
    let mut costs = Rounds::new();
    for round in 0..rounds {
        for how in shuffled(round, &ALL) {
            costs.add(round, how, measure_one(how));
        }
        eprintln!("ops: round {} of {rounds}", round + 1);
    }
    print(&costs);
}

fn measure_one(how: How) -> Cost {
    let dir = tempfile::tempdir_in(folder()).expect("a folder");
    let sink = matches!(how, How::Online | How::PythonDefault | How::PythonWal).then(Sink::start);
    let url = sink.as_ref().map_or("none", |sink| &sink.url);
    let mut command = if how.is_python() {
        let mut command = child::python("0.54.0");
        command.arg(child::of_repository("bench/weave/ops.py"));
        command
    } else {
        child::own("weave-ops")
    };
    command.arg(how.key()).arg(how.calls().to_string()).arg(dir.path()).arg(url);
    let [p50_us, p99_us, mean_us, rate, cpu_us, bytes, allocations] = child::figures(&mut command);
    Cost { p50_us, p99_us, mean_us, rate, cpu_us, bytes, allocations }
}

fn print(costs: &Rounds<How, Cost>) {
    println!("### What an op costs\n");
    println!("A text of {TEXT} bytes in, and one out.\n");
    println!(
        "| call | call site us: p50 (low to high) | p99 | mean | calls/s, all stored | CPU us, all threads | bytes on disk | allocations | 10,000 a second beside it, p50 |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for how in ALL {
        let p50 = costs.column(how, |it| it.p50_us);
        let ratio = costs.ratio(How::Paced, how, |it| it.p50_us);
        let shown = |value: f64| if value == 0.0 { String::new() } else { format!("{value:.0}") };
        let allocations = costs.column(how, |it| it.allocations).median;
        println!(
            "| {how} | {:.2} ({:.2} to {:.2}) | {:.2} | {:.2} | {:.0} | {} | {} | {} | {:.4} ({:.4} to {:.4}) |",
            p50.median,
            p50.low,
            p50.high,
            costs.column(how, |it| it.p99_us).median,
            costs.column(how, |it| it.mean_us).median,
            costs.column(how, |it| it.rate).median,
            // It waits for its turn on a core that it does not leave.
            if how == How::Paced {
                String::new()
            } else {
                format!("{:.2}", costs.column(how, |it| it.cpu_us).low)
            },
            shown(costs.column(how, |it| it.bytes).median),
            if how.is_python() { String::new() } else { format!("{allocations:.1}") },
            ratio.median,
            ratio.low,
            ratio.high
        );
    }
}

fn answer(question: &str) -> String {
    question.chars().rev().collect()
}

#[weave::op(name = "answer")]
fn answer_op(question: &str) -> String {
    answer(question)
}

/// The child: calls so often, and prints as `ops.py` does.
pub fn run_child(arguments: &[&str]) {
    let [how, calls, dir, url] = *arguments else { panic!("expected HOW CALLS FOLDER URL") };
    let calls: usize = calls.parse().expect("a number");
    let client = match how {
        "function" | "unheard" => None,
        _ => {
            let init = weave::init("local/bench").offline(url == "none").offline_dir(dir);
            let init = if url == "none" { init } else { init.trace_url(url).wandb_url(url) };
            let init = init.api_key("key").durable(how == "durable");
            Some(init.start().expect("a client"))
        }
    };
    let questions: Vec<String> = (0..QUESTIONS).map(|n| Random::new(n).text(TEXT)).collect();
    let mut questions = questions.iter().cycle();
    let mut question = || questions.next().expect("a cycle");
    let ask = |question: &str| match how {
        "function" => answer(question),
        _ => answer_op(question),
    };
    // The op itself is stored, and the code is warm.
    for _ in 0..100 {
        std::hint::black_box(ask(question()));
    }
    client.iter().for_each(|client| client.flush().expect("stored"));
    let mut latencies = Vec::with_capacity(calls);
    let (allocated, cpu, began) = (allocations(), device::cpu_seconds(), Instant::now());
    for _ in 0..calls {
        let question = question();
        let before = Instant::now();
        if how == "long" {
            let call = weave::call("answer").input("question", question).start().expect("logged");
            let answer = answer(question);
            // What it costs to store the start is another thread's.
            if latencies.len() % 1_000 == 0 {
                client.iter().for_each(|client| client.flush().expect("stored"));
            }
            call.finish(answer);
        } else {
            std::hint::black_box(ask(question));
        }
        latencies.push(before.elapsed().as_nanos() as u64);
        while how == "paced" && before.elapsed() < PACE {
            std::hint::spin_loop();
        }
    }
    let allocated = allocations() - allocated;
    client.iter().for_each(|client| client.flush().expect("stored"));
    let (took, cpu) = (began.elapsed(), device::cpu_seconds() - cpu);
    let mean = latencies.iter().sum::<u64>() as f64 / calls as f64 / 1e3;
    latencies.sort_unstable();
    let at = |share: f64| latencies[((calls - 1) as f64 * share) as usize] as f64 / 1e3;
    let folder = Path::new(dir).join("local/bench/calls");
    let bytes = match folder.is_dir() {
        true => super::disk::bytes_of_files(&folder).committed as f64 / (calls + 100) as f64,
        false => 0.0,
    };
    println!(
        "{} {} {mean} {} {} {bytes} {}",
        at(0.5),
        at(0.99),
        calls as f64 / took.as_secs_f64(),
        cpu / calls as f64 * 1e6,
        allocated as f64 / calls as f64
    );
    client.iter().for_each(|client| client.finish().expect("stored"));
}

/// Counts what this thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn allocations() -> u64 {
    ALLOCATIONS.get()
}

// SAFETY: each call is the system's; the counter is a plain number of the thread.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: as of the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: as of the caller.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as of the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;
