//! Every setting from every source, and every mistake with its words.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use backhaul_store::Lane;
use backhaul_sync::Entry;
use tempfile::TempDir;

use super::environment::Environment;
use super::key::{Field, Key};
use super::keys::called;
use super::kind::{Facts, Given, Kind};
use super::{Config, ConfigError, Group, KEYS, Request, Settings, Source, reference};

/// A value for each setting that is not its default: how it stands in a variable or a
/// flag, in the file, and how it is shown.
#[rustfmt::skip]
const SAMPLES: &[(&str, &str, &str, &str)] = &[
    ("data_dir", "/d", "\"/d\"", "/d"),
    ("log", "DEBUG", "\"debug\"", "debug"),
    ("outage", " 10m ", "\"10m\"", "10m"),
    ("when_full", "drop-oldest", "'drop-oldest'", "drop-oldest"),
    ("flush", "5s", "\"5s\"", "5s"),
    ("keep_synced", "0s", "\"0s\"", "0s"),
    ("min_free", "1.5MB", "\"1.5MB\"", "1500KB"),
    ("storage_path", "/q", "\"/q\"", "/q"),
    ("max_queue_size_mb", "1", "1", "1"),
    ("expires_after", "30d", "\"30d\"", "30d"),
    ("hold_in_memory", "64000", "\"64000\"", "64KB"),
    ("runs_url", "https://hub/v1/runs", "\"https://me:pw@hub/\"", "https://hub"),
    ("api_key", " s3cret ", "\"s3cret\"", "(set, not shown)"),
    ("api_key_file", "/k", "\"/k\"", "/k"),
    ("compress", "0", "false", "false"),
    ("delivery_timeout", "10m", "\"600s\"", "10m"),
    ("daily_limit_mb", "100", "100", "100"),
    ("priority_reserve_mb", "5", "5", "5"),
    ("refill", "daily at 06:30", "\"daily at 06:30\"", "daily at 06:30"),
    ("oversized", "summary", "\"summary\"", "summary"),
    ("rate_limit_kbps", "50", "50", "50"),
    ("bandwidth_path", "/b", "\"/b\"", "/b"),
    ("drain_timeout", "0s", "\"0s\"", "0s"),
    ("sync_interval_seconds", "5", "5", "5"),
    ("batch_size", " 7 ", "7", "7"),
    ("batch_bytes", "1000", "1_000", "1000"),
    ("max_retries", "0", "0x0", "0"),
    ("backoff_strategy", "fibonacci", "\"fibonacci\"", "fibonacci"),
    ("backoff_initial", "500ms", "\"500ms\"", "500ms"),
    ("backoff_max", "1h", "\"1h\"", "1h"),
    ("backoff_multiplier", "3", "3", "3"),
    ("backoff_jitter", "off", "false", "false"),
    ("fleet_spread_seconds", "60", "60", "60"),
    ("check_urls", "http://a/x?k=s, https://b", "[\"http://a/x\", { url = 'https://b', expect = 'ok' }]", "http://a/x https://b/"),
    ("check_rule", "all", "\"all\"", "all"),
    ("check_interval_seconds", "10", "10", "10"),
    ("check_stable_interval_seconds", "400", "400", "400"),
    ("check_retry_interval", "500ms", "\"500ms\"", "500ms"),
    ("check_timeout_seconds", "9", "9", "9"),
    ("failures_to_go_offline", "3", "3", "3"),
    ("successes_to_go_online", "2", "2", "2"),
    ("min_online", "0s", "\"0s\"", "0s"),
    ("min_offline", "1s", "\"1s\"", "1s"),
    ("rules", RULE, "[{ name = 'size', field = 'size_kb', points_per_unit = 1.5 }]", RULE),
    ("critical_score", "500", "5e2", "500"),
    ("high_score", "50.5", "50.5", "50.5"),
    ("normal_score", "-1", "-1", "-1"),
    ("low_score", "-7", "-7", "-7"),
    ("rules_window_records", "16", "16", "16"),
    ("rules_window_bytes", "1000", "1_000", "1000"),
    ("oldest_every", "5", "5", "5"),
    ("listen", "[::1]:0", "\"[::1]:0\"", "[::1]:0"),
    ("token", "s3cret", "\"s3cret\"", "(set, not shown)"),
    ("token_file", "/t", "\"/t\"", "/t"),
    ("cap", "1GB", "\"1000MB\"", "1GB"),
    ("max_connections", "1", "1", "1"),
    ("records_per_second", "300", "300", "300"),
    ("request_timeout", "2m", "\"120s\"", "2m"),
    ("remember_keys", "36h", "\"36h\"", "36h"),
    ("weave_dir", "/w", "\"/w\"", "/w"),
    ("weave_url", "https://weave/traces/", "\"https://weave/traces\"", "https://weave/traces"),
    ("wandb_url", "http://wandb:1", "\"http://wandb:1/\"", "http://wandb:1"),
    ("weave_api_key", " s3cret ", "\"s3cret\"", "(set, not shown)"),
    ("weave_api_key_file", "/k", "\"/k\"", "/k"),
    ("weave_compress", "no", "false", "false"),
    ("weave_max_file_size", "16MB", "\"16MB\"", "16MB"),
    ("weave_cap", "5GB", "\"5GB\"", "5GB"),
    ("weave_keep_synced", "30d", "\"30d\"", "30d"),
    ("llm_primary", "http://gpu:8000/v1/", "\"http://gpu:8000/v1\"", "http://gpu:8000/v1"),
    ("llm_api_key", "s3cret", "\"s3cret\"", "(set, not shown)"),
    ("llm_api_key_file", "/k", "\"/k\"", "/k"),
    ("llm_fallback", "http://127.0.0.1:1/v1, /m/a.gguf", "[\"http://127.0.0.1:1/v1\", '/m/a.gguf']", "http://127.0.0.1:1/v1 /m/a.gguf"),
    ("llm_fallback_model", "llama3.2:3b", "\"llama3.2:3b\"", "llama3.2:3b"),
    ("llm_timeout_seconds", "2.5", "2.5", "2.5"),
    ("llm_answer_timeout_seconds", "90", "90", "90"),
    ("llm_idle_timeout_seconds", "20", "20", "20"),
    ("llm_max_retries", "0", "0", "0"),
    ("llm_fall_back_on", "unreachable busy", "['unreachable', 'busy']", "unreachable busy"),
    ("llm_fallback_budget_ratio", "0.25", "0.25", "0.25"),
    ("llm_fallback_calls", "2", "2", "2"),
    ("llm_anthropic_url", "http://a:1", "\"http://a:1\"", "http://a:1"),
    ("llm_record", "metadata", "\"metadata\"", "metadata"),
    ("llm_redact", "[0-9]{16}", "['[0-9]{16}']", "[\"[0-9]{16}\"]"),
    ("llm_cache", "50MB", "\"50MB\"", "50MB"),
    ("llm_cache_age", "7d", "\"7d\"", "7d"),
];

