//! The source text of a function, as its writer wrote it.

use proc_macro2::TokenStream;

/// More of it says no more.
const MAX_BYTES: usize = 64 << 10;

/// The text of an item's tokens: cut from its file, and else as the compiler shows them.
pub(crate) fn text_of(item: &TokenStream) -> String {
    let text = from_file(&item.clone().into()).unwrap_or_else(|| item.to_string());
    match text.char_indices().map(|(at, _)| at).find(|at| *at > MAX_BYTES) {
        Some(end) => text.get(..end).unwrap_or_default().to_owned(),
        None => text,
    }
}

/// A place in a file: line and column, from 1, columns in characters.
type Place = (usize, usize);

fn from_file(item: &proc_macro::TokenStream) -> Option<String> {
    let first = item.clone().into_iter().next()?.span();
    let last = item.clone().into_iter().last()?.span();
    // What another macro made stands in no file as it is.
    let file = first.local_file()?;
    if last.local_file()? != file {
        return None;
    }
    let (start, end) = (first.start(), last.end());
    let text = std::fs::read_to_string(file).ok()?;
    let cut = cut(&text, (start.line(), start.column()), (end.line(), end.column()))?;
    cut.contains("fn").then(|| dedented(cut, start.column()))
}

/// What stands from one place to another.
fn cut(text: &str, from: Place, to: Place) -> Option<&str> {
    text.get(offset(text, from)?..offset(text, to)?)
}

fn offset(text: &str, (line, column): Place) -> Option<usize> {
    let mut start = 0;
    for _ in 1..line {
        start += text.get(start..)?.find('\n')? + 1;
    }
    let rest = text.get(start..)?;
    let of_line = rest.split('\n').next()?;
    let places = of_line.char_indices().map(|(at, _)| at).chain([of_line.len()]);
    Some(start + places.into_iter().nth(column.checked_sub(1)?)?)
}

/// Lines after the first without the blanks that the first had in front.
fn dedented(text: &str, column: usize) -> String {
    let indent = " ".repeat(column.saturating_sub(1));
    let lines = text.split('\n').enumerate().map(|(at, line)| match at {
        0 => line,
        _ => line.strip_prefix(&indent).unwrap_or(line),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_counted_in_characters() {
        let text = "a\nünd fn f() {}\n}\n";
        assert_eq!(cut(text, (2, 5), (2, 14)), Some("fn f() {}"));
        assert_eq!(cut(text, (2, 5), (3, 2)), Some("fn f() {}\n}"));
        assert_eq!(cut(text, (9, 1), (9, 2)), None);
    }

    #[test]
    fn a_method_is_shown_from_the_left_edge() {
        assert_eq!(dedented("fn f() {\n        1\n    }", 5), "fn f() {\n    1\n}");
    }
}
