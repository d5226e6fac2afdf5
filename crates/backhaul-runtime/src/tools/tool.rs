//! A tool, and a call of one.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use backhaul_llm::ToolDefinition;
use serde_json::{Map, Value};

use super::arguments::check_names;
use super::idempotency_key::IdempotencyKey;
use super::tool_error::ToolError;
use super::tool_options::ToolOptions;

/// What a tool's methods give.
pub type ToolFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, ToolError>> + Send + 'a>>;

/// One call, as the tool gets it.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolInvocation {
    /// The arguments.
    pub arguments: Map<String, Value>,
    /// What the intended effect is known by: the same whenever this call is tried again.
    pub key: IdempotencyKey,
    /// Attempts before this one. More than 0: an earlier one may have done it.
    pub attempts: u32,
}

/// What a look at the world says of an effect that may have happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Probed {
    /// It has, with this result.
    Done(Value),
    /// It has not: it is safe to do it.
    NotDone,
    /// It cannot be told: a person is asked.
    Unclear,
}

/// Something that an agent can do. Made of a function by [`#[tool]`](macro@super::tool), or by
/// hand:
///
/// ```
/// use backhaul_llm::ToolDefinition;
/// use backhaul_runtime::tools::{Tool, ToolFuture, ToolInvocation, ToolOptions};
/// use serde_json::{Value, json};
///
/// struct Echo {
///     definition: ToolDefinition,
///     options: ToolOptions,
/// }
///
/// impl Tool for Echo {
///     fn definition(&self) -> &ToolDefinition {
///         &self.definition
///     }
///
///     fn options(&self) -> &ToolOptions {
///         &self.options
///     }
///
///     fn call<'a>(&'a self, invocation: &'a ToolInvocation) -> ToolFuture<'a, Value> {
///         Box::pin(async { Ok(json!(invocation.arguments)) })
///     }
/// }
///
/// let definition = ToolDefinition::new("echo", "Says the same.");
/// let echo = Echo { definition, options: ToolOptions::new() };
/// let invented = json!({"volume": 11});
/// let error = echo.check_arguments(invented.as_object().unwrap()).unwrap_err();
/// assert_eq!(error.to_string(), "there is no argument `volume`; the tool takes none");
/// ```
pub trait Tool: Send + Sync + 'static {
    /// Its name, what it does, and the JSON Schema of its arguments.
    fn definition(&self) -> &ToolDefinition;

    /// What is done where there is no network, and how safe it is to do it again.
    fn options(&self) -> &ToolOptions;

    /// Looks whether arguments are those that it takes, before a call is made or stored for
    /// later. Without more ado: whether their names are known, and none is missing, by the
    /// schema of the [definition](Tool::definition). Tools made by `#[tool]` look at types too.
    ///
    /// # Errors
    /// [`InvalidArguments`](super::ToolErrorKind::InvalidArguments), with what was found and
    /// what was expected, in words that help the model that made the call.
    fn check_arguments(&self, arguments: &Map<String, Value>) -> Result<(), ToolError> {
        check_names(arguments, &self.definition().parameters)
    }

    /// Does it.
    fn call<'a>(&'a self, invocation: &'a ToolInvocation) -> ToolFuture<'a, Value>;

    /// Does something in its place on this device, where there is no network and nothing fresh
    /// in the cache. `None`: there is nothing of the kind.
    fn local<'a>(&'a self, invocation: &'a ToolInvocation) -> Option<ToolFuture<'a, Value>> {
        let _ = invocation;
        None
    }

    /// Finds out whether a call that was begun has been done, without doing it. `None`: that
    /// cannot be found out.
    fn probe<'a>(&'a self, invocation: &'a ToolInvocation) -> Option<ToolFuture<'a, Probed>> {
        let _ = invocation;
        None
    }
}

impl<T: Tool + ?Sized> Tool for Arc<T> {
    fn definition(&self) -> &ToolDefinition {
        (**self).definition()
    }

    fn options(&self) -> &ToolOptions {
        (**self).options()
    }

    fn check_arguments(&self, arguments: &Map<String, Value>) -> Result<(), ToolError> {
        (**self).check_arguments(arguments)
    }

    fn call<'a>(&'a self, invocation: &'a ToolInvocation) -> ToolFuture<'a, Value> {
        (**self).call(invocation)
    }

    fn local<'a>(&'a self, invocation: &'a ToolInvocation) -> Option<ToolFuture<'a, Value>> {
        (**self).local(invocation)
    }

    fn probe<'a>(&'a self, invocation: &'a ToolInvocation) -> Option<ToolFuture<'a, Probed>> {
        (**self).probe(invocation)
    }
}