const RULE: &str = r#"[{"name":"size","field":"size_kb","points_per_unit":1.5}]"#;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("backhaul.toml")
    }

    /// Writes the file, for its owner alone.
    fn write(&self, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        path
    }
}

/// An environment with no file in its usual place.
fn environment(variables: &[(&str, &str)]) -> Environment {
    let nowhere = ("XDG_CONFIG_HOME", "/nonexistent");
    [nowhere].iter().chain(variables).copied().collect()
}

fn load(request: Request, variables: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    Settings::load_in(request, &environment(variables))
}

/// What is said of a file, with the folder left out.
fn said_of(text: impl AsRef<[u8]>) -> Vec<String> {
    let folder = Folder::new();
    let error = load(Request::new().file(folder.write(text)), &[]).unwrap_err();
    let place = format!("{}/", folder.0.path().display());
    error.problems().iter().map(|problem| problem.replace(&place, "")).collect()
}

fn variable(prefix: &str, name: &str) -> String {
    format!("{prefix}{}", name.to_uppercase())
}

fn shown(settings: &Settings, name: &str) -> (String, Source) {
    let setting = settings.each().find(|setting| setting.key.name() == name).unwrap();
    (setting.shown(), setting.source.clone())
}

// --- Lists -------------------------------------------------------------------

#[test]
fn addresses_are_a_list_in_the_file_and_words_or_json_in_a_variable() {
    let expected = ["http://a/", "https://b/"];
    let folder = Folder::new();
    let path = folder.write("check_urls = ['http://a', { url = 'https://b', expect = 'ok' }]");
    let of_file = load(Request::new().file(path), &[]).unwrap();
    let of_words = load(Request::new(), &[("BACKHAUL_CHECK_URLS", " http://a https://b,")]);
    let json = r#"["http://a", {"url": "https://b", "expect": "ok"}]"#;
    let of_json = load(Request::new(), &[("CEMAF_OFFLINE_CHECK_URLS", json)]).unwrap();
    for settings in [of_file, of_words.unwrap(), of_json] {
        let urls = &settings.config().offline.connectivity.check_urls;
        let shown: Vec<String> = urls.iter().map(ToString::to_string).collect();
        assert_eq!(shown, expected);
    }
}

#[test]
fn rules_stand_at_the_end_of_the_file_and_choose() {
    let folder = Folder::new();
    let path = folder.write(
        "oldest_every = 5\nhigh_score = 50\n[[rules]]\nname = 'failed'\nfield = 'success'\n\
         compare = '=='\nvalue = false\npoints = 80\n\n[[rules]]\nname = 'old'\n\
         field = 'enqueued_at'\ncompare = '<'\nvalue = 2020-01-01T00:00:00Z\npoints = 7\n",
    );
    let settings = load(Request::new().file(path), &[]).unwrap();
    let prioritizer = settings.config().offline.prioritizer().unwrap().unwrap();
    let failed = Entry { success: false, ..Entry::default() };
    assert_eq!(prioritizer.lane(&failed), Lane::High);
    // What has no time was stored in 1970.
    assert_eq!((prioritizer.score(&failed), prioritizer.score(&Entry::default())), (87.0, 7.0));
    let variables = [("BACKHAUL_RULES", "[]")];
    assert!(
        load(Request::new(), &variables).unwrap().config().offline.prioritizer().unwrap().is_none()
    );
}

