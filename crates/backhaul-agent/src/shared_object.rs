//! An object whose parts are shared between versions.

use std::fmt;
use std::sync::Arc;

use imbl::{HashMap, OrdMap};
use serde_json::{Map, Value};

use crate::json::Writer;
use crate::shared_value::{Equality, SMALL, SharedValue};

pub(crate) type Key = Arc<str>;
pub(crate) type Entry = (Key, SharedValue);

/// Keys in the order in which they came, as in a Python dict: a value that is replaced
/// keeps the place of its key, and a key that is removed and set again goes to the end.
///
/// One plain vector while it is small; trees from there on, and it stays that.
#[derive(Clone)]
pub(crate) enum SharedObject {
    Small(Arc<Vec<Entry>>),
    Large(Arc<Indexed>),
}

/// The entries by their place, and the place of each key.
#[derive(Clone, Default)]
pub(crate) struct Indexed {
    entries: OrdMap<u64, Entry>,
    places: HashMap<Key, u64>,
}

impl Indexed {
    fn get(&self, key: &str) -> Option<&SharedValue> {
        let (_, value) = self.entries.get(self.places.get(key)?)?;
        Some(value)
    }

    fn get_mut(&mut self, key: &str) -> Option<&mut SharedValue> {
        let (_, value) = self.entries.get_mut(self.places.get(key)?)?;
        Some(value)
    }

    /// Adds a key that is not there yet.
    fn push(&mut self, key: Key, value: SharedValue) {
        let place = self.entries.get_max().map_or(0, |(last, _)| last + 1);
        self.places.insert(Arc::clone(&key), place);
        self.entries.insert(place, (key, value));
    }

    fn remove(&mut self, key: &str) -> bool {
        let place = self.places.remove(key);
        place.is_some_and(|place| self.entries.remove(&place).is_some())
    }
}

impl SharedObject {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Small(entries) => entries.len(),
            Self::Large(indexed) => indexed.entries.len(),
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&SharedValue> {
        match self {
            Self::Small(entries) => {
                entries.iter().find(|(held, _)| **held == *key).map(|(_, value)| value)
            }
            Self::Large(indexed) => indexed.get(key),
        }
    }

    /// The value to change; copies what other versions share of the way to it.
    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut SharedValue> {
        // What is not there costs no copy.
        self.get(key)?;
        match self {
            Self::Small(entries) => {
                let mut entries = Arc::make_mut(entries).iter_mut();
                entries.find(|(held, _)| **held == *key).map(|(_, value)| value)
            }
            Self::Large(indexed) => Arc::make_mut(indexed).get_mut(key),
        }
    }

    pub(crate) fn insert(&mut self, key: Key, value: SharedValue) {
        if let Some(slot) = self.get_mut(&key) {
            *slot = value;
            return;
        }
        match self {
            Self::Small(entries) if entries.len() < SMALL => {
                Arc::make_mut(entries).push((key, value));
            }
            Self::Small(entries) => {
                *self = Self::large(entries.iter().cloned().chain([(key, value)]));
            }
            Self::Large(indexed) => Arc::make_mut(indexed).push(key, value),
        }
    }

    /// Takes a key out; false when there is none.
    pub(crate) fn remove(&mut self, key: &str) -> bool {
        match self {
            Self::Small(entries) => {
                let place = entries.iter().position(|(held, _)| **held == *key);
                place.map(|place| Arc::make_mut(entries).remove(place)).is_some()
            }
            Self::Large(indexed) => {
                indexed.places.contains_key(key) && Arc::make_mut(indexed).remove(key)
            }
        }
    }

    /// The entries in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Key, &SharedValue)> {
        let (small, large) = match self {
            Self::Small(entries) => (entries.as_slice(), None),
            Self::Large(indexed) => (&[][..], Some(indexed.entries.values())),
        };
        small.iter().chain(large.into_iter().flatten()).map(|(key, value)| (key, value))
    }

    pub(crate) fn to_map(&self) -> Map<String, Value> {
        match SharedValue::Object(self.clone()).to_value() {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        SharedValue::Object(self.clone()).write(writer);
    }

    /// Whether both are one and the same, not looked into.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Small(left), Self::Small(right)) => Arc::ptr_eq(left, right),
            (Self::Large(left), Self::Large(right)) => Arc::ptr_eq(left, right),
            _ => false,
        }
    }

    /// The keys whose value is another in `other`, with that value, or nothing where it is
    /// not in there: first what is missing, then the order of `other`.
    pub(crate) fn changes<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = (&'a Key, Option<&'a SharedValue>)> {
        let (left, right) = match self.is_same(other) {
            true => (None, None),
            false => (Some(self.iter()), Some(other.iter())),
        };
        let missing = left.into_iter().flatten().map(|(key, _)| key);
        let missing = missing.filter(|key| other.get(key).is_none()).map(|key| (key, None));
        let changed = right.into_iter().flatten().filter(|(key, value)| {
            self.get(key).is_none_or(|old| !old.equals(value, Equality::Unordered))
        });
        missing.chain(changed.map(|(key, value)| (key, Some(value))))
    }

    /// An object of entries no two of which have the same key.
    pub(crate) fn of_distinct(entries: Vec<Entry>) -> Self {
        match entries.len() <= SMALL {
            true => Self::Small(Arc::new(entries)),
            false => Self::large(entries.into_iter()),
        }
    }

    fn large(entries: impl Iterator<Item = Entry>) -> Self {
        let mut indexed = Indexed::default();
        entries.for_each(|(key, value)| indexed.push(key, value));
        Self::Large(Arc::new(indexed))
    }
}

impl Default for SharedObject {
    fn default() -> Self {
        Self::Small(Arc::default())
    }
}

impl From<Map<String, Value>> for SharedObject {
    fn from(map: Map<String, Value>) -> Self {
        match SharedValue::from(Value::Object(map)) {
            SharedValue::Object(object) => object,
            _ => Self::default(),
        }
    }
}

impl PartialEq for SharedObject {
    /// The order of keys is not looked at.
    fn eq(&self, other: &Self) -> bool {
        let [left, right] = [self, other].map(|object| SharedValue::Object(object.clone()));
        left.equals(&right, Equality::Unordered)
    }
}

impl fmt::Debug for SharedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_map().fmt(f)
    }
}
