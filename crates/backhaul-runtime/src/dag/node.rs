//! A step of a graph.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

/// As often a node is tried by default, the first time included.
pub(super) const DEFAULT_MAX_ATTEMPTS: u32 = 3;

/// As long an attempt may take by default.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);

/// One step of a graph.
///
/// ```
/// use backhaul_runtime::dag::Node;
/// let node = Node::tool("read", "read_sensors")
///     .input("room", "site.room")
///     .input_value("unit", "celsius")
///     .output_key("reading")
///     .max_attempts(5);
/// assert_eq!(node.name, "read");
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Node {
    /// What it is known by in its graph: any text that is not empty.
    pub id: String,
    /// What people call it. Default: the id.
    pub name: String,
    /// What it is for. Default: empty.
    pub description: String,
    /// What is done.
    pub kind: NodeKind,
    /// What each argument is taken from. Default: no arguments.
    pub input_mapping: BTreeMap<String, Input>,
    /// The dot path in the context at which its output is put. Default: it is put nowhere.
    pub output_key: Option<String>,
    /// How often it is tried in all before it has failed, at least 1. Default: 3.
    pub max_attempts: u32,
    /// How long one attempt may take, more than 0; `None`: as long as it takes. Default: 300 s.
    pub timeout: Option<Duration>,
    /// Which of the edges into it must be satisfied. Default: all.
    pub join: Join,
    /// Whatever else its executor is to know. Default: empty.
    pub config: Map<String, Value>,
}

/// What a node does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeKind {
    /// Calls a function of the program.
    Function {
        /// The name under which it is registered.
        function: String,
    },
    /// Calls a tool.
    Tool {
        /// The name of the tool.
        tool: String,
    },
    /// Asks a model.
    Llm {
        /// The template of what is asked.
        prompt: String,
        /// The template of what the model is told beforehand.
        system: Option<String>,
    },
}

/// Where the value of an argument comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// From this dot path in the context.
    Path(String),
    /// It is this one. In JSON and TOML: `{"value": …}`.
    Value(Value),
}

/// Which of the edges into a node must be satisfied for it to run, once all are resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Join {
    /// Every one.
    #[default]
    All,
    /// At least one. It still waits for the rest, so that a run does not depend on which is
    /// faster.
    Any,
}

impl Node {
    /// A node that calls a function of the program.
    pub fn function(id: impl Into<String>, function: impl Into<String>) -> Self {
        Self::of(id.into(), NodeKind::Function { function: function.into() })
    }

    /// A node that calls a tool.
    pub fn tool(id: impl Into<String>, tool: impl Into<String>) -> Self {
        Self::of(id.into(), NodeKind::Tool { tool: tool.into() })
    }

    /// A node that asks a model; what it asks is given by [`Node::prompt`].
    pub fn llm(id: impl Into<String>) -> Self {
        Self::of(id.into(), NodeKind::Llm { prompt: String::new(), system: None })
    }

    fn of(id: String, kind: NodeKind) -> Self {
        Self {
            name: id.clone(),
            id,
            description: String::new(),
            kind,
            input_mapping: BTreeMap::new(),
            output_key: None,
            max_attempts: DEFAULT_MAX_ATTEMPTS,
            timeout: Some(DEFAULT_TIMEOUT),
            join: Join::default(),
            config: Map::new(),
        }
    }

    /// Sets [`Node::name`].
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets [`Node::description`].
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// Sets what a model is asked. A node that asks no model stays as it is.
    #[must_use]
    pub fn prompt(mut self, template: impl Into<String>) -> Self {
        if let NodeKind::Llm { prompt, .. } = &mut self.kind {
            *prompt = template.into();
        }
        self
    }

    /// Sets what a model is told beforehand. A node that asks no model stays as it is.
    #[must_use]
    pub fn system(mut self, template: impl Into<String>) -> Self {
        if let NodeKind::Llm { system, .. } = &mut self.kind {
            *system = Some(template.into());
        }
        self
    }

    /// Takes an argument from a dot path in the context.
    #[must_use]
    pub fn input(mut self, argument: impl Into<String>, path: impl Into<String>) -> Self {
        self.input_mapping.insert(argument.into(), Input::Path(path.into()));
        self
    }

    /// Gives an argument a value that is always the same.
    #[must_use]
    pub fn input_value(mut self, argument: impl Into<String>, value: impl Into<Value>) -> Self {
        self.input_mapping.insert(argument.into(), Input::Value(value.into()));
        self
    }

    /// Sets [`Node::output_key`].
    #[must_use]
    pub fn output_key(mut self, path: impl Into<String>) -> Self {
        self.output_key = Some(path.into());
        self
    }

    /// Sets [`Node::max_attempts`].
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// Sets [`Node::timeout`].
    #[must_use]
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// Sets [`Node::join`].
    #[must_use]
    pub fn join(mut self, join: Join) -> Self {
        self.join = join;
        self
    }

    /// Adds an entry to [`Node::config`].
    #[must_use]
    pub fn config(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.config.insert(key.into(), value.into());
        self
    }
}

impl NodeKind {
    /// What is called: the name of the function or the tool. A model has none.
    pub fn reference(&self) -> Option<&str> {
        match self {
            Self::Function { function } => Some(function),
            Self::Tool { tool } => Some(tool),
            Self::Llm { .. } => None,
        }
    }
}
