//! A world that tools change, and tools that change it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backhaul_llm::ToolDefinition;
use backhaul_runtime::tool_queue::{ToolQueue, ToolQueueBuilder};
use backhaul_runtime::tools::{
    IdempotencyKey, OfflinePolicy, OnUnknown, Probed, Tool, ToolError, ToolFuture, ToolInvocation,
    ToolOptions, ToolRegistry, ToolRequest,
};
use backhaul_testkit::{ManualClock, SimDisk};
use serde_json::{Value, json};
use tokio::sync::Notify;

pub(crate) const DIR: &str = "/data/tools";

/// What a try meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    Fine,
    /// Nobody is reached.
    NoNetwork,
    /// It is done, and the answer is lost.
    AnswerLost,
    /// It is not done, and nobody knows.
    RequestLost,
    /// It fails, and that is known.
    Refused,
    /// It panics before it has done anything.
    Panics,
    /// It takes until it is let go on, and is done then.
    Slow,
}

/// What was done, how often, by key.
#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    inside: Arc<Mutex<Inside>>,
    /// What slow tries wait for.
    goes_on: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Inside {
    effects: BTreeMap<String, u32>,
    done: Vec<Value>,
    tries: u32,
    probes: u32,
    probes_panic: bool,
    weather: Vec<Weather>,
}

impl World {
    /// What the next tries meet; fine weather after that.
    pub(crate) fn forecast(&self, weather: &[Weather]) {
        self.inside.lock().unwrap().weather = weather.iter().rev().copied().collect();
    }

    pub(crate) fn effects_of(&self, key: &IdempotencyKey) -> u32 {
        self.inside.lock().unwrap().effects.get(key.as_str()).copied().unwrap_or(0)
    }

    pub(crate) fn set_effects(&self, key: &IdempotencyKey, effects: u32) {
        let mut inside = self.inside.lock().unwrap();
        inside.effects.remove(key.as_str());
        if effects > 0 {
            inside.effects.insert(key.as_str().to_owned(), effects);
        }
    }

    /// What was done, in order.
    pub(crate) fn done(&self) -> Vec<Value> {
        self.inside.lock().unwrap().done.clone()
    }

    pub(crate) fn tries(&self) -> u32 {
        self.inside.lock().unwrap().tries
    }

    pub(crate) fn probes(&self) -> u32 {
        self.inside.lock().unwrap().probes
    }

    /// Lets a slow try go on.
    pub(crate) fn go_on(&self) {
        self.goes_on.notify_one();
    }

    /// Waits until so many tries were made, on a clock that stands while something works.
    pub(crate) async fn tried(&self, tries: u32) {
        while self.tries() < tries {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Whoever looks whether something was done meets a bug.
    pub(crate) fn let_probes_panic(&self) {
        self.inside.lock().unwrap().probes_panic = true;
    }

    fn next(&self) -> Weather {
        let mut inside = self.inside.lock().unwrap();
        inside.tries += 1;
        inside.weather.pop().unwrap_or(Weather::Fine)
    }

    /// Does it. A receiver that knows keys does it once.
    fn act(&self, invocation: &ToolInvocation, knows_keys: bool) {
        let mut inside = self.inside.lock().unwrap();
        let key = invocation.key.as_str().to_owned();
        if knows_keys && inside.effects.contains_key(&key) {
            return;
        }
        *inside.effects.entry(key).or_default() += 1;
        inside.done.push(Value::Object(invocation.arguments.clone()));
    }
}

/// A tool that changes the world.
pub(crate) struct Actuator {
    world: World,
    definition: ToolDefinition,
    options: ToolOptions,
    knows_keys: bool,
}

impl Actuator {
    pub(crate) fn new(world: &World, name: &str, on_unknown: OnUnknown) -> Self {
        Self {
            world: world.clone(),
            definition: ToolDefinition::new(name, "Does something.").parameters(json!({
                "type": "object",
                "properties": {"n": {"type": "integer"}, "place": {"type": "string"}},
            })),
            options: ToolOptions::new().offline_policy(OfflinePolicy::Queue).on_unknown(on_unknown),
            knows_keys: false,
        }
    }

    /// Whoever it asks knows keys.
    pub(crate) fn keyed(self) -> Self {
        Self { knows_keys: true, ..self }
    }

    pub(crate) fn with(self, change: impl FnOnce(ToolOptions) -> ToolOptions) -> Self {
        Self { options: change(self.options), ..self }
    }
}

impl Tool for Actuator {
    fn definition(&self) -> &ToolDefinition {
        &self.definition
    }

    fn options(&self) -> &ToolOptions {
        &self.options
    }

    fn call<'a>(&'a self, invocation: &'a ToolInvocation) -> ToolFuture<'a, Value> {
        Box::pin(async move {
            let weather = self.world.next();
            if weather == Weather::Slow {
                self.world.goes_on.notified().await;
            }
            if matches!(weather, Weather::Fine | Weather::AnswerLost | Weather::Slow) {
                self.world.act(invocation, self.knows_keys);
            }
            match weather {
                Weather::Fine | Weather::Slow => Ok(json!({"done": invocation.arguments})),
                Weather::NoNetwork => Err(ToolError::unreachable("no route to host")),
                Weather::AnswerLost | Weather::RequestLost => {
                    Err(ToolError::unclear("the connection broke"))
                }
                Weather::Refused => Err(ToolError::failed("the other side is busy")),
                Weather::Panics => panic!("a bug in the tool"),
            }
        })
    }

    fn probe<'a>(&'a self, invocation: &'a ToolInvocation) -> Option<ToolFuture<'a, Probed>> {
        let panics = {
            let mut inside = self.world.inside.lock().unwrap();
            inside.probes += 1;
            inside.probes_panic
        };
        let was_done = self.world.effects_of(&invocation.key) > 0;
        Some(Box::pin(async move {
            assert!(!panics, "a bug in the probe");
            Ok(if was_done { Probed::Done(json!("found done")) } else { Probed::NotDone })
        }))
    }
}

/// A device with a queue on a simulated disk.
pub(crate) struct Device {
    pub(crate) disk: SimDisk,
    pub(crate) clock: ManualClock,
}

impl Device {
    pub(crate) fn new() -> Self {
        Self { disk: SimDisk::new(), clock: ManualClock::new() }
    }

    pub(crate) fn builder(&self, tools: ToolRegistry) -> ToolQueueBuilder {
        let (disk, clock) = (Arc::new(self.disk.clone()), Arc::new(self.clock.clone()));
        ToolQueue::builder(DIR).on(disk, clock).tools(tools)
    }

    pub(crate) fn open(&self, tools: ToolRegistry) -> ToolQueue {
        self.builder(tools).open().unwrap()
    }
}

/// A call with a number.
pub(crate) fn call(tool: &str, number: u64) -> ToolRequest {
    let arguments = json!({"n": number}).as_object().unwrap().clone();
    ToolRequest::new(tool, arguments, &format!("run_1/node/{number}"))
}
