//! The token that clients of a hub show.

use std::fmt;

use axum::http::{HeaderMap, StatusCode, header};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::intake::Refusal;

/// A bearer token. Only its digest is kept, and nothing shows it.
#[derive(Clone)]
pub(crate) struct Token([u8; 32]);

impl Token {
    pub(crate) fn new(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Whether a request shows the token. How long the comparison takes says nothing
    /// of the token, not even its length: digests are compared, all of their bytes.
    fn admits(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
        let shown = shown.and_then(|value| {
            let (scheme, token) = value.split_at_checked("bearer ".len())?;
            scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
        });
        shown.is_some() & self.is(shown.unwrap_or_default().trim_ascii())
    }

    fn is(&self, shown: &[u8]) -> bool {
        let digest: [u8; 32] = Sha256::digest(shown).into();
        digest.ct_eq(&self.0).into()
    }

    /// # Errors
    /// 401 where a request shows the token neither itself nor as a client's `key`.
    pub(crate) fn check_or_key(
        &self,
        headers: &HeaderMap,
        key: Option<&str>,
    ) -> Result<(), Refusal> {
        match key.is_some_and(|key| self.is(key.as_bytes())) || self.admits(headers) {
            true => Ok(()),
            false => Err(Refusal::new(
                StatusCode::UNAUTHORIZED,
                "this collector asks for a token: give it to the client as WANDB_API_KEY",
            )),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

/// # Errors
/// 401 where a token is asked for and the request does not show it.
pub(crate) fn check(token: Option<&Token>, headers: &HeaderMap) -> Result<(), Refusal> {
    match token {
        Some(token) if !token.admits(headers) => Err(Refusal::new(
            StatusCode::UNAUTHORIZED,
            "this hub asks for a token: send it as `Authorization: Bearer TOKEN`",
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_let_in(authorization: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        }
        check(Some(&Token::new("s3cret")), &headers).is_ok()
    }

    #[test]
    fn only_the_whole_token_is_let_in() {
        assert!(is_let_in(Some("Bearer s3cret")));
        assert!(is_let_in(Some("bearer  s3cret ")));
        for other in ["Bearer s3cre", "Bearer s3cret2", "Bearer", "Basic s3cret", "s3cret", ""] {
            assert!(!is_let_in(Some(other)), "{other:?}");
        }
        assert!(!is_let_in(None));
        assert!(check(None, &HeaderMap::new()).is_ok());
    }

    #[test]
    fn the_token_is_never_shown() {
        assert_eq!(format!("{:?}", Token::new("s3cret")), "Token(hidden)");
    }
}
