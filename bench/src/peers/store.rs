//! What is asked of each store.

use std::error::Error;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use crate::device::Process;

pub type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A store of records, open. Dropped, it is closed.
pub trait Store: Send + Sync {
    /// Stores a record, and returns when it is acknowledged.
    fn append(&self, body: &[u8]) -> Outcome<()>;

    /// Stores several in the quickest way, and returns when all are acknowledged.
    fn append_all(&self, bodies: &[Vec<u8>]) -> Outcome<()> {
        bodies.iter().try_for_each(|body| self.append(body))
    }

    /// The next records that wait, in order, behind those that were taken; none: that was all.
    /// Without settling, 4,096 of ours can be taken.
    fn take(&self, most: usize) -> Outcome<Vec<Vec<u8>>>;

    /// Removes what was taken.
    fn settle(&self) -> Outcome<()>;

    /// The server behind it, where it has one.
    fn server(&self) -> Option<Process> {
        None
    }
}

/// A store with a committer before it, which stores all waiting records at once: what a good
/// engineer adds to a database.
pub struct Grouped<S> {
    store: Arc<S>,
    /// Ends the committer when it goes.
    jobs: Option<Mutex<mpsc::Sender<Job>>>,
    committer: Option<JoinHandle<()>>,
}

struct Job {
    body: Vec<u8>,
    done: mpsc::SyncSender<Result<(), String>>,
}

/// Records at once, at most.
const GROUP: usize = 1024;

impl<S: Store + 'static> Grouped<S> {
    pub fn new(store: S) -> Self {
        let store = Arc::new(store);
        let (jobs, waiting) = mpsc::channel();
        let committer = std::thread::spawn({
            let store = Arc::clone(&store);
            move || commit(&*store, &waiting)
        });
        Self { store, jobs: Some(Mutex::new(jobs)), committer: Some(committer) }
    }
}

fn commit(store: &impl Store, waiting: &mpsc::Receiver<Job>) {
    while let Ok(first) = waiting.recv() {
        let jobs = std::iter::once(first).chain(waiting.try_iter().take(GROUP - 1));
        let (bodies, waits): (Vec<_>, Vec<_>) = jobs.map(|job| (job.body, job.done)).unzip();
        let outcome = store.append_all(&bodies).map_err(|error| error.to_string());
        for done in waits {
            let _ = done.send(outcome.clone());
        }
    }
}

impl<S: Store> Store for Grouped<S> {
    fn append(&self, body: &[u8]) -> Outcome<()> {
        let (done, wait) = mpsc::sync_channel(1);
        let jobs = self.jobs.as_ref().expect("open").lock().expect("not poisoned").clone();
        jobs.send(Job { body: body.to_vec(), done })?;
        Ok(wait.recv()??)
    }

    fn append_all(&self, bodies: &[Vec<u8>]) -> Outcome<()> {
        self.store.append_all(bodies)
    }

    fn take(&self, most: usize) -> Outcome<Vec<Vec<u8>>> {
        self.store.take(most)
    }

    fn settle(&self) -> Outcome<()> {
        self.store.settle()
    }
}

impl<S> Drop for Grouped<S> {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(committer) = self.committer.take() {
            let _ = committer.join();
        }
    }
}
