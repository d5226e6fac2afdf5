//! The commands that are a gateway: `serve`, and `run` around another program.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;

use super::{DataDirArg, ModelArgs, WeaveArgs, parse_duration};

/// Take run records and Weave's traces over HTTP, store them durably, and forward them.
///
/// Weave clients log to it as to their server, with WANDB_BASE_URL set to its address. What
/// they log is delivered to the real server as soon as a key is known, which may be theirs.
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
    #[command(flatten)]
    pub(crate) gateway: Gateway,
    /// Stop when stdin ends, which it does when the process that started this one is gone.
    #[arg(long, hide = true)]
    pub(crate) stop_with_stdin: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Gateway {
    /// Where to listen. Port 0 takes a free one, and says which. Other addresses than
    /// this machine's own need a token [default: 127.0.0.1:7117]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<OsString>,
    #[command(flatten)]
    pub(crate) data_dir: DataDirArg,
    /// Forward what is stored to this hub. The key for it is read from BACKHAUL_API_KEY, or
    /// the file that BACKHAUL_API_KEY_FILE names [default: none]
    #[arg(long, value_name = "URL")]
    pub(crate) runs_url: Option<OsString>,
    #[command(flatten)]
    pub(crate) weave: WeaveArgs,
    #[command(flatten)]
    pub(crate) models: ModelArgs,
    /// A file with the token that clients have to send as `Authorization: Bearer TOKEN`
    /// [default: none; BACKHAUL_TOKEN holds one as well]
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<OsString>,
    /// The most that the stored records may take on disk, such as 500MB [default: as long
    /// as the disk has room]
    #[arg(long, value_name = "SIZE")]
    pub(crate) cap: Option<OsString>,
    /// Connections at one moment; others wait [default: 1000]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) max_connections: Option<OsString>,
    /// The most records to store in a second. Senders beyond that are told when to come
    /// again, one after the other, so that a fleet which comes back at once is served evenly;
    /// critical records go first. Set it to what the disk or the next hub takes
    /// [default: as many as come]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) records_per_second: Option<OsString>,
    /// How long one request may take, such as 90s [default: 10m]. A body that comes at less
    /// than 100 bytes a second after its first 30 seconds is cut off before that.
    #[arg(long, value_name = "TIME")]
    pub(crate) request_timeout: Option<OsString>,
    /// How long idempotency keys are remembered, such as 12h [default: 7d]
    #[arg(long, value_name = "TIME")]
    pub(crate) remember_keys: Option<OsString>,
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
}

/// Run a program behind a gateway of its own: what it logs survives outages, unchanged.
///
/// Serves what `backhaul serve` does at a free port of this machine, and starts CMD with
/// WANDB_BASE_URL, WF_TRACE_SERVER_URL, OPENAI_BASE_URL, ANTHROPIC_BASE_URL and BACKHAUL_URL
/// set to it. Terminal, standard input
/// and output and signals are the program's own, and so is the exit code: 128 and the number
/// of the signal that ended it, 127 where there is no such program, 126 where it cannot be
/// started. Then delivers what waits, for a time, and says what is left.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backhaul run -- python agent.py
  backhaul run --weave-url https://weave.example.com/traces -- python agent.py --fast
  backhaul run --llm-fallback http://127.0.0.1:11434/v1 -- python agent.py
  backhaul run --drain-timeout 1m -- ./nightly.sh

Works beside `backhaul serve` and beside other runs, on the same data.")]
#[command(mut_arg("listen", |arg| arg.help(
    "Where to listen. Other addresses than this machine's own need a token [default: a free port of 127.0.0.1]"
)))]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) gateway: Gateway,
    /// How long to go on delivering once CMD has ended, such as 1m; 0s begins nothing more. A
    /// request under way then has two seconds besides [default: 10s]
    #[arg(long, value_name = "TIME")]
    pub(crate) drain_timeout: Option<OsString>,
    /// The program and its arguments.
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true)]
    pub(crate) command: Vec<OsString>,
}
