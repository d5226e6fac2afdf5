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
    /// not in there.
    pub(crate) fn changes<'a>(
        &'a self,
        other: &'a Self,
    ) -> Vec<(&'a Key, Option<&'a SharedValue>)> {
        let mut changes = Vec::new();
        if self.is_same(other) {
            return changes;
        }
        let is_other = |old: &SharedValue, new| !old.equals(new, Equality::Unordered);
        let (mut left, mut right) = (self.iter().peekable(), other.iter().peekable());
        // As long as both have the same keys in the same order, none has to be looked up.
        while let Some((key, old)) =
            left.next_if(|(key, _)| right.peek().is_some_and(|it| it.0 == *key))
        {
            let new = right.next().map(|(_, new)| new).filter(|new| is_other(old, new));
            changes.extend(new.map(|new| (key, Some(new))));
        }
        let missing = left.filter(|(key, _)| other.get(key).is_none());
        changes.extend(missing.map(|(key, _)| (key, None)));
        let changed = right.filter(|(key, new)| self.get(key).is_none_or(|old| is_other(old, new)));
        changes.extend(changed.map(|(key, new)| (key, Some(new))));
        changes
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

#[cfg(test)]
mod tests {
    use super::*;

    fn written(object: &SharedObject) -> String {
        Value::Object(object.to_map()).to_string()
    }

    #[test]
    fn thousands_of_keys_are_in_the_order_of_a_map_in_every_version() {
        let (mut object, mut map) = (SharedObject::default(), Map::new());
        let mut versions = Vec::new();
        for number in 0..20_000u64 {
            // Keys come back after a while, and every third time one goes.
            let key = format!("k{}", number.wrapping_mul(7919) % 3_000);
            if number % 3 == 0 {
                assert_eq!(object.remove(&key), map.shift_remove(&key).is_some());
            } else {
                object.insert(Key::from(key.as_str()), Value::from(number).into());
                map.insert(key, number.into());
            }
            if number % 2_500 == 0 {
                versions.push((object.clone(), Value::Object(map.clone()).to_string()));
            }
        }
        versions.push((object, Value::Object(map).to_string()));
        for (object, expected) in &versions {
            assert_eq!(&written(object), expected);
        }
    }

    #[test]
    fn changes_are_those_that_make_the_other() {
        let read =
            |text: &str| SharedObject::from(serde_json::from_str::<Map<_, _>>(text).unwrap());
        let old = read(r#"{"a":1,"b":{"x":1,"y":2},"c":3,"d":4}"#);
        let new = read(r#"{"a":2,"b":{"y":2,"x":1},"d":4,"e":5,"c":6}"#);
        let changes: Vec<_> = old
            .changes(&new)
            .into_iter()
            .map(|(key, value)| (key.to_string(), value.map(|value| value.to_value().to_string())))
            .collect();
        let expected = [("a", "2"), ("e", "5"), ("c", "6")];
        assert_eq!(changes, expected.map(|(key, value)| (key.into(), Some(value.into()))));
        assert_eq!(new.changes(&old).iter().filter(|(_, value)| value.is_none()).count(), 1);
        assert!(old.changes(&old.clone()).is_empty());
    }
}
