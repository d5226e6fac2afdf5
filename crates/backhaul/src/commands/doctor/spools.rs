//! Whether what is stored can be read, adds up, and moves.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use backhaul_store::{Spool, Standing};

use super::Patient;
use super::finding::Finding;
use super::folders::usable;
use super::network::BOUND;
use crate::config::ByteSize;
use crate::control::Client;
use crate::control::message::Overview;
use crate::data_dir::shown_as;
use crate::report::SpoolReport;

/// Longer than outages that people plan for without saying so.
const LONG_WAIT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Waiting records that are looked for in the files, of each spool.
const MOST_LOOKED_AT: usize = 1000;
/// Reasons of failed records that are said.
const MOST_REASONS: usize = 3;

pub(super) async fn check(patient: &Patient<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = patient
        .data_dir
        .broken_spools()
        .into_iter()
        .map(|found| Finding::problem("spools", found, "move it away, and look at what it is"))
        .collect();
    let spools = patient.data_dir.present();
    if spools.is_empty() && findings.is_empty() {
        findings.push(Finding::ok("spools", "nothing was stored yet"));
    }
    let mut of_project: Option<(&str, SpoolReport)> = None;
    for (name, path) in &spools {
        findings.extend(usable(name, path));
        let (report, found) = of_spool(name, path).await;
        let shown = shown_as(name);
        if let Some(whole) = of_project.take_if(|(last, _)| *last != shown) {
            findings.push(standing(whole.0, &whole.1));
        }
        // The kinds of data of one project of Weave's are shown as one.
        match (&mut of_project, report) {
            (Some((_, whole)), Some(report)) => whole.add(&report),
            (None, Some(report)) => of_project = Some((shown, report)),
            (_, None) => {}
        }
        findings.extend(found);
    }
    findings.extend(of_project.map(|(shown, whole)| standing(shown, &whole)));
    findings.extend(delivered(patient));
    findings
}

/// How a spool stands, where it can be read, and what is not well with it.
async fn of_spool(name: &str, path: &Path) -> (Option<SpoolReport>, Vec<Finding>) {
    let look = || -> backhaul_store::Result<(SpoolReport, BTreeMap<String, u64>)> {
        let spool = Spool::open_read_only(path)?;
        let mut report = SpoolReport::new(&spool.status()?);
        let reasons = if report.failed > 0 { reasons(&spool)? } else { BTreeMap::new() };
        report.unreadable = report.unreadable.max(not_found(&spool, report.pending)?);
        Ok((report, reasons))
    };
    let (report, reasons) = match look() {
        Ok(looked) => looked,
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|it| format!(": {it}"));
            let found = format!("it cannot be read: {error}{}", cause.unwrap_or_default());
            let advice =
                "run this as its owner; where the medium is damaged, copy the folder first";
            return (None, vec![Finding::problem(name, found, advice)]);
        }
    };
    // Whoever has it open knows what its files do not tell.
    let (owner, remark) = match tokio::time::timeout(BOUND, ask(path)).await {
        Ok(Ok(overview)) => (overview.map(|it| it.spool), None),
        Ok(Err(error)) => (None, Some(format!("{error:#}"))),
        Err(_) => (None, Some("the process that has it open does not answer".to_owned())),
    };
    let silent = remark.map(|found| {
        Finding::warning(name, found, "if it stays so, restart that process; nothing is lost by it")
    });
    let report = owner.unwrap_or(report);
    let found = judge(name, &report, &reasons).into_iter().chain(silent).collect();
    (Some(report), found)
}

async fn ask(path: &Path) -> anyhow::Result<Option<Overview>> {
    match Client::of_spool(path).await? {
        Some(mut client) => client.get("/v1/status").await.map(Some),
        None => Ok(None),
    }
}

