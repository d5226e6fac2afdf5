//! Which records are sent again after each answer: exactly those that have to be.
//!
//! A table of answers, each of them the first that a batch gets; what follows is a hub
//! that takes everything. Property 16 of `store_and_forward.md` is this table.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use backhaul_agent::CloudRunLogger;
use backhaul_sync::SyncOptions;
use backhaul_testkit::{Answer, Ends, FaultServer, Intake, Oracle, Request, hub_answer, hub_items};

use crate::device::{Device, failed, record};

/// What has to become of a record after the first answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The hub has it.
    Delivered,
    /// It is kept as failed, with this status in its reason.
    Failed(u16),
    /// It is sent again.
    Again,
}

use Fate::{Again, Delivered, Failed};

/// What a hub says of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Accepted,
    Duplicate,
    Rejected(u16),
}

impl Said {
    const EACH: [Said; 4] =
        [Said::Accepted, Said::Duplicate, Said::Rejected(422), Said::Rejected(503)];

    fn fate(self) -> Fate {
        match self {
            Said::Accepted | Said::Duplicate => Delivered,
            Said::Rejected(408 | 425 | 429 | 500..) => Again,
            Said::Rejected(status) => Failed(status),
        }
    }
}

/// Every way to say one thing of each of `records` records.
fn patterns(records: usize) -> Vec<Vec<Said>> {
    let mut patterns = vec![Vec::new()];
    for _ in 0..records {
        patterns = (patterns.iter())
            .flat_map(|pattern| Said::EACH.map(|said| [&pattern[..], &[said]].concat()))
            .collect();
    }
    patterns
}

/// A hub's answer in its own words.
fn words(said: &[Said]) -> String {
    let indexes = |is: fn(&Said) -> bool| -> Vec<usize> {
        (0..said.len()).filter(|index| is(&said[*index])).collect()
    };
    let accepted = indexes(|said| *said == Said::Accepted).len();
    let duplicates = indexes(|said| *said == Said::Duplicate);
    let rejected: Vec<String> = (said.iter().enumerate())
        .filter_map(|(index, said)| match said {
            Said::Rejected(status) => Some(format!(
                "{{\"index\": {index}, \"reason\": \"no: {status}\", \"status\": {status}}}"
            )),
            _ => None,
        })
        .collect();
    format!(
        "{{\"accepted\": {accepted}, \"duplicates\": {}, \"duplicate_indexes\": {duplicates:?}, \
         \"rejected\": [{}]}}",
        duplicates.len(),
        rejected.join(", ")
    )
}

/// One server and one logger for all rows of a table.
struct Table {
    server: FaultServer,
    logger: Arc<CloudRunLogger>,
    rows: usize,
    /// Whether the hub has what it says that it has. A sabotage where not.
    has_what_it_says: bool,
}

impl Table {
    fn new() -> Self {
        let server = FaultServer::new(|_| Answer::hang_up()).unwrap();
        let logger = Arc::new(CloudRunLogger::new(server.url()).unwrap());
        Self { server, logger, rows: 0, has_what_it_says: true }
    }

    /// A batch of as many records as there are fates gets `answer` first.
    async fn row(&mut self, answer: Answer, fates: &[Fate]) {
        self.rows += 1;
        let device = Device::new();
        let queue = device.queue();
        let mut oracle = Oracle::new();
        for n in 0..fates.len() {
            let record = record(&format!("run_{n}"));
            let id = queue.enqueue(&record).unwrap();
            oracle.acknowledged(id.to_string(), None, record.to_json());
        }
        let intake = Intake::new();
        let (storing, told) = (intake.clone(), fates.to_vec());
        let stores = self.has_what_it_says;
        let mut first = Some(answer.clone());
        self.server.answers(move |request| match first.take() {
            Some(answer) => {
                if stores {
                    store(&storing, request, &told);
                }
                answer
            }
            None => hub_answer(&storing, request),
        });
        queue.bind(self.logger.clone());
        let courier = queue.sync_manager(SyncOptions::default()).unwrap();
        for _ in 0..5 {
            if courier.sync_now().await.remaining == 0 {
                break;
            }
            device.clock.advance(Duration::from_secs(24 * 3600));
        }

        let sent: Vec<Vec<String>> = self.server.take_requests().iter().map(keys).collect();
        let all = sent[0].clone();
        let fated = || all.iter().zip(fates);
        assert_eq!(all.len(), fates.len(), "{answer:?}");
        let again: BTreeSet<&String> = sent[1..].iter().flatten().collect();
        let expected = fated().filter(|(_, fate)| **fate == Again).map(|(key, _)| key).collect();
        assert_eq!(again, expected, "what was sent again after {answer:?}");
        for (key, fate) in fated() {
            if let Failed(status) = fate {
                oracle.has_to_fail(key, status.to_string());
            }
        }
        let ends = Ends { arrived: intake.items(), failed: failed(&queue), waiting: Vec::new() };
        oracle.check(&ends).unwrap_or_else(|wrong| panic!("after {answer:?}: {wrong}"));
    }
}

fn keys(request: &Request) -> Vec<String> {
    hub_items(request).unwrap().into_iter().map(|item| item.key).collect()
}

/// Stores what the first answer says that the hub has.
fn store(intake: &Intake, request: &Request, fates: &[Fate]) {
    for (item, fate) in hub_items(request).unwrap().into_iter().zip(fates) {
        if *fate == Delivered {
            intake.take(item);
        }
    }
}

