//! What can be said on the command line. Pure: nothing is opened or looked up here.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::byte_size::ByteSize;
use crate::hub::limits;

const EXAMPLES: &str = "\
Examples:
  backhaul demo                       see it survive an outage, in 20 seconds
  backhaul serve                      take run records at http://127.0.0.1:7117/v1/runs
  backhaul status                     what waits on this device, and why
  backhaul queue list --spool runs    each record that waits or failed
  backhaul sync --runs-url http://hub:7117    deliver what waits, now

Exit codes: 0 done; 1 not wholly done, or something was left behind; 2 wrong usage or
configuration. Data goes to stdout, everything else to stderr. BACKHAUL_LOG=info (or
debug) says more.";

/// An agent that loses its network keeps working, and nothing that it did is lost.
#[derive(Debug, Parser)]
#[command(name = "backhaul", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(Demo),
    Serve(Serve),
    Status(Status),
    #[command(subcommand)]
    Queue(Queue),
    Sync(Sync),
    #[command(hide = true)]
    DemoAgent(DemoAgent),
}

/// Show a sensor agent live through an outage and a kill -9, and count what arrives.
///
/// Starts a hub and an agent as processes of their own in a temporary folder. The agent
/// reads this machine's sensors and writes a run record for each reading. The hub goes
/// away and comes back, the agent is killed in the middle of a run. Then the records in
/// both stores are counted. Exits with 0 only if none was lost, doubled or refused.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Print the result as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    /// Keep the folder with both stores, for a look at them.
    #[arg(long)]
    pub(crate) keep: bool,
    /// Test seam: the hub does not de-duplicate and its first reply is lost, so that the
    /// demo has to fail.
    #[arg(long, hide = true)]
    pub(crate) sabotage_dedupe: bool,
}

