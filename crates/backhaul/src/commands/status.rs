//! `backhaul status`: what waits, how old it is, and whether the books balance.

use std::time::Duration;

use backhaul::config::{ByteSize, Settings, Source};
use backhaul_store::Books;
use serde_json::{Map, Value, json};

use crate::cli;
use crate::data_dir::{DataDir, RUNS};
use crate::exit::{OrUsage as _, Outcome};
use crate::presence::Presence;
use crate::printer::{Printer, table};

pub(crate) fn run(args: &cli::Status, settings: &Settings) -> anyhow::Result<Outcome> {
    let printer = Printer { json: args.json };
    let explicit = matches!(settings.source("data_dir"), Source::Flag(_));
    let data_dir = DataDir::of(settings.config()).or_usage()?;
    if !explicit && !data_dir.path().exists() {
        printer.talk(format_args!("nothing was stored yet in {}", data_dir.path().display()));
        return print(printer, &data_dir, &[]);
    }
    let spools = data_dir.spools().or_usage()?;
    let broken = data_dir.broken_spools();
    for remark in &broken {
        printer.talk(remark);
    }
    let outcome = if broken.is_empty() { Outcome::Done } else { Outcome::LeftBehind };
    if spools.is_empty() {
        if broken.is_empty() {
            printer.talk(format_args!("there is no spool in {}", data_dir.path().display()));
        }
        print(printer, &data_dir, &[])?;
        return Ok(outcome);
    }
    let mut found = Vec::new();
    for (name, spool) in data_dir.open_read_only(None)? {
        let mut status = spool.status()?;
        // The process that has the spool open knows more than its files tell.
        let is_hubs = name == RUNS && data_dir.path().join(RUNS).is_dir();
        let mut courier = if is_hubs { Courier::Absent } else { Courier::Unknown };
        if let Some(hub) = Presence::ask(&data_dir, &name) {
            status.trouble = hub.trouble;
            status.max_bytes = hub.cap_bytes;
            courier = Courier::of(hub.forwards);
        }
        found.push(Found { name, status, courier });
    }
    print(printer, &data_dir, &found)?;
    Ok(outcome)
}

/// A spool, and who delivers from it.
struct Found {
    name: String,
    status: backhaul_store::Status,
    courier: Courier,
}

/// Who delivers what waits in a spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Courier {
    /// The hub that runs here.
    Hub,
    /// Nobody: the hub that runs here has no destination, and keeps what it receives.
    None,
    /// No hub runs here, or none that answers.
    Absent,
    /// An agent, perhaps.
    Unknown,
}

impl Courier {
    fn of(forwards: Option<bool>) -> Self {
        match forwards {
            Some(true) => Courier::Hub,
            Some(false) => Courier::None,
            None => Courier::Unknown,
        }
    }

    /// Whether records are passed on, where that is known.
    fn forwards(self) -> Option<bool> {
        match self {
            Courier::Hub => Some(true),
            Courier::None => Some(false),
            Courier::Absent | Courier::Unknown => None,
        }
    }

    /// What there is to say of records that wait.
    fn remark(self) -> Option<&'static str> {
        match self {
            Courier::None => Some(
                "records are kept here: the hub that runs here was started without --runs-url, \
                 and delivers to nobody",
            ),
            Courier::Absent => Some(
                "no hub answers here: `backhaul serve --runs-url` or `backhaul sync` delivers what is \
                 pending",
            ),
            Courier::Hub | Courier::Unknown => None,
        }
    }
}

fn print(printer: Printer, data_dir: &DataDir, found: &[Found]) -> anyhow::Result<Outcome> {
    if printer.json {
        let spools: Map<String, Value> =
            found.iter().map(|found| (found.name.clone(), object(found))).collect();
        printer.object(&json!({"spools": spools}))?;
    } else if !found.is_empty() {
        printer.data(format_args!("data dir  {}\n", data_dir.path().display()))?;
        printer.data(page(found))?;
    }
    Ok(Outcome::Done)
}

/// A spool as JSON.
fn object(found: &Found) -> Value {
    let Found { status, courier, .. } = found;
    let books = &status.books;
    let mut all = serde_json::to_value(books).unwrap_or_default();
    if let Some(all) = all.as_object_mut() {
        all.insert("balance".to_owned(), books.balance().into());
    }
    json!({
        "pending": books.pending,
        "synced": books.delivered,
        "failed": books.rejected,
        "oldest_age_seconds": status.oldest_age.map(|age| age.as_secs()),
        "bytes": status.bytes,
        "cap_bytes": status.max_bytes,
        "quarantined": status.quarantined,
        "unreadable": status.unreadable,
        "damaged_ledger_lines": status.damaged_ledger_lines,
        "trouble": status.trouble,
        "forwards": courier.forwards(),
        "books": all,
    })
}

fn page(found: &[Found]) -> String {
    let heads = ["spool", "pending", "oldest", "synced", "failed", "on disk", "cap"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for Found { name, status, .. } in found {
        let dash = || "-".to_owned();
        rows.push(vec![
            name.clone(),
            status.books.pending.to_string(),
            status.oldest_age.map_or_else(dash, age),
            status.books.delivered.to_string(),
            status.books.rejected.to_string(),
            ByteSize(status.bytes).to_string(),
            status.max_bytes.map_or_else(dash, |cap| ByteSize(cap).to_string()),
        ]);
    }
    let mut lines = vec![table(&rows), String::new()];
    for Found { name, status, courier } in found {
        lines.push(format!("{name}: {}", sentence(&status.books)));
        let of_courier = courier.remark().filter(|_| status.books.pending > 0);
        lines.extend(of_courier.map(|remark| format!("{name}: {remark}")));
        lines.extend(remarks(status).into_iter().map(|remark| format!("{name}: {remark}")));
    }
    lines.push(String::new());
    lines.push(
        "pending: stored and not delivered   synced: delivered   failed: refused by the \
         destination, kept\nMB = 1,000,000 bytes"
            .to_owned(),
    );
    lines.join("\n")
}

/// The books in words: what was accepted, and what became of it.
fn sentence(books: &Books) -> String {
    let sum: Vec<String> = books
        .parts()
        .into_iter()
        .filter(|(name, count)| *count > 0 || *name == "pending")
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    let verdict = match books.balance() {
        true => "the books balance",
        false => "THE BOOKS DO NOT BALANCE: please report this",
    };
    format!("{} accepted = {}; {verdict}", books.accepted, sum.join(" + "))
}

fn remarks(status: &backhaul_store::Status) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Some(trouble) = &status.trouble {
        remarks.push(format!("TROUBLE: {trouble}"));
    }
    if status.unreadable > 0 {
        let count = status.unreadable;
        remarks.push(format!("{count} waiting records cannot be read from the disk now"));
    }
    if status.quarantined > 0 {
        let count = status.quarantined;
        remarks.push(format!("{count} damaged pieces were set aside in quarantine/"));
    }
    if status.damaged_ledger_lines > 0 {
        let count = status.damaged_ledger_lines;
        remarks.push(format!("{count} lines of the ledger were unreadable"));
    }
    remarks
}

/// An age in the unit that fits.
fn age(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}
