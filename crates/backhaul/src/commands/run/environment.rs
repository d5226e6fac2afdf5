//! What a program is told of its gateway, in variables.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::Path;

use backhaul_weave::Credentials;

use crate::config::{URL_VARIABLE, WeaveConfig};

const WANDB_BASE_URL: &str = "WANDB_BASE_URL";
const WF_TRACE_SERVER_URL: &str = "WF_TRACE_SERVER_URL";
const WANDB_API_KEY: &str = "WANDB_API_KEY";
const WEAVE_SERVER_CACHE_DIR: &str = "WEAVE_SERVER_CACHE_DIR";

/// Which make clients ask another machine for what is on this one.
const PROXIES: [&str; 6] =
    ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
const NO_PROXY: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// The variables of a program whose gateway is at this address, beside those of this process,
/// which `own` gives.
pub(super) fn of_child(
    gateway: SocketAddr,
    cache: &Path,
    own: impl Fn(&str) -> Option<OsString>,
) -> Vec<(&'static str, OsString)> {
    let url = format!("http://{gateway}");
    let mut variables = vec![
        (URL_VARIABLE, url.clone().into()),
        (WANDB_BASE_URL, url.clone().into()),
        (WF_TRACE_SERVER_URL, format!("{url}/traces").into()),
    ];
    // A key that the user has set is sent to the gateway, which forwards with it. Without one
    // clients ask at the terminal: they know none for the gateway's address.
    if own(WANDB_API_KEY).is_none() {
        variables.push((WANDB_API_KEY, Credentials::PLACEHOLDER.into()));
    }
    // Clients remember what they have sent, whoever to, and do not send it again.
    if own(WEAVE_SERVER_CACHE_DIR).is_none() {
        variables.push((WEAVE_SERVER_CACHE_DIR, cache.as_os_str().to_owned()));
    }
    if PROXIES.iter().any(|name| own(name).is_some()) {
        let direct = NO_PROXY.iter().find_map(|name| own(name));
        let direct = with_host(direct, &gateway.ip().to_string());
        variables.extend(NO_PROXY.map(|name| (name, direct.clone())));
    }
    variables
}

/// A list of hosts with one more.
fn with_host(list: Option<OsString>, host: &str) -> OsString {
    let Some(mut list) = list else { return host.into() };
    let names = list.to_string_lossy();
    if !names.split(',').any(|name| name.trim() == host || name.trim() == "*") {
        list.push(",");
        list.push(OsStr::new(host));
    }
    list
}

/// A program that is told of a server of its own by Weave's variables is to reach that
/// through its gateway: where no setting says another one, it is what is delivered to. Those
/// of an outer `backhaul run` name its gateway, and are left out.
///
/// # Errors
/// Names the variable that holds no address.
pub(super) fn take_over_targets(
    config: &mut WeaveConfig,
    own: impl Fn(&str) -> Option<OsString>,
) -> anyhow::Result<()> {
    let outer = own(URL_VARIABLE).map(|url| url.to_string_lossy().into_owned());
    let server = |name: &str| {
        let url = own(name)?.to_string_lossy().trim().to_owned();
        let is_of_outer = outer.as_ref().is_some_and(|outer| url.starts_with(outer));
        (!url.is_empty() && !is_of_outer).then(|| {
            url.parse().map_err(|_| anyhow::anyhow!("{name} is {url:?}: expected an http address"))
        })
    };
    if config.url.is_none() && config.wandb_url.is_none() {
        config.url = server(WF_TRACE_SERVER_URL).transpose()?;
    }
    if config.wandb_url.is_none() {
        config.wandb_url = server(WANDB_BASE_URL).transpose()?;
    }
    Ok(())
}

