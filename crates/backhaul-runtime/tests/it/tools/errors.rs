//! What errors mean for those who would try again, those of real sockets above all.

use std::error::Error;
use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use backhaul_llm::{LlmError, LlmErrorKind};
use backhaul_runtime::tools::{ToolError, ToolErrorKind};
use backhaul_sync::{LinkError, LinkErrorKind};
use backhaul_testkit::{Answer, BlackHole, FaultServer, UNKNOWN_HOST};
use reqwest::{Client, ClientBuilder, Response};
use serde_json::Value;

use ToolErrorKind::{Failed, Permanent, Unclear, Unreachable};

const MOMENT: Duration = Duration::from_millis(50);

/// A port at which nobody listens.
fn refusing() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn client(with: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Client {
    // Another test may have been faster.
    let _ = rustls::crypto::ring::default_provider().install_default();
    with(Client::builder().no_proxy()).build().unwrap()
}

fn kind(error: impl Error + Send + Sync + 'static) -> ToolErrorKind {
    ToolError::from(error).kind()
}

/// What comes of asking a server that answers so.
async fn asked(answer: Answer) -> Result<Response, reqwest::Error> {
    let server = FaultServer::new(|_| Answer::new(404)).unwrap();
    server.next(answer);
    let url = format!("http://{}/", server.address());
    client(|it| it.timeout(Duration::from_millis(500))).get(url).send().await
}

/// The error of reading the whole answer as JSON.
async fn read(answer: Answer) -> ToolErrorKind {
    kind(asked(answer).await.unwrap().json::<Value>().await.unwrap_err())
}

#[test]
fn nobody_was_reached_where_no_connection_came_about() {
    assert_eq!(kind(TcpStream::connect(refusing()).unwrap_err()), Unreachable);
    assert_eq!(kind((UNKNOWN_HOST, 80).to_socket_addrs().unwrap_err()), Unreachable);
    // An address that no host has.
    let refused = std::net::UdpSocket::bind("192.0.2.1:0").unwrap_err();
    assert_eq!(kind(refused), Unreachable);
}

#[test]
fn it_may_have_been_done_where_a_connection_broke() {
    let hole = BlackHole::new().unwrap();
    let silent = TcpStream::connect_timeout(&hole.address(), MOMENT).unwrap_err();
    assert_eq!(kind(silent), Unclear);

    let server = FaultServer::new(|_| Answer::silence()).unwrap();
    let broken = |answer: Answer| {
        server.next(answer);
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(MOMENT)).unwrap();
        stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").unwrap();
        kind(stream.read_exact(&mut [0; 4_096]).unwrap_err())
    };
    assert_eq!(broken(Answer::reset()), Unclear);
    assert_eq!(broken(Answer::hang_up()), Unclear);
    assert_eq!(broken(Answer::silence()), Unclear);
}

#[tokio::test]
async fn a_request_that_did_not_connect_reached_nobody() {
    let refused = client(|it| it).get(format!("http://{}/", refusing())).send().await;
    assert_eq!(kind(refused.unwrap_err()), Unreachable);
    let unknown = client(|it| it).get(format!("http://{UNKNOWN_HOST}/")).send().await;
    assert_eq!(kind(unknown.unwrap_err()), Unreachable);
    let hole = BlackHole::new().unwrap();
    let silent = client(|it| it.connect_timeout(MOMENT)).get(hole.url()).send().await;
    assert_eq!(kind(silent.unwrap_err()), Unreachable);
}

