//! What a program is told of its gateway, in variables.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::Path;

use backhaul_llm::ApiKey;
use backhaul_weave::Credentials;

use crate::config::{Config, URL_VARIABLE, WebUrl};

const WANDB_BASE_URL: &str = "WANDB_BASE_URL";
const WF_TRACE_SERVER_URL: &str = "WF_TRACE_SERVER_URL";
const WANDB_API_KEY: &str = "WANDB_API_KEY";
const WEAVE_SERVER_CACHE_DIR: &str = "WEAVE_SERVER_CACHE_DIR";
const OPENAI_BASE_URL: &str = "OPENAI_BASE_URL";
/// What older clients, and libraries around them, call it.
const OPENAI_API_BASE: &str = "OPENAI_API_BASE";
const ANTHROPIC_BASE_URL: &str = "ANTHROPIC_BASE_URL";
/// Clients of models do not start without a key.
const MODEL_KEYS: [&str; 2] = ["OPENAI_API_KEY", "ANTHROPIC_API_KEY"];

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
        (OPENAI_BASE_URL, format!("{url}/v1").into()),
        (ANTHROPIC_BASE_URL, url.clone().into()),
    ];
    if own(OPENAI_API_BASE).is_some() {
        variables.push((OPENAI_API_BASE, format!("{url}/v1").into()));
    }
    for name in MODEL_KEYS.into_iter().filter(|name| own(name).is_none()) {
        variables.push((name, ApiKey::PLACEHOLDER.into()));
    }
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

/// A program that is told of servers of its own, by Weave's variables or by those of models,
/// is to reach them through its gateway: where no setting says others, they are what is
/// delivered to and asked. Those of an outer `backhaul run` name its gateway, and are left
/// out.
///
/// # Errors
/// Names the variable that holds no address.
pub(super) fn take_over_targets(
    config: &mut Config,
    own: impl Fn(&str) -> Option<OsString>,
) -> anyhow::Result<()> {
    let outer = own(URL_VARIABLE).map(|url| url.to_string_lossy().into_owned());
    let server = |name: &str| -> anyhow::Result<Option<WebUrl>> {
        let Some(url) = own(name) else { return Ok(None) };
        let url = url.to_string_lossy().trim().to_owned();
        let is_of_outer = outer.as_ref().is_some_and(|outer| url.starts_with(outer));
        if url.is_empty() || is_of_outer {
            return Ok(None);
        }
        let expected = "expected an http address";
        let parsed = url.parse().map_err(|_| anyhow::anyhow!("{name} is {url:?}: {expected}"))?;
        Ok(Some(parsed))
    };
    let weave = &mut config.weave;
    if weave.url.is_none() && weave.wandb_url.is_none() {
        weave.url = server(WF_TRACE_SERVER_URL)?;
    }
    if weave.wandb_url.is_none() {
        weave.wandb_url = server(WANDB_BASE_URL)?;
    }
    let models = &mut config.models;
    if models.primary.is_none() {
        models.primary = match server(OPENAI_BASE_URL)? {
            None => server(OPENAI_API_BASE)?,
            found => found,
        };
    }
    if models.anthropic_url.is_none() {
        models.anthropic_url = server(ANTHROPIC_BASE_URL)?;
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
        assert_eq!(set["OPENAI_BASE_URL"], "http://127.0.0.1:4000/v1");
        assert_eq!(set["OPENAI_API_KEY"], ApiKey::PLACEHOLDER);
        assert_eq!(set["ANTHROPIC_BASE_URL"], "http://127.0.0.1:4000");
        assert_eq!(set["ANTHROPIC_API_KEY"], ApiKey::PLACEHOLDER);
        assert_eq!(set.len(), 9);
    }

    #[test]
    fn what_the_user_has_set_himself_stays() {
        let keys = ["WANDB_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"];
        let own = keys.map(|name| (name, "mine"));
        let set = child(&[own.as_slice(), &[("WEAVE_SERVER_CACHE_DIR", "/mine")]].concat());
        for name in keys {
            assert!(!set.contains_key(name), "{name}");
        }
        assert!(!set.contains_key("WEAVE_SERVER_CACHE_DIR"));
    }

    #[test]
    fn a_library_that_looks_for_the_older_variable_comes_here_too() {
        assert!(!child(&[]).contains_key("OPENAI_API_BASE"));
        let set = child(&[("OPENAI_API_BASE", "http://gpu:8000/v1")]);
        assert_eq!(set["OPENAI_API_BASE"], set["OPENAI_BASE_URL"]);
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

    fn taken_over(own: &[(&str, &str)]) -> Config {
        let mut config = Config::default();
        take_over_targets(&mut config, lookup(own)).unwrap();
        config
    }

    fn targets(config: &Config) -> [Option<String>; 4] {
        let Config { weave, models, .. } = config;
        [&weave.url, &weave.wandb_url, &models.primary, &models.anthropic_url]
            .map(|url| url.as_ref().map(ToString::to_string))
    }

    #[test]
    fn servers_of_the_users_own_are_delivered_to_and_asked() {
        let own = [
            (WANDB_BASE_URL, "https://wandb.corp"),
            (WF_TRACE_SERVER_URL, "http://t:1"),
            (OPENAI_API_BASE, "http://gpu:8000/v1/"),
            (ANTHROPIC_BASE_URL, "http://claude.corp"),
        ];
        let expected =
            ["http://t:1", "https://wandb.corp", "http://gpu:8000/v1", "http://claude.corp"];
        assert_eq!(targets(&taken_over(&own)), expected.map(|url| Some(url.to_owned())));
        let newer = [own.as_slice(), &[(OPENAI_BASE_URL, "http://newer/v1")]].concat();
        assert_eq!(targets(&taken_over(&newer))[2], Some("http://newer/v1".to_owned()));
    }

    #[test]
    fn a_setting_wins_and_is_not_mixed_with_the_server_of_another_one() {
        let own = [(WF_TRACE_SERVER_URL, "http://t:1"), (OPENAI_BASE_URL, "http://gpu:8000/v1")];
        let mut config = Config::default();
        config.weave.wandb_url = "http://b".parse().ok();
        config.models.primary = "http://c/v1".parse().ok();
        take_over_targets(&mut config, lookup(&own)).unwrap();
        let [trace, wandb, primary, _] = targets(&config);
        assert_eq!((trace, wandb), (None, Some("http://b".into())));
        assert_eq!(primary, Some("http://c/v1".into()));
    }

    #[test]
    fn a_run_inside_a_run_asks_the_servers_and_not_the_outer_gateway() {
        let outer = child(&[]);
        let own = |name: &str| outer.get(name).map(OsString::from);
        let mut config = Config::default();
        take_over_targets(&mut config, own).unwrap();
        assert_eq!(targets(&config), [None, None, None, None]);
    }

    #[test]
    fn an_address_that_is_none_is_named() {
        let own = lookup(&[(WANDB_BASE_URL, "wandb.corp")]);
        let error = take_over_targets(&mut Config::default(), own).unwrap_err();
        assert!(error.to_string().contains("WANDB_BASE_URL is \"wandb.corp\""), "{error}");
    }

    #[test]
    fn each_server_has_a_folder() {
        assert_eq!(folder_of("https://trace.wandb.ai/"), "trace.wandb.ai");
        assert_eq!(folder_of("http://127.0.0.1:6345/"), "http_127.0.0.1_6345");
        assert_eq!(folder_of("https://own/../traces"), "own_.._traces");
    }
}
