//! The command line of backhaul.

mod byte_size;
mod cli;
mod commands;
mod data_dir;
mod demo;
mod exit;
mod hub;
mod hub_link;
mod presence;
mod printer;

use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use crate::cli::{Cli, Command};
use crate::exit::Outcome;
use crate::printer::Printer;

/// The environment variable that says how much is logged.
const LOG_VARIABLE: &str = "BACKHAUL_LOG";

fn main() -> ExitCode {
    // Wrong usage ends here with 2, help and version with 0.
    let cli = Cli::parse();
    log_to_stderr();
    let outcome = run(cli.command);
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
        Command::Demo(args) => demo::run(&args),
        Command::DemoAgent(args) => demo::agent::run(args),
    }
}

fn log_to_stderr() {
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
}
