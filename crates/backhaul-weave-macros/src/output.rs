//! What a function returns, as its moved body has to be told.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{ReturnType, Type, parse_quote};

/// The type of a function's output, as it may be written inside of it.
pub(crate) struct Output {
    /// With `_` where the function says `impl Trait`.
    ty: Type,
}

impl Output {
    /// That of a function.
    pub(crate) fn of(written: &ReturnType) -> Self {
        match written {
            ReturnType::Default => Self { ty: parse_quote!(()) },
            ReturnType::Type(_, ty) => Self::of_type(ty),
        }
    }

    pub(crate) fn of_type(ty: &Type) -> Self {
        let mut ty = ty.clone();
        Inferred.visit_type_mut(&mut ty);
        Self { ty }
    }

    /// Whether there never is one.
    pub(crate) fn is_never(&self) -> bool {
        matches!(self.ty, Type::Never(_))
    }

    /// Whether it looks like a future by its name. `impl Trait` might be one.
    pub(crate) fn names_a_future(&self) -> bool {
        fn any(tokens: TokenStream) -> bool {
            tokens.into_iter().any(|token| match token {
                TokenTree::Group(group) => any(group.stream()),
                TokenTree::Ident(word) => word == "_" || word.to_string().ends_with("Future"),
                _ => false,
            })
        }
        any(self.ty.to_token_stream())
    }

    /// What a closure with the function's body says of its output, so that the body means the
    /// same in it: `?` converts errors to it, and values become trait objects.
    pub(crate) fn annotation(&self) -> TokenStream {
        let ty = &self.ty;
        quote!(-> #ty)
    }

    /// The same for an `async` block, which has no place for a type: the first `return` in it
    /// says what it is, and this one is never reached.
    pub(crate) fn hint(&self) -> TokenStream {
        if matches!(self.ty, Type::Infer(_) | Type::Never(_)) {
            return TokenStream::new();
        }
        let ty = &self.ty;
        // An error that says where the type comes from shows where the user wrote it.
        let span = Span::mixed_site().located_at(ty.span());
        let never = Ident::new("__weave_never", span);
        quote_spanned! {span=>
            if let ::core::option::Option::Some(#never) = ::core::option::Option::<#ty>::None {
                return #never;
            }
        }
    }
}

/// Types that only a signature can name are left to be inferred.
struct Inferred;

impl VisitMut for Inferred {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        if matches!(ty, Type::ImplTrait(_)) {
            *ty = parse_quote!(_);
        } else {
            visit_mut::visit_type_mut(self, ty);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ty: &str) -> Output {
        Output::of_type(&syn::parse_str(ty).expect(ty))
    }

    #[test]
    fn what_only_a_signature_can_name_is_inferred() {
        let annotation = |ty| of(ty).annotation().to_string();
        assert_eq!(annotation("Result<impl Iterator<Item = u8>, E>"), "-> Result < _ , E >");
        assert_eq!(annotation("Box<dyn Fn(&str) -> u8>"), "-> Box < dyn Fn (& str) -> u8 >");
        assert_eq!(Output::of(&ReturnType::Default).annotation().to_string(), "-> ()");
    }

    #[test]
    fn a_block_gets_a_hint_where_there_is_something_to_say() {
        assert!(of("impl Future<Output = u8>").hint().is_empty());
        assert!(of("!").hint().is_empty() && of("!").is_never());
        assert!(of("()").hint().to_string().contains("Option :: < () > :: None"));
    }

    #[test]
    fn futures_are_known_by_their_names() {
        for ty in [
            "Pin<Box<dyn std::future::Future<Output = u8>>>",
            "(impl Send, u8)",
            "BoxFuture<'_, u8>",
        ] {
            assert!(of(ty).names_a_future(), "{ty}");
        }
        assert!(!of("Result<Vec<u8>, Error>").names_a_future());
    }
}
