//! One sync, from beginning to end.

use std::path::{Path, PathBuf};
use std::time::Duration;

use backhaul_sync::{SyncOptions, Transport, Url};

use super::forwarder::WeaveForwarder;
use super::statistics::SyncStatistics;
use crate::client::WeaveClient;
use crate::credentials::Credentials;
use crate::error::{TraceError, TraceErrorKind};
use crate::offline::{OfflineOptions, OfflineTraceServer};
use crate::project::ProjectId;
use crate::remote::Remote;

/// How long a request may take: a large file takes most of it on a slow link.
const TIMEOUT: Duration = Duration::from_secs(300);

/// What [`sync_offline_data`] is told. All of it has defaults.
#[derive(Debug, Clone, Default)]
pub struct SyncArguments {
    /// The folder. Default: that of the active client ([`client`](crate::client)), else
    /// [`OfflineTraceServer::default_dir`].
    pub offline_dir: Option<PathBuf>,
    /// The one project that is synced, as `entity/project`, or a project that was logged without
    /// an entity. Default: all.
    pub project_name: Option<String>,
    /// The key. Default: that of the active client, where it has the same server, else as of
    /// [`Credentials`].
    pub api_key: Option<String>,
    /// The trace server. Default: that of the active client, else `WF_TRACE_SERVER_URL`, else
    /// as of [`Remote::new`].
    pub trace_url: Option<String>,
    /// The server of projects. Default: that of the active client, else `WANDB_BASE_URL`, else
    /// the hosted one.
    pub wandb_url: Option<String>,
}

/// Delivers what a folder holds, of one project or of all, and says what came of it. Safe to
/// repeat, whatever became of it before. What the active client has logged so far is among it.
///
/// A server that cannot be reached is no error: its records count as errors, and wait.
///
/// # Errors
/// [`TraceErrorKind::NoCredentials`] where no key is known, [`TraceErrorKind::NotFound`] where
/// nothing of the project is here, and where the folder cannot be read.
///
/// ```no_run
/// use backhaul_weave::{Kind, SyncArguments, sync_offline_data};
///
/// # async fn example() -> Result<(), backhaul_weave::TraceError> {
/// let statistics = sync_offline_data(SyncArguments {
///     project_name: Some("my_team/my_project".into()),
///     ..SyncArguments::default()
/// })
/// .await?;
/// let (synced, errors) = statistics["my_team/my_project"][&Kind::Calls];
/// println!("{synced} records of calls, {errors} errors");
/// # Ok(())
/// # }
/// ```
pub async fn sync_offline_data(arguments: SyncArguments) -> Result<SyncStatistics, TraceError> {
    let SyncArguments { offline_dir, project_name, api_key, trace_url, wandb_url } = arguments;
    let active = crate::client();
    let remote = remote_beside(active.as_ref(), api_key, trace_url, wandb_url)?;
    let dir_of_client = active.as_ref().map(|client| client.server().dir().to_owned());
    let offline_dir = offline_dir.or_else(|| dir_of_client.clone());
    let offline_dir = offline_dir.or_else(OfflineTraceServer::default_dir).ok_or_else(|| {
        let message = "there is no home folder to find offline data in: name offline_dir";
        TraceError::new(TraceErrorKind::InvalidInput, message)
    })?;
    let of_client = active.filter(|client| is_same(client.server().dir(), &offline_dir));
    let Some(client) = of_client else {
        let syncer = OfflineDataSyncer::new(remote, offline_dir)?;
        return syncer.sync_named(project_name.as_deref()).await;
    };
    let flushed = client.clone();
    let flushed = tokio::task::spawn_blocking(move || flushed.flush()).await;
    flushed.unwrap_or(Ok(()))?;
    let offline = client.server().clone();
    let Some((forwarder, runtime)) = client.online() else {
        let syncer = OfflineDataSyncer::of_server(remote, offline, SyncOptions::default())?;
        return syncer.sync_named(project_name.as_deref()).await;
    };
    // It delivers from the folder already, and belongs to a runtime of its own.
    remote.credentials().key(remote.wandb_url())?;
    let syncer = OfflineDataSyncer { offline, forwarder };
    let syncing = runtime.spawn(async move { syncer.sync_named(project_name.as_deref()).await });
    syncing.await.unwrap_or_else(|error| {
        Err(TraceError::new(TraceErrorKind::Store, format!("delivery ended: {error}")))
    })
}

fn is_same(left: &Path, right: &Path) -> bool {
    let canonical = |path: &Path| std::fs::canonicalize(path).ok();
    left == right || canonical(left).is_some_and(|left| canonical(right) == Some(left))
}

/// The server that is meant: the active client's, where no other is named.
fn remote_beside(
    active: Option<&WeaveClient>,
    api_key: Option<String>,
    trace_url: Option<String>,
    wandb_url: Option<String>,
) -> Result<Remote, TraceError> {
    let is_named = api_key.is_some() || trace_url.is_some() || wandb_url.is_some();
    let Some(active) = active else { return remote_of(api_key, trace_url, wandb_url) };
    if !is_named {
        return Ok(active.remote().clone());
    }
    let has_key = api_key.is_some();
    let (trace_url, wandb_url) = match (trace_url, wandb_url) {
        (None, None) => {
            let url = |url: &Url| url.as_str().to_owned();
            (Some(url(active.remote().trace_url())), Some(url(active.remote().wandb_url())))
        }
        named => named,
    };
    let remote = remote_of(api_key, trace_url, wandb_url)?;
    // A key is for the server that it was given for.
    if !has_key
        && remote.wandb_url() == active.remote().wandb_url()
        && let Ok(key) = active.remote().credentials().key(remote.wandb_url())
    {
        remote.credentials().note_client_key(&key);
    }
    Ok(remote)
}

