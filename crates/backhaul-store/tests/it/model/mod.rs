//! A plain model runs beside the real store on random steps; reopening, killing the
//! process and cutting the power are steps like any other.
//!
//! After each step the books balance and are the model's, and what waits is what
//! the model says, in its order. Only a power cut may change what the model did not
//! foresee, and only in the directions that `docs/guarantees.md` allows: settlements
//! that were not flushed are forgotten (the record waits again), and records that
//! were acknowledged without a flush are gone.
//!
//! `BACKHAUL_MODEL_CASES` asks for more cases than the ordinary run has,
//! `BACKHAUL_MODEL_SEED` for others.

mod append;
mod campaign;
mod choosing;
mod comparison;
mod delivery;
mod item;
mod outcome;
mod run;
mod seen;
mod step;
mod survival;

use self::campaign::{agrees, run_all};
use crate::support::{LAYOUTS, Layout};

#[test]
fn the_store_agrees_with_a_model_in_the_folder_layout() {
    agrees(Layout::Folder);
}

#[test]
fn the_store_agrees_with_a_model_in_the_segment_layout() {
    agrees(Layout::Segments);
}

#[test]
fn the_store_agrees_with_a_model_in_plain_segments() {
    agrees(Layout::Plain);
}

#[test]
fn the_model_notices_a_missing_flush() {
    for layout in LAYOUTS {
        run_all(layout, 200, false, |disk| disk.ignore_flushes(true))
            .expect_err("flushes were ignored, and nothing was lost");
    }
}

#[test]
fn the_model_notices_a_missing_directory_sync() {
    for layout in LAYOUTS {
        run_all(layout, 200, false, |disk| disk.ignore_dir_syncs(true))
            .expect_err("directory syncs were ignored, and nothing was lost");
    }
}
