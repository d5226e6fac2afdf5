//! The parameters of a function: their names in the log, and how the body gets them.

use proc_macro2::Span;
use quote::format_ident;
use syn::punctuated::Punctuated;
use syn::{Error, FnArg, Ident, Pat, PatIdent, Result, Signature, Stmt, Token, parse_quote};

use crate::options::Options;

/// How a parameter is logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shown {
    Whole,
    Redacted,
}

/// A parameter that is logged.
pub(crate) struct Parameter {
    pub(crate) name: String,
    /// What it is called in the code: `self`, or a name.
    pub(crate) ident: Ident,
    pub(crate) shown: Shown,
}

/// The parameters of a function.
pub(crate) struct Parameters {
    pub(crate) logged: Vec<Parameter>,
    /// What takes patterns apart, before the body.
    pub(crate) bindings: Vec<Stmt>,
}

impl Parameters {
    /// Reads those of a function, and gives names to those that are patterns.
    pub(crate) fn take(signature: &mut Signature, options: &Options) -> Result<Self> {
        let mut found = Self { logged: Vec::new(), bindings: Vec::new() };
        let mut names = Vec::new();
        for (number, input) in signature.inputs.iter_mut().enumerate() {
            let Some((name, ident)) = found.name(input, number) else { continue };
            names.push(name.clone());
            if let Some(shown) = shown(&name, options) {
                found.logged.push(Parameter { name, ident, shown });
            }
        }
        for wanted in options.skip.iter().chain(&options.redact) {
            if !names.iter().any(|name| wanted == name) {
                return Err(unknown(wanted, &names));
            }
        }
        Ok(found)
    }

    /// The name in the log and in the code. `None`: it has no value that could be named.
    fn name(&mut self, input: &mut FnArg, number: usize) -> Option<(String, Ident)> {
        let typed = match input {
            FnArg::Receiver(receiver) => {
                let span = receiver.self_token.span;
                return Some(("self".to_owned(), Ident::new("self", span)));
            }
            FnArg::Typed(typed) => typed,
        };
        match &*typed.pat {
            Pat::Ident(PatIdent { ident, subpat: None, by_ref: None, .. }) => {
                let name = ident.to_string();
                let name = name.strip_prefix("r#").unwrap_or(&name).to_owned();
                Some((name, ident.clone()))
            }
            Pat::Wild(_) => None,
            pattern => {
                let ident = format_ident!("__weave_argument_{number}", span = Span::mixed_site());
                self.bindings.push(parse_quote!(let #pattern = #ident;));
                *typed.pat = parse_quote!(#ident);
                Some((format!("argument_{number}"), ident))
            }
        }
    }
}

fn shown(name: &str, options: &Options) -> Option<Shown> {
    match () {
        () if options.redact.iter().any(|redacted| redacted == name) => Some(Shown::Redacted),
        () if options.skip_all || options.skip.iter().any(|skipped| skipped == name) => None,
        () => Some(Shown::Whole),
    }
}

fn unknown(wanted: &Ident, names: &[String]) -> Error {
    let there = match names {
        [] => "it has none".to_owned(),
        names => format!("its parameters are {}", names.join(", ")),
    };
    Error::new(wanted.span(), format!("the function has no parameter `{wanted}`: {there}"))
}

/// The parameters as a call of the function itself would list them.
pub(crate) fn has_receiver(inputs: &Punctuated<FnArg, Token![,]>) -> bool {
    matches!(inputs.first(), Some(FnArg::Receiver(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_get_names_and_are_taken_apart_before_the_body() {
        let mut signature: Signature =
            parse_quote!(fn f(&self, mut a: u8, (x, y): (u8, u8), _: u8, r#type: u8));
        let options = Options { redact: vec![parse_quote!(a)], ..Options::default() };
        let parameters = Parameters::take(&mut signature, &options).unwrap();
        let names: Vec<_> =
            parameters.logged.iter().map(|one| (one.name.as_str(), one.shown)).collect();
        assert_eq!(
            names,
            [
                ("self", Shown::Whole),
                ("a", Shown::Redacted),
                ("argument_2", Shown::Whole),
                ("type", Shown::Whole)
            ]
        );
        assert_eq!(parameters.bindings.len(), 1);
    }

    #[test]
    fn a_name_that_is_no_parameter_is_refused_with_those_there_are() {
        let mut signature: Signature = parse_quote!(fn f(a: u8, b: u8));
        let options = Options { skip: vec![parse_quote!(c)], ..Options::default() };
        let error = Parameters::take(&mut signature, &options).err().unwrap();
        assert!(error.to_string().contains("a, b"), "{error}");
    }
}
