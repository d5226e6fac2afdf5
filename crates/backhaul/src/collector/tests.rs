//! What the collector answers when its disk does not do what it is told.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use backhaul_store::{OsDisk, SystemClock};
use backhaul_sync::Transport;
use backhaul_testkit::{Fault, Faults, FaultyDisk, WeaveServer};
use backhaul_weave::{Credentials, Kind, OfflineOptions, OfflineTraceServer, ProjectId, Remote};
use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};

use super::{Options, WeaveCollector, router};
use crate::hub::limits;
use crate::intake::Pace;

struct Bench {
    _dir: tempfile::TempDir,
    server: OfflineTraceServer,
    faults: Faults,
    router: Router,
    remote: Remote,
    credentials: Credentials,
}

impl Bench {
    fn new() -> Self {
        Self::before("http://127.0.0.1:9", true)
    }

    /// A collector before a server, to which nobody delivers.
    fn before(url: &str, is_outage: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let faults = Faults::new();
        let disk = FaultyDisk::new(OsDisk, faults.clone());
        let options = OfflineOptions { min_free_bytes: Some(0), ..OfflineOptions::default() };
        let (disk, clock) = (Arc::new(disk), Arc::new(SystemClock::new()));
        let server = OfflineTraceServer::open_on(dir.path(), options, disk, clock).unwrap();
        let credentials = Credentials::new(None).with_environment(None, None);
        let transport = Transport::new(Duration::from_secs(1)).unwrap();
        let remote = Remote::new(transport, Some(url), Some(url), credentials.clone()).unwrap();
        let collector = WeaveCollector::new(Options {
            server: server.clone(),
            remote: Some(remote.clone()),
            token: None,
            pace: Pace {
                grace: limits::BODY_GRACE,
                bytes_per_second: limits::BODY_BYTES_PER_SECOND,
            },
            entity: Some("ours".to_owned()),
            is_outage: Box::new(move || is_outage),
        });
        Self { _dir: dir, server, faults, router: router(collector), remote, credentials }
    }

