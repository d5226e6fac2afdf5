//! `backhaul.toml`: keys and values at the top, without sections.

use std::fmt;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::ConfigError;
use super::kind::Shape;
use super::list::json_of;
use super::source::Source;

/// What is shown of a value at most, in characters.
const MOST_SHOWN: usize = 60;

/// A file as it was read: its keys and values, in no order.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) entries: Vec<Entry>,
    /// Whether others than its owner can read it.
    pub(super) is_open: bool,
}

/// A key with its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) value: Value,
    /// The value as it stands there, shortened.
    pub(super) found: String,
    /// Where the key stands.
    pub(super) key_at: Place,
    /// Where the value stands.
    pub(super) value_at: Place,
}

/// What stands behind a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// One value, as text.
    Of(Shape, String),
    /// A section.
    Section,
    /// A date.
    Other,
}

/// Line and column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Place {
    fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() + 1;
        let column = before.get(line_start..).map_or(0, |text| text.chars().count()) + 1;
        Self { line, column }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl File {
    /// Reads a file. What is no TOML in it goes to `problems`.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub(super) fn read(path: PathBuf, problems: &mut Vec<String>) -> Result<Self, ConfigError> {
        let cannot = |error| format!("cannot read {}: {error}", path.display());
        let (bytes, mode) = read_with_mode(&path).map_err(cannot)?;
        let entries = match String::from_utf8(bytes) {
            Ok(text) => parse(&path, &text, problems),
            Err(error) => {
                let text = String::from_utf8_lossy(error.as_bytes());
                let place = Place::of(&text, error.utf8_error().valid_up_to());
                problems.push(format!("{}:{place}: what stands here is no UTF-8", path.display()));
                Vec::new()
            }
        };
        Ok(Self { path, entries, is_open: mode & 0o077 != 0 })
    }

    /// Reads a file, where there is one.
    ///
    /// # Errors
    /// Where it is there and cannot be read.
    pub(super) fn read_if_there(
        path: PathBuf,
        problems: &mut Vec<String>,
    ) -> Result<Option<Self>, ConfigError> {
        match path.try_exists() {
            Ok(false) => Ok(None),
            _ => Self::read(path, problems).map(Some),
        }
    }

    pub(super) fn source(&self, place: Place) -> Source {
        let Place { line, column } = place;
        Source::File { path: self.path.clone(), line, column }
    }

    /// What paths in the file are relative to.
    pub(super) fn folder(&self) -> Option<&Path> {
        self.path.parent()
    }
}

fn read_with_mode(path: &Path) -> io::Result<(Vec<u8>, u32)> {
    let mut file = std::fs::File::open(path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok((bytes, file.metadata()?.mode()))
}

fn parse(path: &Path, text: &str, problems: &mut Vec<String>) -> Vec<Entry> {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let offset = error.span().map_or(0, |span| span.start);
        let place = Place::of(text, offset);
        problems.push(format!("{}:{place}: {}", path.display(), error.message()));
    }
    // Of what is broken only the breaks are said: what follows from them is noise.
    if !errors.is_empty() {
        return Vec::new();
    }
    let entries = table.get_ref().iter().map(|(key, value)| Entry {
        name: key.get_ref().to_string(),
        value: Value::of(value.get_ref()),
        found: shortened(text.get(value.span()).unwrap_or_default()),
        key_at: Place::of(text, key.span().start),
        value_at: Place::of(text, value.span().start),
    });
    let mut entries: Vec<Entry> = entries.collect();
    entries.sort_by_key(|entry| (entry.key_at.line, entry.key_at.column));
    entries
}

impl Value {
    fn of(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Value::Of(Shape::Text, text.to_string()),
            DeValue::Integer(number) => {
                // Hexadecimal and the like become decimal; what is too large stays as it is.
                let text = i128::from_str_radix(number.as_str(), number.radix())
                    .map_or_else(|_| number.as_str().to_owned(), |number| number.to_string());
                Value::Of(Shape::Whole, text)
            }
            DeValue::Float(number) => Value::Of(Shape::Number, number.as_str().to_owned()),
            DeValue::Boolean(truth) => Value::Of(Shape::Truth, truth.to_string()),
            DeValue::Table(_) => Value::Section,
            DeValue::Array(_) => Value::Of(Shape::List, json_of(value).to_string()),
            DeValue::Datetime(_) => Value::Other,
        }
    }
}

/// The first line of a text, and not too much of it.
fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let mut shown: String = line.chars().take(MOST_SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
