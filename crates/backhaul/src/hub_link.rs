//! The way to another hub, as serve and sync are told it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use backhaul_agent::CloudRunLogger;

use crate::hub_address::INTAKE;
use crate::secret::Secret;

/// The key for the other hub.
const KEY: Secret =
    Secret { name: "key", variable: "BACKHAUL_API_KEY", hint: "expected the key for the hub" };

/// The environment variable with the address of the other hub.
const URL_VARIABLE: &str = "BACKHAUL_RUNS_URL";

/// The given address, else that of `BACKHAUL_RUNS_URL` where it is not empty.
pub(crate) fn url(given: Option<String>) -> Option<String> {
    given.or_else(|| std::env::var(URL_VARIABLE).ok().filter(|url| !url.trim().is_empty()))
}

/// A destination for run records: the hub's address, with the key of the file, else
/// that of `BACKHAUL_API_KEY`, else none.
///
/// # Errors
/// Where the address is none, or the key cannot be read.
pub(crate) fn open(url: &str, key_file: Option<&Path>) -> anyhow::Result<Arc<CloudRunLogger>> {
    let has_scheme = ["http://", "https://"].iter().any(|scheme| {
        url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    });
    if !has_scheme {
        bail!("--runs-url is {url:?}: expected http://host:port, such as http://hub:7117");
    }
    let hub = url.trim_end_matches('/');
    let mut builder = CloudRunLogger::builder(hub.strip_suffix(INTAKE).unwrap_or(hub));
    if let Some(key) = KEY.find(key_file)? {
        builder = builder.api_key(key);
    }
    Ok(Arc::new(builder.build().context("--runs-url")?))
}
