//! Segment file names, made and read here only: `YYYYMMDD_0000.jsonl.gz`, or `….jsonl`
//! where it is plain; and `YYYYMMDD_0000.synced.jsonl.gz` once all of a file is delivered.

use super::form::Form;

const SYNCED: &str = ".synced";

fn suffix(form: Form) -> &'static str {
    match form {
        Form::Gzip => ".jsonl.gz",
        Form::Plain => ".jsonl",
    }
}

pub(crate) fn format(day: &str, number: u32, form: Form) -> String {
    format!("{day}_{number:04}{}", suffix(form))
}

/// The name without its suffix, and the suffix.
fn split(name: &str) -> Option<(&str, &'static str)> {
    let mut suffixes = Form::ALL.into_iter().map(suffix);
    suffixes.find_map(|suffix| Some((name.strip_suffix(suffix)?, suffix)))
}

/// Day and number of a segment's name, in either form and state.
pub(crate) fn parse(name: &str) -> Option<(&str, u32)> {
    let (stem, _) = split(name)?;
    let (day, number) = stem.strip_suffix(SYNCED).unwrap_or(stem).split_once('_')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    (day.len() == 8 && digits(day) && number.len() >= 4 && digits(number))
        .then(|| number.parse().ok())
        .flatten()
        .map(|number| (day, number))
}

pub(crate) fn is_synced(name: &str) -> bool {
    split(name).is_some_and(|(stem, _)| stem.ends_with(SYNCED))
}

pub(crate) fn synced(name: &str) -> String {
    match split(name) {
        Some((stem, suffix)) if !is_synced(name) => format!("{stem}{SYNCED}{suffix}"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_in_both_forms_and_states_and_beyond_9999() {
        for (form, number) in
            Form::ALL.into_iter().flat_map(|form| [0, 9999, 10_000].map(|n| (form, n)))
        {
            let name = format("20260101", number, form);
            assert_eq!(parse(&name), Some(("20260101", number)));
            assert_eq!(parse(&synced(&name)), Some(("20260101", number)));
            assert_eq!(synced(&synced(&name)), synced(&name));
            assert!(is_synced(&synced(&name)) && !is_synced(&name));
        }
        assert_eq!(synced("20260101_0000.jsonl"), "20260101_0000.synced.jsonl");
        assert_eq!(synced("20260101_0000.jsonl.gz"), "20260101_0000.synced.jsonl.gz");
    }

    #[test]
    fn foreign_names_are_not_segments() {
        for name in [
            "x.jsonl.gz",
            "20260101_1.jsonl.gz",
            "2026_0000.jsonl.gz",
            "20260101_0000.json",
            "20260101_0000.gz",
            "20260101_0000.jsonl.synced.gz",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
