//! A run that goes on.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use backhaul_agent::{ContextPatch, MergeStrategy, PatchSource, RunEvent};
use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde_json::{Map, Value};

use super::attempt::{Ended, attempt};
use super::beginning::Beginning;
use super::dag_executor::DagExecutor;
use super::execution_result::NodeResult;
use super::inputs;
use super::merge::{Changes, NodeConflict, deepen};
use super::node_call::NodeCall;
use super::node_error::NodeError;
use super::node_output::NodeOutput;
use super::ran::{End, Ran};
use crate::dag::{Dag, NodeIndex, NodeKind, NodeState, Outcome};
use crate::persistence::{NodeRecord, RunStep, nesting};
use crate::run_status::RunStatus;

/// As long is waited before the second attempt, twice as long before the third, as upstream.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// A run that goes on. All of it happens in one task, in turns: what has ended is taken, what
/// may begin is chosen, and both are written down together before anything of it begins.
pub(super) struct Running<'a> {
    executor: &'a DagExecutor,
    dag: Arc<Dag>,
    from: Beginning,
    begun: BTreeMap<NodeIndex, Begun>,
    /// They are launched once it is on disk that they begin.
    to_launch: Vec<NodeIndex>,
    /// Those of which that is being written.
    launching: Vec<NodeIndex>,
    attempts: FuturesUnordered<Pin<Box<dyn Future<Output = Event> + Send>>>,
    cancelled: Pin<Box<dyn Future<Output = ()> + Send>>,
    changes: Changes,
    conflicts: Vec<NodeConflict>,
    skips_seen: usize,
    end: Option<End>,
    has_ended_again: bool,
}

/// A node that has begun and not ended.
struct Begun {
    /// The attempt that is made, or will be.
    call: NodeCall,
    last_attempt: u32,
    took: Duration,
    /// How many changes of the run were in the context when it began.
    seen: usize,
    is_launched: bool,
}

enum Event {
    Ended(NodeIndex, Ended),
    RetryIsDue(NodeIndex),
    Written,
    Cancelled,
}

/// What a node gave, as it went into the context.
struct Applied {
    output: Value,
    patches: Vec<ContextPatch>,
    metadata: Map<String, Value>,
}

impl<'a> Running<'a> {
    pub(super) fn new(executor: &'a DagExecutor, from: Beginning) -> Self {
        let cancellation = from.cancellation.clone();
        Self {
            executor,
            dag: Arc::clone(from.schedule.dag()),
            begun: BTreeMap::new(),
            to_launch: Vec::new(),
            launching: Vec::new(),
            attempts: FuturesUnordered::new(),
            cancelled: Box::pin(async move { cancellation.cancelled().await }),
            changes: Changes::default(),
            conflicts: Vec::new(),
            skips_seen: 0,
            end: None,
            has_ended_again: false,
            from,
        }
    }

    pub(super) async fn finish(mut self) -> Ran {
        self.take_skips();
        while !self.is_over() {
            let event = self.next().await;
            self.take(event);
            // What has ended meanwhile is written down together.
            while let Some(event) = self.next().now_or_never() {
                self.take(event);
            }
            // A long chain of nodes that never wait lets other tasks run too.
            tokio::task::consume_budget().await;
        }
        let end = self.end.take();
        Ran {
            end: end.unwrap_or(End { status: RunStatus::Completed, error: None }),
            context: self.from.context,
            node_results: self.from.node_results,
            conflicts: self.conflicts,
            persistence_error: self.from.keeper.error().map(str::to_owned),
        }
    }

    /// Begins what may begin, and has it written. Whether nothing is left.
    fn is_over(&mut self) -> bool {
        if self.end.is_none() && self.from.cancellation.is_cancelled() {
            self.cancel();
        }
        self.begin_ready();
        if self.end.is_none() && self.from.schedule.is_over() {
            let end = self.end_of_schedule();
            self.end(end);
        }
        self.write();
        self.end.is_some() && !self.from.keeper.is_writing()
    }

    fn begin_ready(&mut self) {
        while self.end.is_none()
            && self.from.schedule.running() < self.executor.max_parallel
            && let Some(node) = self.from.schedule.next_ready()
            && self.from.schedule.begin(node).is_ok()
        {
            self.begin(node);
        }
    }

    fn begin(&mut self, node: NodeIndex) {
        match inputs::resolve(&self.dag[node], &self.from.context) {
            Ok(inputs) => {
                let begun = self.beginning(node, inputs);
                self.begun.insert(node, begun);
                self.prepare(node);
            }
            Err(error) => self.settle(node, Err(error)),
        }
    }

    fn beginning(&mut self, node: NodeIndex, inputs: Map<String, Value>) -> Begun {
        let (id, max_attempts) = (&self.dag[node].id, self.dag[node].max_attempts);
        let past = self.from.past.remove(id).unwrap_or_default();
        let call = NodeCall {
            context: self.from.context.clone(),
            inputs,
            run_id: Arc::clone(&self.from.run_id),
            step: format!("{}/{id}", self.from.run_id).into(),
            attempt: past.attempts.saturating_add(1),
            may_have_happened: past.may_have_happened,
            cancellation: self.from.cancellation.clone(),
            recorder: self.from.recorder.clone(),
            dag: Arc::clone(&self.dag),
            index: node,
        };
        Begun {
            call,
            last_attempt: past.last_attempt(max_attempts),
            took: Duration::ZERO,
            seen: self.changes.count(),
            is_launched: false,
        }
    }

