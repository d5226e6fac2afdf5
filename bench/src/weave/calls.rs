//! Calls, as Weave's Python client sends them: the fields, their order and the values that
//! stay the same are those of recorded requests of client 0.54.0.

use std::fmt;

use crate::records::Random;

/// The project that all of them are of.
pub const ENTITY: &str = "local";
pub const PROJECT: &str = "bench";

/// The sizes in bytes of the starts and ends that the figures of Weave's prototype and its
/// write-ahead log were first taken with.
pub const START_LEN: usize = 1009;
pub const END_LEN: usize = 988;

const ATTRIBUTES: &str = r##"{"weave":{"python":{"type":"function"},"client_version":"0.54.0","source":"python-sdk","sys_version":"3.11.7 (main, May  9 2026, 07:35:25) [GCC 12.2.0]","os_name":"Linux","os_version":"#1 SMP PREEMPT_DYNAMIC @0","os_release":"6.18.44-fc-v669"}}"##;

/// One call, from its start to its end.
pub struct Call {
    id: Id,
    trace_id: Id,
    parent_id: Id,
    started_at: String,
    ended_at: String,
    number: u64,
    prompt: String,
    answer: String,
}

/// A UUID of version 7: of a time, which neighbours share, and random bits.
struct Id {
    millis: u64,
    random: u64,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { millis, random } = *self;
        write!(
            f,
            "{:08x}-{:04x}-7{:03x}-a{:03x}-{:012x}",
            millis >> 16,
            millis & 0xffff,
            random >> 52,
            random >> 40 & 0xfff,
            // The rest, and some of the above again.
            random & 0xffff_ffff_ffff
        )
    }
}

/// When the first of them began.
const EPOCH_MILLIS: u64 = 0x01a2_00f5_4f77;

impl Call {
    /// A call with a few words in it: a start and an end of 1 KB together.
    pub fn short(number: u64) -> Self {
        Self::new(number, 40, 40)
    }

    /// One whose start and end are of [`START_LEN`] and [`END_LEN`] bytes.
    pub fn long(number: u64) -> Self {
        let empty = Self::new(number, 0, 0);
        Self::new(number, START_LEN - empty.start().len(), END_LEN - empty.end().len())
    }

    fn new(number: u64, prompt: usize, answer: usize) -> Self {
        let mut random = Random::new(number);
        // So that neighbours differ.
        random.next();
        let millis = EPOCH_MILLIS + number * 3 % (1 << 32);
        let mut id = || Id { millis, random: random.next() };
        let (id, trace_id, parent_id) = (id(), id(), id());
        let (minute, second) = (number / 60 % 60, number % 60);
        let micros = 100_000 + random.below(400_000);
        let took = random.below(400_000);
        Self {
            id,
            trace_id,
            parent_id,
            started_at: format!("2026-11-22T01:{minute:02}:{second:02}.{micros:06}Z"),
            ended_at: format!("2026-11-22T01:{minute:02}:{second:02}.{:06}Z", micros + took),
            number,
            prompt: random.text(prompt),
            answer: random.text(answer),
        }
    }

    /// The `start` of a request.
    pub fn start(&self) -> String {
        format!(
            r#"{{"project_id":"{ENTITY}/{PROJECT}","id":"{}","op_name":"weave:///{ENTITY}/{PROJECT}/op/nested:5aawXpVJBkK0VePX6ynkW1X3e6IwNZyAZQvxuBYl1Tg","display_name":null,"trace_id":"{}","parent_id":"{}","thread_id":null,"turn_id":null,"started_at":"{}","attributes":{ATTRIBUTES},"inputs":{{"x":{},"prompt":"{}"}},"otel_dump":null,"wb_user_id":null,"wb_run_id":null,"wb_run_step":null}}"#,
            self.id, self.trace_id, self.parent_id, self.started_at, self.number, self.prompt
        )
    }

    /// The `end` of a request.
    pub fn end(&self) -> String {
        format!(
            r#"{{"project_id":"{ENTITY}/{PROJECT}","id":"{}","trace_id":"{}","is_eval":false,"ended_at":"{}","started_at":"{}","exception":null,"output":"{}","summary":{{"status_counts":{{"success":1,"error":0}}}},"wb_run_step_end":null}}"#,
            self.id, self.trace_id, self.ended_at, self.started_at, self.answer
        )
    }

    /// The whole, as `calls/complete` takes it.
    pub fn complete(&self) -> String {
        format!(
            r#"{{"project_id":"{ENTITY}/{PROJECT}","id":"{}","trace_id":"{}","op_name":"weave:///{ENTITY}/{PROJECT}/op/nested:5aawXpVJBkK0VePX6ynkW1X3e6IwNZyAZQvxuBYl1Tg","started_at":"{}","ended_at":"{}","display_name":null,"parent_id":"{}","thread_id":null,"turn_id":null,"attributes":{ATTRIBUTES},"inputs":{{"x":{},"prompt":"{}"}},"output":"{}","summary":{{"status_counts":{{"success":1,"error":0}}}},"otel_dump":null,"exception":null,"wb_user_id":null,"wb_run_id":null,"wb_run_step":null,"wb_run_step_end":null}}"#,
            self.id,
            self.trace_id,
            self.started_at,
            self.ended_at,
            self.parent_id,
            self.number,
            self.prompt,
            self.answer
        )
    }
}

/// What is posted at a time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Post {
    /// Starts and ends of so many calls, to `/call/upsert_batch`.
    Upsert(u64),
    /// So many whole calls, to `/v2/ENTITY/PROJECT/calls/complete`.
    Complete(u64),
}

impl Post {
    pub fn path(self) -> String {
        match self {
            Post::Upsert(_) => "/call/upsert_batch".to_owned(),
            Post::Complete(_) => format!("/v2/{ENTITY}/{PROJECT}/calls/complete"),
        }
    }

    pub fn calls(self) -> u64 {
        match self {
            Post::Upsert(calls) | Post::Complete(calls) => calls,
        }
    }

    /// The body with calls of the given numbers.
    pub fn body(self, calls: impl Iterator<Item = Call>) -> String {
        let items: Vec<String> = calls
            .map(|call| match self {
                Post::Upsert(_) => format!(
                    r#"{{"mode":"start","req":{{"start":{}}}}},{{"mode":"end","req":{{"end":{}}}}}"#,
                    call.start(),
                    call.end()
                ),
                Post::Complete(_) => call.complete(),
            })
            .collect();
        format!(r#"{{"batch":[{}]}}"#, items.join(","))
    }

    pub fn key(self) -> String {
        match self {
            Post::Upsert(calls) => format!("upsert/{calls}"),
            Post::Complete(calls) => format!("complete/{calls}"),
        }
    }

    pub fn of_key(key: &str) -> Self {
        let (kind, calls) = key.split_once('/').expect("KIND/CALLS");
        let calls = calls.parse().expect("a number");
        match kind {
            "upsert" => Post::Upsert(calls),
            "complete" => Post::Complete(calls),
            other => panic!("unknown request {other}"),
        }
    }
}

impl fmt::Display for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Post::Upsert(1) => f.write_str("`upsert_batch`, start and end"),
            Post::Upsert(calls) => write!(f, "`upsert_batch`, {}", calls * 2),
            Post::Complete(1) => f.write_str("`calls/complete`, one call"),
            Post::Complete(calls) => write!(f, "`calls/complete`, {calls}"),
        }
    }
}
