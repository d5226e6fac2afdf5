//! The cloud logger against a server over TCP.

use std::sync::Arc;
use std::time::Duration;

use backhaul_agent::{
    CloudRunLogger, DeliverErrorKind, OfflineQueue, OfflineRunLogger, RunEnd, RunLogger,
    RunLoggerError,
};
use backhaul_store::{Options, Record, Spool, Standing};
use backhaul_sync::{BlockedKind, SyncManager, SyncOptions};

use crate::device::{Device, large_record, record, run_ids};
use crate::http_server::{HttpServer, accepted, answer};

fn queue_with(count: usize) -> OfflineQueue {
    let queue = Device::new().queue();
    for n in 0..count {
        queue.enqueue(&record(&format!("run_{n}"))).unwrap();
    }
    queue
}

fn courier(queue: &OfflineQueue, logger: CloudRunLogger) -> SyncManager {
    queue.bind(Arc::new(logger));
    let options = SyncOptions { backoff_jitter: false, ..SyncOptions::default() };
    queue.sync_manager(options).unwrap()
}

fn courier_to(queue: &OfflineQueue, server: &HttpServer) -> SyncManager {
    courier(queue, CloudRunLogger::new(server.url()).unwrap())
}

#[tokio::test]
async fn records_are_posted_as_they_are_stored_with_where_they_come_from() {
    let server = HttpServer::hub();
    let queue = queue_with(0);
    let mut written = Vec::new();
    for n in 0..4 {
        let mut record = record(&format!("run_{n}"));
        record.metadata.insert("nan".into(), backhaul_agent::json::float(f64::NAN));
        written.push(String::from_utf8(record.to_json()).unwrap());
        queue.enqueue(&record).unwrap();
    }
    // The second is gone: the sequences have a gap.
    assert!(queue.drop_record("normal/2".parse().unwrap()).unwrap());
    written.remove(1);
    let logger = CloudRunLogger::builder(server.url() + "/base/").api_key("s3cret");
    let report = courier(&queue, logger.build().unwrap()).sync_now().await;
    assert_eq!((report.synced, report.remaining), (3, 0));

    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    let request = &requests[0];
    assert_eq!(request.line, "POST /base/v1/runs HTTP/1.1");
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("content-encoding"), Some("gzip"));
    assert_eq!(request.header("authorization"), Some("Bearer s3cret"));
    assert_eq!(request.text(), format!("[{}]", written.join(",")));
    let id = queue.list(None).unwrap()[0].id;
    let source = format!("{}/{}/normal", id.device, id.epoch);
    assert_eq!(request.header("backhaul-source"), Some(&*source));
    assert_eq!(request.header("backhaul-floor"), Some("1"));
    assert_eq!(request.header("backhaul-sequences"), Some("1,3-4"));
}

