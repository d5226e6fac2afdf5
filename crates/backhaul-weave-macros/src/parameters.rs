//! What a function takes, and what of it is recorded.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{format_ident, quote};
use syn::ext::IdentExt;
use syn::{Attribute, FnArg, Pat, PatIdent, Receiver, ReceiverKind, Signature, Type};

use crate::options::Options;
use crate::recording::Recording;

/// A function's parameters, in order, without those named `_`.
pub(crate) struct Parameters {
    list: Vec<Parameter>,
}

struct Parameter {
    /// Its name among the inputs.
    name: String,
    kind: Kind,
    /// Whatever says when the parameter is there at all holds for its recording too.
    conditions: Vec<Attribute>,
    treatment: Treatment,
}

enum Kind {
    /// With an expression for a reference to the object itself.
    Receiver(TokenStream),
    Named(Ident),
    /// A pattern takes the whole apart, so it is taken by this name, and apart later.
    Pattern(Ident, Pat),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Treatment {
    Recorded,
    Redacted,
    Skipped,
}

impl Parameters {
    /// The parameters of a function, and what its options say of them.
    ///
    /// # Errors
    /// At each name in the options that is no parameter, or is there twice.
    pub(crate) fn new(signature: &Signature, options: &Options) -> syn::Result<Self> {
        let mut parameters = Self { list: Vec::new() };
        let typed_before = |at: usize| {
            signature.inputs.iter().take(at).filter(|one| matches!(one, FnArg::Typed(_))).count()
        };
        for (at, input) in signature.inputs.iter().enumerate() {
            parameters.list.extend(parameter(input, typed_before(at)));
        }
        parameters.treat(options)?;
        Ok(parameters)
    }

