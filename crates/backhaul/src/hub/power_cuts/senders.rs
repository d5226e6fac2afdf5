//! Who sends to the hub, and what: other backhauls and clients with and without keys.

use backhaul_testkit::Prng;

use crate::hub::origin::{Origin, Source};

/// A request as it goes to the hub; the same bytes when it is sent again.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// The records in it: number and bytes.
    pub(super) records: Vec<(u64, String)>,
    pub(super) origin: Option<Origin>,
    pub(super) key: Option<String>,
    /// Whether the hub can know it again.
    pub(super) is_named: bool,
}

impl Request {
    pub(super) fn body(&self) -> Vec<u8> {
        let bodies: Vec<&str> = self.records.iter().map(|(_, body)| body.as_str()).collect();
        format!("[{}]", bodies.join(",")).into_bytes()
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.records.iter().map(|(number, _)| *number)
    }
}

/// A record's bytes: they tell its number, and its key where it has one.
fn body_of(number: u64, key: Option<&str>, fill: usize) -> String {
    // Text that does not compress to nothing.
    let mut noise = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let fill: String = std::iter::repeat_with(|| {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        char::from(b'a' + u8::try_from(noise % 26).unwrap())
    })
    .take(fill)
    .collect();
    match key {
        Some(key) => format!(
            "{{\"run_id\":\"run_{number}\",\"metadata\":{{\"idempotency_key\":\"{key}\"}},\"fill\":\"{fill}\"}}"
        ),
        None => format!("{{\"run_id\":\"run_{number}\",\"fill\":\"{fill}\"}}"),
    }
}

/// Gives numbers to records.
#[derive(Debug, Default)]
pub(super) struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

fn fill(random: &mut Prng) -> usize {
    *random.pick(&[0, 40, 300, 1500, 4000])
}

/// Another backhaul: one chain of it.
#[derive(Debug)]
pub(super) struct Device {
    source: Source,
    floor: u64,
    next: u64,
    /// What it has sent: sequence, number and bytes.
    sent: Vec<(u64, u64, String)>,
    /// Sequences that it left out: they were rejected, say, and may come after all.
    left_out: Vec<u64>,
}

impl Device {
    pub(super) fn new(index: usize) -> Self {
        let chain = ["normal", "critical", "normal.1", "bulk"][index % 4];
        let source = format!("{:032x}/0000beef/{chain}", index / 3 + 1);
        // The last one is met late: it has sent to others before.
        let next = if index == 3 { 9_000 } else { 1 };
        let source = source.parse().unwrap();
        Self { source, floor: next, next, sent: Vec::new(), left_out: Vec::new() }
    }

    /// Its next request: something new, something old, or both.
    pub(super) fn request(&mut self, random: &mut Prng, numbers: &mut Numbers) -> Request {
        if random.chance(0.4) {
            self.move_floor(random);
        }
        let mut records: Vec<(u64, u64, String)> = Vec::new();
        let kind = random.below(10);
        if kind < 5 && !self.sent.is_empty() {
            // Old ones: at times all of the last, at times some from long ago.
            let from = match kind {
                0 => random.index(self.sent.len()),
                _ => self.sent.len() - 1 - random.index(self.sent.len().min(8)),
            };
            let to = (from + 1 + random.index(8)).min(self.sent.len());
            records.extend_from_slice(&self.sent[from..to]);
        }
        if kind == 9 && !self.left_out.is_empty() {
            let sequence = self.left_out.swap_remove(random.index(self.left_out.len()));
            records.push(self.record(sequence, random, numbers));
        } else if kind >= 3 || records.is_empty() {
            for _ in 0..1 + random.index(5) {
                if random.chance(0.15) {
                    self.left_out.push(self.next);
                    self.next += 1;
                }
                let sequence = self.next;
                self.next += 1;
                records.push(self.record(sequence, random, numbers));
            }
        }
        records.sort();
        records.dedup();
        self.sent.extend(records.iter().cloned());
        self.sent.sort();
        self.sent.dedup();
        let sequences = records.iter().map(|(sequence, _, _)| *sequence).collect();
        Request {
            records: records.into_iter().map(|(_, number, body)| (number, body)).collect(),
            origin: Some(Origin { source: self.source, floor: self.floor, sequences, next: 0 }),
            key: None,
            is_named: true,
        }
    }

    /// Up to what it sends next: everything that it sent before was answered.
    fn move_floor(&mut self, random: &mut Prng) {
        if random.chance(0.05) {
            // Far away, past the whole window.
            self.next += 5_000;
            self.floor = self.next;
        }
        self.floor += random.below(self.next - self.floor + 1);
    }

    fn record(
        &mut self,
        sequence: u64,
        random: &mut Prng,
        numbers: &mut Numbers,
    ) -> (u64, u64, String) {
        let number = numbers.next();
        (sequence, number, body_of(number, None, fill(random)))
    }
}

/// A client that is no backhaul.
#[derive(Debug, Default)]
pub(super) struct Client {
    sent: Vec<Request>,
}

impl Client {
    pub(super) fn request(&mut self, random: &mut Prng, numbers: &mut Numbers) -> Request {
        if random.chance(0.3) && !self.sent.is_empty() {
            return self.sent[random.index(self.sent.len())].clone();
        }
        let first = numbers.next();
        let mut record =
            |number: u64, key: Option<&str>| (number, body_of(number, key, fill(random)));
        let unnamed = Request { records: Vec::new(), origin: None, key: None, is_named: false };
        let request = match first % 3 {
            // A key for the request, which covers each of its records.
            0 => Request {
                records: vec![record(first, None), record(numbers.next(), None)],
                key: Some(format!("request {first}")),
                is_named: true,
                ..unnamed
            },
            1 => Request {
                records: vec![record(first, Some(&format!("k{first}")))],
                is_named: true,
                ..unnamed
            },
            _ => return Request { records: vec![record(first, None)], ..unnamed },
        };
        self.sent.push(request.clone());
        request
    }
}