#[tokio::test]
async fn a_run_goes_from_the_offline_logger_to_the_hub() {
    let server = HttpServer::hub();
    let logger = OfflineRunLogger::builder()
        .primary(CloudRunLogger::new(server.url()).unwrap())
        .queue(queue_with(2))
        .build()
        .unwrap();
    logger.start_run("run_x".into());
    logger.end_run(RunEnd::new()).unwrap();
    let courier = logger.offline_queue().sync_manager(SyncOptions::default()).unwrap();
    assert_eq!(courier.sync_now().await.synced, 3);
    // In one request: the logger's own batch path was taken.
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn lanes_go_in_requests_of_their_own() {
    let server = HttpServer::hub();
    let queue = queue_with(1);
    let mut critical = record("critical");
    critical.metadata.insert("critical".into(), true.into());
    queue.enqueue(&critical).unwrap();
    courier_to(&queue, &server).sync_now().await;
    let sources: Vec<String> = (server.requests().iter())
        .map(|it| it.header("backhaul-source").unwrap().rsplit('/').next().unwrap().to_owned())
        .collect();
    assert_eq!(sources, ["critical", "normal"]);
}

#[tokio::test]
async fn records_of_two_epochs_go_in_requests_of_their_own() {
    let server = HttpServer::hub();
    let courier = courier_of_two_epochs(&Device::new(), &server);
    assert_eq!(courier.sync_now().await.synced, 4);
    let requests = server.requests();
    assert_eq!(sequences(&requests), ["1-2", "3-4"]);
    assert_ne!(requests[0].header("backhaul-source"), requests[1].header("backhaul-source"));
}

#[tokio::test]
async fn what_the_hub_took_of_one_epoch_is_not_sent_again_with_the_next() {
    let mut busy = true;
    let server = HttpServer::new(move |request| {
        let is_second = request.header("backhaul-sequences") == Some("3-4");
        let refused = is_second && std::mem::take(&mut busy);
        Some(if refused { answer(503, &[], "") } else { accepted(request) })
    });
    let device = Device::new();
    let courier = courier_of_two_epochs(&device, &server);
    let report = courier.sync_now().await;
    assert_eq!((report.synced, report.remaining), (2, 2));
    device.clock.advance(Duration::from_secs(60));
    assert_eq!(courier.sync_now().await.synced, 2);
    assert_eq!(sequences(&server.requests()), ["1-2", "3-4", "3-4"]);
}

/// A courier of a folder that was copied to another machine half-way: two records of each.
fn courier_of_two_epochs(device: &Device, server: &HttpServer) -> SyncManager {
    let open = |machine: &str| {
        let machine = Some(machine.to_owned());
        let options = Options { machine, maintenance_thread: false, ..Options::default() };
        let disk = Arc::new(device.disk.clone());
        Spool::open_on("/spool", options, disk, Arc::new(device.clock.clone())).unwrap()
    };
    for machine in ["this", "its clone"] {
        let spool = open(machine);
        for n in 0..2 {
            let body = record(&format!("run_{n}")).to_json();
            spool.append(Record::new("run", body)).unwrap();
        }
    }
    let logger = Arc::new(CloudRunLogger::new(server.url()).unwrap());
    SyncManager::new(open("its clone"), logger, SyncOptions::default()).unwrap()
}

fn sequences(requests: &[crate::http_server::Request]) -> Vec<&str> {
    requests.iter().map(|it| it.header("backhaul-sequences").unwrap()).collect()
}

#[tokio::test]
async fn small_bodies_and_those_told_not_to_go_uncompressed() {
    let server = HttpServer::hub();
    let mut small = record("s");
    small.tool_calls.clear();
    let queue = queue_with(0);
    queue.enqueue(&small).unwrap();
    courier_to(&queue, &server).sync_now().await;
    queue.enqueue(&large_record("l", 5000)).unwrap();
    let plain = CloudRunLogger::builder(server.url()).gzip(false).build().unwrap();
    courier(&queue, plain).sync_now().await;
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert_eq!(request.header("content-encoding"), None);
        assert_eq!(request.header("authorization"), None);
    }
}

#[tokio::test]
async fn a_hub_that_does_not_know_gzip_gets_plain_bodies_from_then_on() {
    let server = HttpServer::new(|request| {
        let gzip = request.header("content-encoding").is_some();
        Some(if gzip { answer(415, &[], "") } else { accepted(request) })
    });
    let queue = queue_with(20);
    let courier = courier_to(&queue, &server);
    assert_eq!(courier.sync_now().await.synced, 20);
    queue.enqueue(&large_record("next", 5000)).unwrap();
    assert_eq!(courier.sync_now().await.synced, 1);
    let gzip: Vec<bool> =
        server.requests().iter().map(|it| it.header("content-encoding").is_some()).collect();
    assert_eq!(gzip, [true, false, false]);
}

#[tokio::test]
async fn duplicates_and_rejections_are_told_apart() {
    let server = HttpServer::new(|_| {
        Some(answer(
            200,
            &[],
            r#"{"accepted": 1, "duplicates": 1, "duplicate_indexes": [2],
                "rejected": [{"index": 0, "reason": "no", "status": 422}]}"#,
        ))
    });
    let queue = queue_with(3);
    let report = courier_to(&queue, &server).sync_now().await;
    assert_eq!((report.synced, report.duplicates, report.failed), (2, 1, 1));
    assert_eq!(run_ids(&queue, Standing::Failed), ["run_0"]);
}

#[tokio::test]
async fn a_409_means_that_the_hub_has_it() {
    let server = HttpServer::new(|_| Some(answer(409, &[], "")));
    let report = courier_to(&queue_with(2), &server).sync_now().await;
    assert_eq!((report.synced, report.duplicates, report.remaining), (2, 2, 0));
}

#[tokio::test]
async fn a_record_that_the_hub_cannot_read_is_found_and_fails_with_its_words() {
    for hint in [true, false] {
        let server = HttpServer::new(move |request| {
            let records = request.records();
            let Some(index) = records.iter().position(|it| it["run_id"] == "run_7") else {
                return Some(accepted(request));
            };
            let body = if hint {
                format!("{{\"error\": \"no good\", \"index\": {index}}}")
            } else {
                "{\"error\": \"no good\"}".to_owned()
            };
            Some(answer(422, &[], &body))
        });
        let queue = queue_with(20);
        let report = courier_to(&queue, &server).sync_now().await;
        assert_eq!((report.synced, report.failed, report.remaining), (19, 1, 0));
        let failed = queue.list(Some(Standing::Failed)).unwrap();
        assert!(failed[0].last_error.as_ref().unwrap().contains("no good"));
        assert_eq!(run_ids(&queue, Standing::Failed), ["run_7"]);
    }
}

