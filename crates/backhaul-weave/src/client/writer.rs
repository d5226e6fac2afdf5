//! The one thread that stores what was logged.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use backhaul_store::ErrorKind;

use super::call_state::{CallState, Ended, OfProject};
use super::content::Content;
use super::op::OpVersion;
use super::phase::Part;
use super::queue::Queue;
use super::recorder::{Item, Recorder};
use super::trouble::Trouble;
use crate::entry::{Entry, EntryType};
use crate::error::{TraceError, TraceErrorKind};
use crate::offline::OfflineTraceServer;
use crate::project::ProjectId;

/// After a failure the disk is tried again this soon, then ever later…
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// …up to this.
const LAST_RETRY: Duration = Duration::from_secs(10);
/// Most records of one commit: enough to share a flush, few enough for a bounded wait.
const MAX_ENTRIES: usize = 1024;

/// What is to be stored, in order.
enum Step {
    Op(OpVersion),
    Files(Vec<Content>),
    Calls(Vec<Entry>),
}

/// A step, how many items of the queue are done with it, and their bytes.
struct Work {
    step: Step,
    items: u64,
    bytes: usize,
}

/// What the thread needs of a recorder. It does not keep the recorder: that ends with the last
/// call which is logged there, and this after it.
pub(crate) struct Writer {
    server: OfflineTraceServer,
    project: ProjectId,
    of_project: Arc<OfProject>,
    queue: Arc<Queue<Item>>,
    trouble: Arc<Trouble>,
}

impl Writer {
    pub(crate) fn of(recorder: &Recorder) -> Self {
        Self {
            server: recorder.server.clone(),
            project: recorder.project.clone(),
            of_project: Arc::clone(&recorder.of_project),
            queue: Arc::clone(&recorder.queue),
            trouble: Arc::clone(&recorder.trouble),
        }
    }
}

/// Stores what is logged until the queue is closed and nothing is left.
pub(crate) fn store_all(writer: &Writer, collect_for: Duration) {
    let queue = &writer.queue;
    while let Some(items) = queue.take(collect_for) {
        let mut works = works_of(&writer.of_project, items);
        let mut retry = FIRST_RETRY;
        let mut is_last_try = false;
        while let Some(work) = works.front() {
            match store(&writer.server, &writer.project, &work.step) {
                Ok(()) => {
                    writer.trouble.note(None);
                    queue.done(work.items, work.bytes);
                    retry = FIRST_RETRY;
                }
                Err(error) if is_of_the_record(&error) => {
                    let Some(work) = works.pop_front() else { break };
                    let (items, bytes) = (work.items, work.bytes);
                    let each = work.split();
                    if each.is_empty() {
                        tracing::error!(%error, "a call that no store takes is dropped");
                        queue.drop_taken(items, bytes);
                    }
                    each.into_iter().rev().for_each(|work| works.push_front(work));
                    continue;
                }
                Err(error) => {
                    writer.trouble.note(Some(error));
                    if queue.refuse(retry) {
                        retry = (retry * 2).min(LAST_RETRY);
                        continue;
                    }
                    // It was closed since the disk was tried.
                    if !std::mem::replace(&mut is_last_try, true) {
                        continue;
                    }
                    // The last chance was the last: nobody waits for this process any more.
                    let (lost, bytes) = works.iter().fold((0, 0), |(lost, bytes), work| {
                        (lost + work.items, bytes + work.bytes)
                    });
                    tracing::error!(
                        calls = lost,
                        "the disk took nothing to the end: calls are lost"
                    );
                    queue.drop_taken(lost, bytes);
                    works.clear();
                    continue;
                }
            }
            works.pop_front();
        }
    }
}

/// Whether no other try helps: the disk may be fine.
fn is_of_the_record(error: &TraceError) -> bool {
    error.kind() == TraceErrorKind::InvalidInput
        || matches!(error.store_kind(), Some(ErrorKind::InvalidInput | ErrorKind::TooLarge))
}

