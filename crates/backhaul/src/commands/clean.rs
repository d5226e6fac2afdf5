//! `backhaul clean`: removes delivered data.

use std::path::Path;
use std::time::Duration;

use crate::config::{ByteSize, Config};
use serde_json::{Map, Value, json};

use super::operate::patiently;
use super::resting;
use crate::cli;
use crate::control::Client;
use crate::control::message::{self, Cleaned};
use crate::data_dir::DataDir;
use crate::exit::{OrUsage as _, Outcome};
use crate::printer::Printer;
use crate::runtime;

pub(crate) fn run(args: &cli::Clean, config: &Config) -> anyhow::Result<Outcome> {
    let printer = Printer { json: args.common.json };
    let data_dir = DataDir::of(config).or_usage()?;
    let spools = data_dir.choose(args.spool.as_deref()).or_usage()?;
    let runtime = runtime::start(1)?;
    let mut cleaned = Vec::new();
    for (name, path) in spools {
        let asked = runtime.block_on(ask_owner(&path, args.older_than))?;
        let of_spool = match asked {
            Some(of_spool) => of_spool,
            None => {
                let keeper = resting::keeper(&name, &path, config)?;
                patiently(|| keeper.clean(args.older_than))?
            }
        };
        cleaned.push((name, of_spool));
    }
    print(printer, &cleaned)?;
    Ok(Outcome::Done)
}

async fn ask_owner(path: &Path, older_than: Duration) -> anyhow::Result<Option<Cleaned>> {
    let Some(mut client) = Client::of_spool(path).await? else { return Ok(None) };
    let asked = message::Clean { older_than_seconds: older_than.as_secs() };
    Ok(Some(client.post("/v1/clean", &asked).await?))
}

fn print(printer: Printer, cleaned: &[(String, Cleaned)]) -> anyhow::Result<()> {
    if printer.json {
        let spools: Map<String, Value> =
            cleaned.iter().map(|(name, cleaned)| (name.clone(), json!(cleaned))).collect();
        printer.object(&json!({
            "records": cleaned.iter().map(|(_, cleaned)| cleaned.records).sum::<u64>(),
            "bytes": cleaned.iter().map(|(_, cleaned)| cleaned.bytes).sum::<u64>(),
            "spools": spools,
        }))?;
        return Ok(());
    }
    for (name, Cleaned { records, bytes }) in cleaned {
        let bytes = ByteSize(*bytes);
        printer.data(format_args!("{name}: {records} delivered records removed, {bytes} freed"))?;
    }
    Ok(())
}
