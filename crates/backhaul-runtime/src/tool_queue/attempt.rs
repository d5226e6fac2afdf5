//! One try of one call, with everything that is written down of it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use backhaul_store::{Batch, Offer, Position, Settled, Standing, State, Timestamp};
use serde_json::Value;

use super::call_outcome::CallOutcome;
use super::processor::blocking;
use super::record::request_of;
use super::shared::{Shared, Tried};
use crate::tools::tool_runner::{invoke, look};
use crate::tools::{
    OnUnknown, Probed, Tool, ToolError, ToolErrorKind, ToolInvocation, ToolRequest, ToolResult,
};

/// What a try came to.
#[derive(Debug)]
pub(super) enum Attempted {
    /// It was done.
    Done,
    /// It will not be done.
    Failed,
    /// It is tried again later.
    PutOff,
    /// It is tried again when there is a network: this one found none.
    CutOff,
    /// It waits for a person.
    Unknown,
    /// A newer one is done in the place of so many.
    Superseded(u64),
    /// It waits no more: it expired, or somebody took it back before it was begun.
    Gone,
}

/// A call on offer.
struct Attempt {
    shared: Arc<Shared>,
    position: Position,
    call: ToolRequest,
    /// Attempts before this one, those that count, and whether the last one was never answered.
    attempts: u32,
    spent: u32,
    is_begun: bool,
    collapse_key: Option<String>,
}

/// Tries the one call of a batch.
pub(super) async fn attempt(shared: &Arc<Shared>, batch: Batch) -> Attempted {
    let Some(offer) = batch.records.first() else { return Attempted::PutOff };
    let attempted = match Attempt::of(shared, offer) {
        Ok(mut attempt) => attempt.run().await,
        Err(error) => {
            let settled = Settled::new(State::Rejected).reason(error.to_string());
            settle(shared, offer.record.id.position, settled).await;
            Attempted::Failed
        }
    };
    drop(batch);
    attempted
}

impl Attempt {
    fn of(shared: &Arc<Shared>, offer: &Offer) -> Result<Self, ToolError> {
        let call = request_of(&offer.record).map_err(|error| {
            let message = format!("what is stored is no call of a tool: {error}");
            ToolError::new(ToolErrorKind::Permanent, message)
        })?;
        Ok(Self {
            shared: Arc::clone(shared),
            position: offer.record.id.position,
            call,
            attempts: offer.attempts,
            spent: offer.spent_retries,
            is_begun: offer.is_begun,
            collapse_key: offer.record.facts.collapse_key.clone(),
        })
    }

    async fn run(&mut self) -> Attempted {
        if let Some(value) = self.known_outcome().await {
            return self.done(value, State::Duplicate).await;
        }
        let tool = self.shared.inside().tools.get(&self.call.tool);
        let Some(tool) = tool else { return self.without_tool().await };
        if !self.is_begun
            && let Some(attempted) = self.give_way().await
        {
            return attempted;
        }
        if self.is_begun {
            if let Some(attempted) = self.resolve(&tool).await {
                return attempted;
            }
            // What was begun is offered however old it is, and not done late.
            if self.is_expired().await {
                return self.expire().await;
            }
        }
        if self.spent > self.max_retries() {
            return self.fail(self.used_up()).await;
        }
        match self.note_start().await {
            Ok(true) => {}
            Ok(false) => return Attempted::Gone,
            Err(error) => {
                let error = ToolError::new(ToolErrorKind::NotQueued, error);
                return self.put_off(&error, false).await;
            }
        }
        let result = invoke(tool, self.invocation()).await;
        self.conclude(result).await
    }

    /// What the call came to, where it was done and a crash came before that was settled. One
    /// that was abandoned is here since a person has it done.
    async fn known_outcome(&self) -> Option<Value> {
        let (shared, key) = (Arc::clone(&self.shared), self.call.key.clone());
        match blocking(move || shared.outcomes.get(&key)).await {
            Ok(outcome) => {
                outcome.filter(|outcome| outcome.abandoned.is_none()).map(|outcome| outcome.value)
            }
            Err(error) => {
                tracing::error!(key = %self.call.key, %error, "what a call came to cannot be read");
                None
            }
        }
    }

