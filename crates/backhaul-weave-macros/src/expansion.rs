//! What a function becomes: the same, with its body run as a call.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{
    Block, Error, Expr, ExprAsync, ImplItemFn, Path, Result, ReturnType, Signature, Stmt,
    TraitItemFn, Type,
};

use crate::options::Options;
use crate::parameters::{Parameter, Parameters, Shown, has_receiver};
use crate::source;
use crate::support_path::support_path;

/// The function that is an op, with what belongs to it.
struct Op<'a> {
    options: &'a Options,
    support: Path,
    source: String,
    signature: Signature,
    parameters: Parameters,
}

/// Expands `#[op]` on an item.
pub(crate) fn expand(options: &Options, item: TokenStream) -> Result<TokenStream> {
    let function = parse(item.clone())?;
    let ImplItemFn { attrs, vis, defaultness, sig: mut signature, block } = function;
    if let Some(constness) = signature.constness {
        let message = "a const fn is run by the compiler, which logs nothing: take `const` away";
        return Err(Error::new(constness.span(), message));
    }
    let parameters = Parameters::take(&mut signature, options)?;
    let op = Op {
        options,
        support: support_path(options.crate_path.as_ref())?,
        source: source::text_of(&item),
        signature,
        parameters,
    };
    let body = op.body(&block)?;
    let signature = &op.signature;
    Ok(quote! {
        #(#attrs)*
        #vis #defaultness #signature {
            #body
        }
    })
}

/// A function or a method with a body.
fn parse(item: TokenStream) -> Result<ImplItemFn> {
    if let Ok(function) = syn::parse2::<ImplItemFn>(item.clone()) {
        return Ok(function);
    }
    match syn::parse2::<TraitItemFn>(item.clone()) {
        Ok(TraitItemFn { default: None, sig, .. }) => Err(Error::new(
            sig.ident.span(),
            "an op has a body: put #[op] on the methods that implement this one",
        )),
        _ => Err(Error::new(
            item.into_iter().next().map_or_else(Span::call_site, |token| token.span()),
            "functions and methods can be ops: expected `fn` here",
        )),
    }
}

