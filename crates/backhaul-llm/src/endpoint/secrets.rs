//! What must not show.

use std::borrow::Cow;

use crate::api_key::ApiKey;

const STRUCK_OUT: &str = "[redacted]";

/// The key of a request, which a server may repeat in its errors.
#[derive(Debug, Clone)]
pub(super) struct Secrets(Option<ApiKey>);

impl Secrets {
    pub(super) fn new(api_key: Option<ApiKey>) -> Self {
        Self(api_key)
    }

    /// A text of the server without the key.
    pub(super) fn struck_out<'a>(&self, text: &'a [u8]) -> Cow<'a, str> {
        let text = String::from_utf8_lossy(text);
        match &self.0 {
            Some(key) if text.contains(key.reveal()) => {
                text.replace(key.reveal(), STRUCK_OUT).into()
            }
            _ => text,
        }
    }
}
