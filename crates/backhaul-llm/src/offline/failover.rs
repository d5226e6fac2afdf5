//! Asks one model after the other until one answers.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::asked::Asked;
use super::kept::Kept;
use super::link::Link;
use super::member::Member;
use super::options::OfflineLlmOptions;
use super::probing;
use super::trail::Trail;
use crate::client::LlmFuture;
use crate::error::{LlmError, LlmErrorKind};
use crate::metadata::{Attempt, Metadata, Outcome};
use crate::request::ChatRequest;

/// The wait before the primary is tried again; it doubles. Three tries of a server that
/// answers at once end within a second.
const RETRY_WAIT: Duration = Duration::from_millis(200);

/// What comes of asking a model, which says who gave it.
pub trait Answer: Send {
    /// Who gave it.
    fn metadata_mut(&mut self) -> &mut Metadata;
}

/// How a model is asked.
pub(super) type Ask<'a, T> = dyn Fn(Asked) -> LlmFuture<'a, T> + Send + Sync + 'a;

/// What matters of a call for who is asked and how long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ModelCall<'a> {
    /// The model that the caller named; empty for none.
    pub model: &'a str,
    /// Whether the answer is wanted in pieces.
    pub is_streamed: bool,
    /// How long the caller waits.
    pub patience: Option<Duration>,
}

impl<'a> From<&'a ChatRequest> for ModelCall<'a> {
    fn from(request: &'a ChatRequest) -> Self {
        let (model, patience) = (request.model_name().unwrap_or_default(), request.patience);
        Self { model, is_streamed: false, patience }
    }
}

/// Models in the order in which they are asked.
pub(super) struct Failover {
    primary: Arc<Member>,
    fallbacks: Vec<Arc<Member>>,
    options: Arc<OfflineLlmOptions>,
    pub(super) kept: Kept,
}

impl Failover {
    pub(super) fn new(
        primary: Member,
        fallbacks: Vec<Arc<Member>>,
        options: Arc<OfflineLlmOptions>,
    ) -> Self {
        Self { primary: Arc::new(primary), fallbacks, options, kept: Kept::default() }
    }

    /// The same fallbacks behind another primary.
    pub(super) fn behind(&self, primary: Member) -> Self {
        let (primary, fallbacks) = (Arc::new(primary), self.fallbacks.clone());
        let (options, kept) = (Arc::clone(&self.options), self.kept.clone());
        Self { primary, fallbacks, options, kept }
    }

    /// What is known of the network, by all models.
    pub(super) fn link(&self) -> &Link {
        &self.primary.link
    }

    pub(super) fn primary(&self) -> &Member {
        &self.primary
    }

    /// Looks whether the primary is there; one that is not is left alone as after a call.
    pub(super) async fn look(&self) {
        match probing::probe(self.primary.client()).await {
            Err(error) if error.kind() != LlmErrorKind::Unsupported => {
                self.primary.opened_by(&error, &self.options);
            }
            _ => {}
        }
    }

    /// All, the primary first.
    pub(super) fn members(&self) -> impl Iterator<Item = &Arc<Member>> {
        std::iter::once(&self.primary).chain(&self.fallbacks)
    }