    /// Status, `Retry-After` and body.
    async fn send(&self, request: Request<Body>) -> (StatusCode, Option<String>, String) {
        let answer = TowerToHyperService::new(self.router.clone()).call(request).await.unwrap();
        let retry_after = answer.headers().get(header::RETRY_AFTER);
        let retry_after = retry_after.map(|value| value.to_str().unwrap().to_owned());
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, retry_after, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn post(&self, path: &str, body: &str) -> (StatusCode, Option<String>, String) {
        self.send(Request::post(path).body(body.to_owned().into()).unwrap()).await
    }

    fn records(&self, kind: Kind) -> u64 {
        let project: ProjectId = "e/p".parse().unwrap();
        let spool = self.server.spool(&project, kind).unwrap();
        spool.map_or(0, |spool| spool.status().unwrap().books.accepted)
    }
}

const FILE: &str = "--cut\r\nContent-Disposition: form-data; name=\"project_id\"\r\n\r\ne/p\r\n\
    --cut\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nabc\r\n--cut--\r\n";

fn writes() -> Vec<Request<Body>> {
    let post = |path: &str, body: &str| Request::post(path).body(body.to_owned().into()).unwrap();
    let form = Request::post("/file/create");
    let form = form.header(header::CONTENT_TYPE, "multipart/form-data; boundary=cut");
    vec![
        post("/v2/e/p/calls/complete", r#"{"batch": [{"project_id": "e/p", "id": "1"}]}"#),
        post("/obj/create", r#"{"obj": {"project_id": "e/p", "object_id": "a", "val": 1}}"#),
        post("/table/create", r#"{"table": {"project_id": "e/p", "rows": [{}]}}"#),
        form.body(FILE.into()).unwrap(),
        post(
            "/feedback/create",
            r#"{"project_id": "e/p", "weave_ref": "r", "feedback_type": "t", "payload": {}}"#,
        ),
    ]
}

const KINDS: [Kind; 5] = [Kind::Calls, Kind::Objects, Kind::Tables, Kind::Files, Kind::Feedback];

/// While the disk fails nothing is acknowledged, and the same requests succeed after.
async fn waits_for_the_disk(fault: Fault) {
    let bench = Bench::new();
    bench.faults.add(fault);
    for request in writes() {
        let path = request.uri().path().to_owned();
        let (status, retry_after, body) = bench.send(request).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}: {body}");
        assert!(retry_after.is_some_and(|seconds| seconds.parse::<u64>().unwrap() <= 30), "{path}");
    }
    bench.faults.clear();
    for request in writes() {
        let path = request.uri().path().to_owned();
        let (status, _, body) = bench.send(request).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
    }
    assert_eq!(KINDS.map(|kind| bench.records(kind)), [1; 5]);
}

#[tokio::test]
async fn a_full_disk_is_said_with_503_and_when_to_come_again() {
    waits_for_the_disk(Fault::full()).await;
}

#[tokio::test]
async fn a_read_only_disk_is_said_with_503_and_when_to_come_again() {
    waits_for_the_disk(Fault::read_only()).await;
}

#[tokio::test]
async fn a_clients_key_is_noted_and_the_placeholder_is_not() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    let bench = Bench::new();
    let url = "http://127.0.0.1:9".parse().unwrap();
    for key in [Credentials::PLACEHOLDER, "s3cret", Credentials::PLACEHOLDER] {
        let basic = format!("Basic {}", STANDARD.encode(format!("api:{key}")));
        let request = Request::get("/server_info").header(header::AUTHORIZATION, basic);
        let (status, _, _) = bench.send(request.body(Body::empty()).unwrap()).await;
        let noted = bench.credentials.key(&url).is_ok();
        assert_eq!((status, noted), (StatusCode::OK, key == "s3cret" || noted));
    }
    assert_eq!(bench.credentials.key(&url).unwrap(), "s3cret");
}

#[tokio::test]
async fn who_names_no_entity_has_that_of_the_environment() {
    let bench = Bench::new();
    let (_, _, said) = bench.post("/graphql", r#"{"query": "{ viewer { username } }"}"#).await;
    assert_eq!(
        said,
        r#"{"data":{"viewer":{"username":"offline","defaultEntity":{"name":"ours"}}}}"#
    );
    let unknown = r#"{"query": "query Q { project(name: $name) { artifact(name: 1) } }"}"#;
    assert_eq!(bench.post("/graphql", unknown).await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn addresses_are_followed_here_and_the_others_by_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = WeaveServer::start("0.52.42", &folder.path().join("weave.db")).unwrap();
    let bench = Bench::before(&server.url(), false);
    bench.credentials.note_client_key("key");
    let object = |value: u8| {
        json!({"obj": {"project_id": "e/p", "object_id": "a", "val": value}}).to_string()
    };
    let json: HeaderMap =
        [(header::CONTENT_TYPE, "application/json".parse().unwrap())].into_iter().collect();
    let created =
        bench.remote.send(Method::POST, "/obj/create", json, object(1).into(), 1 << 20, None);
    let address = |answer: &[u8]| {
        let answer: Value = serde_json::from_slice(answer).unwrap();
        format!("weave:///e/p/object/a:{}", answer["digest"].as_str().unwrap())
    };
    let there = address(&created.await.unwrap().body);
    let here = address(bench.post("/obj/create", &object(2)).await.2.as_bytes());
    for (refs, status, values) in [
        (json!([here, there, here]), StatusCode::OK, json!([2, 1, 2])),
        (json!([there]), StatusCode::OK, json!([1])),
        (json!([here]), StatusCode::OK, json!([2])),
        (json!([]), StatusCode::OK, json!([])),
        (json!([here, "weave:///e/p/object/a:nobody"]), StatusCode::NOT_FOUND, json!(null)),
        (json!(["no address"]), StatusCode::UNPROCESSABLE_ENTITY, json!(null)),
    ] {
        let (answered, _, body) =
            bench.post("/refs/read_batch", &json!({"refs": refs}).to_string()).await;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((answered, &body["vals"]), (status, &values), "{refs}: {body}");
    }
}
