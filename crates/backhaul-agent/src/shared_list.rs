//! A list whose parts are shared between versions.

use std::sync::Arc;

use imbl::Vector;

use crate::shared_value::{SMALL, SharedValue};

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

    /// Whether both are one and the same, not looked into.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Small(left), Self::Small(right)) => Arc::ptr_eq(left, right),
            (Self::Large(left), Self::Large(right)) => Arc::ptr_eq(left, right),
            _ => false,
        }
    }
}

impl From<Vec<SharedValue>> for SharedList {
    fn from(items: Vec<SharedValue>) -> Self {
        match items.len() <= SMALL {
            true => Self::Small(Arc::new(items)),
            false => Self::Large(Arc::new(items.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared_value::Equality;

    #[test]
    fn grows_beyond_a_vector_and_leaves_the_old_one() {
        let mut list = SharedList::from(Vec::new());
        let mut versions = Vec::new();
        for number in 0..10_000 {
            if number % 500 == 0 || number < 100 {
                versions.push((number, list.clone()));
            }
            list.push(SharedValue::from(serde_json::Value::from(number)));
        }
        assert!(matches!(list, SharedList::Large(_)));
        for (length, version) in &versions {
            assert_eq!(version.len(), *length);
            assert_eq!(version.iter().count(), *length);
            assert!(version.iter().zip(list.iter()).all(|(a, b)| a.equals(b, Equality::Text)));
        }
    }
}
