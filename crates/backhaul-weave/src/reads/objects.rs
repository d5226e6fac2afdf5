//! Objects and ops: what all that happened to them comes to.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};

use super::calls::{SortBy, or_default, page};
use super::failure::{Failure, Result};
use super::index::{Event, OBJECTS, What};
use super::place::Place;
use super::project_reads::View;
use super::time;
use crate::error::{TraceError, TraceErrorKind};
use crate::kind::Kind;

const LATEST: &str = "latest";

/// The body of `obj/read`.
#[derive(Debug, Deserialize)]
pub(super) struct ObjectRead {
    object_id: String,
    digest: String,
    #[serde(default, deserialize_with = "or_default")]
    metadata_only: bool,
    #[serde(default, deserialize_with = "or_default")]
    include_tags_and_aliases: bool,
}

/// The body of `objs/query`.
#[derive(Debug, Deserialize, Default)]
#[serde(default)]
pub(super) struct ObjectsQuery {
    #[serde(deserialize_with = "or_default")]
    filter: ObjectFilter,
    limit: Option<i64>,
    offset: Option<i64>,
    #[serde(deserialize_with = "or_default")]
    sort_by: Vec<SortBy>,
    #[serde(deserialize_with = "or_default")]
    metadata_only: bool,
    #[serde(deserialize_with = "or_default")]
    include_tags_and_aliases: bool,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct ObjectFilter {
    base_object_classes: Option<Vec<String>>,
    exclude_base_object_classes: Option<Vec<String>>,
    leaf_object_classes: Option<Vec<String>>,
    object_ids: Option<Vec<String>>,
    is_op: Option<bool>,
    latest_only: Option<bool>,
    tags: Option<Vec<String>>,
    aliases: Option<Vec<String>>,
}

/// A version of an object.
#[derive(Debug, Clone)]
struct Version {
    object_id: String,
    digest: String,
    created_at: i64,
    deleted_at: Option<i64>,
    index: usize,
    kind: Kind,
    place: Place,
    base_class: Option<String>,
    leaf_class: Option<String>,
    tags: BTreeSet<String>,
    aliases: BTreeSet<String>,
    is_latest: bool,
}

/// The versions of one object while what happened to it is gone through.
#[derive(Debug, Default)]
struct History {
    versions: Vec<Version>,
    /// Digests by alias.
    aliases: BTreeMap<String, String>,
    /// The version that is the latest where no alias says so.
    newest: Option<String>,
}

impl History {
    fn take(&mut self, event: Event) {
        match event.what {
            What::Created { digest, base_class, leaf_class } => {
                let version = Version {
                    object_id: event.object_id,
                    digest: digest.clone(),
                    created_at: event.at,
                    deleted_at: None,
                    index: self.versions.len(),
                    kind: event.kind,
                    place: event.place,
                    base_class,
                    leaf_class,
                    tags: BTreeSet::new(),
                    aliases: BTreeSet::new(),
                    is_latest: false,
                };
                self.create(version);
                self.aliases.insert(LATEST.to_owned(), digest);
            }
            What::Deleted { digests } => self.delete(&digests, event.at),
            What::Tagged { digest, tags } => {
                if let Some(version) = self.living(&digest) {
                    version.tags.extend(tags);
                }
            }
            What::Aliased { digest, aliases } => {
                if self.living(&digest).is_some() {
                    let aliases = aliases.into_iter().map(|alias| (alias, digest.clone()));
                    self.aliases.extend(aliases);
                }
            }
        }
    }

    /// A value that is there already is no new version; one that was deleted is.
    fn create(&mut self, version: Version) {
        self.newest = Some(version.digest.clone());
        match self.versions.iter_mut().find(|known| known.digest == version.digest) {
            None => self.versions.push(version),
            Some(known) if known.deleted_at.is_some() => *known = version,
            Some(_) => {}
        }
    }

