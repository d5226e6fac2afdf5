//! What an agent's queue and its delivery are told.

use std::path::PathBuf;
use std::time::Duration;

use backhaul_agent::{CloudRunLogger, OfflineQueue, OfflineQueueBuilder};
use backhaul_store::{Flush, Options, WhenFull};
use backhaul_sync::{
    BandwidthManager, BandwidthOptions, ConnectivityMonitor, ConnectivityOptions, OptionError,
    PrioritizerConfig, SyncOptions, SyncPrioritizer,
};

use super::byte_size::ByteSize;
use super::value::{HubUrl, SecretPlace};
use super::{BANDWIDTH, ConfigError, OFFLINE, Settings};

/// Settings of the queue, the logger and the courier of an agent. The defaults are
/// those of the parts.
///
/// ```
/// use backhaul::offline::OfflineConfig;
///
/// let config = OfflineConfig {
///     storage_path: Some("/var/cemaf/offline".into()),
///     max_queue_size_mb: 100,
///     ..OfflineConfig::default()
/// };
/// assert!(config.check().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct OfflineConfig {
    /// The folder of the queue. Default: `offline` in the data dir.
    pub storage_path: Option<PathBuf>,
    /// The cap on everything below it, in MB (10^6 bytes). Default: 100.
    pub max_queue_size_mb: u64,
    /// What gives way at the cap, after what was delivered. Default: the new record is
    /// refused.
    pub when_full: WhenFull,
    /// What an acknowledgement promises. Default: [`Flush::Always`].
    pub flush: Flush,
    /// How long delivered records stay on disk; zero: not at all. Default: 7 days.
    pub keep_synced: Duration,
    /// What is left free on the file system. Default: 10 MB.
    pub min_free: ByteSize,
    /// The age past which a record is not worth sending any more, in power-on time. Default:
    /// none.
    pub expires_after: Option<Duration>,
    /// The most that is kept in memory while the disk does not take it. Default: 8 MB.
    pub hold_in_memory: ByteSize,
    /// The hub that records are delivered to. Default: none.
    pub runs_url: Option<HubUrl>,
    /// The key for the hub. Default: none.
    pub api_key: SecretPlace,
    /// Whether bodies go in gzip where that makes them smaller. Default: on.
    pub compress: bool,
    /// How long one request may take. Default: 60 s.
    pub delivery_timeout: Duration,
    /// How much may leave the device, and how fast. Default: no limit.
    pub bandwidth: BandwidthOptions,
    /// The folder of what was counted against the data cap, shared by all processes of the
    /// device. Default: `bandwidth` in the data dir.
    pub bandwidth_path: Option<PathBuf>,
    /// How the courier behaves.
    pub sync: SyncOptions,
    /// How it is found out whether there is a link. Default: nobody is asked; requests that
    /// fail, and changes of the network, tell.
    pub connectivity: ConnectivityOptions,
    /// What goes first. Default: the oldest record of the most urgent lane.
    pub prioritizer: PrioritizerConfig,
}

/// Options whose names say too little beside all the others, and their keys.
const FULL_NAMES: [(&str, &str); 7] = [
    ("timeout_seconds", "check_timeout_seconds"),
    ("window_records", "rules_window_records"),
    ("window_bytes", "rules_window_bytes"),
    ("lanes.critical", "critical_score"),
    ("lanes.high", "high_score"),
    ("lanes.normal", "normal_score"),
    ("lanes.low", "low_score"),
];

fn in_full(error: OptionError) -> OptionError {
    match FULL_NAMES.iter().find(|(name, _)| *name == error.option()) {
        Some((_, key)) => error.called(key),
        None => error,
    }
}

impl Default for OfflineConfig {
    fn default() -> Self {
        let options = Options::default();
        let batch_size = Some(SyncOptions::DEFAULT_BATCH_SIZE);
        Self {
            storage_path: None,
            max_queue_size_mb: OfflineQueue::DEFAULT_MAX_QUEUE_SIZE_MB,
            when_full: options.when_full,
            flush: options.flush,
            keep_synced: options.keep_delivered_for,
            min_free: ByteSize(options.min_free_bytes),
            expires_after: None,
            hold_in_memory: ByteSize(OfflineQueue::DEFAULT_HOLD_IN_MEMORY_BYTES as u64),
            runs_url: None,
            api_key: SecretPlace::default(),
            compress: true,
            delivery_timeout: CloudRunLogger::DEFAULT_TIMEOUT,
            bandwidth: BandwidthOptions::default(),
            bandwidth_path: None,
            sync: SyncOptions { batch_size, ..SyncOptions::default() },
            connectivity: ConnectivityOptions::default(),
            prioritizer: PrioritizerConfig::default(),
        }
    }
}

impl OfflineConfig {
    /// The defaults, with the queue in `storage_path`.
    pub fn new(storage_path: impl Into<PathBuf>) -> Self {
        Self { storage_path: Some(storage_path.into()), ..Self::default() }
    }

