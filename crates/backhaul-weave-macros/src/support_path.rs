//! Where an expansion finds what it calls.

use proc_macro_crate::{Error, FoundCrate, crate_name};
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::Path;

/// The crates that hold the library, in the order in which they are looked for, and where in
/// each what expansions call is.
const LIBRARIES: [(&str, &[&str]); 2] =
    [("backhaul", &["weave", "macro_support"]), ("backhaul-weave", &["macro_support"])];

/// The path of the module that an expansion calls.
///
/// It is absolute and holds the name that the user's crate gives the library, so that it means
/// the same wherever the function stands. `given` is what `crate = ..` says.
///
/// # Errors
/// At the attribute, if the user's crate depends on neither crate of the library.
pub(crate) fn support_path(given: Option<&Path>) -> syn::Result<TokenStream> {
    if let Some(path) = given {
        return Ok(quote!(#path::macro_support));
    }
    for (library, modules) in LIBRARIES {
        match crate_name(library) {
            Ok(found) => return Ok(absolute(library, found, modules)),
            Err(Error::CrateNotFound { .. }) => {}
            Err(error) => return Err(no_manifest(&error)),
        }
    }
    Err(syn::Error::new(
        Span::call_site(),
        "`op` calls the library, and this package does not depend on it: add `backhaul` (or \
         `backhaul-weave`) to `[dependencies]` in its Cargo.toml, or say where it is with \
         `#[op(crate = path::of::weave)]`",
    ))
}

/// Even the library itself and its tests go by the crate's name: what `crate` means differs
/// between a package's library, its tests and its documentation. The library says
/// `extern crate self as ..` for that.
fn absolute(library: &str, found: FoundCrate, modules: &[&str]) -> TokenStream {
    let name = match found {
        FoundCrate::Itself => library.replace('-', "_"),
        FoundCrate::Name(name) => name,
    };
    let name = Ident::new(&name, Span::call_site());
    let modules = modules.iter().map(|module| Ident::new(module, Span::call_site()));
    quote!(::#name #(::#modules)*)
}

fn no_manifest(error: &Error) -> syn::Error {
    let message = format!(
        "`op` cannot tell what the library is called here ({error}): say where it is with \
         `#[op(crate = path::of::weave)]`"
    );
    syn::Error::new(Span::call_site(), message)
}
