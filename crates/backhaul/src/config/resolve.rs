//! From flags, variables and a file to one configuration, or to all that is wrong.

use std::ffi::OsStr;
use std::path::Path;

use backhaul_agent::CloudRunLogger;

use super::environment::Environment;
use super::file::{Entry, File, Value};
use super::key::Key;
use super::keys::{self, KEYS};
use super::kind::Given;
use super::settings::Request;
use super::source::Source;
use super::value::SecretPlace;
use backhaul_weave::OfflineTraceServer;

use super::{BANDWIDTH, Config, ConfigError, OFFLINE, WEAVE, default_data_dir, suggest};

/// A configuration, with where each value comes from, in the order of the table.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) config: Config,
    pub(super) sources: Vec<Source>,
}

struct Resolver<'a> {
    resolved: Resolved,
    problems: &'a mut Vec<String>,
}

/// Puts a configuration together. `problems` has what was wrong with the file.
pub(super) fn resolve(
    request: &Request,
    environment: &Environment,
    file: Option<&File>,
    mut problems: Vec<String>,
) -> Result<Resolved, ConfigError> {
    let sources = vec![Source::Default; KEYS.len()];
    let resolved = Resolved { config: Config::default(), sources };
    let mut resolver = Resolver { resolved, problems: &mut problems };
    // The weakest first: what is wrong is said of each, also where another one wins.
    if let Some(file) = file {
        resolver.read_file(file);
    }
    resolver.read_environment(environment);
    resolver.read_flags(request);
    resolver.check();
    let mut resolved = resolver.resolved;
    resolved.choose_secrets();
    resolved.fill_in();
    ConfigError::unless_empty(problems)?;
    Ok(resolved)
}

impl Resolver<'_> {
    fn read_file(&mut self, file: &File) {
        for (index, entry) in file.entries.iter().enumerate() {
            let source = file.source(entry.key_at);
            let key = keys::called(&entry.name).filter(|_| entry.value != Value::Section);
            let Some(key) = key else {
                self.problems.push(unknown(&source, entry));
                continue;
            };
            let earlier = file.entries.iter().take(index).find(|other| key.is_called(&other.name));
            if let Some(earlier) = earlier {
                let also = format!("stands in line {} as {}", earlier.key_at.line, earlier.name);
                self.problems.push(format!("{} {also}", source.naming(&entry.name)));
                continue;
            }
            if key.is_secret() && file.is_open {
                self.problems.push(format!(
                    "{} stands in a file that others can read: make it yours alone \
                     (`chmod 600`), or name a file with {}_file",
                    source.naming(&entry.name),
                    key.name()
                ));
                continue;
            }
            let source = file.source(entry.value_at);
            match &entry.value {
                Value::Of(shape, text) if shape.serves_as(key.facts().shape) => {
                    self.read(key, source, text.as_ref(), &entry.found, file.folder());
                }
                _ => self.problems.push(unfit(key, &source, &entry.found)),
            }
        }
    }

    fn read_environment(&mut self, environment: &Environment) {
        for key in KEYS {
            if let Some((variable, value)) = environment.of(key) {
                self.read(key, Source::Variable(variable), value, &quoted(value), None);
            }
        }
    }

    fn read_flags(&mut self, request: &Request) {
        for (name, value) in &request.flags {
            match keys::called(name) {
                Some(key) => {
                    self.read(key, Source::Flag(key.flag()), value, &quoted(value), None);
                }
                None => self.problems.push(format!("there is no setting {name}")),
            }
        }
    }

    fn read(
        &mut self,
        key: &'static Key,
        source: Source,
        text: &OsStr,
        found: &str,
        base: Option<&Path>,
    ) {
        match key.read(&mut self.resolved.config, Given { text, base }) {
            Some(()) => self.resolved.set_source(key.name(), source),
            None => {
                let problem = match (key.facts().mistake)(Given { text, base }) {
                    Some(mistake) => {
                        format!("{} has a mistake: {mistake}", source.naming(key.name()))
                    }
                    None => unfit(key, &source, found),
                };
                self.problems.push(problem);
            }
        }
    }

    /// Checks the values together. What is found wrong goes back to its default, so that
    /// the next is found too.
    fn check(&mut self) {
        for _ in KEYS {
            let Err(error) = self.resolved.config.check() else { return };
            let key = keys::called(error.option());
            let source = self.resolved.source(error.option()).clone();
            let named = source.naming(key.map_or(error.option(), Key::name));
            self.problems.push(format!("{named} {}", error.problem()));
            match key {
                Some(key) if source != Source::Default => {
                    key.reset(&mut self.resolved.config);
                    self.resolved.set_source(key.name(), Source::Default);
                }
                _ => return,
            }
        }
    }
}

