//! The command line of backhaul.

mod cli;
mod commands;
mod control;
mod courier;
mod data_dir;
mod demo;
mod exit;
mod hub;
mod hub_address;
mod log;
mod metrics;
mod printer;
mod record_name;
mod report;
mod runtime;
mod synced;

use std::process::ExitCode;

use backhaul::config::Settings;
use clap::Parser as _;

use crate::cli::{Cli, Command};
use crate::exit::{OrUsage as _, Outcome};
use crate::log::Log;
use crate::printer::Printer;

fn main() -> ExitCode {
    // Wrong usage ends here with 2, help and version with 0.
    let outcome = run(Cli::parse());
    if let Err(error) = &outcome
        && !exit::is_broken_pipe(error)
    {
        Printer { json: false }.talk(format_args!("backhaul: {error:#}"));
    }
    exit::code(&outcome)
}

fn run(cli: Cli) -> anyhow::Result<Outcome> {
    let settings = Settings::load(cli.request()).or_usage()?;
    let log = Log::start(settings.config().log);
    let config = settings.config();
    match cli.command {
        Command::Serve(args) => commands::serve::run(&args, settings, log),
        Command::Status(args) => commands::status::run(&args, &settings),
        Command::Queue(args) => commands::queue::run(&args, config),
        Command::Sync(args) => commands::sync::run(&args, config),
        Command::Clean(args) => commands::clean::run(&args, config),
        Command::Outage(args) => commands::outage::run(&args, config),
        Command::Config(args) => commands::config::run(&args, &settings),
        Command::Demo(args) => demo::run(&args),
        Command::DemoAgent(args) => demo::agent::run(args),
    }
}
