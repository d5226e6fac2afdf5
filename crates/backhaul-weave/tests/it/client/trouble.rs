//! Disks that take nothing, for a while or for good: the program goes on as fast as before, in
//! bounded memory, and what is dropped is counted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backhaul_testkit::errno::EIO;
use backhaul_testkit::{Call, Fault, Faults, FaultyDisk, ManualClock, SimDisk};
use backhaul_weave as weave;
use weave::{CallStatus, OfflineTraceServer, TraceErrorKind, WeaveClient};

use crate::offline::support::{open_on, options};

#[weave::op]
fn echo(text: &str) -> usize {
    text.len()
}

struct Program {
    faults: Faults,
    client: WeaveClient,
    server: OfflineTraceServer,
}

const MEMORY: usize = 200_000;

impl Program {
    fn new() -> Self {
        let (disk, faults) = (SimDisk::new(), Faults::new());
        let faulty = FaultyDisk::new(disk, faults.clone());
        let server = open_on(Arc::new(faulty), options(), &ManualClock::new()).unwrap();
        let client = weave::init("me/mine")
            .offline(true)
            .server(server.clone())
            .max_memory_bytes(MEMORY)
            .collect_for(Duration::ZERO)
            .start()
            .unwrap();
        Self { faults, client, server }
    }

    fn calls(&self) -> usize {
        self.client.flush().unwrap();
        let reads = weave::Reads::of_server(&self.server);
        reads.count_calls(self.client.project(), &weave::CallsQuery::default()).unwrap()
    }
}

#[test]
fn what_was_logged_while_the_disk_took_nothing_is_there_once_it_does() {
    let program = Program::new();
    echo("before");
    program.client.flush().unwrap();
    program.faults.add(Fault::any(&[Call::Flush, Call::Write], EIO));
    for _ in 0..20 {
        echo("meanwhile");
    }
    let error = program.client.flush().unwrap_err();
    assert_eq!(error.kind(), TraceErrorKind::Store);
    let status = program.client.status();
    assert!(status.waiting > 0 && status.last_error.is_some(), "{status:?}");
    assert_eq!(status.dropped, 0);
    program.faults.clear();
    assert_eq!(program.calls(), 21);
    assert!(program.client.status().last_error.is_none());
}

#[test]
fn a_disk_that_stays_full_bounds_memory_and_what_is_dropped_is_counted() {
    let program = Program::new();
    program.faults.add(Fault::full());
    echo("the first one finds out");
    program.client.flush().unwrap_err();
    let text = "x".repeat(1_000);
    let began = Instant::now();
    for _ in 0..2_000 {
        assert_eq!(echo(&text), 1_000);
    }
    // Each would have waited a second for room where the disk takes some.
    assert!(began.elapsed() < Duration::from_secs(60));
    let status = program.client.status();
    let taken = 2_000 - status.dropped;
    assert!(taken * 1_000 < MEMORY as u64, "{taken} calls of 1 KB are in {MEMORY} bytes");
    program.faults.clear();
    let there = program.calls() as u64;
    assert_eq!(there, taken + 1);
    // Room was given back with what was stored.
    echo(&text);
    assert_eq!(program.calls() as u64, there + 1);
    assert_eq!(program.client.status().dropped, status.dropped);
}

#[test]
fn a_program_that_ends_while_the_disk_takes_nothing_is_told_what_it_loses() {
    let program = Program::new();
    program.faults.add(Fault::full());
    echo("one");
    echo("two");
    let error = program.client.finish().unwrap_err();
    assert!(error.to_string().contains("lost"), "{error}");
}

#[test]
fn a_call_that_no_record_can_hold_is_named_by_its_size_and_the_others_are_stored() {
    let program = Program::new();
    let huge = "x".repeat(30 << 20);
    echo(&huge);
    echo("small");
    let reads = program.client.reads().unwrap();
    let calls = reads.calls(program.client.project(), &weave::CallsQuery::default()).unwrap();
    let calls: Vec<_> = calls.map(Result::unwrap).collect();
    assert!(calls[0]["inputs"]["text"].as_str().unwrap().contains("31457282 bytes"));
    assert_eq!(calls[0]["output"], huge.len());
    assert_eq!(calls[1]["inputs"]["text"], "small");
}

#[test]
fn a_call_begun_before_and_ended_after_its_client_finished_is_shown_as_running() {
    let program = Program::new();
    let call = weave::call("long").start().unwrap();
    program.client.finish().unwrap();
    call.finish(1);
    echo("logged nowhere");
    let reads = weave::Reads::of_server(&program.server);
    let calls = reads.calls(program.client.project(), &weave::CallsQuery::default()).unwrap();
    let calls: Vec<_> = calls.map(Result::unwrap).collect();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0]["summary"]["weave"]["status"], CallStatus::Running.name());
}

#[test]
fn calls_that_were_stored_before_the_disk_failed_are_there_once() {
    // A commit holds so much; of a batch of several the first may be on disk when the next fails.
    for fails_at in 1..12 {
        let program = Program::new();
        program.client.flush().unwrap();
        program.faults.add(Fault::any(&[Call::Flush, Call::Write], EIO).after(fails_at).times(2));
        let text = "x".repeat(3_000);
        for _ in 0..40 {
            echo(&text);
        }
        while program.client.flush().is_err() {}
        assert_eq!(program.calls(), 40, "a failure after {fails_at} calls of the disk");
        let reads = weave::Reads::of_server(&program.server);
        let calls = reads.calls(program.client.project(), &weave::CallsQuery::default()).unwrap();
        let ids: std::collections::BTreeSet<String> =
            calls.map(|call| call.unwrap()["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ids.len(), 40);
    }
}

#[test]
fn a_call_that_ends_after_its_client_waits_for_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let client = weave::init("me/mine").offline(true).durable(true).offline_dir(dir.path());
    let client = client.start().unwrap();
    let call = weave::call("long").start().unwrap();
    client.finish().unwrap();
    let within = call.context();
    call.finish("too late");
    within.run(|| weave::call("below").run(|| 1));
    client.flush().unwrap();
    let reads = weave::Reads::of_server(client.server());
    assert_eq!(reads.count_calls(client.project(), &weave::CallsQuery::default()).unwrap(), 1);
    assert_eq!(client.status().dropped, 2);
}
