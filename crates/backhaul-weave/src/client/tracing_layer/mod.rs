//! Spans of `tracing` as calls: programs that trace already need no macro.

mod fields;
mod noted;
mod spanned;

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context as LayerContext;
use tracing_subscriber::registry::LookupSpan;

use self::fields::Fields;
use self::spanned::Spanned;
use super::context::Context;

/// Crates whose spans are left out: ours, and those that our own requests go through.
const LEFT_OUT: [&str; 5] = ["backhaul", "hyper", "reqwest", "h2", "rustls"];

/// A layer of `tracing_subscriber` by which spans are calls of Weave, stored where those of
/// [`call`](crate::call) are.
///
/// | of a span | in its call |
/// |---|---|
/// | its name | the op |
/// | the span above it | the call above it. An op, or a call by hand, that was begun inside of that span since is nearer, and counts; so spans, ops and calls by hand nest in each other. A span that names its parent stands below that, and one with `parent: None` begins a trace |
/// | fields that it begins with | inputs: numbers, truths and texts as such, all else as `{:?}` shows it |
/// | its place and level | attributes below `code`: `target`, `module_path`, `file`, `line`, `level` |
/// | what `#[instrument(ret)]` says | the output |
/// | what `#[instrument(err)]` says, or a text recorded later in a field `error` | the exception |
/// | fields recorded later | fields of the output, under their names; what was returned is in its field `return` then |
/// | events of level ERROR | the list `events` of the output: `time`, `level`, `message`, `fields`; 128 at most, of 1 MiB together. `events_left_out` counts the rest |
/// | entered, and left by a panic since | the exception, where there is no other |
/// | closed: nothing refers to it any more, nor to a span below it | the end. So no call ends before those below it |
///
/// An event alone does not make a call fail: a program may note an error and go on. A span that is
/// never closed, since the process died, is shown as running. A future that is dropped before
/// it is done closes its span as one that was done does.
///
/// Whatever begins while a span is entered stands below its call, on that thread or in that
/// future, and what was before is back once it is left, in any order. A span that is entered
/// in itself changes nothing, as in `tracing`.
///
/// Spans go to the client that is current when they begin, or to that of the call above them;
/// without one they cost a look at it. Where they are not logged — the level, or
/// [`without_logging`](Context::without_logging) — they take along where they began.
///
/// ```
/// use backhaul_weave as weave;
/// use tracing_subscriber::layer::SubscriberExt as _;
/// # let dir = tempfile::tempdir()?;
/// let client = weave::init("my_team/my_project")
///     .offline(true)
///     .offline_dir(dir.path())
///     .start()?;
/// let subscriber = tracing_subscriber::registry().with(weave::WeaveLayer::new());
/// // A program does this once, with `tracing::subscriber::set_global_default`.
/// tracing::subscriber::with_default(subscriber, || {
///     tracing::info_span!("read", sensor = "mast").in_scope(|| {
///         weave::call("convert").run(|| 21.5);
///     });
/// });
/// let read = weave::calls().op("read").list()?;
/// let convert = weave::calls().op("convert").list()?;
/// assert_eq!(read[0].inputs()["sensor"], "mast");
/// assert_eq!(convert[0].parent_id(), Some(read[0].id()));
/// client.finish()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct WeaveLayer {
    spans: LevelFilter,
    events: LevelFilter,
    left_out: Vec<String>,
}

impl WeaveLayer {
    /// Spans of level INFO and above, and events of level ERROR; none of this library nor of
    /// `hyper`, `reqwest`, `h2` and `rustls`, through which it delivers.
    ///
    /// A filter of `tracing_subscriber` on it ([`Layer::with_filter`]) comes first, and spares
    /// what is left out its cost.
    pub fn new() -> Self {
        Self {
            spans: LevelFilter::INFO,
            events: LevelFilter::ERROR,
            left_out: LEFT_OUT.map(ToOwned::to_owned).to_vec(),
        }
    }

    /// The lowest level of spans that are calls. Default: INFO.
    #[must_use]
    pub fn spans(mut self, level: impl Into<LevelFilter>) -> Self {
        self.spans = level.into();
        self
    }

