//! Words that say what becomes of a call.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::Path;
use syn::parse::{Parse, ParseStream};

/// One of the words of an enum: `queue`, or a path to the variant, `OfflinePolicy::Queue`.
pub(crate) struct Word {
    /// As in options: lower case with underscores.
    name: &'static str,
    variant: &'static str,
    /// Where the user wrote a path, it stands in the expansion: it may be all that his `use` is
    /// for.
    path: Path,
}

/// Words with the variants that they stand for.
type Words = &'static [(&'static str, &'static str)];

const POLICIES: Words =
    &[("queue", "Queue"), ("skip", "Skip"), ("local_fallback", "LocalFallback"), ("fail", "Fail")];
const ON_UNKNOWN: Words = &[
    ("repeat", "Repeat"),
    ("check_first", "CheckFirst"),
    ("ask_person", "AskPerson"),
    ("abandon", "Abandon"),
];

impl Word {
    /// Reads what becomes of a call while there is no network.
    pub(crate) fn policy(input: ParseStream<'_>) -> syn::Result<Self> {
        Self::read(input, POLICIES)
    }

    /// Reads what is done with a call of which nobody knows whether it was done.
    pub(crate) fn on_unknown(input: ParseStream<'_>) -> syn::Result<Self> {
        Self::read(input, ON_UNKNOWN)
    }

    fn read(input: ParseStream<'_>, words: Words) -> syn::Result<Self> {
        let path = Path::parse(input)?;
        let last = path.segments.last().map(|last| last.ident.to_string()).unwrap_or_default();
        let is_word = path.get_ident().is_some();
        let found = words
            .iter()
            .find(|(name, variant)| *variant == last.as_str() || is_word && *name == last.as_str());
        let Some(&(name, variant)) = found else {
            let names: Vec<String> = words.iter().map(|(name, _)| format!("`{name}`")).collect();
            let message = format!("expected one of {}", names.join(", "));
            return Err(syn::Error::new_spanned(path, message));
        };
        Ok(Self { name, variant, path })
    }

    pub(crate) fn is(&self, name: &str) -> bool {
        self.name == name
    }

    pub(crate) fn span(&self) -> Span {
        self.path.segments.last().map_or_else(Span::call_site, |last| last.ident.span())
    }

    /// The variant, in an enum of the library.
    pub(crate) fn variant_of(&self, enumeration: &TokenStream) -> TokenStream {
        let path = &self.path;
        if path.get_ident().is_none() {
            return quote!(#path);
        }
        let variant = Ident::new(self.variant, self.span());
        quote!(#enumeration::#variant)
    }
}
