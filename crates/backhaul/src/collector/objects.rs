//! Objects and ops: their versions, and the tags and aliases of those.

use axum::response::Response;
use backhaul_weave::{EntryType, ProjectId};
use serde_json::json;

use super::WeaveCollector;
use super::answers::{self, refusal};
use super::asked::Asked;
use super::fields::Fields;
use super::storing::{entry, project};
use crate::intake::Refusal;

const OBJECT_ID: &str = "the name of an object";

pub(super) fn create(collector: &WeaveCollector, asked: &mut Asked) -> Result<Response, Refusal> {
    let body = asked.json(collector.intake())?;
    let object = Fields::read(&body, "the body")?.object("obj")?;
    let project = project(&object)?;
    let name = object.require_text("object_id", OBJECT_ID)?;
    let created = collector.server().create_object_json(&project, object.as_text());
    let digest = created.map_err(|error| refusal(&error))?;
    answers::json(&json!({"digest": digest, "object_id": name}))
}

/// Without digests all versions are deleted, of which those that are here are counted.
pub(super) fn delete(collector: &WeaveCollector, asked: &mut Asked) -> Result<Response, Refusal> {
    let body = asked.json(collector.intake())?;
    let request = Fields::read(&body, "the body")?;
    let name = request.require_text("object_id", OBJECT_ID)?;
    let named = match request.get("digests") {
        Some(_) => request.list("digests")?.len(),
        None => 0,
    };
    let versions = match named {
        0 => versions(collector, &project(&request)?, &name)?,
        named => named,
    };
    collector.log_request(EntryType::ObjDelete, &request)?;
    answers::json(&json!({"num_deleted": versions}))
}

fn versions(collector: &WeaveCollector, project: &ProjectId, name: &str) -> Result<usize, Refusal> {
    let filter = json!({"object_ids": [name]});
    let asked = json!({"project_id": project.to_string(), "filter": filter, "metadata_only": true});
    let found = collector.reads().objs_query(&asked).map_err(|error| refusal(&error))?;
    Ok(found["objs"].as_array().map_or(0, Vec::len))
}

pub(super) fn tag(collector: &WeaveCollector, asked: &mut Asked) -> Result<Response, Refusal> {
    name_version(collector, asked, EntryType::ObjTags, &["object_id", "digest"], "tags")
}

pub(super) fn alias(collector: &WeaveCollector, asked: &mut Asked) -> Result<Response, Refusal> {
    name_version(collector, asked, EntryType::ObjAliases, &["object_id"], "aliases")
}

/// Stores a request about what stands in its path.
fn name_version(
    collector: &WeaveCollector,
    asked: &mut Asked,
    entry_type: EntryType,
    places: &[&str],
    names: &str,
) -> Result<Response, Refusal> {
    let of_path: Vec<(&str, String)> =
        places.iter().map(|name| (*name, asked.place(name).to_owned())).collect();
    let body = asked.json(collector.intake())?;
    let request = Fields::read(&body, "the body")?;
    request.list(names)?;
    let of_path: Vec<(&str, &str)> =
        of_path.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let data = entry(entry_type, &request.with(&of_path))?;
    collector.log_all(vec![(project(&request)?, data)])?;
    answers::done()
}
