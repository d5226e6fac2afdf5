//! The page that describes every setting, made from the table.

use super::key::{Group, Key};
use super::keys::KEYS;

const HEAD: &str = "\
# Configuration

<!-- Made from the table of settings: `backhaul config reference > docs/configuration.md` -->

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
