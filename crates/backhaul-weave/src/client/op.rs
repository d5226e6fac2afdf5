//! Ops: what calls are calls of.

use std::sync::Arc;

use serde_json::json;

use super::content::{File, FileBytes};
use super::exception::Location;
use super::json_object::quoted;
use super::value::short_type_name;
use crate::digest;
use crate::project::ProjectId;

/// Most characters of an op's name, as at Weave's server.
const LONGEST_NAME: usize = 128;
/// What an op is called that has no name.
const UNNAMED: &str = "unnamed";

/// What a program says of one of its ops, once.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "for the macro alone, which explains them")]
pub struct OpInfo {
    pub name: &'static str,
    pub is_named: bool,
    pub source: &'static str,
    pub file: &'static str,
    pub line: u32,
    pub function: &'static str,
    pub package: &'static str,
    pub package_version: &'static str,
    pub is_async: bool,
    pub sample_rate: f64,
}

/// An op as its calls refer to it.
#[derive(Debug)]
pub(crate) struct Op {
    /// Its version's address, or its name where it has no versions; as JSON.
    pub(crate) quoted_address: String,
    pub(crate) name: String,
    pub(crate) is_async: bool,
    pub(crate) location: Option<Location>,
}

/// A version of an op, which is stored before its first call.
#[derive(Debug)]
pub(crate) struct OpVersion {
    pub(crate) name: String,
    pub(crate) code: File,
}

impl Op {
    /// An op of which nothing is known but its name.
    pub(crate) fn named(name: &str, is_async: bool) -> Self {
        // The server takes no longer one, and none that is empty.
        let name = if name.is_empty() { UNNAMED } else { name };
        let name: String = name.chars().take(LONGEST_NAME).collect();
        Self { quoted_address: quoted(&name), name, is_async, location: None }
    }

    /// A span of `tracing`: an op without versions whose place is known.
    #[cfg(feature = "tracing-layer")]
    pub(crate) fn of_span(metadata: &'static tracing::Metadata<'static>) -> Self {
        let place = metadata.file().zip(metadata.line());
        let location = place.map(|(file, line)| Location { file, line, function: metadata.name() });
        Self { location, ..Self::named(metadata.name(), false) }
    }

    /// An op of a program's code, and the version of it to store.
    pub(crate) fn of_code(
        project: &ProjectId,
        info: &OpInfo,
        self_type: Option<&'static str>,
    ) -> (Self, OpVersion) {
        let name = name_of(info, self_type);
        let code = code_of(info);
        let version = OpVersion { name: name.clone(), code };
        let digest = digest::of_value(&version.value());
        let address = format!("weave:///{project}/op/{name}:{digest}");
        let location = Location { file: info.file, line: info.line, function: info.function };
        let quoted_address = quoted(&address);
        (Self { quoted_address, name, is_async: info.is_async, location: Some(location) }, version)
    }
}

impl OpVersion {
    /// The value that stands for an op.
    fn value(&self) -> serde_json::Value {
        json!({
            "_type": "CustomWeaveType",
            "weave_type": {"type": "Op"},
            "files": {"obj.py": self.code.digest},
        })
    }

    /// The `obj` of the request that makes it.
    pub(crate) fn object(&self, project: &ProjectId) -> serde_json::Value {
        json!({"project_id": project.to_string(), "object_id": self.name, "val": self.value()})
    }

    /// Bytes that it holds in memory until it is stored, about.
    pub(crate) fn bytes(&self) -> usize {
        self.code.bytes().len()
    }
}

/// What an op is called: as in Python, with the name of its type before that of a method.
fn name_of(info: &OpInfo, self_type: Option<&'static str>) -> String {
    let name = match self_type.filter(|_| !info.is_named) {
        Some(of_type) => format!("{}.{}", short_type_name(of_type), info.name),
        None => info.name.to_owned(),
    };
    let is_allowed = |letter: char| letter.is_alphanumeric() || "._-".contains(letter);
    let allowed = name.chars().map(|letter| if is_allowed(letter) { letter } else { '-' });
    allowed.take(LONGEST_NAME).collect()
}

/// The file in which Weave looks for an op's code. All clients call it so, whatever their
/// language is; the first line says which it is.
fn code_of(info: &OpInfo) -> File {
    let OpInfo { package, package_version, file, source, .. } = info;
    let text = format!("// Rust: {package} {package_version}, {file}\n{source}\n");
    File {
        name: "obj.py".to_owned(),
        media_type: "text/x-python".to_owned(),
        digest: digest::of_file(text.as_bytes()),
        content: FileBytes::Text(text),
    }
}

/// Ops by where they are in the code, and the type that a method is of: one that a trait has
/// for all types is an op of each.
pub(crate) type OpKey = (usize, &'static str);

pub(crate) type Ops = std::collections::HashMap<OpKey, Arc<Op>>;

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: OpInfo = OpInfo {
        name: "read",
        is_named: false,
        source: "fn read() {}",
        file: "src/lib.rs",
        line: 1,
        function: "a::read",
        package: "sensor",
        package_version: "0.1.0",
        is_async: false,
        sample_rate: 1.0,
    };

    #[test]
    fn methods_are_named_with_their_type_unless_a_name_is_given() {
        assert_eq!(name_of(&INFO, None), "read");
        assert_eq!(name_of(&INFO, Some("a::Mast<b::C>")), "Mast.read");
        let named = OpInfo { name: "given", is_named: true, ..INFO };
        assert_eq!(name_of(&named, Some("a::Mast")), "given");
    }

    #[test]
    fn a_version_changes_with_the_code() {
        let project = "me/mine".parse().unwrap();
        let (op, version) = Op::of_code(&project, &INFO, None);
        let (other, _) = Op::of_code(&project, &OpInfo { source: "fn read() {1}", ..INFO }, None);
        assert_ne!(op.quoted_address, other.quoted_address);
        let digest = digest::of_value(&version.object(&project)["val"]);
        assert_eq!(op.quoted_address, format!("\"weave:///me/mine/op/read:{digest}\""));
    }
}