/// The name of a server's folder.
pub(super) fn folder_of(url: &str) -> String {
    let name = url.strip_prefix("https://").unwrap_or(url).trim_end_matches('/');
    name.replace("://", "_")
        .chars()
        .map(|it| if it.is_ascii_alphanumeric() || matches!(it, '.' | '-') { it } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn lookup<'a>(own: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<OsString> + 'a {
        move |wanted| own.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.into())
    }

    fn child(own: &[(&str, &str)]) -> BTreeMap<&'static str, String> {
        let gateway = "127.0.0.1:4000".parse().unwrap();
        let variables = of_child(gateway, Path::new("/data/cache/of"), lookup(own));
        variables.into_iter().map(|(name, value)| (name, value.into_string().unwrap())).collect()
    }

    #[test]
    fn a_program_without_any_of_it_gets_all_that_weave_needs() {
        let set = child(&[]);
        assert_eq!(set["BACKHAUL_URL"], "http://127.0.0.1:4000");
        assert_eq!(set["WANDB_BASE_URL"], "http://127.0.0.1:4000");
        assert_eq!(set["WF_TRACE_SERVER_URL"], "http://127.0.0.1:4000/traces");
        assert_eq!(set["WANDB_API_KEY"], Credentials::PLACEHOLDER);
        assert_eq!(set["WEAVE_SERVER_CACHE_DIR"], "/data/cache/of");
        assert_eq!(set.len(), 5);
    }

    #[test]
    fn what_the_user_has_set_himself_stays() {
        let set = child(&[("WANDB_API_KEY", "mine"), ("WEAVE_SERVER_CACHE_DIR", "/mine")]);
        assert!(!set.contains_key("WANDB_API_KEY"));
        assert!(!set.contains_key("WEAVE_SERVER_CACHE_DIR"));
    }

    #[test]
    fn a_proxy_is_not_asked_for_the_gateway() {
        let set = child(&[("HTTPS_PROXY", "http://proxy")]);
        assert_eq!((&*set["no_proxy"], &*set["NO_PROXY"]), ("127.0.0.1", "127.0.0.1"));
        let set = child(&[("http_proxy", "http://proxy"), ("NO_PROXY", "corp.example, ::1")]);
        assert_eq!(set["no_proxy"], "corp.example, ::1,127.0.0.1");
        for enough in ["*", "a,127.0.0.1"] {
            let set = child(&[("http_proxy", "http://proxy"), ("no_proxy", enough)]);
            assert_eq!(set["NO_PROXY"], enough);
        }
    }

    fn targets(config: &WeaveConfig) -> [Option<String>; 2] {
        [&config.url, &config.wandb_url].map(|url| url.as_ref().map(ToString::to_string))
    }

    #[test]
    fn a_server_of_the_users_own_is_delivered_to() {
        let own = [(WANDB_BASE_URL, "https://wandb.corp"), (WF_TRACE_SERVER_URL, "http://t:1")];
        let mut config = WeaveConfig::default();
        take_over_targets(&mut config, lookup(&own)).unwrap();
        let [trace, wandb] = targets(&config);
        assert_eq!(
            (trace.unwrap(), wandb.unwrap()),
            ("http://t:1".into(), "https://wandb.corp".into())
        );

        // A setting wins, and is not mixed with the server of another one.
        let mut config =
            WeaveConfig { wandb_url: "http://b".parse().ok(), ..WeaveConfig::default() };
        take_over_targets(&mut config, lookup(&own)).unwrap();
        assert_eq!(targets(&config), [None, Some("http://b".into())]);
    }

    #[test]
    fn a_run_inside_a_run_delivers_to_the_server_and_not_to_the_outer_gateway() {
        let outer = child(&[]);
        let own = |name: &str| outer.get(name).map(OsString::from);
        let mut config = WeaveConfig::default();
        take_over_targets(&mut config, own).unwrap();
        assert_eq!(targets(&config), [None, None]);
    }

    #[test]
    fn an_address_that_is_none_is_named() {
        let own = lookup(&[(WANDB_BASE_URL, "wandb.corp")]);
        let error = take_over_targets(&mut WeaveConfig::default(), own).unwrap_err();
        assert!(error.to_string().contains("WANDB_BASE_URL is \"wandb.corp\""), "{error}");
    }

    #[test]
    fn each_server_has_a_folder() {
        assert_eq!(folder_of("https://trace.wandb.ai/"), "trace.wandb.ai");
        assert_eq!(folder_of("http://127.0.0.1:6345/"), "http_127.0.0.1_6345");
        assert_eq!(folder_of("https://own/../traces"), "own_.._traces");
    }
}
