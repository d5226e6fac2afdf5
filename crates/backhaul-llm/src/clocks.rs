//! How long to wait for a model.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::error::{LlmError, LlmErrorKind};

/// How long to wait for a model: five clocks, of which the first that runs out ends the call
/// with an error that names it.
///
/// ```
/// use backhaul_llm::Clocks;
/// use std::time::Duration;
/// let patient = Clocks { idle: Duration::from_secs(300), ..Clocks::CLOUD };
/// assert_eq!(patient.connect, Duration::from_secs(5));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clocks {
    /// From the look-up of the name to the end of the TLS handshake. It is the one whose end
    /// counts as [`Unreachable`](LlmErrorKind::Unreachable), not as a timeout: nobody has
    /// answered at all.
    pub connect: Duration,
    /// From the call to the head of an answer in pieces. The head of a whole answer comes with
    /// its end: `total` alone bounds it.
    pub headers: Duration,
    /// From the call to the first piece of an answer in which the model says something.
    pub first_token: Duration,
    /// Between two pieces of the answer, of whatever sort: a server that sends signs of life is
    /// alive.
    pub idle: Duration,
    /// From the call to the end of the answer.
    pub total: Duration,
}

impl Clocks {
    /// For a model of a cloud: 5 s, 60 s, 120 s, 60 s, and 600 s in all, as much as OpenAI's
    /// own clients wait.
    pub const CLOUD: Self = Self::of_seconds(5, 60, 120, 60, 600);
    /// For a model of a server on this machine: 2 s, then 600 s each for the head, the first
    /// token, and between pieces, and 3,600 s in all. It may have to load the model first, a
    /// small board reads a long prompt for minutes, and nobody answers faster.
    pub const LOCAL: Self = Self::of_seconds(2, 600, 600, 600, 3_600);

    const fn of_seconds(connect: u64, headers: u64, first: u64, idle: u64, total: u64) -> Self {
        Self {
            connect: Duration::from_secs(connect),
            headers: Duration::from_secs(headers),
            first_token: Duration::from_secs(first),
            idle: Duration::from_secs(idle),
            total: Duration::from_secs(total),
        }
    }

    /// The same, none of them longer than `most`.
    #[must_use]
    pub fn at_most(self, most: Duration) -> Self {
        Self {
            connect: self.connect.min(most),
            headers: self.headers.min(most),
            first_token: self.first_token.min(most),
            idle: self.idle.min(most),
            total: self.total.min(most),
        }
    }
}

/// The clocks of one call.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    clocks: Clocks,
    started: Instant,
    awaits: Awaits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaits {
    /// All at once.
    Whole,
    /// The first piece in which the model says something.
    FirstToken,
    /// More of them.
    Tokens,
}

impl Running {
    /// The clocks of a call that is answered as a whole.
    pub(crate) fn of_a_whole(clocks: Clocks) -> Self {
        Self { clocks, started: Instant::now(), awaits: Awaits::Whole }
    }

    /// The clocks of a call that is answered in pieces.
    pub(crate) fn of_pieces(clocks: Clocks) -> Self {
        Self { awaits: Awaits::FirstToken, ..Self::of_a_whole(clocks) }
    }

    /// The model has said something.
    pub(crate) fn has_spoken(&mut self) {
        self.awaits = Awaits::Tokens;
    }

    /// Waits for the head of the answer.
    pub(crate) async fn head<T>(
        &self,
        head: impl Future<Output = Result<T, LlmError>>,
    ) -> Result<T, LlmError> {
        let clock = ("headers", "no head of an answer", self.clocks.headers, self.started);
        let is_whole = self.awaits == Awaits::Whole;
        self.wait((!is_whole).then_some(clock), head).await
    }

    /// Waits for the next piece of the answer.
    pub(crate) async fn piece<T>(
        &self,
        piece: impl Future<Output = Result<T, LlmError>>,
    ) -> Result<T, LlmError> {
        self.wait(Some(("idle", "nothing more", self.clocks.idle, Instant::now())), piece).await
    }