#[tokio::test]
async fn a_hub_with_a_limit_gets_smaller_requests_and_what_is_over_it_alone_fails() {
    let server = HttpServer::new(|request| {
        let small = request.text().len() < 2500;
        Some(if small { accepted(request) } else { answer(413, &[], "") })
    });
    let queue = queue_with(30);
    queue.enqueue(&large_record("large", 5000)).unwrap();
    let report = courier_to(&queue, &server).sync_now().await;
    assert_eq!((report.synced, report.failed, report.remaining), (30, 1, 0));
    assert_eq!(run_ids(&queue, Standing::Failed), ["large"]);
}

#[tokio::test]
async fn wrong_credentials_and_addresses_pause_and_fail_nothing() {
    for status in [401, 403, 404, 405, 410] {
        let server = HttpServer::new(move |_| Some(answer(status, &[], "{\"error\": \"no\"}")));
        let queue = queue_with(2);
        let courier = courier_to(&queue, &server);
        let report = courier.sync_now().await;
        let blocked = report.blocked_by.unwrap();
        assert_eq!((blocked.kind, report.remaining), (BlockedKind::Refused, 2), "{status}");
        assert!(blocked.reason.contains(&format!("no (HTTP {status})")), "{blocked}");
        assert!(courier.status().paused.is_some());
        assert_eq!(courier.status().failed_count, 0);
    }
}

#[tokio::test]
async fn a_busy_hub_is_given_the_time_that_it_asks_for() {
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (status, headers, seconds) in [
        (429, vec![("Retry-After", "120")], 120),
        (503, vec![("Retry-After", date), ("Date", "Sun, 06 Nov 1994 08:47:37 GMT")], 120),
        (408, vec![], 1),
        (500, vec![], 1),
    ] {
        let server = HttpServer::new(move |_| Some(answer(status, &headers, "")));
        let queue = queue_with(2);
        let courier = courier_to(&queue, &server);
        courier.start().await;
        let report = courier.sync_now().await;
        assert_eq!(report.blocked_by.unwrap().kind, BlockedKind::Busy, "{status}");
        assert_eq!(report.remaining, 2);
        let status = courier.status();
        let wall = queue.spool().clock().now().wall;
        let wait = status.next_attempt_at.unwrap().since(wall).as_secs_f64();
        assert!((seconds as f64 - 0.9..=seconds as f64 + 0.1).contains(&wait), "{wait}");
        courier.stop().await;
    }
}

#[tokio::test]
async fn a_captive_portal_takes_no_record_and_gets_no_key() {
    let portal = HttpServer::new(|_| Some(answer(200, &[], "{\"accepted\": 9}")));
    let url = portal.url();
    let redirecting = HttpServer::new(move |_| {
        // Another port of the same machine is the same host to a redirect: use a name.
        let login = url.replace("127.0.0.1", "localhost");
        Some(answer(307, &[("Location", &login)], ""))
    });
    let html = HttpServer::new(|_| Some(answer(200, &[], "<html>Welcome to FreeWifi</html>")));
    for server in [&redirecting, &html] {
        let queue = queue_with(2);
        let logger = CloudRunLogger::builder(server.url()).api_key("s3cret").build().unwrap();
        let report = courier(&queue, logger).sync_now().await;
        let blocked = report.blocked_by.unwrap();
        assert_eq!((blocked.kind, report.remaining), (BlockedKind::Offline, 2));
        assert!(blocked.reason.contains("captive portal"), "{blocked}");
    }
    assert_eq!(portal.requests().len(), 0);
}

#[tokio::test]
async fn a_hub_that_moves_on_its_own_host_is_followed() {
    let server = HttpServer::new(|request| {
        let moved = request.line.contains(" /v1/runs ");
        Some(if moved {
            answer(308, &[("Location", "/new/v1/runs")], "")
        } else {
            accepted(request)
        })
    });
    assert_eq!(courier_to(&queue_with(2), &server).sync_now().await.synced, 2);
    // A 302 would turn the POST into a GET: nobody gets anything then.
    let server = HttpServer::new(|_| Some(answer(302, &[("Location", "/login")], "")));
    let report = courier_to(&queue_with(1), &server).sync_now().await;
    assert_eq!(report.blocked_by.unwrap().kind, BlockedKind::Offline);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn no_answer_is_an_outage() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let hangs_up = HttpServer::new(|_| None);
    for url in [format!("http://{nobody}"), hangs_up.url()] {
        let queue = queue_with(1);
        let courier = courier(&queue, CloudRunLogger::new(url).unwrap());
        let report = courier.sync_now().await;
        assert_eq!(report.blocked_by.unwrap().kind, BlockedKind::Offline);
        assert_eq!((report.remaining, courier.status().is_online), (1, Some(false)));
    }
}

