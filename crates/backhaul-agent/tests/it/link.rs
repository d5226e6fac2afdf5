//! What a link can do to a delivery. Each test ends with the oracle: every record that was
//! acknowledged is at the hub exactly once, in order and undamaged, or kept as failed.

use std::process::Command;
use std::time::{Duration, Instant};

use backhaul_store::{Standing, Timestamp};
use backhaul_sync::BlockedKind;
use backhaul_testkit::{
    Answer, Certificate, Ending, FaultLink, FaultServer, Intake, LinkFault, LinkState, Pace, Point,
    UNKNOWN_HOST,
};

use crate::device::{noise, record, run_ids};
use crate::journey::Journey;

/// For requests that are meant to time out.
const SHORT: Duration = Duration::from_millis(150);

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

// --- The link is down --------------------------------------------------------------

#[tokio::test]
async fn a_hub_that_refuses_connections_gets_everything_when_it_is_back() {
    let mut journey = Journey::of(60);
    journey.link.refuse();
    for _ in 0..3 {
        journey.is_blocked(BlockedKind::Offline).await;
    }
    journey.assert_no_try_was_spent();
    journey.link.up();
    journey.arrives().await;
    assert_eq!(journey.offers(), [1; 60]);
}

#[tokio::test]
async fn a_half_open_link_costs_a_timeout_and_no_record() {
    let mut journey = Journey::of(10).timeout(SHORT);
    journey.link.down();
    let begun = Instant::now();
    let report = journey.sync().await;
    assert!(begun.elapsed() >= SHORT);
    assert_eq!(report.blocked_by.unwrap().kind, BlockedKind::Offline);
    assert_eq!((report.synced, report.remaining), (0, 10));
    journey.assert_no_try_was_spent();
    journey.link.up();
    journey.arrives_over_the_link().await;
}

#[tokio::test]
async fn a_connection_that_died_unnoticed_costs_one_timeout() {
    let mut journey = Journey::of(1).timeout(milliseconds(500));
    journey.arrives().await;
    // The connection is kept for the next batch. Nobody tells it that it is dead.
    journey.link.next(1, LinkFault::stall(Point::Request));
    journey.enqueue(&record("next"));
    journey.is_blocked(BlockedKind::Offline).await;
    assert_eq!(journey.link.counts().connections, 1);
    assert_eq!(journey.sync().await.synced, 1);
    journey.check();
}

#[tokio::test]
async fn a_link_that_goes_and_comes_delivers_everything_in_the_end() {
    let mut journey = Journey::of(20).timeout(milliseconds(60)).options(|options| {
        options.batch_size = Some(3);
    });
    for n in 0..40 {
        journey.enqueue(&noise(&format!("noise_{n}"), 2_000));
    }
    let steps = [
        (LinkState::Refusing, milliseconds(20)),
        (LinkState::Up, milliseconds(15)),
        (LinkState::Down, milliseconds(25)),
        (LinkState::Up, milliseconds(15)),
    ];
    journey.link.set_pace(Pace::bytes_per_second(400_000).latency(milliseconds(1)));
    journey.link.follow(steps.repeat(20));
    let courier = journey.courier();
    courier.start().await;
    while courier.status().pending_count > 0 && journey.link.ups().len() <= 40 {
        tokio::time::sleep(milliseconds(10)).await;
        journey.device.clock.advance(Duration::from_secs(60));
    }
    courier.stop().await;
    assert!(journey.link.ups().len() > 8, "it was over too soon: {:?}", journey.link.counts());
    journey.link.up();
    journey.arrives_over_the_link().await;
    assert_eq!(run_ids(&journey.queue, Standing::Failed).len(), 0);
}

// --- Requests and answers that break off ---------------------------------------------

/// Where a request can break off with nothing stored.
const BEFORE_STORING: [Point; 5] = [
    Point::Connection,
    Point::Request,
    Point::RequestByte(30),
    Point::RequestHead,
    Point::RequestByte(700),
];

/// Where it can break off with everything stored.
const AFTER_STORING: [Point; 6] = [
    Point::AnswerLost,
    Point::AnswerHead,
    Point::AnswerByte(30),
    Point::AnswerBody(0),
    Point::AnswerBody(1),
    Point::AnswerBody(40),
];

