//! File names of the folder layout, made and read here only.
//!
//! `2024-01-15T10-30-00Z_000042_run_001.json`: when, which sequence, which run.
//! A lane or writer other than the first stands behind the sequence:
//! `…_000042-critical.2_run_001.json`.

use std::collections::BTreeSet;

use crate::clock::Timestamp;
use crate::id::{Chain, Lane, Position, Sequence};

pub(crate) const SUFFIX: &str = ".json";
/// File systems take 255 bytes; what is longer is cut and told apart by its digest.
const MAX_HINT: usize = 120;

/// A number beyond this is somebody else's: no spool of this layout ever gets there.
const MAX_SEQUENCE: u64 = 1_000_000_000_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) position: Position,
    pub(crate) wall: Option<Timestamp>,
    /// The run id, where it was short enough to be kept whole.
    pub(crate) hint: Option<String>,
}

pub(crate) fn format(position: Position, wall: Timestamp, hint: &str) -> String {
    let Position { chain, sequence } = position;
    let mark = if chain == (Chain { lane: Lane::Normal, writer: 0 }) {
        String::new()
    } else {
        format!("-{chain}")
    };
    format!("{}_{:06}{mark}_{}{SUFFIX}", wall.file_name_second(), sequence.0, encode_hint(hint))
}

pub(crate) fn parse(name: &str) -> Option<Parsed> {
    let stem = name.strip_suffix(SUFFIX)?;
    let (second, rest) = stem.split_once('_')?;
    let (place, hint) = rest.split_once('_')?;
    let (number, chain) = match place.split_once('-') {
        None => (place, Chain { lane: Lane::Normal, writer: 0 }),
        Some((number, chain)) => (number, chain.parse().ok()?),
    };
    if number.len() < 6 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let sequence = number.parse().ok().filter(|sequence| (1..=MAX_SEQUENCE).contains(sequence))?;
    Some(Parsed {
        position: Position { chain, sequence: Sequence(sequence) },
        wall: Some(parse_own_second(second)?),
        hint: decode_hint(hint),
    })
}

/// The time in a name of ours, and in no other form: an older queue's run id may
/// look like a sequence.
fn parse_own_second(text: &str) -> Option<Timestamp> {
    parse_second(text).filter(|wall| wall.file_name_second() == text)
}

/// The time in a name of ours, or in the colon form of older queues
/// (`2024-01-15T10:30:00_run_001.json`, which is taken as UTC).
pub(crate) fn parse_second(text: &str) -> Option<Timestamp> {
    let (day, time) = text.trim_end_matches('Z').split_once('T')?;
    Timestamp::parse(&format!("{day}T{}Z", time.replace('-', ":")))
}

/// Time and run id of a file that was not named by us.
pub(crate) fn parse_foreign(name: &str) -> (Option<Timestamp>, String) {
    let stem = name.strip_suffix(SUFFIX).unwrap_or(name);
    match stem.split_once('_').and_then(|(second, hint)| Some((parse_second(second)?, hint))) {
        Some((wall, hint)) => (Some(wall), hint.to_owned()),
        None => (None, stem.to_owned()),
    }
}

/// Letters, digits, `.`, `-` and `_` stand for themselves; every other byte is `%XX`.
fn encode_hint(hint: &str) -> String {
    let mut encoded = String::with_capacity(hint.len());
    for byte in hint.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    if encoded.len() <= MAX_HINT {
        return encoded;
    }
    let mut end = MAX_HINT - 20;
    while encoded
        .get(..end)
        .is_some_and(|cut| cut.ends_with('%') || cut.as_bytes().iter().rev().nth(1) == Some(&b'%'))
    {
        end -= 1;
    }
    format!("{}~{:08x}", encoded.get(..end).unwrap_or_default(), crc32fast::hash(hint.as_bytes()))
}

/// `None`: the name does not hold the whole run id.
fn decode_hint(encoded: &str) -> Option<String> {
    if encoded.contains('~') {
        return None;
    }
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = tail.get(2..)?;
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

/// Run ids that are looked for among names.
#[derive(Debug)]
pub(crate) struct WantedHints<'a> {
    hints: &'a BTreeSet<&'a str>,
    encoded: BTreeSet<String>,
}

