//! What can be said on the command line. Pure: nothing is opened or looked up here.

mod gateway;
mod operating;
mod spool;
mod traces;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::{Request, read_time};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub(crate) use self::gateway::{Gateway, Run, Serve};
pub(crate) use self::operating::{
    Clean, Doctor, Outage, QueueDone, QueueDrop, QueueExport, QueueImport, QueueRetry, QueueSizeFor,
};
pub(crate) use self::spool::{Spool, SpoolCheck, SpoolRepair};
pub(crate) use self::traces::{Traces, TracesList, TracesShow};

const EXAMPLES: &str = "\
Examples:
  backhaul demo                       see it survive an outage, in 20 seconds
  backhaul serve                      take run records at http://127.0.0.1:7117/v1/runs, and
                                      what Weave clients log at http://127.0.0.1:7117
  backhaul run -- python agent.py     the same around an agent, which need not be changed
  backhaul status                     what waits on this device, and why
  backhaul queue list --spool runs    each record that waits or failed
  backhaul sync --runs-url http://hub:7117    deliver what waits, now
  backhaul spool check                read every byte of what is stored
  backhaul doctor                     what is in the way, and what to do
  backhaul traces list                what agents logged with Weave, here on the device
  backhaul outage for 10m             count as offline, to see what happens

Exit codes: 0 done; 1 not wholly done, or something was left behind; 2 wrong usage or
configuration. Data goes to stdout, everything else to stderr. BACKHAUL_LOG=info (or
debug) says more. What else can be set, by BACKHAUL_* and in a file: backhaul config show.";

/// An agent that loses its network keeps working, and nothing that it did is lost.
#[derive(Debug, Parser)]
#[command(name = "backhaul", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    /// The file with the settings [default: $BACKHAUL_CONFIG, else
    /// ~/.config/backhaul/backhaul.toml where there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(Demo),
    Serve(Serve),
    Run(Run),
    Status(Status),
    #[command(subcommand)]
    Queue(Queue),
    Sync(Sync),
    #[command(subcommand)]
    Spool(Spool),
    #[command(subcommand)]
    Traces(Traces),
    Clean(Clean),
    #[command(subcommand)]
    Outage(Outage),
    #[command(subcommand)]
    Config(Config),
    Doctor(Doctor),
    /// Print what a shell runs to complete names of commands and options.
    #[command(after_help = "\
Examples:
  backhaul completions bash > ~/.local/share/bash-completion/completions/backhaul
  backhaul completions zsh > ~/.zfunc/_backhaul
  backhaul completions fish > ~/.config/fish/completions/backhaul.fish")]
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write a manual page for each command into a folder.
    #[command(after_help = "\
Examples:
  backhaul man-pages /usr/local/share/man/man1")]
    ManPages {
        /// The folder, which is made.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Print a page of the documentation that is made from the program.
    #[command(hide = true)]
    Reference {
        /// Which one.
        page: Page,
    },
    #[command(hide = true)]
    DemoAgent(DemoAgent),
}

/// Pages of the documentation that are made from the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Page {
    Commands,
    Configuration,
    Environment,
}

