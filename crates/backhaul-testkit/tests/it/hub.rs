//! The hub of a test: it stores, and then answers.

use backhaul_testkit::{FaultServer, Intake, Item};

use crate::client::{Client, Heard};

fn post(server: &FaultServer, sequences: &str, body: &str) -> Heard {
    let mut client = Client::to(server.address());
    let length = body.len();
    client.send(&format!(
        "POST /v1/runs HTTP/1.1\r\nBackhaul-Source: d/e/normal\r\n\
         Backhaul-Sequences: {sequences}\r\nContent-Length: {length}\r\n\r\n{body}"
    ));
    client.hear()
}

#[test]
fn records_are_stored_once_under_the_ids_that_the_headers_give_them() {
    let intake = Intake::new();
    let server = FaultServer::hub(&intake).unwrap();
    let body = r#"[{"a": NaN}, {"b": "x,]"}, {}]"#;
    let answer = r#"{"accepted": 3, "duplicates": 0, "duplicate_indexes": []}"#;
    assert_eq!(post(&server, "1-2,7", body).body(), answer);
    let again = post(&server, "2-3", r#"[{"b": "other"},{}]"#);
    assert_eq!(again.body(), r#"{"accepted": 1, "duplicates": 1, "duplicate_indexes": [0]}"#);
    let expected = [
        Item::new("d/e/normal/1", r#"{"a": NaN}"#),
        Item::new("d/e/normal/2", r#"{"b": "x,]"}"#),
        Item::new("d/e/normal/7", "{}"),
        Item::new("d/e/normal/3", "{}"),
    ];
    assert_eq!(intake.items(), expected);
    assert_eq!(intake.keys()[1], "d/e/normal/2");
    assert_eq!(intake.offers()["d/e/normal/2"], 2);
}

#[test]
fn a_hub_that_forgets_stores_twice() {
    let intake = Intake::that_forgets();
    let server = FaultServer::hub(&intake).unwrap();
    for _ in 0..2 {
        post(&server, "1", "[{}]");
    }
    assert_eq!(intake.keys(), ["d/e/normal/1", "d/e/normal/1"]);
}

#[test]
fn what_makes_no_sense_is_refused_with_the_reason() {
    let server = FaultServer::hub(&Intake::new()).unwrap();
    for (sequences, body) in [("1-2", "[{}]"), ("x", "[{}]"), ("1", "[{}"), ("1", "{}")] {
        let heard = post(&server, sequences, body);
        assert_eq!(heard.status(), Some(400), "{sequences} {body}");
        assert!(heard.body().starts_with("{\"error\": "));
    }
    assert_eq!(Client::to(server.address()).post("[]").status(), Some(400));
}
