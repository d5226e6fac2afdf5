//! What the values of settings look like, in text and in TOML.

use std::ffi::OsStr;
use std::fmt::Display;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use backhaul_store::{Flush, WhenFull};
use backhaul_sync::{BackoffStrategy, CheckRule, Oversized, Refill};
use tracing::level_filters::LevelFilter;

use super::byte_size::ByteSize;
use super::models::{ModelName, RecordCalls};
use super::time_text;
use super::value::{HubUrl, ListenAddress, OutageSetting, Secret, WebUrl};

/// How a value stands in TOML and JSON. In a variable or a flag everything is text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Whole,
    Number,
    Truth,
    Text,
    /// In JSON, or in words that the kind knows to read.
    List,
}

impl Shape {
    /// Whether a TOML value of this shape may stand where `wanted` is.
    pub(super) fn serves_as(self, wanted: Shape) -> bool {
        self == wanted
            || matches!((self, wanted), (Shape::Whole, Shape::Number) | (Shape::Text, Shape::List))
    }
}

/// What there is to know of a kind of values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    pub(super) shape: Shape,
    pub(super) expected: &'static str,
    pub(super) is_secret: bool,
    pub(super) mistake: fn(Given<'_>) -> Option<String>,
}

impl Facts {
    /// Those of the type of a field.
    pub(super) fn of<T: Kind>(_: &T) -> Self {
        let (shape, expected, is_secret) = (T::SHAPE, T::EXPECTED, T::IS_SECRET);
        Self { shape, expected, is_secret, mistake: T::mistake }
    }
}

/// A value as it was given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) text: &'a OsStr,
    /// What a path is relative to, where that is not the working folder.
    pub(super) base: Option<&'a Path>,
}

/// A type of values.
pub(super) trait Kind: Clone + PartialEq {
    const SHAPE: Shape;
    const EXPECTED: &'static str;
    const IS_SECRET: bool = false;

    fn read(given: Given<'_>) -> Option<Self>;

    /// What exactly is wrong with a value that is not read, where there is more to say than
    /// what was expected.
    fn mistake(_: Given<'_>) -> Option<String> {
        None
    }

    /// The value as it may be shown and, but for secrets, as it is read back. None:
    /// nothing is set.
    fn text(&self) -> Option<String>;
}

fn parsed<T: FromStr>(given: Given<'_>) -> Option<T> {
    given.text.to_str()?.trim().parse().ok()
}

fn shown(value: &impl Display) -> Option<String> {
    Some(value.to_string())
}

/// A kind that reads and shows itself.
macro_rules! plain {
    ($($type:ty: $shape:ident, $expected:literal;)+) => {$(
        impl Kind for $type {
            const SHAPE: Shape = Shape::$shape;
            const EXPECTED: &'static str = $expected;

            fn read(given: Given<'_>) -> Option<Self> {
                parsed(given)
            }

            fn text(&self) -> Option<String> {
                shown(self)
            }
        }
    )+};
}

plain! {
    u32: Whole, "a whole number";
    u64: Whole, "a whole number";
    usize: Whole, "a whole number";
    NonZeroUsize: Whole, "a whole number of at least 1";
    NonZeroU32: Whole, "a whole number of at least 1";
    f64: Number, "a number";
    HubUrl: Text, "http://host:port or https://host:port, such as http://hub:7117";
    WebUrl: Text, "http://host:port or https://host/path without a user, such as https://trace.wandb.ai";
    ModelName: Text, "the name of a model, such as llama3.2:3b";
    ListenAddress: Text, "ADDRESS:PORT, such as 127.0.0.1:7117";
    Refill: Text, "daily or monthly on DAY, and possibly at HH:MM";
}

/// A kind that is one of a few, each with a name.
macro_rules! named {
    ($($type:ty: $expected:literal;)+) => {$(
        impl Kind for $type {
            const SHAPE: Shape = Shape::Text;
            const EXPECTED: &'static str = $expected;

            fn read(given: Given<'_>) -> Option<Self> {
                let text = given.text.to_str()?.trim();
                <$type>::ALL.into_iter().find(|one| one.name() == text)
            }

            fn text(&self) -> Option<String> {
                Some(self.name().to_owned())
            }
        }
    )+};
}

named! {
    WhenFull: "reject, drop-oldest or drop-lowest-priority";
    Oversized: "wait or summary";
    CheckRule: "any or all";
    RecordCalls: "full, metadata or off";
    BackoffStrategy: "constant, linear, exponential or fibonacci";
}

impl Kind for bool {
    const SHAPE: Shape = Shape::Truth;
    const EXPECTED: &'static str = "true or false";

