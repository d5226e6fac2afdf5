//! `backhaul queue`: the records that wait or failed.

use std::io;
use std::ops::ControlFlow;

use crate::config::{ByteSize, Config};
use anyhow::{anyhow, bail};
use backhaul_store::{ErrorKind, QueueEntry, Spool, Standing, State, StoredRecord};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::cli;
use crate::commands::{carry, operate, size_for};
use crate::data_dir::DataDir;
use crate::exit::{OrUsage as _, Outcome};
use crate::old_weave_data::OldWeaveData;
use crate::printer::{Printer, harmless};
use crate::record_name::RecordName;
use crate::report::age;

/// The label with the run's id.
const RUN_ID: &str = "run_id";

pub(crate) fn run(args: &cli::Queue, config: &Config) -> anyhow::Result<Outcome> {
    match args {
        cli::Queue::List(args) => list(args, config),
        cli::Queue::Show(args) => show(args, config),
        cli::Queue::Retry(args) => operate::retry(args, config),
        cli::Queue::Drop(args) => operate::drop_records(args, config),
        cli::Queue::Done(args) => operate::done(args, config),
        cli::Queue::Export(args) => carry::export(args, config),
        cli::Queue::Import(args) => carry::import(args, config),
        cli::Queue::SizeFor(args) => size_for::run(args, config),
    }
}