#[test]
fn a_mistake_in_a_list_is_named_where_it_stands() {
    for (text, problem) in [
        (
            "check_urls = ['ftp://a']",
            "1:14: check_urls is ['ftp://a']: expected addresses, such as https://hub/healthz, in the file as a list",
        ),
        (
            "check_urls = [{ url = 'http://a' }]",
            "1:14: check_urls is [{ url = 'http://a' }]: expected addresses, such as https://hub/healthz, in the file as a list",
        ),
        (
            "rules = 'size'",
            "1:9: rules is 'size': expected a list of rules, each with name, field and what it gives",
        ),
        (
            "\n[[rules]]\nname = 'size'\nfield = 'size_kb'\npionts = 1",
            "2:1: rules has a mistake: rule \"size\": unknown field `pionts`, expected one of `name`, `field`, `compare`, `value`, `points`, `points_per_unit`, `cap`, `points_divided`",
        ),
        (
            "[[rules]]\nname = 'size'\nfield = 'size'\npoints_per_unit = 1",
            "1:1: rules has a mistake: rule \"size\": there is no field \"size\": expected run_id, metadata.KEY, age_hours, size_kb, success, attempts, enqueued_at or critical",
        ),
        ("max_retries = ['1']", "1:15: max_retries is ['1']: expected a whole number"),
    ] {
        assert_eq!(said_of(text), [format!("backhaul.toml:{problem}")], "{text}");
    }
}

#[test]
fn options_of_lists_and_links_are_called_by_their_keys() {
    for (text, problem) in [
        ("check_timeout_seconds = 0", "1:25: check_timeout_seconds is 0: expected at least 1"),
        ("rules_window_records = 5000", "1:24: rules_window_records is 5000: expected 1 to 4096"),
        (
            "high_score = 2000",
            "1:14: high_score is 2000: expected less than that of the lane before",
        ),
    ] {
        let [said] = said_of(text).try_into().unwrap();
        assert!(said.ends_with(problem), "{text}: {said}");
    }
}

// --- Every setting -----------------------------------------------------------

/// Whether a setting reads into a field of its own, and shows, compares and copies it.
fn is_wired(key: &Key, text: &str, expected: &str) -> Result<(), String> {
    let (default, mut config) = (Config::default(), Config::default());
    let given = Given { text: OsStr::new(text), base: None };
    key.read(&mut config, given).ok_or("it is not read")?;
    let found = key.shown(&config);
    let ensure = |is_so, what: &str| if is_so { Ok(()) } else { Err(what.to_owned()) };
    ensure(found == expected, &format!("it shows {found}"))?;
    ensure(found != key.default(), "the sample is the default")?;
    ensure(!key.is_same(&config, &default), "a change is not seen")?;
    let mut copy = Config::default();
    key.copy(&config, &mut copy);
    ensure(copy == config, "it copies something else")?;
    key.reset(&mut copy);
    ensure(copy == default, "it does not go back to its default")
}

#[test]
fn every_setting_has_a_field_of_its_own() {
    let names: Vec<&str> = KEYS.iter().map(Key::name).collect();
    let sampled: Vec<&str> = SAMPLES.iter().map(|(name, ..)| *name).collect();
    assert_eq!(sampled, names, "each setting needs a sample");
    for (name, text, _, expected) in SAMPLES {
        assert_eq!(is_wired(called(name).unwrap(), text, expected), Ok(()), "{name}");
    }
}

#[test]
fn a_setting_that_is_wired_wrongly_is_found_out() {
    let sound = Field {
        facts: |config| Facts::of(&config.offline.compress),
        read: |config, given| {
            config.offline.compress = Kind::read(given)?;
            Some(())
        },
        text: |config| config.offline.compress.text(),
        copy: |from, to| to.offline.compress = from.offline.compress,
        is_same: |one, other| one.offline.compress == other.offline.compress,
    };
    let wired = |field| is_wired(&Key::new(Group::Device, "x", "", field), "false", "false");
    assert_eq!(wired(sound), Ok(()));
    for broken in [
        Field { read: |_, _| Some(()), ..sound },
        Field { read: |_, _| None, ..sound },
        Field { text: |_| None, ..sound },
        Field { copy: |_, _| {}, ..sound },
        Field { copy: |_, to| to.offline.max_queue_size_mb = 7, ..sound },
        Field { is_same: |_, _| true, ..sound },
    ] {
        assert!(wired(broken).is_err());
    }
}