impl<'a> WantedHints<'a> {
    pub(crate) fn new(hints: &'a BTreeSet<&'a str>) -> Self {
        Self { hints, encoded: hints.iter().map(|hint| encode_hint(hint)).collect() }
    }

    /// Whether the file may be that of a record with one of the run ids. `false` is
    /// certain, also of a name that was cut: the digest is of the whole.
    pub(crate) fn may_be_of(&self, name: &str) -> bool {
        let stem = name.strip_suffix(SUFFIX).unwrap_or(name);
        let Some(hint) = stem.splitn(3, '_').nth(2) else { return true };
        let is_escaped_otherwise = || {
            hint.contains('%') && decode_hint(hint).is_some_and(|hint| self.hints.contains(&*hint))
        };
        self.encoded.contains(hint) || is_escaped_otherwise()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_whether_it_may_be_of_a_run_however_long_or_hostile_its_id() {
        let long = "x".repeat(300);
        let other_long = format!("{}y", &long[1..]);
        let hostile = ["run_1", "", "a/b_c", "..", "ü\n", "~", "%41", &long];
        let wanted = BTreeSet::from(hostile);
        let wanted = WantedHints::new(&wanted);
        let name = |hint| format(position("critical.2/7"), Timestamp::from_micros(0), hint);
        for hint in hostile {
            assert!(wanted.may_be_of(&name(hint)), "{hint}");
        }
        for hint in ["run_2", "run", "1", "a", "A", "%4", "_", &other_long] {
            assert!(!wanted.may_be_of(&name(hint)), "{hint}");
        }
        // Escaped by somebody else.
        assert!(wanted.may_be_of("2024-01-15T10-30-00Z_000042_%72un%5f1.json"));
    }

    fn position(text: &str) -> Position {
        text.parse().unwrap()
    }

    #[test]
    fn names_sort_and_read_like_the_document() {
        let wall = Timestamp::parse("2024-01-15T10:30:00Z").unwrap();
        let name = format(position("normal/42"), wall, "run_001");
        assert_eq!(name, "2024-01-15T10-30-00Z_000042_run_001.json");
        let critical = format(position("critical.2/42"), wall, "run_001");
        assert_eq!(critical, "2024-01-15T10-30-00Z_000042-critical.2_run_001.json");
    }

    #[test]
    fn hostile_run_ids_stay_inside_the_folder_and_read_back() {
        let wall = Timestamp::from_micros(0);
        let long = "x/".repeat(5000);
        for hint in
            ["", "a/b", "..", "../../etc/passwd", "nul\0", "a:b+c", "ü\n", "%41", "~", "_a_", &long]
        {
            let name = format(position("bulk/7"), wall, hint);
            assert!(name.len() < 255 && !name.contains(['/', '\0', ':', '\n']), "{name}");
            let parsed = parse(&name).unwrap();
            assert_eq!(parsed.position, position("bulk/7"));
            assert_eq!(parsed.wall, Some(wall));
            assert!(
                parsed.hint.is_none() == (hint.len() > 200)
                    && parsed.hint.is_none_or(|back| back == hint)
            );
        }
    }

    #[test]
    fn names_of_older_queues_tell_time_and_run() {
        let (wall, hint) = parse_foreign("2024-01-15T10:30:00_run_001.json");
        assert_eq!(wall, Timestamp::parse("2024-01-15T10:30:00Z"));
        assert_eq!(hint, "run_001");
        assert_eq!(parse("2024-01-15T10:30:00_run_001.json"), None);
        assert_eq!(parse("2024-01-15T10:30:00_20240115_run.json"), None);
        assert_eq!(parse("export_20240115_runs.json"), None);
        assert_eq!(parse("2024-01-15T10-30-00Z_18446744073709551615_x.json"), None);
        assert_eq!(parse_foreign("copied.json"), (None, "copied".to_owned()));
    }
}
