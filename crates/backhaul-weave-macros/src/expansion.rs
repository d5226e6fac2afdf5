//! The function that is put in the place of the user's.

use backhaul_macro_support::{Body, Function, Library, Wanted};
use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::Signature;
use syn::ext::IdentExt;

use crate::future::Future;
use crate::options::Options;
use crate::output::Output;
use crate::parameters::Parameters;
use crate::recording::{self, Recording};

const LIBRARY: Library = Library {
    attribute: "op",
    whole: "backhaul",
    part: "backhaul-weave",
    modules: [&["weave"], &[]],
    example: "#[op(crate = path::of::weave)]",
};

const WANTED: Wanted = Wanted {
    nothing_else: "only functions and methods can be ops",
    body: "a method without a body cannot be an op: put `op` on the methods of the trait's impls",
};

/// The item as an op, or as it is beside the errors that keep it from being one: code that
/// calls it has no errors of its own then.
pub(crate) fn expand(options: TokenStream, item: &TokenStream, source: &str) -> TokenStream {
    expanded(options, item, source).unwrap_or_else(|error| {
        let error = error.into_compile_error();
        quote!(#error #item)
    })
}

fn expanded(options: TokenStream, item: &TokenStream, source: &str) -> syn::Result<TokenStream> {
    let function = Function::read(item, &WANTED)?;
    if let Some(constness) = function.signature.constness {
        let message = "a `const fn` cannot be an op: a call of an op is stored when it runs";
        return Err(syn::Error::new_spanned(constness, message));
    }
    let options: Options = syn::parse2(options)?;
    let parameters = Parameters::new(&function.signature, &options)?;
    let support = LIBRARY.support_path(options.crate_path.as_ref())?;
    Ok(Expansion { function, options, parameters, support, source }.function())
}

/// A local variable that no code of the user's can see, nor be mistaken for.
fn local(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

/// Its functions have a lifetime of this name, which all of their arguments outlive.
fn is_of_async_trait(signature: &Signature) -> bool {
    signature.generics.lifetimes().any(|parameter| parameter.lifetime.ident == "async_trait")
}

struct Expansion<'a> {
    function: Function,
    options: Options,
    parameters: Parameters,
    /// The path of what is called.
    support: TokenStream,
    source: &'a str,
}

impl Expansion<'_> {
    fn function(&self) -> TokenStream {
        let Function { attributes, visibility, signature, body } = &self.function;
        let body = match Future::in_body(signature, body) {
            Some(future) => self.returning(&future),
            None if signature.asyncness.is_some() => self.asynchronous(),
            None => self.synchronous(),
        };
        let mut signature = signature.clone();
        self.parameters.name_patterns(&mut signature);
        quote!(#(#attributes)* #visibility #signature { #body })
    }

    fn synchronous(&self) -> TokenStream {
        let Function { signature, body, .. } = &self.function;
        let output = Output::of(&signature.output);
        let begin = self.begin(&recording::closure(&self.recordings(), &self.support));
        let (site, begun, record) =
            (self.site(false), local("__weave_begun"), self.record(&output));
        let patterns = self.parameters.patterns();
        let nested = body.nested();
        let body = if patterns.is_empty() { quote!(#body) } else { quote!({ #patterns #nested }) };
        let annotation = output.annotation();
        quote! {
            #site
            #begin
            #begun.run(move || #annotation #body, #record)
        }
    }

    /// An `async fn` does nothing before it is first polled, and so a future that nobody polls
    /// is no call.
    fn asynchronous(&self) -> TokenStream {
        let Function { signature, body, .. } = &self.function;
        let fill = recording::closure(&self.recordings(), &self.support);
        let patterns = self.parameters.patterns();
        self.awaited(&fill, &patterns, body, &Output::of(&signature.output))
    }

    /// A function that returns a future begins its call in that, but its arguments need not be
    /// there any more then: it may have moved or hidden them, or borrow them for less long than
    /// the future lives. They are captured first. What `async_trait` makes has them all, and
    /// is spared that.
    fn returning(&self, future: &Future) -> TokenStream {
        let Self { support, parameters, function, .. } = self;
        let (output, block) = (Output::of_type(&future.output), &future.block);
        let patterns = parameters.patterns();
        let recordings = self.recordings();
        if is_of_async_trait(&function.signature) {
            let fill = recording::closure(&recordings, support);
            return future.around(&self.awaited(&fill, &patterns, block, &output));
        }
        let fill = local("__weave_fill");
        let captured = recording::captured(&recordings, support);
        let body =
            future.around(&self.awaited(&quote!(#fill), &TokenStream::new(), block, &output));
        quote! {
            let #fill = #captured;
            #patterns
            #body
        }
    }

    /// The statements of a call in an `async` block.
    fn awaited(
        &self,
        fill: &TokenStream,
        patterns: &TokenStream,
        body: &Body,
        output: &Output,
    ) -> TokenStream {
        let (site, begin) = (self.site(true), self.begin(fill));
        let (begun, record) = (local("__weave_begun"), self.record(output));
        let (hint, body) = (output.hint(), body.nested());
        // clippy has nothing against a function that returns a future, and asks to await what
        // a block returns.
        let allowed = output.names_a_future().then(|| quote!(#[allow(clippy::async_yields_async)]));
        quote! {
            #site
            #begin
            #begun.run_async(#allowed async move { #hint #patterns #body }, #record).await
        }
    }

    fn site(&self, is_async: bool) -> TokenStream {
        let support = &self.support;
        let ident = &self.function.signature.ident;
        let function = ident.unraw().to_string();
        let name = self.options.name.as_ref().unwrap_or(&function);
        let is_named = self.options.name.is_some();
        let source = self.source;
        let sample_rate = Literal::f64_suffixed(self.options.sample_rate);
        let line = quote_spanned!(ident.span() => ::core::line!());
        quote! {
            static __WEAVE_SITE: #support::OpSite = #support::OpSite::new(#support::OpInfo {
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
            });
        }
    }

    fn begin(&self, fill: &TokenStream) -> TokenStream {
        let support = &self.support;
        let begun = local("__weave_begun");
        let self_type = match self.function.signature.receiver() {
            Some(_) => quote!(::core::option::Option::Some(::core::any::type_name::<Self>())),
            None => quote!(::core::option::Option::None),
        };
        quote!(let #begun = #support::begin(&__WEAVE_SITE, #self_type, #fill);)
    }

    /// All that is recorded when a call begins.
    fn recordings(&self) -> Vec<Recording> {
        let Self { options, support, .. } = self;
        let mut recordings = self.parameters.recordings(support);
        for (number, (key, expression)) in options.attributes.iter().enumerate() {
            let value = local(&format!("__weave_attribute_{number}"));
            recordings.push(Recording::attribute(key, &value, expression, support));
        }
        recordings.extend(options.display_name.as_ref().map(Recording::display_name));
        recordings
    }

    /// The closure that records what the function returned.
    fn record(&self, output: &Output) -> TokenStream {
        if output.is_never() {
            return quote!(|_, _| {});
        }
        let support = &self.support;
        let (outcome, returned) = (local("__weave_outcome"), local("__weave_output"));
        let (value, error) = (local("__weave_value"), local("__weave_error"));
        let success = if self.options.skip_output {
            quote!(::core::result::Result::Ok(_) => #outcome.hidden())
        } else {
            quote! {
                ::core::result::Result::Ok(#value) =>
                    #outcome.returned((&&&#support::Probe(#value)).weave_capture())
            }
        };
        quote! {
            |#outcome, #returned| {
                use #support::probe::*;
                match (&#support::Probe(#returned)).weave_split() {
                    #success,
                    ::core::result::Result::Err(#error) =>
                        #outcome.failed((&&&#support::Probe(#error)).weave_exception()),
                }
            }
        }
    }
}
