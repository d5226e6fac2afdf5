//! `backhaul spool`: is a spool what was written, and mending it where it is not.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use backhaul_store::{Clock as _, Examination, Finding, Spool, SystemClock};
use serde_json::{Map, Value, json};

use super::operate::patiently;
use super::progress::Counted;
use super::resting;
use crate::backup;
use crate::cli;
use crate::config::{ByteSize, Config};
use crate::control::message::Repair;
use crate::control::{Client, unless_absent};
use crate::data_dir::DataDir;
use crate::exit::{OrUsage as _, Outcome};
use crate::printer::{Printer, harmless};
use crate::runtime;

pub(crate) fn run(args: &cli::Spool, config: &Config) -> anyhow::Result<Outcome> {
    match args {
        cli::Spool::Check(args) => check(args, config),
        cli::Spool::Repair(args) => repair(args, config),
    }
}

/// What a spool was found to be, by its name.
type Examined = Vec<(String, PathBuf, Examination)>;

fn check(args: &cli::SpoolCheck, config: &Config) -> anyhow::Result<Outcome> {
    let printer = Printer { json: args.json };
    let (examined, left) = examine(printer, config)?;
    print(printer, &examined, "a repair: ")?;
    left.iter().for_each(|error| printer.talk(format_args!("{error:#}")));
    let is_sound = left.is_empty() && findings(&examined) == 0;
    if !is_sound {
        let dir = args.dir.as_deref().map_or(String::new(), |dir| format!(" {}", dir.display()));
        printer.talk(format_args!("what a repair would do: backhaul spool repair{dir}"));
    }
    Ok(if is_sound { Outcome::Done } else { Outcome::LeftBehind })
}

fn examine(printer: Printer, config: &Config) -> anyhow::Result<(Examined, Vec<anyhow::Error>)> {
    let data_dir = DataDir::of(config).or_usage()?;
    let mut left: Vec<_> = data_dir.broken_spools().into_iter().map(anyhow::Error::msg).collect();
    if !left.is_empty() && data_dir.present().is_empty() {
        return Ok((Vec::new(), left));
    }
    data_dir.choose(None).or_usage()?;
    let (spools, unreadable) = data_dir.open_read_only(None)?;
    left.extend(unreadable);
    let mut examined = Vec::new();
    for (name, spool) in spools {
        let counted = Counted::new(printer, "bytes read");
        let found = spool.examine(&mut |bytes| counted.more(bytes));
        counted.end();
        match found.with_context(|| format!("cannot read the spool {name}")) {
            Ok(found) => examined.push((name, spool.dir().to_owned(), found)),
            Err(error) => left.push(error),
        }
    }
    Ok((examined, left))
}

fn findings(examined: &Examined) -> usize {
    examined.iter().map(|(_, _, one)| one.findings.len()).sum()
}

fn repair(args: &cli::SpoolRepair, config: &Config) -> anyhow::Result<Outcome> {
    let printer = Printer { json: args.json };
    let (examined, left) = examine(printer, config)?;
    left.iter().for_each(|error| printer.talk(format_args!("{error:#}")));
    if findings(&examined) == 0 {
        print(printer, &examined, "")?;
        return Ok(if left.is_empty() { Outcome::Done } else { Outcome::LeftBehind });
    }
    if !args.apply {
        print(printer, &examined, "would be done: ")?;
        printer.talk("nothing was changed: say --apply to do so, after a copy was made");
        return Ok(Outcome::LeftBehind);
    }
    let mut mended = Vec::new();
    for (name, path, found) in examined {
        if found.findings.is_empty() {
            mended.push((name, path, found));
            continue;
        }
        let copy = backup_of(args.backup.as_deref(), &name, &path)?;
        printer.talk(format_args!("{name}: a copy is made at {}", copy.display()));
        mend(&name, &path, &copy, config)?;
        let again = Spool::open_read_only(&path)?.examine(&mut |_| {})?;
        mended.push((name, path, again));
    }
    print(printer, &mended, "")?;
    let is_sound = left.is_empty() && findings(&mended) == 0;
    Ok(if is_sound { Outcome::Done } else { Outcome::LeftBehind })
}

/// A folder for the copy, which is not there yet.
fn backup_of(wanted: Option<&Path>, name: &str, path: &Path) -> anyhow::Result<PathBuf> {
    let now = SystemClock::new().now().wall.to_string();
    let now: String = now.chars().take(19).filter(|it| !"-:".contains(*it)).collect();
    let copy = match wanted {
        Some(folder) => folder.join(name),
        None => {
            let mut copy = path.as_os_str().to_owned();
            copy.push(format!(".before-repair-{now}Z"));
            PathBuf::from(copy)
        }
    };
    if copy.exists() {
        bail!("{} is there already: name another folder with --backup", copy.display());
    }
    Ok(copy)
}

fn mend(name: &str, path: &Path, copy: &Path, config: &Config) -> anyhow::Result<()> {
    let runtime = runtime::start(1)?;
    let asked = runtime.block_on(async {
        let Some(mut client) = Client::of_spool(path).await? else { return Ok(None) };
        let asked = Repair { backup: std::path::absolute(copy)? };
        let done = unless_absent(client.post::<Value>("/v1/repair", &asked).await)?;
        let refused = "the process that has the spool open mends nothing: stop it";
        done.context(refused).map(Some)
    })?;
    if asked.is_none() {
        backup::copy(path, copy)?;
        let keeper = resting::keeper(name, path, config)?;
        patiently(|| Ok(keeper.spool().repair()?))?;
    }
    Ok(())
}

fn print(printer: Printer, examined: &Examined, remedy: &str) -> anyhow::Result<()> {
    if printer.json {
        let spools: Map<String, Value> =
            examined.iter().map(|(name, _, found)| (name.clone(), as_json(found))).collect();
        let sound = findings(examined) == 0;
        return Ok(printer.object(&json!({"sound": sound, "spools": spools}))?);
    }
    for (name, _, found) in examined {
        let Examination { files, bytes, records, findings } = found;
        let bytes = ByteSize(*bytes);
        let lost: u64 = findings.iter().map(|finding| finding.lost).sum();
        let verdict = match findings.len() {
            0 => "sound".to_owned(),
            1 => format!("1 finding, {lost} records lost"),
            count => format!("{count} findings, {lost} records lost"),
        };
        printer
            .data(format_args!("{name}: {files} files, {records} records, {bytes}: {verdict}"))?;
        for finding in findings {
            print_finding(printer, finding, remedy)?;
        }
    }
    Ok(())
}

fn print_finding(printer: Printer, finding: &Finding, remedy: &str) -> anyhow::Result<()> {
    let path = harmless(&finding.path.display().to_string());
    let place = finding.offset.map_or(path.clone(), |offset| format!("{path} at byte {offset}"));
    printer.data(format_args!("  {place}: {}", harmless(&finding.found)))?;
    printer.data(format_args!("    expected: {}", finding.expected))?;
    let none = "nothing can be done here: put it back from a copy";
    Ok(printer.data(format_args!("    {remedy}{}", finding.remedy.as_deref().unwrap_or(none)))?)
}

fn as_json(found: &Examination) -> Value {
    let finding = |finding: &Finding| {
        json!({
            "path": finding.path.display().to_string(), "offset": finding.offset,
            "found": finding.found, "expected": finding.expected,
            "remedy": finding.remedy, "lost": finding.lost,
        })
    };
    let findings: Vec<Value> = found.findings.iter().map(finding).collect();
    let Examination { files, bytes, records, .. } = found;
    json!({"files": files, "bytes": bytes, "records": records, "findings": findings})
}
