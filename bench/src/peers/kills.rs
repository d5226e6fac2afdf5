//! A process that stores records is killed: what it had acknowledged and is not there.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::ChildStdout;
use std::sync::mpsc;
use std::time::Duration;

use super::reader::{After, Answer, End, Reader};
use super::speed::print_failures;
use super::{Corpus, Peer, corpus};
use crate::engines::folder;
use crate::records::Random;

/// Threads that store, each one record at a time.
const PRODUCERS: &str = "4";
/// Kills before a new folder is begun.
const KILLS_IN_A_FOLDER: u64 = 10;
/// How long a process stores records before it is killed, at most.
const LONGEST: usize = 40_000;
/// How long the first record may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn measure(kills: u64) {
    let records = Corpus::new(1024);
    let (peers, mut failures) = Peer::present();
    println!(
        "| engine | kills | acknowledged | lost | kills with a loss | delivered damaged \
         | not opened, or not read to the end |\n|---|---|---|---|---|---|---|"
    );
    for peer in peers {
        match kill(peer, kills, &records) {
            Ok(Tally { acknowledged, lost, with_loss, damaged, failed }) => println!(
                "| {} | {kills} | {acknowledged} | {lost} | {with_loss} | {damaged} | {failed} |",
                peer.title(),
            ),
            Err(why) => failures.push((peer, why)),
        }
        eprintln!("{}", peer.title());
    }
    println!();
    print_failures(&failures);
}

/// What became of the records at all kills.
#[derive(Default)]
struct Tally {
    acknowledged: usize,
    lost: usize,
    with_loss: u64,
    damaged: usize,
    failed: u64,
}

fn kill(peer: Peer, kills: u64, records: &Corpus) -> Result<Tally, String> {
    let mut random = Random::new(kills);
    let (mut tally, mut reader) = (Tally::default(), Reader::new(peer, After::Settle));
    for done in (0..kills).step_by(KILLS_IN_A_FOLDER as usize) {
        let dir = tempfile::tempdir_in(folder()).expect("a folder");
        let mut first = 0;
        for _ in done..kills.min(done + KILLS_IN_A_FOLDER) {
            let time = Duration::from_micros(random.below(LONGEST) as u64);
            let acknowledged = write_until_killed(peer, dir.path(), records, first, time)?;
            // Some were stored and not acknowledged.
            first = acknowledged.iter().max().map_or(first, |last| last + 1000);
            tally.add(&acknowledged, &reader.read(dir.path()), records);
        }
    }
    Ok(tally)
}

/// The numbers of the records that it acknowledged.
fn write_until_killed(
    peer: Peer,
    dir: &Path,
    records: &Corpus,
    first: u64,
    time: Duration,
) -> Result<Vec<u64>, String> {
    let (dir, path, first) = (dir.to_string_lossy(), records.path(), first.to_string());
    let mut group = peer.start("write", &[&dir, &path.to_string_lossy(), PRODUCERS, &first]);
    let says = group.0.stdout.take().expect("piped");
    let (sender, numbers) = mpsc::channel();
    let listener = std::thread::spawn(move || listen(says, &sender));
    let began = numbers.recv_timeout(PATIENCE);
    std::thread::sleep(time);
    group.kill();
    listener.join().expect("a listener");
    let began = began.map_err(|_| "it stored nothing".to_owned())?;
    Ok(std::iter::once(began).chain(numbers.try_iter()).collect())
}

fn listen(says: ChildStdout, numbers: &mpsc::Sender<u64>) {
    for line in BufReader::new(says).lines().map_while(Result::ok) {
        let _ = numbers.send(line.parse().expect("a number"));
    }
}

impl Tally {
    fn add(&mut self, acknowledged: &[u64], answer: &Answer, records: &Corpus) {
        let numbers: HashSet<u64> =
            answer.records.iter().filter_map(|body| number(body, records)).collect();
        let lost = acknowledged.iter().filter(|it| !numbers.contains(it)).count();
        self.acknowledged += acknowledged.len();
        self.lost += lost;
        self.with_loss += u64::from(lost > 0);
        self.damaged += answer.records.iter().filter(|it| number(it, records).is_none()).count();
        self.failed += u64::from(answer.end != End::Done);
    }
}

/// The number of a record that is as it was stored.
fn number(body: &[u8], records: &Corpus) -> Option<u64> {
    let number = corpus::number_of(body)?;
    let stored = &records.records[number as usize % records.records.len()];
    (corpus::numbered(number, stored) == body).then_some(number)
}
