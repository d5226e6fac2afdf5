//! What is asked, and which answer counts.

use std::fmt;
use std::str::FromStr;

use url::Url;

use crate::options::OptionError;

/// An address that answers while there is a link.
///
/// It counts as an answer when the status is 2xx, without a redirect to another host, and
/// the body begins as expected where that is said. Behind a captive portal, any body may
/// come from a plain `http` address: use `https`, or say what to expect.
///
/// ```
/// use backhaul_sync::CheckUrl;
///
/// let hub: CheckUrl = "https://hub.example.com/healthz".parse()?;
/// let plain: CheckUrl = "http://connect.example.com/ok.txt".parse()?;
/// let plain = plain.expecting("success");
/// assert_eq!(plain.expected_body(), Some("success"));
///
/// let error = "hub.example.com".parse::<CheckUrl>().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "check_urls is \"hub.example.com\": expected http://HOST or https://HOST, without a user"
/// );
/// # Ok::<(), backhaul_sync::OptionError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct CheckUrl {
    url: Url,
    expected_body: Option<String>,
}

impl CheckUrl {
    /// Says what the body of a good answer begins with, white space before it aside.
    #[must_use]
    pub fn expecting(mut self, body: impl Into<String>) -> Self {
        self.expected_body = Some(body.into());
        self
    }

    /// What the body of a good answer begins with; `None`: anything will do.
    pub fn expected_body(&self) -> Option<&str> {
        self.expected_body.as_deref()
    }

    /// The whole address, with a query that may hold a secret.
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }
}

impl FromStr for CheckUrl {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        let expected = "http://HOST or https://HOST, without a user";
        let bad = |found| OptionError::new("check_urls", format!("{found:?}"), expected);
        let url = Url::parse(text.trim()).map_err(|_| bad(without_user(text)))?;
        let is_http = matches!(url.scheme(), "http" | "https") && url.host().is_some();
        let has_user = !url.username().is_empty() || url.password().is_some();
        if !is_http || has_user {
            return Err(bad(without_user(text)));
        }
        Ok(Self { url, expected_body: None })
    }
}

/// Without the query, which may hold a secret.
impl fmt::Display for CheckUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = self.url.origin().ascii_serialization();
        write!(f, "{origin}{}", self.url.path())
    }
}

impl fmt::Debug for CheckUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckUrl")
            .field("url", &self.to_string())
            .field("expected_body", &self.expected_body)
            .finish()
    }
}

/// What stands behind the last `@`: a password is never shown.
fn without_user(text: &str) -> &str {
    text.rsplit_once('@').map_or(text, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_without_sense_are_refused() {
        for bad in ["", "hub", "ftp://hub", "http://", "file:///etc/passwd", "http://me@hub"] {
            let error = bad.parse::<CheckUrl>().unwrap_err();
            assert_eq!(error.option(), "check_urls", "{bad}");
        }
    }

    #[test]
    fn passwords_and_queries_are_never_shown() {
        let error = "http://me:s3cret@hub".parse::<CheckUrl>().unwrap_err();
        assert!(!error.to_string().contains("s3cret"), "{error}");
        let url: CheckUrl = "https://hub:8443/healthz?key=s3cret".parse().unwrap();
        assert_eq!(url.to_string(), "https://hub:8443/healthz");
        assert!(!format!("{url:?}").contains("s3cret"));
        assert!(url.as_str().contains("s3cret"));
    }
}
