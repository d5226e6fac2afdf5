//! `backhaul status`: what waits, how old it is, and whether the books balance.

use std::time::Duration;

use backhaul_store::Books;
use serde_json::{Map, Value, json};

use crate::byte_size::ByteSize;
use crate::cli;
use crate::data_dir::DataDir;
use crate::exit::{OrUsage as _, Outcome};
use crate::presence::Presence;
use crate::printer::{Printer, table};

pub(crate) fn run(args: cli::Status) -> anyhow::Result<Outcome> {
    let printer = Printer { json: args.json };
    let explicit = args.data_dir.data_dir.is_some();
    let data_dir = DataDir::resolve(args.data_dir.data_dir).or_usage()?;
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
        if let Some(hub) = Presence::ask(data_dir.path(), &name) {
            status.trouble = hub.trouble;
            status.max_bytes = hub.cap_bytes;
        }
        found.push((name, status));
    }
    print(printer, &data_dir, &found)?;
    Ok(outcome)
}

fn print(
    printer: Printer,
    data_dir: &DataDir,
    found: &[(String, backhaul_store::Status)],
) -> anyhow::Result<Outcome> {
    if printer.json {
        let spools: Map<String, Value> =
            found.iter().map(|(name, status)| (name.clone(), object(status))).collect();
        printer.object(&json!({"spools": spools}))?;
    } else if !found.is_empty() {
        printer.data(format_args!("data dir  {}\n", data_dir.path().display()))?;
        printer.data(page(found))?;
    }
    Ok(Outcome::Done)
}

/// A spool as JSON.
fn object(status: &backhaul_store::Status) -> Value {
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
        "damaged_ledger_lines": status.damaged_ledger_lines,
        "trouble": status.trouble,
        "books": all,
    })
}

fn page(found: &[(String, backhaul_store::Status)]) -> String {
    let heads = ["spool", "pending", "oldest", "synced", "failed", "on disk", "cap"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for (name, status) in found {
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
    for (name, status) in found {
        lines.push(format!("{name}: {}", sentence(&status.books)));
        lines.extend(remarks(status).into_iter().map(|remark| format!("{name}: {remark}")));
    }
    lines.push(String::new());
    lines.push(
        "pending: waiting to be delivered   synced: delivered   failed: refused by the \
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
