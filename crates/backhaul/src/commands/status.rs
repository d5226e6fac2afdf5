//! `backhaul status`: what waits, how old it is, and whether the books balance.

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{ByteSize, Config, Settings, Source};
use serde_json::{Map, Value, json};

use crate::cli;
use crate::control::Client;
use crate::control::message::Overview;
use crate::data_dir::{self, DataDir, RUNS, WEAVE};
use crate::exit::{OrUsage as _, Outcome};
use crate::model_report::ModelReport;
use crate::offline::{OutageReport, OutageSwitch};
use crate::old_weave_data::OldWeaveData;
use crate::printer::{Printer, table};
use crate::report::{BooksReport, CourierReport, HighWater, SpoolReport, age};
use crate::runtime;

/// Who could deliver Weave's data, where nobody does.
const AT_REST: &str = "no gateway runs here: `backhaul serve`, `backhaul run` or `backhaul sync`";

/// How long the process that serves a spool may take to say how it stands.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn run(args: &cli::Status, settings: &Settings) -> anyhow::Result<Outcome> {
    let printer = Printer { json: args.json };
    let explicit = matches!(settings.source("data_dir"), Source::Flag(_));
    let config = settings.config();
    let data_dir = DataDir::of(config).or_usage()?;
    OldWeaveData::hint(printer, config);
    if !explicit && !data_dir.path().exists() && data_dir.present().is_empty() {
        printer.talk(format_args!("nothing was stored yet in {}", data_dir.path().display()));
        return print(printer, &data_dir, &[], &Told::default());
    }
    let spools = data_dir.spools().or_usage()?;
    let broken = data_dir.broken_spools();
    for remark in &broken {
        printer.talk(remark);
    }
    let mut outcome = if broken.is_empty() { Outcome::Done } else { Outcome::LeftBehind };
    if spools.is_empty() {
        if broken.is_empty() {
            printer.talk(format_args!("there is no spool in {}", data_dir.path().display()));
        }
        print(printer, &data_dir, &[], &Told::default())?;
        return Ok(outcome);
    }
    let overviews = runtime::start(1)?.block_on(ask_owners(printer, &spools));
    let is_served = overviews.contains_key(RUNS);
    let of_weave = LazyCell::new(|| Courier::of_weave(config, is_served));
    let mut found = Vec::new();
    let (open, unreadable) = data_dir.open_read_only(None)?;
    for error in &unreadable {
        printer.talk(format_args!("{error:#}"));
        outcome = Outcome::LeftBehind;
    }
    for (name, spool) in open {
        // The process that has the spool open knows more than its files tell.
        let of_owner = overviews.get(&name).map(|overview| &overview.spool);
        let is_hubs = name == RUNS && data_dir.path().join(RUNS).is_dir();
        let (report, courier) = match of_owner {
            Some(report) => (report.clone(), Courier::of(report.forwards)),
            None if is_hubs => (SpoolReport::new(&spool.status()?), Courier::Absent),
            None if data_dir::of_weave(&name).is_some() => {
                (SpoolReport::new(&spool.status()?), Courier::clone(&of_weave))
            }
            None => (SpoolReport::new(&spool.status()?), Courier::Unknown),
        };
        found.push(Found { name, report, courier });
    }
    let outage = match overviews.is_empty() {
        false => overviews.values().find_map(|overview| overview.outage.clone()),
        true => OutageSwitch::of(data_dir.path(), config.outage).report(),
    };
    if let (Some(outage), false) = (&outage, printer.json) {
        printer.data(format_args!("OFFLINE: {outage}\n"))?;
    }
    let models = overviews.into_values().flat_map(|overview| overview.models).collect();
    print(printer, &data_dir, &found, &Told { outage, models })?;
    Ok(outcome)
}

/// What is told of the process as a whole.
#[derive(Default)]
struct Told {
    outage: Option<OutageReport>,
    models: Vec<ModelReport>,
}

