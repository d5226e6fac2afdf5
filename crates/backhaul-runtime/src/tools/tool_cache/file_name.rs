//! Names of a cache's files: `SEQUENCE-KEY.v1.json`, both in hex digits.

use backhaul_store::Entry;

/// The format of the files, which `docs/format.md` describes. Those of another one have other
/// names, and are left alone.
const WHOLE: &str = ".v1.json";
/// One that is being written, or was when its writer ended.
const PARTIAL: &str = ".v1.tmp";

/// A file of a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileName {
    /// Results that were stored later have larger ones.
    pub(super) sequence: u64,
    /// What the call is known by: 64 hex digits.
    pub(super) key: String,
}

/// What a file in the folder is.
pub(super) enum Found {
    Whole(FileName),
    Partial,
    /// Somebody else's.
    Foreign,
}

impl FileName {
    pub(super) fn whole(&self) -> String {
        format!("{:016x}-{}{WHOLE}", self.sequence, self.key)
    }

    pub(super) fn partial(&self) -> String {
        format!("{:016x}-{}{PARTIAL}", self.sequence, self.key)
    }
}

impl Found {
    pub(super) fn of(entry: &Entry) -> Self {
        if entry.is_dir {
            return Self::Foreign;
        }
        let read = |ending| entry.name.strip_suffix(ending).and_then(stem);
        match (read(WHOLE), read(PARTIAL)) {
            (Some(name), _) => Self::Whole(name),
            (None, Some(_)) => Self::Partial,
            (None, None) => Self::Foreign,
        }
    }
}

fn stem(text: &str) -> Option<FileName> {
    let is_hex = |text: &str, digits| {
        text.len() == digits && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
    };
    let (sequence, key) = text.split_once('-')?;
    if !is_hex(sequence, 16) || !is_hex(key, 64) {
        return None;
    }
    let sequence = u64::from_str_radix(sequence, 16).ok()?;
    Some(FileName { sequence, key: key.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str) -> Found {
        Found::of(&Entry { name: name.to_owned(), len: 1, is_dir: false })
    }

    #[test]
    fn a_name_is_read_as_it_was_written() {
        let name = FileName { sequence: 0xab, key: "0f".repeat(32) };
        assert!(matches!(found(&name.whole()), Found::Whole(read) if read == name));
        assert!(matches!(found(&name.partial()), Found::Partial));
    }

    #[test]
    fn what_others_put_there_is_theirs() {
        let key = "0f".repeat(32);
        for name in [
            format!("00000000000000ab-{key}.v2.json"),
            format!("ab-{key}.v1.json"),
            format!("00000000000000AB-{key}.v1.json"),
            format!("00000000000000ab-{key}0.v1.json"),
            "notes.txt".to_owned(),
        ] {
            assert!(matches!(found(&name), Found::Foreign), "{name}");
        }
    }
}