impl Op<'_> {
    /// What stands in the place of the body.
    fn body(&self, block: &Block) -> Result<TokenStream> {
        let bindings = &self.parameters.bindings;
        if self.signature.asyncness.is_some() {
            let future = self.async_body(&block.stmts);
            let begun = self.begun(true);
            return Ok(quote! { #begun #future.await });
        }
        if let Some((before, inner)) = boxed_future(&self.signature, block) {
            let begun = self.begun(true);
            let (capture, statements) = (&inner.capture, &inner.block.stmts);
            let support = &self.support;
            let record = self.record_any();
            return Ok(quote! {
                #(#before)*
                ::std::boxed::Box::pin(async #capture {
                    #begun
                    #support::Begun::run_async(
                        __weave_begun,
                        async #capture { #(#bindings)* #(#statements)* },
                        #record
                    ).await
                })
            });
        }
        let (begun, run) = (self.begun(false), self.sync_body(&block.stmts));
        Ok(quote! { #begun #run })
    }

    fn sync_body(&self, statements: &[Stmt]) -> TokenStream {
        let (support, bindings) = (&self.support, &self.parameters.bindings);
        let annotation = match &self.signature.output {
            ReturnType::Default => quote!(-> ()),
            ReturnType::Type(_, kind) if has_impl(kind) => quote!(),
            given => quote!(#given),
        };
        let record = self.record();
        quote! {
            // Not a method: whatever traits are in scope.
            #[allow(clippy::redundant_closure_call)]
            #support::Begun::run(
                __weave_begun,
                move || #annotation { #(#bindings)* #(#statements)* },
                #record
            )
        }
    }

    fn async_body(&self, statements: &[Stmt]) -> TokenStream {
        let (support, bindings) = (&self.support, &self.parameters.bindings);
        let typed = match &self.signature.output {
            ReturnType::Default => quote!(),
            ReturnType::Type(_, kind) if has_impl(kind) || is_never(kind) => quote!(),
            // Never run: it tells the type of the block, which has no other place for it.
            ReturnType::Type(_, kind) => quote! {
                #[allow(unreachable_code, clippy::diverging_sub_expression, clippy::empty_loop)]
                if false {
                    let __weave_never: #kind = loop {};
                    return __weave_never;
                }
            },
        };
        let record = self.record();
        quote! {
            #support::Begun::run_async(
                __weave_begun,
                async move { #typed #(#bindings)* #(#statements)* },
                #record
            )
        }
    }

    /// What the call is told of the output, whose type is known.
    fn record(&self) -> TokenStream {
        match &self.signature.output {
            ReturnType::Type(_, kind) if is_never(kind) => quote!(|_, _| ()),
            ReturnType::Type(_, kind) if !has_impl(kind) => {
                self.record_of(&quote!(: &#kind), kind.span())
            }
            ReturnType::Default => self.record_of(&quote!(: &()), Span::call_site()),
            ReturnType::Type(..) => self.record_any(),
        }
    }

    fn record_any(&self) -> TokenStream {
        self.record_of(&quote!(), Span::call_site())
    }

    fn record_of(&self, annotation: &TokenStream, span: Span) -> TokenStream {
        let support = &self.support;
        let ok = if self.options.skip_output {
            quote!({
                let _ = __weave_value;
                __weave_outcome.hidden()
            })
        } else {
            quote_spanned!(span=> __weave_outcome.returned((&&&#support::Probe(__weave_value)).weave_capture()))
        };
        quote! {
            |__weave_outcome, __weave_output #annotation| {
                #[allow(unused_imports)]
                use #support::probe::*;
                #[allow(clippy::needless_borrow, unreachable_patterns)]
                match (&&#support::Probe(__weave_output)).weave_split() {
                    ::core::result::Result::Ok(__weave_value) => #ok,
                    ::core::result::Result::Err(__weave_error) => __weave_outcome
                        .failed((&&&&#support::Probe(__weave_error)).weave_exception()),
                }
            }
        }
    }

    /// The statements that begin the call.
    fn begun(&self, is_async: bool) -> TokenStream {
        let support = &self.support;
        let info = self.info(is_async);
        let self_type = match has_receiver(&self.signature.inputs) {
            true => quote!(::core::option::Option::Some(::core::any::type_name::<Self>())),
            false => quote!(::core::option::Option::None),
        };
        let arguments = self.parameters.logged.iter().map(|one| self.argument(one));
        let attributes = self.options.attributes.iter().map(|(key, value)| {
            quote!(__weave_arguments.attribute(#key, (&&&#support::Probe(&(#value))).weave_capture());)
        });
        let display_name = self.options.display_name.iter();
        quote! {
            static __WEAVE_SITE: #support::OpSite = #support::OpSite::new(#info);
            let __weave_begun = #support::begin(&__WEAVE_SITE, #self_type, |__weave_arguments| {
                #[allow(unused_imports)]
                use #support::probe::*;
                #(#arguments)*
                #(#attributes)*
                #(__weave_arguments.display_name(#display_name);)*
                let _ = __weave_arguments;
            });
        }
    }

    fn argument(&self, parameter: &Parameter) -> TokenStream {
        let support = &self.support;
        let Parameter { name, ident, shown } = parameter;
        match (shown, name.as_str()) {
            (Shown::Redacted, _) => quote!(__weave_arguments.redacted(#name);),
            (Shown::Whole, "self") => quote! {
                if let ::core::option::Option::Some(__weave_self) =
                    (&&#support::Probe(&#ident)).weave_capture_self()
                {
                    __weave_arguments.add(#name, __weave_self);
                }
            },
            (Shown::Whole, _) => quote! {
                __weave_arguments.add(#name, (&&&#support::Probe(&#ident)).weave_capture());
            },
        }
    }

    fn info(&self, is_async: bool) -> TokenStream {
        let (support, source) = (&self.support, &self.source);
        let function = self.signature.ident.to_string();
        let function = function.strip_prefix("r#").unwrap_or(&function);
        let name = self.options.name.as_ref().map_or_else(|| function.to_owned(), |it| it.value());
        let is_named = self.options.name.is_some();
        let sample_rate = self.options.sample_rate.unwrap_or(1.0);
        let line = quote_spanned!(self.signature.ident.span()=> ::core::line!());
        quote! {
            #support::OpInfo {
                name: #name,
                is_named: #is_named,
                source: #source,
                file: ::core::file!(),
                line: #line,
                function: ::core::concat!(::core::module_path!(), "::", #function),
                package: ::core::env!("CARGO_PKG_NAME"),
                package_version: ::core::env!("CARGO_PKG_VERSION"),
                is_async: #is_async,
                sample_rate: #sample_rate,
            }
        }
    }
}

/// The statements before an async block that a function boxes and gives, and the block: what
/// `#[async_trait]` makes of an async function.
fn boxed_future<'a>(
    signature: &Signature,
    block: &'a Block,
) -> Option<(&'a [Stmt], &'a ExprAsync)> {
    let ReturnType::Type(_, kind) = &signature.output else { return None };
    let Type::Path(path) = &**kind else { return None };
    if path.path.segments.last()?.ident != "Pin" {
        return None;
    }
    let (last, before) = block.stmts.split_last()?;
    let Stmt::Expr(Expr::Call(call), None) = last else { return None };
    let Expr::Path(called) = &*call.func else { return None };
    let called: Vec<String> =
        called.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
    if !called.ends_with(&["Box".to_owned(), "pin".to_owned()]) {
        return None;
    }
    match call.args.first() {
        Some(Expr::Async(inner)) => Some((before, inner)),
        _ => None,
    }
}

/// Whether a type can be named here: one that is only described cannot.
fn has_impl(kind: &Type) -> bool {
    fn any(tokens: TokenStream) -> bool {
        tokens.into_iter().any(|token| match token {
            proc_macro2::TokenTree::Group(group) => any(group.stream()),
            proc_macro2::TokenTree::Ident(ident) => ident == "impl",
            _ => false,
        })
    }
    any(quote!(#kind))
}

fn is_never(kind: &Type) -> bool {
    matches!(kind, Type::Never(_))
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    fn error_of(item: TokenStream) -> String {
        let options = Options { crate_path: Some(parse_quote!(weave)), ..Options::default() };
        expand(&options, item).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_cannot_be_an_op_is_refused_with_what_can() {
        assert!(
            error_of(quote!(
                struct A;
            ))
            .contains("functions and methods")
        );
        assert!(
            error_of(quote!(
                const fn f() {}
            ))
            .contains("const")
        );
        assert!(
            error_of(quote!(
                fn f(&self);
            ))
            .contains("body")
        );
    }

    #[test]
    fn a_boxed_future_is_known_by_its_form() {
        let function: ImplItemFn = parse_quote! {
            fn f<'a>(&'a self) -> Pin<Box<dyn Future<Output = u8> + Send + 'a>> {
                Box::pin(async move { 1 })
            }
        };
        assert!(boxed_future(&function.sig, &function.block).is_some());
        assert!(has_impl(&parse_quote!(Option<impl Iterator>)));
        assert!(!has_impl(&parse_quote!(Implement)));
    }
}
