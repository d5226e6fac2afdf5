//! A list whose parts are shared between versions.

use std::sync::Arc;

use imbl::Vector;

use crate::json::Writer;
use crate::shared_value::{Equality, SMALL, SharedValue};

/// One plain vector while it is small; a tree from there on, and it stays one.
#[derive(Clone)]
pub(crate) enum SharedList {
    Small(Arc<Vec<SharedValue>>),
    Large(Arc<Vector<SharedValue>>),
}

impl SharedList {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Small(items) => items.len(),
            Self::Large(items) => items.len(),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &SharedValue> {
        let (small, large) = match self {
            Self::Small(items) => (items.as_slice(), None),
            Self::Large(items) => (&[][..], Some(items.as_ref())),
        };
        small.iter().chain(large.into_iter().flatten())
    }

    pub(crate) fn push(&mut self, item: SharedValue) {
        match self {
            Self::Small(items) if items.len() < SMALL => Arc::make_mut(items).push(item),
            Self::Small(items) => {
                let items = items.iter().cloned().chain([item]);
                *self = Self::Large(Arc::new(items.collect()));
            }
            Self::Large(items) => Arc::make_mut(items).push_back(item),
        }
    }

    pub(crate) fn equals(&self, other: &Self, by: Equality) -> bool {
        self.is_same(other)
            || self.len() == other.len()
                && self.iter().zip(other.iter()).all(|(left, right)| left.equals(right, by))
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Small(left), Self::Small(right)) => Arc::ptr_eq(left, right),
            (Self::Large(left), Self::Large(right)) => Arc::ptr_eq(left, right),
            _ => false,
        }
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.begin(b'[');
        for item in self.iter() {
            writer.item();
            item.write(writer);
        }
        writer.end(b']');
    }
}

impl FromIterator<SharedValue> for SharedList {
    fn from_iter<I: IntoIterator<Item = SharedValue>>(items: I) -> Self {
        let mut items = items.into_iter();
        let mut small: Vec<_> = items.by_ref().take(SMALL).collect();
        match items.next() {
            None => {
                small.shrink_to_fit();
                Self::Small(Arc::new(small))
            }
            Some(next) => {
                Self::Large(Arc::new(small.into_iter().chain([next]).chain(items).collect()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_beyond_a_vector_and_leaves_the_old_one() {
        let mut list = SharedList::from_iter([]);
        let mut versions = Vec::new();
        for number in 0..100 {
            versions.push(list.clone());
            list.push(SharedValue::from(serde_json::Value::from(number)));
        }
        assert!(matches!(list, SharedList::Large(_)));
        for (length, version) in versions.iter().enumerate() {
            assert_eq!(version.len(), length);
            assert!(version.iter().zip(list.iter()).all(|(a, b)| a.equals(b, Equality::Text)));
        }
    }
}
