//! The client that goes from one model to the next.

use std::fmt;
use std::sync::Arc;

use backhaul_sync::{ConnectivityMonitor, OptionError, PlannedOutage};
use tokio::sync::watch;
use tokio::time::Instant;

use super::answer_cache::AnswerCache;
use super::asked::Asked;
use super::breaker::BreakerState;
use super::failover::{Answer, Failover, ModelCall};
use super::link::Link;
use super::member::{Member, ModelStatus};
use super::options::OfflineLlmOptions;
use crate::capabilities::ModelCapabilities;
use crate::chunk_stream::ChunkStream;
use crate::client::{LlmClient, LlmFuture, TokenCount};
use crate::completion::CompletionResult;
use crate::error::LlmError;
use crate::metadata::Metadata;
use crate::request::ChatRequest;

/// A model call that is answered whatever happens to the network: by the primary while it
/// answers, else by the first of the fallbacks that does. The answer says which.
///
/// During an outage the first call alone pays for finding out: then the primary is left alone,
/// and looked at in the background until it can be asked again. A streamed answer is not
/// passed on before the model has said something, so that until then another one can be asked
/// in its place; after that an error ends the stream, and nothing is made up.
///
/// Needs a tokio runtime. Clones are one client.
///
/// ```
/// # use backhaul_llm::{ChatRequest, ChunkStream, CompletionResult, LlmClient, LlmError};
/// # use backhaul_llm::{LlmErrorKind, LlmFuture, Metadata, ModelCapabilities};
/// # struct Model(&'static str);
/// # impl LlmClient for Model {
/// #     fn name(&self) -> &str { self.0 }
/// #     fn complete<'a>(&'a self, _: &'a ChatRequest) -> LlmFuture<'a, CompletionResult> {
/// #         Box::pin(async {
/// #             if self.0 == "cloud" {
/// #                 return Err(LlmError::new(LlmErrorKind::Unreachable, "no network"));
/// #             }
/// #             let choice = serde_json::json!({"message": {"role": "assistant", "content": "Yes."}});
/// #             let body = serde_json::json!({"model": self.0, "choices": [choice]});
/// #             CompletionResult::from_json(body, Metadata::of_model(self.0))
/// #         })
/// #     }
/// #     fn stream<'a>(&'a self, _: &'a ChatRequest) -> LlmFuture<'a, ChunkStream> {
/// #         Box::pin(async { Err(LlmError::new(LlmErrorKind::Unsupported, "no streams")) })
/// #     }
/// #     fn capabilities(&self) -> LlmFuture<'_, ModelCapabilities> {
/// #         Box::pin(async { Ok(ModelCapabilities::TEXT) })
/// #     }
/// # }
/// use backhaul_llm::{Message, OfflineLlmClient, Source, TokenBudget};
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// # let (cloud, local) = (Model("cloud"), Model("local"));
/// let client = OfflineLlmClient::new(cloud, local);
/// let messages = vec![Message::user("Is it warm?")];
/// let answer = client.complete((messages, TokenBudget::new(16_000))).await?;
/// assert_eq!((answer.content().as_str(), answer.metadata.source), ("Yes.", Source::Fallback));
/// assert_eq!(answer.metadata.reason, "unreachable");
/// # Ok::<(), LlmError>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct OfflineLlmClient {
    failover: Arc<Failover>,
}

/// Puts an [`OfflineLlmClient`] together.
#[must_use]
pub struct OfflineLlmClientBuilder {
    primary: Arc<dyn LlmClient>,
    fallbacks: Vec<Arc<dyn LlmClient>>,
    options: OfflineLlmOptions,
}

impl OfflineLlmClientBuilder {
    /// Adds a model that is asked where those before it do not answer.
    pub fn fallback(mut self, client: impl LlmClient + 'static) -> Self {
        self.fallbacks.push(Arc::new(client));
        self
    }

    /// Sets all options.
    pub fn options(self, options: OfflineLlmOptions) -> Self {
        Self { options, ..self }
    }

