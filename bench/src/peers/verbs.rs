//! What a process of a peer does: `peer VERB PEER …`. Peers in Python are asked for the same
//! in the same words (`bench/peers/queues.py`).

use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::store::{Outcome, Store};
use super::{Peer, backhaul, corpus};
use crate::device::{self, Process};

/// Records taken at once.
const BATCH: usize = 256;

/// Runs one of the verbs:
///
/// - `fill PEER FOLDER RECORDS PRODUCERS AHEAD SECONDS` stores the lines of the file RECORDS
///   again and again. Says how many, seconds, the median and the 99th percentile in
///   microseconds, CPU seconds, peak memory in bytes.
/// - `load PEER FOLDER RECORDS BYTES SECONDS BATCH END` stores them, so many at once, up to so
///   many bytes or seconds, and ends with `close`, or without (`leave`). Says how many.
/// - `drain PEER FOLDER SECONDS` opens it, takes and removes all. Says the seconds to open and
///   to the first record, how many, their bytes, seconds, CPU seconds, peak memory in bytes.
/// - `read PEER AFTER` takes all of each folder on stdin, and removes it (`settle`) or not
///   (`keep`): says `ready`, then for each folder the records behind a `=`, and `done` or
///   `error …`.
/// - `write PEER FOLDER RECORDS PRODUCERS FIRST` stores records with numbers, and says each
///   number when it is acknowledged, until it is killed.
pub fn run_child(arguments: &[&str]) {
    let outcome = match *arguments {
        ["fill", peer, dir, records, producers, ahead, seconds] => {
            fill(Peer::of(peer), dir.as_ref(), records.as_ref(), producers, ahead, seconds)
        }
        ["load", peer, dir, records, bytes, seconds, batch, end] => {
            let wanted = Wanted { bytes: number(bytes), time: time(seconds), batch: number(batch) };
            load(Peer::of(peer), dir.as_ref(), records.as_ref(), &wanted, end)
        }
        ["drain", peer, dir, seconds] => drain(Peer::of(peer), dir.as_ref(), seconds),
        ["read", peer, after] => read(Peer::of(peer), after == "settle"),
        ["write", peer, dir, records, producers, first] => {
            let first = number(first) as u64;
            write(Peer::of(peer), dir.as_ref(), records.as_ref(), number(producers), first)
        }
        _ => panic!("expected a verb of a peer: found {arguments:?}"),
    };
    if let Err(error) = outcome {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}

fn time(seconds: &str) -> Duration {
    Duration::from_secs_f64(seconds.parse().expect("seconds"))
}

/// CPU seconds and peak memory of this process, and of the server behind a store.
struct Usage(Option<Process>);

impl Usage {
    fn cpu_seconds(&self) -> f64 {
        device::cpu_seconds() + self.0.as_ref().map_or(0.0, Process::cpu_seconds)
    }

    fn peak_memory(&self) -> u64 {
        device::peak_memory() + self.0.as_ref().map_or(0, Process::peak_memory)
    }
}

fn fill(
    peer: Peer,
    dir: &Path,
    records: &Path,
    producers: &str,
    ahead: &str,
    seconds: &str,
) -> Outcome<()> {
    let (producers, ahead, time) = (number(producers), number(ahead), time(seconds));
    let corpus = corpus::read(records);
    let before = device::cpu_seconds();
    let ((mut latencies, took), cpu, peak) = if ahead > 1 {
        let filled = backhaul::submit_ahead(dir, ahead, time, &corpus)?;
        (filled, device::cpu_seconds() - before, device::peak_memory())
    } else {
        let store = peer.open(dir)?;
        let usage = Usage(store.server());
        let filled = produce(&*store, producers, time, &corpus)?;
        let (cpu, peak) = (usage.cpu_seconds(), usage.peak_memory());
        (filled, cpu - before, peak)
    };
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize] as f64 / 1e3;
    let held: usize = corpus.iter().map(Vec::len).sum();
    println!(
        "{} {} {} {} {cpu} {}",
        latencies.len(),
        took.as_secs_f64(),
        at(0.5),
        at(0.99),
        peak.saturating_sub(held as u64)
    );
    Ok(())
}

