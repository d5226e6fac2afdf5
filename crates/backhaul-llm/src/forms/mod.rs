//! The forms in which clients ask a model, and a chat completion in each of them.
//!
//! A model that only knows chat completions, such as a small one in this process, can so
//! answer all of them. Nothing here reads or sends anything.

mod blocks;
mod chat;
mod completions;
mod conversation;
mod embeddings;
mod errors;
mod event_text;
mod events;
mod form;
mod messages;
mod responses;
mod stamp;

pub use self::embeddings::EmbeddingEncoding;
pub use self::event_text::EventText;
pub use self::events::FormEvents;
pub use self::form::{Form, FormRequest};
pub use self::stamp::Stamp;
