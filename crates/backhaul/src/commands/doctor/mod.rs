//! `backhaul doctor`: looks at everything that may be in the way, and says what to do.
//!
//! Each check gives findings and changes nothing. What is wrong keeps records from being
//! stored or delivered until somebody acts; a warning is about what may come to that.

mod clock;
mod finding;
mod folders;
mod models;
mod network;
mod prototype;
mod spools;
mod surroundings;

use std::ffi::OsString;

use serde_json::json;

use self::finding::{Finding, Level};
use crate::cli;
use crate::config::{Config, ConfigError, Settings};
use crate::data_dir::DataDir;
use crate::exit::{OrUsage as _, Outcome};
use crate::printer::{Printer, harmless};
use crate::runtime;

/// What the checks look at.
struct Patient<'a> {
    settings: &'a Settings,
    config: &'a Config,
    data_dir: DataDir,
}

pub(crate) fn run(args: &cli::Doctor, settings: &Settings) -> anyhow::Result<Outcome> {
    let config = settings.config();
    let patient = Patient { settings, config, data_dir: DataDir::of(config).or_usage()? };
    let mut findings = surroundings::settings(&patient);
    findings.extend(folders::check(&patient));
    let runtime = runtime::start(1)?;
    let (of_spools, of_network, of_models) = runtime.block_on(async {
        tokio::join!(spools::check(&patient), network::check(&patient), models::check(&patient))
    });
    runtime.shutdown_background();
    findings.extend(of_spools);
    findings.push(clock::check());
    findings.extend(of_network);
    findings.extend(of_models);
    findings.extend(surroundings::credentials(&patient));
    findings.extend(surroundings::environment(own));
    findings.push(surroundings::outage(&patient));
    print(Printer { json: args.json }, &findings)
}

/// What there is to say where the settings cannot be read: nothing else can be looked at.
pub(crate) fn of_settings(args: &cli::Doctor, error: &ConfigError) -> anyhow::Result<Outcome> {
    let advice = "mend it, and see `backhaul config check`";
    let problem = |found: &String| Finding::problem("settings", found.clone(), advice);
    let findings: Vec<Finding> = error.problems().iter().map(problem).collect();
    print(Printer { json: args.json }, &findings)
}

/// A variable of this process that is not empty.
fn own(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn print(printer: Printer, findings: &[Finding]) -> anyhow::Result<Outcome> {
    let is_healthy = findings.iter().all(|finding| finding.level != Level::Problem);
    if printer.json {
        printer.object(&json!({"healthy": is_healthy, "checks": findings}))?;
    } else {
        let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
        for Finding { check, level, found, advice } in findings {
            let level = level.name();
            printer.data(format_args!("{level:<7}  {check:<width$}  {}", harmless(found)))?;
            if let Some(advice) = advice {
                printer.data(format_args!("{:<7}  {:<width$}  → {}", "", "", harmless(advice)))?;
            }
        }
    }
    Ok(if is_healthy { Outcome::Done } else { Outcome::LeftBehind })
}
