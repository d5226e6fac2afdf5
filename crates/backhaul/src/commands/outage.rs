//! `backhaul outage`: turns the outage switch on and off.

use std::path::Path;
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
    let data_dir = DataDir::of(config).or_usage()?.for_writing().or_usage()?;
    let runtime = runtime::start(1)?;
    let asked = runtime.block_on(ask_owner(&data_dir, wanted))?;
    let switched = match asked {
        Some(switched) => switched,
        None => switch_here(&OutageSwitch::of(&data_dir, config.outage), wanted)?,
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

async fn ask_owner(
    data_dir: &Path,
    wanted: Option<Option<Duration>>,
) -> anyhow::Result<Option<Switched>> {
    const PATH: &str = "/v1/outage";
    let Some(mut client) = Client::connect(data_dir).await? else { return Ok(None) };
    let switched = match wanted {
        Some(time) => {
            let asked = TurnOn { for_seconds: time.map(|time| time.as_secs()) };
            client.put(PATH, &asked).await?
        }
        None => client.delete(PATH).await?,
    };
    Ok(Some(switched))
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