impl Cli {
    /// What is said of the settings.
    pub(crate) fn request(&self) -> Request {
        let request = match &self.config {
            Some(file) => Request::new().file(file),
            None => Request::new(),
        };
        let in_data_dir = |arg: &DataDirArg| {
            let request = request.clone().flag("data_dir", arg.data_dir.clone());
            request.flag("weave_dir", arg.weave_dir.clone())
        };
        let to_weave = |request: Request, arg: &WeaveArgs| {
            let request = request.flag("weave_url", arg.weave_url.clone());
            request.flag("wandb_url", arg.wandb_url.clone())
        };
        let to_models = |request: Request, arg: &ModelArgs| {
            let request = request.flag("llm_primary", arg.llm_primary.clone());
            request.flag("llm_fallback", arg.llm_fallback.clone())
        };
        let of_gateway = |args: &Gateway| {
            let request = to_weave(in_data_dir(&args.data_dir), &args.weave);
            to_models(request, &args.models)
                .flag("listen", args.listen.clone())
                .flag("runs_url", args.runs_url.clone())
                .flag("token_file", args.token_file.clone())
                .flag("cap", args.cap.clone())
                .flag("max_connections", args.max_connections.clone())
                .flag("records_per_second", args.records_per_second.clone())
                .flag("request_timeout", args.request_timeout.clone())
                .flag("remember_keys", args.remember_keys.clone())
        };
        match &self.command {
            Command::Serve(args) => of_gateway(&args.gateway),
            Command::Run(args) => {
                of_gateway(&args.gateway).flag("drain_timeout", args.drain_timeout.clone())
            }
            Command::Sync(args) => to_weave(in_data_dir(&args.data_dir), &args.weave)
                .flag("runs_url", args.runs_url.clone())
                .flag("api_key_file", args.api_key_file.clone()),
            Command::Doctor(args) => {
                let request = to_weave(in_data_dir(&args.data_dir), &args.weave);
                to_models(request, &args.models).flag("runs_url", args.runs_url.clone())
            }
            Command::Status(args) => in_data_dir(&args.data_dir),
            Command::Queue(Queue::List(args)) => in_data_dir(&args.data_dir),
            Command::Queue(Queue::Show(args)) => in_data_dir(&args.common.data_dir),
            Command::Queue(Queue::Retry(args)) => in_data_dir(&args.common.data_dir),
            Command::Queue(Queue::Drop(args)) => in_data_dir(&args.common.data_dir),
            Command::Queue(Queue::Done(args)) => in_data_dir(&args.common.data_dir),
            Command::Queue(Queue::Export(args)) => in_data_dir(&args.common.data_dir),
            Command::Queue(Queue::Import(args)) => in_data_dir(&args.common.data_dir),
            Command::Queue(Queue::SizeFor(args)) => in_data_dir(&args.common.data_dir),
            Command::Traces(Traces::List(args)) => in_data_dir(&args.data_dir),
            Command::Traces(Traces::Show(args)) => in_data_dir(&args.common.data_dir),
            Command::Spool(args) => {
                request.flag("data_dir", args.dir().map(|dir| dir.clone().into_os_string()))
            }
            Command::Clean(args) => in_data_dir(&args.common.data_dir),
            Command::Outage(outage) => in_data_dir(&outage.common().data_dir),
            Command::Config(_)
            | Command::Demo(_)
            | Command::DemoAgent(_)
            | Command::Completions { .. }
            | Command::ManPages { .. }
            | Command::Reference { .. } => request,
        }
    }
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
    /// Where the data lies [default: ~/.local/share/backhaul]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<OsString>,
    /// Where Weave's data lies [default: ~/.weave/offline, or `weave` in a data_dir that is
    /// named]
    #[arg(long, visible_alias = "offline-dir", value_name = "DIR")]
    pub(crate) weave_dir: Option<OsString>,
}

/// Where Weave's data goes.
#[derive(Debug, Args)]
pub(crate) struct WeaveArgs {
    /// The base of the trace server that Weave's data is delivered to. The key for it is
    /// the one that a client sends, else WANDB_API_KEY, else netrc's [default:
    /// https://trace.wandb.ai, or `traces` below wandb_url where that is set]
    #[arg(long, value_name = "URL")]
    pub(crate) weave_url: Option<OsString>,
    /// The base of the GraphQL server that knows projects and users [default:
    /// https://api.wandb.ai]
    #[arg(long, value_name = "URL")]
    pub(crate) wandb_url: Option<OsString>,
}

/// Who answers the calls of models.
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// The base of the server of the model that is asked first. The key for it is the one that
    /// a client sends, else OPENAI_API_KEY [default: OPENAI_BASE_URL, where `backhaul run` is
    /// started with it, else https://api.openai.com/v1]
    #[arg(long, value_name = "URL")]
    pub(crate) llm_primary: Option<OsString>,
    /// Who is asked where it does not answer: the base of a server on this machine, such as
    /// http://127.0.0.1:11434/v1, or a GGUF file; several with blanks between them
    /// [default: nobody]
    #[arg(long, value_name = "URL|FILE.gguf")]
    pub(crate) llm_fallback: Option<OsString>,
}