/// What the processes say that have spools open. One that does not answer is left out, and
/// its files are read.
async fn ask_owners(printer: Printer, spools: &[(String, PathBuf)]) -> BTreeMap<String, Overview> {
    let ask = async |path: &Path| match Client::of_spool(path).await? {
        Some(mut client) => client.get("/v1/status").await.map(Some),
        None => Ok(None),
    };
    let mut overviews = BTreeMap::new();
    for (name, path) in spools {
        match tokio::time::timeout(PATIENCE, ask(path)).await {
            Ok(Ok(overview)) => overviews.extend(overview.map(|it| (name.clone(), it))),
            Ok(Err(error)) => printer.talk(format_args!("{name}: {error:#}")),
            Err(_) => printer.talk(format_args!(
                "{name}: the process that has it open does not answer: this is what its files tell"
            )),
        }
    }
    overviews
}

/// A spool, and who delivers from it.
#[derive(Clone)]
struct Found {
    name: String,
    report: SpoolReport,
    courier: Courier,
}

/// Who delivers what waits in a spool.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Courier {
    /// The process that it belongs to.
    Owner,
    /// Nobody: the hub that runs here has no destination, and keeps what it receives.
    None,
    /// No hub runs here, or none that answers.
    Absent,
    /// Nobody delivers Weave's data at the moment, for this reason.
    NotOfWeave(String),
    /// An agent that does not listen, perhaps.
    Unknown,
}

impl Courier {
    fn of(forwards: Option<bool>) -> Self {
        match forwards {
            Some(true) => Courier::Owner,
            Some(false) => Courier::None,
            None => Courier::Unknown,
        }
    }

    /// Of Weave's data that no process delivers, as far as it can be told without a network.
    fn of_weave(config: &Config, is_served: bool) -> Self {
        let key = config.weave.remote(&config.offline).map(|remote| {
            let key = remote.credentials().key(remote.wandb_url());
            key.err().map(|error| error.to_string())
        });
        Self::NotOfWeave(match (is_served, key) {
            (true, _) => {
                "the gateway that runs here does not deliver what is pending: it does so as soon as it \
                          has a key for the server, of its own or a client's; its log says where \
                          something else is in the way"
                    .to_owned()
            }
            (false, Ok(None)) => format!("{AT_REST} delivers what is pending"),
            (false, Ok(Some(no_key))) => {
                format!("{AT_REST} delivers what is pending once there is a key: {no_key}")
            }
            (false, Err(error)) => format!("nothing can be delivered: {error}"),
        })
    }

    /// What there is to say of records that wait.
    fn remark(&self) -> Option<&str> {
        match self {
            Courier::None => Some(
                "records are kept here: the hub that runs here was started without --runs-url, \
                 and delivers to nobody",
            ),
            Courier::Absent => Some(
                "no hub answers here: `backhaul serve --runs-url` or `backhaul sync` delivers what is \
                 pending",
            ),
            Courier::NotOfWeave(reason) => Some(reason),
            Courier::Owner | Courier::Unknown => None,
        }
    }
}

fn print(
    printer: Printer,
    data_dir: &DataDir,
    found: &[Found],
    told: &Told,
) -> anyhow::Result<Outcome> {
    if printer.json {
        let spools: Map<String, Value> =
            found.iter().map(|found| (found.name.clone(), json!(found.report))).collect();
        let Told { outage, models } = told;
        printer.object(&json!({"spools": spools, "outage": outage, "models": models}))?;
    } else if !found.is_empty() {
        printer.data(format_args!("data dir  {}\n", data_dir.path().display()))?;
        printer.data(page(found, printer.columns()))?;
    }
    for line in told.models.iter().filter(|_| !printer.json).flat_map(of_model) {
        printer.data(line)?;
    }
    Ok(Outcome::Done)
}

/// The kinds of data of one project of Weave's are shown as one.
fn by_project(found: &[Found]) -> Vec<Found> {
    let mut shown: Vec<Found> = Vec::new();
    for one in found {
        let name = data_dir::shown_as(&one.name);
        match shown.last_mut().filter(|last| last.name == name) {
            Some(last) => last.report.add(&one.report),
            None => shown.push(Found { name: name.to_owned(), ..one.clone() }),
        }
    }
    shown
}

