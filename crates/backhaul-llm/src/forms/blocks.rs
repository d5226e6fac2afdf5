//! What a model says, one thing after the other.

use serde_json::{Map, Value};

use crate::error::{LlmError, LlmErrorKind};

/// What a block is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Thought,
    Text,
    Refusal,
    Call,
}

/// One thing that a model says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) sort: Sort,
    /// What it says; of a call the arguments, as the model wrote them.
    pub(super) text: String,
    /// Of a call.
    pub(super) id: String,
    /// Of a call: the tool.
    pub(super) name: String,
}

/// What a piece of an answer does to the blocks. The number is the block's.
#[derive(Debug)]
pub(super) enum Step {
    Open(usize, Block),
    Add(usize, Sort, String),
    /// With the whole of it.
    Close(usize, Block),
}

/// What a model says, one thing after the other: a new one ends the one before.
#[derive(Debug)]
pub(super) struct Blocks {
    /// Calls that have no id get one of it.
    answer_id: String,
    has_thoughts: bool,
    /// Those that have ended.
    ended: usize,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    block: Block,
    /// Of a call: the server's number of it.
    number: Option<u64>,
}

impl Blocks {
    pub(super) fn new(answer_id: &str, has_thoughts: bool) -> Self {
        Self { answer_id: answer_id.to_owned(), has_thoughts, ended: 0, open: None }
    }

    /// All that a whole message says.
    pub(super) fn of_message(
        mut self,
        message: &Map<String, Value>,
    ) -> Result<Vec<Block>, LlmError> {
        let mut steps = self.take(message)?;
        steps.extend(self.close());
        let closed = steps.into_iter().filter_map(|step| match step {
            Step::Close(_, block) => Some(block),
            _ => None,
        });
        Ok(closed.collect())
    }

    /// Takes what a piece adds: the delta of a chunk, or a whole message, which looks the same.
    pub(super) fn take(&mut self, delta: &Map<String, Value>) -> Result<Vec<Step>, LlmError> {
        let mut steps = Vec::new();
        if self.has_thoughts {
            let thought = ["reasoning_content", "reasoning"].map(|name| text_in(delta.get(name)));
            let thought = thought.into_iter().find(|it| !it.is_empty());
            self.say(Sort::Thought, thought.unwrap_or_default(), &mut steps);
        }
        self.say(Sort::Text, text_in(delta.get("content")), &mut steps);
        self.say(Sort::Refusal, text_in(delta.get("refusal")), &mut steps);
        let calls = delta.get("tool_calls").and_then(Value::as_array);
        for (position, call) in calls.into_iter().flatten().enumerate() {
            self.call(position, call, &mut steps)?;
        }
        Ok(steps)
    }

    /// Ends the last one.
    pub(super) fn close(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        if let Some(open) = &self.open
            && open.block.sort == Sort::Call
            && open.block.text.trim().is_empty()
        {
            // A call without arguments: what reads them expects an object.
            self.add("{}".to_owned(), &mut steps);
        }
        if let Some(Open { block, .. }) = self.open.take() {
            steps.push(Step::Close(self.ended, block));
            self.ended += 1;
        }
        steps
    }

    fn say(&mut self, sort: Sort, text: String, steps: &mut Vec<Step>) {
        if text.is_empty() {
            return;
        }
        if self.open.as_ref().is_none_or(|open| open.block.sort != sort) {
            self.open(
                Block { sort, text: String::new(), id: String::new(), name: String::new() },
                None,
                steps,
            );
        }
        self.add(text, steps);
    }

    fn call(
        &mut self,
        position: usize,
        call: &Value,
        steps: &mut Vec<Step>,
    ) -> Result<(), LlmError> {
        let number = call.get("index").and_then(Value::as_u64);
        let number = number.unwrap_or(u64::try_from(position).unwrap_or(u64::MAX));
        let function = call.get("function");
        let said = |of: Option<&Value>, name: &str| {
            of.and_then(|it| it.get(name)?.as_str()).unwrap_or_default().to_owned()
        };
        let (id, name) = (said(Some(call), "id"), said(function, "name"));
        if !self.goes_on(number, &id) {
            self.begin_call(number, id, name, steps)?;
        }
        let arguments = match function.and_then(|it| it.get("arguments")) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        };
        if !arguments.is_empty() {
            self.add(arguments, steps);
        }
        Ok(())
    }

    /// Whether the call that is open is this one. Some servers give all calls the same number.
    fn goes_on(&self, number: u64, id: &str) -> bool {
        self.open.as_ref().is_some_and(|open| {
            open.number == Some(number) && (id.is_empty() || id == open.block.id)
        })
    }

    fn begin_call(
        &mut self,
        number: u64,
        id: String,
        name: String,
        steps: &mut Vec<Step>,
    ) -> Result<(), LlmError> {
        if name.is_empty() {
            let message = "the model's call of a tool names none, or goes on after another began: \
                           expected a function with a name, and one call after the other";
            return Err(LlmError::new(LlmErrorKind::Garbled, message));
        }
        let next = self.ended + usize::from(self.open.is_some());
        let id = if id.is_empty() { format!("call_{}_{next}", self.answer_id) } else { id };
        self.open(Block { sort: Sort::Call, text: String::new(), id, name }, Some(number), steps);
        Ok(())
    }

    fn open(&mut self, block: Block, number: Option<u64>, steps: &mut Vec<Step>) {
        steps.extend(self.close());
        steps.push(Step::Open(self.ended, block.clone()));
        self.open = Some(Open { block, number });
    }

    fn add(&mut self, text: String, steps: &mut Vec<Step>) {
        if let Some(open) = &mut self.open {
            open.block.text.push_str(&text);
            steps.push(Step::Add(self.ended, open.block.sort, text));
        }
    }
}

/// The text of a content: itself, or that of its parts.
fn text_in(content: Option<&Value>) -> String {
    match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            parts.iter().filter_map(|part| part.get("text")?.as_str()).collect()
        }
        _ => String::new(),
    }
}
