//! What the binary `backhaul` does. Programs have no use for it.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;

use crate::cli::{Cli, Command, Page};
use crate::config::{self, Settings};
use crate::exit::{self, OrUsage as _, Outcome};
use crate::log::Log;
use crate::printer::Printer;
use crate::{commands, demo, reference};

/// Reads the command line of this process and does what it says; gives the exit code.
pub fn main() -> ExitCode {
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
    if let Some(outcome) = of_the_program(&cli.command) {
        return outcome;
    }
    let settings = match (Settings::load(cli.request()), &cli.command) {
        (Err(error), Command::Doctor(args)) => return commands::doctor::of_settings(args, &error),
        (settings, _) => settings.or_usage()?,
    };
    let log = Log::start(settings.config().log);
    let config = settings.config();
    match cli.command {
        Command::Serve(args) => commands::serve::run(&args, settings, log),
        Command::Run(args) => commands::run::run(&args, &settings),
        Command::Status(args) => commands::status::run(&args, &settings),
        Command::Queue(args) => commands::queue::run(&args, config),
        Command::Spool(args) => commands::spool::run(&args, config),
        Command::Sync(args) => commands::sync::run(&args, config),
        Command::Traces(args) => commands::traces::run(&args, config),
        Command::Clean(args) => commands::clean::run(&args, config),
        Command::Outage(args) => commands::outage::run(&args, config),
        Command::Config(args) => commands::config::run(&args, &settings),
        Command::Doctor(args) => commands::doctor::run(&args, &settings),
        Command::Demo(args) => demo::run(&args),
        Command::DemoAgent(args) => demo::agent::run(args),
        Command::Completions { .. } | Command::ManPages { .. } | Command::Reference { .. } => {
            Ok(Outcome::Done)
        }
    }
}

/// What tells of the program itself, whatever its settings are. `None`: it is another command.
fn of_the_program(command: &Command) -> Option<anyhow::Result<Outcome>> {
    let printer = Printer { json: false };
    let page = match command {
        Command::Completions { shell } => reference::completions(*shell),
        Command::Reference { page: Page::Commands } => reference::commands().into_bytes(),
        Command::Reference { page: Page::Configuration } => config::reference().into_bytes(),
        Command::Reference { page: Page::Environment } => reference::environment().into_bytes(),
        Command::ManPages { folder } => return Some(write_man_pages(printer, folder)),
        _ => return None,
    };
    Some(printer.bytes(&page).map(|()| Outcome::Done).map_err(Into::into))
}

fn write_man_pages(printer: Printer, folder: &Path) -> anyhow::Result<Outcome> {
    let shown = folder.display();
    let pages =
        reference::man_pages(folder).with_context(|| format!("cannot write into {shown}"))?;
    printer.talk(format_args!("{pages} pages in {shown}"));
    Ok(Outcome::Done)
}
