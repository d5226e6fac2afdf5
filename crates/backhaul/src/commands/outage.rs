//! `backhaul outage`: turns the outage switch on and off.

use std::time::Duration;

use crate::config::Config;
use serde_json::json;

use crate::cli;
use crate::control::Client;
use crate::control::message::{Switched, TurnOn};
use crate::data_dir::DataDir;
use crate::exit::{OrUsage as _, Outcome};
use crate::offline::OutageSwitch;
use crate::printer::Printer;
use crate::runtime;

pub(crate) fn run(args: &cli::Outage, config: &Config) -> anyhow::Result<Outcome> {
    let wanted = match args {
        cli::Outage::On(_) => Some(None),
        cli::Outage::For(args) => Some(Some(args.time)),
        cli::Outage::Off(_) => None,
    };
    let printer = Printer { json: args.common().json };
    let data_dir = DataDir::of(config).or_usage()?;
    let path = data_dir.for_writing().or_usage()?;
    let asked = runtime::start(1)?.block_on(ask_owners(&data_dir, wanted))?;
    let switched = match asked {
        Some(switched) => switched,
        None => switch_here(&OutageSwitch::of(&path, config.outage), wanted)?,
    };
    if printer.json {
        printer.object(&json!({"outage": switched.outage}))?;
    } else {
        match &switched.outage {
            Some(outage) => printer.data(format_args!("offline: {outage}"))?,
            None => printer.data("no outage: records are delivered when the link allows")?,
        }
    }
    if wanted.is_none() && switched.outage.is_some() {
        printer
            .talk("the process that delivers has it from its setting `outage`: restart it without");
        return Ok(Outcome::LeftBehind);
    }
    Ok(Outcome::Done)
}

/// Tells all processes that spools of the data dir belong to, so that each goes on at once.
/// The switch is one file; what lasts for one of them lasts.
async fn ask_owners(
    data_dir: &DataDir,
    wanted: Option<Option<Duration>>,
) -> anyhow::Result<Option<Switched>> {
    let mut switched: Option<Switched> = None;
    for (_, path) in data_dir.present() {
        let Some(client) = Client::of_spool(&path).await? else { continue };
        let answer = ask(client, wanted).await?;
        if switched.as_ref().is_none_or(|earlier| earlier.outage.is_none()) {
            switched = Some(answer);
        }
    }
    Ok(switched)
}

async fn ask(mut client: Client, wanted: Option<Option<Duration>>) -> anyhow::Result<Switched> {
    const PATH: &str = "/v1/outage";
    match wanted {
        Some(time) => {
            let asked = TurnOn { for_seconds: time.map(|time| time.as_secs()) };
            client.put(PATH, &asked).await
        }
        None => client.delete(PATH).await,
    }
}

/// Nobody listens: whoever delivers from here next looks at the file.
fn switch_here(
    switch: &OutageSwitch,
    wanted: Option<Option<Duration>>,
) -> anyhow::Result<Switched> {
    match wanted {
        Some(time) => switch.turn_on(time)?,
        None => switch.turn_off()?,
    }
    Ok(Switched { outage: switch.report() })
}
