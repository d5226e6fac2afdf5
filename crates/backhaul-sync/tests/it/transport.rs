//! Requests over HTTP, to a server on the loopback.

use std::time::Duration;

use backhaul_sync::{
    BandwidthManager, BandwidthOptions, Criticality, LinkErrorKind, Method, Request, Transport,
};
use backhaul_testkit::{Answer, FaultServer};

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
