//! `backhaul queue export`, `import` and `drop --carried`: what waits is carried to another
//! machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use backhaul_store::{Clock as _, Imported, SystemClock};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::operate::{confirmed, patiently};
use super::progress::Counted;
use super::resting;
use crate::bundle::{self, Bundle, Exported, SpoolInBundle};
use crate::cli;
use crate::config::{ByteSize, Config};
use crate::control::message::{Bundled, Changed};
use crate::control::{Client, unless_absent};
use crate::data_dir::{DataDir, is_chosen, shown_as};
use crate::exit::{OrUsage as _, Outcome};
use crate::printer::Printer;
use crate::runtime;

/// Journals of runs that have not ended, in the folder of an agent's spool.
const RUNNING: &str = "running";

pub(crate) fn export(args: &cli::QueueExport, config: &Config) -> anyhow::Result<Outcome> {
    let printer = Printer { json: args.common.json };
    let data_dir = DataDir::of(config).or_usage()?;
    let chosen = data_dir.choose(args.spool.as_deref()).or_usage()?;
    let cut_short = take_over_open_runs(&chosen, config)?;
    let (spools, unreadable) = data_dir.open_read_only(args.spool.as_deref())?;
    let file = file_to_write(args.to.as_deref());
    let told = Counted::new(printer, "records written");
    let exported = bundle::export(&file, &spools, &|| told.one_more()).or_usage()?;
    told.end();
    let unreadable = unreadable.iter().map(|error| format!("{error:#}"));
    let left: Vec<String> =
        unreadable.chain(cut_short).chain(exported.missing.iter().cloned()).collect();
    left.iter().for_each(|why| printer.talk(format_args!("NOT IN THE FILE: {why}")));
    print_exported(printer, &file, &exported)?;
    Ok(if left.is_empty() { Outcome::Done } else { Outcome::LeftBehind })
}

/// Runs that a crash cut short become records first, as when the agent starts again. Which
/// runs do not, and why.
fn take_over_open_runs(
    spools: &[(String, PathBuf)],
    config: &Config,
) -> anyhow::Result<Vec<String>> {
    let runtime = runtime::start(1)?;
    let mut left = Vec::new();
    for (name, path) in spools.iter().filter(|(_, path)| journals(path) > 0) {
        let is_served = runtime.block_on(Client::of_spool(path))?.is_some();
        if !is_served && let Err(error) = resting::open_spool(name, path, config) {
            left.push(format!("{name}: the runs that were cut short: {error:#}"));
        } else if journals(path) > 0 {
            let count = journals(path);
            left.push(format!("{name}: {count} runs that go on, in the process that has it open"));
        }
    }
    Ok(left)
}

/// How many runs have not ended, as far as their journals tell.
fn journals(spool: &Path) -> usize {
    std::fs::read_dir(spool.join(RUNNING)).into_iter().flatten().count()
}

fn counted(records: u64) -> String {
    if records == 1 { "1 record".to_owned() } else { format!("{records} records") }
}

fn file_to_write(to: Option<&Path>) -> PathBuf {
    let now = SystemClock::new().now().wall.to_string();
    let name: String = now.chars().take(19).filter(|it| !"-:".contains(*it)).collect();
    let name = format!("backhaul-{name}Z.tar");
    match to {
        None => PathBuf::from(name),
        Some(folder) if folder.is_dir() => folder.join(name),
        Some(file) => file.to_owned(),
    }
}

fn print_exported(printer: Printer, file: &Path, exported: &Exported) -> anyhow::Result<()> {
    let Exported { spools, bytes, .. } = exported;
    let records: u64 = spools.iter().map(|(_, records)| records).sum();
    if printer.json {
        let by_name: Map<String, Value> =
            spools.iter().map(|(name, records)| (name.clone(), json!(records))).collect();
        let file = (records > 0).then(|| file.display().to_string());
        return Ok(printer.object(&json!({
            "file": file, "records": records, "bytes": bytes, "spools": by_name,
        }))?);
    }
    if records == 0 {
        return Ok(printer.data("nothing waits, and nothing failed: no file was written")?);
    }
    let mut shown: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, records) in spools {
        *shown.entry(shown_as(name)).or_default() += records;
    }
    for (name, records) in shown {
        printer.data(format_args!("{name}: {}", counted(records)))?;
    }
    let bytes = ByteSize(*bytes);
    let records = counted(records);
    Ok(printer.data(format_args!("{records} in {}, {bytes}", file.display()))?)
}

