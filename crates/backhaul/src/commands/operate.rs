//! `backhaul queue retry`, `drop` and `done`: what is done to records by hand.

use std::collections::BTreeMap;
use std::io::{BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::Config;
use anyhow::{anyhow, bail};
use backhaul_store::{ErrorKind, Standing};
use serde_json::json;

use super::{carry, resting};
use crate::cli;
use crate::control::message::{Changed, Discard, Done, Retry, Unchanged};
use crate::control::{Client, Keeper};
use crate::data_dir::{DataDir, TOOLS};
use crate::exit::{self, OrUsage as _, Outcome};
use crate::printer::Printer;
use crate::record_name::RecordName;
use crate::runtime;

/// How often and how many times another process is asked for the part of delivering: it
/// looks for such wishes once a second.
pub(super) const HANDOVER_INTERVAL: Duration = Duration::from_millis(250);
pub(super) const HANDOVER_TRIES: u32 = 16;

/// What is done to records.
#[derive(Clone, Copy)]
enum Deed {
    Retry,
    Drop,
    Done,
}

/// To which.
enum Wanted {
    All,
    Named(Vec<RecordName>),
}

pub(crate) fn retry(args: &cli::QueueRetry, config: &Config) -> anyhow::Result<Outcome> {
    let printer = Printer { json: args.common.json };
    let data_dir = DataDir::of(config).or_usage()?;
    let spools = data_dir.choose(args.spool.as_deref()).or_usage()?;
    let wanted = if args.all {
        spools.into_iter().map(|spool| (spool, Wanted::All)).collect()
    } else {
        find(Deed::Retry, printer, &data_dir, spools, &names(&args.ids)?)?
    };
    report(printer, Deed::Retry, &carry_out(Deed::Retry, wanted, config)?)
}

pub(crate) fn drop_records(args: &cli::QueueDrop, config: &Config) -> anyhow::Result<Outcome> {
    if let Some(file) = &args.carried {
        return carry::drop_carried(file, args, config);
    }
    let printer = Printer { json: args.common.json };
    let data_dir = DataDir::of(config).or_usage()?;
    let spools = data_dir.choose(args.spool.as_deref()).or_usage()?;
    let wanted = find(Deed::Drop, printer, &data_dir, spools, &names(&args.ids)?)?;
    if !args.yes && !confirmed(printer, args.ids.len() as u64)? {
        printer.talk("nothing was dropped");
        return Ok(Outcome::LeftBehind);
    }
    report(printer, Deed::Drop, &carry_out(Deed::Drop, wanted, config)?)
}

pub(crate) fn done(args: &cli::QueueDone, config: &Config) -> anyhow::Result<Outcome> {
    let printer = Printer { json: args.common.json };
    let data_dir = DataDir::of(config).or_usage()?;
    let spools = data_dir.choose(Some(args.spool.as_deref().unwrap_or(TOOLS))).or_usage()?;
    let wanted = find(Deed::Done, printer, &data_dir, spools, &names(&args.ids)?)?;
    report(printer, Deed::Done, &carry_out(Deed::Done, wanted, config)?)
}

fn names(ids: &[String]) -> anyhow::Result<Vec<RecordName>> {
    ids.iter().map(|id| id.parse()).collect::<anyhow::Result<_>>().or_usage()
}

/// Whoever is at a terminal is asked; a script has said it by naming the records.
pub(super) fn confirmed(printer: Printer, count: u64) -> anyhow::Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Ok(true);
    }
    let records = if count == 1 { "this record" } else { "these records" };
    printer.talk(format_args!("drop {records}, {count} in all, for good? Type yes:"));
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case("yes"))
}

type InSpool = ((String, PathBuf), Wanted);

