//! Settings from outside: what the commands say of them, and what `serve` does with them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use backhaul_testkit::{FaultServer, Intake, hub_items};
use serde_json::Value;
use tempfile::tempdir;

use crate::support::{Hub, command, runs, wait_until};

fn write(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("backhaul.toml");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    path
}

fn ended(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn check_says_everything_that_is_wrong_and_ends_with_two() {
    let dir = tempdir().unwrap();
    let path = write(dir.path(), "max_retry = 3\ncap = \"1KB\"\n");
    let mut check = command(&["config", "check", "--config"]);
    let (code, stdout, stderr) = ended(check.arg(&path).env("BACKHAUL_LOG", "loud"));
    let place = path.display();
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert_eq!(
        stderr,
        format!(
            "backhaul: 3 things are wrong with the configuration:\n  \
             {place}:1:1: there is no key max_retry: did you mean max_retries?\n  \
             BACKHAUL_LOG is \"loud\": expected off, error, warn, info, debug or trace\n  \
             {place}:2:7: cap is 1KB: expected at least 65536 bytes\n"
        )
    );
    // A key that cannot be read would stop `serve` as well.
    write(dir.path(), "api_key_file = \"no-such-file\"");
    let (code, _, stderr) = ended(command(&["config", "check", "--config"]).arg(&path));
    assert_eq!(code, 2);
    assert!(stderr.contains("cannot read the secret in "), "{stderr}");

    write(dir.path(), "max_retries = 3");
    let mut check = command(&["config", "check"]);
    let check = check.env("BACKHAUL_CONFIG", &path).env("BACKHAUL_MAX_RETRY", "3");
    let (code, stdout, stderr) = ended(check);
    assert_eq!(
        (code, stdout),
        (0, format!("the configuration is sound: {place}, 1 settings given\n"))
    );
    let remark = "remark: BACKHAUL_MAX_RETRY is no setting: did you mean BACKHAUL_MAX_RETRIES?\n";
    assert_eq!(stderr, remark);
}

#[test]
fn show_lists_every_value_and_where_it_comes_from() {
    let dir = tempdir().unwrap();
    let path = write(dir.path(), "\nmax_retries = 5\napi_key = \"s3cret\"\n");
    let show = |more: &[&str]| {
        let mut show = command(&["config", "show", "--config"]);
        show.arg(&path).args(more).env("CEMAF_OFFLINE_MAX_QUEUE_MB", "7");
        ended(&mut show)
    };
    let (code, stdout, stderr) = show(&[]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let row = |name: &str| -> Vec<&str> {
        let line = stdout.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        line.split_whitespace().collect()
    };
    let place = path.display();
    assert_eq!(row("setting"), ["setting", "value", "from"]);
    assert_eq!(row("max_retries"), ["max_retries", "5", &format!("{place}:2")]);
    assert_eq!(row("max_queue_size_mb")[1..], ["7", "CEMAF_OFFLINE_MAX_QUEUE_MB"]);
    assert_eq!(row("backoff_max")[1..], ["1m", "default"]);
    assert_eq!(row("api_key")[1..], ["(set,", "not", "shown)", &format!("{place}:3")]);
    assert_eq!(stdout.lines().count(), backhaul::config::KEYS.len() + 1);

    let (code, json, _) = show(&["--json"]);
    let shown: Value = serde_json::from_str(&json).unwrap();
    let settings = &shown["settings"];
    assert_eq!((code, &shown["file"]), (0, &place.to_string().into()));
    assert_eq!(settings["max_retries"]["value"], 5);
    assert_eq!(settings["max_retries"]["from"], "file");
    assert_eq!(settings["max_retries"]["place"], format!("{place}:2"));
    assert_eq!(settings["max_queue_size_mb"]["from"], "environment");
    assert_eq!(
        (&settings["compress"]["value"], &settings["cap"]["value"]),
        (&true.into(), &Value::Null)
    );
    assert_eq!(settings.as_object().unwrap().len(), backhaul::config::KEYS.len());
    assert!(!json.contains("s3cret") && !stdout.contains("s3cret"));
}

#[test]
fn serve_does_what_its_file_says_unless_a_variable_or_a_flag_says_otherwise() {
    let dir = tempdir().unwrap();
    let path = write(dir.path(), "listen = \"127.0.0.1:0\"\ndata_dir = \"data\"\ncap = \"1MB\"");
    let cap = |more: &[&str], variable: &str| {
        let mut serve = command(&["serve", "--config"]);
        let hub = Hub::run(serve.arg(&path).args(more).env("BACKHAUL_CAP", variable));
        let page = hub.get("/metrics").body;
        let mut lines = page.lines();
        let cap =
            lines.find_map(|line| line.strip_prefix("backhaul_spool_cap_bytes{spool=\"runs\"} "));
        assert!(hub.terminate().1);
        cap.unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(cap(&[], ""), 1_000_000);
    assert_eq!(cap(&[], "2MB"), 2_000_000);
    assert_eq!(cap(&["--cap", "3MB"], "2MB"), 3_000_000);
    assert!(dir.path().join("data/runs").is_dir());
    // The other commands find the data dir there too.
    let (code, stdout, _) = ended(command(&["status", "--json", "--config"]).arg(&path));
    assert_eq!(code, 0);
    let status: Value = serde_json::from_str(&stdout).unwrap();
    assert!(status["spools"]["runs"].is_object(), "{stdout}");
}

#[test]
fn no_command_starts_with_a_bad_setting() {
    let dir = tempdir().unwrap();
    for arguments in [
        &["serve"][..],
        &["status"],
        &["queue", "list"],
        &["queue", "retry", "--all"],
        &["queue", "drop", "normal/1"],
        &["sync"],
        &["clean"],
        &["outage", "on"],
    ] {
        let mut bad = command(arguments);
        bad.env("CEMAF_OFFLINE_MAX_RETRIES", "-1").arg("--data-dir").arg(dir.path());
        let said = "backhaul: CEMAF_OFFLINE_MAX_RETRIES is \"-1\": expected a whole number\n";
        assert_eq!(ended(&mut bad), (2, String::new(), said.to_owned()), "{arguments:?}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn the_agents_queue_may_lie_outside_of_the_data_dir() {
    let dir = tempdir().unwrap();
    let queue = backhaul::offline::OfflineQueue::new(dir.path().join("elsewhere")).unwrap();
    drop(queue);
    let path = write(dir.path(), "data_dir = \".\"\nstorage_path = \"elsewhere\"");
    let (_, stdout, stderr) = ended(command(&["status", "--json", "--config"]).arg(&path));
    let status: Value = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stderr}"));
    assert_eq!(status["spools"]["offline"]["cap_bytes"], Value::Null);
    assert_eq!(status["spools"]["offline"]["pending"], 0);
}

#[test]
fn sighup_has_serve_read_its_settings_again() {
    let dir = tempdir().unwrap();
    let other = FaultServer::hub(&Intake::new()).unwrap();
    let to_other = format!("runs_url = \"http://{}\"", other.address());
    let sizes = || -> Vec<usize> {
        other.requests().iter().map(|request| hub_items(request).unwrap().len()).collect()
    };
    let path = write(dir.path(), &format!("{to_other}\nbatch_size = 1"));
    let hub = Hub::try_start(command(&["serve", "--config"]).arg(&path), dir.path());
    assert_eq!(hub.post(&runs(1..=3)).receipt(), (3, 0));
    wait_until(|| sizes().len() == 3);
    assert_eq!(sizes(), [1, 1, 1]);

    write(dir.path(), &format!("{to_other}\nbatch_size = 50\nmax_connections = 9\nlog = \"info\""));
    hub.signal("-HUP");
    hub.says("read the settings again");
    assert_eq!(hub.says("log"), "  log warn → info");
    assert_eq!(hub.says("batch_size"), "  batch_size 1 → 50");
    let kept = "  max_connections 1000 → 9: after a restart";
    assert_eq!(hub.says("max_connections"), kept);
    assert_eq!(hub.post(&runs(4..=6)).receipt(), (3, 0));
    wait_until(|| sizes().iter().sum::<usize>() == 6);
    assert_eq!(sizes()[3..], [1, 2], "from one it doubles");

    write(dir.path(), "batch_size = 0");
    hub.signal("-HUP");
    let said = hub.says("all settings stay as they are");
    let place = path.display();
    assert!(
        said.ends_with(&format!("{place}:1:14: batch_size is 0: expected at least 1")),
        "{said}"
    );
    drop(other);
    assert_eq!(hub.post(&runs(7..=7)).receipt(), (1, 0));
    // The level that was set before still holds.
    hub.says("nothing gets through");
    assert!(hub.terminate().1);
}