#[test]
fn every_setting_is_read_from_the_file_from_variables_and_from_flags() {
    let folder = Folder::new();
    for (name, text, toml, expected) in SAMPLES {
        // A reserve makes sense within a cap alone.
        let cap = (*name == "priority_reserve_mb").then_some("50");
        let cap_line = cap.map(|cap| format!("daily_limit_mb = {cap}\n")).unwrap_or_default();
        let path = folder.write(format!("# a comment\n{name} = {toml}\n{cap_line}"));
        let column = name.len() + 4;
        let from_file = load(Request::new().file(&path), &[]).unwrap();
        let place = Source::File { path, line: 2, column };
        assert_eq!(shown(&from_file, name), ((*expected).to_owned(), place));

        for prefix in ["BACKHAUL_", "CEMAF_OFFLINE_"] {
            let variable = variable(prefix, name);
            let request = Request::new().flag("daily_limit_mb", cap);
            let from_variable = load(request, &[(&variable, text)]).unwrap();
            let place = Source::Variable(variable.clone());
            assert_eq!(shown(&from_variable, name), ((*expected).to_owned(), place));
        }

        let with_cap = Request::new().flag("daily_limit_mb", cap);
        let from_flag = load(with_cap.flag(name, Some(text)), &[]).unwrap();
        let place = Source::Flag(format!("--{}", name.replace('_', "-")));
        assert_eq!(shown(&from_flag, name), ((*expected).to_owned(), place));
    }
}

#[test]
fn what_nobody_sets_has_its_default() {
    let settings = load(Request::new(), &[]).unwrap();
    let derived = ["data_dir", "storage_path", "bandwidth_path", "weave_dir"];
    for setting in settings.each().filter(|setting| !derived.contains(&setting.key.name())) {
        assert_eq!(setting.shown(), setting.key.default());
        assert_eq!(setting.source, &Source::Default);
    }
    let home = std::env::home_dir().unwrap().join(".local/share/backhaul");
    assert_eq!(settings.config().data_dir, Some(home.clone()));
    assert_eq!(settings.config().offline.storage_path, Some(home.join("offline")));
    assert_eq!(settings.config().weave.dir, backhaul_weave::OfflineTraceServer::default_dir());
    assert_eq!(
        settings.config().offline.sync,
        backhaul_sync::SyncOptions { batch_size: Some(50), ..Default::default() }
    );
}

// --- Which source counts -----------------------------------------------------

#[test]
fn flags_win_over_variables_over_the_file_over_defaults() {
    let folder = Folder::new();
    let path = folder.write("cap = \"1MB\"");
    let flag = Request::new().file(&path).flag("cap", Some("4MB"));
    let plain = Request::new().file(&path);
    let (ours, theirs) = (("BACKHAUL_CAP", "3MB"), ("CEMAF_OFFLINE_CAP", "2MB"));
    for (request, variables, cap) in [
        (&flag, &[ours, theirs][..], "4MB"),
        (&plain, &[ours, theirs], "3MB"),
        (&plain, &[theirs], "2MB"),
        (&plain, &[("BACKHAUL_CAP", " "), theirs], "2MB"),
        (&plain, &[("BACKHAUL_CAP", "")], "1MB"),
        (&Request::new(), &[], "as long as the disk has room"),
    ] {
        let settings = load(request.clone(), variables).unwrap();
        assert_eq!(shown(&settings, "cap").0, cap, "{variables:?}");
    }
}

#[test]
fn the_names_of_the_document_and_their_long_forms_are_read() {
    for (name, value, key, expected) in [
        ("CEMAF_OFFLINE_STORAGE_PATH", "/var/cemaf/offline", "storage_path", "/var/cemaf/offline"),
        ("CEMAF_OFFLINE_MAX_QUEUE_MB", "1", "max_queue_size_mb", "1"),
        ("CEMAF_OFFLINE_MAX_QUEUE_SIZE_MB", "2", "max_queue_size_mb", "2"),
        ("BACKHAUL_MAX_QUEUE_MB", "3", "max_queue_size_mb", "3"),
        ("CEMAF_OFFLINE_API_URL", "http://hub", "runs_url", "http://hub"),
        ("BACKHAUL_SYNC_BATCH_SIZE", "9", "batch_size", "9"),
    ] {
        let settings = load(Request::new(), &[(name, value)]).unwrap();
        let place = Source::Variable(name.to_owned());
        assert_eq!(shown(&settings, key), (expected.to_owned(), place));
    }
}