/// Finds out which spool each record is in. One that is in none is left to the first, which
/// says so. Of several that are called so, the only one that failed is the one to be retried.
fn find(
    deed: Deed,
    printer: Printer,
    data_dir: &DataDir,
    spools: Vec<(String, PathBuf)>,
    names: &[RecordName],
) -> anyhow::Result<Vec<InSpool>> {
    let mut found: BTreeMap<String, Vec<RecordName>> = BTreeMap::new();
    let first = spools.first().map(|(name, _)| name.clone()).unwrap_or_default();
    let only = (spools.len() == 1).then_some(first.as_str());
    let (mut open, unreadable) = match only {
        Some(_) => Default::default(),
        None => data_dir.open_read_only(None)?,
    };
    open.retain(|(name, _)| spools.iter().any(|(chosen, _)| chosen == name));
    unreadable.iter().for_each(|error| printer.talk(format_args!("{error:#}")));
    for name in names {
        let mut holders = Vec::new();
        for (spool_name, spool) in &open {
            match spool.get(name.position) {
                Ok((entry, _)) if name.is(&entry) => {
                    holders.push((spool_name.as_str(), entry.standing));
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        let failed = || holders.iter().filter(|(_, standing)| *standing == Standing::Failed);
        if let (Deed::Retry, 1) = (deed, failed().count()) {
            holders = failed().copied().collect();
        }
        if let [(one, _), (other, _), ..] = holders.as_slice() {
            return Err(anyhow!(
                "{name} is in {one} and in {other}: say --spool {one} or --spool {other}"
            ))
            .or_usage();
        }
        let holder = holders.first().map_or(first.as_str(), |(holder, _)| holder);
        found.entry(holder.to_owned()).or_default().push(*name);
    }
    let wanted = |spool: (String, PathBuf)| {
        let names = found.remove(&spool.0)?;
        Some((spool, Wanted::Named(names)))
    };
    Ok(spools.into_iter().filter_map(wanted).collect())
}

fn carry_out(deed: Deed, wanted: Vec<InSpool>, config: &Config) -> anyhow::Result<Changed> {
    let runtime = runtime::start(1)?;
    let mut all = Changed::default();
    for ((name, path), wanted) in wanted {
        let asked = runtime.block_on(ask_owner(deed, &path, &wanted))?;
        let changed = match asked {
            Some(changed) => changed,
            None => do_here(deed, &wanted, &resting::keeper(&name, &path, config)?)?,
        };
        all.changed += changed.changed;
        all.unchanged.extend(changed.unchanged);
    }
    Ok(all)
}

async fn ask_owner(deed: Deed, path: &Path, wanted: &Wanted) -> anyhow::Result<Option<Changed>> {
    let Some(mut client) = Client::of_spool(path).await? else { return Ok(None) };
    let ids = match wanted {
        Wanted::All => Vec::new(),
        Wanted::Named(names) => names.iter().map(ToString::to_string).collect(),
    };
    let changed = match deed {
        Deed::Retry => {
            let asked = Retry { all: ids.is_empty(), ids };
            client.post("/v1/retry", &asked).await
        }
        Deed::Drop => client.post("/v1/drop", &Discard { ids }).await,
        Deed::Done => client.post("/v1/done", &Done { ids }).await,
    };
    Ok(Some(changed?))
}

fn do_here(deed: Deed, wanted: &Wanted, keeper: &Keeper) -> anyhow::Result<Changed> {
    patiently(|| {
        let changed = match (deed, wanted) {
            (Deed::Retry, Wanted::All) => keeper.retry_all(),
            (Deed::Retry, Wanted::Named(names)) => keeper.retry(names),
            (Deed::Drop, Wanted::Named(names)) => keeper.drop_records(names),
            (Deed::Done, Wanted::Named(names)) => return keeper.done(names),
            (Deed::Drop | Deed::Done, Wanted::All) => {
                bail!("only records that are named are settled")
            }
        };
        Ok(changed?)
    })
}

/// Tries until another process that does not deliver has given up the part of it.
pub(crate) fn patiently<T>(mut work: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let is_busy = |error: &anyhow::Error| {
        exit::store_error(error).is_some_and(|error| error.kind() == ErrorKind::Busy)
    };
    for _ in 0..HANDOVER_TRIES {
        match work() {
            Err(error) if is_busy(&error) => std::thread::sleep(HANDOVER_INTERVAL),
            done => return done,
        }
    }
    work()
}

fn report(printer: Printer, deed: Deed, changed: &Changed) -> anyhow::Result<Outcome> {
    let Changed { changed: count, unchanged } = changed;
    let (name, done) = match deed {
        Deed::Retry => ("requeued", "wait to be sent again"),
        Deed::Drop => ("dropped", "were dropped: they are never sent"),
        Deed::Done => ("done", "count as done"),
    };
    for Unchanged { id, state } in unchanged {
        printer.talk(format_args!("{id}: {}", remark(deed, state)));
    }
    if printer.json {
        printer.object(&json!({name: count, "unchanged": unchanged}))?;
    } else {
        printer.data(format_args!("{count} records {done}"))?;
    }
    // A record that waits already is what a retry makes of it.
    let as_wished = |it: &Unchanged| matches!((deed, it.state.as_str()), (Deed::Retry, "pending"));
    let all_done = unchanged.iter().all(as_wished);
    Ok(if all_done { Outcome::Done } else { Outcome::LeftBehind })
}

fn remark(deed: Deed, state: &str) -> &'static str {
    match (deed, state) {
        (_, "absent") => "there is no such record (any more): see `backhaul queue list`",
        (Deed::Retry, "pending") => "it waits already",
        (Deed::Done, _) => "it waits for nobody to say that it was done",
        _ => "it is delivered, or settled in another way",
    }
}
