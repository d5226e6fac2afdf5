//! What a server has stored.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::oracle::Item;

/// A store of a server, by key. Clones are one store, which outlives its servers.
#[derive(Debug, Clone, Default)]
pub struct Intake {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    items: Vec<Item>,
    offers: BTreeMap<String, u64>,
    remembers: bool,
}

impl Intake {
    /// A store that takes each key once.
    pub fn new() -> Self {
        let intake = Self::default();
        intake.state().remembers = true;
        intake
    }

    /// A store that takes whatever comes, as often as it comes: for proofs that an
    /// oracle notices.
    pub fn that_forgets() -> Self {
        Self::default()
    }

    /// Stores an item. `false`: it had the key already, and keeps what it had.
    pub fn take(&self, item: Item) -> bool {
        let mut state = self.state();
        let offers = state.offers.entry(item.key.clone()).or_default();
        *offers += 1;
        let is_new = *offers == 1 || !state.remembers;
        if is_new {
            state.items.push(item);
        }
        is_new
    }

    /// What is stored, in the order in which it first came.
    pub fn items(&self) -> Vec<Item> {
        self.state().items.clone()
    }

    /// The keys of what is stored, in the order in which they first came.
    pub fn keys(&self) -> Vec<String> {
        self.state().items.iter().map(|item| item.key.clone()).collect()
    }

    /// How often each key was offered.
    pub fn offers(&self) -> BTreeMap<String, u64> {
        self.state().offers.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
