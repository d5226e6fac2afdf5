//! What certificates are checked with: the machine's own, and ring's cryptography. The
//! default provider would bring a large C build with it.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use backhaul_store::Timestamp;
use rustls::client::WantsClientCert;
use rustls::{CertificateError, ClientConfig, ConfigBuilder, Error, RootCertStore, WantsVerifier};
use rustls_platform_verifier::BuilderVerifierExt as _;

/// From 2026, when this was written, to 2076: a clock that says anything else is wrong.
const PLAUSIBLE_MICROS: std::ops::Range<i64> = 1_767_225_600_000_000..3_345_062_400_000_000;

/// Whether a certificate does not count because the clock, which says `now`, is wrong. One
/// that does not count yet is one of the future: nobody installs such a one. One that has
/// expired is expired, unless the clock is wrong anyhow.
pub(crate) fn is_the_clocks_fault(error: &Error, now: Timestamp) -> bool {
    let Error::InvalidCertificate(why) = error else { return false };
    match why {
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => true,
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            !PLAUSIBLE_MICROS.contains(&now.as_micros())
        }
        _ => false,
    }
}

/// What TLS has against a connection, where that is behind an error.
pub(crate) fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    if let Some(found) = error.downcast_ref::<Error>() {
        return Some(found);
    }
    // What an I/O error holds is not its source, but that of what it holds.
    let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    let held = held.map(|held| held as &(dyn StdError + 'static));
    held.or_else(|| error.source()).and_then(tls_error)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> Timestamp {
        Timestamp::parse(time).unwrap_or(Timestamp::from_micros(0))
    }

    #[test]
    fn a_certificate_of_the_future_is_the_clocks_fault_and_an_expired_one_only_in_1970() {
        let is_so = |why, now| is_the_clocks_fault(&Error::InvalidCertificate(why), at(now));
        for (now, expired) in [("2026-11-22T00:00:00Z", false), ("1970-01-01T00:00:09Z", true)] {
            assert!(is_so(CertificateError::NotValidYet, now));
            assert_eq!(is_so(CertificateError::Expired, now), expired, "{now}");
            assert!(!is_so(CertificateError::UnknownIssuer, now));
        }
    }

    #[test]
    fn it_is_found_behind_io_errors() {
        let tls = Error::InvalidCertificate(CertificateError::NotValidYet);
        let error = io::Error::other(io::Error::other(tls.clone()));
        assert_eq!(tls_error(&error), Some(&tls));
        assert_eq!(tls_error(&io::Error::other("no route")), None);
    }
}
