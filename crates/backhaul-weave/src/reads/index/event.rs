//! What happened to objects, as the index keeps it.

use serde_json::Value;

use super::schema::StoredEvent;
use crate::entry::{Entry, EntryType};
use crate::kind::Kind;
use crate::reads::place::Place;

/// One thing that happened to an object. Versions are what all of them come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) object_id: String,
    pub(crate) at: i64,
    pub(crate) kind: Kind,
    pub(crate) place: Place,
    pub(crate) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// A version was stored.
    Created {
        digest: String,
        base_class: Option<String>,
        leaf_class: Option<String>,
    },
    /// Versions were deleted; none named: all.
    Deleted {
        digests: Vec<String>,
    },
    Tagged {
        digest: String,
        tags: Vec<String>,
    },
    Aliased {
        digest: String,
        aliases: Vec<String>,
    },
}

impl Event {
    /// What a record of objects or ops says. `label`: the digest that was answered for it.
    pub(super) fn read(
        entry: &Entry,
        kind: Kind,
        at: i64,
        place: Place,
        label: Option<&str>,
        digest_of: &dyn Fn(&Value) -> String,
    ) -> Option<Self> {
        let data = entry.value();
        let object_id = data["object_id"].as_str()?.to_owned();
        let digest = || Some(data["digest"].as_str()?.to_owned());
        let what = match entry.entry_type() {
            EntryType::OpCreate | EntryType::ObjCreate => {
                let value = data.get("val")?;
                let (base_class, leaf_class) = classes(&data);
                let digest = label.map_or_else(|| digest_of(value), ToOwned::to_owned);
                What::Created { digest, base_class, leaf_class }
            }
            EntryType::ObjDelete => What::Deleted { digests: words(&data["digests"]) },
            EntryType::ObjTags => What::Tagged { digest: digest()?, tags: words(&data["tags"]) },
            EntryType::ObjAliases => {
                What::Aliased { digest: digest()?, aliases: words(&data["aliases"]) }
            }
            _ => return None,
        };
        Some(Self { object_id, at, kind, place, what })
    }

    pub(super) fn key(&self) -> (&str, i64, u8, u64) {
        (&self.object_id, self.at, u8::from(self.kind == Kind::Objects), self.place.0)
    }

    pub(super) fn to_stored(&self) -> StoredEvent<'_> {
        match &self.what {
            What::Created { digest, base_class, leaf_class } => {
                (0, digest, base_class.as_deref(), leaf_class.as_deref(), Vec::new())
            }
            What::Deleted { digests } => (1, "", None, None, texts(digests)),
            What::Tagged { digest, tags } => (2, digest, None, None, texts(tags)),
            What::Aliased { digest, aliases } => (3, digest, None, None, texts(aliases)),
        }
    }

    pub(crate) fn of_stored(key: (&str, i64, u8, u64), stored: StoredEvent<'_>) -> Option<Self> {
        let (object_id, at, kind, place) = key;
        let (what, digest, base_class, leaf_class, list) = stored;
        let own = |text: &str| text.to_owned();
        let (digest, list) = (own(digest), list.into_iter().map(own).collect());
        let what = match what {
            0 => What::Created {
                digest,
                base_class: base_class.map(own),
                leaf_class: leaf_class.map(own),
            },
            1 => What::Deleted { digests: list },
            2 => What::Tagged { digest, tags: list },
            3 => What::Aliased { digest, aliases: list },
            _ => return None,
        };
        let kind = if kind == 0 { Kind::Ops } else { Kind::Objects };
        Some(Self { object_id: own(object_id), at, kind, place: Place(place), what })
    }
}

fn texts(list: &[String]) -> Vec<&str> {
    list.iter().map(String::as_str).collect()
}

/// The class below Weave's own from which a value's class descends, and its class.
fn classes(object: &Value) -> (Option<String>, Option<String>) {
    let value = &object["val"];
    let bases: Vec<&str> =
        value["_bases"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let own = value["_class_name"].as_str();
    match (bases.as_slice(), own) {
        ([rest @ .., "BaseObject" | "Object", "BaseModel"], Some(own)) => {
            let base = rest.last().copied().unwrap_or(own);
            (Some(base.to_owned()), Some(own.to_owned()))
        }
        _ => {
            let named = object["builtin_object_class"].as_str();
            let named = named.or(object["set_base_object_class"].as_str()).map(ToOwned::to_owned);
            (named.clone(), named)
        }
    }
}

fn words(list: &Value) -> Vec<String> {
    let texts = list.as_array().into_iter().flatten().filter_map(Value::as_str);
    texts.map(ToOwned::to_owned).collect()
}
