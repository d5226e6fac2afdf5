//! The page that describes every setting, made from the table.

use super::key::{Group, Key};
use super::keys::KEYS;

const HEAD: &str = "\
# Configuration

<!-- Made from the table of settings: `backhaul reference configuration > docs/configuration.md` -->

Every setting can be given in three ways. The first of them that says something counts:

1. a **flag**, of the commands that have it: the key with dashes, `--data-dir`. See `backhaul COMMAND --help`;
2. a **variable** of the environment: `BACKHAUL_` and the key in capitals, `BACKHAUL_DATA_DIR`; where that is not set,
   `CEMAF_OFFLINE_` and the key, `CEMAF_OFFLINE_STORAGE_PATH`. One that is empty counts as not set;
3. the **file**: `key = value` in TOML, all at the top, without sections. It is the one that `--config` or
   `BACKHAUL_CONFIG` names, else `~/.config/backhaul/backhaul.toml` (`$XDG_CONFIG_HOME/backhaul/backhaul.toml`), where
   there is one. Paths in it are relative to its folder; `~/` is the home folder.

```toml
data_dir = \"/var/lib/backhaul\"
runs_url = \"https://hub.example.com\"
api_key_file = \"hub.key\"
sync_interval_seconds = 30
keep_synced = \"2d\"
```

A key that is not below is refused, and so is a value without sense: all mistakes are named with their places, and the
program does not start. `backhaul config check` looks for them without starting anything; `backhaul config show` lists
every value and where it comes from. Agents in Rust read the same file and variables with
`create_offline_logger_from_config()`.

On SIGHUP `backhaul serve` reads its settings again; agents do with `ConfiguredLogger::reload`. What is marked *live*
holds at once; the rest is named and waits for a restart. If anything is wrong, everything stays as it was.

Numbers have their unit in the key. Times and sizes carry their own: `500ms`, `90s`, `10m`, `12h`, `7d`; `64KB`, `500MB`,
`1.5GB`. MB and KB are decimal: 10^6 and 10^3 bytes.
";

const RULES: &str = "
## Rules
Without rules the oldest record of the most urgent lane goes first, as long as there are any in it; with `oldest_every` or
any other of these keys set, also without rules, the oldest of all lanes has its share. A record that says of itself that it is critical
(`metadata.critical = true`) is in the first lane, whatever the rules. With rules, each gives points to a record, and
the sum says two things: which lane a record of an agent's queue is stored in (`critical_score` and the others; what is
received by `backhaul serve` keeps the lane of its sender), and which of those that wait at the head of a lane go first.
A rule gives points in one of three ways:

```toml
[[rules]]                       # points where a comparison holds
name = \"failed\"
field = \"success\"
compare = \"==\"                  # ==, !=, <, <=, > or >=
value = false
points = 80

[[rules]]                       # points divided by the field, where that is above 1
name = \"recency\"
field = \"age_hours\"
points_divided = 50

[[rules]]                       # points for each unit of the field, at most `cap`
name = \"waiting\"
field = \"age_hours\"
points_per_unit = 2
cap = 30
```

They stand at the end of the file, because TOML gives every key below to them. The field is `run_id`, `metadata.KEY`,
`age_hours`, `size_kb`, `success`, `attempts`, `enqueued_at` or `critical`. A record that has nothing there gets 0. A rule
that fails on a record, a text where it expects a number say, counts 0 for it, and `backhaul status` names it.
In a variable: `BACKHAUL_RULES='[{\"name\": \"size\", \"field\": \"size_kb\", \"compare\": \"<\", \"value\": 10, \"points\": 10}]'`.
";

/// The page, in Markdown.
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    for group in Group::ALL {
        page.push_str(&format!(
            "\n## {}\n| key | default | what it does |\n|---|---|---|\n",
            group.title()
        ));
        KEYS.iter().filter(|key| key.group() == group).for_each(|key| page.push_str(&row(key)));
    }
    page.push_str(RULES);
    page
}

fn row(key: &Key) -> String {
    let (name, about) = (key.name(), key.about());
    let aliases: Vec<String> = key.names().skip(1).map(|alias| format!("`{alias}`")).collect();
    let also = match aliases.as_slice() {
        [] => String::new(),
        aliases => format!(" Also read as {}.", aliases.join(", ")),
    };
    let default = match key.has_default() {
        true => format!("`{}`", key.default()),
        false => key.default(),
    };
    let live = if key.is_live() { " *Live.*" } else { "" };
    format!("| `{name}` | {default} | {about}{also}{live} |\n")
}
