//! What the expansion of `#[tool]` is made of. Not for use by hand: it changes with the macro.

use std::future::{Future, Ready, ready};
use std::time::Duration;

use backhaul_llm::ToolDefinition;
use serde::Serialize;
pub use serde_json::{Map, Value};

pub use super::arguments::Arguments;
use super::failure;
pub use super::parameters::Parameters;
pub use super::{OfflinePolicy, OnUnknown, ToolError, ToolFuture, ToolInvocation, ToolOptions};
pub use super::{Probed, Tool};

/// What a model is told of a tool.
pub type Definition = ToolDefinition;

/// What a time in an option may be.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no time",
    label = "expected a number of seconds (`u64`), or a `Duration`"
)]
pub trait Seconds {
    /// The time.
    fn duration(self) -> Duration;
}

impl Seconds for u64 {
    fn duration(self) -> Duration {
        Duration::from_secs(self)
    }
}

impl Seconds for Duration {
    fn duration(self) -> Duration {
        self
    }
}

/// The time that an option says.
pub fn duration(time: impl Seconds) -> Duration {
    time.duration()
}

/// What a tool returned, as JSON.
///
/// # Errors
/// When it is no JSON. The tool has done its work then, and is not asked to do it again.
pub fn output<T: Serialize>(value: T) -> Result<Value, ToolError> {
    serde_json::to_value(value).map_err(|error| {
        let message = "it was done, and what it returned cannot be written as JSON";
        ToolError::permanent(message).with_source(error)
    })
}

/// What a look at the world returned.
///
/// # Errors
/// Never.
pub fn probed(value: Probed) -> Result<Probed, ToolError> {
    Ok(value)
}

/// Runs a function that blocks where it keeps nobody else from working.
///
/// # Errors
/// What it returns; and when it panics, or there is no runtime of tokio.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ToolError> + Send + 'static,
) -> Result<T, ToolError> {
    let runtime = tokio::runtime::Handle::try_current()?;
    runtime.spawn_blocking(work).await?
}

/// What is asked of a value for what its type can do.
#[derive(Debug)]
pub struct Probe<'a, T>(pub &'a T);

/// A future, to be waited for.
#[derive(Debug)]
pub struct AsFuture;

impl AsFuture {
    /// What comes of it.
    ///
    /// # Errors
    /// Those of `finish`.
    pub async fn settle<F: Future, T>(
        self,
        future: F,
        finish: impl FnOnce(F::Output) -> Result<T, ToolError>,
    ) -> Result<T, ToolError> {
        finish(future.await)
    }
}

/// A value that is there already.
#[derive(Debug)]
pub struct AsReady;

impl AsReady {
    /// What comes of it.
    pub fn settle<R, T>(
        self,
        returned: R,
        finish: impl FnOnce(R) -> Result<T, ToolError>,
    ) -> Ready<Result<T, ToolError>> {
        ready(finish(returned))
    }
}

/// A result.
#[derive(Debug)]
pub struct AsResult;

impl AsResult {
    /// Itself.
    ///
    /// # Errors
    /// What it holds.
    pub fn split<T, E>(self, result: Result<T, E>) -> Result<T, E> {
        result
    }
}

/// A value that is no result: it always went well.
#[derive(Debug)]
pub struct AsPlain;

impl AsPlain {
    /// The value.
    ///
    /// # Errors
    /// Never.
    pub fn split<T>(self, value: T) -> Result<T, std::convert::Infallible> {
        Ok(value)
    }
}

/// By which [`Probe`] is asked. Of several traits that have a method of a name the compiler
/// takes the first that fits: as many borrows as there are, one more, and then fewer.
pub mod probe {
    use std::error::Error;
    use std::fmt::Display;

    use super::{AsFuture, AsPlain, AsReady, AsResult, Future, Probe, ToolError, failure};

    /// Of futures.
    pub trait ByFuture {
        /// What to do with it.
        fn tool_future(&self) -> AsFuture;
    }

    impl<F: Future> ByFuture for Probe<'_, F> {
        fn tool_future(&self) -> AsFuture {
            AsFuture
        }
    }

    /// Of anything else.
    pub trait ByValue {
        /// What to do with it.
        fn tool_future(&self) -> AsReady;
    }

    impl<T> ByValue for &Probe<'_, T> {
        fn tool_future(&self) -> AsReady {
            AsReady
        }
    }

    /// Of results.
    pub trait ByResult {
        /// What to do with it.
        fn tool_split(&self) -> AsResult;
    }

    impl<T, E> ByResult for Probe<'_, Result<T, E>> {
        fn tool_split(&self) -> AsResult {
            AsResult
        }
    }

    /// Of anything else.
    pub trait ByAny {
        /// What to do with it.
        fn tool_split(&self) -> AsPlain;
    }

    impl<T> ByAny for &Probe<'_, T> {
        fn tool_split(&self) -> AsPlain {
            AsPlain
        }
    }

    type AnyError = dyn Error + Send + Sync;

    /// Of what holds an error and can be boxed, as `anyhow::Error`. The box of one hides what
    /// it held, so that is read before.
    pub trait ByHeldError<E> {
        /// The error.
        fn tool_error(&self) -> fn(E) -> ToolError;
    }

    impl<E: AsRef<AnyError> + Into<Box<AnyError>>> ByHeldError<E> for &&Probe<'_, E> {
        fn tool_error(&self) -> fn(E) -> ToolError {
            |error| {
                let kind = failure::kind_of(error.as_ref());
                ToolError::of_boxed_kind(kind, error.into())
            }
        }
    }

    /// Of what can be boxed: errors, texts and the tool's own errors.
    pub trait ByBox<E> {
        /// The error.
        fn tool_error(&self) -> fn(E) -> ToolError;
    }

    impl<E: Into<Box<AnyError>>> ByBox<E> for &&&Probe<'_, E> {
        fn tool_error(&self) -> fn(E) -> ToolError {
            |error| ToolError::of_boxed(error.into())
        }
    }

    /// Of boxes that do not leave their thread: what they hold is told, and not kept.
    pub trait ByLocalError<E> {
        /// The error.
        fn tool_error(&self) -> fn(E) -> ToolError;
    }

    impl<E: AsRef<dyn Error>> ByLocalError<E> for &Probe<'_, E> {
        fn tool_error(&self) -> fn(E) -> ToolError {
            |error| {
                let error = error.as_ref();
                let causes = failure::chain(Some(error)).map(ToString::to_string);
                let message = causes.collect::<Vec<_>>().join(": ");
                ToolError::new(failure::kind_of(error), message)
            }
        }
    }

    /// Of what can be told.
    pub trait ByDisplay<E> {
        /// The error.
        fn tool_error(&self) -> fn(E) -> ToolError
        where
            E: Display;
    }

    impl<E> ByDisplay<E> for Probe<'_, E> {
        fn tool_error(&self) -> fn(E) -> ToolError
        where
            E: Display,
        {
            |error| ToolError::failed(error.to_string())
        }
    }
}
