//! Whether there is a link, and whether the servers at its other end answer.

use std::sync::Arc;
use std::time::Duration;

use backhaul_store::SystemClock;
use backhaul_sync::header::HeaderMap;
use backhaul_sync::{
    CheckUrl, HttpProbe, LinkError, LinkErrorKind, Method, Probe as _, ProbeBytes,
};
use backhaul_weave::Remote;
use serde_json::{Value, json};

use super::Patient;
use super::finding::Finding;
use crate::config::{HubUrl, Source};

/// What one look at the network, or at another process, may take.
pub(super) const BOUND: Duration = Duration::from_secs(3);

/// Enough for what a Weave server says of itself.
const ANSWER_BYTES: usize = 64 << 10;
/// Who the key belongs to.
const VIEWER: &str = "query DefaultEntity { viewer { username defaultEntity { name } } }";
/// The oldest trace server that what is delivered was tried with.
const OLDEST: [u64; 3] = [0, 52, 23];

/// All at once.
pub(super) async fn check(patient: &Patient<'_>) -> Vec<Finding> {
    let offline = &patient.config.offline;
    let (link, hub, weave) = tokio::join!(
        links(offline.connectivity.check_urls.clone()),
        hub(offline.runs_url.as_ref()),
        weave(patient),
    );
    link.into_iter().chain(hub).chain(weave).collect()
}

async fn links(urls: Vec<CheckUrl>) -> Vec<Finding> {
    if urls.is_empty() {
        let found = "no check_urls are set: requests that fail tell whether there is one";
        return vec![Finding::ok("link", found)];
    }
    let mut asked = tokio::task::JoinSet::new();
    for url in urls {
        asked.spawn(async move {
            let found = url.to_string();
            match probe(&url).await {
                Ok(()) => Finding::ok("link", format!("{found} answers")),
                Err(error) => Finding::problem(
                    "link",
                    format!("{found}: {error}"),
                    "look at the network of this device; what is stored waits until it is back",
                ),
            }
        });
    }
    asked.join_all().await
}

async fn probe(url: &CheckUrl) -> Result<(), String> {
    let probe = HttpProbe::new(Arc::new(SystemClock::new()));
    let bytes = Arc::new(ProbeBytes::default());
    match tokio::time::timeout(BOUND, probe.check(url, &bytes)).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(no_answer()),
    }
}

fn no_answer() -> String {
    format!("no answer within {} seconds", BOUND.as_secs())
}

/// The hub of run records.
async fn hub(url: Option<&HubUrl>) -> Option<Finding> {
    const CHECK: &str = "runs hub";
    // Shown without a user and a password, which a look at its health needs neither.
    let shown = url?.to_string();
    let health = format!("{shown}/healthz").parse::<CheckUrl>();
    let answer = match health {
        Ok(health) => probe(&health.expecting("{\"ok\"")).await,
        Err(error) => Err(error.to_string()),
    };
    Some(match answer {
        Ok(()) => Finding::ok(CHECK, format!("{shown} answers")),
        Err(reason) => Finding::problem(
            CHECK,
            format!("{shown}: {reason}"),
            "check runs_url and the hub; run records wait until it answers",
        ),
    })
}

/// Whether there is data of Weave's, or a server was named.
pub(super) fn uses_weave(patient: &Patient<'_>) -> bool {
    let is_named = |name| *patient.settings.source(name) != Source::Default;
    let has_data = || patient.config.weave.dir.as_ref().is_some_and(|dir| dir.is_dir());
    is_named("weave_url") || is_named("wandb_url") || has_data()
}

/// The trace server, and whose key it is.
async fn weave(patient: &Patient<'_>) -> Vec<Finding> {
    let config = patient.config;
    if !uses_weave(patient) {
        return vec![Finding::ok("weave", "not used: no data, and no weave_url")];
    }
    match config.weave.remote(&config.offline) {
        Err(error) => {
            vec![Finding::problem("weave", error.to_string(), "mend the setting")]
        }
        // Without a key nothing is asked: the check of credentials says so.
        Ok(remote) if remote.credentials().key(remote.wandb_url()).is_err() => Vec::new(),
        Ok(remote) => {
            let (server, viewer) = tokio::join!(server(&remote), viewer(&remote));
            vec![server, viewer]
        }
    }
}

async fn server(remote: &Remote) -> Finding {
    const CHECK: &str = "weave server";
    let shown = backhaul_sync::shown_url(remote.trace_url().as_str());
    let asked = async {
        let path = "/server_info";
        let headers = HeaderMap::new();
        let body = Default::default();
        let answer = remote.send(Method::GET, path, headers, body, ANSWER_BYTES, None).await?;
        let info: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        match (answer.status, info.get("trace_server_version").and_then(Value::as_str)) {
            (200, version) if info.is_object() => Ok(version.map(ToOwned::to_owned)),
            (status, _) => Err(LinkError::of_status(status, "no Weave server's answer")),
        }
    };
    match tokio::time::timeout(BOUND, asked).await {
        Ok(Ok(version)) => version_of_server(CHECK, &shown, version.as_deref()),
        Ok(Err(error)) => refused(CHECK, &shown, &error),
        Err(_) => unanswered(CHECK, &shown),
    }
}

