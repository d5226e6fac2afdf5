//! The probe over real connections: what each kind of trouble is called, and what it costs.

use std::sync::Arc;
use std::time::Duration;

use backhaul_store::{SystemClock, Timestamp};
use backhaul_sync::{
    CheckUrl, Connectivity, ConnectivityMonitor, ConnectivityOptions, HttpProbe, Probe, ProbeBytes,
    ProbeError, ProbeErrorKind,
};
use backhaul_testkit::{
    Answer, Certificate, FaultLink, FaultServer, LinkFault, ManualClock, Point, UNKNOWN_HOST,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::support::{World, becomes};

/// A wall clock that says what a test has it say.
fn clock(year: u16) -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp::parse(&format!("{year:04}-06-01T00:00:00Z")).unwrap()))
}

/// A probe that trusts the authority of the testkit, in a year.
fn probe_in(year: u16) -> HttpProbe {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(Certificate::authority_pem().as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    HttpProbe::with_tls(clock(year), config)
}

/// What an address comes to, and what it cost.
async fn ask(probe: &HttpProbe, url: &CheckUrl) -> (Result<(), ProbeError>, u64) {
    let bytes = Arc::new(ProbeBytes::default());
    (probe.check(url, &bytes).await, bytes.total())
}

/// What is wrong with an address.
async fn kind(url: impl AsRef<str>) -> Option<ProbeErrorKind> {
    let url = url.as_ref().parse().unwrap();
    ask(&probe_in(2026), &url).await.0.err().map(|error| error.kind())
}

fn server(answer: Answer) -> FaultServer {
    FaultServer::new(move |_| answer.clone()).unwrap()
}

// --- Answers -----------------------------------------------------------------------

#[tokio::test]
async fn only_a_2xx_is_a_good_answer() {
    use ProbeErrorKind::{Portal, Status};
    let server = server(Answer::ok("ok"));
    for (status, expected) in [
        (200, None),
        (204, None),
        (299, None),
        (300, Some(Status)),
        (304, Some(Status)),
        (401, Some(Status)),
        (404, Some(Status)),
        (503, Some(Status)),
        (511, Some(Portal)),
    ] {
        server.next(Answer::new(status));
        assert_eq!(kind(server.url()).await, expected, "{status}");
    }
}

#[tokio::test]
async fn it_asks_with_a_get_past_caches_on_a_connection_of_its_own() {
    let server = server(Answer::ok("ok"));
    let url = format!("{}/health?deep=1", server.url());
    for _ in 0..2 {
        assert_eq!(kind(&url).await, None);
    }
    let request = &server.requests()[0];
    assert_eq!((request.method(), request.path()), ("GET", "/health?deep=1"));
    assert_eq!(request.header("host"), Some(server.address().to_string().as_str()));
    assert_eq!(request.header("cache-control"), Some("no-cache, no-store"));
    assert_eq!(request.header("connection"), Some("close"));
    assert!(request.header("user-agent").unwrap().starts_with("backhaul/"));
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn an_answer_in_chunks_or_without_a_length_is_read() {
    let server = server(Answer::hang_up());
    let url: CheckUrl = server.url().parse().unwrap();
    let url = url.expecting("a rather long answer");
    let answer = Answer::ok(" \n a rather long answer, and more");
    for answer in [answer.clone(), answer.clone().chunked(), answer.until_close()] {
        server.next(answer);
        assert_eq!(ask(&probe_in(2026), &url).await.0, Ok(()));
    }
}

#[tokio::test]
async fn what_breaks_off_or_is_no_http_is_no_connection() {
    let server = server(Answer::hang_up());
    assert_eq!(kind(server.url()).await, Some(ProbeErrorKind::Connect));
    server.next(Answer::ok("0123456789").truncated_to(3));
    assert_eq!(kind(server.url()).await, Some(ProbeErrorKind::Connect));
    let garbage = FaultServer::garbage().unwrap();
    assert_eq!(kind(garbage.url()).await, Some(ProbeErrorKind::Connect));
}

// --- Portals -----------------------------------------------------------------------

#[tokio::test]
async fn a_redirect_on_the_same_host_is_followed() {
    let target = server(Answer::ok("ok"));
    for status in [301, 302, 303, 307, 308] {
        let moved = server(Answer::redirect(status, format!("{}/new", target.url())));
        assert_eq!(kind(moved.url()).await, None, "{status}");
    }
    assert_eq!(target.requests()[0].path(), "/new");
    let relative = server(Answer::ok("ok"));
    relative.next(Answer::redirect(302, "/elsewhere?x=1"));
    assert_eq!(kind(relative.url()).await, None);
    assert_eq!(relative.requests()[1].path(), "/elsewhere?x=1");
}

#[tokio::test]
async fn a_redirect_to_another_host_is_a_portal_and_is_not_followed() {
    let portal = server(Answer::portal());
    let elsewhere = portal.url().replace("127.0.0.1", "localhost");
    for status in [301, 302, 303, 307, 308] {
        let captured = server(Answer::redirect(status, &elsewhere));
        assert_eq!(kind(captured.url()).await, Some(ProbeErrorKind::Portal), "{status}");
    }
    assert_eq!(portal.requests().len(), 0);
}

#[tokio::test]
async fn a_redirect_from_tls_to_plain_http_is_a_portal() {
    let plain = server(Answer::ok("ok"));
    let to = plain.url();
    let secure =
        FaultServer::over_tls(Certificate::Valid, move |_| Answer::redirect(302, &to)).unwrap();
    assert_eq!(kind(secure.url()).await, Some(ProbeErrorKind::Portal));
    let to = FaultServer::over_tls(Certificate::Valid, |_| Answer::ok("ok")).unwrap();
    let upgraded = server(Answer::redirect(302, to.url()));
    assert_eq!(kind(upgraded.url()).await, None, "the other way is fine");
}

#[tokio::test]
async fn a_redirect_that_leads_nowhere_or_in_circles_is_an_error() {
    let circle = server(Answer::redirect(302, "/"));
    assert_eq!(kind(circle.url()).await, Some(ProbeErrorKind::Status));
    assert_eq!(circle.requests().len(), 6);
    let nowhere = server(Answer::new(302));
    assert_eq!(kind(nowhere.url()).await, Some(ProbeErrorKind::Status));
}

#[tokio::test]
async fn a_portal_that_answers_200_is_known_by_its_body() {
    let portal = server(Answer::portal());
    let url: CheckUrl = portal.url().parse().unwrap();
    let (result, _) = ask(&probe_in(2026), &url.clone().expecting("success")).await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ProbeErrorKind::Portal);
    assert!(error.reason().contains("FreeWifi"), "{error}");
    portal.next(Answer::ok("success\n"));
    assert_eq!(ask(&probe_in(2026), &url.expecting("success")).await.0, Ok(()));
}

// --- No answer -----------------------------------------------------------------------

#[tokio::test]
async fn a_port_that_nobody_listens_at_is_no_connection() {
    let server = server(Answer::ok("ok"));
    let link = FaultLink::to(server.address()).unwrap();
    assert_eq!(kind(link.url()).await, None);
    link.refuse();
    assert_eq!(kind(link.url()).await, Some(ProbeErrorKind::Connect));
    link.up();
    link.next(1, LinkFault::reset(Point::RequestEnd));
    assert_eq!(kind(link.url()).await, Some(ProbeErrorKind::Connect));
}

#[tokio::test]
async fn the_other_address_of_a_host_is_tried_where_the_first_does_not_answer() {
    // The server listens at 127.0.0.1 alone; localhost is ::1 too, where there is IPv6.
    let server = server(Answer::ok("ok"));
    assert_eq!(kind(server.url().replace("127.0.0.1", "localhost")).await, None);
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_told_apart_from_no_connection() {
    let kind = kind(format!("http://{UNKNOWN_HOST}/")).await;
    assert_eq!(kind, Some(ProbeErrorKind::Dns));
}

/// A monitor that gives up after a second, and its first error.
async fn first_error(url: &str) -> ProbeError {
    let options = ConnectivityOptions {
        check_urls: vec![url.parse().unwrap()],
        timeout_seconds: 1,
        failures_to_go_offline: 1,
        ..ConnectivityOptions::default()
    };
    let world = Arc::new(World::new());
    let clock = Arc::new(SystemClock::new());
    let probe = Arc::new(probe_in(2026));
    let monitor = ConnectivityMonitor::new_on(options, probe, world, clock).unwrap();
    monitor.start().await;
    becomes(&monitor, Connectivity::Offline).await;
    monitor.status().last_error.unwrap()
}

#[tokio::test]
async fn one_deadline_is_over_connection_tls_answer_and_body() {
    let plain = server(Answer::ok("0123456789"));
    let link = FaultLink::to(plain.address()).unwrap();
    for point in [Point::Connection, Point::RequestEnd, Point::AnswerHead, Point::AnswerBody(3)] {
        link.clear();
        link.always(LinkFault::stall(point));
        let error = first_error(&link.url()).await;
        assert_eq!(error.kind(), ProbeErrorKind::Timeout, "{point:?}");
    }
    let secure = FaultServer::over_tls(Certificate::Valid, |_| Answer::ok("ok")).unwrap();
    let link = FaultLink::to(secure.address()).unwrap();
    link.always(LinkFault::stall(Point::RequestByte(20)));
    let error = first_error(&format!("https://{}", link.address())).await;
    assert_eq!(error.kind(), ProbeErrorKind::Timeout);
}

#[tokio::test]
async fn redirects_that_take_their_time_share_the_deadline() {
    let slow = server(Answer::redirect(302, "/again").after(Duration::from_millis(400)));
    let error = first_error(&slow.url()).await;
    assert_eq!(error.kind(), ProbeErrorKind::Timeout);
    assert!(slow.requests().len() <= 3);
}

// --- TLS, and clocks -----------------------------------------------------------------

#[tokio::test]
async fn certificates_count_by_the_devices_clock_and_a_clock_that_is_not_set_is_told_apart() {
    use ProbeErrorKind::{ClockNotSet, Tls};
    for (certificate, year, expected) in [
        (Certificate::Valid, 2026, None),
        (Certificate::Valid, 2070, None),
        (Certificate::Valid, 1970, Some(ClockNotSet)),
        (Certificate::NotYetValid, 2026, Some(ClockNotSet)),
        // Expired, or the clock runs ahead: only where the clock is plausible is it the former.
        (Certificate::Expired, 2026, Some(Tls)),
        (Certificate::Expired, 2025, Some(ClockNotSet)),
        (Certificate::Expired, 2077, Some(ClockNotSet)),
        (Certificate::Expired, 2000, None),
    ] {
        let server = FaultServer::over_tls(certificate, |_| Answer::ok("ok")).unwrap();
        let url = server.url().parse().unwrap();
        let (result, _) = ask(&probe_in(year), &url).await;
        let kind = result.as_ref().err().map(ProbeError::kind);
        assert_eq!(kind, expected, "{certificate:?} in {year}: {result:?}");
    }
}

#[tokio::test]
async fn a_clock_that_is_not_set_says_what_it_says() {
    let server = FaultServer::over_tls(Certificate::Valid, |_| Answer::ok("ok")).unwrap();
    let (result, _) = ask(&probe_in(1970), &server.url().parse().unwrap()).await;
    let error = result.unwrap_err().to_string();
    let begin = "the clock of this device is not set: it says 1970-06-01T00:00:00Z: ";
    assert!(error.starts_with(begin), "{error}");
    assert!(error.contains("not valid yet"), "{error}");
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_not_trusted() {
    // With the machine's own certificates, as on a device.
    let probe = HttpProbe::new(clock(2026));
    let server = FaultServer::over_tls(Certificate::Valid, |_| Answer::ok("ok")).unwrap();
    let (result, _) = ask(&probe, &server.url().parse().unwrap()).await;
    assert_eq!(result.unwrap_err().kind(), ProbeErrorKind::Tls);
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_not_trusted() {
    let garbage = FaultServer::garbage().unwrap();
    let url = garbage.url().replace("http://", "https://");
    assert_eq!(kind(url).await, Some(ProbeErrorKind::Tls));
}

// --- What it costs -------------------------------------------------------------------

#[tokio::test]
async fn what_is_counted_is_what_went_over_the_link_and_headers() {
    let plain = server(Answer::ok("ok"));
    let link = FaultLink::to(plain.address()).unwrap();
    let (result, counted) = ask(&probe_in(2026), &link.url().parse().unwrap()).await;
    result.unwrap();
    let payload = payload_of(&link);
    // A request and an answer, a packet or two each, and seven bare ones.
    assert!((payload + 7 * 72..=payload + 15 * 72).contains(&counted), "{payload} {counted}");
}

#[tokio::test]
async fn tls_sessions_are_resumed_and_cost_less_than_the_first() {
    let server = FaultServer::over_tls(Certificate::Valid, |_| Answer::ok("ok")).unwrap();
    let link = FaultLink::to(server.address()).unwrap();
    let url = format!("https://{}", link.address()).parse().unwrap();
    let probe = probe_in(2026);
    let mut costs = Vec::new();
    for _ in 0..3 {
        let before = payload_of(&link);
        let (result, counted) = ask(&probe, &url).await;
        result.unwrap();
        let payload = payload_of(&link) - before;
        assert!(counted > payload && counted < payload + 30 * 72, "{payload} {counted}");
        costs.push(counted);
    }
    println!("bytes of a probe over TLS, first and resumed: {costs:?}");
    assert!(costs[1] < costs[0] && costs[2] < costs[0], "{costs:?}");
    assert!(costs[0] < backhaul_sync::CONNECTION_BYTES, "{costs:?}");
}

#[tokio::test]
async fn a_probe_without_an_answer_costs_what_it_sent() {
    let server = server(Answer::ok("ok"));
    let link = FaultLink::to(server.address()).unwrap();
    link.refuse();
    let (result, counted) = ask(&probe_in(2026), &link.url().parse().unwrap()).await;
    result.unwrap_err();
    assert_eq!(counted, 3 * 72);
    let unknown = format!("http://{UNKNOWN_HOST}").parse().unwrap();
    let (result, counted) = ask(&probe_in(2026), &unknown).await;
    result.unwrap_err();
    assert_eq!(counted, 500);
}

#[tokio::test]
async fn a_body_without_end_is_not_read_to_its_end() {
    let portal = server(Answer::ok("x".repeat(20_000_000)));
    let link = FaultLink::to(portal.address()).unwrap();
    let (result, counted) = ask(&probe_in(2026), &link.url().parse().unwrap()).await;
    result.unwrap();
    assert!(counted < 100_000, "{counted}");
}

fn payload_of(link: &FaultLink) -> u64 {
    let counts = link.counts();
    counts.bytes_up + counts.bytes_down
}
