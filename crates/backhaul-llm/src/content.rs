//! What a message says: text, images, and what this version does not know.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The content of a message: a text, or parts.
///
/// ```
/// use backhaul_llm::{Content, Message, Part};
/// let text: Content = "Is it warm?".into();
/// let parts: Content = vec![Part::text("What is this?"), Part::image("image/png", b"...")].into();
/// let _ = (Message::user(text), Message::user(parts));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Content(pub(crate) Value);

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<Vec<Part>> for Content {
    fn from(parts: Vec<Part>) -> Self {
        Self(Value::Array(parts.into_iter().map(|part| part.0).collect()))
    }
}

/// One part of a message, as JSON has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Part(pub(crate) Value);

impl Part {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self(json!({ "type": "text", "text": text.into() }))
    }

    /// An image by its bytes, such as `image/png`.
    pub fn image(media_type: &str, bytes: &[u8]) -> Self {
        Self::image_url(format!("data:{media_type};base64,{}", STANDARD.encode(bytes)))
    }

    /// An image by its address, which the model's server fetches, or as a `data:` URL.
    pub fn image_url(url: impl Into<String>) -> Self {
        Self(json!({ "type": "image_url", "image_url": { "url": url.into() } }))
    }

    /// A part of any form.
    pub fn of_json(part: Value) -> Self {
        Self(part)
    }
}