#[tokio::test]
async fn each_record_of_an_answered_batch_gets_what_the_hub_says_of_it() {
    let mut table = Table::new();
    for records in 1..=4 {
        for said in patterns(records) {
            let fates: Vec<Fate> = said.iter().map(|said| said.fate()).collect();
            table.row(Answer::ok(words(&said)), &fates).await;
        }
    }
    assert_eq!(table.rows, 4 + 16 + 64 + 256);
}

#[tokio::test]
async fn each_status_of_a_rejection_is_final_or_not() {
    let mut table = Table::new();
    for status in 400..=599 {
        let said = [Said::Accepted, Said::Rejected(status), Said::Accepted];
        let fates = said.map(Said::fate);
        table.row(Answer::ok(words(&said)), &fates).await;
    }
}

#[tokio::test]
async fn the_status_of_an_answer_outweighs_what_it_says_of_records() {
    let mut table = Table::new();
    // 401 and its like pause the destination; the next sync tries again.
    for status in [
        300, 301, 302, 303, 304, 307, 308, 400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410,
        411, 412, 413, 414, 415, 416, 417, 418, 421, 422, 423, 424, 425, 426, 428, 429, 431, 451,
        499, 500, 501, 502, 503, 504, 505, 507, 508, 511, 520, 522, 524, 529, 530, 599,
    ] {
        for said in patterns(2) {
            let fates = if status == 409 { [Delivered; 2] } else { [Again; 2] };
            table.row(Answer::new(status).body(words(&said)), &fates).await;
        }
    }
}

#[tokio::test]
async fn every_status_settles_what_it_can_settle_and_no_more() {
    let mut table = Table::new();
    for status in 200..=599 {
        let alone = if matches!(status, 400 | 413 | 422) { Failed(status) } else { Again };
        let of_a_hub = Answer::new(status).body(r#"{"error": "what is this"}"#);
        if status != 409 {
            table.row(of_a_hub.clone(), &[alone]).await;
            table.row(of_a_hub, &[Again; 3]).await;
        }
        // It may come from something in the hub's place.
        let of_a_stranger = Answer::new(status).body("what is this");
        table.row(of_a_stranger.clone(), &[Again]).await;
        table.row(of_a_stranger, &[Again; 3]).await;
    }
}

#[tokio::test]
async fn a_conflict_means_that_the_hub_has_it_where_a_hub_says_so() {
    let mut table = Table::new();
    for body in ["", "\r\n", "{}", "{\"error\": \"known\"}"] {
        table.row(Answer::new(409).body(body), &[Delivered; 3]).await;
    }
    for body in ["<html>Log in</html>", "[]", "conflict", "{\"error\": \"kno"] {
        table.row(Answer::new(409).body(body), &[Again; 3]).await;
    }
}

#[tokio::test]
async fn success_of_any_kind_counts_with_a_hubs_words_alone() {
    let mut table = Table::new();
    for status in (200..=299).filter(|status| !matches!(status, 204 | 205)) {
        table.row(Answer::new(status).body(words(&[Said::Accepted; 3])), &[Delivered; 3]).await;
    }
}

#[tokio::test]
async fn an_answer_that_contradicts_itself_settles_nothing() {
    let mut table = Table::new();
    for words in [
        "",
        "[]",
        "{}",
        "null",
        "{\"accepted\": 3",
        "{\"accepted\": \"3\"}",
        "{\"accepted\": -3}",
        "{\"accepted\": 3.0}",
        "{\"accepted\": null, \"duplicates\": 3}",
        // Too few, too many: an answer to something else.
        "{\"accepted\": 2}",
        "{\"accepted\": 4}",
        "{\"accepted\": 3, \"duplicates\": 3}",
        "{\"accepted\": 2, \"duplicates\": 2, \"duplicate_indexes\": [0, 1]}",
        // One record told of twice leaves another that is not told of.
        r#"{"accepted": 1, "rejected": [{"index": 0}, {"index": 0}]}"#,
        r#"{"accepted": 1, "duplicates": 1, "duplicate_indexes": [0], "rejected": [{"index": 0}]}"#,
        r#"{"accepted": 1, "duplicates": 2, "duplicate_indexes": [1, 1]}"#,
        r#"{"accepted": 2, "duplicates": 1, "duplicate_indexes": [0, 1]}"#,
        r#"{"accepted": 2, "duplicates": 1, "duplicate_indexes": []}"#,
        // Records that were not sent.
        r#"{"accepted": 2, "rejected": [{"index": 3}]}"#,
        r#"{"accepted": 2, "rejected": [{"index": -1}]}"#,
        r#"{"accepted": 2, "rejected": [{}]}"#,
        r#"{"accepted": 2, "duplicates": 1, "duplicate_indexes": [3]}"#,
    ] {
        table.row(Answer::ok(words), &[Again; 3]).await;
    }
}

#[tokio::test]
async fn a_hint_at_a_record_sends_all_again_and_none_twice_more() {
    let mut table = Table::new();
    for status in [400, 422] {
        for index in 0..5 {
            let body = format!("{{\"error\": \"no\", \"index\": {index}}}");
            table.row(Answer::new(status).body(body), &[Again; 4]).await;
        }
    }
}

#[tokio::test]
#[should_panic(expected = "what was sent again")]
async fn the_table_notices_a_record_that_should_be_sent_again_and_is_not() {
    let said = words(&[Said::Accepted; 2]);
    Table::new().row(Answer::ok(said), &[Delivered, Again]).await;
}

#[tokio::test]
#[should_panic(expected = "is lost")]
async fn the_table_notices_a_record_that_a_hub_claims_to_have() {
    let said = words(&[Said::Accepted; 2]);
    let mut table = Table::new();
    table.has_what_it_says = false;
    table.row(Answer::ok(said), &[Delivered; 2]).await;
}