/// How many of the first records that wait are not where they have to be. What is delivered
/// meanwhile is none of them.
fn not_found(spool: &Spool, pending: u64) -> backhaul_store::Result<usize> {
    let wanted = most(pending);
    let mut found = 0;
    spool.each(Some(Standing::Pending), &mut |_| {
        found += 1;
        if found < wanted { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(most(spool.status()?.books.pending).min(wanted).saturating_sub(found))
}

fn most(records: u64) -> usize {
    usize::try_from(records).map_or(MOST_LOOKED_AT, |records| records.min(MOST_LOOKED_AT))
}

/// Why records failed, and how many for each reason.
fn reasons(spool: &Spool) -> backhaul_store::Result<BTreeMap<String, u64>> {
    let mut reasons = BTreeMap::new();
    spool.each(Some(Standing::Failed), &mut |entry| {
        let reason = entry.last_error.unwrap_or_else(|| "no reason given".to_owned());
        *reasons.entry(reason).or_default() += 1;
        ControlFlow::Continue(())
    })?;
    Ok(reasons)
}

/// A finding for each thing that is not well.
fn judge(name: &str, report: &SpoolReport, reasons: &BTreeMap<String, u64>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut problem = |found: String, advice: &str| {
        findings.push(Finding::problem(name, found, advice));
    };
    if let Some(trouble) = &report.trouble {
        problem(
            format!("records cannot be stored: {trouble}"),
            "make room, or look at the medium: it goes on by itself once the disk takes records",
        );
    }
    if !report.books.balance {
        problem("the books do not balance".into(), "keep a copy of the folder, and report this");
    }
    if let Some(reason) = report.courier.as_ref().and_then(|courier| courier.paused.as_ref()) {
        problem(
            format!("delivery is paused: {reason}"),
            "mend that, and restart; or `backhaul sync`",
        );
    }
    if report.failed > 0 {
        let mut by_count: Vec<(&String, &u64)> = reasons.iter().collect();
        by_count.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let said =
            by_count.iter().take(MOST_REASONS).map(|(reason, count)| format!("{count}: {reason}"));
        let said: Vec<String> = said.collect();
        problem(
            format!("{} records were refused ({})", report.failed, said.join("; ")),
            "look at them with `backhaul queue list`; where the cause is mended, `backhaul queue retry --all`",
        );
    }
    if report.unreadable > 0 {
        problem(
            format!("{} waiting records cannot be read from the disk now", report.unreadable),
            "look at the medium: `dmesg` says what happened to it",
        );
    }
    let mut warning = |found: String, advice: &str| {
        findings.push(Finding::warning(name, found, advice));
    };
    if report.books.books.damaged > 0 {
        warning(
            format!(
                "{} records were damaged on the disk, and are lost",
                report.books.books.damaged
            ),
            "what is left of them is in quarantine/; if more come, the medium is worn",
        );
    }
    if report.quarantined > 0 {
        warning(
            format!("{} damaged pieces were set aside in quarantine/", report.quarantined),
            "look at them, then remove them; if more come, the medium is worn",
        );
    }
    if report.damaged_ledger_lines > 0 {
        warning(
            format!("{} lines of the ledger were unreadable", report.damaged_ledger_lines),
            "nothing is lost: some records may be sent again; if more come, the medium is worn",
        );
    }
    if let Some(high_water) = &report.high_water {
        warning(high_water.reason.clone(), "`backhaul clean`, deliver, or raise the cap");
    }
    if report.oversized > 0 {
        warning(
            format!("{} records are larger than the data cap ever allows", report.oversized),
            "raise daily_limit_mb, or carry them out another way (`backhaul queue list`)",
        );
    }
    if report.unknown > 0 {
        warning(
            format!("nobody knows of {} calls whether they were done", report.unknown),
            "find out, and say so: `backhaul queue list --spool tools`, then `queue done`, \
             `queue retry` or `queue drop`",
        );
    }
    findings
}

fn standing(name: &str, report: &SpoolReport) -> Finding {
    let oldest = report.oldest_age_seconds.filter(|_| report.pending > 0);
    let mut found = format!("{} wait, {} delivered", report.pending, report.synced);
    if let Some(seconds) = oldest {
        found.push_str(&format!(", the oldest for {}", crate::report::age(seconds)));
    }
    let reason = report.courier.as_ref().and_then(|courier| courier.reason.as_ref());
    if let Some(reason) = reason.filter(|_| report.pending > 0) {
        found.push_str(&format!(" ({reason})"));
    }
    match oldest {
        Some(seconds) if seconds > LONG_WAIT.as_secs() => Finding::warning(
            name,
            found,
            "`backhaul sync` delivers now, and says what is in the way",
        ),
        _ => Finding::ok(name, found),
    }
}

/// What cleaning would free of Weave's data.
fn delivered(patient: &Patient<'_>) -> Option<Finding> {
    let spools = patient.data_dir.present();
    let folders = spools.iter().filter(|(name, _)| crate::data_dir::of_weave(name).is_some());
    let (mut files, mut bytes) = (0_u64, 0);
    for entry in
        folders.flat_map(|(_, path)| std::fs::read_dir(path).into_iter().flatten().flatten())
    {
        if entry.file_name().to_string_lossy().contains(".synced.") {
            files += 1;
            bytes += entry.metadata().map_or(0, |found| found.len());
        }
    }
    let bytes = ByteSize(bytes);
    (files > 0).then(|| {
        let found = format!("{files} files are delivered as a whole (.synced): `backhaul clean --older-than 0s` frees {bytes}");
        Finding::ok("cleaning", found)
    })
}

#[cfg(test)]
mod tests {
    use backhaul_store::{Options, Record, Settled, State};

    use super::super::finding::Level;
    use super::*;
    use crate::report::{CourierReport, HighWater};

    fn report(dir: &Path) -> SpoolReport {
        SpoolReport::new(&Spool::open_read_only(dir).unwrap().status().unwrap())
    }

    fn filled(dir: &Path) -> Spool {
        let spool = Spool::open(dir, Options { maintenance_thread: false, ..Options::default() });
        let spool = spool.unwrap();
        spool.append(Record::new("test", b"{}".to_vec())).unwrap();
        spool
    }

    #[tokio::test]
    async fn a_sound_spool_is_one_line() {
        let dir = tempfile::tempdir().unwrap();
        drop(filled(dir.path()));
        let (report, findings) = of_spool("runs", dir.path()).await;
        assert_eq!(findings, []);
        let finding = standing("runs", &report.unwrap());
        assert_eq!(finding.level, Level::Ok);
        assert!(finding.found.starts_with("1 wait, 0 delivered"), "{finding:?}");
    }

    #[tokio::test]
    async fn refused_records_are_said_with_their_reasons() {
        let dir = tempfile::tempdir().unwrap();
        let spool = filled(dir.path());
        let id = spool.append(Record::new("test", b"{}".to_vec())).unwrap();
        let refused = Settled::new(State::Rejected).reason("no such project");
        spool.settle(&[(id.position, refused)]).unwrap();
        drop(spool);
        let (_, findings) = of_spool("runs", dir.path()).await;
        let problem = findings.iter().find(|finding| finding.level == Level::Problem).unwrap();
        assert!(problem.found.contains("1: no such project"), "{problem:?}");
        assert!(problem.advice.as_ref().unwrap().contains("queue retry"));
    }

    #[tokio::test]
    async fn a_spool_that_cannot_be_read_is_a_problem() {
        let dir = tempfile::tempdir().unwrap();
        drop(filled(dir.path()));
        std::fs::write(dir.path().join("state/identity.json"), "no json").unwrap();
        let (_, findings) = of_spool("runs", dir.path()).await;
        assert_eq!(findings[0].level, Level::Problem, "{findings:?}");
    }

    #[tokio::test]
    async fn records_that_are_not_in_their_files_are_a_problem() {
        let dir = tempfile::tempdir().unwrap();
        drop(filled(dir.path()));
        let mut entries = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let segment = entries.find(|path| path.is_file()).unwrap();
        let mut bytes = std::fs::read(&segment).unwrap();
        bytes[4096..8192].iter_mut().for_each(|byte| *byte ^= 0x55);
        std::fs::write(&segment, bytes).unwrap();
        let (_, findings) = of_spool("runs", dir.path()).await;
        assert!(findings[0].found.starts_with("1 waiting records cannot be read"), "{findings:?}");
        assert_eq!(findings[0].level, Level::Problem);
    }

    #[test]
    fn each_thing_that_is_not_well_has_a_line() {
        let dir = tempfile::tempdir().unwrap();
        drop(filled(dir.path()));
        let sound = report(dir.path());
        let spoil = |spoil: fn(&mut SpoolReport)| {
            let mut report = sound.clone();
            spoil(&mut report);
            let findings = judge("runs", &report, &BTreeMap::new());
            let levels = findings.iter().map(|finding| finding.level);
            let of_all = standing("runs", &report).level;
            levels.chain([of_all]).max_by_key(|it| *it as u8).unwrap()
        };
        assert_eq!(spoil(|_| {}), Level::Ok);
        assert_eq!(spoil(|it| it.trouble = Some("no space left".into())), Level::Problem);
        assert_eq!(spoil(|it| it.books.balance = false), Level::Problem);
        assert_eq!(spoil(|it| it.unreadable = 1), Level::Problem);
        let paused = CourierReport { paused: Some("401".into()), ..CourierReport::default() };
        let mut report = sound.clone();
        report.courier = Some(paused);
        assert!(
            judge("runs", &report, &BTreeMap::new()).iter().any(|it| it.level == Level::Problem)
        );
        assert_eq!(spoil(|it| it.quarantined = 1), Level::Warning);
        assert_eq!(spoil(|it| it.books.books.damaged = 1), Level::Warning);
        assert_eq!(spoil(|it| it.damaged_ledger_lines = 1), Level::Warning);
        assert_eq!(spoil(|it| it.oversized = 1), Level::Warning);
        assert_eq!(spoil(|it| it.unknown = 1), Level::Warning);
        assert_eq!(spoil(|it| it.oldest_age_seconds = Some(8 * 24 * 3600)), Level::Warning);
        let high = |it: &mut SpoolReport| {
            it.high_water = Some(HighWater { limit: "cap".into(), reason: "80 %".into() });
        };
        assert_eq!(spoil(high), Level::Warning);
    }
}
