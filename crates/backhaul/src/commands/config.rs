//! `backhaul config`: the settings, and where they come from.

use crate::config::{SecretPlace, Setting, Settings, Source};
use serde_json::{Map, Value, json};

use crate::cli;
use crate::exit::{OrUsage as _, Outcome};
use crate::printer::{Printer, harmless};

pub(crate) fn run(args: &cli::Config, settings: &Settings) -> anyhow::Result<Outcome> {
    match args {
        cli::Config::Check => check(settings),
        cli::Config::Show(args) => show(Printer { json: args.json }, settings),
    }
}

/// What is wrong ends the program before it gets here; what is left are the files that
/// settings name.
fn check(settings: &Settings) -> anyhow::Result<Outcome> {
    let printer = Printer { json: false };
    let config = settings.config();
    let secrets = [
        ("api_key_file", &config.offline.api_key),
        ("token_file", &config.hub.token),
        ("weave_api_key_file", &config.weave.api_key),
    ];
    let problem = |(name, secret): (&str, &SecretPlace)| {
        secret.find().err().map(|error| format!("{name}: {error}"))
    };
    let problems: Vec<String> = secrets.into_iter().filter_map(problem).collect();
    if !problems.is_empty() {
        return Err(anyhow::Error::msg(problems.join("\n"))).or_usage();
    }
    let unknown = Settings::unknown_variables();
    unknown.iter().for_each(|remark| printer.talk(format_args!("remark: {remark}")));
    let given = settings.each().filter(|setting| *setting.source != Source::Default).count();
    let file = match settings.file() {
        Some(file) => file.display().to_string(),
        None => "no file".to_owned(),
    };
    printer.data(format_args!("the configuration is sound: {file}, {given} settings given"))?;
    Ok(Outcome::Done)
}

fn show(printer: Printer, settings: &Settings) -> anyhow::Result<Outcome> {
    if printer.json {
        let all: Map<String, Value> =
            settings.each().map(|it| (it.key.name().to_owned(), object(&it))).collect();
        let file = settings.file().map(|file| file.display().to_string());
        printer.object(&json!({"file": file, "settings": all}))?;
        return Ok(Outcome::Done);
    }
    let heads = ["setting", "value", "from"].map(str::to_owned);
    let rows = settings.each().map(|setting| {
        let (value, from) = (setting.shown(), setting.source.to_string());
        [setting.key.name().to_owned(), harmless(&value), harmless(&from)]
    });
    let rows: Vec<[String; 3]> = std::iter::once(heads).chain(rows).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let (names, values) = (width(0), width(1));
    for [name, value, from] in &rows {
        printer.data(format_args!("{name:names$}  {value:values$}  {from}"))?;
    }
    Ok(Outcome::Done)
}

fn object(setting: &Setting<'_>) -> Value {
    let value = setting.text().map(|text| match setting.key.is_bare() {
        true => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        false => Value::String(text),
    });
    let kind = match setting.source {
        Source::Default => "default",
        Source::File { .. } => "file",
        Source::Variable(_) => "environment",
        Source::Flag(_) => "flag",
    };
    let place = match setting.source {
        Source::Default => None,
        place => Some(place.to_string()),
    };
    json!({"value": value, "from": kind, "place": place, "live": setting.key.is_live()})
}
