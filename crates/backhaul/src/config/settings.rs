//! The settings of a process, read and read again.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::file::File;
use super::key::Key;
use super::keys::KEYS;
use super::resolve::{Resolved, resolve};
use super::source::Source;
use super::{Config, ConfigError};

/// What to read settings from beside the environment.
#[derive(Clone, Default)]
pub struct Request {
    pub(super) flags: Vec<(&'static str, OsString)>,
    pub(super) file: Option<PathBuf>,
}

impl Request {
    /// No flags, and the file that `BACKHAUL_CONFIG` names; else
    /// `~/.config/backhaul/backhaul.toml` (or in `$XDG_CONFIG_HOME`), where there is one.
    pub fn new() -> Self {
        Self::default()
    }

    /// This file. It has to be there.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// The value that a flag gives to the setting `name`, if it was said.
    #[must_use]
    pub fn flag(mut self, name: &'static str, value: Option<impl Into<OsString>>) -> Self {
        self.flags.extend(value.map(|value| (name, value.into())));
        self
    }
}

impl fmt::Debug for Request {
    /// Without the values: an address may have a password in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags: Vec<&str> = self.flags.iter().map(|(name, _)| *name).collect();
        f.debug_struct("Request").field("flags", &flags).field("file", &self.file).finish()
    }
}

/// All settings, and where each comes from.
#[derive(Debug)]
pub struct Settings {
    request: Request,
    file: Option<PathBuf>,
    resolved: Resolved,
}

/// One setting with its value.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'a> {
    /// The setting.
    pub key: &'static Key,
    /// Where its value comes from.
    pub source: &'a Source,
    config: &'a Config,
}

impl Setting<'_> {
    /// The value as it may be shown; none: nothing is set.
    pub fn text(&self) -> Option<String> {
        self.key.text(self.config)
    }

    /// The value, or in words what holds where nothing is set.
    pub fn shown(&self) -> String {
        self.key.shown(self.config)
    }
}

impl Settings {
    /// Reads the settings: flags over the environment of this process over the file over
    /// the defaults.
    ///
    /// # Errors
    /// Everything that is wrong, each with its place.
    pub fn load(request: Request) -> Result<Self, ConfigError> {
        Self::load_in(request, &Environment::of_this_process())
    }

    pub(super) fn load_in(
        request: Request,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let named = request.file.clone().or_else(|| environment.file());
        let file = match (named, environment.usual_file()) {
            (Some(path), _) => Some(File::read(path, &mut problems)?),
            (None, Some(path)) => File::read_if_there(path, &mut problems)?,
            (None, None) => None,
        };
        let resolved = resolve(&request, environment, file.as_ref(), problems)?;
        Ok(Self { request, file: file.map(|file| file.path), resolved })
    }

    /// Reads the settings again, and takes over what can change while the process runs.
    ///
    /// # Errors
    /// As for [`load`](Settings::load). Everything stays as it is then.
    pub fn reload(&mut self) -> Result<Reloaded, ConfigError> {
        self.reload_in(&Environment::of_this_process())
    }

    pub(super) fn reload_in(&mut self, environment: &Environment) -> Result<Reloaded, ConfigError> {
        let mut request = self.request.clone();
        // A file that was there and is gone is a mistake, wherever it was found.
        request.file = request.file.or_else(|| self.file.clone());
        let mut new = Self::load_in(request, environment)?;
        let mut reloaded = Reloaded::default();
        for key in KEYS {
            let (was, is) = (self.config(), new.config());
            if key.is_same(was, is) {
                continue;
            }
            let change = Change { key, from: key.shown(was), to: key.shown(is) };
            if key.is_live() {
                reloaded.applied.push(change);
            } else {
                reloaded.kept.push(change);
                new.resolved.keep(key, &self.resolved);
            }
        }
        new.config().check().map_err(|error| ConfigError::from(error.to_string()))?;
        self.file = new.file;
        self.resolved = new.resolved;
        Ok(reloaded)
    }

    /// The values.
    pub fn config(&self) -> &Config {
        &self.resolved.config
    }

    /// The file that was read.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Where the value of the setting `name` comes from.
    pub fn source(&self, name: &str) -> &Source {
        self.resolved.source(name)
    }

    /// Every setting, in the order of the table.
    pub fn each(&self) -> impl Iterator<Item = Setting<'_>> {
        let config = self.config();
        KEYS.iter().zip(&self.resolved.sources).map(move |(key, source)| Setting {
            key,
            source,
            config,
        })
    }

    /// Variables of this process that look like settings and are none, in words.
    pub fn unknown_variables() -> Vec<String> {
        Environment::of_this_process().unknown()
    }
}

/// What came of reading the settings again.
#[derive(Debug, Clone, Default)]
pub struct Reloaded {
    /// What is different now.
    pub applied: Vec<Change>,
    /// What was given another value and keeps the old one until a restart.
    pub kept: Vec<Change>,
}

/// A setting with another value than before. Secrets are not shown.
#[derive(Debug, Clone)]
pub struct Change {
    key: &'static Key,
    from: String,
    to: String,
}

impl Change {
    /// The setting's name.
    pub fn name(&self) -> &'static str {
        self.key.name()
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.is_secret() {
            true => f.write_str(self.name()),
            false => write!(f, "{} {} → {}", self.name(), self.from, self.to),
        }
    }
}
