//! Puts loggers, queues and couriers together as a configuration says.

use std::fmt;
use std::sync::Arc;

use backhaul_agent::{
    InMemoryRunLogger, OfflineQueue, OfflineRunLogger, OfflineRunLoggerBuilder, QueueError,
    RunLogger,
};
use backhaul_llm::{LlmClient, OfflineLlmClient};
use backhaul_sync::{OptionError, SyncManager};

#[cfg(feature = "control")]
use super::ControlSocket;
use super::OutageSwitch;
#[cfg(feature = "control")]
use crate::config::HubUrl;
use crate::config::{
    Config, ConfigError, ModelsConfig, OfflineConfig, Reloaded, Request, Settings,
};

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

/// A courier from `queue` to the destination that it is bound to, with a monitor that says
/// whether there is a link. It is not started yet. [`create_offline_logger`] has an example.
///
/// # Errors
/// Where the configuration makes no sense, or the queue has no destination.
pub fn create_sync_manager(
    queue: &OfflineQueue,
    config: &OfflineConfig,
) -> Result<SyncManager, FactoryError> {
    config.check()?;
    let courier = queue.sync_manager(config.sync.clone())?;
    courier.watch(&config.monitor()?);
    Ok(courier)
}

/// A client of models that asks `primary`, and `fallback` where that does not answer, as the
/// configuration's `llm_*` settings say how long and how often. [`ModelsConfig::client`] makes
/// the models too.
///
/// ```no_run
/// use backhaul::config::ModelsConfig;
/// use backhaul::llm::{ApiKey, CloudLlmClient, LocalLlmClient, OpenAiClient};
/// use backhaul::offline::create_offline_llm_client;
/// let cloud: OpenAiClient = CloudLlmClient::new(ApiKey::from_env("OPENAI_API_KEY")?, "gpt-5")?.into();
/// let local: OpenAiClient = LocalLlmClient::new("http://127.0.0.1:11434/v1")?.into();
/// let client = create_offline_llm_client(cloud, local, &ModelsConfig::default())?;
/// # drop(client);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Where the configuration makes no sense.
pub fn create_offline_llm_client(
    primary: impl LlmClient + 'static,
    fallback: impl LlmClient + 'static,
    config: &ModelsConfig,
) -> Result<OfflineLlmClient, FactoryError> {
    let builder = OfflineLlmClient::builder(primary).fallback(fallback);
    Ok(builder.options(config.options()).build()?)
}

