//! The records, as agents write them: trace calls of about 1 KB, and run records.

/// One record of about 1,000 bytes: random ids and numbers around text that
/// compresses about fourfold, as traces do.
pub fn record(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let words: Vec<&str> = (0..95).map(|_| WORDS[random.below(WORDS.len())]).collect();
    let record = serde_json::json!({
        "id": format!("{:016x}{:016x}", random.next(), random.next()),
        "trace_id": format!("{:016x}{:016x}", random.next(), random.next()),
        "op_name": "weave:///entity/project/op/read_sensors:latest",
        "started_at": format!("2026-01-01T00:00:{:02}.{:06}Z", seed % 60, random.below(1_000_000)),
        "inputs": {"prompt": words[..60].join(" "), "temperature": random.below(1000) as f64 / 10.0},
        "output": words[60..].join(" "),
        "summary": {"tokens": random.below(4000), "load": random.below(100_000) as f64 / 1000.0},
    });
    serde_json::to_vec(&record).expect("a record is JSON")
}

/// A call of Weave's, from its start to its end, of about 2 KB: the `number`th, of which ten
/// each are a trace that begins with the first of them.
pub fn call(number: u64, project: &str) -> serde_json::Value {
    let mut random = Random(number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let id = |number: u64| format!("01930000-0000-7000-8000-{number:012x}");
    let trace = number / 10 * 10;
    let ops = ["agent_step", "plan", "predict", "search", "read_sensors", "score"];
    let op = if number == trace { ops[0] } else { ops[1 + random.below(5)] };
    let words: Vec<&str> = (0..190).map(|_| WORDS[random.below(WORDS.len())]).collect();
    let at = |millis: u64| {
        let (seconds, millis) = (millis / 1000, millis % 1000);
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        let (days, hours) = (hours / 24, hours % 24);
        let (month, day) = (1 + days / 28 % 12, 1 + days % 28);
        let second = seconds % 60;
        format!("2026-{month:02}-{day:02}T{hours:02}:{minutes:02}:{second:02}.{millis:03}000Z")
    };
    let failed = random.below(50) == 0;
    serde_json::json!({
        "project_id": project,
        "id": id(number),
        "trace_id": format!("01930000-0000-7000-9000-{trace:012x}"),
        "parent_id": (number != trace).then(|| id(trace)),
        "op_name": format!("weave:///{project}/op/{op}:Ybm7UTiaQS9I0VeKCUGILJlkmxlY9Xl3ceG7FLqi0Tw"),
        "started_at": at(number * 500),
        "ended_at": at(number * 500 + 1 + random.below(4000) as u64),
        "attributes": {"weave": {"client_version": "0.54.0", "source": "python-sdk"}},
        "inputs": {"prompt": words[..120].join(" "), "temperature": random.below(1000) as f64 / 10.0},
        "output": {"text": words[120..].join(" "), "score": random.below(100)},
        "exception": failed.then_some(r#"{"type":"ValueError","message":"no"}"#),
        "summary": {"usage": {"gpt": {"total_tokens": random.below(4000), "requests": 1}}},
    })
}

/// A run record of `len` bytes, or a few more: tool calls with random numbers and text.
pub fn run(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    let start = format!(
        r#"{{"run_id":"run_{seed:08}","started_at":"2026-01-01T00:00:{:02}.{:06}Z","tool_calls":["#,
        seed % 60,
        random.below(1_000_000),
    );
    let key = format!("{:016x}{:016x}", random.next(), random.next());
    let end = format!(r#"],"metadata":{{"idempotency_key":"{key}"}}}}"#);
    let mut text = start;
    while text.len() + end.len() < len {
        let words: Vec<&str> = (0..20).map(|_| WORDS[random.below(WORDS.len())]).collect();
        let comma = if text.ends_with('[') { "" } else { "," };
        text += &format!(
            r#"{comma}{{"tool_id":"thermometer","output":{{"celsius":{},"note":"{}"}}}}"#,
            random.below(100_000) as f64 / 1000.0,
            words.join(" "),
        );
    }
    (text + &end).into_bytes()
}

pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() >> 11) as usize % n
    }

    /// Text of so many bytes.
    pub fn text(&mut self, len: usize) -> String {
        let mut text = String::with_capacity(len + 16);
        while text.len() < len {
            text += WORDS[self.below(WORDS.len())];
            text.push(' ');
        }
        text.truncate(len);
        text
    }
}

const WORDS: [&str; 64] = [
    "sensor",
    "reading",
    "temperature",
    "the",
    "of",
    "in",
    "a",
    "is",
    "above",
    "below",
    "threshold",
    "pump",
    "valve",
    "pressure",
    "and",
    "was",
    "checked",
    "by",
    "agent",
    "at",
    "station",
    "north",
    "south",
    "report",
    "summary",
    "no",
    "anomaly",
    "found",
    "please",
    "confirm",
    "that",
    "humidity",
    "level",
    "has",
    "been",
    "stable",
    "since",
    "last",
    "inspection",
    "battery",
    "voltage",
    "drops",
    "when",
    "heater",
    "starts",
    "link",
    "lost",
    "restored",
    "image",
    "shows",
    "corrosion",
    "on",
    "flange",
    "recommend",
    "service",
    "within",
    "days",
    "operator",
    "notified",
    "queue",
    "for",
    "upload",
    "delayed",
    "until",
];
