//! A request that is too long, made shorter: the least needed first, and each step no further
//! than it takes.

use super::changes::Changes;
use super::images::{self, Sort};
use super::phrasing::Phrasing;
use super::room::Room;
use super::turns::Turns;
use super::{descriptions, results};
use crate::client::LlmClient;
use crate::error::{LlmError, LlmErrorKind};
use crate::message::Message;
use crate::request::ChatRequest;

/// The longest that is left of an old result of a tool, in bytes.
const MOST_OLD_RESULT: usize = 1_024;
/// Or, in a small context, this part of the room.
const PART_OF_ROOM: usize = 8;
/// The least that is left of any, in bytes.
const LEAST_RESULT: usize = 160;
/// Bytes of a token, for want of a count of each result.
const BYTES_OF_A_TOKEN: u64 = 3;

/// A request that is being shortened.
pub(super) struct Shortening<'a> {
    client: &'a dyn LlmClient,
    phrasing: &'a Phrasing,
    room: Room,
    changes: &'a mut Changes,
    request: ChatRequest,
    /// How many tokens it was.
    before: u64,
    /// How many it is now.
    tokens: u64,
}

impl<'a> Shortening<'a> {
    pub(super) async fn new(
        request: ChatRequest,
        client: &'a dyn LlmClient,
        phrasing: &'a Phrasing,
        room: Room,
        changes: &'a mut Changes,
    ) -> Result<Self, LlmError> {
        let tokens = client.count_tokens(&phrasing.put(&request)).await?.tokens;
        Ok(Self { client, phrasing, room, changes, request, before: tokens, tokens })
    }

    /// # Errors
    /// [`LlmErrorKind::ContextLength`] where it cannot be made short enough.
    pub(super) async fn run(mut self) -> Result<ChatRequest, LlmError> {
        if !self.fits() {
            self.shorten().await?;
        }
        if !self.fits() {
            return Err(self.too_long());
        }
        self.changes.trimmed_tokens += self.before.saturating_sub(self.tokens);
        Ok(self.request)
    }

    async fn shorten(&mut self) -> Result<(), LlmError> {
        self.replace_images(false).await?;
        self.cut_old_results().await?;
        self.leave_out_turns().await?;
        self.leave_out_descriptions().await?;
        self.replace_images(true).await?;
        self.cut_new_results().await
    }

    /// Of those that the model is asked about now, or of all others.
    async fn replace_images(&mut self, now: bool) -> Result<(), LlmError> {
        let replace = |request: &mut ChatRequest, count| {
            images::replace(asked(&mut request.messages, now), Sort::Image, count)
        };
        let all = replace(&mut self.request.clone(), usize::MAX);
        let said = "replaced by text for want of room";
        self.cut(all, replace, ["image", "images", said]).await
    }

    async fn cut_old_results(&mut self) -> Result<(), LlmError> {
        let most = (self.room_in_bytes() / PART_OF_ROOM).clamp(LEAST_RESULT, MOST_OLD_RESULT);
        let cut = |request: &mut ChatRequest, count| {
            results::cut(asked(&mut request.messages, false), most, count)
        };
        let all = cut(&mut self.request.clone(), usize::MAX);
        self.cut(all, cut, RESULTS).await
    }

    /// Those that the model is to read now: all of them to half of the room, a quarter, and so
    /// on.
    async fn cut_new_results(&mut self) -> Result<(), LlmError> {
        let room = self.room_in_bytes();
        let most = |halvings: usize| (room >> halvings.min(63)).max(LEAST_RESULT);
        let cut = |request: &mut ChatRequest, halvings: usize| {
            results::cut(asked(&mut request.messages, true), most(halvings), usize::MAX)
        };
        let halvings = (1..).find(|halvings| most(*halvings) == LEAST_RESULT).unwrap_or(1);
        self.cut(halvings, cut, RESULTS).await
    }

    async fn leave_out_turns(&mut self) -> Result<(), LlmError> {
        let turns = Turns::of(&self.request.messages);
        let leave_out = |request: &mut ChatRequest, count| {
            turns.leave_out(&mut request.messages, count);
            count
        };
        self.cut(turns.old(), leave_out, ["oldest turn", "oldest turns", "left out"]).await
    }

    async fn leave_out_descriptions(&mut self) -> Result<(), LlmError> {
        let leave_out = |request: &mut ChatRequest, _| descriptions::leave_out(&mut request.fields);
        let said = "of tools left out";
        self.cut(1, leave_out, ["description", "descriptions", said]).await
    }

    /// Goes as far with a step as makes it fit, `most` at most, or as far as it goes. That is
    /// found in as many counts as `most` has binary digits, and one. A step says how many
    /// things it changes; one that makes nothing shorter is not made.
    async fn cut(
        &mut self,
        most: usize,
        step: impl Fn(&mut ChatRequest, usize) -> usize + Send + Sync,
        [one, several, done]: [&str; 3],
    ) -> Result<(), LlmError> {
        if self.fits() || most == 0 {
            return Ok(());
        }
        let (mut too_few, mut enough) = (0, most);
        let mut best = self.after(&step, most).await?;
        if best.tokens >= self.tokens {
            return Ok(());
        }
        while best.tokens <= self.room.prompt && enough - too_few > 1 {
            let middle = too_few.midpoint(enough);
            let tried = self.after(&step, middle).await?;
            if tried.tokens <= self.room.prompt {
                (best, enough) = (tried, middle);
            } else {
                too_few = middle;
            }
        }
        (self.request, self.tokens) = (best.request, best.tokens);
        self.changes.count(best.changed, one, several, done);
        Ok(())
    }

    async fn after(
        &self,
        step: impl Fn(&mut ChatRequest, usize) -> usize,
        count: usize,
    ) -> Result<After, LlmError> {
        let mut request = self.request.clone();
        let changed = step(&mut request, count);
        let tokens = self.client.count_tokens(&self.phrasing.put(&request)).await?.tokens;
        Ok(After { request, changed, tokens })
    }

    fn fits(&self) -> bool {
        self.tokens <= self.room.prompt
    }

    fn room_in_bytes(&self) -> usize {
        let bytes = self.room.prompt.saturating_mul(BYTES_OF_A_TOKEN);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    fn too_long(&self) -> LlmError {
        let (before, now, Room { context, prompt }) = (self.before, self.tokens, self.room);
        let message = format!(
            "the request is {before} tokens, and {now} with all left out that may be: this model \
             has room for {prompt}, of a context of {context}; shorten the last message or the \
             instructions"
        );
        LlmError::new(LlmErrorKind::ContextLength, message)
    }
}

const RESULTS: [&str; 3] = ["result of a tool", "results of tools", "cut in the middle"];

/// A request after a step.
struct After {
    request: ChatRequest,
    changed: usize,
    tokens: u64,
}

/// The messages that the model is asked about now, or all others.
fn asked(messages: &mut [Message], now: bool) -> impl Iterator<Item = &mut Message> {
    let turns = Turns::of(messages);
    let messages = messages.iter_mut().enumerate();
    messages.filter(move |(place, it)| turns.is_asked_now(*place, it) == now).map(|(_, it)| it)
}
