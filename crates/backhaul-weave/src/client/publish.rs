//! Objects that get a name and versions: any value, and datasets.

use serde::ser::{Error as _, SerializeMap};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::json_object::JsonObject;
use super::object_ref::ObjectRef;
use super::value::Captured;
use super::weave_client::{WeaveClient, required};
use super::writer::store_files;
use crate::error::{TraceError, TraceErrorKind};

/// Most characters of an object's name, as at Weave's server.
const LONGEST_NAME: usize = 128;
/// A larger table goes as several, as from Weave's client for Python, and is named by its rows.
const CHUNK_BYTES: usize = 10_000_000;

/// Stores a version of an object under a name, and gives its address. It is on stable storage
/// then; a version that is the latest already is not stored again.
///
/// Characters that a name cannot have become `-`. What is published is any value that serde
/// serializes, with [`Content`](crate::Content) and addresses in it, or a [`Dataset`].
///
/// ```
/// # use backhaul_weave as weave;
/// # let dir = tempfile::tempdir()?;
/// weave::init("my_team/my_project").offline(true).offline_dir(dir.path()).start()?;
/// let settings = weave::publish(&serde_json::json!({"a": 1}), "settings")?;
/// assert_eq!(weave::get(&settings)?["a"], 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`InvalidInput`](TraceErrorKind::InvalidInput) for a value that is not serialized, for a
/// name without a letter or a digit, and where there is no client; and where the disk takes
/// nothing.
pub fn publish<P: Publish + ?Sized>(value: &P, name: &str) -> Result<ObjectRef, TraceError> {
    required()?.publish(value, name)
}

/// What can be [published](publish).
pub trait Publish {
    /// What is stored of it, once what it is made of is.
    #[doc(hidden)]
    fn to_value(&self, client: &WeaveClient, name: &str) -> Result<Stored, TraceError>;
}

/// JSON, and the files in it.
#[doc(hidden)]
#[derive(Debug)]
pub struct Stored(Captured);

impl<T: Serialize + ?Sized> Publish for T {
    fn to_value(&self, _: &WeaveClient, _: &str) -> Result<Stored, TraceError> {
        let captured = Captured::try_of(self).map_err(|why| {
            TraceError::new(
                TraceErrorKind::InvalidInput,
                format!("the value cannot be published: {why}"),
            )
        })?;
        Ok(Stored(captured))
    }
}

impl WeaveClient {
    /// [`publish`] with this client.
    ///
    /// # Errors
    /// As there.
    pub fn publish<P: Publish + ?Sized>(
        &self,
        value: &P,
        name: &str,
    ) -> Result<ObjectRef, TraceError> {
        let name = object_name(name)?;
        let Stored(value) = value.to_value(self, &name)?;
        store_files(self.server(), self.project(), &value.files)?;
        let mut object = JsonObject::with_capacity(value.json.len() + 256);
        object.text("project_id", &self.project().to_string()).text("object_id", &name);
        object.raw("val", &value.json);
        let digest = self.server().create_object_json(self.project(), &object.finish())?;
        Ok(ObjectRef::of_object(self.project(), &name, digest))
    }

    /// Stores rows as a table, and gives its address.
    ///
    /// # Errors
    /// As of [`publish`].
    pub fn create_table<T: Serialize>(
        &self,
        rows: impl IntoIterator<Item = T>,
    ) -> Result<ObjectRef, TraceError> {
        let (mut digests, mut chunk, mut chunks) = (Vec::new(), Vec::new(), 0);
        let mut bytes = 0;
        for row in rows {
            let Stored(row) = row.to_value(self, "")?;
            if !row.json.starts_with('{') {
                let message = format!("a row of a table is an object: found {:.100}", row.json);
                return Err(TraceError::new(TraceErrorKind::InvalidInput, message));
            }
            store_files(self.server(), self.project(), &row.files)?;
            if bytes + row.json.len() > CHUNK_BYTES && !chunk.is_empty() {
                digests.extend(self.create_chunk(&std::mem::take(&mut chunk))?.1);
                (bytes, chunks) = (0, chunks + 1);
            }
            bytes += row.json.len();
            chunk.push(row.json);
        }
        let (digest, rows) = self.create_chunk(&chunk)?;
        if chunks == 0 {
            return Ok(ObjectRef::of_table(self.project(), digest));
        }
        digests.extend(rows);
        let request = json!({"project_id": self.project().to_string(), "row_digests": digests});
        let digest = self.server().create_table_of_rows(self.project(), &request.to_string())?;
        Ok(ObjectRef::of_table(self.project(), digest))
    }

    /// Stores some rows, and gives the digest of a table of them and their own.
    fn create_chunk(&self, rows: &[String]) -> Result<(String, Vec<String>), TraceError> {
        let mut table = JsonObject::default();
        table.text("project_id", &self.project().to_string());
        table.raw("rows", &format!("[{}]", rows.join(", ")));
        let created = self.server().create_table_json(self.project(), &table.finish())?;
        Ok((created.digest, created.row_digests))
    }
}

