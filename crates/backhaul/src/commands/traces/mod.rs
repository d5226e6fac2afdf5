//! `backhaul traces`: what agents logged with Weave.

mod list;
mod show;

use std::path::Path;
use std::time::Duration;

use anyhow::bail;
use backhaul_weave::{ProjectId, Reads};
use serde_json::Value;

use crate::cli;
use crate::config::Config;
use crate::exit::{OrUsage as _, Outcome};

pub(crate) fn run(args: &cli::Traces, config: &Config) -> anyhow::Result<Outcome> {
    match args {
        cli::Traces::List(args) => list::run(args, config),
        cli::Traces::Show(args) => show::run(args, config),
    }
}

/// The traces, and the projects that are asked for.
struct Found<'a> {
    dir: &'a Path,
    reads: Reads,
    projects: Vec<ProjectId>,
}

impl<'a> Found<'a> {
    /// # Errors
    /// Where there is no such folder, or no such project in it; says what there is.
    fn open(config: &'a Config, wanted: Option<&str>) -> anyhow::Result<Self> {
        let Some(dir) = config.weave.dir.as_deref() else {
            bail!("there is no home folder: say --weave-dir, or set BACKHAUL_WEAVE_DIR");
        };
        if !dir.is_dir() {
            let found = if dir.exists() { "is a file" } else { "is not there" };
            bail!(
                "the folder of Weave's data, {}, {found}: it comes with the first trace; look \
                 elsewhere with --weave-dir or --data-dir",
                dir.display()
            );
        }
        let reads = Reads::of_folder(dir);
        let mut projects = reads.projects()?;
        if let Some(wanted) = wanted {
            let wanted: ProjectId = wanted.parse()?;
            if !projects.contains(&wanted) {
                let there: Vec<String> = projects.iter().map(ToString::to_string).collect();
                let advice = match there.is_empty() {
                    true => "nothing was logged there yet".to_owned(),
                    false => format!("say --project with what there is: {}", there.join(", ")),
                };
                bail!("there is no project {wanted} in {}: {advice}", dir.display());
            }
            projects = vec![wanted];
        }
        Ok(Self { dir, reads, projects })
    }

    fn open_or_usage(config: &'a Config, wanted: Option<&str>) -> anyhow::Result<Self> {
        Self::open(config, wanted).or_usage()
    }
}

/// What a call is called: its display name, or else its op's.
fn name_of(call: &Value) -> &str {
    let summary = &call["summary"]["weave"];
    let name = summary["display_name"].as_str().or(summary["trace_name"].as_str());
    name.unwrap_or_default()
}

/// How long a call took, in words; `-` while it runs.
fn took(call: &Value) -> String {
    match call["summary"]["weave"]["latency_ms"].as_u64() {
        Some(millis) => in_words(Duration::from_millis(millis)),
        None => "-".to_owned(),
    }
}

fn in_words(time: Duration) -> String {
    let (seconds, millis) = (time.as_secs(), time.as_millis());
    match seconds {
        0 => format!("{millis} ms"),
        1..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3600 => format!("{} m {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} m", seconds / 3600, seconds / 60 % 60),
    }
}

fn status_of(call: &Value) -> &str {
    call["summary"]["weave"]["status"].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_in_two_figures_or_units() {
        for (millis, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_000, "1.0 s"),
            (12_345, "12.3 s"),
            (61_000, "1 m 1 s"),
            (7_500_000, "2 h 5 m"),
        ] {
            assert_eq!(in_words(Duration::from_millis(millis)), text);
        }
    }
}
