//! Reading traces.

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand, value_parser};

use super::{Common, DataDirArg};

/// Look at the traces that agents logged with Weave, here on the device.
///
/// They are read from the disk, with or without a server, and whether they were delivered
/// or not, until they are cleaned.
#[derive(Debug, Subcommand)]
pub(crate) enum Traces {
    /// List traces, the newest first: when each began, how long it took and how it went.
    #[command(after_help = "\
Examples:
  backhaul traces list
  backhaul traces list --errors --limit 5
  backhaul traces list --project my_team/my_project --op predict --json | jq .call_id")]
    List(TracesList),
    /// Draw the tree of a trace: its calls, how long each took, and what went wrong.
    #[command(after_help = "\
Examples:
  backhaul traces show 0192f3a4
  backhaul traces show 0192f3a4-0000-7000-8000-000000000001 --json | jq '.calls[].inputs'")]
    Show(TracesShow),
}

#[derive(Debug, Args)]
pub(crate) struct TracesList {
    /// Only this project, such as my_team/my_project [default: all]
    #[arg(long, value_name = "ENTITY/PROJECT")]
    pub(crate) project: Option<String>,
    /// Only traces in which something failed.
    #[arg(long)]
    pub(crate) errors: bool,
    /// Only traces that begin with this op, by its name.
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) op: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) data_dir: DataDirArg,
    /// Print one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TracesShow {
    /// A call of the trace: its id, or so much of its beginning that no other begins with it.
    #[arg(value_name = "CALL_ID", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) id: String,
    /// Only this project [default: where there is such a call]
    #[arg(long, value_name = "ENTITY/PROJECT")]
    pub(crate) project: Option<String>,
    #[command(flatten)]
    pub(crate) common: Common,
}
