//! What was measured round by round.

use std::collections::BTreeMap;

use crate::report::{Spread, spread};

/// What was measured in each round, by what was measured.
pub struct Rounds<K, V>(BTreeMap<(u64, K), V>);

impl<K: Ord + Copy, V> Rounds<K, V> {
    pub fn new() -> Self {
        Self(BTreeMap::new())
    }

    pub fn add(&mut self, round: u64, key: K, value: V) {
        self.0.insert((round, key), value);
    }

    /// What was measured of one, round by round.
    pub fn all(&self, key: K) -> impl Iterator<Item = &V> {
        self.0.iter().filter(move |((_, of), _)| *of == key).map(|(_, it)| it)
    }

    pub fn column(&self, key: K, value: impl Fn(&V) -> f64) -> Spread {
        spread(self.all(key).map(value).collect())
    }

    /// What one is beside a peer within each round.
    pub fn ratio(&self, ours: K, peer: K, value: impl Fn(&V) -> f64) -> Spread {
        let of_key = self.0.iter().filter(|((_, of), _)| *of == ours);
        spread(
            of_key
                .filter_map(|((round, _), it)| {
                    Some(value(it) / value(self.0.get(&(*round, peer))?))
                })
                .collect(),
        )
    }
}
