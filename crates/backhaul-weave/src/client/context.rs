//! Where a program is: in which call, conversation and attributes. Calls that begin stand
//! below the call that they begin in.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task;

use serde::Serialize;
use serde_json::Value;

use super::call::Call;
use super::call_state::{Attributes, CallState};

thread_local! {
    /// The contexts that this thread is in, the innermost last.
    static WITHIN: RefCell<Vec<Within>> = const { RefCell::new(Vec::new()) };
}

/// A context that a thread is in, until it is left.
struct Within {
    by: By,
    context: Context,
    /// What is before it in the list counts: code that runs inside of this span already.
    yields: bool,
}

/// By what a thread is in a context.
#[derive(PartialEq, Eq)]
enum By {
    /// Code that is run in it: what began last ends first.
    Scope,
    /// A span of `tracing`, entered so often. It may be left before what was entered later.
    #[cfg(feature = "tracing-layer")]
    Span(uuid::Uuid, usize),
}

/// Where a program is: the call that it is in, the conversation and the attributes of what it
/// logs. Calls stand below the call of the context that they begin in.
///
/// Across `await`, in the same task, and down the stack of a thread it is kept by itself. What
/// runs elsewhere takes it along: [`spawn`](crate::spawn), [`spawn_blocking`](crate::spawn_blocking)
/// and [`spawn_thread`](crate::spawn_thread) do, and [`run`](Context::run) and
/// [`run_async`](Context::run_async) do it for any other pool.
///
/// Cheap to clone.
///
/// ```
/// use backhaul_weave::Context;
/// let context = Context::current();
/// let sum = std::thread::spawn(move || context.run(|| 40 + 2)).join();
/// assert_eq!(sum.ok(), Some(42));
/// ```
#[derive(Clone, Default)]
pub struct Context(Option<Arc<Frame>>);

#[derive(Clone, Default)]
pub(crate) struct Frame {
    pub(crate) call: Option<Arc<CallState>>,
    pub(crate) recorder: Option<Arc<super::recorder::Recorder>>,
    pub(crate) thread: Option<Arc<str>>,
    pub(crate) attributes: Option<Arc<Attributes>>,
    /// Nothing is logged here: the call that this is in was left out.
    pub(crate) is_left_out: bool,
    /// Told of the first call that begins right here.
    pub(crate) witness: Option<Arc<OnceLock<Call>>>,
}

impl Context {
    /// The context of what is running now.
    pub fn current() -> Self {
        // A thread that ends has none any more.
        let current =
            WITHIN.try_with(|within| innermost(&within.borrow()).map(|one| one.context.clone()));
        current.ok().flatten().unwrap_or_default()
    }

    /// The same with attributes, an object, for all calls that begin in it. Of two with one
    /// name, the inner one counts.
    #[must_use]
    pub fn with_attributes(&self, attributes: impl Serialize) -> Self {
        let Ok(Value::Object(own)) = serde_json::to_value(attributes) else {
            tracing::warn!("attributes are an object: these are left out");
            return self.clone();
        };
        let mut all = self.frame().attributes.as_deref().cloned().unwrap_or_default();
        all.extend(own);
        self.changed(|frame| frame.attributes = Some(Arc::new(all)))
    }

    /// The same in a conversation: the first call that begins in it is a turn of it, together
    /// with all that stand below that.
    #[must_use]
    pub fn with_thread(&self, id: impl Into<String>) -> Self {
        let id: Arc<str> = id.into().into();
        self.changed(|frame| frame.thread = Some(id))
    }

    /// The same where nothing is logged.
    #[must_use]
    pub fn without_logging(&self) -> Self {
        self.changed(|frame| frame.is_left_out = true)
    }