    /// Digests may be given as aliases or numbers of versions, too; none: all.
    fn delete(&mut self, digests: &[String], at: i64) {
        let named: Vec<String> = digests
            .iter()
            .filter_map(|digest| self.named(digest))
            .map(|one| one.digest.clone())
            .collect();
        let is_named = |digest: &String| digests.is_empty() || named.contains(digest);
        for version in &mut self.versions {
            if version.deleted_at.is_none() && is_named(&version.digest) {
                version.deleted_at = Some(at);
                version.tags.clear();
            }
        }
        self.aliases.retain(|_, digest| !is_named(digest));
        let left = self.versions.iter().filter(|version| version.deleted_at.is_none());
        let newest = left.max_by_key(|version| (version.created_at, version.digest.clone()));
        self.newest = newest.map(|version| version.digest.clone());
    }

    fn living(&mut self, digest: &str) -> Option<&mut Version> {
        self.versions.iter_mut().find(|one| one.digest == digest && one.deleted_at.is_none())
    }

    /// The digest of the latest version.
    fn latest(&self) -> Option<&String> {
        self.aliases.get(LATEST).or(self.newest.as_ref())
    }

    /// The version that is called so: by its digest, `v0`, `latest` or another alias.
    fn named(&self, name: &str) -> Option<&Version> {
        let number: Option<usize> = name.strip_prefix('v').and_then(|number| number.parse().ok());
        if let Some(number) = number {
            return self.versions.iter().find(|version| version.index == number);
        }
        let digest = match name {
            LATEST => self.latest()?,
            name => self.aliases.get(name).map_or(name, |digest| digest),
        };
        self.versions.iter().find(|version| version.digest == *digest)
    }

    /// The versions, with what is known of each.
    fn into_versions(mut self) -> Vec<Version> {
        let latest = self.latest().cloned();
        for version in &mut self.versions {
            let is_it = |digest: &String| *digest == version.digest;
            let own = self.aliases.iter().filter(|(_, digest)| is_it(digest));
            version.aliases = own.map(|(alias, _)| alias.clone()).collect();
            version.is_latest = latest.as_ref().is_some_and(is_it);
            if version.is_latest && version.deleted_at.is_none() {
                version.aliases.insert(LATEST.to_owned());
            }
        }
        self.versions
    }
}

/// What happened to one object, or to each.
fn histories(view: &View, object_id: Option<&str>) -> Result<BTreeMap<String, History>> {
    let table = view.tables.open_table(OBJECTS)?;
    let mut histories: BTreeMap<String, History> = BTreeMap::new();
    for entry in table.range((object_id.unwrap_or_default(), i64::MIN, 0, 0)..)? {
        let (key, value) = entry?;
        if object_id.is_some_and(|object_id| key.value().0 != object_id) {
            break;
        }
        let event = Event::of_stored(key.value(), value.value());
        let event = event.ok_or_else(|| Failure::Damaged("an event is none".to_owned()))?;
        histories.entry(event.object_id.clone()).or_default().take(event);
    }
    Ok(histories)
}

/// Reads a version of an object.
pub(super) fn read(view: &View, request: &ObjectRead) -> Result<Value> {
    let version = version(view, &request.object_id, &request.digest)?;
    if let Some(at) = version.deleted_at {
        let (name, index, at) = (&version.object_id, version.index, time::to_text(at));
        return Err(Failure::not_found(format!("{name}:v{index} was deleted at {at}")));
    }
    to_json(view, &version, request.metadata_only, request.include_tags_and_aliases)
}

fn version(view: &View, object_id: &str, name: &str) -> Result<Version> {
    let not_found = || {
        let project = &view.reads.project;
        Failure::not_found(format!("there is no object {object_id}:{name} in {project} here"))
    };
    let history = histories(view, Some(object_id))?.remove(object_id).ok_or_else(not_found)?;
    let digest = history.named(name).ok_or_else(not_found)?.digest.clone();
    history.into_versions().into_iter().find(|one| one.digest == digest).ok_or_else(not_found)
}

/// The value of a version with a digest. `Ok(None)`: it was deleted.
pub(super) fn value(view: &View, object_id: &str, digest: &str) -> Result<Option<Value>> {
    let version = version(view, object_id, digest)?;
    match version.deleted_at {
        Some(_) => Ok(None),
        None => value_of(view, &version).map(Some),
    }
}

/// The versions that are wanted.
pub(super) fn query(view: &View, query: &ObjectsQuery) -> Result<Vec<Value>> {
    let mut found: Vec<Version> = Vec::new();
    for history in histories(view, None)?.into_values() {
        let versions = history.into_versions().into_iter();
        found.extend(versions.filter(|version| query.filter.wants(version)));
    }
    found.sort_by(|one, other| order(one, other, &query.sort_by));
    let (skipped, taken) = page(query.limit, query.offset);
    let taken = if query.limit == Some(0) { 0 } else { taken };
    let found = found.iter().skip(skipped).take(taken);
    let to_json = |one| to_json(view, one, query.metadata_only, query.include_tags_and_aliases);
    found.map(to_json).collect()
}

/// All tags of a project, or all aliases but `latest`, in order.
pub(super) fn words(view: &View, aliases: bool) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for history in histories(view, None)?.into_values() {
        match aliases {
            true => found.extend(history.aliases.into_keys()),
            false => found.extend(history.versions.into_iter().flat_map(|version| version.tags)),
        }
    }
    Ok(found)
}