pub(crate) fn import(args: &cli::QueueImport, config: &Config) -> anyhow::Result<Outcome> {
    let printer = Printer { json: args.common.json };
    let data_dir = DataDir::of(config).or_usage()?;
    data_dir.for_writing().or_usage()?;
    let bundle = Bundle::open(&args.file).or_usage()?;
    let wanted = |part: &&SpoolInBundle| is_chosen(&part.name, args.spool.as_deref());
    let parts: Vec<&SpoolInBundle> = bundle.spools().iter().filter(wanted).collect();
    if parts.is_empty() {
        let names: Vec<&str> = bundle.spools().iter().map(|part| part.name.as_str()).collect();
        let (file, names) = (args.file.display(), names.join(" and "));
        return Err(anyhow::anyhow!("{file} has no such spool: it has {names}")).or_usage();
    }
    let mut imported = Vec::new();
    let mut refused = false;
    for part in parts {
        match import_one(printer, &data_dir, args, &bundle, part, config) {
            Ok(of_spool) => imported.push((part.name.as_str(), of_spool)),
            Err(error) => {
                printer.talk(format_args!("{}: {error:#}", part.name));
                refused = true;
            }
        }
    }
    print_imported(printer, &data_dir, &imported)?;
    Ok(if refused { Outcome::LeftBehind } else { Outcome::Done })
}

fn import_one(
    printer: Printer,
    data_dir: &DataDir,
    args: &cli::QueueImport,
    bundle: &Bundle,
    part: &SpoolInBundle,
    config: &Config,
) -> anyhow::Result<Imported> {
    let path = data_dir.place_of(&part.name);
    let runtime = runtime::start(1)?;
    let asked = runtime.block_on(ask_owner(&path, "/v1/import", &args.file, &part.name))?;
    if let Some(imported) = asked {
        return Ok(imported);
    }
    let told = Counted::new(printer, "records read");
    let imported =
        patiently(|| bundle::import_resting(&path, bundle, part, config, &|| told.one_more()));
    told.end();
    imported
}

/// Asks the process that has a spool open to do something with records of a bundle.
/// `Ok(None)`: nobody has.
async fn ask_owner<T: DeserializeOwned>(
    path: &Path,
    route: &str,
    file: &Path,
    spool: &str,
) -> anyhow::Result<Option<T>> {
    let Some(mut client) = Client::of_spool(path).await? else { return Ok(None) };
    let file = std::path::absolute(file)?;
    let asked = Bundled { file, spool: spool.to_owned() };
    let done = unless_absent(client.post(route, &asked).await)?;
    let done = done.context("the process that has the spool open does not do so: stop it")?;
    Ok(Some(done))
}

/// Drops what was carried away.
pub(crate) fn drop_carried(
    file: &Path,
    args: &cli::QueueDrop,
    config: &Config,
) -> anyhow::Result<Outcome> {
    let printer = Printer { json: args.common.json };
    let data_dir = DataDir::of(config).or_usage()?;
    let present = data_dir.choose(args.spool.as_deref()).or_usage()?;
    let bundle = Bundle::open(file).or_usage()?;
    let is_present = |part: &&SpoolInBundle| present.iter().any(|(name, _)| *name == part.name);
    let parts: Vec<&SpoolInBundle> = bundle.spools().iter().filter(is_present).collect();
    let records = parts.iter().map(|part| part.records).sum();
    if !args.yes && !confirmed(printer, records)? {
        printer.talk("nothing was dropped");
        return Ok(Outcome::LeftBehind);
    }
    let runtime = runtime::start(1)?;
    let mut dropped = 0;
    for part in parts {
        let path = data_dir.place_of(&part.name);
        let asked: Option<Changed> =
            runtime.block_on(ask_owner(&path, "/v1/drop-carried", file, &part.name))?;
        dropped += match asked {
            Some(changed) => changed.changed,
            None => {
                let keeper = resting::keeper(&part.name, &path, config)?;
                patiently(|| keeper.drop_carried(file, &part.name))?.changed
            }
        };
    }
    match printer.json {
        true => printer.object(&json!({"dropped": dropped, "carried": records}))?,
        false => printer.data(format_args!(
            "{dropped} records were dropped, of {records} that were carried away"
        ))?,
    }
    Ok(Outcome::Done)
}

fn print_imported(
    printer: Printer,
    data_dir: &DataDir,
    imported: &[(&str, Imported)],
) -> anyhow::Result<()> {
    let mut all = Imported::default();
    let mut shown: BTreeMap<&str, Imported> = BTreeMap::new();
    for (name, one) in imported {
        for sum in [&mut all, shown.entry(shown_as(name)).or_default()] {
            sum.stored += one.stored;
            sum.known += one.known;
            sum.settled += one.settled;
        }
    }
    if printer.json {
        let spools: Map<String, Value> =
            imported.iter().map(|(name, one)| ((*name).to_owned(), json!(one))).collect();
        let Imported { stored, known, settled } = all;
        return Ok(printer.object(&json!({
            "stored": stored, "known": known, "settled": settled, "spools": spools,
        }))?);
    }
    for (name, Imported { stored, known, settled }) in shown {
        let mut line = format!("{name}: {} stored", counted(stored));
        if known > 0 {
            line.push_str(&format!(", {known} were here"));
        }
        if settled > 0 {
            line.push_str(&format!(", {settled} were delivered or given up here"));
        }
        printer.data(line)?;
    }
    if all.stored + all.known > 0 {
        let place = data_dir.path().display();
        printer.talk(format_args!("deliver them with: backhaul sync --data-dir {place}"));
    }
    Ok(())
}