fn version_of_server(check: &str, shown: &str, version: Option<&str>) -> Finding {
    let Some(version) = version else {
        return Finding::ok(check, format!("{shown} answers, and says no version"));
    };
    let mut numbers = version.split('.').map_while(|number| number.parse::<u64>().ok());
    let numbers: [u64; 3] = std::array::from_fn(|_| numbers.next().unwrap_or(0));
    if numbers < OLDEST {
        let [major, minor, patch] = OLDEST;
        return Finding::warning(
            check,
            format!("{shown} is version {version}, older than {major}.{minor}.{patch}"),
            "it was not tried with one so old: look at what `backhaul sync` refuses",
        );
    }
    Finding::ok(check, format!("{shown} answers, version {version}"))
}

async fn viewer(remote: &Remote) -> Finding {
    const CHECK: &str = "weave user";
    let shown = backhaul_sync::shown_url(remote.wandb_url().as_str());
    match tokio::time::timeout(BOUND, remote.graphql(VIEWER, json!({}))).await {
        Ok(Ok(data)) => match data["viewer"]["username"].as_str() {
            Some(user) => {
                let entity = data["viewer"]["defaultEntity"]["name"].as_str().unwrap_or(user);
                Finding::ok(CHECK, format!("the key is {user}'s, entity {entity}"))
            }
            None => Finding::problem(CHECK, format!("{shown} does not know the key"), NEW_KEY),
        },
        Ok(Err(error)) => refused(CHECK, &shown, &error),
        Err(_) => unanswered(CHECK, &shown),
    }
}

const NEW_KEY: &str = "set the key of this server: weave_api_key_file, WANDB_API_KEY, or ~/.netrc";

fn refused(check: &str, shown: &str, error: &LinkError) -> Finding {
    let advice = match (error.kind(), error.status()) {
        (LinkErrorKind::Refused, Some(401 | 403)) => NEW_KEY,
        (LinkErrorKind::Refused, _) => "check weave_url and wandb_url: there is no Weave server",
        _ => "look at the link and the server; traces wait until it answers",
    };
    Finding::problem(check, format!("{shown}: {error}"), advice)
}

fn unanswered(check: &str, shown: &str) -> Finding {
    let advice = "look at the link and the server; traces wait until it answers";
    Finding::problem(check, format!("{shown}: {}", no_answer()), advice)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use backhaul_sync::Transport;
    use backhaul_weave::Credentials;

    use super::super::finding::Level;
    use super::*;

    /// Answers each request with this.
    fn answering(status: u16, body: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let _ = stream.read(&mut [0; 4096]);
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
                );
                let _ = stream.write_all(format!("{head}{body}").as_bytes());
            }
        });
        url
    }

    fn remote(url: &str) -> Remote {
        let transport = Transport::new(Duration::from_secs(60)).unwrap();
        Remote::new(transport, Some(url), Some(url), Credentials::new(Some("k".into()))).unwrap()
    }

    #[tokio::test]
    async fn a_hub_has_to_answer_as_one() {
        let level = async |url: &str| hub(Some(&url.parse().unwrap())).await.unwrap().level;
        assert_eq!(level(&answering(200, "{\"ok\":true}")).await, Level::Ok);
        assert_eq!(level(&answering(200, "<html>log in")).await, Level::Problem);
        assert_eq!(level("http://127.0.0.1:9").await, Level::Problem);
        assert_eq!(hub(None).await, None);
    }

    #[tokio::test]
    async fn a_link_that_is_down_is_a_problem() {
        let up: CheckUrl = answering(204, "").parse().unwrap();
        let down: CheckUrl = "http://127.0.0.1:9".parse().unwrap();
        assert_eq!(links(vec![up]).await[0].level, Level::Ok);
        assert_eq!(links(vec![down]).await[0].level, Level::Problem);
        assert_eq!(links(Vec::new()).await[0].level, Level::Ok);
    }

    #[tokio::test]
    async fn the_weave_server_says_what_it_is() {
        let version = async |body| server(&remote(&answering(200, body))).await;
        let ok = version("{\"trace_server_version\": \"0.54.0\"}").await;
        assert_eq!(ok.level, Level::Ok, "{ok:?}");
        assert!(ok.found.contains("0.54.0"), "{ok:?}");
        let old = version("{\"trace_server_version\": \"0.51.1\"}").await;
        assert_eq!(old.level, Level::Warning, "{old:?}");
        assert_eq!(version("<html>log in").await.level, Level::Problem);
        let elsewhere = server(&remote(&answering(404, "{}"))).await;
        assert!(elsewhere.advice.unwrap().contains("no Weave server"));
    }

    #[tokio::test]
    async fn a_key_that_is_not_known_is_said_and_never_shown() {
        let known = viewer(&remote(&answering(
            200,
            "{\"data\": {\"viewer\": {\"username\": \"ann\", \"defaultEntity\": {\"name\": \"team\"}}}}",
        )))
        .await;
        assert_eq!(
            (known.level, known.found.as_str()),
            (Level::Ok, "the key is ann's, entity team")
        );
        for (status, body) in [(200, "{\"data\": {\"viewer\": null}}"), (401, "{}")] {
            let unknown = viewer(&remote(&answering(status, body))).await;
            assert_eq!(unknown.level, Level::Problem, "{unknown:?}");
            assert_eq!(unknown.advice.as_deref(), Some(NEW_KEY), "{unknown:?}");
        }
    }
}
