//! Settings: what there is to set, and where the values come from.
//!
//! Flags win over the variables of the environment, those over the file
//! `backhaul.toml`, that over the defaults. One table ([`KEYS`]) names every setting;
//! its name is the key in the file, with `BACKHAUL_` before it the variable, and with
//! dashes the flag of the commands that have one. A key that is not in the table is an
//! error, and so is a value without sense: it is named with its place.
//!
//! ```
//! use backhaul::config::{Request, Settings};
//!
//! # let path = std::env::temp_dir().join(format!("backhaul-config-doc-{}.toml", std::process::id()));
//! std::fs::write(&path, "sync_interval_seconds = 10\n")?;
//! let settings = Settings::load(Request::new().file(&path))?;
//! assert_eq!(settings.config().offline.sync.sync_interval_seconds, 10);
//!
//! std::fs::write(&path, "sync_interval = 10\n")?;
//! let error = Settings::load(Request::new().file(&path)).unwrap_err().to_string();
//! assert!(error.ends_with(
//!     "toml:1:1: there is no key sync_interval: did you mean sync_interval_seconds?"
//! ));
//! # std::fs::remove_file(&path)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod byte_size;
mod environment;
mod error;
mod file;
mod hub;
mod key;
mod keys;
mod kind;
mod list;
mod models;
mod offline;
mod pattern;
mod reference;
mod resolve;
mod settings;
mod source;
mod suggest;
mod time_text;
mod value;
mod weave;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use backhaul_sync::OptionError;
use tracing::level_filters::LevelFilter;

pub use self::byte_size::ByteSize;
pub use self::environment::{CONFIG_VARIABLE, URL_VARIABLE, is_variable};
pub use self::error::ConfigError;
pub use self::hub::HubConfig;
pub use self::key::{Group, Key};
pub use self::keys::KEYS;
pub use self::models::{ModelName, ModelPlace, ModelsConfig, RecordCalls};
pub use self::offline::OfflineConfig;
pub use self::pattern::Pattern;
pub use self::reference::reference;
pub use self::settings::{Change, Reloaded, Request, Setting, Settings};
pub use self::source::Source;
pub use self::time_text::read_time;
pub use self::value::{HubUrl, ListenAddress, OutageSetting, Secret, SecretPlace, WebUrl};
pub use self::weave::WeaveConfig;

/// Long enough for what a program logs last, and short enough for who waits for its end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// The values of all settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The folder that everything of one backhaul lies in. Default:
    /// `~/.local/share/backhaul`; none where there is no home folder.
    pub data_dir: Option<PathBuf>,
    /// How much the program says on stderr. Default: warn.
    pub log: LevelFilter,
    /// Whether the commands that deliver count as offline, on purpose, from their start on.
    /// Default: off.
    pub outage: OutageSetting,
    /// How long `backhaul run` goes on delivering once its program has ended; zero: not at
    /// all. Default: 10 s.
    pub drain_timeout: Duration,
    /// What an agent's queue and its delivery are told.
    pub offline: OfflineConfig,
    /// What the intake of `backhaul serve` is told.
    pub hub: HubConfig,
    /// Where Weave's data lies, and where it goes.
    pub weave: WeaveConfig,
    /// Who answers the calls of models.
    pub models: ModelsConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: None,
            log: LevelFilter::WARN,
            outage: OutageSetting::Off,
            drain_timeout: DRAIN_TIMEOUT,
            offline: OfflineConfig::default(),
            hub: HubConfig::default(),
            weave: WeaveConfig::default(),
            models: ModelsConfig::default(),
        }
    }
}

impl Config {
    /// Checks that the values make sense, one by one and together.
    ///
    /// # Errors
    /// Names the option, what was found and what was expected.
    pub fn check(&self) -> Result<(), OptionError> {
        self.offline.check()?;
        self.hub.check()?;
        self.weave.check()?;
        self.models.check()
    }
}

/// `~/.local/share/backhaul`.
fn default_data_dir() -> Option<PathBuf> {
    Some(std::env::home_dir()?.join(".local/share/backhaul"))
}

/// The folder of an agent's queue in a data dir.
pub(crate) const OFFLINE: &str = "offline";
/// The folder of an agent's calls of tools that wait, in a data dir.
pub(crate) const TOOLS: &str = "tools";
/// The folder of Weave's data, in a data dir that was named.
pub(crate) const WEAVE: &str = "weave";
/// The folder of what Weave's clients remember to have sent, in the data dir: a folder for
/// each server.
pub(crate) const WEAVE_CACHE: &str = "weave-cache";
/// The folder of what was counted against the data cap, in the data dir.
const BANDWIDTH: &str = "bandwidth";
