//! Settings, keys and variables, and an outage that was asked for.

use std::ffi::OsString;

use super::Patient;
use super::finding::Finding;
use super::network::uses_weave;
use crate::config::{SecretPlace, Settings, Source, URL_VARIABLE};
use crate::offline::OutageSwitch;

/// Those that are read are sound, or there were no patient.
pub(super) fn settings(patient: &Patient<'_>) -> Vec<Finding> {
    let settings = patient.settings;
    let given = settings.each().filter(|setting| *setting.source != Source::Default).count();
    let file = settings.file().map_or("no file".to_owned(), |file| file.display().to_string());
    let mut findings = vec![Finding::ok("settings", format!("{given} given, {file}"))];
    for unknown in Settings::unknown_variables() {
        findings.push(Finding::warning("settings", unknown, "unset it, or correct its name"));
    }
    findings
}

/// Which keys there are and where they come from, and those that cannot be read.
pub(super) fn credentials(patient: &Patient<'_>) -> Vec<Finding> {
    let config = patient.config;
    let mut findings = Vec::new();
    let hub = key(patient, "key of the hub", &config.offline.api_key, "api_key");
    if config.offline.runs_url.is_some() || hub.as_ref().is_some_and(|it| it.advice.is_some()) {
        let none = "none: fine for a hub that asks for none";
        findings.push(hub.unwrap_or_else(|| Finding::ok("key of the hub", none)));
    }
    findings.extend(key(patient, "token", &config.hub.token, "token"));
    if uses_weave(patient) {
        findings.push(of_weave(patient));
    }
    findings
}

/// A key that is in the settings.
fn key(patient: &Patient<'_>, check: &str, secret: &SecretPlace, name: &str) -> Option<Finding> {
    let source = match secret.value {
        Some(_) => patient.settings.source(name).to_string(),
        None => secret.file.as_ref()?.display().to_string(),
    };
    Some(match secret.find() {
        Ok(_) => Finding::ok(check, format!("found, from {source}")),
        Err(error) => Finding::problem(check, error, "name a file that holds it and can be read"),
    })
}

fn of_weave(patient: &Patient<'_>) -> Finding {
    const CHECK: &str = "weave key";
    let config = patient.config;
    if let Some(given) = key(patient, CHECK, &config.weave.api_key, "weave_api_key") {
        return given;
    }
    let Ok(remote) = config.weave.remote(&config.offline) else {
        return Finding::problem(CHECK, "the server's settings make no sense", "mend them");
    };
    match remote.credentials().key(remote.wandb_url()) {
        Ok(_) if super::own("WANDB_API_KEY").is_some() => {
            Finding::ok(CHECK, "found, from WANDB_API_KEY")
        }
        Ok(_) => Finding::ok(CHECK, "found, from netrc"),
        Err(error) => Finding::warning(
            CHECK,
            error.to_string(),
            "traces are stored, and wait until a client brings a key or one is set",
        ),
    }
}

/// Variables of Weave that are not what somebody thinks.
pub(super) fn environment(own: impl Fn(&str) -> Option<OsString>) -> Vec<Finding> {
    const CHECK: &str = "environment";
    let value = |name: &str| own(name).map(|value| value.to_string_lossy().into_owned());
    let is_on = |name: &str| {
        let value = value(name).unwrap_or_default().to_ascii_lowercase();
        ["1", "true", "yes", "on"].contains(&value.as_str())
    };
    let (base, trace) = (value("WANDB_BASE_URL"), value("WF_TRACE_SERVER_URL"));
    let mut findings = Vec::new();
    let mut warning = |found: &str, advice: &str| {
        findings.push(Finding::warning(CHECK, found, advice));
    };
    // Where WANDB_BASE_URL is set alone, clients send traces to `traces` below it.
    if base.is_none() && trace.is_some() {
        warning(
            "WF_TRACE_SERVER_URL is set and WANDB_BASE_URL is not: weave.init asks api.wandb.ai, \
             and fails without a network",
            "set both to the gateway, or use `backhaul run`, which does",
        );
    }
    if is_on("WEAVE_DISABLED") {
        warning("WEAVE_DISABLED is set: clients log nothing", "unset it");
    }
    if (base.is_some() || trace.is_some()) && own("WEAVE_SERVER_CACHE_DIR").is_none() {
        warning(
            "WEAVE_SERVER_CACHE_DIR is not set: clients that log to several servers share what \
             they remember to have sent, and leave it out",
            "set it to a folder for this server alone, or use `backhaul run`, which does",
        );
    }
    if is_on("WEAVE_ENABLE_WAL") {
        warning(
            "WEAVE_ENABLE_WAL is set: the client keeps a log of its own, which loses what fails",
            "unset it where clients log to a gateway",
        );
    }
    if findings.is_empty() {
        let inside = own(URL_VARIABLE).map_or("", |_| ", inside a `backhaul run`");
        findings.push(Finding::ok(CHECK, format!("nothing of Weave's that is in the way{inside}")));
    }
    findings
}

pub(super) fn outage(patient: &Patient<'_>) -> Finding {
    let switch = OutageSwitch::of(patient.data_dir.path(), patient.config.outage);
    match switch.report() {
        None => Finding::ok("outage", "none was asked for"),
        Some(outage) => Finding::warning(
            "outage",
            format!("nothing is sent: {outage}"),
            "`backhaul outage off` ends one that was switched on; else unset the setting `outage`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn warnings(own: &[(&str, &str)]) -> usize {
        let lookup = |wanted: &str| {
            own.iter().find(|(name, _)| *name == wanted).map(|(_, value)| OsString::from(value))
        };
        let findings = environment(lookup);
        findings.iter().filter(|finding| finding.level == Level::Warning).count()
    }

    #[test]
    fn each_trap_of_the_environment_is_seen() {
        let gateway = "http://127.0.0.1:7117";
        assert_eq!(warnings(&[]), 0);
        let cache = ("WEAVE_SERVER_CACHE_DIR", "/c");
        assert_eq!(warnings(&[("WANDB_BASE_URL", gateway), cache]), 0);
        assert_eq!(warnings(&[("WF_TRACE_SERVER_URL", gateway), cache]), 1);
        let both = [("WANDB_BASE_URL", gateway), ("WF_TRACE_SERVER_URL", gateway)];
        assert_eq!(warnings(&both), 1);
        assert_eq!(warnings(&[both[0], both[1], cache]), 0);
        assert_eq!(warnings(&[("WEAVE_DISABLED", "true")]), 1);
        assert_eq!(warnings(&[("WEAVE_DISABLED", "false")]), 0);
        assert_eq!(warnings(&[("WEAVE_ENABLE_WAL", "1")]), 1);
    }
}