/// What a name becomes, as Weave's client for Python has it.
fn object_name(name: &str) -> Result<String, TraceError> {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut kept = String::with_capacity(name.len());
    let mut marks = String::new();
    for letter in name.chars() {
        if is_word(letter) && letter != '_' {
            put_marks(&mut kept, &mut marks);
            kept.push(letter);
        } else {
            let is_kept = is_word(letter) || letter == '.' || letter == '-';
            marks.push(if is_kept { letter } else { '-' });
        }
    }
    put_marks(&mut kept, &mut marks);
    let kept: String = kept.trim_matches(['-', '_']).chars().take(LONGEST_NAME).collect();
    if kept.is_empty() {
        return Err(TraceError::new(
            TraceErrorKind::InvalidInput,
            format!("{name:?} is no name of an object: expected letters and digits in it"),
        ));
    }
    Ok(kept)
}

/// Of several marks in a row one `-` is left.
fn put_marks(kept: &mut String, marks: &mut String) {
    match marks.chars().count() {
        0 | 1 => kept.push_str(marks),
        _ => kept.push('-'),
    }
    marks.clear();
}

/// A dataset: rows, with a name. [Published](publish) its rows are a table.
///
/// ```
/// # use backhaul_weave as weave;
/// # let dir = tempfile::tempdir()?;
/// weave::init("my_team/my_project").offline(true).offline_dir(dir.path()).start()?;
/// let sums = weave::Dataset::new([serde_json::json!({"question": "1 + 1", "answer": 2})]);
/// let address = weave::publish(&sums, "sums")?;
/// assert_eq!(weave::rows(&address)?[0]["answer"], 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Dataset<T> {
    rows: Vec<T>,
    description: Option<String>,
}

impl<T: Serialize> Dataset<T> {
    /// A dataset of rows, each of which serializes as a map.
    pub fn new(rows: impl IntoIterator<Item = T>) -> Self {
        Self { rows: rows.into_iter().collect(), description: None }
    }

    /// The same with a description.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }
}

impl<T: Serialize> Publish for Dataset<T> {
    fn to_value(&self, client: &WeaveClient, name: &str) -> Result<Stored, TraceError> {
        let rows = client.create_table(&self.rows)?;
        let fields = json!({"name": name, "description": self.description, "rows": rows});
        Object::new("Dataset", fields).to_value(client, name)
    }
}

/// An object of a class, as Weave's clients know them: `Dataset`, `StringPrompt`,
/// `AnnotationSpec`, or one of your own.
///
/// ```
/// use backhaul_weave::Object;
/// let prompt = Object::new("StringPrompt", serde_json::json!({"content": "Say {what}."}));
/// let said = serde_json::to_value(prompt.bases(["Prompt", "Object", "BaseModel"]))?;
/// assert_eq!(said["_type"], "StringPrompt");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Object<T> {
    class: String,
    bases: Vec<String>,
    fields: T,
}

impl<T: Serialize> Object<T> {
    /// An object of a class with fields: what serializes as a map. A `name` and a
    /// `description` that are not among them are null.
    pub fn new(class: impl Into<String>, fields: T) -> Self {
        let bases = ["Object", "BaseModel"].map(ToOwned::to_owned).to_vec();
        Self { class: class.into(), bases, fields }
    }

    /// The same, derived from other classes than `Object` and `BaseModel`: the nearest first.
    #[must_use]
    pub fn bases<C: Into<String>>(mut self, classes: impl IntoIterator<Item = C>) -> Self {
        self.bases = classes.into_iter().map(Into::into).collect();
        self
    }
}

impl<T: Serialize> Serialize for Object<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = serde_json::to_value(&self.fields).map_err(S::Error::custom)?;
        let Value::Object(fields) = fields else {
            return Err(S::Error::custom("the fields of an object are a map"));
        };
        let mut all = Map::new();
        all.insert("_type".to_owned(), self.class.clone().into());
        all.insert("name".to_owned(), Value::Null);
        all.insert("description".to_owned(), Value::Null);
        all.extend(fields);
        all.insert("_class_name".to_owned(), self.class.clone().into());
        all.insert("_bases".to_owned(), self.bases.clone().into());
        let mut map = serializer.serialize_map(Some(all.len()))?;
        for (key, value) in &all {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_those_that_the_client_for_python_makes_of_them() {
        for (given, made) in [
            ("settings", "settings"),
            ("my settings!", "my-settings"),
            ("a.b_c-d", "a.b_c-d"),
            ("a..b", "a-b"),
            ("_a_", "a"),
            ("é/ü", "é-ü"),
        ] {
            assert_eq!(object_name(given).unwrap(), made);
        }
        assert!(object_name("--").is_err());
        assert_eq!(object_name(&"x".repeat(200)).unwrap().len(), 128);
    }
}
