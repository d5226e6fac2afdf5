//! Choices that look like chance and are the same in each run.

/// A sequence of choices.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 20).unwrap() % end
    }

    /// True once in `times`.
    pub(super) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(super) fn of<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())].clone()
    }

    /// Some of a list, in its order; at least one.
    pub(super) fn some<T: Clone>(&mut self, list: &[T]) -> Vec<T> {
        let mut some: Vec<T> = list.iter().filter(|_| self.once_in(3)).cloned().collect();
        if some.is_empty() {
            some.push(self.of(list));
        }
        some
    }
}
