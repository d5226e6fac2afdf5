//! Makes images and verifies them.

use std::sync::{Arc, Mutex};

use backhaul_testkit::{CrashStyle, ManualClock, Prng, SimDisk, SimSnapshot};

use super::verify::{Expected, Found};
use super::workload::{self, Moment, open};

/// Every so many images, the opening of the hub is cut too, and the hub is opened once
/// more after everything was sent again.
const MORE_EVERY: usize = 20;
/// Up to this many images, of each series only every third flush is a moment: several
/// series say more than all moments of one.
const FEW_IMAGES: usize = 10_000;

/// What the hub or its disk leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sabotage {
    None,
    /// Flushes of the database do nothing.
    DatabaseFlushes,
    /// The folder of the database is not synced.
    DatabaseName,
    /// What was stored after the last snapshot is not noted again.
    CatchUp,
    /// Segments are removed before a snapshot covers them.
    KeptSegments,
}

#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) images: usize,
    pub(super) seeds: u64,
    pub(super) with_database: usize,
    pub(super) purged: usize,
    pub(super) rebuilt: usize,
}

pub(super) struct Campaign {
    wanted: usize,
    sabotage: Sabotage,
    figures: Figures,
}

impl Campaign {
    pub(super) fn new(wanted: usize, sabotage: Sabotage) -> Self {
        Self { wanted, sabotage, figures: Figures::default() }
    }

    /// Makes and verifies images until there are enough; `Err` names the first bad one.
    pub(super) fn run(mut self) -> Result<Figures, String> {
        while self.figures.images < self.wanted {
            self.figures.seeds += 1;
            let seed = self.figures.seeds;
            let (moments, log) = workload::run(seed, self.sabotage);
            let stride = if self.wanted > FEW_IMAGES { 1 } else { 3 };
            for (index, moment) in moments.iter().enumerate().step_by(stride) {
                let expected = Expected::new(&log, moment);
                let mut random = Prng::new(seed << 20 | index as u64);
                for style in [CrashStyle::WORST, CrashStyle::random(&mut random)] {
                    self.verify(moment, &expected, &style, &mut random).map_err(|why| {
                        let point = moment.snapshot.point();
                        format!("seed {seed} moment {index} {point:?} {style:?}: {why}")
                    })?;
                }
            }
        }
        Ok(self.figures)
    }

    fn verify(
        &mut self,
        moment: &Moment,
        expected: &Expected<'_>,
        style: &CrashStyle,
        random: &mut Prng,
    ) -> Result<(), String> {
        let mut again = random.clone();
        let image = moment.snapshot.crash_image(random, style);
        self.note(expected.verify(&image, self.sabotage)?);
        if self.figures.images.is_multiple_of(MORE_EVERY) {
            expected
                .verify(&image, self.sabotage)
                .map_err(|why| format!("after one more start: {why}"))?;
            let image = moment.snapshot.crash_image(&mut again, style);
            self.cut_opening(&image, expected, random)?;
        }
        Ok(())
    }

    /// Cuts the power while the hub of an image is opened, and verifies what that leaves.
    fn cut_opening(
        &mut self,
        image: &SimDisk,
        expected: &Expected<'_>,
        random: &mut Prng,
    ) -> Result<(), String> {
        let snapshots = Arc::new(Mutex::new(Vec::<SimSnapshot>::new()));
        let of_hook = Arc::clone(&snapshots);
        image.on_flush(Box::new(move |snapshot| of_hook.lock().unwrap().push(snapshot.clone())));
        drop(
            open(image, &ManualClock::new(), self.sabotage)
                .map_err(|error| format!("{error:#}"))?,
        );
        image.clear_on_flush();
        for snapshot in std::mem::take(&mut *snapshots.lock().unwrap()) {
            let style = CrashStyle::random(random);
            let found = expected
                .verify(&snapshot.crash_image(random, &style), self.sabotage)
                .map_err(|why| format!("while opening at {:?}: {why}", snapshot.point()))?;
            self.note(found);
        }
        Ok(())
    }

    fn note(&mut self, found: Found) {
        self.figures.images += 1;
        self.figures.with_database += usize::from(found.with_database);
        self.figures.rebuilt += usize::from(found.rebuilt);
        self.figures.purged += usize::from(found.purged);
    }
}