/// One request of a batch of 20 goes wrong at a point; the next sync delivers.
async fn breaks_off(fault: LinkFault) -> Journey {
    let mut journey = Journey::of(20);
    if fault.ending() == Ending::Stall {
        journey = journey.timeout(SHORT);
    }
    journey.link.next(1, fault);
    let report = journey.sync().await;
    assert_eq!((report.synced, report.failed, report.remaining), (0, 0, 20), "{fault:?}");
    assert_eq!(report.blocked_by.unwrap().kind, BlockedKind::Offline, "{fault:?}");
    assert_eq!(journey.link.counts().faults, 1, "{fault:?}");
    journey.assert_no_try_was_spent();
    journey.arrives_over_the_link().await;
    journey
}

#[tokio::test]
async fn a_reset_before_within_or_after_the_head_sends_the_batch_again() {
    for point in BEFORE_STORING {
        for fault in [LinkFault::reset(point), LinkFault::close(point), LinkFault::stall(point)] {
            assert_eq!(breaks_off(fault).await.offers(), [1; 20], "{fault:?}");
        }
    }
}

#[tokio::test]
async fn a_reset_after_the_body_may_have_stored_it_and_delivers_once_all_the_same() {
    for fault in [LinkFault::reset(Point::RequestEnd), LinkFault::close(Point::RequestEnd)] {
        breaks_off(fault).await;
    }
}

#[tokio::test]
async fn an_answer_that_is_lost_or_cut_after_storing_makes_duplicates_and_no_second_copy() {
    for point in AFTER_STORING {
        for fault in [LinkFault::reset(point), LinkFault::close(point), LinkFault::stall(point)] {
            let journey = breaks_off(fault).await;
            // What is in one request depends on its streams; all of that was sent twice.
            let twice = journey.offers().iter().filter(|offers| **offers == 2).count();
            assert!(twice > 0, "{fault:?}");
            assert_eq!(journey.queue.stats().unwrap().books.duplicates, twice as u64, "{fault:?}");
        }
    }
}

#[tokio::test]
async fn the_oracle_notices_a_hub_that_stores_twice() {
    let mut journey = Journey::to(3, Intake::that_forgets());
    journey.link.next(1, LinkFault::reset(Point::AnswerLost));
    journey.sync().await;
    journey.sync().await;
    let wrong = journey.oracle.check(&journey.ends()).unwrap_err();
    assert!(wrong.to_string().contains("arrived 2 times"), "{wrong}");
}

#[tokio::test]
async fn no_part_of_an_answer_counts_as_the_whole_however_its_end_is_told() {
    let whole = r#"{"accepted": 3, "duplicates": 0, "duplicate_indexes": []}"#;
    let mut journey = Journey::of(3).options(|options| options.batch_size = Some(1));
    for shape in [Answer::chunked as fn(Answer) -> Answer, Answer::until_close, |answer| answer] {
        for kept in 0..whole.len() {
            journey.answers_once(shape(Answer::ok(whole)).truncated_to(kept));
            let report = journey.sync().await;
            assert_eq!((report.synced, report.remaining), (0, 3), "{kept} of {whole}");
        }
    }
    journey.arrives().await;
}

// --- Slow links ------------------------------------------------------------------

#[tokio::test]
async fn a_slow_link_takes_its_time_and_sends_nothing_twice() {
    let mut journey = Journey::of(0);
    for n in 0..10 {
        journey.enqueue(&noise(&format!("noise_{n}"), 4_000));
    }
    journey.link.set_pace(Pace::bytes_per_second(100_000).latency(milliseconds(20)));
    let begun = Instant::now();
    journey.arrives().await;
    assert!(begun.elapsed() >= milliseconds(300), "{:?}", begun.elapsed());
    assert_eq!(journey.offers(), [1; 10]);
}

#[tokio::test]
async fn a_link_too_slow_for_a_batch_carries_smaller_ones() {
    let mut journey = Journey::of(0).timeout(milliseconds(200));
    for n in 0..16 {
        journey.enqueue(&noise(&format!("noise_{n}"), 4_000));
    }
    // Half a second for the whole batch.
    journey.link.set_pace(Pace { up: Some(120_000), ..Pace::default() });
    journey.arrives().await;
    assert_eq!(run_ids(&journey.queue, Standing::Failed).len(), 0);
}

