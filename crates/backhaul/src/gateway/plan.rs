//! What a gateway is to do, checked before anything is opened.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use backhaul_agent::CloudRunLogger;
use backhaul_weave::Remote;

use crate::cli;
use crate::config::Config;
use crate::data_dir::{DataDir, WEAVE};
use crate::hub::token::Token;
use crate::hub::{self, limits};
use crate::hub_address;
use crate::intake::Pace;
use crate::offline::OutageSwitch;

/// Threads that serve connections: the work is on the blocking threads.
pub(crate) const WORKER_THREADS: usize = 2;

/// What is to be done, checked. Nothing was opened yet.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) address: SocketAddr,
    pub(super) token: Option<Token>,
    pub(super) hub: hub::Options,
    pub(super) spool: backhaul_store::Options,
    /// Where Weave's data lies.
    pub(crate) weave_dir: PathBuf,
    /// Where it goes.
    pub(super) weave_remote: Remote,
    pub(crate) limits: hub::Limits,
    pub(super) forward_to: Option<(String, Arc<CloudRunLogger>)>,
    pub(super) outage: Arc<OutageSwitch>,
    pub(super) crash_before_reply: bool,
}

impl Plan {
    /// # Errors
    /// For settings that make no sense together, or name what is not there.
    pub(crate) fn check(args: &cli::Gateway, config: &Config) -> anyhow::Result<Self> {
        let given = &config.hub;
        let address = resolve(given.listen.as_str())?;
        let token = given.token.find().map_err(|error| anyhow!("token_file: {error}"))?;
        if token.is_none() && !address.ip().is_loopback() {
            bail!(
                "{address} can be reached by others, and anybody could write to the store: give \
                 --token-file FILE or set BACKHAUL_TOKEN (`openssl rand -hex 32 > token` makes \
                 one), or listen on 127.0.0.1"
            );
        }
        let data_dir = DataDir::of(config)?.for_writing()?;
        let offline = &config.offline;
        let weave_dir = config.weave.dir.clone().unwrap_or_else(|| data_dir.join(WEAVE));
        if weave_dir.exists() && !weave_dir.is_dir() {
            bail!("weave_dir is {}, a file: expected a folder", weave_dir.display());
        }
        let url = offline.runs_url.as_ref().map(|url| hub_address::shown(url.as_str()));
        Ok(Self {
            address,
            outage: Arc::new(OutageSwitch::of(&data_dir, config.outage)),
            token: token.map(|token| Token::new(token.reveal())),
            hub: hub::Options {
                data_dir,
                max_bytes: given.cap.map(|cap| cap.0),
                key_age: given.remember_keys,
                deduplicate: !args.sabotage_dedupe,
                catch_up: true,
                keep_segments: true,
            },
            spool: offline.spool_options(),
            weave_dir,
            weave_remote: config.weave.remote(offline)?,
            limits: hub::Limits {
                connections: given.max_connections.get(),
                head_timeout: args.head_timeout.unwrap_or(limits::HEAD_TIMEOUT),
                pace: Pace {
                    grace: args.body_grace.unwrap_or(limits::BODY_GRACE),
                    bytes_per_second: limits::BODY_BYTES_PER_SECOND,
                },
                records_per_second: given.records_per_second,
                request_timeout: given.request_timeout,
            },
            forward_to: url.zip(offline.primary_logger()?.map(Arc::new)),
            crash_before_reply: args.crash_before_reply,
        })
    }
}

fn resolve(listen: &str) -> anyhow::Result<SocketAddr> {
    let expected = "expected ADDRESS:PORT such as 127.0.0.1:7117";
    let mut addresses =
        listen.to_socket_addrs().with_context(|| format!("--listen {listen}: {expected}"))?;
    addresses.next().with_context(|| format!("--listen {listen} names no address: {expected}"))
}
