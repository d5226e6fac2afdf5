//! What stands in the parentheses of an attribute.

use proc_macro2::Ident;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Token, parenthesized};

/// Options that are given by their words: in any order, separated by commas, each once.
pub trait Options: Default {
    /// Reads what follows the word of an option.
    ///
    /// # Errors
    /// At what is wrong with it; at the word, if there is no such option.
    fn take(&mut self, option: &Ident, input: ParseStream<'_>) -> syn::Result<()>;

    /// Reads all of them.
    ///
    /// # Errors
    /// Those of [`take`](Options::take), and at the word of an option that is given twice.
    fn read(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut options = Self::default();
        let mut given: Vec<Ident> = Vec::new();
        while !input.is_empty() {
            let option = Ident::parse_any(input)?;
            if given.contains(&option) {
                let message = format!("`{option}` is given twice");
                return Err(syn::Error::new(option.span(), message));
            }
            options.take(&option, input)?;
            given.push(option);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }
}

/// Reads `= VALUE`.
///
/// # Errors
/// Where there is none.
pub fn value<T: Parse>(input: ParseStream<'_>) -> syn::Result<T> {
    input.parse::<Token![=]>()?;
    input.parse()
}

/// Reads `(ELEMENT, ..)`, which may be empty.
///
/// # Errors
/// Where there are no parentheses, and those of `element`.
pub fn list<T>(
    input: ParseStream<'_>,
    element: fn(ParseStream<'_>) -> syn::Result<T>,
) -> syn::Result<Vec<T>> {
    let inside;
    parenthesized!(inside in input);
    let elements = Punctuated::<T, Token![,]>::parse_terminated_with(&inside, element)?;
    Ok(elements.into_iter().collect())
}
