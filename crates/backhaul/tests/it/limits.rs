//! What is too much, who may come in, and what happens when there is no room.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::tempdir;

use crate::support::{Hub, command, head, header, run, runs, stored};

#[test]
fn a_bomb_is_refused_without_the_memory_that_it_asks_for() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(b"[").unwrap();
    for _ in 0..2000 {
        encoder.write_all(&[b' '; 1_000_000]).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 32_000_000);
    let reply = hub.send(&[header("Content-Encoding", "gzip")], &bomb);
    assert_eq!(reply.refusal(), (413, None));
    let peak = hub.peak_resident_kb();
    assert!(peak < 160_000, "{peak} KB");
}

#[test]
fn a_body_above_the_limit_is_refused_announced_or_not() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    let body = vec![b' '; 32_000_001];
    assert_eq!(hub.send(&[], &body).refusal(), (413, None));
    let mut stream = hub.connect();
    let chunked = "POST /v1/runs HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\
                   Transfer-Encoding: chunked\r\n\r\n";
    stream.write_all(chunked.as_bytes()).unwrap();
    for _ in 0..33 {
        stream.write_all(b"f4240\r\n").unwrap();
        stream.write_all(&[b' '; 1_000_000]).unwrap();
        stream.write_all(b"\r\n").unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 413 "), "{reply}");
}

#[test]
fn too_many_records_and_too_large_ones_are_413() {
    let dir = tempdir().unwrap();
    let hub = Hub::start_with(dir.path(), &["--cap", "1MB"]);
    assert_eq!(hub.post(&runs(0..10_001)).refusal(), (413, None));
    let large = format!("{{\"run_id\": \"{}\"}}", "x".repeat(600_000));
    assert_eq!(hub.post(&format!("[{},{large}]", run(1))).refusal(), (413, Some(1)));
    assert_eq!(stored(dir.path()).len(), 0);
}

#[test]
fn a_head_that_never_ends_is_cut_off() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    let long = [header("X-Long", "x".repeat(200_000))];
    let status = hub.request("POST", "/v1/runs", &long, b"{}").status;
    assert_eq!(status, 431);
}

#[test]
fn without_room_it_asks_for_patience_and_keeps_what_it_has() {
    let dir = tempdir().unwrap();
    let hub = Hub::start_with(dir.path(), &["--cap", "400KB"]);
    let record = |number: u64| {
        // Text that does not shrink.
        let mut noise = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let text = std::iter::repeat_with(|| {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            format!("{noise:016x}")
        });
        let text: String = text.take(1000).collect();
        format!("{{\"run_id\": \"run_{number}\", \"noise\": \"{text}\"}}")
    };
    let mut accepted = 0;
    let refused = loop {
        let reply = hub.offer(1, &(accepted + 1).to_string(), &record(accepted));
        if reply.status != 200 {
            break reply;
        }
        accepted += 1;
        assert!(accepted < 1000);
    };
    assert_eq!(refused.refusal(), (503, None));
    assert!(refused.head.contains("retry-after: "), "{refused:?}");
    assert_eq!(hub.get("/readyz").status, 503);
    assert_eq!(hub.get("/healthz").status, 200);
    // Also `status` says what only the hub's own process knows.
    let (_, stdout, _) = crate::support::backhaul(&["status", "--json"], dir.path());
    let status: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(status["spools"]["runs"]["cap_bytes"], 400_000);
    assert!(status["spools"]["runs"]["trouble"].as_str().unwrap().contains("400000"), "{stdout}");
    assert!(accepted > 0);
    assert_eq!(stored(dir.path()).len() as u64, accepted);
    hub.terminate();
    // With more room, the same record goes in.
    let hub = Hub::start_with(dir.path(), &["--cap", "10MB"]);
    let next = (accepted + 1).to_string();
    assert_eq!(hub.offer(1, &next, &record(accepted)).receipt(), (1, 0));
    assert_eq!(hub.get("/readyz").status, 200);
}

#[test]
fn others_are_let_in_only_with_a_token() {
    let dir = tempdir().unwrap();
    let (code, _, stderr) =
        crate::support::backhaul(&["serve", "--listen", "0.0.0.0:0"], dir.path());
    assert_eq!(code, 2);
    assert!(stderr.contains("--token-file") && stderr.contains("openssl rand"), "{stderr}");
    assert!(!dir.path().join("runs").exists());

    let file = dir.path().join("token");
    std::fs::write(&file, "s3cret\n").unwrap();
    let hub = Hub::start_with(dir.path(), &["--token-file", file.to_str().unwrap()]);
    for headers in [vec![], vec![header("Authorization", "Bearer s3cre")]] {
        let reply = hub.send(&headers, run(1).as_bytes());
        assert_eq!(reply.refusal(), (401, None));
        assert!(reply.head.contains("www-authenticate: bearer"));
        assert_eq!(hub.request("GET", "/metrics", &headers, b"").status, 401);
    }
    let token = [header("Authorization", "Bearer s3cret")];
    assert_eq!(hub.send(&token, run(1).as_bytes()).receipt(), (1, 0));
    assert_eq!(hub.request("GET", "/metrics", &token, b"").status, 200);
    assert_eq!(hub.get("/healthz").status, 200);
    assert_eq!(hub.get("/readyz").status, 200);
    drop(hub);

    let hub = Hub::try_start(command(&["serve"]).env("BACKHAUL_TOKEN", "other"), dir.path());
    assert_eq!(hub.send(&token, run(2).as_bytes()).status, 401);
}

