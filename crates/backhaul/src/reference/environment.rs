//! The variables of the environment.

use crate::config::KEYS;

const HEAD: &str = "\
# Environment

<!-- Made from the tables of variables: `backhaul reference environment > docs/environment.md` -->

Variables that `backhaul` reads. One that is empty counts as not set. What a setting means, its default and its range:
[configuration](configuration.md).

## Beside the settings
| variable | what it does |
|---|---|
";

/// Those that are no settings.
const OTHERS: [(&str, &str); 9] = [
    ("BACKHAUL_CONFIG", "The file with the settings, where `--config` names none."),
    ("XDG_CONFIG_HOME", "Where `backhaul/backhaul.toml` is looked for, else in `~/.config`."),
    ("HOME", "The home folder: of the data dir, of Weave's folder, of netrc."),
    ("WANDB_API_KEY", "The key for Weave's server, where a client sends none; before netrc's."),
    ("WANDB_ENTITY", "Whose a project of Weave's is that was logged without an entity."),
    ("OPENAI_API_KEY", "The key for the primary model, where a client sends none."),
    (
        "OPENAI_BASE_URL",
        "The primary model, where `backhaul run` is started with it and nothing else is said.",
    ),
    ("SSL_CERT_FILE", "Certificates to trust, in place of the system's."),
    ("NO_COLOR", "No colours, whatever it is set to. Nothing is said by colour alone."),
];

/// The page, in Markdown.
pub(crate) fn environment() -> String {
    let mut page = HEAD.to_owned();
    for (name, about) in OTHERS {
        page.push_str(&format!("| `{name}` | {about} |\n"));
    }
    page.push_str(
        "\n## Settings\nEach setting is read from `BACKHAUL_` and its key in capitals; where that is not set, from \
         `CEMAF_OFFLINE_` and the key.\n\n| variable | what it does |\n|---|---|\n",
    );
    for key in KEYS {
        for name in key.names() {
            let about = if name == key.name() {
                key.about().to_owned()
            } else {
                format!("The same as `BACKHAUL_{}`.", key.name().to_uppercase())
            };
            page.push_str(&format!("| `BACKHAUL_{}` | {about} |\n", name.to_uppercase()));
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_page_in_docs_is_that_of_the_tables() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/environment.md");
        let is_current = std::fs::read_to_string(page).is_ok_and(|text| text == environment());
        let how = "cargo run -- reference environment > docs/environment.md";
        assert!(is_current, "docs/environment.md is out of date: {how}");
    }
}
