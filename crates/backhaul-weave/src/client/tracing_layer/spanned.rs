//! What the layer keeps of a span, in its extensions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Map, Value, json};
use tracing::span::Attributes;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::layer::Context as LayerContext;
use tracing_subscriber::registry::LookupSpan;
use uuid::Uuid;

use super::fields::Fields;
use super::level_name;
use super::noted::Noted;
use crate::client::call_state::micros;
use crate::client::context::Context;
use crate::client::exception::Exception;
use crate::client::op::Op;
use crate::client::recorder::{Active, Recorder, Said};
use crate::client::value::Captured;
use crate::client::weave_client::recorder_of;

/// A span that is a call, or one that takes along where it began.
pub(super) struct Spanned {
    /// What it is known by to the threads that are in it.
    id: Uuid,
    context: Context,
    /// `None`: it is not logged.
    logged: Option<Logged>,
}

struct Logged {
    active: Active,
    noted: Noted,
    /// It began while a thread was panicking, in the end of some value: that tells nothing of
    /// the span.
    began_in_panic: bool,
    /// It was left last by a panic.
    is_panicked: AtomicBool,
}

impl Spanned {
    /// `None`: there is nothing to be kept of it.
    pub(super) fn begin(
        attributes: &Attributes<'_>,
        within: Context,
        is_logged: bool,
    ) -> Option<Self> {
        if let Some(recorder) = recorder_of(&within).filter(|_| is_logged) {
            let logged = Logged::begin(attributes, &recorder, &within);
            let (id, context) = (logged.active.call.id, logged.active.context.clone());
            return Some(Self { id, context, logged: Some(logged) });
        }
        let is_somewhere = within.as_frame().is_some();
        is_somewhere.then(|| Self { id: Uuid::now_v7(), context: within, logged: None })
    }

    pub(super) fn is_logged(&self) -> bool {
        self.logged.is_some()
    }

    pub(super) fn enter(&self) {
        if let Some(logged) = &self.logged {
            logged.is_panicked.store(false, Ordering::Relaxed);
        }
        self.context.enter_span(self.id);
    }

    /// It is left; what it is known by.
    pub(super) fn leave(&self) -> Uuid {
        if let Some(logged) = &self.logged
            && thread::panicking()
        {
            logged.is_panicked.store(!logged.began_in_panic, Ordering::Relaxed);
        }
        self.id
    }

    pub(super) fn record(&mut self, fields: Fields) {
        if let Some(logged) = &mut self.logged {
            logged.noted.record(fields);
        }
    }

    pub(super) fn result(&mut self, fields: Fields) {
        if let Some(logged) = &mut self.logged {
            logged.noted.result(fields);
        }
    }

    pub(super) fn event(&mut self, level: Level, fields: Fields) {
        if let Some(logged) = &mut self.logged {
            let time = micros(logged.active.recorder.now().wall);
            logged.noted.event(time, level, fields);
        }
    }

    pub(super) fn end(self) {
        let Some(Logged { active, noted, is_panicked, .. }) = self.logged else { return };
        let (output, exception) = noted.into_end();
        let panicked = is_panicked.into_inner();
        let panic = || Exception::new("panic", "a panic went through the span");
        active.recorder.end(&active.call, output, exception.or_else(|| panicked.then(panic)));
    }
}

impl Logged {
    fn begin(attributes: &Attributes<'_>, recorder: &Arc<Recorder>, within: &Context) -> Self {
        let metadata = attributes.metadata();
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let said = Said {
            inputs: Captured { json: fields.to_json(), files: Vec::new() },
            attributes: place_in_code(metadata),
            display_name: None,
        };
        Self {
            active: recorder.begin(Arc::new(Op::of_span(metadata)), said, within),
            noted: Noted::default(),
            began_in_panic: thread::panicking(),
            is_panicked: AtomicBool::new(false),
        }
    }
}

/// Where a span begins: in the span that it names as its parent, at the root of a trace, or
/// where the thread is.
pub(super) fn place_of<S>(attributes: &Attributes<'_>, context: &LayerContext<'_, S>) -> Context
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let current = Context::current();
    let is_left_out = current.as_frame().is_some_and(|frame| frame.is_left_out);
    if attributes.is_contextual() || is_left_out {
        return current;
    }
    if attributes.is_root() {
        return current.changed(|frame| frame.call = None);
    }
    let parent = attributes.parent().and_then(|parent| context.span(parent));
    let above = parent.and_then(|parent| {
        let mut all = parent.scope();
        all.find_map(|span| span.extensions().get::<Spanned>().map(|one| one.context.clone()))
    });
    above.unwrap_or(current)
}

/// The attributes that say where in the code a span is.
fn place_in_code(metadata: &Metadata<'_>) -> Map<String, Value> {
    let code = json!({
        "target": metadata.target(),
        "module_path": metadata.module_path(),
        "file": metadata.file(),
        "line": metadata.line(),
        "level": level_name(*metadata.level()),
    });
    Map::from_iter([("code".to_owned(), code)])
}
