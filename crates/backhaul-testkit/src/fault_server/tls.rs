//! TLS, as far as a server needs it that is not to be trusted.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

pub(crate) type Config = Arc<ServerConfig>;

/// What a server shows of itself. All are issued by [`Certificate::authority_pem`], for
/// `127.0.0.1` and `localhost`; `certs/generate.py` makes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Certificate {
    /// Valid until the year 9999.
    Valid,
    /// Valid in the year 2000 alone.
    Expired,
    /// Valid from the year 9000 on: what a device sees whose clock was never set.
    NotYetValid,
}

impl Certificate {
    /// The certificate of the authority, for the file that `SSL_CERT_FILE` names.
    pub fn authority_pem() -> &'static str {
        include_str!("../../certs/authority.pem")
    }

    fn der(self) -> &'static [u8] {
        match self {
            Self::Valid => include_bytes!("../../certs/valid.der"),
            Self::Expired => include_bytes!("../../certs/expired.der"),
            Self::NotYetValid => include_bytes!("../../certs/not_yet_valid.der"),
        }
    }
}

/// The key of all three. It protects nothing.
const KEY: &[u8] = include_bytes!("../../certs/key.der");

pub(crate) fn config(certificate: Certificate) -> io::Result<Config> {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(KEY));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(certificate.der())], key)
        .map_err(io::Error::other)?;
    Ok(Arc::new(config))
}

/// Reading from it shakes hands first.
pub(crate) fn accept<'a>(
    config: &Config,
    stream: &'a TcpStream,
) -> io::Result<StreamOwned<ServerConnection, &'a TcpStream>> {
    let connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    Ok(StreamOwned::new(connection, stream))
}