impl Resolved {
    /// Where the value of the setting comes from that is called so.
    pub(super) fn source(&self, name: &str) -> &Source {
        index(name).and_then(|index| self.sources.get(index)).unwrap_or(&Source::Default)
    }

    fn set_source(&mut self, name: &str, source: Source) {
        if let Some(place) = index(name).and_then(|index| self.sources.get_mut(index)) {
            *place = source;
        }
    }

    /// Takes a value over from another configuration.
    pub(super) fn keep(&mut self, key: &Key, other: &Resolved) {
        key.copy(&other.config, &mut self.config);
        self.set_source(key.name(), other.source(key.name()).clone());
    }

    /// A secret and its file are two settings for one thing: the stronger source counts,
    /// and where both are equal the secret itself.
    fn choose_secrets(&mut self) {
        let file_wins =
            |value: &str, file: &str| self.source(file).rank() > self.source(value).rank();
        let of_hub = file_wins("api_key", "api_key_file");
        let of_intake = file_wins("token", "token_file");
        let of_weave = file_wins("weave_api_key", "weave_api_key_file");
        choose(&mut self.config.offline.api_key, of_hub);
        choose(&mut self.config.hub.token, of_intake);
        choose(&mut self.config.weave.api_key, of_weave);
    }

    /// The folders of the queue and of the data cap follow from the data dir where they are
    /// not named, and where somebody says at this moment which data dir they mean. So does
    /// that of Weave's data, if the data dir is named; else it is where Weave's document has it.
    fn fill_in(&mut self) {
        let of_data_dir = self.source("data_dir").clone();
        let weave_by_flag = matches!(self.source("weave_dir"), Source::Flag(_));
        let config = &mut self.config;
        if config.data_dir.is_none() {
            config.weave.dir = config.weave.dir.take().or_else(OfflineTraceServer::default_dir);
        }
        config.data_dir = config.data_dir.take().or_else(default_data_dir);
        let (dir, offline) = (&config.data_dir, &mut config.offline);
        let mut follows = Vec::new();
        let is_moved = matches!(of_data_dir, Source::Flag(_));
        for (path, name, key, is_moved) in [
            (&mut offline.storage_path, OFFLINE, "storage_path", is_moved),
            (&mut offline.bandwidth_path, BANDWIDTH, "bandwidth_path", is_moved),
            (&mut config.weave.dir, WEAVE, "weave_dir", is_moved && !weave_by_flag),
        ] {
            if path.is_none() || is_moved {
                *path = dir.as_ref().map(|dir| dir.join(name));
                follows.push(key);
            }
        }
        for key in follows {
            self.set_source(key, of_data_dir.clone());
        }
    }
}

fn index(name: &str) -> Option<usize> {
    KEYS.iter().position(|key| key.is_called(name))
}

fn choose(secret: &mut SecretPlace, file_wins: bool) {
    if file_wins {
        secret.value = None;
    } else if secret.value.is_some() {
        secret.file = None;
    }
}

/// What is wrong with a value that its setting does not take.
fn unfit(key: &Key, source: &Source, found: &str) -> String {
    let found = match (key.is_secret(), found) {
        (_, blank) if blank.trim_matches(['"', ' ']).is_empty() => "is empty".to_owned(),
        (true, _) => "cannot be used".to_owned(),
        (false, found) => format!("is {}", CloudRunLogger::shown_url(found)),
    };
    format!("{} {found}: expected {}", source.naming(key.name()), key.expected())
}

fn unknown(source: &Source, entry: &Entry) -> String {
    if entry.value == Value::Section {
        let place = source.naming(&format!("[{}]", entry.name));
        return format!("{place} is no key: all keys stand at the top, without sections");
    }
    let names = KEYS.iter().flat_map(Key::names);
    let meant = suggest::closest(&entry.name.to_ascii_lowercase().replace('-', "_"), names);
    let place = source.naming("there is no key");
    format!("{place} {}{}", entry.name, suggest::hint(meant))
}

fn quoted(value: &OsStr) -> String {
    format!("{value:?}")
}
