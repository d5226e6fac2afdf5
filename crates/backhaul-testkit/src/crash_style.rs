//! How unkind a power cut is.

use crate::prng::Prng;

/// What happens to the operations that were not flushed when the power went.
///
/// Every field widens or narrows the set of images; each image is one draw from
/// it. [`CrashStyle::random`] draws the style too.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CrashStyle {
    /// The probability that an unflushed write or cut survives whole.
    pub keep: f64,
    /// The probability that it survives in part. What is left of 1.0 is lost.
    pub tear: f64,
    /// Where a torn write may break.
    pub tear_at: Tear,
    /// Which operations of one file may survive others.
    pub order: Order,
    /// Whether a torn write also destroys a block it was in the middle of.
    pub scramble: Scramble,
    /// Whether the length of a file may run behind its data (the data past it is
    /// then gone) or ahead of it (zeros), as with delayed allocation. Without it
    /// the length is the one that the surviving operations give.
    pub loose_length: bool,
    /// The probability that an unsynced change of a name survives.
    pub keep_names: f64,
    /// Whether changes of names survive in the order in which they were made,
    /// across all directories, as with a journal: the first few, then none.
    /// With `keep_names` at 0.0 or 1.0 that is none or all of them, else any number.
    pub ordered_metadata: bool,
}

/// Where a torn write may break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tear {
    /// Each aligned sector of 512 bytes is old or new by itself.
    Sector,
    /// Each aligned page of 4096 bytes is old or new by itself.
    Page,
    /// A prefix of any length is new, the rest is old.
    Byte,
    /// One of the three, drawn for each write.
    Any,
}

/// Which operations of one file may survive others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The first few survive whole, the next may be torn, the rest is lost.
    /// `keep` at 0.0 or 1.0 means none or all of them, else any number.
    Prefix,
    /// Each by itself, applied in the order in which they were made.
    Issued,
    /// Each by itself, applied in any order.
    Shuffled,
}

/// What a torn write does to the block in which it was in flight.
///
/// The block is destroyed whole, flushed neighbours in it included: that is a
/// page being programmed when the power goes. Only blocks that an unflushed
/// write touches are ever destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scramble {
    /// Nothing: every byte is old or new.
    Off,
    /// An aligned sector of 512 bytes holds garbage.
    Sector,
    /// An aligned page of 4096 bytes holds garbage.
    Page,
}

impl Scramble {
    /// Bytes in the block, or none when nothing is destroyed.
    pub(crate) fn block(self) -> Option<usize> {
        match self {
            Self::Off => None,
            Self::Sector => Some(512),
            Self::Page => Some(4096),
        }
    }
}

impl CrashStyle {
    /// Everything survives, flushed or not: the process died, the machine did not.
    pub const KEEP_ALL: Self = Self {
        keep: 1.0,
        tear: 0.0,
        tear_at: Tear::Any,
        order: Order::Issued,
        scramble: Scramble::Off,
        loose_length: false,
        keep_names: 1.0,
        ordered_metadata: false,
    };

    /// Nothing survives that was not flushed.
    pub const DROP_ALL: Self = Self { keep: 0.0, keep_names: 0.0, ..Self::KEEP_ALL };

    /// The unkindest: everything may be kept, torn, reordered, scrambled or lost.
    pub const WORST: Self = Self {
        keep: 0.35,
        tear: 0.4,
        tear_at: Tear::Any,
        order: Order::Shuffled,
        scramble: Scramble::Page,
        loose_length: true,
        keep_names: 0.5,
        ordered_metadata: false,
    };

    /// Any style, with more weight on the corners than an even draw would give.
    pub fn random(prng: &mut Prng) -> Self {
        let keep = *prng.pick(&[0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0]);
        let tear = (1.0 - keep) * *prng.pick(&[0.0, 0.3, 0.7, 1.0]);
        Self {
            keep,
            tear,
            tear_at: *prng.pick(&[Tear::Sector, Tear::Page, Tear::Byte, Tear::Any]),
            order: *prng.pick(&[Order::Prefix, Order::Issued, Order::Shuffled]),
            scramble: *prng.pick(&[Scramble::Off, Scramble::Sector, Scramble::Page]),
            loose_length: prng.chance(0.3),
            keep_names: *prng.pick(&[0.0, 0.2, 0.5, 0.8, 1.0]),
            ordered_metadata: prng.chance(0.5),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_styles_reach_every_corner_and_stay_probabilities() {
        let mut prng = Prng::new(1);
        let styles: Vec<_> = (0..1_000).map(|_| CrashStyle::random(&mut prng)).collect();
        assert!(styles.iter().all(|style| style.keep + style.tear <= 1.0 + f64::EPSILON));
        assert!(styles.iter().any(|style| style.keep == 0.0 && style.keep_names == 1.0));
        assert!(styles.iter().any(|style| style.keep == 1.0 && style.keep_names == 0.0));
        for order in [Order::Prefix, Order::Issued, Order::Shuffled] {
            assert!(styles.iter().any(|style| style.order == order));
        }
        for scramble in [Scramble::Off, Scramble::Sector, Scramble::Page] {
            assert!(styles.iter().any(|style| style.scramble == scramble));
        }
    }
}
