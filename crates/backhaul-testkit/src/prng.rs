//! A small deterministic generator.

/// Splitmix64: the same seed gives the same numbers on every machine, for ever.
/// Not for secrets.
#[derive(Debug, Clone)]
pub struct Prng {
    state: u64,
}

impl Prng {
    /// A generator that starts from `seed`. Near seeds give unrelated numbers.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        // Constants of Steele, Lea and Flood, "Fast splittable pseudorandom
        // number generators" (2014).
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `n - 1`; 0 when `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next_u64().checked_rem(n).unwrap_or(0)
    }

    /// An index into something with `len` elements; 0 when it has none.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// True with probability `p`: never at 0.0 and always at 1.0.
    pub fn chance(&mut self, p: f64) -> bool {
        const UNIT: f64 = 1.0 / (1_u64 << 53) as f64;
        ((self.next_u64() >> 11) as f64) * UNIT < p
    }

    /// One of `items`.
    ///
    /// # Panics
    /// When `items` is empty.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.index(items.len())]
    }

    /// Puts `items` into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last + 1));
        }
    }

    /// Fills `buffer` with random bytes.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let bytes = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }

    /// `len` random bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.fill(&mut bytes);
        bytes
    }

    /// A generator of its own, so that what one part draws does not move the
    /// numbers of another.
    pub fn fork(&mut self) -> Self {
        Self::new(self.next_u64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_published_sequence() {
        // First outputs of splitmix64 for seed 1234567 (the reference C program).
        let mut prng = Prng::new(1_234_567);
        let drawn = [prng.next_u64(), prng.next_u64(), prng.next_u64()];
        assert_eq!(
            drawn,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn stays_below_its_bound_and_reaches_every_value() {
        let mut prng = Prng::new(1);
        let mut seen = [0_u32; 7];
        for _ in 0..7_000 {
            seen[prng.index(7)] += 1;
        }
        assert!(seen.iter().all(|count| (800..1_200).contains(count)), "{seen:?}");
        assert_eq!(prng.below(0), 0);
    }

    #[test]
    fn chance_is_certain_at_both_ends_and_fair_in_the_middle() {
        let mut prng = Prng::new(2);
        assert!((0..1_000).all(|_| prng.chance(1.0)));
        assert!(!(0..1_000).any(|_| prng.chance(0.0)));
        let hits = (0..10_000).filter(|_| prng.chance(0.25)).count();
        assert!((2_200..2_800).contains(&hits), "{hits}");
    }

    #[test]
    fn shuffle_keeps_every_element() {
        let mut items: Vec<u32> = (0..100).collect();
        Prng::new(3).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_fork_is_independent_of_what_its_parent_draws_later() {
        let mut first = Prng::new(4);
        let mut second = Prng::new(4);
        let (mut fork_one, mut fork_two) = (first.fork(), second.fork());
        first.next_u64();
        assert_eq!(fork_one.bytes(33), fork_two.bytes(33));
        assert_ne!(fork_one.next_u64(), second.next_u64());
    }
}
