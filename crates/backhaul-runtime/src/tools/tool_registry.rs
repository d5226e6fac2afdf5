//! The tools that an agent has.

use std::fmt;
use std::sync::Arc;

use backhaul_llm::ToolDefinition;
use serde_json::{Map, Value};

use super::registration_error::{RegistrationError, RegistrationErrorKind};
use super::tool::{Probed, Tool, ToolFuture, ToolInvocation};
use super::tool_error::ToolError;
use super::tool_options::ToolOptions;

/// The most characters of a tool's name, by OpenAI's protocol.
const LONGEST_NAME: usize = 64;

/// The tools that an agent has, by their names, in the order in which they were registered. A
/// clone costs nothing and goes its own way.
///
/// ```
/// use backhaul_runtime::tools::{ToolRegistry, tool};
///
/// /// Reads a sensor, in °C.
/// #[tool]
/// fn read_sensor(name: &str) -> f64 {
///     if name == "mast" { 21.5 } else { f64::NAN }
/// }
///
/// let tools = ToolRegistry::new().with(read_sensor::tool())?;
/// assert_eq!(tools.list_tools(), ["read_sensor"]);
/// assert_eq!(tools.to_openai()[0]["function"]["name"], "read_sensor");
/// assert!(tools.get("write_sensor").is_none());
/// # Ok::<(), backhaul_runtime::tools::RegistrationError>(())
/// ```
#[derive(Clone, Default)]
pub struct ToolRegistry {
    namespace: Option<String>,
    /// Searched one by one: a model is offered a hundred tools at most.
    tools: Arc<Vec<Arc<dyn Tool>>>,
}

impl ToolRegistry {
    /// One without tools.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a word and `-` before the names of the tools that are registered from now on, so
    /// that those of several sources do not clash. (A dot, which would read better, is not
    /// among what models' servers take.) Names of tools are kept with calls that wait: another
    /// namespace makes other tools of them.
    ///
    /// ```
    /// # use backhaul_runtime::tools::{ToolRegistry, tool};
    /// # /// Opens it.
    /// # #[tool]
    /// # fn open_valve() {}
    /// let tools = ToolRegistry::new().namespace("pump-3").with(open_valve::tool())?;
    /// assert_eq!(tools.list_tools(), ["pump-3-open_valve"]);
    /// # Ok::<(), backhaul_runtime::tools::RegistrationError>(())
    /// ```
    #[must_use]
    pub fn namespace(self, namespace: impl Into<String>) -> Self {
        Self { namespace: Some(namespace.into()), ..self }
    }

    /// With one more tool.
    ///
    /// # Errors
    /// Those of [`register`](ToolRegistry::register).
    pub fn with(mut self, tool: impl Tool) -> Result<Self, RegistrationError> {
        self.register(tool)?;
        Ok(self)
    }

    /// Adds a tool.
    ///
    /// # Errors
    /// When a tool of its name is there, its name is not 1 to 64 of the letters a to z and A
    /// to Z, digits, `_` and `-`, or its [options](ToolOptions::check) contradict themselves.
    /// Nothing has changed then.
    pub fn register(&mut self, tool: impl Tool) -> Result<(), RegistrationError> {
        let tool = match &self.namespace {
            Some(namespace) => Arc::new(Renamed::new(namespace, tool)) as Arc<dyn Tool>,
            None => Arc::new(tool),
        };
        let name = &tool.definition().name;
        check_name(name)?;
        tool.options().check().map_err(|error| error.of_tool(name))?;
        check_collapse(&*tool).map_err(|error| error.of_tool(name))?;
        if self.get(name).is_some() {
            let message = format!(
                "a tool `{name}` is registered already: give one of them another `name`, or \
                 register it in a namespace"
            );
            return Err(RegistrationError::new(RegistrationErrorKind::DuplicateName, message));
        }
        Arc::make_mut(&mut self.tools).push(tool);
        Ok(())
    }

    /// The tool of a name.
    pub fn get(&self, name: &str) -> Option<Arc<dyn Tool>> {
        self.tools.iter().find(|tool| tool.definition().name == name).cloned()
    }

    /// The names of the tools, in order.
    pub fn list_tools(&self) -> Vec<&str> {
        self.tools.iter().map(|tool| tool.definition().name.as_str()).collect()
    }

    /// What models are told of the tools, in order.
    pub fn definitions(&self) -> Vec<ToolDefinition> {
        self.tools.iter().map(|tool| tool.definition().clone()).collect()
    }

    /// The tools as chat completions have them: the array `tools` of a request.
    pub fn to_openai(&self) -> Value {
        self.tools.iter().map(|tool| tool.definition().to_openai()).collect()
    }

    /// The tools as Anthropic's messages have them: the array `tools` of a request.
    pub fn to_anthropic(&self) -> Value {
        self.tools.iter().map(|tool| tool.definition().to_anthropic()).collect()
    }
}

impl fmt::Debug for ToolRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ToolRegistry").field(&self.list_tools()).finish()
    }
}

fn check_name(name: &str) -> Result<(), RegistrationError> {
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
    if (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(is_allowed) {
        return Ok(());
    }
    let message = format!(
        "a tool cannot be called `{name}`: expected 1 to {LONGEST_NAME} letters (a to z, A to \
         Z), digits, `_` and `-`"
    );
    Err(RegistrationError::new(RegistrationErrorKind::InvalidName, message))
}

fn check_collapse(tool: &dyn Tool) -> Result<(), RegistrationError> {
    let known = tool.definition().parameters.get("properties");
    let mut named = tool.options().collapse_by.iter().flatten();
    match named.find(|name| known.is_none_or(|known| known.get(name.as_str()).is_none())) {
        None => Ok(()),
        Some(name) => {
            let message = format!("`collapse_by` names `{name}`, which is no argument of it");
            Err(RegistrationError::new(RegistrationErrorKind::InvalidOptions, message))
        }
    }
}

/// A tool in a namespace.
struct Renamed<T> {
    definition: ToolDefinition,
    tool: T,
}

impl<T: Tool> Renamed<T> {
    fn new(namespace: &str, tool: T) -> Self {
        let definition = tool.definition();
        let name = format!("{namespace}-{}", definition.name);
        Self { definition: ToolDefinition { name, ..definition.clone() }, tool }
    }
}

impl<T: Tool> Tool for Renamed<T> {
    fn definition(&self) -> &ToolDefinition {
        &self.definition
    }

    fn options(&self) -> &ToolOptions {
        self.tool.options()
    }

    fn check_arguments(&self, arguments: &Map<String, Value>) -> Result<(), ToolError> {
        self.tool.check_arguments(arguments)
    }

    fn call<'a>(&'a self, invocation: &'a ToolInvocation) -> ToolFuture<'a, Value> {
        self.tool.call(invocation)
    }

    fn local<'a>(&'a self, invocation: &'a ToolInvocation) -> Option<ToolFuture<'a, Value>> {
        self.tool.local(invocation)
    }

    fn probe<'a>(&'a self, invocation: &'a ToolInvocation) -> Option<ToolFuture<'a, Probed>> {
        self.tool.probe(invocation)
    }
}
