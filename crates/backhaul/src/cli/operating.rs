//! The commands that change something by hand.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::{ByteSize, read_time};
use clap::{Args, Subcommand};

use super::{Common, DataDirArg, ModelArgs, WeaveArgs};

#[derive(Debug, Args)]
pub(crate) struct QueueRetry {
    /// The records: LANE/NUMBER as `queue list` shows them, or their full ids.
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    pub(crate) ids: Vec<String>,
    /// All records that failed.
    #[arg(long)]
    pub(crate) all: bool,
    /// The spool that they are in: runs, offline or weave/… [default: where there are such records]
    #[arg(long, value_name = "SPOOL")]
    pub(crate) spool: Option<String>,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct QueueDrop {
    /// The records: LANE/NUMBER as `queue list` shows them, or their full ids.
    #[arg(value_name = "ID", required_unless_present = "carried", conflicts_with = "carried")]
    pub(crate) ids: Vec<String>,
    /// All that are in this file, which `queue export` wrote: they were carried away.
    #[arg(long, value_name = "FILE")]
    pub(crate) carried: Option<PathBuf>,
    /// Ask nobody. Without a terminal nobody is asked either.
    #[arg(long)]
    pub(crate) yes: bool,
    /// The spool that they are in: runs, offline or weave/… [default: where there are such records]
    #[arg(long, value_name = "SPOOL")]
    pub(crate) spool: Option<String>,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct QueueDone {
    /// The calls: LANE/NUMBER as `queue list` shows them, or their full ids.
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,
    /// The spool that they are in [default: tools]
    #[arg(long, value_name = "SPOOL")]
    pub(crate) spool: Option<String>,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Remove delivered data, to have its room back.
///
/// What waits and what failed stays, and so does all that is younger. Data goes by whole
/// files: a file stays while one of its records has to.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backhaul clean
  backhaul clean --older-than 12h --json | jq .bytes")]
pub(crate) struct Clean {
    /// How long ago it has to be stored, such as 12h or 0s [default: 7d]
    #[arg(long, value_name = "TIME", value_parser = parse_seconds, default_value = "7d", hide_default_value = true)]
    pub(crate) older_than: Duration,
    /// Only this spool: runs, offline or weave/… [default: all there are]
    #[arg(long, value_name = "SPOOL")]
    pub(crate) spool: Option<String>,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Look for what is in the way: folders, spools, clock, link, servers, models, keys, environment.
///
/// One line for each check, and what to do where something is not well. Exits with 0 if
/// nothing is wrong; a warning is about what may become so. Nothing is changed, and no key
/// is shown. Network checks take 3 seconds at most.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backhaul doctor
  backhaul doctor --data-dir /var/lib/backhaul --weave-url https://weave.example.com/traces
  backhaul doctor --json | jq -r '.checks[] | select(.level == \"problem\") | .advice'")]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) data_dir: DataDirArg,
    /// The hub that run records go to [default: none]
    #[arg(long, value_name = "URL")]
    pub(crate) runs_url: Option<OsString>,
    #[command(flatten)]
    pub(crate) weave: WeaveArgs,
    #[command(flatten)]
    pub(crate) models: ModelArgs,
    /// Print one JSON object: {"healthy": …, "checks": [{"check": …, "level": …}]}.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Count as offline, on purpose: to test, or while the link costs money.
///
/// Records are stored meanwhile, and wait; nothing is sent, and no retry is spent. The
/// switch survives restarts. BACKHAUL_OUTAGE=on (or a time) does the same for one process.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  backhaul outage for 10m
  backhaul outage on
  backhaul outage off")]
pub(crate) enum Outage {
    /// Count as offline until it is turned off.
    On(Common),
    /// Count as online again.
    Off(Common),
    /// Count as offline for a time.
    For(OutageFor),
}

impl Outage {
    pub(crate) fn common(&self) -> &Common {
        match self {
            Outage::On(common) | Outage::Off(common) => common,
            Outage::For(args) => &args.common,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct OutageFor {
    /// How long, such as 10m or 12h.
    #[arg(value_name = "TIME", value_parser = parse_more_than_none)]
    pub(crate) time: Duration,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// A time as it goes over the control socket: in whole seconds.
fn parse_seconds(text: &str) -> Result<Duration, String> {
    read_time(text)
        .filter(|time| time.subsec_nanos() == 0)
        .ok_or_else(|| "expected a time in whole seconds, such as 90s or 10m".to_owned())
}

fn parse_more_than_none(text: &str) -> Result<Duration, String> {
    match parse_seconds(text)? {
        Duration::ZERO => Err("expected more than no time".to_owned()),
        time => Ok(time),
    }
}

#[derive(Debug, Args)]
pub(crate) struct QueueExport {
    /// The file to write, or a folder to write it into [default: backhaul-TIME.tar, here]
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
    /// Only this spool, as `queue list` has it [default: all there are]
    #[arg(long, value_name = "SPOOL")]
    pub(crate) spool: Option<String>,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct QueueImport {
    /// The file that `queue export` wrote.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Only this spool of it [default: all there are]
    #[arg(long, value_name = "SPOOL")]
    pub(crate) spool: Option<String>,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct QueueSizeFor {
    /// How long the outage lasts.
    #[arg(long, value_name = "HOURS", value_parser = parse_amount)]
    pub(crate) offline_hours: f64,
    /// Records that come in an hour [default: as many as came so far]
    #[arg(long, value_name = "RECORDS", value_parser = parse_amount)]
    pub(crate) per_hour: Option<f64>,
    /// What a record takes on disk, such as 4KB [default: what those on disk take]
    #[arg(long, value_name = "SIZE")]
    pub(crate) record_bytes: Option<ByteSize>,
    /// Only this spool, as `queue list` has it [default: all there are]
    #[arg(long, value_name = "SPOOL")]
    pub(crate) spool: Option<String>,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// A number of something, which is more than none.
fn parse_amount(text: &str) -> Result<f64, String> {
    let amount: f64 = text.parse().map_err(|_| "expected a number, such as 72".to_owned())?;
    let is_amount = amount.is_finite() && amount > 0.0;
    if is_amount { Ok(amount) } else { Err("expected a number above 0".to_owned()) }
}
