//! The examples, run as a new user runs them: first with nothing around, then with a key and a
//! real Weave server.

use std::path::{Path, PathBuf};
use std::process::Command;

use backhaul::weave::{self, OfflineDataSyncer, SyncArguments};
use backhaul_testkit::WeaveServer;
use serde_json::Value;
use tempfile::{TempDir, tempdir};

/// A user's home, in which examples are run.
struct User {
    home: TempDir,
    server: Option<WeaveServer>,
}

impl User {
    fn new() -> Self {
        Self { home: tempdir().unwrap(), server: None }
    }

    fn with_a_server() -> Self {
        let home = tempdir().unwrap();
        let server = WeaveServer::start("0.52.42", &home.path().join("server.db")).unwrap();
        Self { home, server: Some(server) }
    }

    /// What an example says.
    #[track_caller]
    fn run(&self, example: &str) -> String {
        let mut command = Command::new(program(example));
        command.current_dir(self.home.path()).env("HOME", self.home.path());
        for variable in ["WANDB_API_KEY", "WANDB_BASE_URL", "WF_TRACE_SERVER_URL", "WANDB_ENTITY"] {
            command.env_remove(variable);
        }
        match &self.server {
            Some(server) => {
                let url = server.url();
                command.env("WANDB_BASE_URL", &url).env("WF_TRACE_SERVER_URL", &url);
                command.env("WANDB_API_KEY", "a-key");
            }
            // Nothing is there.
            None => drop(command.env("WANDB_BASE_URL", "http://127.0.0.1:9")),
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{example}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        said
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Names of the ops whose calls the server has in a project.
    fn ops_at_the_server(&self, project: &str) -> Vec<String> {
        let url = format!("{}/calls/stream_query", self.server.as_ref().unwrap().url());
        let asked = format!(r#"{{"project_id": "{project}"}}"#);
        let output = Command::new("curl")
            .args(["--silent", "--fail", "--user", "api:a-key", "--data", &asked, &url])
            .output()
            .unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        let op = |line: &str| {
            let call: Value = serde_json::from_str(line).unwrap();
            let name = call["op_name"].as_str().unwrap().to_owned();
            name.rsplit('/').next().unwrap().split(':').next().unwrap().to_owned()
        };
        let mut ops: Vec<String> = lines.lines().map(op).collect();
        ops.sort();
        ops
    }
}

/// An example that was built with this program.
pub(crate) fn program(example: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let built = own.parent().and_then(Path::parent).unwrap().join("examples").join(example);
    assert!(built.is_file(), "{} is missing: cargo build --examples", built.display());
    built
}

#[test]
fn without_a_network_or_a_login_all_examples_run_and_keep_what_they_log() {
    let user = User::new();
    let said = user.run("weave_quick_start");
    assert!(said.contains("my_function(3, 4) = 7"), "{said}");
    assert!(said.contains("Kept for later: no API key is known"), "{said}");
    assert!(user.path("offline_data/my_team/my_project/calls").is_dir());
    user.run("weave_edge_deployment");
    assert!(user.path(".weave/offline/offline/edge_project/calls").is_dir());
    let said = user.run("weave_field_research");
    assert!(
        said.contains("2 samples at weave:///offline/research_project/object/samples:"),
        "{said}"
    );
    assert!(said.contains("1 failed"), "{said}");
    let said = user.run("weave_development");
    assert!(said.contains("experimental_function(4) = 24"), "{said}");
    assert!(said.contains("      experimental_function({\"x\":1}) -> 1"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_key_and_a_server_all_of_it_gets_there() {
    let user = User::with_a_server();
    let said = user.run("weave_quick_start");
    assert!(said.contains("Synced 1 calls"), "{said}");
    assert_eq!(user.ops_at_the_server("my_team/my_project"), ["my_function"]);
    let said = user.run("weave_field_research");
    assert!(said.contains("feedback: 2 synced, 0 errors"), "{said}");
    assert_eq!(
        user.ops_at_the_server("local/research_project"),
        ["analyze_sample", "analyze_sample", "photograph"]
    );
    // It delivers in the background, and ends without waiting for that.
    user.run("weave_edge_deployment");
    let url = user.server.as_ref().unwrap().url();
    let arguments = SyncArguments {
        offline_dir: Some(user.path(".weave/offline")),
        api_key: Some("a-key".into()),
        trace_url: Some(url.clone()),
        wandb_url: Some(url),
        ..SyncArguments::default()
    };
    assert!(weave::sync_offline_data(arguments).await.unwrap().is_complete());
    assert_eq!(user.ops_at_the_server("local/edge_project"), ["process_sensor_data"]);
}

#[test]
fn what_was_delivered_a_moment_ago_is_not_cleaned_up_before_a_week_is_over() {
    let user = User::with_a_server();
    user.run("weave_quick_start");
    let delivered = |user: &User| {
        let calls = std::fs::read_dir(user.path("offline_data/my_team/my_project/calls")).unwrap();
        let names = calls.map(|entry| entry.unwrap().path());
        names.filter(|name| name.to_string_lossy().ends_with(".synced.jsonl.gz")).count()
    };
    assert_eq!(delivered(&user), 1);
    assert!(user.run("weave_cleaning_up").contains("Deleted 0 old synced files"));
    // As old as that is nothing here; whatever its age, it goes.
    let remote = weave::init_weave_get_server(Some("a-key".into())).unwrap();
    let syncer = OfflineDataSyncer::new(remote, user.path("offline_data")).unwrap();
    assert!(syncer.clean_synced_files(0).unwrap() > 0);
    assert_eq!(delivered(&user), 0);
}
