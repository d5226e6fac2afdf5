//! Disks that are full, read-only or failing: errors, nothing acknowledged that is not there,
//! and the same open folder goes on when the trouble is over.

use std::sync::Arc;

use backhaul_store::ErrorKind;
use backhaul_testkit::errno::{EIO, ENOSPC, EROFS};
use backhaul_testkit::{Call, CrashStyle, Fault, Faults, FaultyDisk, ManualClock, Prng, SimDisk};
use backhaul_weave::{Kind, OfflineTraceServer, ProjectId, TraceErrorKind};
use serde_json::json;

use super::support::{call, call_ids, entries, object, open, open_on, options, project};

struct Folder {
    disk: SimDisk,
    faults: Faults,
    server: OfflineTraceServer,
    project: ProjectId,
}

impl Folder {
    fn new() -> Self {
        let (disk, faults) = (SimDisk::new(), Faults::new());
        let faulty = FaultyDisk::new(disk.clone(), faults.clone());
        let server = open_on(Arc::new(faulty), options(), &ManualClock::new()).unwrap();
        Self { disk, faults, server, project: project("me/mine") }
    }

    /// Tries each kind of write; how many were refused, each with this kind of error.
    fn refused(&self, number: usize, kind: ErrorKind) -> usize {
        let Self { server, project, .. } = self;
        let value = json!({"n": number});
        let results = [
            server.log(project, &[call(&number.to_string())]).err(),
            server.create_object(project, &object("thing", &value)).err(),
            server.create_table(project, &json!({"rows": [value]})).err(),
            server.create_file(project, "a", None, &number.to_le_bytes()).err(),
        ];
        let errors = results.into_iter().flatten();
        errors
            .inspect(|error| {
                assert_eq!(error.kind(), TraceErrorKind::Store, "{error:?}");
                assert_eq!(error.store_kind(), Some(kind), "{error:?}");
            })
            .count()
    }

    /// All of what was acknowledged is there after a power cut.
    fn assert_survives(&self, acknowledged: &[usize]) {
        let image = self.disk.crash_image(&mut Prng::new(1), &CrashStyle::DROP_ALL);
        let server = open(&image);
        let ids = call_ids(&server, &self.project);
        for number in acknowledged {
            assert!(ids.contains(&number.to_string()), "{number} is lost: {ids:?}");
            let digest = backhaul_weave::digest::of_file(&number.to_le_bytes());
            server.file(&self.project, &digest).unwrap();
        }
        for kind in [Kind::Objects, Kind::Tables, Kind::Files] {
            assert!(entries(&server, &self.project, kind).len() >= acknowledged.len());
        }
    }
}

fn refuses_and_recovers(fault: &dyn Fn() -> Fault, kind: ErrorKind) {
    for is_new in [true, false] {
        let folder = Folder::new();
        if !is_new {
            assert_eq!(folder.refused(0, kind), 0);
        }
        for number in 1..4 {
            folder.faults.add(fault());
            assert_eq!(folder.refused(number * 100, kind), 4, "{is_new}");
            folder.faults.clear();
            assert_eq!(folder.refused(number, kind), 0);
        }
        let first: &[usize] = if is_new { &[1, 2, 3] } else { &[0, 1, 2, 3] };
        folder.assert_survives(first);
    }
}

#[test]
fn a_full_disk_refuses_and_goes_on() {
    refuses_and_recovers(&Fault::full, ErrorKind::Full);
    refuses_and_recovers(
        &|| Fault::any(&[Call::Write, Call::Create], ENOSPC).short(),
        ErrorKind::Full,
    );
}

#[test]
fn a_read_only_disk_refuses_and_goes_on() {
    refuses_and_recovers(&Fault::read_only, ErrorKind::Io);
    refuses_and_recovers(&|| Fault::any(&[Call::Flush, Call::SyncDir], EROFS), ErrorKind::Io);
}

#[test]
fn a_disk_that_fails_refuses_and_goes_on() {
    refuses_and_recovers(&|| Fault::any(&[Call::Write, Call::Create], EIO), ErrorKind::Io);
    refuses_and_recovers(&|| Fault::any(&[Call::Flush, Call::SyncDir], EIO), ErrorKind::Io);
}

#[test]
fn one_failing_call_anywhere_costs_no_more_than_what_was_not_acknowledged() {
    let mut failed = 0;
    for call in Call::CHANGES {
        for at in 0..25 {
            let folder = Folder::new();
            folder.faults.add(Fault::new(call, EIO).after(at).times(1));
            let results: Vec<usize> =
                (0..4).filter(|number| folder.refused(*number, ErrorKind::Io) == 0).collect();
            failed += 4 - results.len();
            folder.faults.clear();
            assert_eq!(folder.refused(9, ErrorKind::Io), 0, "{call:?} {at}");
            folder.assert_survives(&results);
        }
    }
    assert!(failed > 50, "{failed} failures are no test");
}

#[test]
fn a_folder_that_could_not_be_made_durable_at_first_is_so_before_anything_is_acknowledged() {
    let mut failed = 0;
    for at in 0..20 {
        let (disk, faults) = (SimDisk::new(), Faults::new());
        let faulty: Arc<FaultyDisk<SimDisk>> =
            Arc::new(FaultyDisk::new(disk.clone(), faults.clone()));
        faults.add(Fault::new(Call::SyncDir, EIO).after(at).times(1));
        let project = project("me/mine");
        let log = || {
            let server = open_on(Arc::clone(&faulty) as _, options(), &ManualClock::new())?;
            server.log(&project, &[call("1")])
        };
        if log().is_err() {
            failed += 1;
            log().unwrap();
        }
        let image = disk.crash_image(&mut Prng::new(1), &CrashStyle::DROP_ALL);
        assert!(call_ids(&open(&image), &project).contains(&"1".to_owned()), "{at}");
    }
    assert!(failed > 10, "{failed} failures are no test");
}
