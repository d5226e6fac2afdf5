//! Segment file names, made and read here only: `YYYYMMDD_0000.jsonl.gz`, and
//! `YYYYMMDD_0000.synced.jsonl.gz` once all of a file is delivered.

pub(crate) const SUFFIX: &str = ".jsonl.gz";
pub(crate) const SYNCED_SUFFIX: &str = ".synced.jsonl.gz";

pub(crate) fn format(day: &str, number: u32) -> String {
    format!("{day}_{number:04}{SUFFIX}")
}

/// Day and number of a segment's name, in either state.
pub(crate) fn parse(name: &str) -> Option<(&str, u32)> {
    let stem = name.strip_suffix(SYNCED_SUFFIX).or_else(|| name.strip_suffix(SUFFIX))?;
    let (day, number) = stem.split_once('_')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    (day.len() == 8 && digits(day) && number.len() >= 4 && digits(number))
        .then(|| number.parse().ok())
        .flatten()
        .map(|number| (day, number))
}

pub(crate) fn is_synced(name: &str) -> bool {
    name.ends_with(SYNCED_SUFFIX)
}

pub(crate) fn synced(name: &str) -> String {
    match name.strip_suffix(SUFFIX) {
        Some(stem) if !is_synced(name) => format!("{stem}{SYNCED_SUFFIX}"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_in_both_states_and_beyond_9999() {
        for number in [0, 7, 9999, 10_000] {
            let name = format("20260101", number);
            assert_eq!(parse(&name), Some(("20260101", number)));
            assert_eq!(parse(&synced(&name)), Some(("20260101", number)));
            assert_eq!(synced(&synced(&name)), synced(&name));
        }
    }

    #[test]
    fn foreign_names_are_not_segments() {
        for name in
            ["x.jsonl.gz", "20260101_1.jsonl.gz", "2026_0000.jsonl.gz", "20260101_0000.jsonl"]
        {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
