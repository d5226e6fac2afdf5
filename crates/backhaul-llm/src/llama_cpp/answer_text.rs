//! The text that an answer's bytes make.

use std::str;

/// The text that an answer's bytes make: whole characters, up to a text that ends it.
#[derive(Debug)]
pub(super) struct AnswerText {
    /// The beginning of a character.
    bytes: Vec<u8>,
    /// What may be the beginning of a stop text.
    held: String,
    stops: Vec<String>,
}

impl AnswerText {
    /// An answer that ends before any of these texts.
    pub(super) fn new(stops: Vec<String>) -> Self {
        Self { bytes: Vec::new(), held: String::new(), stops }
    }

    /// Takes the bytes of a token. Gives what can be said with them, and whether the answer
    /// ends there.
    pub(super) fn push(&mut self, token: &[u8]) -> (String, bool) {
        self.bytes.extend_from_slice(token);
        self.take_characters();
        let stop = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min();
        if let Some(at) = stop {
            self.held.truncate(at);
            return (std::mem::take(&mut self.held), true);
        }
        let may_be_stop = |at: &usize| {
            let rest = self.held.get(*at..).unwrap_or_default();
            self.stops.iter().any(|stop| stop.starts_with(rest))
        };
        let starts = self.held.char_indices().map(|(at, _)| at);
        let at = starts.into_iter().find(may_be_stop).unwrap_or(self.held.len());
        let held = self.held.split_off(at);
        (std::mem::replace(&mut self.held, held), false)
    }

    /// What was held back, at the end of the answer. A character that did not come to its end
    /// is left out.
    pub(super) fn rest(self) -> String {
        self.held
    }

    /// Moves what are whole characters; bytes that are none become U+FFFD.
    fn take_characters(&mut self) {
        let mut taken = 0;
        for chunk in self.bytes.utf8_chunks() {
            self.held.push_str(chunk.valid());
            taken += chunk.valid().len();
            let invalid = chunk.invalid();
            let is_last = taken + invalid.len() == self.bytes.len();
            if invalid.is_empty() || (is_last && is_beginning(invalid)) {
                break;
            }
            self.held.push(char::REPLACEMENT_CHARACTER);
            taken += invalid.len();
        }
        self.bytes.drain(..taken);
    }
}

/// Whether more bytes may make a character of these.
fn is_beginning(bytes: &[u8]) -> bool {
    str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::AnswerText;

    fn said(stops: &[&str], tokens: &[&[u8]]) -> (Vec<String>, bool) {
        let mut text = AnswerText::new(stops.iter().map(|&stop| stop.to_owned()).collect());
        let mut said = Vec::new();
        for token in tokens {
            let (piece, is_end) = text.push(token);
            said.push(piece);
            if is_end {
                return (said, true);
            }
        }
        said.push(text.rest());
        (said, false)
    }

    #[test]
    fn a_character_is_said_when_it_is_whole() {
        let (pieces, _) = said(&[], &[b"Gr\xc3", b"\xbc", b"\xc3\x9f\xf0\x9f", b"\x98\x80"]);
        assert_eq!(pieces, ["Gr", "ü", "ß", "😀", ""]);
    }

    #[test]
    fn bytes_that_are_no_character_are_replaced_and_a_cut_one_is_left_out() {
        let (pieces, _) = said(&[], &[b"a\xffb", b"\xc3", b"c", b"\xe2\x82"]);
        assert_eq!(pieces, ["a\u{fffd}b", "", "\u{fffd}c", "", ""]);
    }

    #[test]
    fn a_stop_text_ends_the_answer_before_it_wherever_tokens_cut_it() {
        let tokens: [&[u8]; 3] = [b"one EN", b"D", b" two"];
        assert_eq!(said(&["END"], &tokens), (vec!["one ".into(), String::new()], true));
        // The one that comes first in the text, not in the list.
        assert_eq!(said(&["two", "N"], &tokens), (vec!["one E".into()], true));
    }

    #[test]
    fn what_only_began_like_a_stop_text_is_said() {
        let (pieces, is_end) = said(&["ENDE"], &[b"one EN", b"D two", b" E"]);
        assert_eq!(pieces, ["one ", "END two", " ", "E"]);
        assert!(!is_end);
    }
}