#[test]
fn the_file_is_the_one_that_is_named_else_that_in_the_usual_place() {
    let folder = Folder::new();
    let named = folder.write("max_retries = 1");
    let usual = folder.0.path().join("backhaul/backhaul.toml");
    std::fs::create_dir(usual.parent().unwrap()).unwrap();
    std::fs::write(&usual, "max_retries = 2").unwrap();
    let home = ("XDG_CONFIG_HOME", folder.0.path().to_str().unwrap());
    let variable = ("BACKHAUL_CONFIG", named.to_str().unwrap());
    for (request, variables, retries) in [
        (Request::new().file("/dev/null"), &[home, variable][..], 3),
        (Request::new(), &[home, variable], 1),
        (Request::new(), &[home, ("BACKHAUL_CONFIG", "")], 2),
        (Request::new(), &[], 3),
    ] {
        let settings = load(request, variables).unwrap();
        assert_eq!(settings.config().offline.sync.max_retries, retries, "{variables:?}");
    }
    let error = load(Request::new(), &[("BACKHAUL_CONFIG", "/no/such.toml")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot read /no/such.toml: No such file or directory (os error 2)"
    );
}

#[test]
fn paths_in_a_file_are_relative_to_it() {
    let folder = Folder::new();
    let path =
        folder.write("data_dir = \"data\"\nstorage_path = \"~/queue\"\napi_key_file = \"/k\"");
    let settings = load(Request::new().file(path), &[("BACKHAUL_TOKEN_FILE", "t")]).unwrap();
    let config = settings.config();
    assert_eq!(config.data_dir, Some(folder.0.path().join("data")));
    assert_eq!(config.offline.storage_path, Some(std::env::home_dir().unwrap().join("queue")));
    assert_eq!(config.offline.api_key.file.as_deref(), Some(Path::new("/k")));
    assert_eq!(config.hub.token.file.as_deref(), Some(Path::new("t")));
}

#[test]
fn the_data_of_weave_is_where_its_document_says_unless_a_data_dir_is_named() {
    let dir_of = |request: Request, variables: &[(&str, &str)]| {
        load(request, variables).unwrap().config().weave.dir.clone().unwrap()
    };
    let data_dir = ("BACKHAUL_DATA_DIR", "/d");
    let weave_dir = ("BACKHAUL_OFFLINE_DIR", "/w");
    let of_document = backhaul_weave::OfflineTraceServer::default_dir().unwrap();
    assert_eq!(dir_of(Request::new(), &[]), of_document);
    assert_eq!(dir_of(Request::new(), &[data_dir]), Path::new("/d/weave"));
    assert_eq!(dir_of(Request::new(), &[data_dir, weave_dir]), Path::new("/w"));
    let flag = Request::new().flag("data_dir", Some("/other"));
    assert_eq!(dir_of(flag.clone(), &[data_dir, weave_dir]), Path::new("/other/weave"));
    let flags = flag.flag("weave_dir", Some("/mine"));
    assert_eq!(dir_of(flags, &[]), Path::new("/mine"));
}

#[test]
fn the_queue_is_in_the_data_dir_unless_it_is_named() {
    let queue_of = |request, variables: &[(&str, &str)]| {
        load(request, variables).unwrap().config().offline.storage_path.clone().unwrap()
    };
    let data_dir = ("BACKHAUL_DATA_DIR", "/d");
    let queue = ("BACKHAUL_STORAGE_PATH", "/q");
    assert_eq!(queue_of(Request::new(), &[data_dir]), Path::new("/d/offline"));
    assert_eq!(queue_of(Request::new(), &[data_dir, queue]), Path::new("/q"));
    // Who says a data dir on the command line means everything in it.
    let flag = Request::new().flag("data_dir", Some("/other"));
    assert_eq!(queue_of(flag, &[data_dir, queue]), Path::new("/other/offline"));
}

// --- Mistakes ----------------------------------------------------------------

#[test]
#[rustfmt::skip]
fn a_bad_variable_is_named_with_what_was_found_and_expected() {
    for (name, value, said) in [
        ("BACKHAUL_LOG", "loud", "BACKHAUL_LOG is \"loud\": expected off, error, warn, info, debug or trace"),
        ("BACKHAUL_OUTAGE", "0s", "BACKHAUL_OUTAGE is \"0s\": expected on, off, or a time of more than nothing, such as 10m"),
        ("BACKHAUL_MAX_QUEUE_MB", "100MB", "BACKHAUL_MAX_QUEUE_MB is \"100MB\": expected a whole number"),
        ("CEMAF_OFFLINE_MAX_QUEUE_MB", "-1", "CEMAF_OFFLINE_MAX_QUEUE_MB is \"-1\": expected a whole number"),
        ("CEMAF_OFFLINE_MAX_QUEUE_MB", "0", "CEMAF_OFFLINE_MAX_QUEUE_MB is 0: expected at least 1"),
        ("BACKHAUL_MAX_QUEUE_SIZE_MB", "18446744073710", "BACKHAUL_MAX_QUEUE_SIZE_MB is 18446744073710: expected at most 18446744073709"),
        ("BACKHAUL_SYNC_INTERVAL_SECONDS", "0", "BACKHAUL_SYNC_INTERVAL_SECONDS is 0: expected at least 1"),
        ("BACKHAUL_BATCH_SIZE", "0", "BACKHAUL_BATCH_SIZE is 0: expected at least 1"),
        ("BACKHAUL_BATCH_BYTES", "0", "BACKHAUL_BATCH_BYTES is 0: expected at least 1"),
        ("BACKHAUL_MAX_RETRIES", "many", "BACKHAUL_MAX_RETRIES is \"many\": expected a whole number"),
        ("BACKHAUL_BACKOFF_STRATEGY", "quadratic", "BACKHAUL_BACKOFF_STRATEGY is \"quadratic\": expected constant, linear, exponential or fibonacci"),
        ("BACKHAUL_BACKOFF_INITIAL", "1", "BACKHAUL_BACKOFF_INITIAL is \"1\": expected a time with its unit, such as 500ms, 90s, 10m, 12h or 7d"),
        ("BACKHAUL_BACKOFF_INITIAL", "0s", "BACKHAUL_BACKOFF_INITIAL is 0: expected more than no time"),
        ("BACKHAUL_BACKOFF_MAX", "1ms", "BACKHAUL_BACKOFF_MAX is 1ms: expected at least backoff_initial"),
        ("BACKHAUL_BACKOFF_MULTIPLIER", "0.5", "BACKHAUL_BACKOFF_MULTIPLIER is 0.5: expected at least 1"),
        ("BACKHAUL_BACKOFF_JITTER", "some", "BACKHAUL_BACKOFF_JITTER is \"some\": expected true or false"),
        ("BACKHAUL_WHEN_FULL", "cry", "BACKHAUL_WHEN_FULL is \"cry\": expected reject, drop-oldest or drop-lowest-priority"),
        ("BACKHAUL_FLUSH", "0s", "BACKHAUL_FLUSH is \"0s\": expected always, never, or a time of more than nothing, such as 5s"),
        ("BACKHAUL_MIN_FREE", "few", "BACKHAUL_MIN_FREE is \"few\": expected a size, such as 500MB"),
        ("BACKHAUL_CAP", "1KB", "BACKHAUL_CAP is 1KB: expected at least 65536 bytes"),
        ("BACKHAUL_WEAVE_CAP", "999KB", "BACKHAUL_WEAVE_CAP is 999KB: expected 1MB or more, or nothing where there is to be no cap"),
        ("BACKHAUL_WEAVE_MAX_FILE_SIZE", "1KB", "BACKHAUL_WEAVE_MAX_FILE_SIZE is 1KB: expected 16384 bytes to 1073741824 bytes"),
        ("BACKHAUL_WEAVE_URL", "http://me:pw@h", "BACKHAUL_WEAVE_URL is \"http://h\": expected http://host:port or https://host/path without a user, such as https://trace.wandb.ai"),
        ("BACKHAUL_WANDB_URL", "http://h/?x=1", "BACKHAUL_WANDB_URL is \"http://h/?x=1\": expected http://host:port or https://host/path without a user, such as https://trace.wandb.ai"),
        ("BACKHAUL_DELIVERY_TIMEOUT", "0s", "BACKHAUL_DELIVERY_TIMEOUT is 0s: expected more than no time"),
        ("BACKHAUL_REQUEST_TIMEOUT", "0m", "BACKHAUL_REQUEST_TIMEOUT is 0s: expected more than no time"),
        ("BACKHAUL_REMEMBER_KEYS", "0d", "BACKHAUL_REMEMBER_KEYS is 0s: expected more than no time"),
        ("BACKHAUL_MAX_CONNECTIONS", "0", "BACKHAUL_MAX_CONNECTIONS is \"0\": expected a whole number of at least 1"),
        ("BACKHAUL_LISTEN", "7117", "BACKHAUL_LISTEN is \"7117\": expected ADDRESS:PORT, such as 127.0.0.1:7117"),
        ("BACKHAUL_RUNS_URL", "ftp://me:pw@hub", "BACKHAUL_RUNS_URL is \"ftp://hub\": expected http://host:port or https://host:port, such as http://hub:7117"),
        ("BACKHAUL_API_KEY", " ", "BACKHAUL_API_KEY is empty: expected visible ASCII characters"),
        ("BACKHAUL_TOKEN", "s3 cret", "BACKHAUL_TOKEN cannot be used: expected visible ASCII characters"),
    ] {
        let error = load(Request::new(), &[(name, value)]).unwrap_err();
        assert_eq!(error.to_string(), said);
    }
}

#[test]
#[rustfmt::skip]
fn a_bad_flag_is_named_too() {
    for (name, value, said) in [
        ("cap", "much", "--cap is \"much\": expected a size, such as 500MB"),
        ("runs_url", "", "--runs-url is empty: expected http://host:port or https://host:port, such as http://hub:7117"),
        ("cap", "1KB", "--cap is 1KB: expected at least 65536 bytes"),
    ] {
        let error = load(Request::new().flag(name, Some(value)), &[]).unwrap_err();
        assert_eq!(error.to_string(), said);
    }
}

#[test]
#[rustfmt::skip]
fn a_mistake_in_the_file_has_its_line_and_column() {
    for (text, said) in [
        ("max_retries = \"3\"", "backhaul.toml:1:15: max_retries is \"3\": expected a whole number"),
        ("\n\n  max_retries = -1", "backhaul.toml:3:17: max_retries is -1: expected a whole number"),
        ("max_retries = 3.0", "backhaul.toml:1:15: max_retries is 3.0: expected a whole number"),
        ("max_retries = 99999999999999999999999999999999999999999", "backhaul.toml:1:15: max_retries is 99999999999999999999999999999999999999999: expected a whole number"),
        ("compress = 1", "backhaul.toml:1:12: compress is 1: expected true or false"),
        ("compress = \"yes\"", "backhaul.toml:1:12: compress is \"yes\": expected true or false"),
        ("cap = 500", "backhaul.toml:1:7: cap is 500: expected a size, such as 500MB"),
        ("log = [\n\"debug\"]", "backhaul.toml:1:7: log is […: expected off, error, warn, info, debug or trace"),
        ("oversized = 'drop'", "backhaul.toml:1:13: oversized is 'drop': expected wait or summary"),
        ("keep_synced = 2024-01-01", "backhaul.toml:1:15: keep_synced is 2024-01-01: expected a time with its unit, such as 500ms, 90s, 10m, 12h or 7d"),
        ("storage_path = ''", "backhaul.toml:1:16: storage_path is '': expected a path"),
        ("batch_size = 0", "backhaul.toml:1:14: batch_size is 0: expected at least 1"),
        ("sync_interval = 5", "backhaul.toml:1:1: there is no key sync_interval: did you mean sync_interval_seconds?"),
        ("Max-Retires = 5", "backhaul.toml:1:1: there is no key Max-Retires: did you mean max_retries?"),
        ("colour = 5", "backhaul.toml:1:1: there is no key colour"),
        ("[sync]\nmax_retries = 5", "backhaul.toml:1:2: [sync] is no key: all keys stand at the top, without sections"),
        ("[log]", "backhaul.toml:1:2: [log] is no key: all keys stand at the top, without sections"),
        ("runs_url = \"http://a\"\napi_url = \"http://b\"", "backhaul.toml:2:1: api_url stands in line 1 as runs_url"),
        ("log = \"info\"\nlog = \"warn\"", "backhaul.toml:2:1: duplicate key"),
        ("é = 1", "backhaul.toml:1:1: invalid unquoted key, expected letters, numbers, `-`, `_`"),
        ("log = warn", "backhaul.toml:1:7: string values must be quoted, expected literal string"),
        ("api_key = \"s3 cret\"", "backhaul.toml:1:11: api_key cannot be used: expected visible ASCII characters"),
        ("api_key = ['s3cret']", "backhaul.toml:1:11: api_key cannot be used: expected visible ASCII characters"),
    ] {
        assert_eq!(said_of(text), [said], "{text}");
    }
    assert_eq!(
        said_of(b"log = \"info\"\n# \xff"),
        ["backhaul.toml:2:3: what stands here is no UTF-8"]
    );
}

#[test]
fn all_mistakes_are_said_at_once() {
    let folder = Folder::new();
    let path = folder.write("retries = 1\nbatch_bytes = 0\nmax_retries = true\ncap = \"1MB\"");
    let request = Request::new().file(&path).flag("cap", Some("x"));
    let variables = [("BACKHAUL_LOG", "loud"), ("CEMAF_OFFLINE_SYNC_INTERVAL_SECONDS", "0")];
    let error = load(request, &variables).unwrap_err();
    let place = path.display();
    assert_eq!(
        error.to_string(),
        format!(
            "6 things are wrong with the configuration:\n  \
             {place}:1:1: there is no key retries: did you mean max_retries?\n  \
             {place}:3:15: max_retries is true: expected a whole number\n  \
             BACKHAUL_LOG is \"loud\": expected off, error, warn, info, debug or trace\n  \
             --cap is \"x\": expected a size, such as 500MB\n  \
             CEMAF_OFFLINE_SYNC_INTERVAL_SECONDS is 0: expected at least 1\n  \
             {place}:2:15: batch_bytes is 0: expected at least 1"
        )
    );
}

#[test]
fn values_that_do_not_fit_together_are_named_once() {
    let error = load(Request::new(), &[("BACKHAUL_BACKOFF_INITIAL", "2m")]).unwrap_err();
    let said = "backoff_max (its default) is 60s: expected at least backoff_initial";
    assert_eq!(error.to_string(), said);
    let both = [("BACKHAUL_BACKOFF_INITIAL", "2m"), ("BACKHAUL_BACKOFF_MAX", "3m")];
    assert!(load(Request::new(), &both).is_ok());
}

#[test]
fn variables_that_are_no_settings_are_remarked_on() {
    let variables = [
        ("BACKHAUL_RUN_URL", "x"),
        ("CEMAF_OFFLINE_STORAGEPATH", "x"),
        ("BACKHAUL_WHATEVER_THIS_IS", "x"),
        ("BACKHAUL_CONFIG", "x"),
        ("BACKHAUL_MAX_QUEUE_MB", "x"),
        ("CEMAF_SYNC_STRATEGY", "x"),
    ];
    assert_eq!(
        environment(&variables).unknown(),
        [
            "BACKHAUL_RUN_URL is no setting: did you mean BACKHAUL_RUNS_URL?",
            "BACKHAUL_WHATEVER_THIS_IS is no setting",
            "CEMAF_OFFLINE_STORAGEPATH is no setting: did you mean CEMAF_OFFLINE_STORAGE_PATH?",
        ]
    );
}

// --- Secrets -----------------------------------------------------------------

#[test]
fn secrets_are_never_shown() {
    let folder = Folder::new();
    let text = "api_key = \"s3cret\"\nruns_url = \"https://me:s3cret@hub\"";
    let path = folder.write(text);
    let settings = load(Request::new().file(&path), &[("BACKHAUL_TOKEN", "s3cret")]).unwrap();
    assert_eq!(settings.config().hub.token.find().unwrap().unwrap().reveal(), "s3cret");
    let rows: Vec<String> = settings.each().map(|it| it.shown()).collect();
    assert!(!format!("{rows:?} {:?}", settings.config()).contains("s3cret"));
    assert!(!format!("{settings:?}").contains("s3cret"));
}

#[test]
fn a_secret_in_a_file_that_others_can_read_is_refused() {
    let folder = Folder::new();
    let path = folder.write("token = \"s3cret\"");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    let error = load(Request::new().file(&path), &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{}:1:1: token stands in a file that others can read: make it yours alone \
             (`chmod 600`), or name a file with token_file",
            path.display()
        )
    );
}

