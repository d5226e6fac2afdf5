//! A fleet comes back after an outage: the couriers' decisions and the hub's admission,
//! driven by a simulated clock. `scripts/fleet` runs it with 10,000 devices and writes
//! `docs/fleet.md`.

mod chart;
mod device;
mod figures;
mod page;
mod plan;
mod world;

use std::path::PathBuf;
use std::time::Duration;

use plan::{HubKind, Plan};

/// Devices in the ordinary test run; `BACKHAUL_FLEET_DEVICES` asks for others.
const DEVICES: u32 = 1_000;

fn plan() -> Plan {
    let devices = std::env::var("BACKHAUL_FLEET_DEVICES");
    Plan::new(devices.map_or(DEVICES, |text| text.parse().expect("a number of devices")))
}

/// A sixth of the outage: an hour, where that is six hours long.
fn spread_out() -> Plan {
    let plan = plan();
    Plan { spread: Duration::from_secs(plan.outage.as_secs() / 6), ..plan }
}

#[track_caller]
fn comes_back_well(plan: &Plan) {
    for seed in 1..=3 {
        let figures = world::run(&Plan { seed, ..plan.clone() });
        assert_eq!(figures.check(), Ok(()), "seed {seed}");
    }
}

#[track_caller]
fn is_noticed(plan: &Plan) -> String {
    world::run(plan).check().expect_err("nothing was noticed")
}

#[test]
fn a_fleet_that_comes_back_at_once_is_served_evenly_and_in_time() {
    comes_back_well(&plan());
}

#[test]
fn a_fleet_that_spreads_itself_is_served_evenly_and_in_time() {
    comes_back_well(&spread_out());
}

#[test]
fn devices_that_do_not_listen_do_not_keep_the_others_waiting() {
    let figures = world::run(&Plan { rude: 0.1, ..plan() });
    assert!(figures.peak() <= 1.5 && figures.time() <= 1.3, "{:?}", figures.check());
}

#[test]
fn a_hub_without_admission_is_noticed() {
    let why = is_noticed(&Plan { hub: HubKind::Open, jitter: false, ..plan() });
    assert!(why.contains("stored in a second"), "{why}");
}

#[test]
fn a_hub_that_tells_all_the_same_time_is_noticed() {
    let why = is_noticed(&Plan { hub: HubKind::Limit, jitter: false, ..plan() });
    assert!(why.contains("refused") || why.contains("time"), "{why}");
}

#[test]
fn the_page_shows_what_was_simulated() {
    let folder = std::env::var_os("BACKHAUL_FLEET_PAGE").map(PathBuf::from);
    let page = page::Page::of(&plan(), &spread_out());
    assert!(page.text.contains("| at once |") && page.chart.ends_with("</svg>\n"));
    if let Some(folder) = folder {
        std::fs::write(folder.join("fleet.md"), page.text).unwrap();
        std::fs::write(folder.join("fleet.svg"), page.chart).unwrap();
    }
}
