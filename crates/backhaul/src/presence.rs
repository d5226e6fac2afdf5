//! What a running hub leaves in its data dir, so that `backhaul status` finds it:
//! some things only the process that has the spool open knows.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use backhaul::config::Secret;
use serde::{Deserialize, Serialize};

use crate::data_dir::{DataDir, RUNS};
use crate::hub::{FOLDER, private_file};

const FILE: &str = "serving.json";
/// A hub on this machine answers in a few milliseconds.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Where a hub listens, and as which process. Removed when it ends well.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Presence {
    address: SocketAddr,
    process: u32,
    #[serde(skip)]
    path: PathBuf,
}

/// What a hub says of itself at `/readyz`.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Readiness {
    pub(crate) ready: bool,
    /// Why it cannot store records; only for those who may send some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trouble: Option<String>,
    /// The cap on its spool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cap_bytes: Option<u64>,
    /// Whether it passes records on. None: it is of a version that does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) forwards: Option<bool>,
    pub(crate) process: u32,
}

impl Presence {
    /// Says in the data dir that this process listens there.
    pub(crate) fn announce(data_dir: &Path, address: SocketAddr) -> anyhow::Result<Self> {
        let path = data_dir.join(FOLDER).join(FILE);
        let presence = Self { address, process: std::process::id(), path };
        let path = &presence.path;
        let text = serde_json::to_vec(&presence)?;
        private_file(path)
            .and_then(|mut file| {
                file.set_len(0)?;
                file.write_all(&text)
            })
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(presence)
    }

    /// What the hub of the data dir says, where one runs and answers.
    pub(crate) fn ask(data_dir: &DataDir, spool: &str) -> Option<Readiness> {
        if spool != RUNS {
            return None;
        }
        let text = std::fs::read(data_dir.path().join(FOLDER).join(FILE)).ok()?;
        let presence: Self = serde_json::from_slice(&text).ok()?;
        let readiness = presence.readiness(data_dir.token())?;
        // Another process may have got the port since.
        (readiness.process == presence.process).then_some(readiness)
    }

    fn readiness(&self, token: Option<&Secret>) -> Option<Readiness> {
        let ip = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let address = SocketAddr::new(ip, self.address.port());
        let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).ok()?;
        stream.set_read_timeout(Some(TIMEOUT)).ok()?;
        let mut request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\n");
        if let Some(token) = token {
            request.push_str(&format!("Authorization: Bearer {}\r\n", token.reveal()));
        }
        request.push_str("Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut reply = String::new();
        stream.take(64 << 10).read_to_string(&mut reply).ok()?;
        let (_, body) = reply.split_once("\r\n\r\n")?;
        serde_json::from_str(body).ok()
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        if self.process == std::process::id() && !self.path.as_os_str().is_empty() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
