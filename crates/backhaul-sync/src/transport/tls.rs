//! What a certificate is checked with.

use std::sync::Arc;

use rustls::{ClientConfig, Error, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;

/// The machine's certificates, and ring's cryptography: the default provider would
/// bring a large C build with it. Where the machine has none, nothing is trusted; the
/// second tells why.
pub(super) fn config() -> Result<(ClientConfig, Option<Error>), Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = || {
        ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
    };
    Ok(match builder()?.with_platform_verifier() {
        Ok(verified) => (verified.with_no_client_auth(), None),
        Err(error) => {
            let nothing = builder()?.with_root_certificates(RootCertStore::empty());
            (nothing.with_no_client_auth(), Some(error))
        }
    })
}
