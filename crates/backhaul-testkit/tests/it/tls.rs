//! TLS that fails, and TLS that does not.

use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use backhaul_testkit::{Answer, Certificate, FaultServer};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, ClientConnection, Error, RootCertStore, StreamOwned};

use crate::client::post;

/// Posts over TLS, trusting the kit's authority.
fn post_over_tls(server: &FaultServer) -> io::Result<String> {
    let authority = Certificate::authority_pem().as_bytes();
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_reader_iter(BufReader::new(authority)) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(server.address())?);
    let request = post("hello").replace("Host: h", "Connection: close");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    match stream.read_to_string(&mut answer) {
        // It closes without a word of TLS, as many servers do.
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
        _ => Ok(answer),
    }
}

fn server(certificate: Certificate) -> FaultServer {
    FaultServer::over_tls(certificate, |request| Answer::ok(request.body()).closing()).unwrap()
}

fn why(server: &FaultServer) -> Error {
    let error = post_over_tls(server).unwrap_err();
    error.into_inner().unwrap().downcast_ref::<Error>().unwrap().clone()
}

#[test]
fn a_certificate_that_is_valid_is_taken() {
    let server = server(Certificate::Valid);
    assert!(server.url().starts_with("https://127.0.0.1:"));
    assert!(post_over_tls(&server).unwrap().ends_with("\r\n\r\nhello"));
    assert_eq!(server.requests()[0].body(), b"hello");
}

#[test]
fn one_that_has_expired_is_refused_for_that() {
    let error = why(&server(Certificate::Expired));
    assert!(
        matches!(error, Error::InvalidCertificate(CertificateError::ExpiredContext { .. })),
        "{error}"
    );
}

#[test]
fn one_that_is_not_valid_yet_is_refused_for_that() {
    let error = why(&server(Certificate::NotYetValid));
    assert!(
        matches!(error, Error::InvalidCertificate(CertificateError::NotValidYetContext { .. })),
        "{error}"
    );
}

#[test]
fn garbage_is_no_handshake() {
    let error = why(&FaultServer::garbage().unwrap());
    assert!(matches!(error, Error::InvalidMessage(_)), "{error}");
}