fn page(found: &[Found], columns: Option<usize>) -> String {
    let found = &by_project(found);
    let heads = ["spool", "pending", "oldest", "synced", "failed", "on disk", "cap"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for Found { name, report, .. } in found {
        let dash = || "-".to_owned();
        rows.push(vec![
            name.clone(),
            report.pending.to_string(),
            report.oldest_age_seconds.map_or_else(dash, age),
            report.synced.to_string(),
            report.failed.to_string(),
            ByteSize(report.bytes).to_string(),
            report.cap_bytes.map_or_else(dash, |cap| ByteSize(cap).to_string()),
        ]);
    }
    let mut lines = vec![table(&rows, columns), String::new()];
    // The same is in the way of all of Weave's data.
    let mut of_weave = None;
    for Found { name, report, courier } in found {
        lines.push(format!("{name}: {}", sentence(&report.books)));
        let mut of_courier = courier.remark().filter(|_| report.pending > 0);
        if let Courier::NotOfWeave(_) = courier {
            of_weave = of_weave.or(of_courier.take());
        }
        let remarks = of_courier.map(ToOwned::to_owned).into_iter().chain(remarks(report));
        lines.extend(remarks.map(|remark| format!("{name}: {remark}")));
    }
    lines.extend(of_weave.map(|remark| format!("{WEAVE}: {remark}")));
    lines.push(String::new());
    lines.push(
        "pending: stored and not delivered   synced: delivered   failed: refused by the \
         destination, kept\nMB = 1,000,000 bytes"
            .to_owned(),
    );
    lines.join("\n")
}

/// The books in words: what was accepted, and what became of it.
fn sentence(report: &BooksReport) -> String {
    let BooksReport { books, balance } = report;
    let sum: Vec<String> = books
        .parts()
        .into_iter()
        .filter(|(name, count)| *count > 0 || *name == "pending")
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    let verdict = match balance {
        true => "the books balance",
        false => "THE BOOKS DO NOT BALANCE: please report this",
    };
    format!("{} accepted = {}; {verdict}", books.accepted, sum.join(" + "))
}

fn remarks(report: &SpoolReport) -> Vec<String> {
    let mut remarks: Vec<String> = report.courier.iter().flat_map(CourierReport::remarks).collect();
    if report.oversized > 0 {
        let (count, summarized) = (report.oversized, report.summarized);
        remarks.push(format!(
            "TOO LARGE: {count} waiting records are larger than the data cap ever allows, of \
             {summarized} a summary was delivered: raise daily_limit_mb, or carry them out \
             another way (`backhaul queue list`)"
        ));
    }
    if report.unknown > 0 {
        let count = report.unknown;
        remarks.push(format!(
            "UNKNOWN: nobody knows of {count} calls whether they were done: find out, and decide \
             (`backhaul queue list --spool tools`, then `queue done`, `retry` or `drop`)"
        ));
    }
    if let Some(HighWater { reason, .. }) = &report.high_water {
        remarks.push(format!("ROOM RUNS OUT: {reason}: `backhaul clean`, or deliver"));
    }
    if let Some(trouble) = &report.trouble {
        remarks.push(format!("TROUBLE: {trouble}"));
    }
    if report.unreadable > 0 {
        let count = report.unreadable;
        remarks.push(format!("{count} waiting records cannot be read from the disk now"));
    }
    if report.quarantined > 0 {
        let count = report.quarantined;
        remarks.push(format!("{count} damaged pieces were set aside in quarantine/"));
    }
    if report.damaged_ledger_lines > 0 {
        let count = report.damaged_ledger_lines;
        remarks.push(format!("{count} lines of the ledger were unreadable"));
    }
    remarks
}

/// What there is to say of a model.
fn of_model(model: &ModelReport) -> Vec<String> {
    let ModelReport { name, source, answered, failed, .. } = model;
    let head = format!("model {name} ({source})");
    let mut lines = vec![format!("{head}: calls answered {answered}, tries that failed {failed}")];
    if let (Some(trouble), Some(seconds)) = (&model.trouble, model.trouble_seconds) {
        lines.push(format!("{head}: left alone for {}: {trouble}", age(seconds)));
    }
    if let Some(credentials) = &model.credentials {
        lines.push(format!("{head}: ITS SERVER DOES NOT TAKE THE KEY: {credentials}"));
    }
    lines
}
