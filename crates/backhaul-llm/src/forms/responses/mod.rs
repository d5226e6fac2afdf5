//! OpenAI's responses (`POST /v1/responses`).
//!
//! What a model thinks before it speaks is not in the answer: its client would send it back
//! with the next request, and OpenAI refuses thoughts that it does not know.

mod answer;
mod items;
mod request;
mod tools;
mod writer;

pub(super) use self::answer::answer;
pub(super) use self::request::read;
pub(super) use self::writer::Writer;
