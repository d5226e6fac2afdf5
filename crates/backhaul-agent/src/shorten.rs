//! Text of any length, cut to what a person reads.

/// The first `longest` characters of a text.
pub(crate) fn cut(text: &str, longest: usize) -> &str {
    let end = text.char_indices().nth(longest).map_or(text.len(), |(end, _)| end);
    text.get(..end).unwrap_or_default()
}

/// A text, or its first `longest` characters and `…`.
pub(crate) fn shortened(text: &str, longest: usize) -> String {
    let shown = cut(text, longest);
    let ellipsis = if shown.len() < text.len() { "…" } else { "" };
    format!("{shown}{ellipsis}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters_and_says_so() {
        for (text, longest, expected) in
            [("", 0, ""), ("abc", 3, "abc"), ("äöü", 2, "äö…"), ("a", 0, "…")]
        {
            assert_eq!(shortened(text, longest), expected);
            assert_eq!(cut(text, longest), expected.trim_end_matches('…'));
        }
    }
}