#[test]
fn of_a_secret_and_its_file_the_stronger_source_counts() {
    let folder = Folder::new();
    let key_file = folder.0.path().join("key");
    std::fs::write(&key_file, "from-its-file\n").unwrap();
    let path = folder.write("api_key_file = \"key\"");
    let key = |request: Request, variables: &[(&str, &str)]| {
        let settings = load(request, variables).unwrap();
        settings.config().offline.api_key.find().unwrap().unwrap().reveal().to_owned()
    };
    let variable = [("BACKHAUL_API_KEY", "from-variable")];
    let named = Request::new().file(&path);
    assert_eq!(key(named.clone(), &[]), "from-its-file");
    assert_eq!(key(named.clone(), &variable), "from-variable");
    assert_eq!(
        key(named.clone().flag("api_key_file", Some(&key_file)), &variable),
        "from-its-file"
    );

    std::fs::write(&key_file, " \n").unwrap();
    let error = load(named, &[]).unwrap().config().offline.api_key.find().unwrap_err();
    let said = "is empty: expected a secret, such as `openssl rand -hex 32` gives";
    assert_eq!(error, format!("{} {said}", key_file.display()));
}

// --- Reading again -----------------------------------------------------------

#[test]
fn a_reload_applies_what_can_change_and_keeps_the_rest() {
    let folder = Folder::new();
    let path = folder.write("sync_interval_seconds = 60\nmax_queue_size_mb = 10\ntoken = \"old\"");
    let mut settings = load(Request::new().file(&path), &[]).unwrap();
    folder.write(
        "listen = \"127.0.0.1:1\"\nsync_interval_seconds = 5\nlog = \"info\"\n\
         max_queue_size_mb = 20\ntoken = \"new\"",
    );
    let reloaded = settings.reload_in(&environment(&[])).unwrap();
    let lines = |changes: &[super::Change]| -> Vec<String> {
        changes.iter().map(ToString::to_string).collect()
    };
    assert_eq!(lines(&reloaded.applied), ["log warn → info", "sync_interval_seconds 60 → 5"]);
    assert_eq!(
        lines(&reloaded.kept),
        ["max_queue_size_mb 10 → 20", "listen 127.0.0.1:7117 → 127.0.0.1:1", "token"]
    );
    let config = settings.config();
    assert_eq!(config.offline.sync.sync_interval_seconds, 5);
    assert_eq!(config.offline.max_queue_size_mb, 10);
    assert_eq!(config.hub.token.find().unwrap().unwrap().reveal(), "old");
    assert_eq!(settings.source("max_queue_size_mb").to_string(), format!("{}:2", path.display()));
    assert_eq!(settings.source("listen"), &Source::Default);
    // What is kept is said again: it is still not what the file says.
    let again = settings.reload_in(&environment(&[])).unwrap();
    assert_eq!((again.applied.len(), again.kept.len()), (0, 3));
}