#[tokio::test]
async fn a_request_that_may_have_been_sent_may_have_been_done() {
    for answer in [Answer::reset(), Answer::hang_up(), Answer::silence()] {
        assert_eq!(kind(asked(answer).await.unwrap_err()), Unclear);
    }
    let hole = BlackHole::new().unwrap();
    let silent = client(|it| it.timeout(MOMENT)).get(hole.url()).send().await;
    assert_eq!(kind(silent.unwrap_err()), Unclear, "nobody can tell what took so long");
    let garbage = FaultServer::garbage().unwrap();
    let garbled = client(|it| it).get(format!("http://{}/", garbage.address())).send().await;
    assert_eq!(kind(garbled.unwrap_err()), Unclear);
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_leaves_it_unclear() {
    assert_eq!(read(Answer::ok(r#"{"a": 1}"#).truncated_to(3)).await, Unclear);
    assert_eq!(read(Answer::new(200).piece("{").then_reset()).await, Unclear);
    assert_eq!(read(Answer::portal()).await, Unclear);
}

#[tokio::test]
async fn a_status_says_whether_to_try_again() {
    for (status, expected) in [
        (429, Failed),
        (500, Failed),
        (503, Failed),
        (400, Permanent),
        (401, Permanent),
        (404, Permanent),
        (422, Permanent),
    ] {
        let answer = asked(Answer::new(status)).await.unwrap();
        assert_eq!(kind(answer.error_for_status().unwrap_err()), expected, "{status}");
    }
}

#[tokio::test]
async fn requests_that_cannot_be_made_never_will_be() {
    let wrong = client(|it| it).get("no address").send().await;
    assert_eq!(kind(wrong.unwrap_err()), Permanent);
    let server = FaultServer::new(|_| Answer::redirect(302, "/again")).unwrap();
    let circling = client(|it| it).get(format!("http://{}/", server.address())).send().await;
    assert_eq!(kind(circling.unwrap_err()), Failed);
}

#[tokio::test(start_paused = true)]
async fn patience_that_is_over_leaves_it_unclear() {
    let never = std::future::pending::<()>();
    assert_eq!(kind(tokio::time::timeout(MOMENT, never).await.unwrap_err()), Unclear);
}

#[test]
fn errors_of_this_library_keep_their_meaning() {
    let of = |kind_of: LlmErrorKind| kind(LlmError::new(kind_of, "no answer"));
    for one in LlmErrorKind::ALL {
        use LlmErrorKind as Llm;
        let expected = match one {
            Llm::Unreachable | Llm::Unavailable => Unreachable,
            Llm::Timeout | Llm::BrokenOff | Llm::Garbled => Unclear,
            Llm::Busy | Llm::RateLimited | Llm::Engine => Failed,
            _ => Permanent,
        };
        assert_eq!(of(one), expected, "{one}");
    }
    for (one, expected) in [
        (LinkErrorKind::OverBudget, Unreachable),
        (LinkErrorKind::Unreachable, Unclear),
        (LinkErrorKind::Timeout, Unclear),
        (LinkErrorKind::Busy, Failed),
        (LinkErrorKind::Refused, Permanent),
        (LinkErrorKind::TooLarge, Permanent),
        (LinkErrorKind::BadBatch, Permanent),
    ] {
        assert_eq!(kind(LinkError::new(one, "no delivery")), expected, "{one}");
    }
}

#[derive(Debug)]
struct Outer<E>(E);

impl<E> fmt::Display for Outer<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it did not work")
    }
}

impl<E: Error + 'static> Error for Outer<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn the_first_cause_that_says_something_decides() {
    let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
    assert_eq!(kind(Outer(Outer(refused()))), Unreachable);
    assert_eq!(kind(io::Error::other(LinkError::timeout("too slow"))), Unclear);
    assert_eq!(kind(io::Error::other(Outer(refused()))), Unreachable);
    assert_eq!(kind(Outer("x".parse::<u8>().unwrap_err())), Failed);
    assert_eq!(kind(io::Error::from(io::ErrorKind::PermissionDenied)), Failed);
}

#[test]
fn an_error_tells_its_causes_and_what_it_was_made_of() {
    let error = ToolError::from(Outer(io::Error::from(io::ErrorKind::ConnectionRefused)));
    assert_eq!(error.to_string(), "it did not work");
    assert_eq!(format!("{error:#}"), "it did not work: connection refused");
    assert!(error.downcast_ref::<Outer<io::Error>>().is_some());
    assert!(error.source().is_some_and(|cause| cause.is::<io::Error>()));
    assert!(ToolError::failed("alone").source().is_none());
}

#[test]
fn an_error_comes_whole_through_a_box() {
    let error = ToolError::permanent("no such sensor").with_source("it was taken down");
    let boxed: Box<dyn Error + Send + Sync> = error.clone().into();
    assert_eq!(boxed.to_string(), "no such sensor");
    assert_eq!(boxed.source().map(ToString::to_string).as_deref(), Some("it was taken down"));
    let again = ToolError::of_boxed(boxed);
    assert_eq!(again, error);
    assert_eq!(format!("{again:#}"), "no such sensor: it was taken down");
}

#[test]
fn the_network_is_to_blame_for_some() {
    use ToolErrorKind::{InvalidArguments, NotQueued, Offline, UnknownTool};
    let blamed = |kind| ToolError::new(kind, "why").is_of_the_network();
    assert!([Unreachable, Unclear, Offline].into_iter().all(blamed));
    let others = [Failed, Permanent, InvalidArguments, UnknownTool, NotQueued];
    assert!(!others.into_iter().any(blamed));
}
