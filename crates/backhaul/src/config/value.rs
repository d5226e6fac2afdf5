//! Values of settings that have a form of their own.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use backhaul_agent::CloudRunLogger;

/// The address of a hub, `http://HOST:PORT` or `https://HOST`. It is shown without a
/// user's name and password.
///
/// ```
/// use backhaul::config::HubUrl;
/// let url: HubUrl = "https://me:s3cret@hub.example.org/v1/runs".parse().unwrap();
/// assert_eq!(url.to_string(), "https://hub.example.org");
/// assert!("hub:7117".parse::<HubUrl>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct HubUrl(String);

impl HubUrl {
    /// What the address of an intake ends with. The address of the hub alone does as well.
    const INTAKE: &'static str = "/v1/runs";

    /// The address with everything in it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HubUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hub = text.trim().trim_end_matches('/');
        let hub = hub.strip_suffix(Self::INTAKE).unwrap_or(hub);
        CloudRunLogger::check_url(hub).map_err(|error| error.to_string())?;
        Ok(Self(hub.to_owned()))
    }
}

impl fmt::Display for HubUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&CloudRunLogger::shown_url(&self.0))
    }
}

impl fmt::Debug for HubUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HubUrl({self})")
    }
}

/// The base of a server's addresses, `http://HOST:PORT/PATH` or with `https`. A user's name
/// and password have no place in it: the key is a setting of its own.
///
/// ```
/// use backhaul::config::WebUrl;
/// let url: WebUrl = "https://weave.example.org/traces/".parse().unwrap();
/// assert_eq!(url.to_string(), "https://weave.example.org/traces");
/// assert!("weave.example.org".parse::<WebUrl>().is_err());
/// assert!("https://me:s3cret@weave.example.org".parse::<WebUrl>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct WebUrl(String);

impl WebUrl {
    /// The address with everything in it, without a `/` at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for WebUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = text.trim().trim_end_matches('/');
        CloudRunLogger::check_url(url).map_err(|error| error.to_string())?;
        if url.contains('@') {
            return Err("a user and a password are not used: set the key instead".to_owned());
        }
        Ok(Self(url.to_owned()))
    }
}

impl fmt::Display for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebUrl({self})")
    }
}

/// A key or token. Nothing shows it; [`reveal`](Secret::reveal) gives it.
///
/// ```
/// use backhaul::config::Secret;
/// let key: Secret = " s3cret\n".parse().unwrap();
/// assert_eq!((key.reveal(), key.to_string().as_str()), ("s3cret", "(set, not shown)"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = String;

    /// White space around a secret is not part of it.
    fn from_str(text: &str) -> Result<Self, String> {
        let secret = text.trim();
        let is_visible = |byte: u8| byte.is_ascii_graphic();
        match !secret.is_empty() && secret.bytes().all(is_visible) {
            true => Ok(Self(secret.to_owned())),
            false => Err("a secret is made of visible ASCII characters".to_owned()),
        }
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(set, not shown)")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret{self}")
    }
}

/// A secret, or the file that it stands in; neither: there is none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SecretPlace {
    /// The secret itself. It wins over the file.
    pub value: Option<Secret>,
    /// A file with nothing else in it.
    pub file: Option<PathBuf>,
}

impl SecretPlace {
    /// The secret, read from its file where it is in one.
    ///
    /// # Errors
    /// In words, where the file cannot be read or holds no secret.
    pub fn find(&self) -> Result<Option<Secret>, String> {
        let (None, Some(path)) = (&self.value, &self.file) else {
            return Ok(self.value.clone());
        };
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read the secret in {shown}: {error}"))?;
        let secret = text.parse().map_err(|_| match text.trim() {
            "" => {
                format!("{shown} is empty: expected a secret, such as `openssl rand -hex 32` gives")
            }
            _ => format!("{shown} holds no secret: expected visible ASCII characters on one line"),
        })?;
        Ok(Some(secret))
    }
}

/// Whether a process counts as offline, on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutageSetting {
    /// No.
    #[default]
    Off,
    /// As long as it runs.
    On,
    /// For this time from its start on.
    For(Duration),
}

/// Where to listen: a name or number of this machine and a port.
///
/// ```
/// use backhaul::config::ListenAddress;
/// assert!("[::1]:7117".parse::<ListenAddress>().is_ok());
/// assert!("127.0.0.1".parse::<ListenAddress>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAddress(String);

impl ListenAddress {
    /// The address as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for ListenAddress {
    /// This machine alone.
    fn default() -> Self {
        Self("127.0.0.1:7117".to_owned())
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_one = text
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        match is_one {
            true => Ok(Self(text.to_owned())),
            false => Err(format!("{text:?} is no address with a port")),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