    /// A call of a tool that is not there any more.
    async fn without_tool(&self) -> Attempted {
        let error = self.no_such_tool();
        if self.is_begun {
            return self.ask(&format!("a try was begun, and {error}")).await;
        }
        self.fail(error).await
    }

    async fn is_expired(&self) -> bool {
        let (shared, position) = (Arc::clone(&self.shared), self.position);
        let found = blocking(move || shared.spool.get(position)).await;
        found.is_ok_and(|(entry, _)| {
            let limit = entry.facts.expires_after_ms.map(Duration::from_millis);
            limit.is_some_and(|limit| entry.age > limit)
        })
    }

    async fn expire(&self) -> Attempted {
        let (shared, call, position) = (Arc::clone(&self.shared), self.call.clone(), self.position);
        let settled = Settled::new(State::Expired).reason("older than its time to live");
        blocking(move || {
            if let Err(error) = shared.end(position, &call, settled) {
                tracing::error!(%position, %error, "a call that expired cannot be settled");
            }
        })
        .await;
        Attempted::Gone
    }

    /// Settles this call and all others before the newest that tells the same, but for those of
    /// which nobody knows whether they were done.
    async fn give_way(&self) -> Option<Attempted> {
        let key = self.collapse_key.clone()?;
        let (shared, own) = (Arc::clone(&self.shared), self.position);
        let mut older = blocking(move || {
            let mut same = Vec::new();
            let read = shared.spool.each(Some(Standing::Pending), &mut |entry| {
                let position = entry.id.position;
                let is_same = entry.facts.collapse_key.as_ref() == Some(&key);
                let is_unknown = entry.is_begun || entry.held.is_some();
                let is_after = position.chain == own.chain && position.sequence >= own.sequence;
                if is_same && is_after && !is_unknown {
                    same.push(position);
                }
                ControlFlow::Continue(())
            });
            read.map(|()| same)
        })
        .await
        .inspect_err(|error| tracing::error!(%error, "newer calls cannot be looked for"))
        .ok()?;
        older.sort();
        let newest = older.pop()?;
        if older.is_empty() {
            return None;
        }
        let reason = format!("{newest} tells the same, and is newer");
        let settled = Settled::new(State::Superseded).reason(reason);
        let count = older.len() as u64;
        let settlements: Vec<_> = older.into_iter().map(|at| (at, settled.clone())).collect();
        let shared = Arc::clone(&self.shared);
        let done = blocking(move || shared.spool.settle(&settlements)).await;
        done.is_ok().then_some(Attempted::Superseded(count))
    }

    /// Decides what becomes of a call of which nobody knows whether it was done. `None`: it is
    /// done (again).
    async fn resolve(&mut self, tool: &Arc<dyn Tool>) -> Option<Attempted> {
        let unclear = "a try was begun, and nobody knows what came of it";
        match tool.options().on_unknown {
            OnUnknown::Repeat => None,
            OnUnknown::AskPerson => Some(self.ask(unclear).await),
            OnUnknown::Abandon => {
                let why = format!("abandoned: {unclear}, and it may be done once at most");
                Some(self.abandon(why).await)
            }
            OnUnknown::CheckFirst => self.check(tool).await,
        }
    }

    async fn check(&mut self, tool: &Arc<dyn Tool>) -> Option<Attempted> {
        match look(Arc::clone(tool), self.invocation()).await {
            Ok(Some(Probed::Done(value))) => Some(self.done(value, State::Delivered).await),
            Ok(Some(Probed::NotDone)) => {
                self.is_begun = false;
                None
            }
            Ok(Some(Probed::Unclear)) => {
                Some(self.ask("a look at it could not tell whether it was done").await)
            }
            Ok(None) => {
                Some(self.ask("it is to be looked at first, and the tool has no probe").await)
            }
            Err(error) if error.is_panic() => {
                Some(self.ask(&format!("a look at it failed: {error}")).await)
            }
            Err(error) => Some(self.put_off(&error, true).await),
        }
    }

