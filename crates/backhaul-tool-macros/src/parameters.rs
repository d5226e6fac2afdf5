//! What a function takes: arguments, and what it is told of the call.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{
    Attribute, Expr, FnArg, GenericArgument, Meta, Pat, PatType, PathArguments, Signature, Type,
    parse_quote,
};

use crate::documentation::{is_documentation, text_of};

/// A function's parameters, in order.
pub(crate) struct Parameters {
    list: Vec<Parameter>,
}

struct Parameter {
    /// The variable that holds it.
    variable: Ident,
    kind: Kind,
}

enum Kind {
    Argument(Box<Argument>),
    /// The key of the call, or a reference to it.
    Key {
        is_borrowed: bool,
    },
    /// The call itself.
    Invocation,
}

struct Argument {
    name: String,
    description: Option<String>,
    need: Need,
    /// What it is read as.
    owned: Type,
    is_borrowed: bool,
}

enum Need {
    Required,
    /// The type is an `Option` of the owned one.
    Optional,
    Default(Box<Expr>),
}

impl Parameters {
    /// Reads the parameters, and takes from the signature what is for the attribute alone.
    ///
    /// # Errors
    /// At each that is no argument of a tool.
    pub(crate) fn take(signature: &mut Signature) -> syn::Result<Self> {
        let mut list = Vec::new();
        for (number, input) in signature.inputs.iter_mut().enumerate() {
            match input {
                FnArg::Receiver(receiver) => {
                    let message = "a method cannot be a tool: it is called without an object. \
                                   Make it a function, and keep what it needs in a static, or \
                                   implement `Tool` for a type";
                    return Err(syn::Error::new_spanned(receiver, message));
                }
                FnArg::Typed(typed) => {
                    let variable =
                        format_ident!("__tool_argument_{}", number, span = Span::mixed_site());
                    list.push(Parameter { variable, kind: kind(typed)? });
                }
            }
        }
        Ok(Self { list })
    }

