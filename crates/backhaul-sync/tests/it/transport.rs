//! Requests over HTTP, to a server on the loopback.

use std::io::Read as _;
use std::net::TcpListener;
use std::time::Duration;

use backhaul_sync::{
    BandwidthManager, BandwidthOptions, Criticality, LinkErrorKind, Method, Request, Transport,
};
use backhaul_testkit::{Answer, Cable, FaultServer};

fn request(server: &FaultServer, method: Method) -> Request {
    Request {
        method,
        url: format!("http://{}/path?x=1", server.address()).parse().unwrap(),
        headers: Default::default(),
        body: "body".into(),
        answer_bytes: 100,
        criticality: Some(Criticality::Normal),
    }
}

fn transport() -> Transport {
    Transport::new(Duration::from_secs(10)).unwrap()
}

#[tokio::test]
async fn what_is_asked_for_reaches_the_server() {
    let server = FaultServer::new(|request| Answer::ok(request.line())).unwrap();
    for method in [Method::GET, Method::PUT, Method::POST] {
        let answer = transport().send(request(&server, method.clone())).await.unwrap();
        let line = format!("{method} /path?x=1 HTTP/1.1");
        assert_eq!(String::from_utf8(answer.body).unwrap(), line);
    }
}

#[tokio::test]
async fn a_long_answer_is_cut_unless_it_is_one_of_success() {
    let long = "x".repeat(300_000);
    let server = FaultServer::new(move |_| Answer::new(422).body(long.clone())).unwrap();
    let answer = transport().send(request(&server, Method::POST)).await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (422, 100));
    let server = FaultServer::new(|_| Answer::ok("x".repeat(101))).unwrap();
    let error = transport().send(request(&server, Method::POST)).await.unwrap_err();
    assert_eq!(error.kind(), LinkErrorKind::Unreachable);
}

#[tokio::test]
async fn what_no_cap_stops_is_counted_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let options = BandwidthOptions { daily_limit_mb: Some(1), ..BandwidthOptions::default() };
    let budget = BandwidthManager::new(dir.path(), options).unwrap();
    budget.record_sent(1_000_000);
    let server = FaultServer::new(|_| Answer::ok("read")).unwrap();
    let transport = transport().with_budget(budget.clone());
    let capped = request(&server, Method::GET);
    let error = transport.send(capped.clone()).await.unwrap_err();
    assert_eq!(error.kind(), LinkErrorKind::OverBudget);
    let used = budget.status().used_bytes;
    transport.send(Request { criticality: None, ..capped }).await.unwrap();
    assert!(budget.status().used_bytes > used + 200);
}

#[tokio::test]
async fn an_answer_is_read_as_it_comes_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let options = BandwidthOptions { daily_limit_mb: Some(1), ..BandwidthOptions::default() };
    let budget = BandwidthManager::new(dir.path(), options).unwrap();
    let server = FaultServer::new(|_| Answer::new(422).body("x".repeat(5_000)).chunked()).unwrap();
    let transport = transport().with_budget(budget.clone());
    let asked = Request { criticality: None, ..request(&server, Method::POST) };
    let mut incoming = transport.open(asked.clone()).await.unwrap();
    assert_eq!(
        (incoming.status, incoming.headers["transfer-encoding"].as_bytes()),
        (422, &b"chunked"[..])
    );
    let mut length = 0;
    while let Some(piece) = incoming.piece().await.unwrap() {
        length += piece.len();
    }
    assert_eq!(length, 5_000);
    assert!(budget.status().used_bytes > 5_000);
    let again = transport.open(asked).await.unwrap().whole(100).await.unwrap();
    assert_eq!((again.body.len(), server.connections()), (100, 1));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_end() {
    let server = FaultServer::new(|_| Answer::ok("hello").truncated_to(2)).unwrap();
    let mut incoming = transport().open(request(&server, Method::GET)).await.unwrap();
    let error = loop {
        match incoming.piece().await {
            Ok(piece) => assert_eq!(piece.unwrap(), "he"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), LinkErrorKind::Unreachable);
}

#[tokio::test]
async fn a_kept_connection_that_the_server_has_closed_is_no_outage() {
    let server = FaultServer::new(|_| Answer::ok("hello")).unwrap();
    let transport = transport();
    for round in 1..=3 {
        let incoming = transport.open(request(&server, Method::POST)).await.unwrap();
        assert_eq!(incoming.whole(100).await.unwrap().body, b"hello");
        // What the next request meets: the connection ends when it has come.
        server.next(Answer::hang_up());
        assert_eq!(server.connections(), round);
    }
    assert_eq!(server.requests().len(), 5);
}

#[tokio::test]
async fn a_kept_connection_may_have_ended_before_the_end_of_its_answer_was_read() {
    let server = FaultServer::new(|_| Answer::events().piece("all of it")).unwrap();
    let transport = transport();
    let mut first = transport.open(request(&server, Method::POST)).await.unwrap();
    assert_eq!(first.piece().await.unwrap().as_deref(), Some(&b"all of it"[..]));
    server.next(Answer::hang_up());
    let second = transport.open(request(&server, Method::POST)).await.unwrap();
    assert_eq!(second.whole(100).await.unwrap().body, b"all of it");
    assert_eq!((server.requests().len(), first.piece().await.unwrap()), (3, None));
}

#[tokio::test]
async fn a_new_connection_that_ends_without_an_answer_is_told_of_at_once() {
    let server = FaultServer::new(|_| Answer::hang_up()).unwrap();
    let error = transport().open(request(&server, Method::POST)).await.unwrap_err();
    assert_eq!((error.kind(), server.requests().len()), (LinkErrorKind::Unreachable, 1));
}

#[test]
fn a_server_may_take_its_time_and_its_network_may_not() {
    let cable = Cable::plugged();
    let listener = cable.with_hub(|| TcpListener::bind("0.0.0.0:0").unwrap());
    let url = format!("http://{}:{}/", Cable::HUB, listener.local_addr().unwrap().port());
    let asked = Request {
        method: Method::GET,
        url: url.parse().unwrap(),
        headers: Default::default(),
        body: Default::default(),
        answer_bytes: 100,
        criticality: None,
    };
    let waiting = std::thread::scope(|scope| {
        let device = scope.spawn(|| {
            cable.with_device(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let transport = transport().with_dead_after(Duration::from_secs(2));
                runtime.unwrap().block_on(transport.open(asked))
            })
        });
        let (mut connection, _) = listener.accept().unwrap();
        assert!(connection.read(&mut [0; 1_000]).unwrap() > 0);
        // The request is there, and acknowledged: nothing is under way.
        cable.on_hub("link set lan down");
        device.join().unwrap()
    });
    assert!(!waiting.unwrap_err().is_answer());
}