    /// Gives each parameter that is taken apart a name in the signature.
    pub(crate) fn name_patterns(&self, signature: &mut Signature) {
        let mut number = 0;
        for input in &mut signature.inputs {
            let FnArg::Typed(typed) = input else { continue };
            let name = argument_name(number);
            number += 1;
            for parameter in self.list.iter().filter(|parameter| parameter.name == name) {
                let Some((ident, pattern)) = parameter.taken_apart() else { continue };
                let mutability = lends_mutably(pattern).then(|| quote!(mut));
                *typed.pat = Pat::Verbatim(quote!(#mutability #ident));
            }
        }
    }

    /// The statements that take those parameters apart.
    pub(crate) fn patterns(&self) -> TokenStream {
        let mut statements = TokenStream::new();
        for parameter in &self.list {
            let Some((ident, pattern)) = parameter.taken_apart() else { continue };
            let conditions = &parameter.conditions;
            statements.extend(quote!(#(#conditions)* let #pattern = #ident;));
        }
        statements
    }

    /// What is recorded of them.
    pub(crate) fn recordings(&self, support: &TokenStream) -> Vec<Recording> {
        let numbered = self.list.iter().enumerate();
        numbered.filter_map(|(number, parameter)| parameter.recording(number, support)).collect()
    }

    fn treat(&mut self, options: &Options) -> syn::Result<()> {
        let mut errors = self.treat_all(&options.skip, Treatment::Skipped);
        if options.skip_all {
            self.list.iter_mut().for_each(|parameter| parameter.treatment = Treatment::Skipped);
        }
        errors.extend(self.treat_all(&options.redact, Treatment::Redacted));
        let all = errors.into_iter().reduce(|mut all, error| {
            all.combine(error);
            all
        });
        all.map_or(Ok(()), Err)
    }

    fn treat_all(&mut self, names: &[Ident], treatment: Treatment) -> Vec<syn::Error> {
        let known = self.names();
        names.iter().filter_map(|name| self.treat_one(name, treatment, &known).err()).collect()
    }

    fn treat_one(&mut self, name: &Ident, treatment: Treatment, known: &str) -> syn::Result<()> {
        let text = name.unraw().to_string();
        let Some(parameter) = self.list.iter_mut().find(|parameter| parameter.name == text) else {
            let message = format!("there is no parameter `{text}`; {known}");
            return Err(syn::Error::new(name.span(), message));
        };
        let message = match (parameter.treatment, treatment) {
            (Treatment::Recorded, _) => {
                parameter.treatment = treatment;
                return Ok(());
            }
            (earlier, later) if earlier == later => format!("`{text}` is named twice"),
            _ => format!("`{text}` is skipped: what is not recorded cannot be redacted"),
        };
        Err(syn::Error::new(name.span(), message))
    }

    fn names(&self) -> String {
        let names: Vec<String> =
            self.list.iter().map(|parameter| format!("`{}`", parameter.name)).collect();
        match names.as_slice() {
            [] => "the function has none that could be recorded".to_owned(),
            [name] => format!("there is {name}"),
            names => format!("there are {}", names.join(", ")),
        }
    }
}

impl Parameter {
    /// A pattern whose value nobody records stays where it is.
    fn taken_apart(&self) -> Option<(&Ident, &Pat)> {
        match &self.kind {
            Kind::Pattern(ident, pattern) if self.treatment == Treatment::Recorded => {
                Some((ident, pattern))
            }
            _ => None,
        }
    }

    fn recording(&self, number: usize, support: &TokenStream) -> Option<Recording> {
        let name = &self.name;
        let value = format_ident!("__weave_input_{}", number, span = Span::mixed_site());
        let recording = match (self.treatment, &self.kind) {
            (Treatment::Skipped, _) => return None,
            (Treatment::Redacted, _) => Recording::redacted(name),
            (Treatment::Recorded, Kind::Receiver(object)) => {
                Recording::object(name, &value, object, support)
            }
            (Treatment::Recorded, Kind::Named(ident) | Kind::Pattern(ident, _)) => {
                Recording::input(name, &value, ident, support)
            }
        };
        Some(recording.under(&self.conditions))
    }
}

fn parameter(input: &FnArg, number: usize) -> Option<Parameter> {
    let (name, kind, attributes) = match input {
        FnArg::Receiver(receiver) => {
            ("self".to_owned(), Kind::Receiver(object(receiver)), &receiver.attrs)
        }
        FnArg::Typed(typed) => {
            let (name, kind) = match &*typed.pat {
                Pat::Wild(_) => return None,
                Pat::Ident(named) => (name_of(named, number), Kind::Named(named.ident.clone())),
                pattern => {
                    let ident =
                        format_ident!("__weave_argument_{}", number, span = Span::mixed_site());
                    (argument_name(number), Kind::Pattern(ident, pattern.clone()))
                }
            };
            (name, kind, &typed.attrs)
        }
    };
    let conditions =
        attributes.iter().filter(|attribute| attribute.path().is_ident("cfg")).cloned().collect();
    Some(Parameter { name, kind, conditions, treatment: Treatment::Recorded })
}

/// What a parameter without a name is called among the inputs.
fn argument_name(number: usize) -> String {
    format!("argument_{number}")
}

/// `async_trait` gives patterns names of its own, which mean nothing to who reads a trace.
fn name_of(named: &PatIdent, number: usize) -> String {
    let name = named.ident.unraw().to_string();
    let is_pattern = name
        .strip_prefix("__arg")
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit()));
    if is_pattern { argument_name(number) } else { name }
}

/// A reference to the object that a method is called on, however it is passed.
fn object(receiver: &Receiver) -> TokenStream {
    let this = &receiver.self_token;
    let is_behind_pointer = match &receiver.kind {
        ReceiverKind::Reference(..) => true,
        ReceiverKind::Typed(_, ty) => points(ty),
        _ => false,
    };
    if is_behind_pointer { quote!(&*#this) } else { quote!(&#this) }
}

/// Whether a receiver's type is a pointer to the object, as in `self: Arc<Self>`.
fn points(ty: &Type) -> bool {
    match ty {
        Type::Paren(inside) => points(&inside.elem),
        Type::Group(inside) => points(&inside.elem),
        Type::Reference(_) => true,
        Type::Path(_) => {
            let mut tokens = quote!(#ty).into_iter();
            tokens.next();
            tokens.any(|token| matches!(token, TokenTree::Ident(word) if word == "Self"))
        }
        _ => false,
    }
}

/// Whether a pattern borrows a part of what it takes apart so that it can be changed.
fn lends_mutably(pattern: &Pat) -> bool {
    fn any(tokens: TokenStream) -> bool {
        let mut follows_ref = false;
        for token in tokens {
            let lends = match &token {
                TokenTree::Group(group) => any(group.stream()),
                TokenTree::Ident(word) => follows_ref && word == "mut",
                _ => false,
            };
            if lends {
                return true;
            }
            follows_ref = matches!(&token, TokenTree::Ident(word) if word == "ref");
        }
        false
    }
    any(quote!(#pattern))
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_quote;

    fn names(signature: &Signature) -> Vec<String> {
        let parameters = Parameters::new(signature, &Options::default());
        let list = parameters.map(|parameters| parameters.list).unwrap_or_default();
        list.into_iter().map(|parameter| parameter.name).collect()
    }

    /// What becomes of the parameters of a method, or what is wrong with the options.
    fn treated(options: Options) -> Result<Vec<Treatment>, String> {
        let signature = parse_quote!(fn f(&self, a: i32, (b, c): (i32, i32)));
        let parameters = Parameters::new(&signature, &options);
        let parameters = parameters.map_err(|errors| {
            errors.into_iter().map(|error| error.to_string()).collect::<Vec<_>>().join("\n")
        })?;
        Ok(parameters.list.into_iter().map(|parameter| parameter.treatment).collect())
    }

    #[test]
    fn parameters_are_named_as_they_are_and_patterns_by_their_place() {
        let signature = parse_quote! {
            fn f(&mut self, a: i32, mut b: i32, ref c: i32, r#type: i32, _: i32, (x, y): (i32, i32),
                 whole @ Point { .. }: Point, &z: &i32, __arg7: [i32; 2])
        };
        let expected =
            ["self", "a", "b", "c", "type", "argument_5", "whole", "argument_7", "argument_8"];
        assert_eq!(names(&signature), expected);
    }

    #[test]
    fn only_patterns_whose_value_is_recorded_are_moved_into_the_body() {
        let rewritten = |options: Options| {
            let mut signature = parse_quote!(fn f(a: i32, (b, ref mut c): (i32, i32)));
            let parameters = Parameters::new(&signature, &options).expect("parameters");
            parameters.name_patterns(&mut signature);
            (quote!(#signature).to_string(), parameters.patterns().to_string())
        };
        let (signature, patterns) = rewritten(Options::default());
        assert_eq!(signature, "fn f (a : i32 , mut __weave_argument_1 : (i32 , i32))");
        assert_eq!(patterns, "let (b , ref mut c) = __weave_argument_1 ;");
        let (signature, patterns) = rewritten(parse_quote!(skip(argument_1)));
        assert_eq!(signature, "fn f (a : i32 , (b , ref mut c) : (i32 , i32))");
        assert_eq!(patterns, "");
    }

    #[test]
    fn each_parameter_is_recorded_redacted_or_skipped() {
        use Treatment::{Recorded, Redacted, Skipped};
        assert_eq!(treated(Options::default()), Ok(vec![Recorded; 3]));
        let some = parse_quote!(skip(self), redact(argument_1));
        assert_eq!(treated(some), Ok(vec![Skipped, Recorded, Redacted]));
        assert_eq!(treated(parse_quote!(skip_all, skip(a))), Ok(vec![Skipped; 3]));
    }

    #[test]
    fn names_that_are_wrong_are_all_told() {
        let wrong = treated(parse_quote!(skip(a, b), redact(a, self, self)));
        let expected = "there is no parameter `b`; there are `self`, `a`, `argument_1`\n\
                        `a` is skipped: what is not recorded cannot be redacted\n\
                        `self` is named twice";
        assert_eq!(wrong, Err(expected.to_owned()));
        let wrong = treated(parse_quote!(skip_all, redact(a)));
        assert!(wrong.is_err_and(|error| error.starts_with("`a` is skipped")));
    }

    #[test]
    fn an_object_is_reached_through_whatever_points_to_it() {
        let reached =
            |signature: Signature| signature.receiver().map(|one| object(one).to_string());
        let direct = Some("& self".to_owned());
        let through = Some("& * self".to_owned());
        assert_eq!(reached(parse_quote!(fn f(mut self))), direct);
        assert_eq!(reached(parse_quote!(fn f(self: Self))), direct);
        assert_eq!(reached(parse_quote!(fn f(self: Point))), direct);
        assert_eq!(reached(parse_quote!(fn f(&mut self))), through);
        assert_eq!(reached(parse_quote!(fn f(self: &Self))), through);
        assert_eq!(reached(parse_quote!(fn f(self: std::sync::Arc<Self>))), through);
        assert_eq!(reached(parse_quote!(fn f(self: Pin<&mut Self>))), through);
    }
}
