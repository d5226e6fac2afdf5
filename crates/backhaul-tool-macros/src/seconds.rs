//! How long something may take.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{Expr, Lit};

/// A time: an expression for a whole number of seconds, or of type `Duration`.
pub(crate) struct Seconds(Expr);

impl Seconds {
    pub(crate) fn span(&self) -> Span {
        self.0.span()
    }

    pub(crate) fn is_zero(&self) -> bool {
        match &self.0 {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Int(number) => number.base10_parse().is_ok_and(|number: u64| number == 0),
                _ => false,
            },
            _ => false,
        }
    }

    /// The `Duration`.
    pub(crate) fn duration(&self, support: &TokenStream) -> TokenStream {
        let expression = &self.0;
        quote_spanned!(self.span()=> #support::duration(#expression))
    }
}

impl Parse for Seconds {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        input.parse().map(Self)
    }
}
