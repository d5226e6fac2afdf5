//! What is recorded when a call begins.
//!
//! The traits that capture values are in scope of each capture alone, and never of an expression
//! of the user's, whose names they might change the meaning of.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::{Attribute, Expr};

/// One thing that is recorded.
pub(crate) struct Recording {
    /// A statement that captures a value, or nothing.
    capture: TokenStream,
    /// The statement that adds it to the arguments of the call.
    add: TokenStream,
}

/// A closure that captures everything and adds it, once it is called.
pub(crate) fn closure(recordings: &[Recording], support: &TokenStream) -> TokenStream {
    let parameter = parameter(recordings, support);
    let captures = recordings.iter().map(|recording| &recording.capture);
    let adds = recordings.iter().map(|recording| &recording.add);
    quote!(|#parameter| { #(#captures)* #(#adds)* })
}

/// An expression that captures everything at once, for a closure that adds it later.
pub(crate) fn captured(recordings: &[Recording], support: &TokenStream) -> TokenStream {
    let parameter = parameter(recordings, support);
    let captures = recordings.iter().map(|recording| &recording.capture);
    let adds = recordings.iter().map(|recording| &recording.add);
    quote!({ #(#captures)* move |#parameter| { #(#adds)* } })
}

fn parameter(recordings: &[Recording], support: &TokenStream) -> TokenStream {
    let arguments = arguments();
    let name = if recordings.is_empty() { quote!(_) } else { quote!(#arguments) };
    quote!(#name: &mut #support::Arguments)
}

fn arguments() -> Ident {
    Ident::new("__weave_arguments", Span::mixed_site())
}

impl Recording {
    /// An input, under the name that it has among them. `value` is a variable for it.
    pub(crate) fn input(
        name: &str,
        value: &Ident,
        parameter: &Ident,
        support: &TokenStream,
    ) -> Self {
        let arguments = arguments();
        // To read it is what its author did not mean to do, and is nothing to warn of.
        let allowed =
            name.starts_with('_').then(|| quote!(#[allow(clippy::used_underscore_binding)]));
        Self {
            capture: quote! {
                #allowed
                let #value = {
                    use #support::probe::*;
                    (&&&#support::Probe(&#parameter)).weave_capture()
                };
            },
            add: quote!(#arguments.add(#name, #value);),
        }
    }

    /// The object of a method, if its type can be recorded: `object` is a reference to it.
    pub(crate) fn object(
        name: &str,
        value: &Ident,
        object: &TokenStream,
        support: &TokenStream,
    ) -> Self {
        let arguments = arguments();
        Self {
            capture: quote! {
                let #value = {
                    use #support::probe::*;
                    (&&#support::Probe(#object)).weave_capture_self()
                };
            },
            add: quote! {
                if let ::core::option::Option::Some(#value) = #value {
                    #arguments.add(#name, #value);
                }
            },
        }
    }

    /// An input whose value is hidden.
    pub(crate) fn redacted(name: &str) -> Self {
        let arguments = arguments();
        Self { capture: TokenStream::new(), add: quote!(#arguments.redacted(#name);) }
    }

    pub(crate) fn attribute(
        key: &str,
        value: &Ident,
        expression: &Expr,
        support: &TokenStream,
    ) -> Self {
        let arguments = arguments();
        Self {
            capture: quote! {
                let #value = match &(#expression) {
                    #value => {
                        use #support::probe::*;
                        (&&&#support::Probe(#value)).weave_capture()
                    }
                };
            },
            add: quote!(#arguments.attribute(#key, #value);),
        }
    }

    pub(crate) fn display_name(expression: &Expr) -> Self {
        let (arguments, name) =
            (arguments(), Ident::new("__weave_display_name", Span::mixed_site()));
        Self {
            capture: quote! {
                let #name = ::std::convert::Into::<::std::string::String>::into(#expression);
            },
            add: quote!(#arguments.display_name(#name);),
        }
    }

    /// The same under conditions of the parameter that it is of.
    pub(crate) fn under(self, conditions: &[Attribute]) -> Self {
        let under = |statement: TokenStream| match statement.is_empty() {
            true => statement,
            false => quote!(#(#conditions)* #statement),
        };
        Self { capture: under(self.capture), add: under(self.add) }
    }
}
