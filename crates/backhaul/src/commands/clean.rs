//! `backhaul clean`: removes delivered data.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use backhaul_weave::{Kind, OfflineTraceServer, ProjectId};
use serde_json::{Map, Value, json};

use super::operate::patiently;
use super::resting;
use crate::cli;
use crate::config::{ByteSize, Config};
use crate::control::Client;
use crate::control::message::{self, Cleaned};
use crate::data_dir::{self, DataDir};
use crate::exit::{OrUsage as _, Outcome};
use crate::printer::Printer;
use crate::runtime;

pub(crate) fn run(args: &cli::Clean, config: &Config) -> anyhow::Result<Outcome> {
    let printer = Printer { json: args.common.json };
    let data_dir = DataDir::of(config).or_usage()?;
    let runtime = runtime::start(1)?;
    let of_weave = runtime.block_on(clean_weave(args, config))?;
    let chosen = match data_dir.choose(args.spool.as_deref()) {
        // The prototype's folders of Weave's data are no spools.
        Err(_) if !of_weave.is_empty() => Vec::new(),
        chosen => chosen.or_usage()?,
    };
    let mut cleaned = Vec::new();
    for (name, path) in chosen {
        if data_dir::of_weave(&name).is_some() {
            continue;
        }
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
    cleaned.extend(of_weave);
    print(printer, &cleaned)?;
    Ok(Outcome::Done)
}

/// Of Weave's data that which has an owner is left to it.
async fn clean_weave(
    args: &cli::Clean,
    config: &Config,
) -> anyhow::Result<BTreeMap<String, Cleaned>> {
    let mut cleaned = BTreeMap::new();
    let Some(dir) = config.weave.dir.as_deref().filter(|dir| dir.is_dir()) else {
        return Ok(cleaned);
    };
    let server = OfflineTraceServer::open(dir, config.weave.options(&config.offline))?;
    let mut resting = BTreeSet::new();
    for project in server.projects()? {
        for kind in Kind::ALL {
            let name = data_dir::weave_spool(&project, kind);
            let path = dir.join(project.folder()).join(kind.name());
            if !path.is_dir() || !data_dir::is_chosen(&name, args.spool.as_deref()) {
                continue;
            }
            match ask_owner(&path, args.older_than).await? {
                Some(of_spool) => drop(cleaned.insert(name, of_spool)),
                None => drop(resting.insert((project.clone(), kind))),
            }
        }
    }
    let is_resting = |project: &ProjectId, kind| resting.contains(&(project.clone(), kind));
    patiently(|| {
        let mut refused = None;
        for of_kind in server.clean_each(args.older_than, is_resting)? {
            let name = data_dir::weave_spool(&of_kind.project, of_kind.kind);
            cleaned.entry(name).or_default().add(&of_kind.cleaned.into());
            refused = refused.or(of_kind.refused);
        }
        refused.map_or(Ok(()), |error| Err(error.into()))
    })?;
    Ok(cleaned)
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
        let mut whole = Cleaned::default();
        cleaned.iter().for_each(|(_, of_spool)| whole.add(of_spool));
        printer.object(&json!({
            "records": whole.records,
            "files": whole.files,
            "bytes": whole.bytes,
            "spools": spools,
        }))?;
        return Ok(());
    }
    let mut shown: BTreeMap<&str, Cleaned> = BTreeMap::new();
    for (name, of_spool) in cleaned {
        shown.entry(data_dir::shown_as(name)).or_default().add(of_spool);
    }
    for (name, Cleaned { records, files, bytes }) in shown {
        let bytes = ByteSize(bytes);
        printer.data(format_args!(
            "{name}: {records} delivered records removed, {files} files, {bytes} freed"
        ))?;
    }
    Ok(())
}