/// A logger with its queue and courier, as the environment of this process and
/// `backhaul.toml` say: `BACKHAUL_STORAGE_PATH` or `CEMAF_OFFLINE_STORAGE_PATH`,
/// `BACKHAUL_MAX_QUEUE_MB` or `CEMAF_OFFLINE_MAX_QUEUE_MB`, and all the others of
/// [`KEYS`](crate::config::KEYS).
///
/// Records are delivered to the hub at `runs_url`; without one they only queue up. The
/// courier obeys `backhaul outage`, and once it is started all commands of `backhaul` work
/// on the agent while it runs. The newest runs are also kept in memory, for reads.
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
/// let mut agent = create_offline_logger_from_config()?;
/// agent.start().await;
/// agent.logger.start_run("run_001".into());
/// agent.logger.end_run(RunEnd::new())?;
/// assert_eq!(agent.recent.get_history().len(), 1);
/// agent.stop().await;
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
    /// The courier; none where no hub is named.
    pub courier: Option<SyncManager>,
    /// The newest runs, in memory.
    pub recent: InMemoryRunLogger,
    settings: Settings,
    /// That of the data dir; none where there is none.
    outage: Option<Arc<OutageSwitch>>,
    #[cfg(feature = "control")]
    control: Option<ControlSocket>,
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
        let Config { data_dir, outage, .. } = settings.config();
        let outage = data_dir.as_ref().map(|dir| Arc::new(OutageSwitch::of(dir, *outage)));
        if let (Some(courier), Some(switch)) = (&courier, outage.clone()) {
            courier.offline_while(move || switch.outage());
        }
        Ok(Self {
            logger,
            courier,
            recent,
            settings,
            outage,
            #[cfg(feature = "control")]
            control: None,
        })
    }

    /// Starts the courier, and with the feature `control` its [control socket](ControlSocket),
    /// so that the commands of `backhaul` reach this process. Where no hub is named, nothing
    /// is started. To be called from inside a tokio runtime that lives as long as the agent.
    pub async fn start(&mut self) {
        let Some(courier) = &self.courier else { return };
        courier.start().await;
        #[cfg(feature = "control")]
        if let (None, Some(outage)) = (&self.control, self.outage.clone()) {
            let url = self.config().offline.runs_url.as_ref().map_or("", HubUrl::as_str);
            self.control = Some(ControlSocket::serve(courier, url, outage));
        }
    }

    /// Stops the courier: a batch under way is waited for, as long as
    /// [`SyncOptions::stop_timeout`](backhaul_sync::SyncOptions::stop_timeout) says. What is
    /// not delivered waits for the next [`start`](ConfiguredLogger::start).
    pub async fn stop(&mut self) {
        if let Some(courier) = &self.courier {
            courier.stop().await;
        }
        #[cfg(feature = "control")]
        if let Some(control) = self.control.take() {
            control.stop().await;
        }
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use backhaul_agent::RunEnd;
    use backhaul_sync::BlockedKind;
    use backhaul_testkit::{Answer, FaultServer, Intake};

    use super::*;
    use crate::config::OutageSetting;

    fn configured(folder: &Path, text: &str) -> ConfiguredLogger {
        let path = folder.join("backhaul.toml");
        std::fs::write(&path, format!("data_dir = \"data\"\n{text}")).unwrap();
        let settings = Settings::load(Request::new().file(path)).unwrap();
        ConfiguredLogger::new(settings).unwrap()
    }

    fn one_run(logger: &OfflineRunLogger) {
        logger.start_run("run_001".into());
        logger.end_run(RunEnd::new()).unwrap();
    }

    #[tokio::test]
    async fn runs_go_to_the_hub_that_is_named_with_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let hub = FaultServer::hub(&Intake::new()).unwrap();
        std::fs::write(folder.path().join("key"), "s3cret\n").unwrap();
        let text = format!(
            "runs_url = \"http://{}\"\napi_key_file = \"key\"\ncompress = false",
            hub.address()
        );
        let agent = configured(folder.path(), &text);
        one_run(&agent.logger);
        let courier = agent.courier.as_ref().unwrap();
        assert_eq!(courier.sync_now().await.synced, 1);
        let [request] = hub.requests().try_into().unwrap();
        assert_eq!(request.header("authorization"), Some("Bearer s3cret"));
        assert_eq!(request.header("content-encoding"), None);
        assert_eq!(agent.recent.get_history().len(), 1);
        assert!(folder.path().join("data/offline/synced").is_dir());
    }

    #[test]
    fn without_a_hub_runs_only_queue_up() {
        let folder = tempfile::tempdir().unwrap();
        let agent = configured(folder.path(), "max_queue_size_mb = 7");
        one_run(&agent.logger);
        assert!(agent.courier.is_none());
        let stats = agent.logger.offline_queue().stats().unwrap();
        assert_eq!((stats.pending, stats.max_bytes), (1, 7_000_000));
    }

    #[test]
    fn the_queue_is_told_all_that_is_set() {
        let config = OfflineConfig {
            max_queue_size_mb: 7,
            when_full: backhaul_store::WhenFull::DropOldest,
            flush: backhaul_store::Flush::Never,
            keep_synced: std::time::Duration::from_secs(11),
            min_free: crate::config::ByteSize(12),
            hold_in_memory: crate::config::ByteSize(13),
            ..OfflineConfig::new("/q")
        };
        let queue = format!("{:?}", config.queue().unwrap());
        for told in [
            "storage_path: \"/q\"",
            "max_queue_size_mb: 7",
            "when_full: DropOldest",
            "flush: Never",
            "keep_delivered_for: 11s",
            "min_free_bytes: 12",
            "hold_in_memory_bytes: 13",
        ] {
            assert!(queue.contains(told), "{told}: {queue}");
        }
    }

    #[test]
    fn a_reload_reaches_the_courier_and_not_the_queue() {
        let folder = tempfile::tempdir().unwrap();
        let hub = "runs_url = \"http://127.0.0.1:9\"\n";
        let mut agent = configured(folder.path(), hub);
        let path = folder.path().join("backhaul.toml");
        let rewrite = |text: &str| std::fs::write(&path, text).unwrap();

        rewrite("data_dir = \"data\"\nmax_retries = 9\nmax_queue_size_mb = 7");
        let reloaded = agent.reload().unwrap();
        let names = |changes: &[crate::config::Change]| -> Vec<&str> {
            changes.iter().map(crate::config::Change::name).collect()
        };
        assert_eq!(names(&reloaded.applied), ["max_retries"]);
        assert_eq!(names(&reloaded.kept), ["max_queue_size_mb", "runs_url"]);
        let courier = agent.courier.as_ref().unwrap();
        assert_eq!(courier.options().max_retries, 9);
        assert_eq!(agent.logger.offline_queue().stats().unwrap().max_bytes, 100_000_000);

        rewrite("max_retries = 1\nmax_queue_size_mb = 0");
        let error = agent.reload().unwrap_err().to_string();
        assert!(error.ends_with("max_queue_size_mb is 0: expected at least 1"), "{error}");
        assert_eq!(agent.courier.as_ref().unwrap().options().max_retries, 9);
    }

    #[tokio::test]
    async fn rules_that_are_configured_choose_lane_and_order() {
        let folder = tempfile::tempdir().unwrap();
        let intake = Intake::new();
        let hub = FaultServer::hub(&intake).unwrap();
        let rules = "high_score = 50\n[[rules]]\nname = \"failed\"\nfield = \"success\"\n\
                     compare = \"==\"\nvalue = false\npoints = 80";
        let text = format!("runs_url = \"http://{}\"\n{rules}", hub.address());
        let agent = configured(folder.path(), &text);
        one_run(&agent.logger);
        agent.logger.start_run("run_002".into());
        agent.logger.end_run(RunEnd::failed("it broke")).unwrap();
        assert_eq!(agent.courier.as_ref().unwrap().sync_now().await.synced, 2);
        let bodies = intake.items().into_iter().map(|item| String::from_utf8(item.body).unwrap());
        let bodies: Vec<String> = bodies.collect();
        assert!(bodies[0].contains("run_002"), "{bodies:?}");
    }

    #[tokio::test]
    async fn the_link_is_watched_as_configured_and_offline_nothing_is_sent() {
        let folder = tempfile::tempdir().unwrap();
        let intake = Intake::new();
        let hub = FaultServer::hub(&intake).unwrap();
        let other = FaultServer::new(|_| Answer::ok("ok")).unwrap();
        let text = format!("runs_url = \"{}\"\ncheck_urls = [\"{}\"]", hub.url(), other.url());
        let agent = configured(folder.path(), &text);
        one_run(&agent.logger);
        let courier = agent.courier.as_ref().unwrap();
        let monitor = courier.monitor().unwrap();
        assert_eq!(monitor.options().check_urls.len(), 1);
        monitor.set_offline();
        let why = courier.sync_now().await.blocked_by.unwrap();
        assert_eq!(why.to_string(), "offline was set by hand");
        monitor.clear_override();
        courier.start().await;
        let mut state = monitor.subscribe();
        let online = state.wait_for(|state| state.is_online());
        tokio::time::timeout(Duration::from_secs(60), online).await.unwrap().unwrap();
        courier.stop().await;
        assert!(!other.requests().is_empty());
    }

    #[tokio::test]
    async fn the_outage_switch_of_the_data_dir_is_obeyed() {
        let folder = tempfile::tempdir().unwrap();
        let hub = FaultServer::hub(&Intake::new()).unwrap();
        let text = format!("runs_url = \"http://{}\"", hub.address());
        let agent = configured(folder.path(), &text);
        one_run(&agent.logger);
        let courier = agent.courier.as_ref().unwrap();
        let switch = OutageSwitch::of(&folder.path().join("data"), OutageSetting::Off);
        switch.turn_on(None).unwrap();
        let report = courier.sync_now().await;
        assert_eq!((report.remaining, report.blocked_by.unwrap().kind), (1, BlockedKind::Outage));
        assert!(hub.requests().is_empty());
        switch.turn_off().unwrap();
        assert_eq!(courier.sync_now().await.synced, 1);
    }

    #[test]
    fn a_configuration_without_sense_opens_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue");
        let config = OfflineConfig { max_queue_size_mb: 0, ..OfflineConfig::new(&path) };
        let [primary, fallback] = [InMemoryRunLogger::new(), InMemoryRunLogger::new()];
        let error = create_offline_logger(primary, fallback, &config).unwrap_err();
        assert_eq!(error.to_string(), "max_queue_size_mb is 0: expected at least 1");
        assert!(!path.exists());
    }
}
