//! What a hub remembers of one chain of one device, so that it knows repeats: a
//! floor, a bit for each of the 4,096 sequences from there on, and (kept apart,
//! because they are few and of any number) the ranges below the floor that never
//! came.
//!
//! All changes commute: records that are noted in another order, with the floors
//! that their senders gave then, lead to the same state. Replaying them after a
//! crash is therefore safe.

use std::ops::RangeInclusive;

use backhaul_store::WINDOW;

const BITS: u64 = u64::BITS as u64;
const WORDS: usize = (WINDOW / BITS) as usize;

/// Floor and bits of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    /// Everything before was seen, or is void.
    floor: u64,
    /// A ring: the bit of a sequence is its remainder.
    bits: [u64; WORDS],
}

/// What a window says of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    Seen,
    New,
    /// Below the floor: new if it is void, seen otherwise.
    IfVoid,
}

impl Window {
    /// A source that nothing is known of. Move its floor before anything else: that
    /// makes void what came before.
    pub(crate) fn new() -> Self {
        Self { floor: 1, bits: [0; WORDS] }
    }

    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    /// The first sequence that is too far from the floor.
    pub(crate) fn end(floor: u64) -> u64 {
        floor.saturating_add(WINDOW)
    }

    pub(crate) fn known(&self, sequence: u64) -> Known {
        if sequence < self.floor {
            return Known::IfVoid;
        }
        let is_seen = sequence < Self::end(self.floor) && self.bit(sequence);
        if is_seen { Known::Seen } else { Known::New }
    }

    /// Moves the floor up, never down. Gives the ranges that it passed by unseen.
    pub(crate) fn advance(&mut self, floor: u64) -> Vec<RangeInclusive<u64>> {
        let mut voids = Vec::new();
        let mut open: Option<u64> = None;
        let window_end = Self::end(self.floor).min(floor);
        for sequence in self.floor..window_end {
            let (word, mask) = place(sequence);
            let bit = self.bits.get_mut(word).is_some_and(|bits| {
                let was_set = *bits & mask != 0;
                *bits &= !mask;
                was_set
            });
            match (bit, open) {
                (true, Some(first)) => {
                    voids.push(first..=sequence - 1);
                    open = None;
                }
                (false, None) => open = Some(sequence),
                _ => {}
            }
        }
        if floor > window_end && open.is_none() {
            open = Some(window_end.max(self.floor));
        }
        if let Some(first) = open.filter(|first| *first < floor) {
            voids.push(first..=floor - 1);
        }
        self.floor = self.floor.max(floor);
        voids
    }

    /// Notes that a sequence was received. `false`: it is below the floor, and has to
    /// leave the void ranges instead.
    pub(crate) fn note(&mut self, sequence: u64) -> bool {
        if sequence < self.floor {
            return false;
        }
        let (word, mask) = place(sequence);
        if let Some(bits) = self.bits.get_mut(word).filter(|_| sequence < Self::end(self.floor)) {
            *bits |= mask;
        }
        true
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let words = std::iter::once(&self.floor).chain(&self.bits);
        words.flat_map(|word| word.to_le_bytes()).collect()
    }

    /// `None`: these are not the bytes of a window.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        let (floor, bits) = words.split_first()?;
        let bits: Vec<u64> = bits.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let bits = bits.try_into().ok()?;
        rest.is_empty().then_some(Self { floor: u64::from_le_bytes(*floor), bits })
    }

    fn bit(&self, sequence: u64) -> bool {
        let (word, mask) = place(sequence);
        self.bits.get(word).is_some_and(|bits| bits & mask != 0)
    }
}

/// The word of a sequence's bit, and the bit in it.
fn place(sequence: u64) -> (usize, u64) {
    let bit = sequence % WINDOW;
    (usize::try_from(bit / BITS).unwrap_or(usize::MAX), 1 << (bit % BITS))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The whole state, in the plainest form: what was received, and the floor.
    #[derive(Default)]
    struct Model {
        received: BTreeSet<u64>,
    }

    /// A window with its voids, as the hub keeps both.
    struct Subject {
        window: Window,
        voids: BTreeSet<u64>,
    }

    impl Subject {
        fn new() -> Self {
            Self { window: Window::new(), voids: BTreeSet::new() }
        }

        fn advance(&mut self, floor: u64) {
            for range in self.window.advance(floor) {
                assert!(!range.is_empty());
                for sequence in range {
                    assert!(self.voids.insert(sequence), "{sequence} is void already");
                }
            }
        }

        fn is_new(&self, sequence: u64) -> bool {
            match self.window.known(sequence) {
                Known::New => true,
                Known::Seen => false,
                Known::IfVoid => self.voids.contains(&sequence),
            }
        }

        fn note(&mut self, sequence: u64) {
            if !self.window.note(sequence) {
                self.voids.remove(&sequence);
            }
        }
    }

    fn next(random: &mut u64) -> u64 {
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        *random
    }

    #[test]
    fn knows_exactly_what_was_received() {
        for seed in 1..40_u64 {
            let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let (mut subject, mut model) = (Subject::new(), Model::default());
            let mut noted = Vec::new();
            for _ in 0..300 {
                let step = if next(&mut random).is_multiple_of(40) { 9_000 } else { 30 };
                let floor = subject.window.floor() + next(&mut random) % step;
                subject.advance(floor);
                for _ in 0..next(&mut random) % 20 {
                    let reach = if next(&mut random).is_multiple_of(5) { WINDOW } else { 40 };
                    let below = next(&mut random) % 50;
                    let sequence = (floor + next(&mut random) % reach).saturating_sub(below).max(1);
                    assert_eq!(subject.is_new(sequence), !model.received.contains(&sequence));
                    if model.received.insert(sequence) {
                        noted.push((floor, sequence));
                        subject.note(sequence);
                    }
                }
            }
            // Replayed in another order, it is the same.
            let mut replayed = Subject::new();
            let floor = subject.window.floor();
            for (floor, sequence) in noted.into_iter().rev() {
                replayed.advance(floor);
                replayed.note(sequence);
            }
            replayed.advance(floor);
            assert!(replayed.window == subject.window && replayed.voids == subject.voids);
        }
    }

    #[test]
    fn a_first_floor_makes_void_what_came_before() {
        let mut window = Window::new();
        assert_eq!(window.advance(10_000), [1..=9_999]);
        assert_eq!(window.known(9_999), Known::IfVoid);
        assert_eq!(window.known(10_000), Known::New);
        assert_eq!(window.advance(5), []);
        assert_eq!(window.floor(), 10_000);
    }

    #[test]
    fn comes_back_from_its_bytes() {
        let mut window = Window::new();
        window.advance(77);
        assert!(window.note(80) && window.note(77 + WINDOW - 1));
        let bytes = window.to_bytes();
        assert_eq!(bytes.len(), 520);
        assert_eq!(Window::from_bytes(&bytes), Some(window));
        assert_eq!(Window::from_bytes(&bytes[1..]), None);
    }

    #[test]
    fn the_largest_sequence_does_no_harm() {
        let mut window = Window::new();
        assert_eq!(window.advance(u64::MAX), [1..=u64::MAX - 1]);
        assert_eq!(window.known(u64::MAX - 1), Known::IfVoid);
        assert!(window.note(u64::MAX));
        // What is at the end of the number range is stored again rather than lost.
        assert_eq!(window.known(u64::MAX), Known::New);
    }
}
