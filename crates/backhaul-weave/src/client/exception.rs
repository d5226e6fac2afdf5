//! What went wrong in a call, in the form in which Weave keeps it.

use std::any::Any;
use std::error::Error;
use std::fmt::{Debug, Display};

use super::json_object::{JsonObject, quoted};
use super::value;

/// Why a call failed: the name of a type, and a message.
///
/// Weave shows both, and where the op is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    type_name: String,
    message: String,
}

/// Where an op is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) file: &'static str,
    pub(crate) line: u32,
    pub(crate) function: &'static str,
}

impl Exception {
    /// An exception that is described in words.
    ///
    /// ```
    /// let exception = backhaul_weave::Exception::new("Overheated", "91 degrees");
    /// assert_eq!(exception.message(), "91 degrees");
    /// ```
    pub fn new(type_name: impl Into<String>, message: impl Into<String>) -> Self {
        Self { type_name: type_name.into(), message: message.into() }
    }

    /// That of an error: the name of its type, and what it says with all that caused it.
    ///
    /// ```
    /// let error = "x".parse::<u8>().unwrap_err();
    /// let exception = backhaul_weave::Exception::of_error(&error);
    /// assert_eq!(exception.type_name(), "ParseIntError");
    /// assert_eq!(exception.message(), "invalid digit found in string");
    /// ```
    pub fn of_error<E: Error + ?Sized>(error: &E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_says = cause.to_string();
            // Some say what caused them themselves.
            if !message.contains(&cause_says) {
                message.push_str(": ");
                message.push_str(&cause_says);
            }
            source = cause.source();
        }
        Self::new(type_name_of::<E>(), message)
    }

    /// That of something that is shown; `{:#}`, in which `anyhow` tells all causes.
    pub(crate) fn of_shown<E: Display + ?Sized>(error: &E) -> Self {
        Self::new(type_name_of::<E>(), format!("{error:#}"))
    }

    pub(crate) fn of_debug<E: Debug + ?Sized>(error: &E) -> Self {
        Self::new(type_name_of::<E>(), format!("{error:?}"))
    }

    pub(crate) fn of_type<E: ?Sized>() -> Self {
        Self::new(type_name_of::<E>(), "")
    }

    /// What a panic says.
    pub(crate) fn of_panic(payload: &(dyn Any + Send)) -> Self {
        let message = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
            (Some(text), _) => (*text).to_owned(),
            (None, Some(text)) => text.clone(),
            (None, None) => "a panic without a message".to_owned(),
        };
        Self::new("panic", message)
    }

    /// That a future was dropped before it was done.
    pub(crate) fn cancelled() -> Self {
        Self::new("Cancelled", "the future was dropped before it was done")
    }

    /// The name of the error's type.
    pub fn type_name(&self) -> &str {
        &self.type_name
    }

    /// What the error says.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// As Weave keeps it: JSON in a text.
    pub(crate) fn to_json_text(&self, location: Option<Location>) -> String {
        let mut said = JsonObject::default();
        said.text("type", &self.type_name).text("message", &self.message);
        let frame = location.map(|location| {
            let mut frame = JsonObject::default();
            frame.text("filename", location.file);
            frame.raw("line_number", &location.line.to_string());
            frame.text("function_name", location.function).text("text", "");
            frame.finish()
        });
        said.raw("traceback", &format!("[{}]", frame.unwrap_or_default()));
        quoted(&said.finish())
    }
}

/// The last part of a type's name, as Python has it: without the path and what it is made of.
fn type_name_of<T: ?Sized>() -> String {
    value::short_type_name(std::any::type_name::<T>()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(std::num::ParseIntError);

    impl Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("no number")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn an_exception_tells_all_that_caused_it_and_where_the_op_is() {
        let exception = Exception::of_error(&Outer("x".parse::<u8>().unwrap_err()));
        assert_eq!(exception.message(), "no number: invalid digit found in string");
        let at = Location { file: "src/a.rs", line: 7, function: "a::read" };
        let text: String = serde_json::from_str(&exception.to_json_text(Some(at))).unwrap();
        let said: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(said["type"], "Outer");
        assert_eq!(said["traceback"][0]["line_number"], 7);
        assert_eq!(said["traceback"][0]["function_name"], "a::read");
    }

    #[test]
    fn a_panic_says_what_it_was_given() {
        for payload in [Box::new("oops") as Box<dyn Any + Send>, Box::new("oops".to_owned())] {
            assert_eq!(Exception::of_panic(&*payload).message(), "oops");
        }
        assert_eq!(Exception::of_panic(&7_u8).type_name(), "panic");
    }
}
