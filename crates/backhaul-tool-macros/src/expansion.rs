//! The function, and the tool that stands beside it.

use backhaul_macro_support::{Function, Library, Wanted};
use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Attribute, GenericParam, Path, ReturnType, Signature};

use crate::documentation::text_of;
use crate::options::{Options, check_name};
use crate::parameters::Parameters;

const LIBRARY: Library = Library {
    attribute: "tool",
    whole: "backhaul",
    part: "backhaul-runtime",
    modules: [&["tools"], &["tools"]],
    example: "#[tool(crate = path::of::tools)]",
};

const WANTED: Wanted = Wanted {
    nothing_else: "only functions can be tools",
    body: "a method without a body cannot be a tool",
};

/// The function with a tool, or as it is beside the errors that keep it from being one: code
/// that calls it has no errors of its own then.
pub(crate) fn expand(options: TokenStream, item: &TokenStream) -> TokenStream {
    let mut function = match Function::read(item, &WANTED) {
        Ok(function) => function,
        Err(error) => {
            let error = error.into_compile_error();
            return quote!(#error #item);
        }
    };
    // Even where something else is wrong: the compiler knows no documentation of parameters.
    let parameters = Parameters::take(&mut function.signature);
    let tool = tool(options, &function, parameters).unwrap_or_else(syn::Error::into_compile_error);
    let Function { attributes, visibility, signature, body } = &function;
    quote!(#(#attributes)* #visibility #signature #body #tool)
}

fn tool(
    options: TokenStream,
    function: &Function,
    parameters: syn::Result<Parameters>,
) -> syn::Result<TokenStream> {
    let options: Options = syn::parse2(options)?;
    let parameters = parameters?;
    check_signature(&function.signature, &options)?;
    check_collapse(&options, &parameters)?;
    let name = name(&function.signature.ident, &options)?;
    let description = description(function, &options)?;
    let support = LIBRARY.support_path(options.crate_path.as_ref())?;
    let expansion = Expansion { function, options, parameters, name, description, support };
    Ok(expansion.tool())
}

fn check_signature(signature: &Signature, options: &Options) -> syn::Result<()> {
    let is_lifetime = |one: &&GenericParam| matches!(one, GenericParam::Lifetime(_));
    if let Some(generic) = signature.generics.params.iter().find(|one| !is_lifetime(one)) {
        let message = "a generic function cannot be a tool: a model does not choose types";
        return Err(syn::Error::new_spanned(generic, message));
    }
    if signature.safety.to_token_stream().into_iter().any(|word| word.to_string() == "unsafe") {
        let message = "an `unsafe fn` cannot be a tool: nobody answers for what a model passes";
        return Err(syn::Error::new_spanned(&signature.safety, message));
    }
    match (options.blocking, &signature.asyncness) {
        (Some(span), Some(_)) => {
            let message = "`blocking` is for functions that are not `async`";
            Err(syn::Error::new(span, message))
        }
        _ => Ok(()),
    }
}

fn check_collapse(options: &Options, parameters: &Parameters) -> syn::Result<()> {
    let names = parameters.names();
    let mut named = options.collapse_by.iter().flat_map(|(_, named)| named);
    match named.find(|one| !names.contains(&one.unraw().to_string().as_str())) {
        None => Ok(()),
        Some(unknown) => {
            let known: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            let message = match known.as_slice() {
                [] => format!("there is no argument `{unknown}`; the tool takes none"),
                known => {
                    format!("there is no argument `{unknown}`; there are {}", known.join(", "))
                }
            };
            Err(syn::Error::new(unknown.span(), message))
        }
    }
}

fn name(function: &Ident, options: &Options) -> syn::Result<String> {
    if let Some(name) = &options.name {
        return Ok(name.value());
    }
    let name = function.unraw().to_string();
    check_name(&name, function.span())?;
    Ok(name)
}

fn description(function: &Function, options: &Options) -> syn::Result<String> {
    if let Some(description) = &options.description {
        return Ok(description.value());
    }
    text_of(&function.attributes).ok_or_else(|| {
        let message = "a model has to be told what the tool does: document the function, or \
                       give `description = \"..\"`";
        syn::Error::new(function.signature.ident.span(), message)
    })
}

/// A local variable that no code of the user's can see, nor be mistaken for.
fn local(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

/// The same tokens, of which the compiler tells as if they stood elsewhere.
fn located(tokens: &TokenStream, span: Span) -> TokenStream {
    let located = |mut token: TokenTree| {
        token.set_span(token.span().located_at(span));
        token
    };
    tokens.clone().into_iter().map(located).collect()
}

struct Expansion<'a> {
    function: &'a Function,
    options: Options,
    parameters: Parameters,
    name: String,
    description: String,
    /// The path of what is called.
    support: TokenStream,
}

impl Expansion<'_> {
    fn tool(&self) -> TokenStream {
        let Self { function, support, name, .. } = self;
        let Function { attributes, visibility, signature, .. } = function;
        let ident = &signature.ident;
        let is_condition = |one: &&Attribute| one.path().is_ident("cfg");
        let conditions: Vec<&Attribute> = attributes.iter().filter(is_condition).collect();
        let (of_type, of_tool) =
            (format!("The tool `{name}`, made of the function."), format!("The tool `{name}`."));
        let implementation = self.implementation();
        quote! {
            #(#conditions)*
            #[doc = #of_type]
            #[allow(non_camel_case_types)]
            #[derive(
                ::core::fmt::Debug, ::core::clone::Clone, ::core::marker::Copy,
                ::core::default::Default,
            )]
            #visibility struct #ident {}

            #(#conditions)*
            impl #ident {
                #[doc = #of_tool]
                #[must_use]
                #visibility fn tool() -> Self {
                    Self {}
                }
            }

            #(#conditions)*
            #[allow(deprecated)]
            impl #support::Tool for #ident { #implementation }
        }
    }

    fn implementation(&self) -> TokenStream {
        let mut methods = self.definition();
        methods.extend([self.tool_options(), self.check(), self.call()]);
        methods.extend([self.local(), self.probe()].into_iter().flatten());
        methods
    }

    fn definition(&self) -> TokenStream {
        let Self { support, name, description, .. } = self;
        let schema = self.parameters.schema();
        quote! {
            fn definition(&self) -> &#support::Definition {
                static __TOOL_DEFINITION: ::std::sync::LazyLock<#support::Definition> =
                    ::std::sync::LazyLock::new(|| {
                        #support::Parameters::new()
                            #schema
                            .definition(#name, #description)
                    });
                &__TOOL_DEFINITION
            }
        }
    }

    fn tool_options(&self) -> TokenStream {
        let Self { support, options, .. } = self;
        let mut given = TokenStream::new();
        if let Some(word) = &options.offline_policy {
            let policy = word.variant_of(&quote!(#support::OfflinePolicy));
            given.extend(quote!(.offline_policy(#policy)));
        }
        if let Some(word) = &options.on_unknown {
            let on_unknown = word.variant_of(&quote!(#support::OnUnknown));
            given.extend(quote!(.on_unknown(#on_unknown)));
        }
        let times = [
            ("local_cache_ttl", &options.local_cache_ttl),
            ("timeout", &options.timeout),
            ("expires_after", &options.expires_after),
        ];
        for (setter, seconds) in times {
            let Some(seconds) = seconds else { continue };
            let setter = Ident::new(setter, Span::call_site());
            let duration = seconds.duration(&located(support, seconds.span()));
            given.extend(quote!(.#setter(#duration)));
        }
        given.extend(options.stale_allowed.map(|_| quote!(.stale_allowed())));
        given.extend(options.max_retries.map(|retries| quote!(.max_retries(#retries))));
        if let Some((_, names)) = &options.collapse_by {
            let names = names.iter().map(|name| name.unraw().to_string());
            given.extend(quote!(.collapse_by([#(#names),*] as [&str; _])));
        }
        quote! {
            fn options(&self) -> &#support::ToolOptions {
                static __TOOL_OPTIONS: ::std::sync::LazyLock<#support::ToolOptions> =
                    ::std::sync::LazyLock::new(|| #support::ToolOptions::new() #given);
                &__TOOL_OPTIONS
            }
        }
    }

    fn check(&self) -> TokenStream {
        let support = &self.support;
        let (given, arguments) = (local("__tool_given"), local("__tool_arguments"));
        let open = self.open(&arguments, &quote!(#given));
        let checking = self.parameters.checking(&arguments);
        quote! {
            fn check_arguments(
                &self,
                #given: &#support::Map<::std::string::String, #support::Value>,
            ) -> ::core::result::Result<(), #support::ToolError> {
                #open
                #checking
                ::core::result::Result::Ok(())
            }
        }
    }

    /// The statement that looks whether all arguments are known.
    fn open(&self, arguments: &Ident, given: &TokenStream) -> TokenStream {
        let (support, names) = (&self.support, self.parameters.names());
        // Those of a tool without arguments are read no more.
        let allowed = names.is_empty().then(|| quote!(#[allow(unused_variables)]));
        quote!(#allowed let #arguments = #support::Arguments::new(#given, &[#(#names),*])?;)
    }

    fn call(&self) -> TokenStream {
        let (support, ident) = (&self.support, &self.function.signature.ident);
        let invocation = local("__tool_invocation");
        let reading = self.reading(&invocation);
        let work = self.work(&quote!(#ident), self.returns(), &quote!(output), &invocation);
        quote! {
            fn call<'tool>(
                &'tool self,
                #invocation: &'tool #support::ToolInvocation,
            ) -> #support::ToolFuture<'tool, #support::Value> {
                ::std::boxed::Box::pin(async move {
                    #reading
                    #work
                })
            }
        }
    }

    /// Where it says what the function returns.
    fn returns(&self) -> Span {
        let signature = &self.function.signature;
        match &signature.output {
            ReturnType::Default => signature.ident.span(),
            ReturnType::Type(_, ty) => ty.span(),
        }
    }

    fn local(&self) -> Option<TokenStream> {
        let support = &self.support;
        let output = quote!(#support::Value);
        Some(self.beside("local", self.options.local.as_ref()?, &output, &quote!(output)))
    }

    fn probe(&self) -> Option<TokenStream> {
        let support = &self.support;
        let output = quote!(#support::Probed);
        Some(self.beside("probe", self.options.probe.as_ref()?, &output, &quote!(probed)))
    }

    /// A method that calls another function with the same arguments.
    fn beside(
        &self,
        method: &str,
        path: &Path,
        output: &TokenStream,
        convert: &TokenStream,
    ) -> TokenStream {
        let support = &self.support;
        let (method, invocation) =
            (Ident::new(method, Span::call_site()), local("__tool_invocation"));
        let reading = self.reading(&invocation);
        let work = self.work(&quote!(#path), path.span(), convert, &invocation);
        quote! {
            fn #method<'tool>(
                &'tool self,
                #invocation: &'tool #support::ToolInvocation,
            ) -> ::core::option::Option<#support::ToolFuture<'tool, #output>> {
                ::core::option::Option::Some(::std::boxed::Box::pin(async move {
                    #reading
                    #work
                }))
            }
        }
    }

    /// The statements that make variables of the arguments.
    fn reading(&self, invocation: &Ident) -> TokenStream {
        let arguments = local("__tool_arguments");
        let open = self.open(&arguments, &quote!(&#invocation.arguments));
        let reading = self.parameters.reading(&arguments);
        quote!(#open #reading)
    }

    /// The statements that call a function, and wait for what comes of it.
    fn work(
        &self,
        path: &TokenStream,
        place: Span,
        convert: &TokenStream,
        invocation: &Ident,
    ) -> TokenStream {
        match self.options.blocking {
            Some(_) => self.blocking(path, place, convert, invocation),
            None => self.settled(path, place, convert, invocation),
        }
    }

    /// Of a function that may return a future.
    fn settled(
        &self,
        path: &TokenStream,
        place: Span,
        convert: &TokenStream,
        invocation: &Ident,
    ) -> TokenStream {
        let support = &self.support;
        let passed = self.parameters.passed(invocation);
        let (returned, how, output) =
            (local("__tool_returned"), local("__tool_how"), local("__tool_output"));
        let finished = self.finished(place, convert, &output);
        let span = Span::mixed_site().located_at(place);
        let called = quote_spanned!(span=> #path(#passed));
        let future = local("__tool_future");
        // In a block of its own, so that nothing but the future is kept while it is waited for:
        // what a function returned may not be `Send`.
        quote_spanned! {span=>
            let #future = {
                let #returned = #called;
                let #how = {
                    use #support::probe::*;
                    (&#support::Probe(&#returned)).tool_future()
                };
                #how.settle(#returned, |#output| #finished)
            };
            #future.await
        }
    }

    /// Of a function that waits on its thread.
    fn blocking(
        &self,
        path: &TokenStream,
        place: Span,
        convert: &TokenStream,
        invocation: &Ident,
    ) -> TokenStream {
        let support = &self.support;
        let passed = self.parameters.passed(invocation);
        let output = local("__tool_output");
        let finished = self.finished(place, convert, &output);
        let span = Span::mixed_site().located_at(place);
        let called = quote_spanned!(span=> #path(#passed));
        quote! {
            let #invocation = ::core::clone::Clone::clone(#invocation);
            #support::blocking(move || {
                let _ = &#invocation;
                let #output = #called;
                #finished
            })
            .await
        }
    }

    /// The expression that makes a result of what was returned. Of what is wrong with that the
    /// compiler tells at a place in the user's code.
    fn finished(&self, place: Span, convert: &TokenStream, output: &Ident) -> TokenStream {
        let span = Span::mixed_site().located_at(place);
        let support = located(&self.support, place);
        let convert = located(convert, place);
        let (value, error) = (Ident::new("__tool_value", span), Ident::new("__tool_error", span));
        quote_spanned! {span=> {
            use #support::probe::*;
            match (&#support::Probe(&#output)).tool_split().split(#output) {
                ::core::result::Result::Ok(#value) => #support::#convert(#value),
                ::core::result::Result::Err(#error) => {
                    ::core::result::Result::Err(
                        ((&&&#support::Probe(&#error)).tool_error())(#error)
                    )
                }
            }
        }}
    }
}