    /// The client.
    ///
    /// # Errors
    /// Where an option makes no sense.
    pub fn build(self) -> Result<OfflineLlmClient, OptionError> {
        self.options.check()?;
        let Self { primary, fallbacks, options } = self;
        let link = Link::default();
        let fallback = |client| Arc::new(Member::fallback(client, &options, link.clone()));
        let fallbacks = fallbacks.into_iter().map(fallback).collect();
        Ok(OfflineLlmClient::of(Member::primary(primary, link), fallbacks, options))
    }
}

impl fmt::Debug for OfflineLlmClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfflineLlmClientBuilder")
            .field("primary", &self.primary.name())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl OfflineLlmClient {
    /// A client with one fallback and the default options.
    pub fn new(primary: impl LlmClient + 'static, fallback: impl LlmClient + 'static) -> Self {
        let options = OfflineLlmOptions::default();
        let link = Link::default();
        let fallback = Member::fallback(Arc::new(fallback), &options, link.clone());
        Self::of(Member::primary(Arc::new(primary), link), vec![Arc::new(fallback)], options)
    }

    fn of(primary: Member, fallbacks: Vec<Arc<Member>>, options: OfflineLlmOptions) -> Self {
        Self { failover: Arc::new(Failover::new(primary, fallbacks, Arc::new(options))) }
    }

    /// The same fallbacks, links and options behind another primary. A fallback does not
    /// answer more at a time for that.
    #[must_use]
    pub fn behind(&self, primary: impl LlmClient + 'static) -> Self {
        let primary = Member::primary(Arc::new(primary), self.failover.link().clone());
        Self { failover: Arc::new(self.failover.behind(primary)) }
    }

    /// A client whose options are set, with as many fallbacks as are added.
    pub fn builder(primary: impl LlmClient + 'static) -> OfflineLlmClientBuilder {
        let (primary, options) = (Arc::new(primary), OfflineLlmOptions::default());
        OfflineLlmClientBuilder { primary, fallbacks: Vec::new(), options }
    }

    /// Has the models answer as a whole.
    ///
    /// # Errors
    /// That of the primary where it is the request's own fault, or where there is no fallback;
    /// else one that names what became of each.
    pub async fn complete(
        &self,
        request: impl Into<ChatRequest>,
    ) -> Result<CompletionResult, LlmError> {
        self.completed(&request.into()).await
    }

    /// Has the models answer in pieces. Ready when one has said something.
    ///
    /// # Errors
    /// As [`complete`](Self::complete).
    pub async fn stream(&self, request: impl Into<ChatRequest>) -> Result<ChunkStream, LlmError> {
        self.streamed(&request.into()).await
    }

    /// Asks the primary nothing while a monitor says that there is no link, tells it how
    /// requests went, and looks at what was left alone as soon as it hears of a network.
    pub fn watch(&self, monitor: &ConnectivityMonitor) {
        self.failover.link().watch(monitor);
    }

    /// Has `outage` asked before each call, which waits for it: it may look at a file, and no
    /// longer than that. While it gives a [`PlannedOutage`] the primary is asked nothing.
    pub fn offline_while(
        &self,
        outage: impl Fn() -> Option<PlannedOutage> + Send + Sync + 'static,
    ) {
        self.failover.link().offline_while(Arc::new(outage));
    }

    /// Keeps the primary's whole answers, and gives them again, marked as
    /// [`Source::Cache`](crate::Source::Cache), where no model answers the very same request. What
    /// is [asked](Self::ask) in a way of one's own has no part in it.
    pub fn keep_answers(&self, cache: AnswerCache) {
        self.failover.kept.set(cache);
    }

    /// How the models stand, the primary first.
    pub fn status(&self) -> Vec<ModelStatus> {
        self.failover.members().map(|member| member.status()).collect()
    }

    /// The models, the primary first.
    pub fn models(&self) -> impl Iterator<Item = &dyn LlmClient> {
        self.failover.members().map(|member| &**member.client())
    }

    /// Whether the primary would be asked now, be it by one call that tries it: there is a link
    /// as far as is known, no outage is planned, and it is not left alone.
    pub fn is_primary_asked(&self) -> bool {
        let is_left_alone = *self.primary_state().borrow() == BreakerState::Open;
        !is_left_alone && self.failover.link().trouble().is_none()
    }

    /// Looks whether the primary is there, where it would be asked, so that not the first call
    /// has to find out. One that is not is left alone as after a call.
    pub async fn look(&self) {
        if self.is_primary_asked() {
            self.failover.look().await;
        }
    }

    /// Whether the primary is left alone, and each change of that.
    pub fn primary_state(&self) -> watch::Receiver<BreakerState> {
        self.failover.primary().breaker.subscribe()
    }

    /// Asks the models in a way of one's own, such as in another form than chat, one after the
    /// other until one answers.
    ///
    /// # Errors
    /// As [`complete`](Self::complete).
    pub async fn ask<'a, T: Answer>(
        &'a self,
        call: ModelCall<'a>,
        ask: impl Fn(Asked) -> LlmFuture<'a, T> + Send + Sync + 'a,
    ) -> Result<T, LlmError> {
        self.failover.run(call, &ask).await
    }

    async fn completed(&self, request: &ChatRequest) -> Result<CompletionResult, LlmError> {
        let began = Instant::now();
        let ask = |asked: Asked| -> LlmFuture<'_, CompletionResult> {
            Box::pin(async move { asked.complete(request).await })
        };
        let mut answer = match self.failover.run(request.into(), &ask).await {
            Ok(answer) => {
                self.failover.kept.keep(self.name(), request, &answer).await;
                answer
            }
            Err(error) => self.kept_answer(request, error).await?,
        };
        answer.latency = began.elapsed();
        Ok(answer)
    }

    async fn streamed(&self, request: &ChatRequest) -> Result<ChunkStream, LlmError> {
        let ask = |asked: Asked| -> LlmFuture<'_, ChunkStream> {
            Box::pin(async move { asked.stream(request).await })
        };
        let call = ModelCall { is_streamed: true, ..request.into() };
        match self.failover.run(call, &ask).await {
            Ok(stream) => Ok(stream),
            Err(error) => self.kept_answer(request, error).await.map(ChunkStream::of_answer),
        }
    }

    /// The answer that is kept for a request which no model answers.
    ///
    /// # Errors
    /// `error`, where there is none.
    async fn kept_answer(
        &self,
        request: &ChatRequest,
        error: LlmError,
    ) -> Result<CompletionResult, LlmError> {
        let found = match self.failover.is_outage(&error) {
            true => self.failover.kept.find(self.name(), request).await,
            false => None,
        };
        let mut answer = found.ok_or_else(|| error.clone())?;
        answer.metadata.attempts = error.attempts().to_vec();
        error.kind().name().clone_into(&mut answer.metadata.reason);
        Ok(answer)
    }
}

impl Answer for CompletionResult {
    fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }
}

impl Answer for ChunkStream {
    fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }
}

/// Tokens and capabilities are those of the primary.
impl LlmClient for OfflineLlmClient {
    fn name(&self) -> &str {
        self.failover.primary().client().name()
    }

    fn complete<'a>(&'a self, request: &'a ChatRequest) -> LlmFuture<'a, CompletionResult> {
        Box::pin(self.completed(request))
    }

    fn stream<'a>(&'a self, request: &'a ChatRequest) -> LlmFuture<'a, ChunkStream> {
        Box::pin(self.streamed(request))
    }

    fn count_tokens<'a>(&'a self, request: &'a ChatRequest) -> LlmFuture<'a, TokenCount> {
        self.failover.primary().client().count_tokens(request)
    }

    fn capabilities(&self) -> LlmFuture<'_, ModelCapabilities> {
        self.failover.primary().client().capabilities()
    }
}

impl fmt::Debug for OfflineLlmClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfflineLlmClient").field("models", &self.status()).finish_non_exhaustive()
    }
}