#[tokio::test]
async fn a_record_that_times_out_on_a_slow_link_waits_for_a_better_one() {
    let mut journey = Journey::of(0).timeout(milliseconds(100)).options(|options| {
        options.max_retries = 1;
    });
    journey.enqueue(&noise("large", 100_000));
    journey.link.set_pace(Pace::bytes_per_second(100_000));
    for n in 0..8 {
        journey.enqueue(&record(&format!("small_{n}")));
        // In one batch with the large one it times out, and goes alone the next time.
        while run_ids(&journey.queue, Standing::Pending).len() > 1 {
            journey.sync().await;
            journey.device.clock.advance(Duration::from_secs(3600));
        }
    }
    assert_eq!(run_ids(&journey.queue, Standing::Pending), ["large"], "the network was to blame");
    journey.link.set_pace(Pace::default());
    journey.arrives_over_the_link().await;
    assert_eq!(run_ids(&journey.queue, Standing::Failed).len(), 0);
}

// --- What a server says -------------------------------------------------------------

#[tokio::test]
async fn a_status_of_any_class_loses_no_record_and_fails_none_of_several() {
    for status in [
        200, 201, 204, 206, 299, 300, 301, 302, 304, 399, 400, 401, 402, 403, 404, 405, 406, 408,
        410, 411, 413, 415, 418, 421, 422, 423, 425, 428, 429, 431, 451, 499, 500, 501, 502, 503,
        504, 505, 507, 511, 520, 599,
    ] {
        let mut journey = Journey::of(3);
        journey.answers_once(Answer::new(status).body("what is this"));
        assert_eq!(journey.sync().await.failed, 0, "{status}");
        journey.arrives().await;
        assert_eq!(run_ids(&journey.queue, Standing::Failed).len(), 0, "{status}");
    }
}

/// A hub that asks to wait gets the next request after so long, and not before.
async fn waits(answer: Answer) {
    let mut journey = Journey::of(2);
    journey.answers_once(answer);
    let courier = journey.courier();
    courier.start().await;
    while courier.status().pending_count > 0 {
        tokio::time::sleep(milliseconds(10)).await;
    }
    courier.stop().await;
    journey.check();
    let requests = journey.server.requests();
    let wait = requests[1].received() - requests[0].received();
    assert!(wait >= milliseconds(990), "{wait:?}");
}

#[tokio::test]
async fn a_wait_in_seconds_is_kept() {
    waits(Answer::new(429).retry_after(1)).await;
}

#[tokio::test]
async fn a_wait_until_a_date_is_kept_by_the_servers_clock() {
    let time = |text| Timestamp::parse(text).unwrap();
    let answer = Answer::new(503).retry_at(time("1994-11-06T08:49:37Z"));
    waits(answer.date(time("1994-11-06T08:49:36Z"))).await;
}

#[tokio::test]
async fn a_server_with_a_limit_gets_smaller_requests() {
    let mut journey = Journey::of(0);
    for n in 0..20 {
        journey.enqueue(&noise(&format!("noise_{n}"), 3_000));
    }
    let id = journey.enqueue(&noise("too large", 30_000));
    journey.oracle.has_to_fail(id.to_string(), "HTTP 413");
    let intake = journey.intake.clone();
    journey.answers(move |request| match request.wire_bytes() {
        0..20_000 => backhaul_testkit::hub_answer(&intake, request),
        _ => Answer::new(413),
    });
    journey.arrives().await;
    assert_eq!(run_ids(&journey.queue, Standing::Failed), ["too large"]);
}

#[tokio::test]
async fn a_proxy_with_a_limit_that_answers_early_and_hangs_up_does_so_too() {
    let mut journey = Journey::of(0).options(|options| options.batch_bytes = 20_000_000);
    for n in 0..10 {
        journey.enqueue(&noise(&format!("noise_{n}"), 300_000));
    }
    journey.server.limit_body(600_000, Answer::new(413).body("<html>nginx</html>"));
    // The answer comes while most of the body has yet to go, and a reset right behind it.
    journey.link.set_pace(Pace::bytes_per_second(20_000_000));
    let report = journey.sync().await;
    assert_eq!((report.synced, report.blocked_by), (10, None));
    journey.check();
}

#[tokio::test]
async fn a_portal_gets_neither_records_nor_key_and_takes_nothing() {
    let portal = FaultServer::new(|_| Answer::portal()).unwrap();
    // Another port of the same machine is the same host to a redirect: use a name.
    let login = portal.url().replace("127.0.0.1", "localhost");
    let mut journey = Journey::of(5);
    journey.send_to(journey.logger(journey.link.url()).api_key("s3cret"));
    let mut answers: Vec<Answer> =
        [301, 302, 303, 307, 308].map(|status| Answer::redirect(status, login.clone())).to_vec();
    answers.push(Answer::portal());
    answers.push(Answer::new(511).body("log in first"));
    for answer in answers {
        journey.answers_once(answer.clone());
        let report = journey.sync().await;
        assert_eq!((report.synced, report.remaining), (0, 5), "{answer:?}");
        let blocked = report.blocked_by.unwrap();
        assert_eq!(blocked.kind, BlockedKind::Offline, "{blocked}");
    }
    assert_eq!(portal.requests().len(), 0);
    journey.assert_no_try_was_spent();
    journey.arrives().await;
}