impl Work {
    /// Its records one by one; none where it is no more than one.
    fn split(self) -> Vec<Work> {
        let Step::Calls(entries) = self.step else { return Vec::new() };
        if entries.len() < 2 {
            return Vec::new();
        }
        let mut each: Vec<Work> = entries
            .into_iter()
            .map(|entry| Work { step: Step::Calls(vec![entry]), items: 1, bytes: 0 })
            .collect();
        let others = self.items.saturating_sub(each.len() as u64);
        if let Some(last) = each.last_mut() {
            last.items += others;
            last.bytes = self.bytes;
        }
        each
    }
}

fn store(server: &OfflineTraceServer, project: &ProjectId, step: &Step) -> Result<(), TraceError> {
    match step {
        Step::Op(version) => {
            let code = &version.code;
            server.create_file(project, &code.name, Some(&code.media_type), code.bytes())?;
            server.create_object(project, &version.object(project)).map(drop)
        }
        Step::Files(contents) => store_files(server, project, contents),
        Step::Calls(entries) => server.log(project, entries).map(drop),
    }
}

/// Stores the files that a value is made of.
pub(crate) fn store_files(
    server: &OfflineTraceServer,
    project: &ProjectId,
    contents: &[Content],
) -> Result<(), TraceError> {
    for file in contents.iter().flat_map(Content::files) {
        server.create_file(project, &file.name, Some(&file.media_type), file.bytes())?;
    }
    Ok(())
}

/// What is to be done with items, those in a row together: files come before the calls that
/// they are in.
fn works_of(of_project: &OfProject, items: Vec<Item>) -> VecDeque<Work> {
    let mut works = VecDeque::new();
    for item in items {
        let mut bytes = item.bytes();
        let (entry, files) = match item {
            Item::Op(version) => {
                works.push_back(Work { step: Step::Op(version), items: 1, bytes });
                continue;
            }
            Item::Call(call) => match call.phase.store() {
                None => (None, Vec::new()),
                Some(Part::Start) => (Some(start_of(of_project, &call)), call.inputs.files.clone()),
                Some(Part::Whole(ended)) => {
                    bytes += ended.bytes();
                    let files = [&*call.inputs.files, &*ended.output.files].concat();
                    (Some(whole_of(of_project, &call, &ended)), files)
                }
            },
            Item::End(call, ended) => {
                (Some(end_of(of_project, &call, &ended)), ended.output.files.clone())
            }
            #[cfg(feature = "opentelemetry")]
            Item::Export(entry) => (Some(entry), Vec::new()),
        };
        if !files.is_empty() {
            works.push_back(Work { step: Step::Files(files), items: 0, bytes: 0 });
        }
        add(&mut works, entry, bytes);
    }
    works
}

/// Adds a record to the commit that is last, or to another.
fn add(works: &mut VecDeque<Work>, entry: Option<Entry>, bytes: usize) {
    if let Some(Work { step: Step::Calls(entries), items, bytes: sum }) = works.back_mut()
        && entries.len() < MAX_ENTRIES
    {
        entries.extend(entry);
        *items += 1;
        *sum += bytes;
        return;
    }
    let step = Step::Calls(entry.into_iter().collect());
    works.push_back(Work { step, items: 1, bytes });
}

fn start_of(of_project: &OfProject, call: &CallState) -> Entry {
    let entry = Entry::of_json(EntryType::CallStart, call.start_json(of_project));
    entry.at(call.started.wall)
}

fn whole_of(of_project: &OfProject, call: &CallState, ended: &Ended) -> Entry {
    let data = call.complete_json(ended, of_project);
    Entry::of_json(EntryType::CallComplete, data).at(ended.at)
}

fn end_of(of_project: &OfProject, call: &CallState, ended: &Ended) -> Entry {
    let data = call.end_json(ended, of_project);
    Entry::of_json(EntryType::CallEnd, data).at(ended.at)
}
