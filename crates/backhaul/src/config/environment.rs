//! The variables that settings are read from.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::key::Key;
use super::keys::KEYS;
use super::suggest;

/// The variable that names the configuration file. Empty: as if it were not there.
pub const CONFIG_VARIABLE: &str = "BACKHAUL_CONFIG";

/// The variable in which `backhaul run` tells a program where its gateway is.
pub const URL_VARIABLE: &str = "BACKHAUL_URL";

/// Before the name of a setting, in capitals. The first that is set counts.
const PREFIXES: [&str; 2] = ["BACKHAUL_", "CEMAF_OFFLINE_"];

/// Whether a variable may be of a setting, by its prefix.
pub fn is_variable(name: &str) -> bool {
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The variables at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Environment(BTreeMap<OsString, OsString>);

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl Environment {
    pub(super) fn of_this_process() -> Self {
        std::env::vars_os().collect()
    }

    /// A variable that is set and not empty.
    fn filled(&self, name: &str) -> Option<&OsStr> {
        let value = self.0.get(OsStr::new(name))?;
        (!is_blank(value)).then_some(value)
    }

    /// The variable that a setting is read from: its name and its value. An empty one
    /// counts as not set; an empty secret is a mistake that nobody should find out later.
    pub(super) fn of(&self, key: &Key) -> Option<(String, &OsStr)> {
        PREFIXES
            .iter()
            .flat_map(|prefix| key.names().map(move |name| variable(prefix, name)))
            .find_map(|variable| {
                let value = self.0.get(OsStr::new(&variable))?;
                let counts = key.is_secret() || !is_blank(value);
                counts.then_some((variable, value.as_os_str()))
            })
    }

    /// The file that `BACKHAUL_CONFIG` names.
    pub(super) fn file(&self) -> Option<PathBuf> {
        self.filled(CONFIG_VARIABLE).map(PathBuf::from)
    }

    /// Where the file is looked for that nobody names: `~/.config/backhaul/backhaul.toml`,
    /// or in `$XDG_CONFIG_HOME`.
    pub(super) fn usual_file(&self) -> Option<PathBuf> {
        let of_home = || Some(std::env::home_dir()?.join(".config"));
        let folder = self.filled("XDG_CONFIG_HOME").map(PathBuf::from).or_else(of_home)?;
        Some(folder.join("backhaul/backhaul.toml"))
    }

    /// What looks like a setting and is none, in words.
    pub(super) fn unknown(&self) -> Vec<String> {
        let known: Vec<String> = (PREFIXES.iter())
            .flat_map(|prefix| {
                let names = KEYS.iter().flat_map(Key::names);
                names.map(move |name| variable(prefix, name))
            })
            .chain([CONFIG_VARIABLE, URL_VARIABLE].map(ToOwned::to_owned))
            .collect();
        let names = self.0.keys().filter_map(|name| name.to_str());
        let unknown = names.filter(|name| is_variable(name) && !known.iter().any(|k| k == name));
        unknown
            .map(|name| {
                let meant = suggest::closest(name, known.iter().map(String::as_str));
                format!("{name} is no setting{}", suggest::hint(meant))
            })
            .collect()
    }
}

fn variable(prefix: &str, name: &str) -> String {
    format!("{prefix}{}", name.to_ascii_uppercase())
}

fn is_blank(value: &OsStr) -> bool {
    value.to_str().is_some_and(|text| text.trim().is_empty())
}
