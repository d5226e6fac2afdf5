//! Anthropic's messages (`POST /v1/messages`), as a server has them.
//!
//! What a model thinks before it speaks is in the answer where the request asks for it. It is
//! not signed: Anthropic refuses it, should the client send it back there.

mod answer;
mod blocks;
mod request;
mod writer;

pub(super) use self::answer::answer;
pub(super) use self::request::read;
pub(super) use self::writer::Writer;
