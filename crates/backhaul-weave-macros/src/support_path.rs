//! Where the expansion finds what it is made of, whatever the crate is called.

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::Span;
use syn::{Error, Ident, Path, Result, parse_quote};

/// Crates that have it, and where.
const KNOWN: [&str; 2] = ["backhaul", "backhaul-weave"];

/// The module `macro_support`.
pub(crate) fn support_path(named: Option<&Path>) -> Result<Path> {
    if let Some(path) = named {
        return Ok(parse_quote!(#path::macro_support));
    }
    for known in KNOWN {
        let name = match crate_name(known) {
            Ok(FoundCrate::Name(name)) => name,
            // Its tests and examples know it by its own name, as others do.
            Ok(FoundCrate::Itself) => known.replace('-', "_"),
            Err(_) => continue,
        };
        let name = Ident::new(&name, Span::call_site());
        return Ok(match known {
            "backhaul" => parse_quote!(::#name::weave::macro_support),
            _ => parse_quote!(::#name::macro_support),
        });
    }
    Err(Error::new(
        Span::call_site(),
        "neither `backhaul` nor `backhaul-weave` is among the dependencies in Cargo.toml: \
         add one, or say where it is: #[op(crate = path::to::weave)]",
    ))
}
