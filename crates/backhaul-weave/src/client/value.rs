//! Values that are logged: as JSON, together with the files that are in them.

use std::cell::RefCell;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;

use super::content::Content;
use super::json_object::quoted;

/// A longer value is not kept, but a note that it was: of inputs and output together no record
/// gets longer than the store takes. Weave's server takes 3.5 MiB.
const MAX_BYTES: usize = 24 << 20;
/// What stands in the place of a value that is hidden, as in Weave's client for Python.
pub(crate) const REDACTED: &str = r#""REDACTED""#;

thread_local! {
    /// Files that were met in the value that is being read, where one is.
    static FILES: RefCell<Option<Vec<Content>>> = const { RefCell::new(None) };
}

/// A value as it is logged.
#[derive(Debug, Clone, Default)]
pub struct Captured {
    pub(crate) json: String,
    pub(crate) files: Vec<Content>,
}

impl Captured {
    /// A value that can be serialized. Where that fails, or panics, what it said stands there.
    pub(crate) fn of<T: Serialize + ?Sized>(value: &T) -> Self {
        Self::try_of(value).unwrap_or_else(|why| Self::note(&format!("not serialized: {why}")))
    }

    /// The same, where there is somebody to say it to.
    pub(crate) fn try_of<T: Serialize + ?Sized>(value: &T) -> Result<Self, String> {
        let before = FILES.replace(Some(Vec::new()));
        let json = guarded(|| serde_json::to_string(value).map_err(|error| error.to_string()));
        let files = FILES.replace(before).unwrap_or_default();
        let json = json?;
        match json.len() {
            bytes if bytes <= MAX_BYTES => Ok(Self { json, files }),
            bytes => Err(format!("it has {bytes} bytes, at most {MAX_BYTES} are kept")),
        }
    }

    /// What `{:?}` shows of a value.
    pub(crate) fn of_debug<T: Debug + ?Sized>(value: &T) -> Self {
        match guarded(|| Ok(format!("{value:?}"))) {
            Ok(text) if text.len() <= MAX_BYTES => Self::of_text(&text),
            Ok(text) => Self::note(&format!("{} characters", text.len())),
            Err(why) => Self::note(&format!("not shown: {why}")),
        }
    }

    /// Of a value of which nothing can be said but its type.
    pub(crate) fn of_type<T: ?Sized>() -> Self {
        Self::of_text(&format!("<{}>", std::any::type_name::<T>()))
    }

    pub(crate) fn of_text(text: &str) -> Self {
        Self { json: quoted(text), files: Vec::new() }
    }

    pub(crate) fn null() -> Self {
        Self { json: "null".to_owned(), files: Vec::new() }
    }

    fn note(what: &str) -> Self {
        Self::of_text(&format!("<{what}>"))
    }
}

/// What a value's own code comes to: it may panic, and the program is not to fail of it.
fn guarded(work: impl FnOnce() -> Result<String, String>) -> Result<String, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err("it panicked".to_owned()))
}

/// Notes a file that is in the value which is being logged, if one is.
pub(super) fn note_file(content: &Content) {
    FILES.with_borrow_mut(|files| {
        if let Some(files) = files {
            files.push(content.clone());
        }
    });
}

/// The last part of the name of a type, without what it is made of: `Vec` of
/// `alloc::vec::Vec<u8>`.
pub(crate) fn short_type_name(name: &str) -> &str {
    let name = name.trim_start_matches(['&', '*']).trim_start_matches("mut ");
    let whole = name.find('<').and_then(|at| name.get(..at)).filter(|whole| !whole.is_empty());
    let whole = whole.unwrap_or(name);
    whole.rsplit("::").next().unwrap_or(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Rude;

    impl Serialize for Rude {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            panic!("no")
        }
    }

    #[test]
    fn what_cannot_be_serialized_is_said_in_its_place() {
        let by_list = std::collections::BTreeMap::from([(vec![1], 2)]);
        assert_eq!(Captured::of(&by_list).json, r#""<not serialized: key must be a string>""#);
        assert_eq!(Captured::of(&Rude).json, r#""<not serialized: it panicked>""#);
        assert_eq!(Captured::of(&[f64::NAN, 1.0]).json, "[null,1.0]");
    }

    #[test]
    fn a_value_beyond_all_limits_is_named_by_its_size() {
        let text = "x".repeat(MAX_BYTES);
        assert!(Captured::of(&text).json.contains("at most 25165824 are kept"));
    }

    #[test]
    fn types_are_called_by_their_last_name() {
        for (name, short) in [
            ("alloc::vec::Vec<a::B>", "Vec"),
            ("a::b::Error", "Error"),
            ("&mut a::Thing<'_>", "Thing"),
            ("u8", "u8"),
            ("<a as b>::C", "C"),
        ] {
            assert_eq!(short_type_name(name), short, "{name}");
        }
    }
}
