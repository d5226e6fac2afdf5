//! What stands in the parentheses of `#[tool(..)]`.

use backhaul_macro_support::{list, value};
use proc_macro2::{Ident, Span};
use syn::parse::{Parse, ParseStream};
use syn::{Expr, ExprLit, Lit, LitStr, Path, Token};

use crate::offline::Word;
use crate::seconds::Seconds;

/// The options that there are, as an error lists them.
const ALL: &str = "`name = \"..\"`, `description = \"..\"`, `offline_policy = ..`, \
                   `local_cache_ttl = ..`, `stale_allowed`, `local = ..`, `on_unknown = ..`, \
                   `probe = ..`, `timeout = ..`, `expires_after = ..`, `collapse_by(..)`, \
                   `max_retries = ..`, `blocking`, `crate = ..`";

/// The most characters of a tool's name, by OpenAI's protocol.
const LONGEST_NAME: usize = 64;

/// What the user asked for; nothing, unless it says otherwise.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) name: Option<LitStr>,
    pub(crate) description: Option<LitStr>,
    pub(crate) offline_policy: Option<Word>,
    pub(crate) local_cache_ttl: Option<Seconds>,
    pub(crate) stale_allowed: Option<Span>,
    pub(crate) local: Option<Path>,
    pub(crate) on_unknown: Option<Word>,
    pub(crate) probe: Option<Path>,
    pub(crate) timeout: Option<Seconds>,
    pub(crate) expires_after: Option<Seconds>,
    /// Where it stands, and which arguments it names.
    pub(crate) collapse_by: Option<(Span, Vec<Ident>)>,
    pub(crate) max_retries: Option<u32>,
    pub(crate) blocking: Option<Span>,
    pub(crate) crate_path: Option<Path>,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let options: Self = backhaul_macro_support::Options::read(input)?;
        options.check()?;
        Ok(options)
    }
}

impl backhaul_macro_support::Options for Options {
    fn take(&mut self, option: &Ident, input: ParseStream<'_>) -> syn::Result<()> {
        match option.to_string().as_str() {
            "name" => self.name = Some(name(input)?),
            "description" => self.description = Some(description(input)?),
            "offline_policy" => self.offline_policy = Some(after_sign(input, Word::policy)?),
            "local_cache_ttl" => self.local_cache_ttl = Some(value(input)?),
            "stale_allowed" => self.stale_allowed = Some(option.span()),
            "local" => self.local = Some(value(input)?),
            "on_unknown" => self.on_unknown = Some(after_sign(input, Word::on_unknown)?),
            "probe" => self.probe = Some(value(input)?),
            "timeout" => self.timeout = Some(time(input)?),
            "expires_after" => self.expires_after = Some(time(input)?),
            "collapse_by" => self.collapse_by = Some((option.span(), list(input, Ident::parse)?)),
            "max_retries" => self.max_retries = Some(retries(&value(input)?)?),
            "blocking" => self.blocking = Some(option.span()),
            "crate" => self.crate_path = Some(after_sign(input, Path::parse_mod_style)?),
            _ => {
                let message = format!("unknown option `{option}`; there are {ALL}");
                return Err(syn::Error::new(option.span(), message));
            }
        }
        Ok(())
    }
}

impl Options {
    /// Whether what is there goes with the rest.
    fn check(&self) -> syn::Result<()> {
        let Self { local_cache_ttl, stale_allowed, local, expires_after, .. } = self;
        self.check_policy("local_cache_ttl", local_cache_ttl.as_ref().map(Seconds::span))?;
        self.check_policy("local", local.as_ref().map(span_of))?;
        self.check_policy("expires_after", expires_after.as_ref().map(Seconds::span))?;
        self.check_policy("collapse_by", self.collapse_by.as_ref().map(|(span, _)| *span))?;
        if let (Some(span), None) = (stale_allowed, local_cache_ttl) {
            return Err(syn::Error::new(
                *span,
                "`stale_allowed` needs `local_cache_ttl`: nothing is kept without it",
            ));
        }
        self.check_fallback()?;
        self.check_probe()
    }

    /// Refuses an option that belongs to another policy.
    fn check_policy(&self, option: &str, given: Option<Span>) -> syn::Result<()> {
        let wanted = match option {
            "expires_after" | "collapse_by" => "queue",
            _ => "local_fallback",
        };
        match given {
            Some(span) if !self.offline_policy.as_ref().is_some_and(|word| word.is(wanted)) => {
                let message = format!("`{option}` is for `offline_policy = {wanted}`");
                Err(syn::Error::new(span, message))
            }
            _ => Ok(()),
        }
    }

    fn check_fallback(&self) -> syn::Result<()> {
        let fallback = self.offline_policy.as_ref().filter(|word| word.is("local_fallback"));
        match fallback {
            Some(word) if self.local_cache_ttl.is_none() && self.local.is_none() => {
                let message = "there is nothing to fall back to: `local_fallback` needs \
                               `local_cache_ttl = ..`, `local = ..`, or both";
                Err(syn::Error::new(word.span(), message))
            }
            _ => Ok(()),
        }
    }