    /// Asks one after the other.
    pub(super) async fn run<'a, T: Answer>(
        &'a self,
        call: ModelCall<'a>,
        ask: &Ask<'a, T>,
    ) -> Result<T, LlmError> {
        let mut trail = Trail::default();
        for (place, member) in self.members().enumerate() {
            let options = Arc::clone(&self.options);
            let asked = Asked { member: Arc::clone(member), place, options };
            match self.ask(&asked, call, ask, &mut trail).await {
                Ok(mut answer) => {
                    trail.sign(answer.metadata_mut(), member.source());
                    return Ok(answer);
                }
                Err(error) => {
                    let kind = error.kind();
                    trail.end_of(member.client().name(), error);
                    if member.is_primary() && !self.options.fall_back_on.contains(&kind) {
                        break;
                    }
                }
            }
        }
        Err(trail.into_error())
    }

    /// Asks one, again where that may help and there is time.
    async fn ask<'a, T: Answer>(
        &'a self,
        asked: &Asked,
        call: ModelCall<'a>,
        ask: &Ask<'a, T>,
        trail: &mut Trail,
    ) -> Result<T, LlmError> {
        let member = &asked.member;
        let deadline = self.deadline(member, call);
        let mut retries = 0;
        loop {
            let error = match self.ask_once(asked, call, deadline, ask, trail).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let wait = RETRY_WAIT.saturating_mul(2_u32.saturating_pow(retries));
            let is_time = deadline.is_none_or(|deadline| Instant::now() + wait < deadline.at);
            let may_retry = member.is_primary() && retries < self.options.max_retries && is_time;
            // One that is left alone by now is not asked, however often.
            if !may_retry || !member.breaker.is_closed() || !may_be_gone_in_a_moment(&error) {
                return Err(error);
            }
            retries += 1;
            tokio::time::sleep(wait).await;
        }
    }

    async fn ask_once<'a, T: Answer>(
        &'a self,
        asked: &Asked,
        call: ModelCall<'a>,
        deadline: Option<Deadline>,
        ask: &Ask<'a, T>,
        trail: &mut Trail,
    ) -> Result<T, LlmError> {
        let member = &asked.member;
        let name = member.client().name();
        let offline = if member.is_primary() { member.link.trouble() } else { None };
        let is_last = asked.place == self.fallbacks.len();
        let pass = match offline.map_or_else(|| member.admit(call.model, is_last), Err) {
            Ok(pass) => pass,
            Err(error) => {
                trail.skipped(name, &error);
                return Err(error);
            }
        };
        let waiting = Waiting::for_primary(member, &self.options, deadline.is_some());
        let began = Instant::now();
        let answered = within(deadline, ask(asked.clone())).await;
        waiting.over();
        let error = answered.as_ref().err();
        trail.tried(name, error, began.elapsed());
        if member.is_primary() && error.is_none_or(|error| error.waited().is_none()) {
            member.link.report(error);
        }
        match error {
            None => {
                pass.succeeded();
                member.note_answer();
            }
            Some(error) => {
                let opened = pass.failed(error);
                member.note_failure(call.model, error);
                if let Some(times) = opened {
                    probing::begin(member, &self.options, times);
                }
            }
        }
        answered
    }

    /// Whether an error says that no model answers: not that of a request that none could
    /// answer, nor of a key that the primary does not take.
    pub(super) fn is_outage(&self, error: &LlmError) -> bool {
        let kind = error.kind();
        let primary = self.primary.client().name();
        let is_refused = |it: &Attempt| {
            let is_so = matches!(it.outcome, Outcome::Failed { kind, .. } if kind == LlmErrorKind::Credentials);
            is_so && it.client == primary
        };
        let is_nobody =
            kind == LlmErrorKind::Unavailable || self.options.fall_back_on.contains(&kind);
        is_nobody && !error.attempts().iter().any(is_refused)
    }

    /// When the next model is to be asked, where there is one.
    fn deadline(&self, member: &Member, call: ModelCall<'_>) -> Option<Deadline> {
        let is_bounded = member.is_primary() && !self.fallbacks.is_empty();
        let (budget, now) = (self.options.budget(call.is_streamed), Instant::now());
        let of_caller = call.patience.map(|patience| patience / 2).filter(|it| *it < budget);
        is_bounded.then(|| Deadline {
            at: now + of_caller.unwrap_or(budget),
            is_callers: of_caller.is_some(),
        })
    }
}

/// When the next model is to be asked.
#[derive(Debug, Clone, Copy)]
struct Deadline {
    at: Instant,
    /// Whether that is for the caller's sake alone.
    is_callers: bool,
}

async fn within<T>(
    deadline: Option<Deadline>,
    answer: impl Future<Output = Result<T, LlmError>>,
) -> Result<T, LlmError> {
    let Some(Deadline { at, is_callers }) = deadline else { return answer.await };
    let left = at.saturating_duration_since(Instant::now());
    tokio::time::timeout_at(at, answer).await.unwrap_or_else(|_| {
        if is_callers {
            return Err(LlmError::impatience(left));
        }
        let message = format!("no answer within the {left:.1?} that it had");
        Err(LlmError::new(LlmErrorKind::Timeout, message))
    })
}

/// A call that waits for the primary. That its caller went away after some time may be the
/// primary's doing.
struct Waiting<'a> {
    /// Until it is over. `None`: nobody else could answer.
    primary: Option<(&'a Arc<Member>, &'a OfflineLlmOptions)>,
    began: Instant,
}

impl<'a> Waiting<'a> {
    fn for_primary(
        member: &'a Arc<Member>,
        options: &'a OfflineLlmOptions,
        has_others: bool,
    ) -> Self {
        Self { primary: has_others.then_some((member, options)), began: Instant::now() }
    }

    fn over(mut self) {
        self.primary = None;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some((primary, options)) = self.primary {
            primary.opened_by(&LlmError::impatience(self.began.elapsed()), options);
        }
    }
}

/// Whether the same request may be answered when it is sent again at once. A gateway before
/// the server (502 to 504) knows that it is gone; who names a time means it.
fn may_be_gone_in_a_moment(error: &LlmError) -> bool {
    error.kind() == LlmErrorKind::Busy
        && error.retry_after().is_none()
        && matches!(error.status(), None | Some(408 | 409 | 500))
}
