//! What certificates are checked with: the machine's own, and ring's cryptography. The
//! default provider would bring a large C build with it.

use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::{ClientConfig, ConfigBuilder, Error, RootCertStore, WantsVerifier};
use rustls_platform_verifier::BuilderVerifierExt as _;

/// This machine's certificates. Reads a file of many.
pub(crate) fn machine_config() -> Result<ClientConfig, Error> {
    Ok(builder()?.with_platform_verifier()?.with_no_client_auth())
}

/// Trusts nobody: for requests without TLS where the machine has no certificates.
pub(crate) fn trustless_config() -> Result<ClientConfig, Error> {
    let nobody: ConfigBuilder<ClientConfig, WantsClientCert> =
        builder()?.with_root_certificates(RootCertStore::empty());
    Ok(nobody.with_no_client_auth())
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
}