    /// The names of the arguments.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.arguments().map(|(_, argument)| argument.name.as_str()).collect()
    }

    /// The arguments, added to their schema one after the other.
    pub(crate) fn schema(&self) -> TokenStream {
        self.arguments().map(|(_, argument)| argument.schema()).collect()
    }

    /// The statements that read the arguments from `arguments` into variables.
    pub(crate) fn reading(&self, arguments: &Ident) -> TokenStream {
        let read = |(variable, argument): (&Ident, &Argument)| {
            let value = argument.reading(arguments);
            quote!(let #variable = #value;)
        };
        self.arguments().map(read).collect()
    }

    /// The statements that only look whether they can be read.
    pub(crate) fn checking(&self, arguments: &Ident) -> TokenStream {
        let check = |(_, argument): (_, &Argument)| {
            let value = argument.reading_given(arguments);
            quote!(let _ = #value;)
        };
        self.arguments().map(check).collect()
    }

    /// What the function is called with.
    pub(crate) fn passed(&self, invocation: &Ident) -> TokenStream {
        let passed = self.list.iter().map(|parameter| parameter.passed(invocation));
        quote!(#(#passed),*)
    }

    fn arguments(&self) -> impl Iterator<Item = (&Ident, &Argument)> {
        self.list.iter().filter_map(|parameter| match &parameter.kind {
            Kind::Argument(argument) => Some((&parameter.variable, &**argument)),
            _ => None,
        })
    }
}

impl Parameter {
    fn passed(&self, invocation: &Ident) -> TokenStream {
        let variable = &self.variable;
        match &self.kind {
            Kind::Key { is_borrowed: true } => quote!(&#invocation.key),
            Kind::Key { is_borrowed: false } => {
                quote!(::core::clone::Clone::clone(&#invocation.key))
            }
            Kind::Invocation => quote!(&#invocation),
            Kind::Argument(argument) => argument.passed(variable),
        }
    }
}

impl Argument {
    /// What the function is called with, from the variable that holds it.
    fn passed(&self, variable: &Ident) -> TokenStream {
        match (self.is_borrowed, &self.need) {
            (false, _) => quote!(#variable),
            (true, Need::Optional) => quote!(#variable.as_deref()),
            (true, _) => quote!(&#variable),
        }
    }

    fn schema(&self) -> TokenStream {
        let Self { name, owned, .. } = self;
        let description = match &self.description {
            Some(text) => quote!(::core::option::Option::Some(#text)),
            None => quote!(::core::option::Option::None),
        };
        let span = owned.span();
        match &self.need {
            Need::Required => quote_spanned!(span=> .required::<#owned>(#name, #description)),
            Need::Optional => quote_spanned!(span=> .optional::<#owned>(#name, #description)),
            Need::Default(_) => {
                let default = self.default();
                quote_spanned!(span=> .defaulted::<#owned>(#name, #description, &#default))
            }
        }
    }

    fn reading(&self, arguments: &Ident) -> TokenStream {
        let given = self.reading_given(arguments);
        match &self.need {
            Need::Default(_) => {
                let default = self.default();
                quote!(match #given {
                    ::core::option::Option::Some(given) => given,
                    ::core::option::Option::None => #default,
                })
            }
            _ => given,
        }
    }

    fn reading_given(&self, arguments: &Ident) -> TokenStream {
        let Self { name, owned, .. } = self;
        let span = owned.span();
        match &self.need {
            Need::Required => quote_spanned!(span=> #arguments.required::<#owned>(#name)?),
            _ => quote_spanned!(span=> #arguments.optional::<#owned>(#name)?),
        }
    }

    /// The default, as the owned type.
    fn default(&self) -> TokenStream {
        let Need::Default(expression) = &self.need else { return TokenStream::new() };
        let owned = &self.owned;
        let value = match self.is_borrowed {
            true => quote!(::std::borrow::ToOwned::to_owned(#expression)),
            false => quote!(#expression),
        };
        quote_spanned!(expression.span()=> { let default: #owned = #value; default })
    }
}

fn kind(typed: &mut PatType) -> syn::Result<Kind> {
    let attributes = std::mem::take(&mut typed.attrs);
    let (ours, others): (Vec<_>, Vec<_>) =
        attributes.into_iter().partition(|one| is_documentation(one) || is_default(one));
    typed.attrs = others;
    match told_of_call(&typed.ty) {
        Some(kind) => Ok(kind),
        None => Ok(Kind::Argument(Box::new(argument(typed, &ours)?))),
    }
}

fn argument(typed: &PatType, attributes: &[Attribute]) -> syn::Result<Argument> {
    let Pat::Ident(named) = &*typed.pat else {
        let message = "an argument of a tool needs a name: take it by one, and apart in the body";
        return Err(syn::Error::new_spanned(&typed.pat, message));
    };
    let default = attributes.iter().find(|one| is_default(one)).map(default_of).transpose()?;
    let option = inside_option(&typed.ty);
    let need = match (default, option) {
        (Some(_), Some(_)) => {
            let message = "an `Option` has no default: it is `None` where it is missing";
            return Err(syn::Error::new_spanned(&typed.ty, message));
        }
        (Some(expression), None) => Need::Default(Box::new(expression)),
        (None, Some(_)) => Need::Optional,
        (None, None) => Need::Required,
    };
    let (owned, is_borrowed) = owned(option.unwrap_or(&typed.ty))?;
    let name = named.ident.unraw().to_string();
    Ok(Argument { name, description: text_of(attributes), need, owned, is_borrowed })
}

fn is_default(attribute: &Attribute) -> bool {
    attribute.path().is_ident("default")
}

fn default_of(attribute: &Attribute) -> syn::Result<Expr> {
    match &attribute.meta {
        Meta::NameValue(pair) => Ok(pair.value.clone()),
        other => Err(syn::Error::new_spanned(other, "expected `#[default = EXPRESSION]`")),
    }
}

/// What a parameter is told of the call, by the name of its type.
fn told_of_call(ty: &Type) -> Option<Kind> {
    match ty {
        Type::Reference(reference) => match last_word(&reference.elem)?.as_str() {
            "ToolInvocation" => Some(Kind::Invocation),
            "IdempotencyKey" => Some(Kind::Key { is_borrowed: true }),
            _ => None,
        },
        _ => (last_word(ty)? == "IdempotencyKey").then_some(Kind::Key { is_borrowed: false }),
    }
}

fn last_word(ty: &Type) -> Option<String> {
    let Type::Path(path) = ty else { return None };
    path.path.segments.last().map(|last| last.ident.to_string())
}

/// The type in an `Option`.
fn inside_option(ty: &Type) -> Option<&Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == "Option")?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match arguments.args.first()? {
        GenericArgument::Type(inside) => Some(inside),
        _ => None,
    }
}

/// The type of a value that one of this type can be borrowed from, and whether it is.
fn owned(ty: &Type) -> syn::Result<(Type, bool)> {
    let refuse = |what: &dyn ToTokens, message| Err(syn::Error::new_spanned(what, message));
    match ty {
        Type::ImplTrait(_) => {
            refuse(ty, "an argument of a tool has one type: a model does not choose it")
        }
        Type::Reference(reference) if reference.mutability.is_some() => {
            refuse(ty, "a tool cannot change its arguments: they are not its caller's")
        }
        Type::Reference(reference) => Ok((owner(&reference.elem), true)),
        _ => Ok((ty.clone(), false)),
    }
}

fn owner(ty: &Type) -> Type {
    match ty {
        Type::Path(path) if path.path.is_ident("str") => parse_quote!(::std::string::String),
        Type::Slice(slice) => {
            let element = &slice.elem;
            parse_quote!(::std::vec::Vec<#element>)
        }
        _ => ty.clone(),
    }
}
