//! Calls by hand: of what is no function of its own.

use std::fmt::{self, Display};
use std::future::Future;
use std::sync::{Arc, OnceLock};

use serde::Serialize;

use super::arguments::Arguments;
use super::call_state::CallState;
use super::context::Context;
use super::exception::Exception;
use super::json_object::quoted;
use super::op::Op;
use super::recorder::{Active, Recorder};
use super::running::{Begun, Outcome};
use super::value::Captured;
use super::weave_client;

/// A call that was begun: what it is called, and what can be said of it.
///
/// Cheap to clone.
#[derive(Clone)]
pub struct Call {
    state: Arc<CallState>,
    recorder: Arc<Recorder>,
}

impl Call {
    pub(crate) fn new(state: Arc<CallState>, recorder: Arc<Recorder>) -> Self {
        Self { state, recorder }
    }

    pub(crate) fn of(active: &Active) -> Self {
        Self::new(Arc::clone(&active.call), Arc::clone(&active.recorder))
    }

    /// Its id, a UUID.
    pub fn id(&self) -> String {
        self.state.id.to_string()
    }

    /// The id of the trace that it belongs to.
    pub fn trace_id(&self) -> String {
        self.state.trace_id.to_string()
    }

    /// Its address: `weave:///entity/project/call/ID`.
    pub fn address(&self) -> String {
        format!("weave:///{}/call/{}", self.recorder.project, self.state.id)
    }

    /// Sets something in its summary, while it goes on. What a model used is
    /// `"usage": {MODEL: {…}}`, and is added up over the calls above.
    pub fn set_summary(&self, key: &str, value: impl Serialize) {
        match serde_json::to_value(value) {
            Ok(value) => self.state.set_summary(key, value),
            Err(error) => tracing::warn!(%error, key, "left out of a call's summary"),
        }
    }

    /// What runs in it: calls that begin there stand below it.
    pub fn context(&self) -> Context {
        Context::current().changed(|frame| {
            frame.call = Some(Arc::clone(&self.state));
            frame.recorder = Some(Arc::clone(&self.recorder));
            frame.thread = self.state.thread.as_ref().map(|(thread, _)| Arc::clone(thread));
            frame.is_left_out = false;
            frame.witness = None;
        })
    }

    /// Ends it with what came of it. Only the first end counts.
    pub fn finish(&self, output: impl Serialize) {
        self.recorder.end(&self.state, Captured::of(&output), None);
    }

    /// Ends it with what went wrong. Only the first end counts.
    pub fn fail(&self, exception: Exception) {
        self.recorder.end(&self.state, Captured::null(), Some(exception));
    }

    pub(crate) fn recorder(&self) -> &Arc<Recorder> {
        &self.recorder
    }

    /// The name of its op.
    pub fn op_name(&self) -> &str {
        &self.state.op.name
    }

    /// The address of its op's version, where it has one: a call by hand has none.
    pub fn op_address(&self) -> Option<String> {
        let op = &self.state.op;
        let has_version = op.quoted_address != quoted(&op.name);
        has_version.then(|| op.quoted_address.trim_matches('"').to_owned())
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("id", &self.state.id)
            .field("op", &self.state.op.name)
            .finish_non_exhaustive()
    }
}

/// The call that the program is in, where it is in one that is logged.
///
/// ```
/// assert!(backhaul_weave::current_call().is_none());
/// ```
pub fn current_call() -> Option<Call> {
    let context = Context::current();
    let frame = context.as_frame()?;
    Some(Call::new(Arc::clone(frame.call.as_ref()?), Arc::clone(frame.recorder.as_ref()?)))
}

/// Runs something, and gives the first call that was begun in it, to say something of it.
///
/// ```
/// # use backhaul_weave as weave;
/// # let dir = tempfile::tempdir()?;
/// weave::init("my_team/my_project").offline(true).offline_dir(dir.path()).start()?;
/// let (sum, call) = weave::with_call(|| weave::call("add").input("a", 40).run(|| 40 + 2));
/// assert_eq!(sum, 42);
/// assert!(call.is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn with_call<T>(work: impl FnOnce() -> T) -> (T, Option<Call>) {
    let witness = Arc::new(OnceLock::new());
    let context = Context::current().changed(|frame| frame.witness = Some(Arc::clone(&witness)));
    let done = context.run(work);
    (done, witness.get().cloned())
}