    /// Notes that the next attempt is made.
    fn prepare(&mut self, node: NodeIndex) {
        let Some(begun) = self.begun.get(&node) else { return };
        let (id, attempt) = (&self.dag[node].id, begun.call.attempt);
        self.from.keeper.note(|| RunStep::NodeStarted { node_id: id.clone(), attempt });
        self.to_launch.push(node);
    }

    /// Writes down what has come, and launches what may be launched without.
    fn write(&mut self) {
        if self.from.keeper.is_writing() {
            return;
        }
        self.launching.append(&mut self.to_launch);
        if !self.from.keeper.write() {
            self.launch();
        }
    }

    fn launch(&mut self) {
        for node in std::mem::take(&mut self.launching) {
            let Some(begun) = self.begun.get_mut(&node) else { continue };
            begun.is_launched = true;
            let running = attempt(Arc::clone(&self.executor.node_executor), begun.call.clone());
            self.attempts.push(Box::pin(running.map(move |ended| Event::Ended(node, ended))));
        }
    }

    async fn next(&mut self) -> Event {
        poll_fn(|context| {
            if self.end.is_none() && self.cancelled.poll_unpin(context).is_ready() {
                return Poll::Ready(Event::Cancelled);
            }
            if self.from.keeper.poll_written(context).is_ready() {
                return Poll::Ready(Event::Written);
            }
            match self.attempts.poll_next_unpin(context) {
                Poll::Ready(Some(event)) => Poll::Ready(event),
                Poll::Ready(None) | Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Ended(node, ended) => self.take_ended(node, ended),
            Event::RetryIsDue(node) => self.prepare(node),
            Event::Written => {
                self.launch();
                self.end_again();
            }
            Event::Cancelled => self.cancel(),
        }
    }

    fn take_ended(&mut self, node: NodeIndex, ended: Ended) {
        let Some(begun) = self.begun.get_mut(&node) else { return };
        begun.took += ended.took;
        let attempt = begun.call.attempt;
        match ended.result {
            Err(error) if !error.is_final && attempt < begun.last_attempt => {
                tracing::debug!(step = &*begun.call.step, attempt, %error, "an attempt failed");
                begun.call.attempt += 1;
                begun.call.may_have_happened |= error.may_have_happened;
                let wait = tokio::time::sleep(RETRY_DELAY * attempt);
                self.attempts.push(Box::pin(wait.map(move |()| Event::RetryIsDue(node))));
            }
            result => self.settle(node, result),
        }
    }

    /// Ends a node.
    fn settle(&mut self, node: NodeIndex, result: Result<NodeOutput, NodeError>) {
        let begun = self.begun.remove(&node);
        let id = self.dag[node].id.clone();
        let applied = result.and_then(|output| self.apply(node, begun.as_ref(), output));
        let (mut record, metadata) = match applied {
            Ok(Applied { output, patches, metadata }) => {
                (NodeRecord { patches, ..NodeRecord::succeeded(id, output) }, metadata)
            }
            Err(NodeError { message, may_have_happened, .. }) => {
                let failed = NodeRecord::failed(id, message);
                (NodeRecord { may_have_happened, ..failed }, Map::new())
            }
        };
        self.add_attempts(&mut record, begun.as_ref());
        let outcome = match record.success {
            Some(true) => Outcome::Succeeded,
            _ => Outcome::Failed,
        };
        let Ok(finished) = self.from.schedule.finish(node, outcome, &self.from.context) else {
            return;
        };
        record.leads_to = finished.satisfied;
        self.from.keeper.note(|| RunStep::NodeFinished(record.clone()));
        self.from.node_results.push(NodeResult { metadata, ..record.into() });
        self.take_skips();
    }

    /// Says what the attempts at a node came to, all together.
    fn add_attempts(&self, record: &mut NodeRecord, begun: Option<&Begun>) {
        let past = self.from.past.get(&record.node_id).copied().unwrap_or_default();
        let (attempts, before) = match begun {
            Some(begun) => (begun.call.attempt, begun.call.may_have_happened),
            None => (past.attempts, past.may_have_happened),
        };
        record.attempts = attempts;
        record.duration_ms = begun.map_or(0.0, |begun| begun.took.as_secs_f64() * 1_000.0);
        record.may_have_happened |= before && record.success == Some(false);
    }

    /// Puts what a node gave into the context, all of it or nothing.
    fn apply(
        &mut self,
        node: NodeIndex,
        begun: Option<&Begun>,
        output: NodeOutput,
    ) -> Result<Applied, NodeError> {
        let NodeOutput { value: output, patches, metadata } = output;
        let mut patches = self.patches_of(node, patches, &output);
        if let Some(what) = nesting::too_deep(&output, &patches) {
            return Err(NodeError::fatal(nesting::described(&what)));
        }
        self.settle_conflicts(node, begun, &mut patches)?;
        let mut context = self.from.context.clone();
        for patch in &patches {
            context = context.apply(patch).map_err(|error| NodeError::fatal(error.to_string()))?;
        }
        self.from.context = context;
        self.changes.add(&self.dag[node].id, &patches);
        if self.from.recorder.is_recording() {
            for patch in &patches {
                self.from.recorder.record(RunEvent::Patch(patch.clone()));
            }
        }
        Ok(Applied { output, patches, metadata })
    }

    fn patches_of(
        &self,
        node: NodeIndex,
        mut patches: Vec<ContextPatch>,
        output: &Value,
    ) -> Vec<ContextPatch> {
        let node = &self.dag[node];
        if let Some(key) = node.output_key.as_ref().filter(|_| !output.is_null()) {
            let source = match node.kind {
                NodeKind::Tool { .. } => PatchSource::Tool,
                NodeKind::Llm { .. } => PatchSource::Llm,
                NodeKind::Function { .. } => PatchSource::Agent,
            };
            let now = self.executor.clock.now().wall;
            let patch = ContextPatch::set(key.clone(), output.clone());
            patches.push(patch.source(source, node.id.clone()).timestamp(now));
        }
        for patch in &mut patches {
            patch.correlation_id.get_or_insert_with(|| self.from.run_id.to_string());
            if patch.source_id.is_empty() {
                patch.source_id.clone_from(&node.id);
            }
        }
        patches
    }

    fn settle_conflicts(
        &mut self,
        node: NodeIndex,
        begun: Option<&Begun>,
        patches: &mut [ContextPatch],
    ) -> Result<(), NodeError> {
        let Some(begun) = begun else { return Ok(()) };
        let conflicts = self.changes.conflicts(begun.seen, &self.dag[node].id, patches);
        let error = conflicts.first().map(ToString::to_string);
        let strategy = self.executor.merge_strategy;
        if strategy == MergeStrategy::DeepMerge {
            deepen(patches, &conflicts);
        }
        self.conflicts.extend(conflicts);
        match error.filter(|_| strategy == MergeStrategy::RaiseOnConflict) {
            Some(error) => Err(NodeError::fatal(error)),
            None => Ok(()),
        }
    }

    /// Notes the nodes of which it was just decided that they do not run.
    fn take_skips(&mut self) {
        for skip in self.from.schedule.skips_since(self.skips_seen) {
            let id = &self.dag[skip.node].id;
            self.from.keeper.note(|| RunStep::NodeFinished(NodeRecord::skipped(id.clone())));
            self.from.node_results.push(NodeResult::skipped(id.clone()));
        }
        self.skips_seen = self.from.schedule.skips().len();
    }

    fn end_of_schedule(&self) -> End {
        let Some(failed) = self.from.schedule.failure() else {
            return End { status: RunStatus::Completed, error: None };
        };
        let id = &self.dag[failed].id;
        let result = self.from.node_results.iter().rev().find(|result| result.node_id == *id);
        let why = result.and_then(|result| result.error.as_deref()).unwrap_or_default();
        End { status: RunStatus::Failed, error: Some(format!("the node `{id}` failed: {why}")) }
    }

    /// Drops what runs, and ends.
    fn cancel(&mut self) {
        self.attempts.clear();
        self.to_launch.clear();
        self.launching.clear();
        for (node, begun) in std::mem::take(&mut self.begun) {
            let id = self.dag[node].id.clone();
            self.from.node_results.push(match begun.is_launched {
                true => NodeResult {
                    attempts: begun.call.attempt,
                    duration_ms: begun.took.as_secs_f64() * 1_000.0,
                    ..NodeResult::failed(id, "cancelled before it ended")
                },
                false => NodeResult::skipped(id),
            });
        }
        self.skip_the_rest();
        let reason = self.from.cancellation.reason().unwrap_or_default();
        let error =
            if reason.is_empty() { "cancelled".to_owned() } else { format!("cancelled: {reason}") };
        self.end(End { status: RunStatus::Cancelled, error: Some(error) });
    }

    fn skip_the_rest(&mut self) {
        for node in self.dag.nodes() {
            let Some(index) = self.dag.index_of(&node.id) else { continue };
            let state = self.from.schedule.state(index);
            if matches!(state, NodeState::Waiting | NodeState::Ready) {
                self.from.node_results.push(NodeResult::skipped(node.id.clone()));
            }
        }
    }

    fn end(&mut self, end: End) {
        self.from.keeper.note(|| end.step());
        self.end = Some(end);
    }

    /// Nothing comes after the end that could take along what the disk has refused: it is tried
    /// once more.
    fn end_again(&mut self) {
        if let Some(end) = &self.end
            && self.from.keeper.error().is_some()
            && !std::mem::replace(&mut self.has_ended_again, true)
        {
            self.from.keeper.note(|| end.step());
        }
    }
}