#[tokio::test]
async fn an_answer_that_does_not_end_is_an_outage() {
    let slow = HttpServer::new(|_| {
        Some("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"accepted\": 1".to_owned())
    });
    let queue = queue_with(1);
    let logger = CloudRunLogger::builder(slow.url()).timeout(Duration::from_millis(100));
    let report = courier(&queue, logger.build().unwrap()).sync_now().await;
    assert_eq!(report.blocked_by.unwrap().kind, BlockedKind::Offline);
    assert_eq!(report.remaining, 1);
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let flood = HttpServer::new(|_| Some(answer(200, &[], &"x".repeat(3_000_000))));
    let report = courier_to(&queue_with(1), &flood).sync_now().await;
    assert!(report.blocked_by.unwrap().reason.contains("the answer is longer than"));
}

#[tokio::test]
async fn the_key_is_shown_and_written_nowhere() {
    let server = HttpServer::new(|_| Some(answer(401, &[], "")));
    let device = Device::new();
    let queue = device.queue();
    queue.enqueue(&record("a")).unwrap();
    let builder = CloudRunLogger::builder(server.url().replace("//", "//user:s3cret@"));
    let builder = builder.api_key("s3cret");
    assert!(!format!("{builder:?}").contains("s3cret"));
    let logger = builder.build().unwrap();
    assert!(!format!("{logger:?}").contains("s3cret"));
    let courier = courier(&queue, logger);
    let report = courier.sync_now().await;
    assert!(!format!("{report:?} {:?} {queue:?}", courier.status()).contains("s3cret"));
    drop((courier, queue));
    for path in device.disk.paths() {
        let bytes = device.disk.read_file(&path).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("s3cret"), "{}", path.display());
    }
}

#[tokio::test]
async fn one_record_can_be_posted_from_any_thread() {
    let server = HttpServer::new(|request| {
        let records = request.records();
        Some(match records[0]["run_id"].as_str() {
            Some("bad") => answer(422, &[], "{\"error\": \"no good\"}"),
            Some("busy") => answer(503, &[("Retry-After", "7")], ""),
            _ => accepted(request),
        })
    });
    let logger = CloudRunLogger::new(server.url()).unwrap();
    logger.deliver(&record("good")).unwrap();
    assert_eq!(server.requests()[0].header("backhaul-source"), None);
    let error = logger.deliver(&record("bad")).unwrap_err();
    assert_eq!(error.kind(), DeliverErrorKind::Rejected);
    assert!(error.reason().contains("no good"));
    let error = logger.deliver(&record("busy")).unwrap_err();
    assert_eq!(error.kind(), DeliverErrorKind::LinkDown);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    std::thread::scope(|scope| {
        scope.spawn(|| logger.deliver(&record("good")).unwrap());
    });
}

#[test]
fn a_cloud_logger_assembles_a_run_and_sends_nothing_at_its_end() {
    let logger = CloudRunLogger::new("http://127.0.0.1:9").unwrap();
    assert_eq!(logger.end_run(RunEnd::new()), Err(RunLoggerError::NoRunInProgress));
    logger.start_run("run_001".into());
    logger.record_patch(backhaul_agent::ContextPatch::set("a", 1));
    assert_eq!(logger.get_current_record().unwrap().total_patches(), 1);
    assert_eq!(logger.end_run(RunEnd::new()).unwrap().run_id, "run_001");
}

#[test]
fn addresses_that_cannot_be_sent_to_are_refused_at_once() {
    for url in ["", "hub.example.org", "ftp://hub", "http://hub?x=1"] {
        let error = CloudRunLogger::new(url).unwrap_err();
        assert!(error.to_string().starts_with("api_url is"), "{error}");
    }
    assert!(CloudRunLogger::new("https://hub.example.org").is_ok());
}

#[tokio::test]
async fn a_hub_that_says_when_to_come_with_more_is_not_asked_before() {
    let server = HttpServer::new(|request| {
        let count = request.records().len();
        let body = format!("{{\"accepted\": {count}, \"duplicates\": 0}}");
        Some(answer(200, &[("Retry-After", "1000")], &body))
    });
    let queue = queue_with(70);
    let courier = courier_to(&queue, &server);
    let report = courier.sync_now().await;
    assert_eq!((report.synced, report.remaining), (50, 20));
    let blocked = report.blocked_by.unwrap();
    assert_eq!(blocked.kind, BlockedKind::Busy);
    assert!(blocked.reason.contains("it asked for the next batch in 999 s"), "{blocked}");
    // It knew how many were to follow, and is asked again for what is critical alone.
    assert_eq!(server.requests()[0].header("backhaul-next"), Some("20"));
    let mut alarm = record("alarm");
    alarm.metadata.insert("critical".into(), true.into());
    queue.enqueue(&alarm).unwrap();
    assert_eq!(courier.sync_now().await.synced, 1);
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests[1].header("backhaul-source").unwrap().ends_with("/critical"));
}