    fn check_probe(&self) -> syn::Result<()> {
        let checks = self.on_unknown.as_ref().filter(|word| word.is("check_first"));
        match (checks, &self.probe) {
            (Some(word), None) => {
                let message = "`check_first` needs `probe = ..`, a function that finds out \
                               whether it was done";
                Err(syn::Error::new(word.span(), message))
            }
            (None, Some(path)) => {
                let message = "`probe` is asked with `on_unknown = check_first` alone";
                Err(syn::Error::new_spanned(path, message))
            }
            _ => Ok(()),
        }
    }
}

fn span_of(path: &Path) -> Span {
    path.segments.first().map_or_else(Span::call_site, |first| first.ident.span())
}

fn after_sign<T>(
    input: ParseStream<'_>,
    read: fn(ParseStream<'_>) -> syn::Result<T>,
) -> syn::Result<T> {
    input.parse::<Token![=]>()?;
    read(input)
}

/// A time that is not zero.
fn time(input: ParseStream<'_>) -> syn::Result<Seconds> {
    let seconds: Seconds = value(input)?;
    if seconds.is_zero() {
        let message = "expected more than 0 seconds; leave it out where there is no limit";
        return Err(syn::Error::new(seconds.span(), message));
    }
    Ok(seconds)
}

fn retries(expression: &Expr) -> syn::Result<u32> {
    let number = match expression {
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => number.base10_parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| {
        let message = "expected how often it is tried again: a whole number, 0 or more";
        syn::Error::new_spanned(expression, message)
    })
}

fn name(input: ParseStream<'_>) -> syn::Result<LitStr> {
    let literal: LitStr = value(input)?;
    check_name(&literal.value(), literal.span())?;
    Ok(literal)
}

/// Whether models can call a tool of this name.
pub(crate) fn check_name(name: &str, span: Span) -> syn::Result<()> {
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
    if (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(is_allowed) {
        return Ok(());
    }
    let message = format!(
        "the name of a tool is 1 to {LONGEST_NAME} letters (a to z, A to Z), digits, `_` and `-`"
    );
    Err(syn::Error::new(span, message))
}

fn description(input: ParseStream<'_>) -> syn::Result<LitStr> {
    let literal: LitStr = value(input)?;
    if literal.value().trim().is_empty() {
        let message = "the description is empty, and a model has nothing else to choose by";
        return Err(syn::Error::new(literal.span(), message));
    }
    Ok(literal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_quote;

    fn refusal(text: &str) -> String {
        let parsed = syn::parse_str::<Options>(text);
        parsed.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn options_come_in_any_order() {
        let options: Options = parse_quote!(
            max_retries = 0,
            blocking,
            collapse_by(a, b,),
            expires_after = 2 * DAY,
            timeout = 30,
            crate = ::other::tools,
            probe = a::b,
            on_unknown = OnUnknown::CheckFirst,
            offline_policy = tools::OfflinePolicy::Queue,
            description = "Sends it.",
            name = "send-it",
        );
        assert!(options.offline_policy.is_some_and(|word| word.is("queue")));
        assert_eq!(options.collapse_by.map(|(_, names)| names.len()), Some(2));
        assert_eq!(options.max_retries, Some(0));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for (options, expected) in [
            ("local_cache_ttl = 1", "`local_cache_ttl` is for `offline_policy = local_fallback`"),
            ("local = f, offline_policy = skip", "`local` is for"),
            ("expires_after = 1, offline_policy = fail", "`expires_after` is for"),
            ("collapse_by()", "`collapse_by` is for `offline_policy = queue`"),
            ("stale_allowed, local = f, offline_policy = local_fallback", "`stale_allowed` needs"),
            ("offline_policy = local_fallback", "there is nothing to fall back to"),
            ("on_unknown = check_first", "`check_first` needs `probe"),
            ("probe = f", "`probe` is asked with"),
            ("timeout = 0", "expected more than 0 seconds"),
            ("max_retries = -1", "expected how often it is tried again"),
            ("offline_policy = later", "expected one of `queue`, `skip`"),
            ("offline_policy = OfflinePolicy::queue", "expected one of `queue`"),
            ("on_unknown = Later", "expected one of `repeat`, `check_first`"),
            ("blocking, blocking", "`blocking` is given twice"),
            ("queue", "unknown option `queue`; there are `name"),
            ("name = \"a b\"", "the name of a tool is 1 to 64"),
            ("name = \"\"", "the name of a tool is 1 to 64"),
            ("description = \" \"", "the description is empty"),
        ] {
            let refusal = refusal(options);
            assert!(refusal.starts_with(expected), "{options}: {refusal}");
        }
    }
}
