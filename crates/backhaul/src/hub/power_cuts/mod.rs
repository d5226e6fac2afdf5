//! Power cuts of a whole hub. The spool and the record of what was seen lie on one
//! simulated disk; at every flush of a random series of requests, disks as a power cut
//! could leave them. On each the hub opens, holds every acknowledged record exactly
//! once, and knows again all that its senders send a second time.

mod campaign;
mod senders;
mod verify;
mod workload;

use campaign::{Campaign, Figures, Sabotage};

/// Images in the ordinary test run; `BACKHAUL_CRASH_IMAGES` asks for more.
const IMAGES: usize = 3_000;

fn wanted() -> usize {
    std::env::var("BACKHAUL_CRASH_IMAGES")
        .map_or(IMAGES, |text| text.parse().expect("a number of images"))
}

#[test]
fn what_was_acknowledged_survives_a_power_cut_and_is_known_again() {
    let figures = Campaign::new(wanted(), Sabotage::None).run().unwrap();
    println!("{figures:?}");
    let Figures { images, with_database, purged, rebuilt, .. } = figures;
    assert!(images >= wanted());
    // The images are of the kind that is meant: most have a database with a snapshot,
    // and what was delivered is gone from many.
    assert!(with_database > images / 2 && purged > images / 10, "{figures:?}");
    assert_eq!(rebuilt, 0, "what was seen was lost, and read from the spool again");
}

#[track_caller]
fn is_noticed(sabotage: Sabotage) -> String {
    let why = Campaign::new(wanted(), sabotage).run().expect_err("nothing was noticed");
    println!("{why}");
    why
}

#[test]
fn the_campaign_notices_a_database_that_is_not_flushed() {
    is_noticed(Sabotage::DatabaseFlushes);
}

#[test]
fn the_campaign_notices_a_database_whose_name_is_not_synced() {
    is_noticed(Sabotage::DatabaseName);
}

#[test]
fn the_campaign_notices_a_start_that_does_not_catch_up_with_the_spool() {
    let why = is_noticed(Sabotage::CatchUp);
    assert!(why.contains("stored again"), "{why}");
}

#[test]
fn the_campaign_notices_segments_that_are_removed_too_early() {
    let why = is_noticed(Sabotage::KeptSegments);
    assert!(why.contains("was delivered, and is stored again"), "{why}");
}