impl ObjectFilter {
    fn wants(&self, version: &Version) -> bool {
        let among = |list: &Option<Vec<String>>, value: Option<&str>| match list.as_deref() {
            None | Some([]) => true,
            Some(list) => value.is_some_and(|value| list.iter().any(|one| one == value)),
        };
        let base = version.base_class.as_deref();
        // What has no class is not among those without one of these, as in SQL.
        let excluded = self.exclude_base_object_classes.as_deref().unwrap_or_default();
        let is_left = excluded.is_empty()
            || base.is_some_and(|base| excluded.iter().all(|class| class != base));
        let any = |list: &Option<Vec<String>>, own: &BTreeSet<String>| {
            list.as_deref()
                .is_none_or(|list| list.is_empty() || list.iter().any(|one| own.contains(one)))
        };
        version.deleted_at.is_none()
            && self.is_op.is_none_or(|is_op| is_op == (version.kind == Kind::Ops))
            && among(&self.object_ids, Some(&version.object_id))
            && (self.latest_only != Some(true) || version.is_latest)
            && among(&self.base_object_classes, base)
            && is_left
            && among(&self.leaf_object_classes, version.leaf_class.as_deref())
            && any(&self.tags, &version.tags)
            && any(&self.aliases, &version.aliases)
    }
}

fn order(one: &Version, other: &Version, sort_by: &[SortBy]) -> std::cmp::Ordering {
    let by_time = one.created_at.cmp(&other.created_at);
    let known = sort_by.iter().filter_map(|by| {
        let order = match by.field.as_str() {
            "object_id" => one.object_id.cmp(&other.object_id),
            "created_at" => by_time,
            _ => return None,
        };
        Some(by.direction.apply(order))
    });
    let order = known.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then);
    let last = (one.index, &one.object_id).cmp(&(other.index, &other.object_id));
    if sort_by.is_empty() { by_time.then(last) } else { order.then(last) }
}

fn value_of(view: &View, version: &Version) -> Result<Value> {
    let data = view.reads.bodies.value(version.kind, version.place)?;
    data.get("val").cloned().ok_or_else(|| {
        let message = format!("the record of {}:{} has no val", version.object_id, version.digest);
        Failure::Other(TraceError::new(TraceErrorKind::Damaged, message))
    })
}

fn to_json(view: &View, version: &Version, metadata_only: bool, words: bool) -> Result<Value> {
    let value = if metadata_only { json!({}) } else { value_of(view, version)? };
    let list = |list: &BTreeSet<String>| words.then(|| list.clone());
    Ok(json!({
        "project_id": view.reads.project.to_string(),
        "object_id": version.object_id,
        "created_at": time::to_text(version.created_at),
        "deleted_at": version.deleted_at.map(time::to_text),
        "digest": version.digest,
        "version_index": version.index,
        "is_latest": u8::from(version.is_latest),
        "kind": if version.kind == Kind::Ops { "op" } else { "object" },
        "base_object_class": version.base_class,
        "leaf_object_class": version.leaf_class,
        "val": value,
        "wb_user_id": null,
        "size_bytes": null,
        "tags": list(&version.tags),
        "aliases": list(&version.aliases),
    }))
}