    /// Runs something in this context, on this thread.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        let _entered = self.enter();
        work()
    }

    /// A future that runs in this context, wherever it is polled.
    pub fn run_async<F: Future>(&self, future: F) -> InContext<F> {
        InContext { context: self.clone(), future }
    }

    pub(crate) fn changed(&self, change: impl FnOnce(&mut Frame)) -> Self {
        let mut frame = self.frame();
        change(&mut frame);
        Self(Some(Arc::new(frame)))
    }

    fn frame(&self) -> Frame {
        self.0.as_deref().cloned().unwrap_or_default()
    }

    pub(crate) fn as_frame(&self) -> Option<&Frame> {
        self.0.as_deref()
    }

    pub(crate) fn of_frame(frame: Frame) -> Self {
        Self(Some(Arc::new(frame)))
    }

    /// Makes it the current one until what is answered is dropped.
    pub(crate) fn enter(&self) -> Entered {
        self.push(By::Scope);
        Entered { _on_this_thread: PhantomData }
    }

    /// Makes it the current one until the span is left on this thread as often as it was
    /// entered. Nothing changes where the thread is in the span already, or runs what stands
    /// below it: that is the innermost still.
    #[cfg(feature = "tracing-layer")]
    pub(crate) fn enter_span(&self, span: uuid::Uuid) {
        let entered_before = WITHIN.try_with(|within| {
            let mut within = within.borrow_mut();
            let times = within.iter_mut().rev().find_map(|one| one.by.times_of(span));
            times.map(|times| *times += 1).is_some()
        });
        if let Ok(false) = entered_before {
            self.push(By::Span(span, 1));
        }
    }

    /// The span is left, whatever else was entered since.
    #[cfg(feature = "tracing-layer")]
    pub(crate) fn leave_span(span: uuid::Uuid) {
        let left = WITHIN.try_with(|within| {
            let mut within = within.borrow_mut();
            let at = within.iter_mut().rposition(|one| one.by.times_of(span).is_some())?;
            let times = within.get_mut(at)?.by.times_of(span)?;
            *times -= 1;
            (*times == 0).then(|| remove(&mut within, at))
        });
        // Dropped outside: its end may ask for the context.
        drop(left);
    }

    fn push(&self, by: By) {
        let context = self.clone();
        // On a thread that ends there is nothing to be in.
        let _ = WITHIN.try_with(move |within| {
            let mut within = within.borrow_mut();
            let yields = by != By::Scope && is_inside(&within, &context);
            within.push(Within { by, context, yields });
        });
    }
}

fn innermost(within: &[Within]) -> Option<&Within> {
    within.iter().rev().find(|one| !one.yields)
}

fn remove(within: &mut Vec<Within>, at: usize) -> Within {
    let left = within.remove(at);
    // Those that were entered later may have yielded to it.
    for later in at..within.len() {
        if let Some((one, before)) = within.get_mut(..=later).and_then(<[_]>::split_last_mut) {
            one.yields = one.by != By::Scope && is_inside(before, &one.context);
        }
    }
    left
}

/// Whether what is innermost is code that runs below the call of a span.
fn is_inside(within: &[Within], span: &Context) -> bool {
    let Some(innermost) = innermost(within).filter(|one| one.by == By::Scope) else { return false };
    let Some(span) = span.as_frame().filter(|span| !span.is_left_out) else { return false };
    let Some(above) = &span.call else { return false };
    let mut call = innermost.context.as_frame().and_then(|frame| frame.call.as_ref());
    while let Some(one) = call {
        if one.id == above.id {
            return true;
        }
        call = one.parent.as_ref();
    }
    false
}

#[cfg(feature = "tracing-layer")]
impl By {
    fn times_of(&mut self, span: uuid::Uuid) -> Option<&mut usize> {
        match self {
            Self::Span(one, times) if *one == span => Some(times),
            Self::Span(..) | Self::Scope => None,
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let frame = self.frame();
        f.debug_struct("Context")
            .field("call", &frame.call.map(|call| call.id))
            .field("thread", &frame.thread)
            .field("attributes", &frame.attributes)
            .finish_non_exhaustive()
    }
}

/// Leaves the scope that was entered last.
pub(crate) struct Entered {
    _on_this_thread: PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let left = WITHIN.try_with(|within| {
            let mut within = within.borrow_mut();
            let at = within.iter().rposition(|one| one.by == By::Scope)?;
            Some(remove(&mut within, at))
        });
        // Dropped outside: its end may ask for the context.
        drop(left);
    }
}

pin_project_lite::pin_project! {
    /// A future in a context. Made by [`Context::run_async`].
    #[must_use = "futures do nothing unless they are polled"]
    #[derive(Debug)]
    pub struct InContext<F> {
        context: Context,
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for InContext<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> task::Poll<F::Output> {
        let this = self.project();
        let _entered = this.context.enter();
        this.future.poll(cx)
    }
}