/// [`with_call`] of a future.
pub async fn with_call_async<F: Future>(work: F) -> (F::Output, Option<Call>) {
    let witness = Arc::new(OnceLock::new());
    let context = Context::current().changed(|frame| frame.witness = Some(Arc::clone(&witness)));
    let done = context.run_async(work).await;
    (done, witness.get().cloned())
}

/// A call of something that has a name, to be run or begun.
///
/// ```
/// # use backhaul_weave as weave;
/// # let dir = tempfile::tempdir()?;
/// weave::init("my_team/my_project").offline(true).offline_dir(dir.path()).start()?;
/// let celsius = weave::call("read").input("sensor", "mast").run(|| 21.5);
/// assert_eq!(celsius, 21.5);
///
/// let call = weave::call("watch").start();
/// // … until something happens, elsewhere.
/// if let Some(call) = call {
///     call.finish("it moved");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn call(op_name: impl Into<String>) -> CallBuilder {
    CallBuilder { op_name: op_name.into(), arguments: Arguments::default() }
}

/// What is said of a call before it begins. Made by [`call`].
#[derive(Debug)]
#[must_use = "a call that is not run or started is not logged"]
pub struct CallBuilder {
    op_name: String,
    arguments: Arguments,
}

impl CallBuilder {
    /// An input.
    pub fn input(mut self, name: impl AsRef<str>, value: impl Serialize) -> Self {
        self.arguments.add(name.as_ref(), Captured::of(&value));
        self
    }

    /// An attribute, beside those of the context.
    pub fn attribute(mut self, name: impl AsRef<str>, value: impl Serialize) -> Self {
        self.arguments.attribute(name.as_ref(), Captured::of(&value));
        self
    }

    /// What is shown in the place of the op's name; what is beyond 1,024 characters is cut.
    pub fn display_name(mut self, name: impl Into<String>) -> Self {
        self.arguments.display_name(name);
        self
    }

    /// Begins it, in the context of now. It goes on until [`Call::finish`] or [`Call::fail`];
    /// one that never ends is shown as running. `None`: nothing is logged here.
    pub fn start(self) -> Option<Call> {
        self.begin(false).map(|active| Call::of(&active))
    }

    /// Runs something as the call; what it gives is the output.
    pub fn run<T: Serialize>(self, work: impl FnOnce() -> T) -> T {
        let begun = Begun::of(self.begin(false));
        begun.run(work, |outcome, output| outcome.returned(Captured::of(output)))
    }

    /// Runs something as the call that may fail: an error is the call's.
    ///
    /// # Errors
    /// As of `work`.
    pub fn try_run<T: Serialize, E: Display>(
        self,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let begun = Begun::of(self.begin(false));
        begun.run(work, |outcome, result| match result {
            Ok(output) => outcome.returned(Captured::of(output)),
            Err(error) => outcome.failed(Exception::of_shown(error)),
        })
    }

    /// Runs a future as the call; it begins now.
    pub async fn run_async<F: Future<Output: Serialize>>(self, work: F) -> F::Output {
        let begun = Begun::of(self.begin(true));
        let record = |outcome: &mut Outcome, output: &F::Output| {
            outcome.returned(Captured::of(output));
        };
        begun.run_async(work, record).await
    }

    /// Runs a future as the call that may fail; it begins now.
    ///
    /// # Errors
    /// As of `work`.
    pub async fn try_run_async<T: Serialize, E: Display>(
        self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let begun = Begun::of(self.begin(true));
        let record = |outcome: &mut Outcome, result: &Result<T, E>| match result {
            Ok(output) => outcome.returned(Captured::of(output)),
            Err(error) => outcome.failed(Exception::of_shown(error)),
        };
        begun.run_async(work, record).await
    }

    fn begin(self, is_async: bool) -> Option<Active> {
        let context = Context::current();
        let recorder = weave_client::recorder_of(&context)?;
        let op = Arc::new(Op::named(&self.op_name, is_async));
        Some(recorder.begin(op, self.arguments.into_said(), &context))
    }
}