/// What most commands take.
#[derive(Debug, Args)]
pub(crate) struct Common {
    #[command(flatten)]
    pub(crate) data_dir: DataDirArg,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Show what waits, how old it is, and whether the books balance.
///
/// Asks the backhaul that runs here, and else reads the files.
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

/// Look at the records that wait or failed, and decide about them.
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
    /// Put records that failed back among the waiting, with all their retries.
    #[command(after_help = "\
Examples:
  backhaul queue retry normal/42
  backhaul queue retry --all")]
    Retry(QueueRetry),
    /// Drop records that wait or failed: they are counted, and never sent.
    #[command(after_help = "\
Examples:
  backhaul queue drop normal/42
  backhaul queue drop normal/42 normal/43 --yes
  backhaul queue drop --carried /media/usb/backlog.tar     once it was imported elsewhere")]
    Drop(QueueDrop),
    /// Say of calls of tools whose state is unknown that they were done: they are not repeated.
    /// `queue retry` has them done, `queue drop` does not.
    #[command(after_help = "\
Examples:
  backhaul queue list --spool tools --json | jq 'select(.state == \"unknown\")'
  backhaul queue done normal/42")]
    Done(QueueDone),
    /// Write what waits or failed into one file, to carry it to another machine.
    ///
    /// It stays on this device as it is, and may be delivered from here as well: a hub takes
    /// each record once. What is in the file: docs/format.md.
    #[command(after_help = "\
Examples:
  backhaul queue export --to /media/usb
  backhaul queue export --spool offline --to backlog.tar --json
  backhaul queue export --data-dir /mnt/card/var/lib/backhaul     of a dead device's card")]
    Export(QueueExport),
    /// Take the records of a file that `queue export` wrote into a data dir, to deliver them
    /// from there.
    ///
    /// They keep their names: what is here already is not stored again, and a hub that has one
    /// of them knows it. Give each device a data dir of its own.
    #[command(after_help = "\
Examples:
  backhaul queue import backlog.tar --data-dir carried/device-7
  backhaul sync --data-dir carried/device-7 --runs-url https://hub.example.com")]
    Import(QueueImport),
    /// Say how much room an outage takes, by the records of this device, and whether the cap
    /// is enough.
    ///
    /// Exits with 1 where it is not.
    #[command(after_help = "\
Examples:
  backhaul queue size-for --offline-hours 72
  backhaul queue size-for --offline-hours 72 --spool offline --per-hour 60 --record-bytes 8KB")]
    SizeFor(QueueSizeFor),
}

#[derive(Debug, Args)]
pub(crate) struct QueueList {
    /// Only this spool: runs (received), offline (of an agent), tools (its calls that wait), or weave, with the project and
    /// the kind of data if need be: weave/my_team/my_project/calls [default: all there are]
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
    /// The spool that it is in: runs, offline or weave/… [default: where there is such a record]
    #[arg(long, value_name = "SPOOL")]
    pub(crate) spool: Option<String>,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Deliver everything that waits, once and now.
///
/// Exits with 0 only if nothing is left behind. Where a backhaul runs that delivers, it is
/// asked to do so now, and goes to its own --runs-url and --weave-url.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backhaul sync --runs-url https://hub.example.com
  WANDB_API_KEY=… backhaul sync --project my_team/my_project    Weave's data of one project
  BACKHAUL_RUNS_URL=http://hub:7117 BACKHAUL_API_KEY=… backhaul sync --json")]
pub(crate) struct Sync {
    #[command(flatten)]
    pub(crate) data_dir: DataDirArg,
    /// The hub that run records go to, such as http://hub:7117 [default: none]
    #[arg(long, value_name = "URL")]
    pub(crate) runs_url: Option<OsString>,
    /// A file with the key for it [default: none; BACKHAUL_API_KEY holds one as well]
    #[arg(long, alias = "token-file", value_name = "FILE")]
    pub(crate) api_key_file: Option<OsString>,
    #[command(flatten)]
    pub(crate) weave: WeaveArgs,
    /// Only this project of Weave's, such as my_team/my_project [default: everything]
    #[arg(long, value_name = "ENTITY/PROJECT")]
    pub(crate) project: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Look at the settings: flags over BACKHAUL_* over backhaul.toml over defaults.
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Say everything that is wrong with the settings. Exits with 2 if anything is.
    #[command(after_help = "\
Examples:
  backhaul config check
  backhaul config check --config new.toml && kill -HUP $(pidof backhaul)")]
    Check,
    /// List every setting, its value, and where that comes from.
    #[command(after_help = "\
Examples:
  backhaul config show
  backhaul config show --json | jq .settings.runs_url")]
    Show(ConfigShow),
}

#[derive(Debug, Args)]
pub(crate) struct ConfigShow {
    /// Print one JSON object: {"file": …, "settings": {"log": {"value": …, "from": …}}}.
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

/// For the test seams, which are no settings.
fn parse_duration(text: &str) -> Result<Duration, String> {
    read_time(text).ok_or_else(|| "expected a time, such as 90s".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn the_help_shows_the_defaults_of_the_table() {
        use clap::CommandFactory as _;
        let command = Cli::command();
        let serve = command.find_subcommand("serve").unwrap();
        let mut flags = 0;
        for key in crate::config::KEYS {
            let Some(arg) = serve.get_arguments().find(|arg| arg.get_id() == key.name()) else {
                continue;
            };
            flags += 1;
            let help = arg.get_help().unwrap().to_string().replace('\n', " ");
            let default = format!("[default: {}", key.default());
            assert!(help.contains(&default), "{}: {help}", key.name());
            assert_eq!(key.flag(), format!("--{}", arg.get_long().unwrap()));
        }
        assert_eq!(flags, 14);
    }
}