#[test]
fn an_empty_token_is_no_token() {
    let dir = tempdir().unwrap();
    let output = command(&["serve", "--data-dir"])
        .arg(dir.path())
        .env("BACKHAUL_TOKEN", " ")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn connections_beyond_the_limit_wait_for_their_turn() {
    let dir = tempdir().unwrap();
    let hub = Hub::start_with(dir.path(), &["--max-connections", "2"]);
    let idle = [hub.connect(), hub.connect()];
    let mut third = hub.connect();
    third.write_all(&head("GET", "/healthz", &[], 0)).unwrap();
    third.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut byte = [0];
    assert!(third.read(&mut byte).is_err(), "it was served at once");
    drop(idle);
    third.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(third.read(&mut byte).unwrap(), 1);
}

#[test]
fn a_request_that_takes_too_long_is_ended() {
    let dir = tempdir().unwrap();
    let hub = Hub::start_with(dir.path(), &["--request-timeout", "1s"]);
    let mut stream = hub.connect();
    stream.write_all(&head("POST", "/v1/runs", &[], 100)).unwrap();
    stream.write_all(b"{").unwrap();
    let began = Instant::now();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 408 "), "{reply}");
    assert!(began.elapsed() < Duration::from_secs(10));
}

/// Writes a byte every tenth of a second until it is cut off or ten seconds are over;
/// gives how long that took, and the answer.
fn drip(mut stream: std::net::TcpStream, start: &[u8]) -> (Duration, String) {
    let began = Instant::now();
    stream.write_all(start).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut answer = Vec::new();
    while began.elapsed() < Duration::from_secs(10) {
        if stream.write_all(b"x").is_err() {
            break;
        }
        let mut piece = [0; 1024];
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&piece[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    (began.elapsed(), String::from_utf8(answer).unwrap())
}

#[test]
fn senders_that_drip_do_not_keep_others_out() {
    let dir = tempdir().unwrap();
    let hub = Hub::start_with(
        dir.path(),
        &["--max-connections", "3", "--head-timeout", "1s", "--body-grace", "1s"],
    );
    let whole = head("POST", "/v1/runs", &[], 1_000_000);
    let chunked: &[u8] =
        b"POST /v1/runs HTTP/1.1\r\nHost: hub\r\nTransfer-Encoding: chunked\r\n\r\n5;";
    // One drips its head, one its body, one an endless chunk head.
    let starts = [&whole[..20], &whole, chunked];
    std::thread::scope(|scope| {
        let slow = starts.map(|start| {
            let stream = hub.connect();
            scope.spawn(move || drip(stream, start))
        });
        std::thread::sleep(Duration::from_millis(200));
        let began = Instant::now();
        assert_eq!(hub.post(&run(1)).receipt(), (1, 0));
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        let [of_head, of_body, of_chunk] = slow.map(|slow| slow.join().unwrap());
        for (took, _) in [&of_head, &of_body, &of_chunk] {
            assert!(*took < Duration::from_secs(4), "{of_head:?} {of_body:?} {of_chunk:?}");
        }
        assert!(
            of_body.1.starts_with("HTTP/1.1 408 ") && of_body.1.contains("a second"),
            "{of_body:?}"
        );
    });
}

#[test]
fn a_body_that_keeps_the_pace_may_take_longer_than_the_grace() {
    let dir = tempdir().unwrap();
    let hub = Hub::start_with(dir.path(), &["--body-grace", "1s"]);
    let body = format!("{{\"run_id\": \"{}\"}}", "x".repeat(500));
    let mut stream = hub.connect();
    stream.write_all(&head("POST", "/v1/runs", &[], body.len())).unwrap();
    for part in body.as_bytes().chunks(80) {
        std::thread::sleep(Duration::from_millis(300));
        stream.write_all(part).unwrap();
    }
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
}

#[test]
fn a_request_that_its_head_condemns_is_answered_without_its_body() {
    let dir = tempdir().unwrap();
    let hub = Hub::try_start(command(&["serve"]).env("BACKHAUL_TOKEN", "s3cret"), dir.path());
    let token = header("Authorization", "Bearer s3cret");
    for (headers, length, status) in
        [(vec![], 1000, "HTTP/1.1 401 "), (vec![token], 32_000_001, "HTTP/1.1 413 ")]
    {
        let began = Instant::now();
        let mut stream = hub.connect();
        stream.write_all(&head("POST", "/v1/runs", &headers, length)).unwrap();
        let mut reply = [0; 2048];
        let read = stream.read(&mut reply).unwrap();
        let reply = String::from_utf8_lossy(&reply[..read]).to_string();
        assert!(reply.starts_with(status), "{reply}");
        assert!(reply.to_ascii_lowercase().contains("connection: close"), "{reply}");
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    }
}