    /// The settings of this process: the variables of its environment over
    /// `backhaul.toml` over the defaults.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn load() -> Result<Self, ConfigError> {
        Ok(Settings::load(super::Request::new())?.config().offline.clone())
    }

    /// Checks that the values make sense, one by one and together.
    ///
    /// # Errors
    /// Names the option, what was found and what was expected.
    pub fn check(&self) -> Result<(), OptionError> {
        self.queue_in("").check()?;
        if self.delivery_timeout.is_zero() {
            let found = "0s".to_owned();
            return Err(OptionError::new("delivery_timeout", found, "more than no time"));
        }
        self.bandwidth.check()?;
        self.sync.check()?;
        self.connectivity.check().map_err(in_full)?;
        self.prioritizer().map(drop)
    }

    /// What says which records go first; none where nothing of it is set.
    ///
    /// # Errors
    /// Names the rule or the option, what was found and what was expected.
    pub fn prioritizer(&self) -> Result<Option<SyncPrioritizer>, OptionError> {
        let prioritizer = SyncPrioritizer::from_config(&self.prioritizer).map_err(in_full)?;
        Ok(Some(prioritizer).filter(|_| self.prioritizer != PrioritizerConfig::default()))
    }

    /// What says whether there is a link, for a courier to
    /// [watch](backhaul_sync::SyncManager::watch).
    ///
    /// # Errors
    /// Names the option, what was found and what was expected.
    pub fn monitor(&self) -> Result<ConnectivityMonitor, OptionError> {
        ConnectivityMonitor::new(self.connectivity.clone()).map_err(in_full)
    }

    /// The queue that these settings describe, to be opened.
    ///
    /// # Errors
    /// Where a rule makes no sense, or no folder is named and there is no home folder either.
    pub fn queue(&self) -> Result<OfflineQueueBuilder, ConfigError> {
        let of_home = || Some(super::default_data_dir()?.join(OFFLINE));
        let prioritizer = self.prioritizer().map_err(|error| error.to_string())?;
        match self.storage_path.clone().or_else(of_home) {
            Some(path) => {
                let queue = self.queue_in(path);
                Ok(prioritizer.into_iter().fold(queue, OfflineQueueBuilder::prioritizer))
            }
            None => {
                let problem = "there is no home folder: set storage_path, or BACKHAUL_STORAGE_PATH";
                Err(problem.to_owned().into())
            }
        }
    }

    fn queue_in(&self, path: impl Into<PathBuf>) -> OfflineQueueBuilder {
        let queue = OfflineQueue::builder(path.into());
        let queue = self.expires_after.into_iter().fold(queue, OfflineQueueBuilder::expires_after);
        queue
            .max_queue_size_mb(self.max_queue_size_mb)
            .sync_batch_size(self.sync.batch_size.unwrap_or(SyncOptions::DEFAULT_BATCH_SIZE))
            .when_full(self.when_full)
            .flush(self.flush)
            .keep_synced(self.keep_synced)
            .min_free_bytes(self.min_free.0)
            .hold_in_memory_bytes(usize::try_from(self.hold_in_memory.0).unwrap_or(usize::MAX))
    }

    /// The logger at the hub, where one is named.
    ///
    /// # Errors
    /// Where its key cannot be read, or the machine has no certificates to check an
    /// `https` address with.
    pub fn primary_logger(&self) -> Result<Option<CloudRunLogger>, ConfigError> {
        let Some(url) = &self.runs_url else { return Ok(None) };
        let mut builder = CloudRunLogger::builder(url.as_str())
            .gzip(self.compress)
            .timeout(self.delivery_timeout);
        if let Some(key) = self.api_key.find()? {
            builder = builder.api_key(key.reveal());
        }
        if let Some(budget) = self.budget()? {
            builder = builder.bandwidth(budget);
        }
        builder.build().map(Some).map_err(|error| format!("runs_url: {error}").into())
    }

    /// The data cap, where one is set.
    ///
    /// # Errors
    /// Where it makes no sense, or no folder is named and there is no home folder either.
    pub fn budget(&self) -> Result<Option<BandwidthManager>, ConfigError> {
        let options = self.bandwidth;
        if options.daily_limit_mb.is_none() && options.rate_limit_kbps.is_none() {
            return Ok(None);
        }
        let of_home = || Some(super::default_data_dir()?.join(BANDWIDTH));
        let Some(path) = self.bandwidth_path.clone().or_else(of_home) else {
            let problem = "there is no home folder: set bandwidth_path, or BACKHAUL_BANDWIDTH_PATH";
            return Err(problem.to_owned().into());
        };
        BandwidthManager::new(path, options).map(Some).map_err(|error| error.to_string().into())
    }

    /// The settings of a spool that received records are stored in.
    pub fn spool_options(&self) -> Options {
        Options {
            when_full: self.when_full,
            flush: self.flush,
            keep_delivered_for: self.keep_synced,
            min_free_bytes: self.min_free.0,
            ..Options::default()
        }
    }
}
