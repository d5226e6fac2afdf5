//! The command line of backhaul.

mod byte_size;
mod cli;
mod commands;
mod control;
mod data_dir;
mod demo;
mod exit;
mod hub;
mod hub_address;
mod hub_link;
mod metrics;
mod outage;
mod printer;
mod record_name;
mod report;
mod runtime;
mod secret;
mod synced;

use std::process::ExitCode;

use anyhow::anyhow;
use clap::Parser as _;
use tracing_subscriber::filter::LevelFilter;

use crate::cli::{Cli, Command};
use crate::exit::{OrUsage as _, Outcome};
use crate::printer::Printer;

/// The environment variable that says how much is logged.
const LOG_VARIABLE: &str = "BACKHAUL_LOG";

fn main() -> ExitCode {
    // Wrong usage ends here with 2, help and version with 0.
    let cli = Cli::parse();
    let outcome = log_to_stderr().or_usage().and_then(|()| run(cli.command));
    if let Err(error) = &outcome
        && !exit::is_broken_pipe(error)
    {
        Printer { json: false }.talk(format_args!("backhaul: {error:#}"));
    }
    exit::code(&outcome)
}

fn run(command: Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Serve(args) => commands::serve::run(args),
        Command::Status(args) => commands::status::run(args),
        Command::Queue(args) => commands::queue::run(args),
        Command::Sync(args) => commands::sync::run(args),
        Command::Clean(args) => commands::clean::run(args),
        Command::Outage(args) => commands::outage::run(args),
        Command::Demo(args) => demo::run(&args),
        Command::DemoAgent(args) => demo::agent::run(args),
    }
}

/// # Errors
/// Where `BACKHAUL_LOG` is no level.
fn log_to_stderr() -> anyhow::Result<()> {
    let level = match std::env::var(LOG_VARIABLE) {
        Ok(text) if !text.is_empty() => text.parse().map_err(|_| {
            anyhow!("{LOG_VARIABLE} is {text:?}: expected off, error, warn, info, debug or trace")
        })?,
        _ => LevelFilter::WARN,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
    Ok(())
}
