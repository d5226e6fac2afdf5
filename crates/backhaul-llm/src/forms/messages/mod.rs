//! Anthropic's messages (`POST /v1/messages`), as a server has them.
//!
//! What a model thinks before it speaks is in the answer where the request asks for it. It is
//! not signed, and Anthropic refuses it: it has to be taken out before the next request goes
//! there.

mod answer;
mod blocks;
mod request;
mod thoughts;
mod writer;

pub(super) use self::answer::answer;
pub(super) use self::request::read;
pub(super) use self::thoughts::without_unsigned_thoughts;
pub(super) use self::writer::Writer;
