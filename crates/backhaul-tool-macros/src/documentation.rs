//! What is written of an item, for models to read.

use syn::{Attribute, Expr, Lit, Meta};

/// The text of documentation, up to its first heading: what comes then is for who reads the
/// code. `None`: there is none.
pub(crate) fn text_of(attributes: &[Attribute]) -> Option<String> {
    let lines: Vec<String> = attributes.iter().filter_map(text_of_one).collect();
    let lines = lines.iter().flat_map(|lines| lines.split('\n'));
    let before_heading = lines.map(without_indent).take_while(|line| !is_heading(line));
    let text = before_heading.collect::<Vec<_>>().join("\n");
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Whether an attribute is documentation.
pub(crate) fn is_documentation(attribute: &Attribute) -> bool {
    attribute.path().is_ident("doc")
}

fn text_of_one(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(pair) = &attribute.meta else { return None };
    let Expr::Lit(literal) = &pair.value else { return None };
    match &literal.lit {
        Lit::Str(text) if is_documentation(attribute) => Some(text.value()),
        _ => None,
    }
}

fn without_indent(line: &str) -> &str {
    line.strip_prefix(' ').unwrap_or(line).trim_end()
}

fn is_heading(line: &str) -> bool {
    line.trim_start_matches('#').starts_with(' ') && line.starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_quote;

    fn text(item: &syn::ItemFn) -> Option<String> {
        text_of(&item.attrs)
    }

    #[test]
    fn lines_are_kept_up_to_the_first_heading() {
        let read = text(&parse_quote! {
            /// Sends it.
            ///
            /// - once
            #[inline]
            /// #1 is first.
            ///
            /// # Errors
            /// When it cannot.
            fn f() {}
        });
        assert_eq!(read.as_deref(), Some("Sends it.\n\n- once\n#1 is first."));
    }

    #[test]
    fn what_says_nothing_is_none() {
        assert_eq!(
            text(&parse_quote!(
                #[doc(hidden)]
                fn f() {}
            )),
            None
        );
        assert_eq!(
            text(&parse_quote!(
                #[doc = "  "]
                fn f() {}
            )),
            None
        );
        assert_eq!(
            text(&parse_quote!(
                fn f() {}
            )),
            None
        );
    }
}
