//! Puts loggers, queues and couriers together as a configuration says.

use std::fmt;

use backhaul_agent::{
    InMemoryRunLogger, OfflineQueue, OfflineRunLogger, OfflineRunLoggerBuilder, QueueError,
    RunLogger,
};
use backhaul_sync::{OptionError, SyncManager};

use crate::config::{Config, ConfigError, OfflineConfig, Reloaded, Request, Settings};

/// A logger that delivers to `primary` when the link allows, and shows every event to
/// `fallback`. Its queue is as `config` says; `runs_url` and the key are not looked at.
///
/// ```
/// use backhaul::observability::{InMemoryRunLogger, RunEnd, RunLogger};
/// use backhaul::offline::{OfflineConfig, create_offline_logger, create_sync_manager};
///
/// # let dir = std::env::temp_dir().join(format!("backhaul-factory-doc-{}", std::process::id()));
/// # let (my_cloud_logger, my_local_logger) = (InMemoryRunLogger::new(), InMemoryRunLogger::new());
/// # let arrived = my_cloud_logger.clone();
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let config = OfflineConfig {
///     storage_path: Some(dir.clone()),
///     max_queue_size_mb: 100,
///     ..OfflineConfig::default()
/// };
/// let logger = create_offline_logger(my_cloud_logger, my_local_logger, &config)?;
/// let courier = create_sync_manager(logger.offline_queue(), &config)?;
///
/// logger.start_run("run_001".into());
/// logger.end_run(RunEnd::new())?;
/// assert_eq!(courier.sync_now().await.synced, 1);
/// # assert_eq!(arrived.get_history().len(), 1);
/// # drop((logger, courier));
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Where the configuration makes no sense or the queue cannot be opened.
pub fn create_offline_logger(
    primary: impl RunLogger + 'static,
    fallback: impl RunLogger + 'static,
    config: &OfflineConfig,
) -> Result<OfflineRunLogger, FactoryError> {
    let logger = OfflineRunLogger::builder().primary(primary).fallback(fallback);
    with_queue(logger, config)
}

/// A courier from `queue` to the destination that it is bound to. It is not started yet.
/// [`create_offline_logger`] has an example.
///
/// # Errors
/// Where the configuration makes no sense, or the queue has no destination.
pub fn create_sync_manager(
    queue: &OfflineQueue,
    config: &OfflineConfig,
) -> Result<SyncManager, FactoryError> {
    config.check()?;
    Ok(queue.sync_manager(config.sync.clone())?)
}

/// A logger with its queue and courier, as the environment of this process and
/// `backhaul.toml` say: `BACKHAUL_STORAGE_PATH` or `CEMAF_OFFLINE_STORAGE_PATH`,
/// `BACKHAUL_MAX_QUEUE_MB` or `CEMAF_OFFLINE_MAX_QUEUE_MB`, and all the others of
/// [`KEYS`](crate::config::KEYS).
///
/// Records are delivered to the hub at `runs_url`; without one they only queue up. The
/// newest runs are also kept in memory, for reads.
///
/// ```
/// use backhaul::observability::{RunEnd, RunLogger};
/// use backhaul::offline::create_offline_logger_from_config;
///
/// # let dir = std::env::temp_dir().join(format!("backhaul-from-config-doc-{}", std::process::id()));
/// # unsafe {
/// #     std::env::set_var("BACKHAUL_CONFIG", "/dev/null");
/// #     std::env::set_var("CEMAF_OFFLINE_STORAGE_PATH", &dir);
/// #     std::env::set_var("CEMAF_OFFLINE_MAX_QUEUE_MB", "7");
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let agent = create_offline_logger_from_config()?;
/// if let Some(courier) = &agent.courier {
///     courier.start().await;
/// }
/// agent.logger.start_run("run_001".into());
/// agent.logger.end_run(RunEnd::new())?;
/// assert_eq!(agent.recent.get_history().len(), 1);
/// # assert_eq!(agent.logger.offline_queue().stats()?.max_bytes, 7_000_000);
/// # assert!(dir.join("pending").is_dir());
/// # drop(agent);
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Everything that is wrong with the settings, or why the queue cannot be opened.
pub fn create_offline_logger_from_config() -> Result<ConfiguredLogger, FactoryError> {
    ConfiguredLogger::new(Settings::load(Request::new())?)
}

/// A logger with its courier, put together from [`Settings`].
#[derive(Debug)]
pub struct ConfiguredLogger {
    /// The logger, with its queue.
    pub logger: OfflineRunLogger,
    /// The courier, to be started; none where no hub is named.
    pub courier: Option<SyncManager>,
    /// The newest runs, in memory.
    pub recent: InMemoryRunLogger,
    settings: Settings,
}

impl ConfiguredLogger {
    /// Opens the queue, and makes the logger and the courier.
    ///
    /// # Errors
    /// Where the hub's key cannot be read or the queue cannot be opened.
    pub fn new(settings: Settings) -> Result<Self, FactoryError> {
        let config = &settings.config().offline;
        let recent = InMemoryRunLogger::new();
        let mut builder = OfflineRunLogger::builder().fallback(recent.clone());
        let primary = config.primary_logger()?;
        let has_primary = primary.is_some();
        if let Some(primary) = primary {
            builder = builder.primary(primary);
        }
        let logger = with_queue(builder, config)?;
        let courier = match has_primary {
            true => Some(create_sync_manager(logger.offline_queue(), config)?),
            false => None,
        };
        Ok(Self { logger, courier, recent, settings })
    }

    /// The settings that hold.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Reads the settings again and applies what can change while the agent runs. The
    /// answer also names what keeps its value until a restart.
    ///
    /// # Errors
    /// Everything that is wrong with the settings. Nothing is changed then.
    pub fn reload(&mut self) -> Result<Reloaded, FactoryError> {
        let reloaded = self.settings.reload()?;
        if let Some(courier) = &self.courier {
            courier.set_options(self.config().offline.sync.clone())?;
        }
        Ok(reloaded)
    }

    fn config(&self) -> &Config {
        self.settings.config()
    }
}

fn with_queue(
    builder: OfflineRunLoggerBuilder,
    config: &OfflineConfig,
) -> Result<OfflineRunLogger, FactoryError> {
    config.check()?;
    Ok(builder.queue(config.queue()?.open()?).build()?)
}

/// Why something could not be put together.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum FactoryError {
    /// The settings.
    Config(ConfigError),
    /// The queue.
    Queue(QueueError),
}

impl fmt::Display for FactoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FactoryError::Config(error) => error.fmt(f),
            FactoryError::Queue(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for FactoryError {}

impl From<ConfigError> for FactoryError {
    fn from(error: ConfigError) -> Self {
        FactoryError::Config(error)
    }
}

impl From<OptionError> for FactoryError {
    fn from(error: OptionError) -> Self {
        FactoryError::Config(error.to_string().into())
    }
}

impl From<QueueError> for FactoryError {
    fn from(error: QueueError) -> Self {
        FactoryError::Queue(error)
    }
}
