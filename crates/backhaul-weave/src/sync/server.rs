//! What is known of the server that is synced with.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use backhaul_sync::{LinkError, LinkErrorKind};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::digests::Digests;
use super::target::Target;
use crate::error::TraceError;
use crate::offline::{OfflineTraceServer, STATE};
use crate::project::ProjectId;
use crate::remote::Remote;

/// The variable that names the entity of projects that were logged without one.
const ENTITY: &str = "WANDB_ENTITY";

const PROJECT: &str = "query Project($name: String!, $entityName: String!) \
    { project(name: $name, entityName: $entityName) { name } }";
const UPSERT_MODEL: &str = "mutation UpsertModel($name: String!, $entity: String!) \
    { upsertModel(input: {name: $name, entityName: $entity}) { model { name } } }";
const DEFAULT_ENTITY: &str = "query DefaultEntity { viewer { username defaultEntity { name } } }";

/// The server, and what was learned of it.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) remote: Remote,
    pub(super) offline: OfflineTraceServer,
    pub(super) digests: Digests,
    /// `/v2/…/calls/complete`, `call/start` and `call/end`.
    pub(super) complete_calls: Support,
    /// `/feedback/batch/create`.
    pub(super) feedback_batch: Support,
    /// `/file/create`, which was called `/files/create`.
    pub(super) file_create: Support,
    /// Batches of which something arrived.
    pub(super) arrived: AtomicU64,
    entity: Option<String>,
    targets: Mutex<BTreeMap<ProjectId, Arc<Target>>>,
}

impl Server {
    pub(super) fn open(offline: OfflineTraceServer, remote: Remote) -> Result<Self, TraceError> {
        let digests = Digests::open(&offline.dir().join(STATE), remote.trace_url())?;
        for (project, id) in digests.internal_ids() {
            offline.set_internal_id(&project, id);
        }
        let entity = std::env::var(ENTITY).ok().filter(|entity| !entity.is_empty());
        Ok(Self {
            remote,
            offline,
            digests,
            complete_calls: Support::default(),
            feedback_batch: Support::default(),
            file_create: Support::default(),
            arrived: AtomicU64::new(0),
            entity,
            targets: Mutex::default(),
        })
    }

    /// Where a project's data goes; the first time the server is asked, and told that there is
    /// such a project.
    pub(super) async fn target(&self, project: &ProjectId) -> Result<Arc<Target>, LinkError> {
        // Held while it is asked: all kinds of a project need the same.
        let mut targets = self.targets.lock().await;
        if let Some(target) = targets.get(project) {
            return Ok(Arc::clone(target));
        }
        let entity = self.entity_of(project).await?;
        let name = self.make_project(&entity, project.project()).await?;
        let real = ProjectId::new(&entity, &name)
            .map_err(|error| LinkError::busy(format!("the server's name for it: {error}")))?;
        let target = Arc::new(Target { local: project.clone(), real });
        self.learn_internal_id(&target).await?;
        targets.insert(project.clone(), Arc::clone(&target));
        Ok(target)
    }

    /// What a project is called there, as far as that is known.
    pub(super) async fn name_of(&self, project: &ProjectId) -> String {
        let targets = self.targets.lock().await;
        targets.get(project).map_or(project, |target| &target.real).to_string()
    }

    /// Whether the server has said what it calls a project. While it is asked it has not.
    pub(super) fn knows(&self, project: &ProjectId) -> bool {
        self.targets.try_lock().is_ok_and(|targets| targets.contains_key(project))
    }

    async fn entity_of(&self, project: &ProjectId) -> Result<String, LinkError> {
        if project.entity() != ProjectId::NO_ENTITY {
            return Ok(project.entity().to_owned());
        }
        if let Some(entity) = &self.entity {
            return Ok(entity.clone());
        }
        let said = self.remote.graphql(DEFAULT_ENTITY, json!({})).await?;
        let names = [&said["viewer"]["defaultEntity"]["name"], &said["viewer"]["username"]];
        names.into_iter().find_map(Value::as_str).map(ToOwned::to_owned).ok_or_else(|| {
            LinkError::refused(format!(
                "the server names no default entity for {project}: set {ENTITY}"
            ))
        })
    }

    /// The name that a project has on the server, where it is made if there is none.
    async fn make_project(&self, entity: &str, name: &str) -> Result<String, LinkError> {
        let asked = json!({"name": name, "entityName": entity});
        let said = match self.remote.graphql(PROJECT, asked).await {
            // A trace server without projects of its own.
            Err(error) if super::fates::is_no_path(&error) => return Ok(name.to_owned()),
            said => said?,
        };
        if let Some(known) = said["project"]["name"].as_str() {
            return Ok(known.to_owned());
        }
        let asked = json!({"name": name, "entity": entity});
        let said = self.remote.graphql(UPSERT_MODEL, asked).await?;
        Ok(said["upsertModel"]["model"]["name"].as_str().unwrap_or(name).to_owned())
    }

    /// What the server calls the project, so that digests are right from now on. Older
    /// servers do not say.
    async fn learn_internal_id(&self, target: &Target) -> Result<(), LinkError> {
        let asked = json!({"project_ids": [target.real.to_string()]});
        let said = match self.remote.post_json("/service/projects_info", &asked).await {
            Ok(said) => said,
            Err(error) if error.kind() == LinkErrorKind::Refused && error.status() != Some(401) => {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let Some(id) = said[0]["internal_project_id"].as_str() else { return Ok(()) };
        for project in [&target.local, &target.real] {
            self.offline.set_internal_id(project, id);
            let noted = self.digests.note_internal_id(project, id);
            noted.map_err(|error| not_written(&error))?;
        }
        Ok(())
    }
}

/// Digests that cannot be written down: nothing is settled that depends on them.
pub(super) fn not_written(error: &io::Error) -> LinkError {
    LinkError::busy(format!("the server's digests cannot be written down: {error}"))
}

/// Whether the server has a path, as far as that is known.
#[derive(Debug, Default)]
pub(super) struct Support(AtomicU8);

impl Support {
    const NO: u8 = 1;
    const YES: u8 = 2;

    /// Whether it is worth trying.
    pub(super) fn is_likely(&self) -> bool {
        self.0.load(Ordering::Relaxed) != Self::NO
    }

    pub(super) fn note(&self, is_there: bool) {
        self.0.store(if is_there { Self::YES } else { Self::NO }, Ordering::Relaxed);
    }
}
