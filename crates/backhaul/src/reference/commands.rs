//! The commands, from their own help: in Markdown, as manual pages, for shells to complete.

use std::io;
use std::path::Path;

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;

use crate::cli::Cli;

const HEAD: &str = "\
# Commands

<!-- Made from the help of the commands: `backhaul reference commands > docs/commands.md` -->

What each prints for `--help`. Manual pages are written by `backhaul man-pages DIR`; `backhaul completions SHELL` has the
shell complete names and options. Variables and the file with settings: [environment](environment.md),
[configuration](configuration.md).
";

/// Columns of the help in the page.
const WIDTH: usize = 80;

/// The page, in Markdown.
pub(crate) fn commands() -> String {
    let mut page = HEAD.to_owned();
    add(&mut page, &mut whole().term_width(WIDTH));
    page
}

/// The commands as they are built, with their full names.
fn whole() -> Command {
    let mut command = Cli::command();
    command.build();
    command
}

fn add(page: &mut String, command: &mut Command) {
    let name = command.get_bin_name().unwrap_or("backhaul").to_owned();
    let help = command.render_long_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    page.push_str(&format!("\n## {name}\n```text\n{}\n```\n", lines.join("\n").trim_end()));
    let shown = command.get_subcommands_mut().filter(|it| !it.is_hide_set());
    shown.filter(|it| it.get_name() != "help").for_each(|it| {
        let mut it = it.clone().term_width(WIDTH);
        add(page, &mut it);
    });
}

/// Writes a manual page for each command into a folder, which is made. How many.
///
/// # Errors
/// Where the folder cannot be written.
pub(crate) fn man_pages(folder: &Path) -> io::Result<usize> {
    std::fs::create_dir_all(folder)?;
    // Not what is hidden, nor the help of each.
    clap_mangen::generate_to(Cli::command().disable_help_subcommand(true), folder)?;
    Ok(std::fs::read_dir(folder)?.count())
}

/// What a shell runs to complete the commands.
pub(crate) fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "backhaul", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_docs_is_that_of_the_help() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/commands.md");
        let is_current = std::fs::read_to_string(page).is_ok_and(|text| text == commands());
        let how = "cargo run -- reference commands > docs/commands.md";
        assert!(is_current, "docs/commands.md is out of date: {how}");
    }

    #[test]
    fn no_line_of_help_is_wider_than_a_terminal() {
        let page = commands();
        let wide: Vec<&str> = page
            .lines()
            .skip_while(|line| !line.starts_with("## "))
            .filter(|line| line.chars().count() > WIDTH)
            .collect();
        assert!(wide.is_empty(), "{wide:#?}");
    }
}
