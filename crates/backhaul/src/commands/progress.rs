//! How far a sync is, said while it goes on.

use std::cell::Cell;
use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use crate::printer::Printer;

/// How often it is looked how far it is.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is said where nothing changes.
const SAY_AGAIN: Duration = Duration::from_secs(30);

/// Says how far a sync is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress<'a> {
    pub(super) printer: Printer,
    /// What is synced.
    pub(super) name: &'a str,
    /// Who is waited for.
    pub(super) to: &'a str,
    /// Records that waited at the beginning.
    pub(super) whole: u64,
}

impl Progress<'_> {
    /// Waits for a sync, and says how far it is whenever that has changed, and else now and then.
    /// `waiting` tells how many records still wait.
    pub(super) async fn of<T>(
        &self,
        sync: impl Future<Output = T>,
        waiting: impl AsyncFn() -> u64,
    ) -> T {
        let mut sync = std::pin::pin!(sync);
        let mut ticks = tokio::time::interval(LOOK);
        ticks.tick().await;
        let mut said = Said::default();
        loop {
            tokio::select! {
                done = &mut sync => {
                    if said.last.is_some() {
                        self.printer.end_progress();
                    }
                    return done;
                }
                now = ticks.tick() => {
                    let done = self.whole.saturating_sub(waiting().await);
                    if said.is_news(done, now) {
                        let Self { name, to, whole, .. } = self;
                        let line = format_args!("{name}: {done} of {whole} done, waiting for {to}");
                        self.printer.progress(line);
                    }
                }
            }
        }
    }
}

/// Says now and then how many were done, of work that nobody waits for with others.
pub(super) struct Counted {
    printer: Printer,
    /// What is counted, such as "records written".
    what: &'static str,
    count: Cell<u64>,
    said: Cell<std::time::Instant>,
    has_said: Cell<bool>,
}

impl Counted {
    pub(super) fn new(printer: Printer, what: &'static str) -> Self {
        let said = Cell::new(std::time::Instant::now());
        Self { printer, what, count: Cell::new(0), said, has_said: Cell::new(false) }
    }

    pub(super) fn one_more(&self) {
        self.more(1);
    }

    pub(super) fn more(&self, more: u64) {
        let count = self.count.get() + more;
        self.count.set(count);
        if self.said.get().elapsed() >= LOOK {
            self.said.set(std::time::Instant::now());
            self.has_said.set(true);
            self.printer.progress(format_args!("{count} {}", self.what));
        }
    }

    pub(super) fn end(&self) {
        if self.has_said.get() {
            self.printer.end_progress();
        }
    }
}

/// What was said last: how many are done, and when.
#[derive(Debug, Default)]
struct Said {
    last: Option<(u64, Instant)>,
}

impl Said {
    /// Whether it is worth a line, which is written then.
    fn is_news(&mut self, done: u64, now: Instant) -> bool {
        let is_known = |(last, at): (u64, Instant)| last == done && now - at < SAY_AGAIN;
        if self.last.is_some_and(is_known) {
            return false;
        }
        self.last = Some((done, now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_changed_is_said_rarely() {
        let (mut said, begin) = (Said::default(), Instant::now());
        let mut is_news = |done, seconds| said.is_news(done, begin + Duration::from_secs(seconds));
        assert!(is_news(0, 1));
        assert!((2..31).all(|second| !is_news(0, second)));
        assert!(is_news(0, 31));
        assert!(is_news(1, 32));
        assert!(!is_news(1, 33));
    }
}
