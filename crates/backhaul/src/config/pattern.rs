//! What is to be struck out of texts.

use std::fmt;
use std::str::FromStr;

use regex_lite::Regex;

/// A regular expression for what must not be kept, such as `sk-[A-Za-z0-9_-]{20,}`.
///
/// ```
/// use backhaul::config::Pattern;
/// let card: Pattern = r"\b\d{16}\b".parse().unwrap();
/// assert_eq!(card.struck_out("pay with 4111111111111111"), "pay with [redacted]");
/// assert!("(".parse::<Pattern>().is_err());
/// ```
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

impl Pattern {
    /// What stands in the place of what was struck out.
    const STRUCK_OUT: &'static str = "[redacted]";

    /// A text without what it matches.
    pub fn struck_out(&self, text: &str) -> String {
        self.0.replace_all(text, Self::STRUCK_OUT).into_owned()
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pattern = Regex::new(text).map_err(|error| error.to_string())?;
        match pattern.is_match("") {
            true => Err("it matches where there is nothing, and so everywhere".to_owned()),
            false => Ok(Self(pattern)),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}
