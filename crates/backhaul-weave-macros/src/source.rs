//! The text of a function as its author wrote it.

use std::fs;

use proc_macro::{Span, TokenStream, TokenTree};

/// The most bytes of a function's text that are kept: 64 KiB. It is stored once with the op,
/// and stands in the program.
const MOST_BYTES: usize = 64 * 1024;

/// The text of an item, from its first attribute on.
///
/// It is read from the file, as tokens know nothing of line breaks and comments. Where there is
/// no such file, or the item stands in no file in this form, it is the tokens.
pub(crate) fn source_of(item: &TokenStream) -> String {
    let text = text_in_file(item).unwrap_or_else(|| item.to_string());
    shortened(text)
}

/// Other attributes may have made some of the tokens, and then any place is theirs. The name
/// and the closing brace are the author's.
fn text_in_file(item: &TokenStream) -> Option<String> {
    let tokens: Vec<TokenTree> = item.clone().into_iter().collect();
    let name = name_in(&tokens)?;
    let lines = Lines::new(&fs::read_to_string(name.local_file()?).ok()?);
    let offset = |span: Span| {
        let place = Place { line: span.line(), column: span.column() };
        (span.file() == name.file()).then(|| lines.offset(place)).flatten()
    };
    let end = offset(tokens.last()?.span().end())?;
    let name_start = offset(name.start())?;
    let spans = tokens.iter().map(TokenTree::span).chain([Span::call_site()]);
    let start = spans
        .filter_map(|span| offset(span.start()))
        .filter(|&start| lines.is_start_of_item(start, name_start))
        .min()?;
    lines.text.get(start..end).filter(|_| name_start < end).map(str::to_owned)
}

/// Where the name of the function stands.
fn name_in(tokens: &[TokenTree]) -> Option<Span> {
    let is_fn =
        |token: &TokenTree| matches!(token, TokenTree::Ident(word) if word.to_string() == "fn");
    let at = tokens.iter().position(is_fn)?;
    tokens.get(at + 1).map(TokenTree::span)
}

/// Where something begins or ends: a line and a character in it, both counted from 1.
#[derive(Clone, Copy)]
struct Place {
    line: usize,
    column: usize,
}

/// A file's text, as the compiler counts in it: without a byte order mark, and with lines that
/// end in one character.
struct Lines {
    text: String,
}

impl Lines {
    fn new(text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self { text: text.replace("\r\n", "\n") }
    }

    /// The byte at which a place stands.
    fn offset(&self, place: Place) -> Option<usize> {
        let mut start = 0;
        for (number, line) in (1..).zip(self.text.split_inclusive('\n')) {
            if number == place.line {
                let mut ends = line.char_indices().map(|(at, _)| at).chain([line.len()]);
                return ends.nth(place.column.checked_sub(1)?).map(|at| start + at);
            }
            start += line.len();
        }
        None
    }

    /// Whether nothing but attributes, comments and words such as `pub` stands between `start`
    /// and the name. It is a place of some other item otherwise, or of a macro.
    fn is_start_of_item(&self, start: usize, name: usize) -> bool {
        let Some(between) = self.text.get(start..name) else { return false };
        let mut depth = 0_usize;
        for letter in between.lines().flat_map(without_comment) {
            match letter {
                '[' => depth += 1,
                ']' if depth == 0 => return false,
                ']' => depth -= 1,
                '{' | '}' | ';' if depth == 0 => return false,
                _ => {}
            }
        }
        depth == 0
    }
}

fn without_comment(line: &str) -> std::str::Chars<'_> {
    line.split_once("//").map_or(line, |(code, _)| code).chars()
}

fn shortened(mut text: String) -> String {
    if text.len() > MOST_BYTES {
        text.truncate(text.floor_char_boundary(MOST_BYTES));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "struct Ü; // é\n\t/// Adds {.\n\t#[op(name = \"a\")]\n\tpub fn add() {\n\t}\n";

    fn offset(line: usize, column: usize) -> Option<usize> {
        Lines::new(TEXT).offset(Place { line, column })
    }

    #[test]
    fn columns_are_characters() {
        assert_eq!(offset(1, 8), Some(7));
        assert_eq!(offset(1, 9), Some(9), "`Ü` has two bytes");
        assert_eq!(offset(2, 2).and_then(|at| TEXT.get(at..at + 3)), Some("///"));
    }

    #[test]
    fn a_place_may_be_the_end_of_a_line_and_none_beyond_it() {
        assert_eq!(offset(5, 3).and_then(|at| TEXT.get(..at)), Some(TEXT.trim_end()));
        assert_eq!(offset(5, 9), None);
        assert_eq!(offset(9, 1), None);
        assert_eq!(offset(1, 0), None);
    }

    #[test]
    fn line_ends_and_the_mark_at_the_start_are_as_the_compiler_sees_them() {
        let lines = Lines::new("\u{feff}a\r\nb\r\n");
        assert_eq!(lines.text, "a\nb\n");
    }

    #[test]
    fn an_item_starts_at_its_attributes_and_at_no_other_item() {
        let lines = Lines::new(TEXT);
        let name = TEXT.find("add").expect("the name");
        let starts = |what: &str| lines.is_start_of_item(TEXT.find(what).expect(what), name);
        assert!(starts("///"));
        assert!(starts("#[op"));
        assert!(starts("pub"));
        assert!(!starts("struct"));
        assert!(!starts("(name"), "an attribute that `cfg_attr` gave");
        assert!(!lines.is_start_of_item(name + 1, name));
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = shortened(format!("a{}", "é".repeat(MOST_BYTES)));
        assert_eq!(text.len(), MOST_BYTES - 1);
    }
}