// --- Names and certificates -----------------------------------------------------------

#[tokio::test]
async fn a_name_that_cannot_be_resolved_is_an_outage() {
    let mut journey = Journey::of(5);
    journey.send_to(journey.logger(format!("http://{UNKNOWN_HOST}:7117")));
    let reason = journey.is_blocked(BlockedKind::Offline).await;
    // Where no DNS server answers at all, the time to connect is over before that is known.
    assert!(reason.contains("dns error") || reason.contains("timed out"), "{reason}");
    journey.assert_no_try_was_spent();
    journey.arrives_over_the_link().await;
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_an_outage() {
    let garbage = FaultServer::garbage().unwrap();
    let mut journey = Journey::of(5);
    journey.send_to(journey.logger(garbage.url().replace("http:", "https:")));
    let reason = journey.is_blocked(BlockedKind::Offline).await;
    assert!(reason.contains("corrupt message"), "{reason}");
    journey.assert_no_try_was_spent();
    journey.arrives_over_the_link().await;
}

#[tokio::test]
async fn a_handshake_that_stalls_is_an_outage() {
    let mut journey = Journey::of(5).timeout(SHORT);
    let hub = FaultServer::over_tls(Certificate::Valid, |_| Answer::hang_up()).unwrap();
    let link = FaultLink::to(hub.address()).unwrap();
    for point in [Point::Connection, Point::Request, Point::AnswerByte(100)] {
        link.next(1, LinkFault::stall(point));
        journey.send_to(journey.logger(link.url().replace("http:", "https:")));
        journey.is_blocked(BlockedKind::Offline).await;
    }
    assert_eq!(link.counts().faults, 3);
    journey.assert_no_try_was_spent();
    journey.arrives_over_the_link().await;
}

/// Set where a test runs in a process of its own.
const CHILD: &str = "BACKHAUL_TEST_CHILD";

/// Delivers over TLS to a hub with a certificate. In a process of its own, because which
/// authorities to trust is read from the environment.
async fn over_tls(test: &str, certificate: Certificate) -> Option<(Journey, String)> {
    if std::env::var_os(CHILD).is_none() {
        let mut authority = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut authority, Certificate::authority_pem().as_bytes()).unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("link::{test}")])
            .env("SSL_CERT_FILE", authority.path())
            .env_remove("SSL_CERT_DIR")
            .env(CHILD, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return None;
    }
    let mut journey = Journey::of(5);
    let intake = journey.intake.clone();
    let hub = FaultServer::over_tls(certificate, move |request| {
        backhaul_testkit::hub_answer(&intake, request)
    });
    let hub = hub.unwrap();
    journey.send_to(journey.logger(hub.url()));
    let blocked = journey.sync().await.blocked_by;
    let reason = blocked.map_or_else(String::new, |blocked| {
        assert_eq!(blocked.kind, BlockedKind::Offline);
        blocked.reason
    });
    journey.assert_no_try_was_spent();
    Some((journey, reason))
}

#[tokio::test]
async fn a_certificate_of_a_trusted_authority_is_taken() {
    let test = "a_certificate_of_a_trusted_authority_is_taken";
    let Some((journey, reason)) = over_tls(test, Certificate::Valid).await else { return };
    assert_eq!((reason.as_str(), journey.intake.keys().len()), ("", 5));
    journey.check();
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_an_outage_that_says_so() {
    let test = "a_certificate_that_has_expired_is_an_outage_that_says_so";
    let Some((mut journey, reason)) = over_tls(test, Certificate::Expired).await else { return };
    assert!(reason.contains("certificate expired"), "{reason}");
    journey.arrives_over_the_link().await;
}

#[tokio::test]
async fn a_clock_that_was_never_set_makes_certificates_an_outage_that_says_so() {
    let test = "a_clock_that_was_never_set_makes_certificates_an_outage_that_says_so";
    let outcome = over_tls(test, Certificate::NotYetValid).await;
    let Some((mut journey, reason)) = outcome else { return };
    assert!(reason.contains("certificate not valid yet"), "{reason}");
    journey.arrives_over_the_link().await;
}
