//! How long something may take.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{Expr, Lit, LitInt};

/// A time: a whole number of seconds, or an expression of type `Duration`.
pub(crate) enum Seconds {
    Number(LitInt, u64),
    Duration(Box<Expr>),
}

impl Seconds {
    pub(crate) fn span(&self) -> Span {
        match self {
            Seconds::Number(literal, _) => literal.span(),
            Seconds::Duration(expression) => expression.span(),
        }
    }

    pub(crate) fn is_zero(&self) -> bool {
        matches!(self, Seconds::Number(_, 0))
    }
}

impl Parse for Seconds {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let expression: Expr = input.parse()?;
        let literal = match &expression {
            Expr::Lit(literal) => &literal.lit,
            _ => return Ok(Self::Duration(Box::new(expression))),
        };
        match literal {
            Lit::Int(number) => Ok(Self::Number(number.clone(), number.base10_parse()?)),
            _ => {
                let message = "expected a whole number of seconds, or a `Duration` such as \
                               `Duration::from_millis(500)`";
                Err(syn::Error::new(literal.span(), message))
            }
        }
    }
}

impl ToTokens for Seconds {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        tokens.extend(match self {
            Seconds::Number(_, number) => quote!(::core::time::Duration::from_secs(#number)),
            Seconds::Duration(expression) => quote!(#expression),
        });
    }
}
