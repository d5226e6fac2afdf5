//! Disks that refuse: no reason for a run to stop.

use backhaul_agent::Context;
use backhaul_runtime::executor::{DagExecutor, RunOptions};
use backhaul_testkit::errno::EIO;
use backhaul_testkit::{Call, Fault, Faults, FaultyDisk, SimDisk};

use super::support::{Told, built, diamond, functions, keeping};

#[tokio::test]
async fn a_run_goes_on_whatever_the_disk_refuses_and_says_so() {
    let calls = [Call::Open, Call::Write, Call::Flush, Call::SyncDir, Call::Rename];
    let (mut refused, mut kept) = (0, 0);
    for call in calls {
        for after in 0..12 {
            for times in [1, u64::MAX] {
                let faults = Faults::new();
                let disk = FaultyDisk::new(SimDisk::new(), faults.clone());
                let told = Told::default();
                let executor =
                    DagExecutor::new(functions(&told)).context_persistence(keeping(&disk));
                faults.add(Fault::new(call, EIO).after(after).times(times));
                let options = RunOptions::new().run_id("r");
                let result = executor.run_with(&built(diamond()), Context::new(), options).await;
                assert!(result.success(), "{call:?} {after}: {:?}", result.error);
                assert_eq!(told.begun().len(), 6);
                faults.clear();
                if result.metadata.contains_key("persistence_error") {
                    refused += 1;
                    continue;
                }
                // What was refused is written later, with the rest.
                let latest = keeping(&disk).recover_latest().unwrap().unwrap();
                assert_eq!(latest.to_value(), result.final_context.to_value(), "{call:?} {after}");
                kept += 1;
            }
        }
    }
    assert!(refused > 20 && kept > 50, "{refused} {kept}");
}
