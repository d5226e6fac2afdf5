//! What is told of Weave's data: where it lies, and where it goes.

use std::path::PathBuf;
use std::time::Duration;

use backhaul_store::Options;
use backhaul_sync::{OptionError, SyncOptions, Transport};
use backhaul_weave::{Credentials, OfflineOptions, Remote};

use super::byte_size::ByteSize;
use super::value::{SecretPlace, WebUrl};
use super::{ConfigError, OfflineConfig};

/// Settings of Weave's data, its collector and its delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct WeaveConfig {
    /// The folder of the data. Default: `~/.weave/offline`, or `weave` in a data dir that was
    /// named.
    pub dir: Option<PathBuf>,
    /// The base of the trace server that it is delivered to. Default:
    /// `https://trace.wandb.ai`, or `traces` below the GraphQL base, where that was named.
    pub url: Option<WebUrl>,
    /// The base of the GraphQL server that knows projects and users. Default:
    /// `https://api.wandb.ai`.
    pub wandb_url: Option<WebUrl>,
    /// The key for both. Default: the one that clients send, else `WANDB_API_KEY`, else netrc.
    pub api_key: SecretPlace,
    /// Whether files are gzip; else they are plain JSON lines. Default: on.
    pub compress: bool,
    /// A file is closed at this size. Default: 100 MB.
    pub max_file_size: ByteSize,
    /// The most that all of the data may take on disk. Default: as long as the disk has room.
    /// At least 1 MB.
    pub cap: Option<ByteSize>,
    /// How long delivered data stays on disk after it was stored; zero: not at all. A gateway
    /// looks once an hour. Default: until somebody cleans, or the cap asks for room.
    pub keep_synced: Option<Duration>,
}

impl Default for WeaveConfig {
    fn default() -> Self {
        Self {
            dir: None,
            url: None,
            wandb_url: None,
            api_key: SecretPlace::default(),
            compress: true,
            max_file_size: ByteSize(OfflineOptions::default().max_file_size),
            cap: None,
            keep_synced: None,
        }
    }
}

impl WeaveConfig {
    /// Checks that the values make sense.
    ///
    /// # Errors
    /// Names the option, what was found and what was expected.
    pub fn check(&self) -> Result<(), OptionError> {
        let size = self.max_file_size;
        let options = Options { segment_bytes: size.0, ..Options::default() };
        if options.check().is_err() {
            let expected = "16384 bytes to 1073741824 bytes";
            return Err(OptionError::new("weave_max_file_size", size.exact(), expected));
        }
        if let Some(cap) = self.cap.filter(|cap| cap.0 < OfflineOptions::LEAST_CAP) {
            let expected = "1MB or more, or nothing where there is to be no cap";
            return Err(OptionError::new("weave_cap", cap.exact(), expected));
        }
        Ok(())
    }

    /// How the data is stored.
    pub fn options(&self, offline: &OfflineConfig) -> OfflineOptions {
        let is_set = |min_free: &u64| *min_free != Options::default().min_free_bytes;
        OfflineOptions {
            min_free_bytes: Some(offline.min_free.0).filter(is_set),
            compress: self.compress,
            max_file_size: self.max_file_size.0,
            max_bytes: self.cap.map(|cap| cap.0),
            store: Options {
                when_full: offline.when_full,
                flush: offline.flush,
                ..Options::default()
            },
        }
    }

    /// How couriers of the data behave: as those of runs, but that a batch is as large as a
    /// request may be where `batch_size` is left as it is.
    pub fn sync_options(&self, offline: &OfflineConfig) -> SyncOptions {
        let is_set = |size: &usize| *size != SyncOptions::DEFAULT_BATCH_SIZE;
        let batch_size = offline.sync.batch_size.filter(is_set);
        SyncOptions { batch_size, ..offline.sync.clone() }
    }

    /// The server that the data is delivered to, counted against the data cap where one is
    /// set. Nothing is sent yet, and no key need be known.
    ///
    /// # Errors
    /// Where the key's file cannot be read, the data cap makes no sense, or the machine has no
    /// certificates to check an `https` address with.
    pub fn remote(&self, offline: &OfflineConfig) -> Result<Remote, ConfigError> {
        let problem = |error: &dyn std::fmt::Display| error.to_string();
        let key = self.api_key.find().map_err(|error| format!("weave_api_key_file: {error}"))?;
        let key = key.map(|key| key.reveal().to_owned());
        let transport =
            Transport::new(offline.delivery_timeout).map_err(|error| problem(&error))?;
        let transport = offline.budget()?.into_iter().fold(transport, Transport::with_budget);
        let [url, wandb_url] =
            [&self.url, &self.wandb_url].map(|url| url.as_ref().map(WebUrl::as_str));
        let remote = Remote::new(transport, url, wandb_url, Credentials::new(key));
        Ok(remote.map_err(|error| problem(&error))?)
    }
}
