//! Functions that are no `async fn` and return a future all the same: what `async_trait` makes
//! of one, and what is written by hand like it.

use backhaul_macro_support::Body;
use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::Parser;
use syn::{
    AngleBracketedGenericArguments, Block, Expr, ExprAsync, GenericArgument, PathArguments,
    ReturnType, Signature, Stmt, Type, TypeParamBound,
};

/// The future that a function's body ends in.
pub(crate) struct Future {
    before: Vec<Stmt>,
    /// The call that the block is the argument of, as `Box::pin`.
    call: Option<Expr>,
    asynchronous: ExprAsync,
    /// What the block holds.
    pub(crate) block: Body,
    pub(crate) output: Type,
}

impl Future {
    /// The future that a function returns, if its type says that it does, and its body ends in
    /// `Box::pin(async move { .. })` or `async move { .. }`.
    pub(crate) fn in_body(signature: &Signature, body: &Body) -> Option<Self> {
        if signature.asyncness.is_some() {
            return None;
        }
        let ReturnType::Type(_, ty) = &signature.output else { return None };
        let output = output_of(ty)?;
        let mut before = Block::parse_within.parse2(body.statements.clone()).ok()?;
        let Some(Stmt::Expr(last, None)) = before.pop() else { return None };
        let (call, asynchronous) = match last {
            Expr::Async(asynchronous) => (None, asynchronous),
            Expr::Call(mut call) if is_pin(&call.func) && call.args.len() == 1 => {
                let Some(Expr::Async(asynchronous)) = call.args.pop() else {
                    return None;
                };
                (Some(*call.func), asynchronous)
            }
            _ => return None,
        };
        let Block { brace_token: brace, stmts } = &asynchronous.block;
        let block = Body { brace: *brace, statements: quote!(#(#stmts)*) };
        Some(Self { before, call, asynchronous, block, output })
    }

    /// The body with something else in the place of what the block holds.
    ///
    /// The block owns what it needs, whether it said `move` or not: the arguments are recorded
    /// in it, when the function itself has returned.
    pub(crate) fn around(&self, inside: &TokenStream) -> TokenStream {
        let Self { before, asynchronous: ExprAsync { attrs, .. }, .. } = self;
        let block = quote!(#(#attrs)* async move { #inside });
        match &self.call {
            Some(function) => quote!(#(#before)* #function(#block)),
            None => quote!(#(#before)* #block),
        }
    }
}

fn is_pin(function: &Expr) -> bool {
    let Expr::Path(function) = function else { return false };
    let words: Vec<String> =
        function.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
    words.ends_with(&["Box".to_owned(), "pin".to_owned()])
}

/// The output of the future that a type is, or points to.
fn output_of(ty: &Type) -> Option<Type> {
    match ty {
        Type::Paren(inside) => output_of(&inside.elem),
        Type::Group(inside) => output_of(&inside.elem),
        Type::TraitObject(object) => object.bounds.iter().find_map(output_of_bound),
        Type::ImplTrait(opaque) => opaque.bounds.iter().find_map(output_of_bound),
        Type::Path(path) => {
            let last = path.path.segments.last()?;
            let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
            match last.ident.to_string().as_str() {
                "Pin" | "Box" => types(arguments).find_map(output_of),
                // The names that the crate `futures` gives to boxed futures.
                "BoxFuture" | "LocalBoxFuture" => types(arguments).next().cloned(),
                _ => None,
            }
        }
        _ => None,
    }
}

fn types(arguments: &AngleBracketedGenericArguments) -> impl Iterator<Item = &Type> {
    arguments.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

fn output_of_bound(bound: &TypeParamBound) -> Option<Type> {
    let TypeParamBound::Trait(bound) = bound else { return None };
    let last = bound.path.segments.last()?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    let is_future = last.ident == "Future";
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::AssocType(assigned) if is_future && assigned.ident == "Output" => {
            Some(assigned.ty.clone())
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use backhaul_macro_support::{Function, Wanted};

    fn read(function: &str) -> Function {
        let tokens = function.parse().expect(function);
        Function::read(&tokens, &Wanted { nothing_else: "", body: "" }).expect(function)
    }

    fn output(function: &str) -> Option<String> {
        let Function { signature, body, .. } = read(function);
        let Future { output, .. } = Future::in_body(&signature, &body)?;
        Some(quote!(#output).to_string())
    }

    #[test]
    fn futures_are_found_whichever_way_they_are_returned() {
        for function in [
            "fn f() -> Pin<Box<dyn Future<Output = u8> + Send>> { Box::pin(async move { 1 }) }",
            "fn f() -> std::pin::Pin<Box<dyn ::core::future::Future<Output = u8> + Send + 'a>> {
                 let a = 1;
                 ::std::boxed::Box::pin(async move { a })
             }",
            "fn f() -> BoxFuture<'static, u8> { Box::pin(async { 1 }) }",
            "fn f() -> impl Future<Output = u8> + Send { async move { 1 } }",
        ] {
            assert_eq!(output(function).as_deref(), Some("u8"), "{function}");
        }
    }

    #[test]
    fn what_is_no_future_or_comes_from_elsewhere_is_left_alone() {
        for function in [
            "async fn f() -> BoxFuture<'static, u8> { Box::pin(async { 1 }) }",
            "fn f() -> impl Future<Output = u8> { g() }",
            "fn f() -> impl Future<Output = u8> { async { 1 }; }",
            "fn f() -> Pin<Box<dyn Future<Output = u8>>> { Box::pin(g()) }",
            "fn f() -> Pin<Box<dyn Stream<Item = u8>>> { Box::pin(async {}) }",
            "fn f() -> u8 { 1 }",
            "fn f() { not rust at all }",
        ] {
            assert_eq!(output(function), None, "{function}");
        }
    }
}