#[test]
fn a_reload_that_finds_a_mistake_changes_nothing() {
    let folder = Folder::new();
    let path = folder.write("sync_interval_seconds = 60\nmax_retries = 1");
    let mut settings = load(Request::new().file(&path), &[]).unwrap();
    for text in ["sync_interval_seconds = 5\nmax_retries = -1", "sync_interval_seconds = 5\n["] {
        folder.write(text);
        settings.reload_in(&environment(&[])).unwrap_err();
        assert_eq!(settings.config().offline.sync.sync_interval_seconds, 60);
    }
    std::fs::remove_file(&path).unwrap();
    settings.reload_in(&environment(&[])).unwrap_err();
    assert_eq!(settings.config().offline.sync.max_retries, 1);
}

#[test]
fn a_file_in_its_usual_place_that_is_gone_is_a_mistake() {
    let folder = Folder::new();
    let home = environment(&[("XDG_CONFIG_HOME", folder.0.path().to_str().unwrap())]);
    let mut settings = Settings::load_in(Request::new(), &home).unwrap();
    assert_eq!(settings.file(), None);
    let usual = folder.0.path().join("backhaul/backhaul.toml");
    std::fs::create_dir(usual.parent().unwrap()).unwrap();
    std::fs::write(&usual, "max_retries = 2").unwrap();
    assert_eq!(settings.reload_in(&home).unwrap().applied.len(), 1);
    assert_eq!(settings.file(), Some(usual.as_path()));
    std::fs::remove_file(&usual).unwrap();
    let error = settings.reload_in(&home).unwrap_err().to_string();
    assert!(error.starts_with("cannot read "), "{error}");
}

// --- The page ----------------------------------------------------------------

#[test]
fn the_page_in_docs_is_that_of_the_table() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let is_current = std::fs::read_to_string(page).is_ok_and(|text| text == reference());
    assert!(
        is_current,
        "docs/configuration.md is out of date: \
         cargo run -- reference configuration > docs/configuration.md"
    );
}
