//! The item that the attribute stands on.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::token::Brace;
use syn::{AttrStyle, Attribute, Signature, Token, Visibility, braced};

/// What an attribute wants to stand on, for errors.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// What is said of anything else.
    pub nothing_else: &'static str,
    /// What is said of a method that has no body.
    pub body: &'static str,
}

/// A function or method with a body.
pub struct Function {
    /// Its attributes, those at the start of its body among them.
    pub attributes: Vec<Attribute>,
    /// Who may call it.
    pub visibility: Visibility,
    /// All from its qualifiers to its output and bounds.
    pub signature: Signature,
    /// What it does.
    pub body: Body,
}

/// What stands between a function's braces, unparsed: the compiler tells of errors in it
/// better than a macro could.
pub struct Body {
    /// The braces.
    pub brace: Brace,
    /// What stands between them.
    pub statements: TokenStream,
}

impl Body {
    /// The body as a block in another, in which other statements may come first. What it
    /// borrows for its last expression outlives that, as it would where it was.
    ///
    /// It still stands in the user's file, but belongs to the expansion: lints would find that
    /// its braces are too many.
    pub fn nested(&self) -> Group {
        let mut block = Group::new(Delimiter::Brace, self.statements.clone());
        block.set_span(self.brace.span.join().resolved_at(Span::call_site()));
        block
    }
}

impl ToTokens for Body {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.brace.surround(tokens, |inside| self.statements.to_tokens(inside));
    }
}

impl Function {
    /// Reads the item.
    ///
    /// # Errors
    /// Where it is no function or has no body, and at errors in its signature.
    pub fn read(item: &TokenStream, wanted: &Wanted) -> syn::Result<Self> {
        let is_function = |input: ParseStream<'_>| {
            let answer = is_function(input);
            input.parse::<TokenStream>()?;
            answer
        };
        if !Parser::parse2(is_function, item.clone()).unwrap_or(false) {
            return Err(syn::Error::new_spanned(item, wanted.nothing_else));
        }
        Parser::parse2(|input: ParseStream<'_>| Self::parse(input, wanted), item.clone())
    }

    fn parse(input: ParseStream<'_>, wanted: &Wanted) -> syn::Result<Self> {
        let mut attributes = Attribute::parse_outer(input)?;
        let visibility = input.parse()?;
        let signature: Signature = input.parse()?;
        if input.peek(Token![;]) {
            return Err(syn::Error::new_spanned(&signature, wanted.body));
        }
        let inside;
        let brace = braced!(inside in input);
        attributes.extend(inner_attributes(&inside)?);
        let body = Body { brace, statements: inside.parse()? };
        Ok(Self { attributes, visibility, signature, body })
    }
}

/// Attributes at the start of the body are the function's own, and have to stay so when the
/// body moves into a closure.
fn inner_attributes(inside: ParseStream<'_>) -> syn::Result<Vec<Attribute>> {
    let mut attributes = Attribute::parse_inner(inside)?;
    for attribute in &mut attributes {
        attribute.style = AttrStyle::Outer;
    }
    Ok(attributes)
}

/// Whether a function comes, as far as its first words say.
fn is_function(input: ParseStream<'_>) -> syn::Result<bool> {
    Attribute::parse_outer(input)?;
    input.parse::<Visibility>()?;
    loop {
        if input.peek(Token![fn]) {
            return Ok(true);
        }
        if input.peek(Token![extern]) {
            input.parse::<syn::Abi>()?;
            continue;
        }
        let is_qualifier =
            input.peek(Token![const]) || input.peek(Token![async]) || input.peek(Token![unsafe]);
        if !is_qualifier {
            return Ok(false);
        }
        Ident::parse_any(input)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Wanted = Wanted { nothing_else: "not this", body: "no body" };

    fn read(item: &str) -> Result<String, String> {
        let tokens = item.parse::<TokenStream>().expect(item);
        let function = Function::read(&tokens, &WANTED).map_err(|error| error.to_string())?;
        let Function { attributes, visibility, signature, body } = function;
        Ok(quote::quote!(#(#attributes)* #visibility #signature #body).to_string())
    }

    #[test]
    fn all_that_is_written_of_a_function_is_kept() {
        for item in [
            "# [inline] pub (crate) async unsafe extern \"C\" fn f < 'a , T : 'a > (& self , t : & 'a T) -> T where T : Copy { * t }",
            "fn f () { what (ever [it] is) ; }",
        ] {
            assert_eq!(read(item).as_deref(), Ok(item));
        }
    }

    #[test]
    fn attributes_within_the_body_become_the_functions_own() {
        let read = read("fn f() { #![allow(unused)] #[cold] fn g() {} }");
        assert_eq!(read.as_deref(), Ok("# [allow (unused)] fn f () { # [cold] fn g () { } }"));
    }

    #[test]
    fn what_is_no_function_is_refused() {
        for item in
            ["struct A;", "const A: u8 = 1;", "unsafe impl A {}", "extern \"C\" {}", "|| 1", ""]
        {
            let refused = Err("not this".to_owned());
            assert_eq!(read(item), refused, "{item}");
        }
        assert_eq!(read("fn f(&self);"), Err("no body".to_owned()));
    }
}
