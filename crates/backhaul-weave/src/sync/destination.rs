//! Where the records of a kind go: to the server, once all that they refer to went there.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use backhaul_store::{Batch, Spool, StoredRecord};
use backhaul_sync::{
    BandwidthManager, Deliver, Destination, LinkError, LinkErrorKind, Verdict, Way,
};

use super::couriers::ProjectCouriers;
use super::fates::is_failure_of_the_server;
use super::job::Job;
use super::memory::Memory;
use super::{calls, feedback};
use crate::entry::Entry;
use crate::kind::Kind;
use crate::remote::Remote;

/// Delivers one kind of a project's data.
///
/// What a record refers to was stored before it. So once a batch was taken, and the kinds before
/// it were delivered as far as nothing is in the way, all that it refers to was delivered,
/// refused or put off, and the server's digests of it are known.
#[derive(Debug)]
pub(super) struct KindDestination {
    project: Weak<ProjectCouriers>,
    remote: Remote,
    kind: Kind,
    spool: Spool,
    memory: Arc<Mutex<Memory>>,
}

impl KindDestination {
    pub(super) fn new(
        project: &Arc<ProjectCouriers>,
        kind: Kind,
        spool: Spool,
        memory: Arc<Mutex<Memory>>,
    ) -> Self {
        let remote = project.server.remote.clone();
        Self { project: Arc::downgrade(project), remote, kind, spool, memory }
    }

    async fn send(&self, batch: &Batch) -> Result<Vec<Verdict>, LinkError> {
        let Some(project) = self.project.upgrade() else {
            return Err(LinkError::busy("the courier is being stopped"));
        };
        project.deliver_before(self.kind).await?;
        let server = Arc::clone(&project.server);
        let target = server.target(&project.project).await.map_err(of_no_record)?;
        server.digests.refresh().map_err(|error| {
            LinkError::busy(format!("the server's digests cannot be read: {error}"))
        })?;
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).doubt.begin(batch);
        let (spool, memory) = (self.spool.clone(), Arc::clone(&self.memory));
        let job = Job::new(server, target, spool, self.kind, memory, batch.chain.lane);
        let said = match self.kind {
            Kind::Calls => calls::deliver(&job, batch).await,
            Kind::Feedback => feedback::deliver(&job, batch).await,
            _ => job.one_by_one(batch).await.conclude(),
        };
        self.judge(&job, batch, said)
    }

    /// A record over which the server fails alone is to blame where records of any kind have
    /// arrived between two tries. In its own spool there may be no other that could show it,
    /// and the kinds after it would wait for ever.
    fn judge(
        &self,
        job: &Job,
        batch: &Batch,
        said: Result<Vec<Verdict>, LinkError>,
    ) -> Result<Vec<Verdict>, LinkError> {
        let mut memory = job.memory();
        let arrived = &job.server.arrived;
        match (&said, &*batch.records) {
            (Ok(verdicts), _) if verdicts.contains(&Verdict::Delivered) => {
                arrived.fetch_add(1, Ordering::Relaxed);
                memory.arrived();
                said
            }
            (Err(error), [offer]) if is_failure_of_the_server(error) => {
                let is_its_fault =
                    memory.failed_alone(offer.record.id, arrived.load(Ordering::Relaxed));
                if !is_its_fault {
                    return said;
                }
                let reason = error.to_string();
                Ok(vec![Verdict::Later { reason, retry_after: None, spends_retry: true }])
            }
            _ => said,
        }
    }
}

/// Nothing of the batch was sent when the server did not answer what a project is called: no
/// smaller one would do better.
fn of_no_record(error: LinkError) -> LinkError {
    match error.kind() {
        LinkErrorKind::Timeout => LinkError::unreachable(error.reason()),
        _ => error,
    }
}

impl Destination for KindDestination {
    fn deliver<'a>(&'a self, batch: &'a Batch) -> Deliver<'a> {
        Box::pin(self.send(batch))
    }

    fn size(&self, record: &StoredRecord) -> u64 {
        let of_file = || Entry::of_record(record).ok()?.value()["size"].as_u64();
        let of_file = (self.kind == Kind::Files).then(of_file).flatten();
        record.body.len() as u64 + of_file.unwrap_or(0)
    }

    fn bandwidth(&self) -> Option<&BandwidthManager> {
        self.remote.transport().budget()
    }

    fn way(&self) -> Option<Way> {
        Some(self.remote.way())
    }

    fn forget_connections(&self) {
        self.remote.transport().forget_connections();
    }
}