/// The real server that the environment names, with the key as of [`Credentials`]:
/// `WF_TRACE_SERVER_URL` and `WANDB_BASE_URL`, else the hosted one.
///
/// # Errors
/// As of [`Remote::new`].
///
/// ```
/// let remote = backhaul_weave::init_weave_get_server(Some("0123abcd".into()))?;
/// assert!(!format!("{remote:?}").contains("0123abcd"));
/// # Ok::<(), backhaul_weave::TraceError>(())
/// ```
pub fn init_weave_get_server(api_key: Option<String>) -> Result<Remote, TraceError> {
    remote_of(api_key, None, None)
}

pub(crate) fn remote_of(
    api_key: Option<String>,
    trace_url: Option<String>,
    wandb_url: Option<String>,
) -> Result<Remote, TraceError> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    // Who names a server means it, and not the one of the environment beside it.
    let (trace_url, wandb_url) = match (trace_url, wandb_url) {
        (None, None) => (variable("WF_TRACE_SERVER_URL"), variable("WANDB_BASE_URL")),
        (trace_url, None) => (trace_url, variable("WANDB_BASE_URL")),
        given => given,
    };
    let transport = Transport::new(TIMEOUT)
        .map_err(|error| TraceError::new(TraceErrorKind::InvalidInput, error.to_string()))?;
    let credentials = Credentials::new(api_key);
    Remote::new(transport, trace_url.as_deref(), wandb_url.as_deref(), credentials)
}

/// Delivers what a folder holds to a server, when it is told to, and cleans up.
#[derive(Debug, Clone)]
pub struct OfflineDataSyncer {
    offline: OfflineTraceServer,
    forwarder: WeaveForwarder,
}

impl OfflineDataSyncer {
    /// How old what is cleaned is where nobody says otherwise, in days.
    pub const OLDER_THAN_DAYS: u64 = 7;

    /// A syncer between a folder and a server.
    ///
    /// # Errors
    /// [`TraceErrorKind::NoCredentials`] where no key is known for the server, and where the
    /// folder cannot be read.
    pub fn new(remote: Remote, offline_dir: impl AsRef<Path>) -> Result<Self, TraceError> {
        let offline = OfflineTraceServer::open(offline_dir, OfflineOptions::default())?;
        Self::of_server(remote, offline, SyncOptions::default())
    }

    /// The same with a folder that is open already.
    ///
    /// # Errors
    /// As of [`new`](Self::new), and for options that make no sense.
    pub fn of_server(
        remote: Remote,
        offline: OfflineTraceServer,
        options: SyncOptions,
    ) -> Result<Self, TraceError> {
        remote.credentials().key(remote.wandb_url())?;
        let forwarder = WeaveForwarder::new(offline.clone(), remote, options)?;
        Ok(Self { offline, forwarder })
    }

    /// Delivers what waits of all projects. Records that are put off are waited for, as long as
    /// their retries go.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub async fn sync(&self) -> Result<SyncStatistics, TraceError> {
        self.forwarder.drain(None).await
    }

    /// Delivers what waits of one project, named as for [`SyncArguments::project_name`].
    ///
    /// # Errors
    /// [`TraceErrorKind::NotFound`] where nothing of it is here, and where the folder cannot be
    /// read.
    pub async fn sync_project(&self, project: &str) -> Result<SyncStatistics, TraceError> {
        let project: ProjectId = project.parse().map_err(|error: crate::ProjectError| {
            TraceError::new(TraceErrorKind::InvalidInput, error.to_string())
        })?;
        if !self.offline.projects()?.contains(&project) {
            let dir = self.offline.dir().display();
            let message = format!("nothing of the project {project} is in {dir}");
            return Err(TraceError::new(TraceErrorKind::NotFound, message));
        }
        self.forwarder.drain(Some(&project)).await
    }

    async fn sync_named(&self, project: Option<&str>) -> Result<SyncStatistics, TraceError> {
        match project {
            Some(project) => self.sync_project(project).await,
            None => self.sync().await,
        }
    }

    /// Removes the files of which everything arrived, and the bytes that no other file's
    /// records name, when all of it is so old, and says how many there were. Where nothing else
    /// is said: 7 days, [`OLDER_THAN_DAYS`](Self::OLDER_THAN_DAYS). It waits for the disk.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    ///
    /// ```
    /// # use backhaul_sync::Transport;
    /// # use backhaul_weave::{Credentials, OfflineDataSyncer, Remote};
    /// # let dir = tempfile::tempdir()?;
    /// # let transport = Transport::new(std::time::Duration::from_secs(60))?;
    /// let remote = Remote::new(transport, None, None, Credentials::new(Some("key".into())))?;
    /// let syncer = OfflineDataSyncer::new(remote, dir.path())?;
    /// assert_eq!(syncer.clean_synced_files(OfflineDataSyncer::OLDER_THAN_DAYS)?, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clean_synced_files(&self, older_than_days: u64) -> Result<u64, TraceError> {
        let day = Duration::from_secs(24 * 3600);
        let older_than = day.saturating_mul(u32::try_from(older_than_days).unwrap_or(u32::MAX));
        Ok(self.offline.clean_synced_files(older_than)?.files)
    }

    /// The couriers that it delivers with, to be given a monitor, an outage or a callback.
    pub fn forwarder(&self) -> &WeaveForwarder {
        &self.forwarder
    }
}
