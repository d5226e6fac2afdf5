//! Where an expansion finds what it calls.

use proc_macro_crate::{Error, FoundCrate, crate_name};
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::Path;

/// A library with an attribute, as one of two crates that a program may depend on.
#[derive(Debug, Clone, Copy)]
pub struct Library {
    /// The attribute's name.
    pub attribute: &'static str,
    /// The crate that re-exports everything. It is looked for first.
    pub whole: &'static str,
    /// The crate of this part.
    pub part: &'static str,
    /// The module in which the part's items stand, in each of them.
    pub modules: [&'static [&'static str]; 2],
    /// How `crate = ..` might look, for errors.
    pub example: &'static str,
}

impl Library {
    /// The path of the module `macro_support`, which expansions call.
    ///
    /// It is absolute and holds the name that the user's crate gives the library, so that it
    /// means the same wherever the function stands. `given` is what `crate = ..` says.
    ///
    /// # Errors
    /// At the attribute, if the user's crate depends on neither crate of the library.
    pub fn support_path(&self, given: Option<&Path>) -> syn::Result<TokenStream> {
        if let Some(path) = given {
            return Ok(quote!(#path::macro_support));
        }
        for (library, modules) in [self.whole, self.part].into_iter().zip(self.modules) {
            match crate_name(library) {
                Ok(found) => return Ok(absolute(library, found, modules)),
                Err(Error::CrateNotFound { .. }) => {}
                Err(error) => return Err(self.no_manifest(&error)),
            }
        }
        let Self { attribute, whole, part, example, .. } = self;
        Err(syn::Error::new(
            Span::call_site(),
            format!(
                "`{attribute}` calls the library, and this package does not depend on it: add \
                 `{whole}` (or `{part}`) to `[dependencies]` in its Cargo.toml, or say where it \
                 is with `{example}`"
            ),
        ))
    }

    fn no_manifest(&self, error: &Error) -> syn::Error {
        let Self { attribute, example, .. } = self;
        let message = format!(
            "`{attribute}` cannot tell what the library is called here ({error}): say where it \
             is with `{example}`"
        );
        syn::Error::new(Span::call_site(), message)
    }
}

/// Even the library itself and its tests go by the crate's name: what `crate` means differs
/// between a package's library, its tests and its documentation. A library that uses its own
/// attribute says `extern crate self as ..` for that.
fn absolute(library: &str, found: FoundCrate, modules: &[&str]) -> TokenStream {
    let name = match found {
        FoundCrate::Itself => library.replace('-', "_"),
        FoundCrate::Name(name) => name,
    };
    let name = Ident::new(&name, Span::call_site());
    let modules = modules.iter().map(|module| Ident::new(module, Span::call_site()));
    quote!(::#name #(::#modules)* ::macro_support)
}