    /// Notes that a try begins. It is on stable storage when this returns. `Ok(false)`: the call
    /// waits no more.
    async fn note_start(&self) -> Result<bool, String> {
        let (shared, position) = (Arc::clone(&self.shared), self.position);
        if shared.options.sabotage_skip_started {
            return Ok(true);
        }
        let begun = blocking(move || {
            let _none_is_taken_back = shared.beginning();
            shared.spool.begin(position)
        })
        .await;
        begun.map_err(|error| {
            tracing::error!(%position, %error, "a call is not begun: that cannot be written down");
            format!("it was not begun, since that cannot be written down: {error}")
        })
    }

    async fn conclude(&mut self, result: Result<Value, ToolError>) -> Attempted {
        self.attempts += 1;
        let error = match result {
            Ok(value) => return self.done(value, State::Delivered).await,
            Err(error) => error,
        };
        self.shared.inside().last_error = Some(error.to_string());
        match error.kind() {
            ToolErrorKind::Unreachable | ToolErrorKind::Offline => {
                self.report_cut_off();
                self.put_off(&error, false).await;
                Attempted::CutOff
            }
            ToolErrorKind::Unclear => self.unclear(error).await,
            ToolErrorKind::Failed if self.spent < self.max_retries() => {
                self.put_off(&error, false).await
            }
            _ => self.fail(error).await,
        }
    }

    /// An answer was lost: what the tool says of that decides, now as after a crash.
    async fn unclear(&mut self, error: ToolError) -> Attempted {
        match self.on_unknown() {
            OnUnknown::Repeat | OnUnknown::CheckFirst => self.put_off(&error, true).await,
            OnUnknown::AskPerson => self.ask(&format!("the answer was lost: {error}")).await,
            OnUnknown::Abandon => {
                let why = format!(
                    "abandoned: the answer was lost ({error}), and it may be done once at most"
                );
                self.abandon(why).await
            }
        }
    }

    /// Stores what the call gave, and settles it.
    async fn done(&self, value: Value, state: State) -> Attempted {
        let (shared, call, kept) = (Arc::clone(&self.shared), self.call.clone(), value.clone());
        let position = self.position;
        blocking(move || {
            if state == State::Delivered
                && let Err(error) = shared.outcomes.put(&call.tool, &call.key, &kept)
            {
                tracing::error!(key = %call.key, %error, "what a call came to cannot be stored");
            }
            if let Err(error) = shared.end(position, &call, Settled::new(state)) {
                tracing::error!(%position, %error, "a call that was done cannot be settled");
            }
        })
        .await;
        self.tell(&ToolResult::Done(value.clone()), Ok(value));
        Attempted::Done
    }

    /// Keeps the call among the failed, and does not do it when the same step asks again.
    async fn abandon(&self, why: String) -> Attempted {
        let (shared, call, kept) = (Arc::clone(&self.shared), self.call.clone(), why.clone());
        blocking(move || {
            if let Err(error) = shared.outcomes.abandon(&call.tool, &call.key, &kept) {
                tracing::error!(key = %call.key, %error, "that a call is abandoned cannot be stored");
            }
        })
        .await;
        self.fail(ToolError::unclear(why)).await
    }

    /// Keeps the call among the failed, with the reason.
    async fn fail(&self, error: ToolError) -> Attempted {
        let (shared, call, position) = (Arc::clone(&self.shared), self.call.clone(), self.position);
        let settled = Settled::new(State::Rejected).reason(error.to_string());
        blocking(move || {
            if let Err(error) = shared.end(position, &call, settled) {
                tracing::error!(%position, %error, "a call that failed cannot be settled");
            }
        })
        .await;
        self.tell(&ToolResult::Failed(error.clone()), Err(error));
        Attempted::Failed
    }