    /// The lowest level of events that are noted in outputs. Default: ERROR.
    #[must_use]
    pub fn events(mut self, level: impl Into<LevelFilter>) -> Self {
        self.events = level.into();
        self
    }

    /// One more crate whose spans and events are left out: those whose target begins with its
    /// name, and with that of its companions (`hyper` is `hyper_util`, too).
    #[must_use]
    pub fn leave_out(mut self, crate_name: impl Into<String>) -> Self {
        self.left_out.push(crate_name.into());
        self
    }

    fn leaves_out(&self, target: &str) -> bool {
        let is_of = |name: &String| {
            target.strip_prefix(name.as_str()).is_some_and(|rest| {
                rest.is_empty() || rest.starts_with("::") || rest.starts_with('_')
            })
        };
        self.left_out.iter().any(is_of)
    }
}

impl Default for WeaveLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for WeaveLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: LayerContext<'_, S>) {
        let metadata = attributes.metadata();
        if self.leaves_out(metadata.target()) {
            return;
        }
        let Some(span) = context.span(id) else { return };
        // Another layer of this kind was there first.
        if span.extensions().get::<Spanned>().is_some() {
            return;
        }
        let within = spanned::place_of(attributes, &context);
        let is_logged = *metadata.level() <= self.spans;
        // Begun before the extensions are locked: this runs the program's code.
        if let Some(spanned) = Spanned::begin(attributes, within, is_logged) {
            span.extensions_mut().replace(spanned);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: LayerContext<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if !span.extensions().get::<Spanned>().is_some_and(Spanned::is_logged) {
            return;
        }
        let mut fields = Fields::default();
        values.record(&mut fields);
        if let Some(spanned) = span.extensions_mut().get_mut::<Spanned>() {
            spanned.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: LayerContext<'_, S>) {
        let metadata = event.metadata();
        let is_listed = *metadata.level() <= self.events;
        let is_result = is_result(metadata);
        if !(is_listed || is_result) || self.leaves_out(metadata.target()) {
            return;
        }
        let Some(span) = context.event_span(event) else { return };
        let of_span = is_result && is_same_place(metadata, span.metadata());
        let mut fields = Fields::default();
        event.record(&mut fields);
        if of_span
            && let Some(spanned) = span.extensions_mut().get_mut::<Spanned>()
            && spanned.is_logged()
        {
            return spanned.result(fields);
        }
        if !is_listed {
            return;
        }
        for span in span.scope() {
            if let Some(spanned) = span.extensions_mut().get_mut::<Spanned>()
                && spanned.is_logged()
            {
                return spanned.event(*metadata.level(), fields);
            }
        }
    }

    fn on_enter(&self, id: &Id, context: LayerContext<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(spanned) = span.extensions().get::<Spanned>() {
            spanned.enter();
        }
    }

    fn on_exit(&self, id: &Id, context: LayerContext<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let left = span.extensions().get::<Spanned>().map(Spanned::leave);
        // Outside the lock.
        if let Some(span) = left {
            Context::leave_span(span);
        }
    }

    fn on_close(&self, id: Id, context: LayerContext<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let spanned = span.extensions_mut().remove::<Spanned>();
        if let Some(spanned) = spanned {
            spanned.end();
        }
    }
}

/// Whether an event can be one that `#[instrument(ret, err)]` makes: it says nothing else.
fn is_result(metadata: &Metadata<'_>) -> bool {
    let fields = metadata.fields();
    fields.len() == 1
        && fields.iter().next().is_some_and(|field| ["return", "error"].contains(&field.name()))
}

/// Whether both were made by one attribute: they stand where it does.
fn is_same_place(event: &Metadata<'_>, span: &Metadata<'_>) -> bool {
    event.line() == span.line() && event.file() == span.file()
}

/// As `tracing` writes it.
fn level_name(level: Level) -> &'static str {
    level.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_are_left_out_by_their_names_and_those_of_their_companions() {
        let layer = WeaveLayer::new().leave_out("mine");
        for target in ["backhaul", "backhaul_sync::retry", "hyper_util::client", "h2", "mine::a"] {
            assert!(layer.leaves_out(target), "{target}");
        }
        for target in ["backhauler", "h2o", "hype", "hyperion::a", "other::hyper", ""] {
            assert!(!layer.leaves_out(target), "{target}");
        }
    }
}