    async fn wait<T>(
        &self,
        clock: Option<(&'static str, &'static str, Duration, Instant)>,
        waited_for: impl Future<Output = Result<T, LlmError>>,
    ) -> Result<T, LlmError> {
        let total = ("total", "no end of the answer", self.clocks.total, self.started);
        let first = ("first_token", "no word", self.clocks.first_token, self.started);
        let first = (self.awaits == Awaits::FirstToken).then_some(first);
        let running = [clock, first, Some(total)].into_iter().flatten();
        // A clock that cannot run out is not there.
        let ends = running.filter_map(|it| Some((it.3.checked_add(it.2)?, it)));
        let Some((end, (name, missing, wait, _))) = ends.min_by_key(|(end, _)| *end) else {
            return waited_for.await;
        };
        timeout_at(end, waited_for).await.unwrap_or_else(|_| {
            let message = format!("{name}: {missing} within {wait:?}");
            Err(LlmError::new(LlmErrorKind::Timeout, message))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    const CLOCKS: Clocks = Clocks::of_seconds(1, 10, 20, 30, 100);

    async fn never() -> Result<(), LlmError> {
        pending().await
    }

    async fn after(seconds: u64) -> Result<(), LlmError> {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        Ok(())
    }

    fn said(error: &LlmError, running: &Running) -> (LlmErrorKind, String, u64) {
        (error.kind(), error.message().to_owned(), running.started.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn the_head_of_an_answer_in_pieces_has_its_clock() {
        let running = Running::of_pieces(CLOCKS);
        let error = running.head(never()).await.unwrap_err();
        let message = "headers: no head of an answer within 10s".to_owned();
        assert_eq!(said(&error, &running), (LlmErrorKind::Timeout, message, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_whole_answer_has_until_the_end() {
        let running = Running::of_a_whole(CLOCKS);
        let error = running.head(never()).await.unwrap_err();
        let message = "total: no end of the answer within 100s".to_owned();
        assert_eq!(said(&error, &running), (LlmErrorKind::Timeout, message, 100));
    }

    #[tokio::test(start_paused = true)]
    async fn signs_of_life_are_no_word() {
        let running = Running::of_pieces(CLOCKS);
        for _ in 0..3 {
            running.piece(after(6)).await.unwrap();
        }
        let error = running.piece(after(6)).await.unwrap_err();
        let message = "first_token: no word within 20s".to_owned();
        assert_eq!(said(&error, &running), (LlmErrorKind::Timeout, message, 20));
    }

    #[tokio::test(start_paused = true)]
    async fn a_model_that_falls_silent_is_waited_for_from_its_last_word_on() {
        let mut running = Running::of_pieces(CLOCKS);
        running.piece(after(15)).await.unwrap();
        running.has_spoken();
        running.piece(after(25)).await.unwrap();
        let error = running.piece(never()).await.unwrap_err();
        let message = "idle: nothing more within 30s".to_owned();
        assert_eq!(said(&error, &running), (LlmErrorKind::Timeout, message, 70));
    }

    #[tokio::test(start_paused = true)]
    async fn no_answer_goes_on_for_ever() {
        let mut running = Running::of_pieces(CLOCKS);
        running.has_spoken();
        let error = loop {
            if let Err(error) = running.piece(after(8)).await {
                break error;
            }
        };
        let message = "total: no end of the answer within 100s".to_owned();
        assert_eq!(said(&error, &running), (LlmErrorKind::Timeout, message, 100));
    }

    #[test]
    fn all_clocks_can_be_bounded_at_once() {
        let bounded = Clocks::CLOUD.at_most(Duration::from_secs(30));
        let expected = Clocks::of_seconds(5, 30, 30, 30, 30);
        assert_eq!(bounded, expected);
    }
}