fn list(args: &cli::QueueList, config: &Config) -> anyhow::Result<Outcome> {
    let printer = Printer { json: args.json };
    let data_dir = DataDir::of(config).or_usage()?;
    OldWeaveData::hint(printer, config);
    data_dir.choose(args.spool.as_deref()).or_usage()?;
    let mut any = false;
    let (open, unreadable) = data_dir.open_read_only(args.spool.as_deref())?;
    for (name, spool) in open {
        let mut has_head = false;
        for standing in [Standing::Pending, Standing::Failed] {
            let mut written = Ok(());
            spool.each(Some(standing), &mut |entry| {
                let run_id = run_id(&spool, &entry);
                written = match printer.json {
                    true => printer.object(&summary(&name, &entry, run_id.as_deref())),
                    false => {
                        // Part of the table, as with `ps`: scripts ask for --json.
                        let is_first = !std::mem::replace(&mut has_head, true);
                        let head = is_first.then(|| head(&name, any));
                        any = true;
                        head.map_or(Ok(()), |head| printer.data(head))
                            .and_then(|()| print_line(printer, &entry, run_id.as_deref()))
                    }
                };
                if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
            written?;
        }
    }
    if !any && !printer.json {
        printer.talk("nothing waits, and nothing failed");
    }
    unreadable.iter().for_each(|error| printer.talk(format_args!("{error:#}")));
    Ok(if unreadable.is_empty() { Outcome::Done } else { Outcome::LeftBehind })
}

/// The spool's name, and what the columns are.
fn head(spool: &str, is_not_the_first: bool) -> String {
    let gap = if is_not_the_first { "\n" } else { "" };
    format!("{gap}{spool}\n  id               state        size  tries     age  run")
}

fn print_line(printer: Printer, entry: &QueueEntry, run_id: Option<&str>) -> io::Result<()> {
    let line = format!(
        "  {:<15}  {:<7}  {:>8}  {:>5}  {:>6}  {}",
        entry.id.position.to_string(),
        state(entry),
        ByteSize(entry.size_bytes as u64).to_string(),
        entry.attempts,
        age(entry.age.as_secs()),
        run_id.map_or_else(|| "-".to_owned(), harmless),
    );
    printer.data(printer.cut(&line))?;
    match &entry.last_error {
        Some(error) => printer.data(printer.cut(&format!("      {}", harmless(error)))),
        None => Ok(()),
    }
}

/// Where a record stands; of one that waits for a person, what for.
fn state(entry: &QueueEntry) -> &'static str {
    entry.held.map_or(entry.standing.name(), State::name)
}

fn summary(spool: &str, entry: &QueueEntry, run_id: Option<&str>) -> Value {
    json!({
        "id": entry.id.position.to_string(),
        "run_id": run_id,
        "state": state(entry),
        "size_bytes": entry.size_bytes,
        "enqueued_at": entry.enqueued_at.to_string(),
        "attempts": entry.attempts,
        "last_error": entry.last_error,
        "spool": spool,
        "kind": entry.facts.kind,
        "stream": entry.facts.stream,
        "full_id": entry.id.to_string(),
    })
}

/// The run's id as it was noted, or else as the body has it.
fn run_id(spool: &Spool, entry: &QueueEntry) -> Option<String> {
    if let Some(noted) = entry.facts.labels.get(RUN_ID) {
        return Some(noted.clone());
    }
    let (_, record) = spool.get(entry.id.into()).ok()?;
    let body = backhaul_agent::json::from_slice(&record.body).ok()?;
    Some(body.get("run_id")?.as_str()?.to_owned())
}

fn show(args: &cli::QueueShow, config: &Config) -> anyhow::Result<Outcome> {
    let printer = Printer { json: args.common.json };
    let wanted: RecordName = args.id.parse().or_usage()?;
    let data_dir = DataDir::of(config).or_usage()?;
    data_dir.choose(args.spool.as_deref()).or_usage()?;
    let (spools, unreadable) = data_dir.open_read_only(args.spool.as_deref())?;
    unreadable.iter().for_each(|error| printer.talk(format_args!("{error:#}")));
    let mut found = Vec::new();
    for (name, spool) in &spools {
        match spool.get(wanted.position) {
            Ok((entry, _)) if !wanted.is(&entry) => {}
            Ok((entry, record)) => found.push((name, spool, entry, record)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mut found = found.into_iter();
    let (first, second) = (found.next(), found.next());
    match (first, second) {
        (Some((name, spool, entry, record)), None) => {
            let run_id = run_id(spool, &entry);
            print(printer, &facts(name, &entry, &record, run_id.as_deref()), &record)?;
            Ok(Outcome::Done)
        }
        (Some((one, ..)), Some((other, ..))) => Err(anyhow!(
            "{} is in {one} and in {other}: say --spool {one} or --spool {other}",
            args.id
        ))
        .or_usage(),
        (None, _) => {
            let names: Vec<&str> = spools.iter().map(|(name, _)| name.as_str()).collect();
            bail!(
                "there is no record {} in {} (any more): `backhaul queue list` shows what waits \
                 and what failed",
                args.id,
                names.join(" or ")
            )
        }
    }
}

fn facts(spool: &str, entry: &QueueEntry, record: &StoredRecord, run_id: Option<&str>) -> Value {
    let mut facts = summary(spool, entry, run_id);
    if let Some(facts) = facts.as_object_mut() {
        facts.insert("durability".to_owned(), record.stamp.flush.clone().into());
        let media = record.facts.content_type.as_deref().unwrap_or("application/json");
        facts.insert("content_type".to_owned(), media.into());
        facts.insert("labels".to_owned(), json!(record.facts.labels));
        facts.insert("attachments".to_owned(), json!(record.facts.attachments));
    }
    facts
}

fn print(printer: Printer, facts: &Value, record: &StoredRecord) -> anyhow::Result<()> {
    if printer.json {
        return Ok(printer.data(with_body(facts, &record.body)?)?);
    }
    for (name, value) in facts.as_object().into_iter().flatten() {
        let shown = match value {
            Value::Null => continue,
            Value::String(text) => harmless(text),
            Value::Array(list) if list.is_empty() => continue,
            Value::Object(map) if map.is_empty() => continue,
            other => harmless(&other.to_string()),
        };
        printer.data(format_args!("{name:<13} {shown}"))?;
    }
    printer.data("")?;
    Ok(printer.bytes(&record.body)?)
}

/// The facts with the body behind them: as `body` where it is JSON for every reader,
/// else as the string `body_text`.
fn with_body(facts: &Value, body: &[u8]) -> anyhow::Result<String> {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let (key, value) = match serde_json::from_str::<&RawValue>(text) {
        Ok(raw) => ("body", raw.get().replace(['\n', '\r'], " ")),
        Err(_) => ("body_text", json!(String::from_utf8_lossy(body)).to_string()),
    };
    let mut line = facts.to_string();
    line.pop();
    line.push_str(&format!(",\"{key}\":{value}}}"));
    Ok(line)
}
