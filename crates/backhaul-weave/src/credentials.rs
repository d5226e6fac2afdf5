//! The key that a server is asked with.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use backhaul_sync::Url;

use crate::error::{TraceError, TraceErrorKind};

/// The variable that holds a key.
const VARIABLE: &str = "WANDB_API_KEY";
/// Where a netrc file may be, in the home folder.
const NETRC: [&str; 2] = [".netrc", "_netrc"];

/// Where the key of a server comes from: the one that was given, else the one that a client
/// has sent last ([`note_client_key`](Credentials::note_client_key)), else `WANDB_API_KEY`,
/// else `~/.netrc` or `~/_netrc`.
///
/// A key is kept in memory alone, and never shown. Clones are one.
///
/// ```
/// use backhaul_weave::Credentials;
/// let server = "https://api.wandb.ai".parse()?;
/// let credentials = Credentials::new(None).with_environment(None, None);
/// assert!(credentials.key(&server).is_err());
/// credentials.note_client_key("0123abcd");
/// assert_eq!(credentials.key(&server)?, "0123abcd");
/// assert!(!format!("{credentials:?}").contains("0123abcd"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Credentials {
    given: Option<String>,
    of_client: Arc<RwLock<Option<String>>>,
    variable: Option<String>,
    home: Option<PathBuf>,
}

impl Credentials {
    /// The key that `backhaul run` gives to a client which has none, so that it starts and
    /// asks nobody. It counts as no key. As long as a real one: some clients count.
    pub const PLACEHOLDER: &str = "backhaulplaceholder000000000000000000000";

    /// Credentials with a key that is given, or without one. An empty key is none.
    pub fn new(api_key: Option<String>) -> Self {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let credentials =
            Self { given: filled(api_key), of_client: Arc::default(), variable: None, home: None };
        credentials.with_environment(std::env::var(VARIABLE).ok(), home)
    }

    /// The same in another environment: the value of `WANDB_API_KEY`, and the home folder.
    #[must_use]
    pub fn with_environment(self, variable: Option<String>, home: Option<PathBuf>) -> Self {
        let home = home.filter(|home| !home.as_os_str().is_empty());
        Self { variable: filled(variable), home, ..self }
    }

    /// Notes the key that a client has just sent.
    pub fn note_client_key(&self, key: &str) {
        if !key.is_empty() && key != Self::PLACEHOLDER {
            let mut known = self.of_client.write().unwrap_or_else(PoisonError::into_inner);
            *known = Some(key.to_owned());
        }
    }

    /// The key for the server whose projects are at `wandb_url`. May read a file.
    ///
    /// # Errors
    /// [`TraceErrorKind::NoCredentials`] where there is none.
    pub fn key(&self, wandb_url: &Url) -> Result<String, TraceError> {
        let of_client = || self.of_client.read().unwrap_or_else(PoisonError::into_inner).clone();
        let found = self.given.clone().or_else(of_client).or_else(|| self.variable.clone());
        found.or_else(|| self.of_netrc(wandb_url)).ok_or_else(|| {
            let host = netlocs(wandb_url).into_iter().next().unwrap_or_default();
            TraceError::new(
                TraceErrorKind::NoCredentials,
                format!(
                    "no API key is known for {host}: give weave_api_key, let a client log in through \
                     the gateway, set {VARIABLE}, or name the machine {host} in ~/.netrc"
                ),
            )
        })
    }

    fn of_netrc(&self, wandb_url: &Url) -> Option<String> {
        let home = self.home.as_ref()?;
        let texts = NETRC.iter().filter_map(|name| std::fs::read_to_string(home.join(name)).ok());
        let netlocs = netlocs(wandb_url);
        texts.into_iter().find_map(|text| {
            netlocs.iter().find_map(|machine| password_of(&text, machine)).map(ToOwned::to_owned)
        })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("api_key", &self.given.as_ref().map(|_| "[redacted]"))
            .finish_non_exhaustive()
    }
}

fn filled(text: Option<String>) -> Option<String> {
    let text = text.map(|text| text.trim().to_owned());
    text.filter(|text| !text.is_empty() && text != Credentials::PLACEHOLDER)
}

/// What a netrc file may call a server: with its port and without.
fn netlocs(url: &Url) -> Vec<String> {
    let Some(host) = url.host_str() else { return Vec::new() };
    let with_port = url.port().map(|port| format!("{host}:{port}"));
    with_port.into_iter().chain([host.to_owned()]).collect()
}

/// The password that a netrc file has for a machine.
fn password_of<'a>(netrc: &'a str, machine: &str) -> Option<&'a str> {
    let lines = netrc.lines().filter(|line| !line.trim_start().starts_with('#'));
    let mut words = lines.flat_map(str::split_whitespace);
    let mut is_meant = false;
    while let Some(word) = words.next() {
        match word {
            "machine" => is_meant = words.next() == Some(machine),
            "default" => is_meant = false,
            "password" => {
                let password = words.next()?.trim_matches('"');
                if is_meant && !password.is_empty() {
                    return Some(password);
                }
            }
            "login" | "account" => drop(words.next()),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETRC_FILE: &str = "\
# machine local password commented-out
machine api.wandb.ai
  login user
  password hosted
machine localhost:8080 login user password with-port
machine localhost login password password without-port
default login user password anything\n";

    #[test]
    fn a_key_is_looked_for_in_the_order_that_is_documented() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("_netrc"), NETRC_FILE).unwrap();
        let server: Url = "https://api.wandb.ai".parse().unwrap();
        let at_home = Some(home.path().to_owned());
        let none = Credentials::new(None).with_environment(None, at_home.clone());
        assert_eq!(none.key(&server).unwrap(), "hosted");
        let credentials = none.with_environment(Some("variable".into()), at_home.clone());
        assert_eq!(credentials.key(&server).unwrap(), "variable");
        credentials.note_client_key("client");
        credentials.note_client_key("");
        credentials.note_client_key(Credentials::PLACEHOLDER);
        assert_eq!(credentials.clone().key(&server).unwrap(), "client");
        let given = Credentials::new(Some("given".into()));
        given.note_client_key("client");
        assert_eq!(given.key(&server).unwrap(), "given");
    }

    #[test]
    fn no_key_is_an_error_that_says_what_to_do() {
        let none = Credentials::new(Some(" ".into()))
            .with_environment(Some(Credentials::PLACEHOLDER.into()), None);
        let error = none.key(&"http://127.0.0.1:6345".parse().unwrap()).unwrap_err();
        assert_eq!(error.kind(), TraceErrorKind::NoCredentials);
        let said = error.to_string();
        for way in ["weave_api_key", "client", "WANDB_API_KEY", "netrc", "127.0.0.1:6345"] {
            assert!(said.contains(way), "{said}");
        }
    }

    #[test]
    fn a_netrc_file_names_a_machine_with_its_port_or_without() {
        for (url, password) in [
            ("http://localhost:8080", Some("with-port")),
            ("http://localhost:9090", Some("without-port")),
            ("http://localhost", Some("without-port")),
            ("http://local", None),
            ("https://elsewhere", None),
        ] {
            let url = url.parse().unwrap();
            let found = netlocs(&url).iter().find_map(|name| password_of(NETRC_FILE, name));
            assert_eq!(found, password, "{url}");
        }
    }
}