/// Stores records from so many threads until the time is over: what each took in nanoseconds,
/// and all together.
fn produce(
    store: &dyn Store,
    producers: usize,
    time: Duration,
    corpus: &[Vec<u8>],
) -> Outcome<(Vec<u64>, Duration)> {
    let stop = AtomicBool::new(false);
    let began = Instant::now();
    let latencies = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..producers)
            .map(|thread| {
                let (stop, bodies) = (&stop, corpus.iter().cycle().skip(thread * 577));
                scope.spawn(move || produce_alone(store, bodies, stop))
            })
            .collect();
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        let stored = threads.into_iter().map(|thread| thread.join().expect("a producer"));
        stored.collect::<Outcome<Vec<_>>>()
    })?;
    Ok((latencies.concat(), began.elapsed()))
}

fn produce_alone<'a>(
    store: &dyn Store,
    bodies: impl Iterator<Item = &'a Vec<u8>>,
    stop: &AtomicBool,
) -> Outcome<Vec<u64>> {
    let mut latencies = Vec::new();
    for body in bodies {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let submitted = Instant::now();
        store.append(body)?;
        latencies.push(submitted.elapsed().as_nanos() as u64);
    }
    Ok(latencies)
}

/// How much to store, and how.
struct Wanted {
    bytes: usize,
    time: Duration,
    batch: usize,
}

fn load(peer: Peer, dir: &Path, records: &Path, wanted: &Wanted, end: &str) -> Outcome<()> {
    let (corpus, began) = (corpus::read(records), Instant::now());
    let store = peer.open(dir)?;
    let (mut count, mut bytes) = (0, 0);
    for batch in corpus.chunks(wanted.batch).cycle() {
        if bytes >= wanted.bytes || began.elapsed() >= wanted.time {
            break;
        }
        store.append_all(batch)?;
        count += batch.len();
        bytes += batch.iter().map(Vec::len).sum::<usize>();
    }
    println!("{count}");
    if end == "leave" {
        std::process::exit(0);
    }
    Ok(())
}

fn drain(peer: Peer, dir: &Path, seconds: &str) -> Outcome<()> {
    let time = time(seconds);
    let (began, before) = (Instant::now(), device::cpu_seconds());
    let store = peer.open(dir)?;
    let opened = began.elapsed().as_secs_f64();
    let usage = Usage(store.server());
    let (mut first, mut records, mut bytes) = (f64::NAN, 0, 0);
    while began.elapsed() < time {
        let taken = store.take(BATCH)?;
        if taken.is_empty() {
            break;
        }
        if records == 0 {
            first = began.elapsed().as_secs_f64();
        }
        records += taken.len();
        bytes += taken.iter().map(Vec::len).sum::<usize>();
        store.settle()?;
    }
    let took = began.elapsed().as_secs_f64() - opened;
    let cpu = usage.cpu_seconds() - before;
    println!("{opened} {first} {records} {bytes} {took} {cpu} {}", usage.peak_memory());
    Ok(())
}

fn read(peer: Peer, settle: bool) -> Outcome<()> {
    let mut says = BufWriter::new(std::io::stdout().lock());
    writeln!(says, "ready")?;
    says.flush()?;
    for dir in std::io::stdin().lines() {
        match read_all(peer, dir?.as_ref(), settle, &mut says) {
            Ok(()) => writeln!(says, "done")?,
            Err(error) => writeln!(says, "error {}", error.to_string().replace('\n', " "))?,
        }
        says.flush()?;
    }
    Ok(())
}

fn read_all(peer: Peer, dir: &Path, settle: bool, says: &mut impl Write) -> Outcome<()> {
    let store = peer.open(dir)?;
    loop {
        let taken = store.take(BATCH)?;
        if taken.is_empty() {
            return Ok(());
        }
        for mut body in taken {
            // None of those that were stored has a newline.
            body.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
            says.write_all(b"=")?;
            says.write_all(&body)?;
            says.write_all(b"\n")?;
        }
        if settle {
            store.settle()?;
        }
    }
}

fn write(peer: Peer, dir: &Path, records: &Path, producers: usize, first: u64) -> Outcome<()> {
    let corpus = corpus::read(records);
    let store = peer.open(dir)?;
    let next = AtomicU64::new(first);
    let write_alone = || -> Outcome<()> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let body = &corpus[number as usize % corpus.len()];
            store.append(&corpus::numbered(number, body))?;
            // In one write, which the pipe takes as a whole.
            std::io::stdout().lock().write_all(format!("{number}\n").as_bytes())?;
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..producers).map(|_| scope.spawn(write_alone)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a producer"))
    })
}