/// The folder that everything of one backhaul lies in.
#[derive(Debug, Args)]
pub(crate) struct DataDirArg {
    /// Where the data lies [default: $BACKHAUL_DATA_DIR, else ~/.local/share/backhaul]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// Take run records over HTTP, store them durably, and forward them if asked to.
///
/// POST /v1/runs takes one run record or an array of them as JSON (gzip allowed) and
/// answers {"accepted": n, "duplicates": m} once all of it is on stable storage.
/// GET /healthz, /readyz and /metrics say how it is.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backhaul serve
  backhaul serve --runs-url https://hub.example.com     store here, forward there
  openssl rand -hex 32 > token
  backhaul serve --listen 0.0.0.0:7117 --token-file token       a hub for other devices

Try it:
  curl -d '{\"run_id\": \"run_001\"}' http://127.0.0.1:7117/v1/runs")]
pub(crate) struct Serve {
    /// Where to listen. Port 0 takes a free one, and says which. Other addresses than
    /// this machine's own need a token.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7117")]
    pub(crate) listen: String,
    #[command(flatten)]
    pub(crate) data_dir: DataDirArg,
    /// Forward what is stored to this hub. The key for it is read from BACKHAUL_API_KEY
    /// [default: $BACKHAUL_RUNS_URL, else none]
    #[arg(long, value_name = "URL")]
    pub(crate) runs_url: Option<String>,
    /// A file with the token that clients have to send as `Authorization: Bearer TOKEN`
    /// [default: $BACKHAUL_TOKEN, else none]
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// The most that the stored records may take on disk, such as 500MB [default: as long
    /// as the disk has room]
    #[arg(long, value_name = "SIZE")]
    pub(crate) cap: Option<ByteSize>,
    /// Connections at one moment; others wait.
    #[arg(long, value_name = "NUMBER", default_value_t = limits::DEFAULT_MAX_CONNECTIONS)]
    pub(crate) max_connections: usize,
    /// The most records to store in a second. Senders beyond that are told when to come
    /// again, one after the other, so that a fleet which comes back at once is served evenly;
    /// critical records go first. Set it to what the disk or the next hub takes
    /// [default: as many as come]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) records_per_second: Option<NonZeroU32>,
    /// How long one request may take, such as 90s [default: 10m]. A body that comes at less
    /// than 100 bytes a second after its first 30 seconds is cut off before that.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) request_timeout: Option<Duration>,
    /// How long idempotency keys are remembered, such as 12h [default: 7d]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) remember_keys: Option<Duration>,
    /// Test seam: take every record as new.
    #[arg(long, hide = true)]
    pub(crate) sabotage_dedupe: bool,
    /// Test seam: die (kill -9) once, between storing a request and answering it.
    #[arg(long, hide = true)]
    pub(crate) crash_before_reply: bool,
    /// Test seam: how long the head of a request may take.
    #[arg(long, hide = true, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) head_timeout: Option<Duration>,
    /// Test seam: how long the body of a request may take whatever its size.
    #[arg(long, hide = true, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) body_grace: Option<Duration>,
    /// Stop when stdin ends, which it does when the process that started this one is gone.
    #[arg(long, hide = true)]
    pub(crate) stop_with_stdin: bool,
}

/// Show what waits, how old it is, and whether the books balance.
///
/// Only reads, and so works beside a running backhaul.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backhaul status
  backhaul status --data-dir /var/lib/backhaul --json | jq .spools.runs.pending")]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) data_dir: DataDirArg,
    /// Print one JSON object: {"spools": {"runs": {…}}}.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Look at the records that wait or failed.
#[derive(Debug, Subcommand)]
pub(crate) enum Queue {
    /// List each record that waits or failed, most urgent first.
    #[command(after_help = "\
Examples:
  backhaul queue list
  backhaul queue list --spool offline --json | jq 'select(.state == \"failed\")'")]
    List(QueueList),
    /// Show one record: what is known of it, and its body.
    #[command(after_help = "\
Examples:
  backhaul queue show normal/42
  backhaul queue show normal/42 --spool runs --json | jq .body")]
    Show(QueueShow),
}

#[derive(Debug, Args)]
pub(crate) struct QueueList {
    /// Only this spool: runs (received) or offline (of an agent) [default: all there are]
    #[arg(long, value_name = "SPOOL")]
    pub(crate) spool: Option<String>,
    #[command(flatten)]
    pub(crate) data_dir: DataDirArg,
    /// Print one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct QueueShow {
    /// The record: LANE/NUMBER as `queue list` shows it, or its full id.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// The spool that it is in: runs or offline [default: where there is such a record]
    #[arg(long, value_name = "SPOOL")]
    pub(crate) spool: Option<String>,
    #[command(flatten)]
    pub(crate) data_dir: DataDirArg,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Deliver everything that waits, once and now.
///
/// Exits with 0 only if nothing is left behind. The spools must not be delivered from by
/// another process at the same time.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backhaul sync --runs-url https://hub.example.com
  BACKHAUL_RUNS_URL=http://hub:7117 BACKHAUL_API_KEY=… backhaul sync --json")]
pub(crate) struct Sync {
    #[command(flatten)]
    pub(crate) data_dir: DataDirArg,
    /// The hub that run records go to, such as http://hub:7117 [default: $BACKHAUL_RUNS_URL]
    #[arg(long, value_name = "URL")]
    pub(crate) runs_url: Option<String>,
    /// A file with the key for it [default: $BACKHAUL_API_KEY, else none]
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The agent of the demo.
#[derive(Debug, Args)]
pub(crate) struct DemoAgent {
    #[arg(long)]
    pub(crate) data_dir: PathBuf,
    #[arg(long)]
    pub(crate) runs_url: String,
}

/// Reads `90s`, `10m`, `12h` or `7d`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is no time: expected a number with s, m, h or d");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(bad)?;
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return Err(bad()),
    };
    let number: u64 = number.trim().parse().map_err(|_| bad())?;
    number.checked_mul(factor).filter(|s| *s > 0).map(Duration::from_secs).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn the_shown_defaults_are_the_limits() {
        assert_eq!(parse_duration("10m"), Ok(limits::DEFAULT_REQUEST_TIMEOUT));
        assert_eq!(parse_duration("7d"), Ok(limits::DEFAULT_KEY_AGE));
    }

    #[test]
    fn times_need_a_unit() {
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        for bad in ["", "s", "10", "0m", "1w", "-1s", "9999999999999999999d", "5µ"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