    fn tell(&self, result: &ToolResult, outcome: Result<Value, ToolError>) {
        self.shared.tell(&self.call, &Tried::ended(result.clone()));
        let callbacks = self.shared.inside().callbacks.clone();
        let (id, call) = (self.position.to_string(), self.call.clone());
        callbacks.tell(&CallOutcome { id, call, attempts: self.attempts, result: outcome });
    }

    async fn put_off(&self, error: &ToolError, is_unclear: bool) -> Attempted {
        // A panic is no matter of the network: it would come again for ever.
        let counts = error.kind() == ToolErrorKind::Failed && !is_unclear || error.is_panic();
        let wait = self.shared.options.backoff.delay(if counts { self.spent } else { 0 });
        let mut settled = Settled::new(State::Later)
            .reason(error.to_string())
            .not_before(later(self.shared.spool.clock().now().wall, wait));
        if counts {
            settled = settled.spends_retry();
        }
        // Nothing that came since tells of a try before this one.
        if is_unclear || self.is_begun {
            settled = settled.unclear();
        }
        settle(&self.shared, self.position, settled).await;
        self.tell_waiting(Some(error.clone()));
        Attempted::PutOff
    }

    async fn ask(&self, reason: &str) -> Attempted {
        tracing::warn!(id = %self.position, tool = self.call.tool, reason, "a call waits for a person to decide");
        settle(&self.shared, self.position, Settled::new(State::Unknown).reason(reason)).await;
        self.tell_waiting(None);
        Attempted::Unknown
    }

    fn tell_waiting(&self, error: Option<ToolError>) {
        let (id, key) = (self.position.to_string(), self.call.key.clone());
        let result = ToolResult::Queued { id, key };
        self.shared.tell(&self.call, &Tried { result, error });
    }

    fn invocation(&self) -> ToolInvocation {
        let ToolRequest { arguments, key, .. } = self.call.clone();
        ToolInvocation { arguments, key, attempts: self.attempts }
    }

    fn no_such_tool(&self) -> ToolError {
        let inside = self.shared.inside();
        let known = inside.tools.list_tools().join(", ");
        let known =
            if known.is_empty() { "none is".to_owned() } else { format!("these are: {known}") };
        let message = format!("no tool `{}` is registered: {known}", self.call.tool);
        ToolError::new(ToolErrorKind::UnknownTool, message)
    }

    /// A panic leaves it open whether a call was done, so that it is put off even after its last
    /// try.
    fn used_up(&self) -> ToolError {
        ToolError::failed(format!("it panicked, and {} tries were made", self.attempts))
    }

    fn max_retries(&self) -> u32 {
        let tool = self.shared.inside().tools.get(&self.call.tool);
        let own = tool.and_then(|tool| tool.options().max_retries);
        own.unwrap_or(self.shared.options.max_retries)
    }

    fn on_unknown(&self) -> OnUnknown {
        let tool = self.shared.inside().tools.get(&self.call.tool);
        tool.map_or_else(OnUnknown::default, |tool| tool.options().on_unknown)
    }

    fn report_cut_off(&self) {
        if let Some(monitor) = &self.shared.connectivity {
            monitor.evidence().report_failure();
        }
    }
}

async fn settle(shared: &Arc<Shared>, position: Position, settled: Settled) {
    let shared = Arc::clone(shared);
    let state = settled.state;
    let settled = blocking(move || shared.spool.settle(&[(position, settled)])).await;
    if let Err(error) = settled {
        tracing::error!(%position, ?state, %error, "a call cannot be settled");
    }
}

fn later(now: Timestamp, wait: Duration) -> Timestamp {
    let wait = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(now.as_micros().saturating_add(wait))
}
