//! What the program says of its own work, on stderr.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{fmt, reload};

/// The log, whose level can be changed.
pub(crate) struct Log {
    set_level: Box<dyn Fn(LevelFilter) + Send + Sync>,
}

/// Colours are for a terminal whose user has not said `NO_COLOR`.
fn has_colours() -> bool {
    let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|said| !said.is_empty());
    !is_unwanted && std::io::IsTerminal::is_terminal(&std::io::stderr())
}

impl Log {
    /// Starts logging.
    pub(crate) fn start(level: LevelFilter) -> Self {
        let (filter, handle) = reload::Layer::new(level);
        let lines =
            fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(has_colours());
        tracing_subscriber::registry().with(filter).with(lines).init();
        let set_level = move |level| {
            // It fails where the log is gone, and nobody reads it then.
            let _ = handle.reload(level);
        };
        Self { set_level: Box::new(set_level) }
    }

    pub(crate) fn set_level(&self, level: LevelFilter) {
        (self.set_level)(level);
    }
}
