//! What addresses lead to.

use std::collections::BTreeMap;

use serde_json::Value;

use super::failure::{Failure, Result};
use super::project_reads::View;
use super::{objects, tables};
use crate::error::{TraceError, TraceErrorKind};
use crate::project::ProjectId;
use crate::refs;

/// An address of an object or an op, or of a part of one.
struct Address<'a> {
    project: ProjectId,
    name: &'a str,
    version: &'a str,
    /// Pairs of what to follow, and where to: `attr/rows/id/DIGEST`.
    steps: Vec<(&'a str, String)>,
}

/// What leads on from a value.
const STEPS: [&str; 4] = ["key", "attr", "index", "id"];

impl<'a> Address<'a> {
    /// Reads an address.
    ///
    /// # Errors
    /// Where it is none of an object or an op.
    fn parse(text: &'a str) -> Result<Self> {
        let invalid = |what: &str| {
            Failure::invalid(format!(
                "{text:?} {what}: expected weave:///ENTITY/PROJECT/object/NAME:DIGEST"
            ))
        };
        let (project, rest) = refs::parts(text).ok_or_else(|| invalid("is no address"))?;
        let mut parts = rest.split('/');
        match parts.next() {
            Some("object" | "op") => {}
            Some(kind @ ("table" | "call")) => {
                return Err(invalid(&format!("leads to a {kind}, not to an object or an op")));
            }
            _ => return Err(invalid("leads to nothing that is known")),
        }
        let name = parts.next().and_then(|part| part.split_once(':'));
        let Some((name, version)) = name else { return Err(invalid("names no version")) };
        let rest: Vec<&str> = parts.collect();
        let rest = if rest == [""] { Vec::new() } else { rest };
        let mut steps = Vec::new();
        for pair in rest.chunks(2) {
            match pair {
                [step, to] if STEPS.contains(step) => steps.push((*step, unquoted(to))),
                _ => return Err(invalid("has a path that cannot be followed")),
            }
        }
        Ok(Self { project, name, version, steps })
    }
}

/// Addresses, each with its place among all that are asked for.
pub(super) type Numbered<'a> = Vec<(usize, &'a str)>;

/// Addresses by the projects that they lead into.
pub(super) fn by_project(addresses: &[String]) -> Result<BTreeMap<ProjectId, Numbered<'_>>> {
    let mut of_projects: BTreeMap<ProjectId, Numbered<'_>> = BTreeMap::new();
    for (place, text) in addresses.iter().enumerate() {
        of_projects.entry(Address::parse(text)?.project).or_default().push((place, text));
    }
    Ok(of_projects)
}

/// What an address leads to, by its place; or that it leads to nothing here.
type Followed = (usize, std::result::Result<Value, TraceError>);

/// What addresses into a project lead to.
pub(super) fn read(view: &View, addresses: &Numbered<'_>) -> Result<Vec<Followed>> {
    let read = |(place, text): &(usize, &str)| match follow(view, &Address::parse(text)?, text) {
        Err(Failure::Other(error)) if error.kind() == TraceErrorKind::NotFound => {
            Ok((*place, Err(error)))
        }
        followed => Ok((*place, Ok(followed?))),
    };
    addresses.iter().map(read).collect()
}

/// What an address in a field of the project's calls leads to. `Ok(None)`: it is no address,
/// or one into another project, or leads to nothing here.
pub(super) fn lead_to(view: &View, text: &str) -> Result<Option<Value>> {
    let Ok(address) = Address::parse(text) else { return Ok(None) };
    if address.project != view.reads.project {
        return Ok(None);
    }
    match follow(view, &address, text) {
        Err(Failure::Other(_)) => Ok(None),
        value => value.map(Some),
    }
}

fn follow(view: &View, address: &Address<'_>, text: &str) -> Result<Value> {
    let Some(mut value) = objects::value(view, address.name, address.version)? else {
        return Ok(Value::Null);
    };
    for (step, to) in &address.steps {
        let next = match *step {
            "id" => {
                // The row of a table: of which one its digest says.
                let is_table = value.as_str().and_then(refs::parts);
                match is_table.filter(|(_, rest)| rest.starts_with("table/")) {
                    Some(_) => tables::row(view, to)?,
                    None => None,
                }
            }
            "index" => list_item(&value, to),
            _ => value.get(to.as_str()).cloned(),
        };
        value = next.ok_or_else(|| {
            Failure::not_found(format!("{text} leads to nothing: there is no {step}/{to}"))
        })?;
    }
    Ok(value)
}

/// An item of a list; negative numbers count from its end, as in Python.
fn list_item(value: &Value, index: &str) -> Option<Value> {
    let (list, index) = (value.as_array()?, index.parse::<i64>().ok()?);
    let from_end = usize::try_from(index.unsigned_abs()).ok()?;
    let at = if index < 0 { list.len().checked_sub(from_end)? } else { from_end };
    list.get(at).cloned()
}

/// A part of an address without `%` and two digits for a byte.
fn unquoted(part: &str) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(part.len()), part.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let digits = (*first == b'%').then(|| after.get(..2)).flatten();
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