    /// A variable may also say it as other programs have it.
    fn read(given: Given<'_>) -> Option<Self> {
        match given.text.to_str()?.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some(true),
            "false" | "no" | "off" | "0" => Some(false),
            _ => None,
        }
    }

    fn text(&self) -> Option<String> {
        shown(self)
    }
}

impl Kind for ByteSize {
    const SHAPE: Shape = Shape::Text;
    const EXPECTED: &'static str = "a size, such as 500MB";

    fn read(given: Given<'_>) -> Option<Self> {
        parsed(given)
    }

    fn text(&self) -> Option<String> {
        Some(self.exact())
    }
}

impl Kind for Duration {
    const SHAPE: Shape = Shape::Text;
    const EXPECTED: &'static str = "a time with its unit, such as 500ms, 90s, 10m, 12h or 7d";

    fn read(given: Given<'_>) -> Option<Self> {
        time_text::read_time(given.text.to_str()?)
    }

    fn text(&self) -> Option<String> {
        Some(time_text::write(*self))
    }
}

impl Kind for Flush {
    const SHAPE: Shape = Shape::Text;
    const EXPECTED: &'static str = "always, never, or a time of more than nothing, such as 5s";

    fn read(given: Given<'_>) -> Option<Self> {
        match given.text.to_str()?.trim() {
            "always" => Some(Flush::Always),
            "never" => Some(Flush::Never),
            time => time_text::read_time(time).filter(|time| !time.is_zero()).map(Flush::Every),
        }
    }

    fn text(&self) -> Option<String> {
        Some(match self {
            Flush::Always => "always".to_owned(),
            Flush::Never => "never".to_owned(),
            Flush::Every(time) => time_text::write(*time),
        })
    }
}

impl Kind for OutageSetting {
    const SHAPE: Shape = Shape::Text;
    const EXPECTED: &'static str = "on, off, or a time of more than nothing, such as 10m";

    fn read(given: Given<'_>) -> Option<Self> {
        match given.text.to_str()?.trim() {
            "on" => Some(OutageSetting::On),
            "off" => Some(OutageSetting::Off),
            time => {
                time_text::read_time(time).filter(|time| !time.is_zero()).map(OutageSetting::For)
            }
        }
    }

    fn text(&self) -> Option<String> {
        Some(match self {
            OutageSetting::On => "on".to_owned(),
            OutageSetting::Off => "off".to_owned(),
            OutageSetting::For(time) => time_text::write(*time),
        })
    }
}

impl Kind for LevelFilter {
    const SHAPE: Shape = Shape::Text;
    const EXPECTED: &'static str = "off, error, warn, info, debug or trace";

    fn read(given: Given<'_>) -> Option<Self> {
        // Its own reader also takes numbers, and nothing for an error.
        let names = ["off", "error", "warn", "info", "debug", "trace"];
        let text = given.text.to_str()?.trim();
        names.into_iter().find(|name| text.eq_ignore_ascii_case(name))?.parse().ok()
    }

    fn text(&self) -> Option<String> {
        shown(self)
    }
}

impl Kind for PathBuf {
    const SHAPE: Shape = Shape::Text;
    const EXPECTED: &'static str = "a path";

    /// `~/` is the home folder.
    fn read(given: Given<'_>) -> Option<Self> {
        let path = Path::new(given.text);
        if let Ok(below_home) = path.strip_prefix("~") {
            return Some(std::env::home_dir()?.join(below_home));
        }
        let is_empty = path.as_os_str().is_empty();
        (!is_empty).then(|| given.base.map_or_else(|| path.to_owned(), |base| base.join(path)))
    }

    fn text(&self) -> Option<String> {
        shown(&self.display())
    }
}

impl Kind for Secret {
    const SHAPE: Shape = Shape::Text;
    const EXPECTED: &'static str = "visible ASCII characters";
    const IS_SECRET: bool = true;

    fn read(given: Given<'_>) -> Option<Self> {
        parsed(given)
    }

    fn text(&self) -> Option<String> {
        shown(self)
    }
}

impl<T: Kind> Kind for Option<T> {
    const SHAPE: Shape = T::SHAPE;
    const EXPECTED: &'static str = T::EXPECTED;
    const IS_SECRET: bool = T::IS_SECRET;

    fn read(given: Given<'_>) -> Option<Self> {
        T::read(given).map(Some)
    }

    fn text(&self) -> Option<String> {
        self.as_ref().and_then(T::text)
    }
}
