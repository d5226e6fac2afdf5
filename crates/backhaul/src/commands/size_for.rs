//! `backhaul queue size-for`: how much room a spool needs for an outage, by what it has seen.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sizes are told to three digits"
)]

use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::anyhow;
use backhaul_store::Spool;
use serde_json::{Value, json};

use crate::cli;
use crate::config::{ByteSize, Config};
use crate::data_dir::{self, DataDir, OFFLINE, RUNS};
use crate::exit::{OrUsage as _, Outcome};
use crate::printer::Printer;

/// Over less than this nothing can be said of an hour.
const LEAST_SEEN: Duration = Duration::from_secs(60);
const HOUR: f64 = 3600.0;

pub(crate) fn run(args: &cli::QueueSizeFor, config: &Config) -> anyhow::Result<Outcome> {
    let printer = Printer { json: args.common.json };
    let (open, unreadable) =
        DataDir::of(config).or_usage()?.open_read_only(args.spool.as_deref()).or_usage()?;
    unreadable.iter().for_each(|error| printer.talk(format_args!("{error:#}")));
    let mut outcome = if unreadable.is_empty() { Outcome::Done } else { Outcome::LeftBehind };
    let several = open.len() > 1;
    let mut is_known = false;
    for (name, spool) in open {
        let seen = Seen::of(&spool)?;
        let Some(need) = Need::new(&seen, args) else {
            // Of all that are there, those that are not in use say nothing.
            if !several {
                return Err(anyhow!("{name}: {}", seen.too_little())).or_usage();
            }
            continue;
        };
        is_known = true;
        let cap = cap_of(config, &name);
        if cap.is_some_and(|cap| need.bytes > cap as f64) {
            outcome = Outcome::LeftBehind;
        }
        match printer.json {
            true => printer.object(&need.object(&name, &seen, cap))?,
            false => printer.data(need.text(&name, &seen, cap))?,
        }
    }
    if !is_known {
        printer
            .talk("no spool holds enough records to tell by: name --per-hour and --record-bytes");
        outcome = Outcome::LeftBehind;
    }
    Ok(outcome)
}

/// What a spool may take, as far as the settings say.
fn cap_of(config: &Config, spool: &str) -> Option<u64> {
    match spool {
        OFFLINE => Some(config.offline.max_queue_size_mb * 1_000_000),
        RUNS => config.hub.cap.map(|cap| cap.0),
        spool if data_dir::of_weave(spool).is_some() => config.weave.cap.map(|cap| cap.0),
        _ => None,
    }
}

/// What a spool holds on disk, delivered records included.
struct Seen {
    records: u64,
    /// Power-on time from the first to the last of them.
    time: Duration,
    /// Of everything in the folder.
    bytes: u64,
}

impl Seen {
    fn of(spool: &Spool) -> anyhow::Result<Self> {
        let (mut records, mut oldest, mut newest) = (0, Duration::ZERO, Duration::MAX);
        spool.each(None, &mut |entry| {
            records += 1;
            oldest = oldest.max(entry.age);
            newest = newest.min(entry.age);
            ControlFlow::Continue(())
        })?;
        let time = oldest.saturating_sub(newest);
        Ok(Self { records, time, bytes: spool.status()?.bytes })
    }

    fn per_hour(&self) -> Option<f64> {
        let is_enough = self.records > 1 && self.time >= LEAST_SEEN;
        is_enough.then(|| (self.records - 1) as f64 * HOUR / self.time.as_secs_f64())
    }

    fn record_bytes(&self) -> Option<f64> {
        (self.records > 0).then(|| self.bytes as f64 / self.records as f64)
    }

    fn too_little(&self) -> String {
        format!(
            "{} records over {:.0} s are too few to tell by: name --per-hour and --record-bytes",
            self.records,
            self.time.as_secs_f64()
        )
    }
}

/// What an outage takes.
struct Need {
    offline_hours: f64,
    per_hour: f64,
    record_bytes: f64,
    bytes: f64,
}

impl Need {
    fn new(seen: &Seen, args: &cli::QueueSizeFor) -> Option<Self> {
        let per_hour = args.per_hour.or_else(|| seen.per_hour())?;
        let record_bytes =
            args.record_bytes.map(|it| it.0 as f64).or_else(|| seen.record_bytes())?;
        let offline_hours = args.offline_hours;
        Some(Self {
            offline_hours,
            per_hour,
            record_bytes,
            bytes: offline_hours * per_hour * record_bytes,
        })
    }

    fn enough_for_hours(&self, cap: u64) -> f64 {
        cap as f64 / (self.per_hour * self.record_bytes)
    }

    fn text(&self, name: &str, seen: &Seen, cap: Option<u64>) -> String {
        let size = |bytes: f64| ByteSize(bytes as u64).to_string();
        let verdict = match cap {
            None => "no cap is set for it".to_owned(),
            Some(cap) => {
                let hours = self.enough_for_hours(cap);
                let verdict = if hours >= self.offline_hours { "enough" } else { "ENOUGH ONLY" };
                format!("the cap is {}, {verdict} for {hours:.0} hours", size(cap as f64))
            }
        };
        format!(
            "{name}: {:.0} hours take {}; {verdict}\n  {:.1} records an hour of {} on disk, by {} records over {:.1} hours",
            self.offline_hours,
            size(self.bytes),
            self.per_hour,
            size(self.record_bytes),
            seen.records,
            seen.time.as_secs_f64() / HOUR,
        )
    }

    fn object(&self, name: &str, seen: &Seen, cap: Option<u64>) -> Value {
        json!({
            "spool": name,
            "offline_hours": self.offline_hours,
            "needed_bytes": self.bytes as u64,
            "cap_bytes": cap,
            "enough_for_hours": cap.map(|cap| self.enough_for_hours(cap)),
            "records_per_hour": self.per_hour,
            "bytes_per_record": self.record_bytes as u64,
            "seen_records": seen.records,
            "seen_hours": seen.time.as_secs_f64() / HOUR,
        })
    }
}
