//! What is told of Weave's data: where it lies, and where it goes.

use std::path::PathBuf;

use backhaul_store::Options;
use backhaul_sync::OptionError;
use backhaul_weave::OfflineOptions;

use super::OfflineConfig;
use super::byte_size::ByteSize;
use super::value::{SecretPlace, WebUrl};

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
    /// A file is closed at this size. Default: 100 MB.
    pub max_file_size: ByteSize,
    /// The most that all of the data may take on disk. Default: as long as the disk has room.
    pub cap: Option<ByteSize>,
}

impl Default for WeaveConfig {
    fn default() -> Self {
        Self {
            dir: None,
            url: None,
            wandb_url: None,
            api_key: SecretPlace::default(),
            max_file_size: ByteSize(OfflineOptions::default().max_file_size),
            cap: None,
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
        Ok(())
    }

    /// How the data is stored.
    pub fn options(&self, offline: &OfflineConfig) -> OfflineOptions {
        OfflineOptions {
            max_file_size: self.max_file_size.0,
            store: Options {
                when_full: offline.when_full,
                flush: offline.flush,
                ..Options::default()
            },
            ..OfflineOptions::default()
        }
    }
}
