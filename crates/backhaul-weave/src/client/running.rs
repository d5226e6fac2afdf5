//! Running what is a call: its end is noted whatever becomes of it.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use super::exception::Exception;
use super::recorder::Active;
use super::value::Captured;

/// A call that has begun, or one that is not logged.
pub struct Begun(Begins);

enum Begins {
    Logged(Active),
    /// Nothing in it is logged either.
    LeftOut(super::context::Context),
    /// There is nobody who logs.
    Unheard,
}

/// What a call comes to, as its op tells it.
#[derive(Debug, Default)]
pub struct Outcome {
    output: Option<Captured>,
    exception: Option<Exception>,
}

impl Outcome {
    /// It gave a value.
    pub fn returned(&mut self, value: Captured) {
        self.output = Some(value);
    }

    /// It gave a value that is not kept.
    pub fn hidden(&mut self) {
        self.output = None;
    }

    /// It failed.
    pub fn failed(&mut self, exception: Exception) {
        self.exception = Some(exception);
    }
}

impl Begun {
    pub(crate) fn of(active: Option<Active>) -> Self {
        Self(active.map_or(Begins::Unheard, Begins::Logged))
    }

    pub(crate) fn left_out(within: &super::context::Context) -> Self {
        Self(Begins::LeftOut(within.without_logging()))
    }

    /// Runs the call, and notes what comes of it. A panic goes on, noted.
    pub fn run<T>(self, body: impl FnOnce() -> T, record: impl FnOnce(&mut Outcome, &T)) -> T {
        let active = match self.0 {
            Begins::Unheard => return body(),
            Begins::LeftOut(context) => return context.run(body),
            Begins::Logged(active) => active,
        };
        let entered = active.context.enter();
        let done = catch_unwind(AssertUnwindSafe(body));
        drop(entered);
        match done {
            Ok(output) => {
                note(&active, record, &output);
                output
            }
            Err(payload) => {
                active.fail(Exception::of_panic(&*payload));
                resume_unwind(payload)
            }
        }
    }

    /// A future that runs the call and notes what comes of it; also that it was dropped before
    /// it was done.
    pub fn run_async<F, R>(self, body: F, record: R) -> OpFuture<F, R>
    where
        F: Future,
        R: FnOnce(&mut Outcome, &F::Output),
    {
        OpFuture { body: Some(body), noting: Noting { begun: self.0, record: Some(record) } }
    }
}

/// Ends a call with what its op tells of its output.
fn note<T>(active: &Active, record: impl FnOnce(&mut Outcome, &T), output: &T) {
    let mut outcome = Outcome::default();
    // What shows an error is the program's code, which may panic: the call has ended all the same.
    let _ = catch_unwind(AssertUnwindSafe(|| record(&mut outcome, output)));
    match outcome.exception {
        Some(exception) => active.fail(exception),
        None => active.finish(outcome.output.unwrap_or_else(Captured::null)),
    }
}

pin_project_lite::pin_project! {
    /// A call that is a future. Made by ops.
    #[must_use = "futures do nothing unless they are polled"]
    pub struct OpFuture<F, R> {
        // Dropped in the context of the call, before that ends.
        #[pin]
        body: Option<F>,
        noting: Noting<R>,
    }

    impl<F, R> PinnedDrop for OpFuture<F, R> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _entered = this.noting.enter();
            this.body.set(None);
        }
    }
}

/// What is left to be noted of a call.
struct Noting<R> {
    begun: Begins,
    /// `None`: it is over.
    record: Option<R>,
}

impl<R> Noting<R> {
    fn enter(&self) -> Option<super::context::Entered> {
        match &self.begun {
            Begins::Logged(active) => Some(active.context.enter()),
            Begins::LeftOut(context) => Some(context.enter()),
            Begins::Unheard => None,
        }
    }
}

impl<R> Drop for Noting<R> {
    fn drop(&mut self) {
        if let (Begins::Logged(active), Some(_)) = (&self.begun, self.record.take()) {
            active.fail(Exception::cancelled());
        }
    }
}

impl<F, R> Future for OpFuture<F, R>
where
    F: Future,
    R: FnOnce(&mut Outcome, &F::Output),
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let entered = this.noting.enter();
        // Polled again after it was done, it says so itself, as any future.
        let polled = catch_unwind(AssertUnwindSafe(|| match this.body.as_mut().as_pin_mut() {
            Some(body) => body.poll(cx),
            None => Poll::Pending,
        }));
        drop(entered);
        let output = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => output,
            Err(payload) => {
                this.noting.record = None;
                if let Begins::Logged(active) = &this.noting.begun {
                    active.fail(Exception::of_panic(&*payload));
                }
                resume_unwind(payload)
            }
        };
        if let (Some(record), Begins::Logged(active)) =
            (this.noting.record.take(), &this.noting.begun)
        {
            note(active, record, &output);
        }
        Poll::Ready(output)
    }
}
