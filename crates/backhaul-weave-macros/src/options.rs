//! What stands in the parentheses of `#[op(..)]`.

use backhaul_macro_support::{list, value};
use proc_macro2::Ident;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{Expr, Lit, LitStr, Path, Token};

/// The options that there are, as an error lists them.
const ALL: &str = "`name = \"..\"`, `display_name = ..`, `attributes(..)`, `skip(..)`, `skip_all`, \
                   `redact(..)`, `skip_output`, `sample_rate = ..`, `crate = ..`";

/// The most characters of an op's name: Weave's server refuses longer ones.
const LONGEST_NAME: usize = 128;

/// What the user asked for; nothing, unless it says otherwise.
pub(crate) struct Options {
    /// Letters, digits, `_`, `.` and `-`.
    pub(crate) name: Option<String>,
    pub(crate) display_name: Option<Expr>,
    pub(crate) attributes: Vec<(String, Expr)>,
    pub(crate) skip: Vec<Ident>,
    pub(crate) skip_all: bool,
    pub(crate) redact: Vec<Ident>,
    pub(crate) skip_output: bool,
    /// From 0.0 to 1.0.
    pub(crate) sample_rate: f64,
    pub(crate) crate_path: Option<Path>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: None,
            display_name: None,
            attributes: Vec::new(),
            skip: Vec::new(),
            skip_all: false,
            redact: Vec::new(),
            skip_output: false,
            sample_rate: 1.0,
            crate_path: None,
        }
    }
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        backhaul_macro_support::Options::read(input)
    }
}

impl backhaul_macro_support::Options for Options {
    fn take(&mut self, option: &Ident, input: ParseStream<'_>) -> syn::Result<()> {
        match option.to_string().as_str() {
            "name" => self.name = Some(op_name(&value(input)?)?),
            "display_name" => self.display_name = Some(value(input)?),
            "attributes" => self.attributes = attributes(input)?,
            "skip" => self.skip = list(input, Ident::parse_any)?,
            "skip_all" => self.skip_all = true,
            "redact" => self.redact = list(input, Ident::parse_any)?,
            "skip_output" => self.skip_output = true,
            "sample_rate" => self.sample_rate = rate(&value(input)?)?,
            "crate" => {
                input.parse::<Token![=]>()?;
                self.crate_path = Some(Path::parse_mod_style(input)?);
            }
            _ => {
                let message = format!("unknown option `{option}`; there are {ALL}");
                return Err(syn::Error::new(option.span(), message));
            }
        }
        Ok(())
    }
}

/// Keys with the expressions of their values.
fn attributes(input: ParseStream<'_>) -> syn::Result<Vec<(String, Expr)>> {
    let mut attributes: Vec<(String, Expr)> = Vec::new();
    for (key, expression) in list(input, attribute)? {
        let name = key.value();
        if attributes.iter().any(|(earlier, _)| *earlier == name) {
            return Err(syn::Error::new(key.span(), format!("`{name}` is given twice")));
        }
        attributes.push((name, expression));
    }
    Ok(attributes)
}

fn attribute(input: ParseStream<'_>) -> syn::Result<(LitStr, Expr)> {
    let key = if input.peek(LitStr) {
        input.parse()?
    } else {
        let key = Ident::parse_any(input)?;
        LitStr::new(&key.unraw().to_string(), key.span())
    };
    Ok((key, value(input)?))
}

fn op_name(literal: &LitStr) -> syn::Result<String> {
    let name = literal.value();
    let is_allowed = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '.' | '-');
    let length = name.chars().count();
    if length == 0 || length > LONGEST_NAME || !name.chars().all(is_allowed) {
        let message =
            format!("the name of an op is 1 to {LONGEST_NAME} letters, digits, `_`, `.` and `-`");
        return Err(syn::Error::new(literal.span(), message));
    }
    Ok(name)
}

/// A literal from 0 to 1. What is computed is refused: the rate is part of what the op is.
fn rate(expression: &Expr) -> syn::Result<f64> {
    let rate = match expression {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Float(number) => number.base10_parse().ok(),
            Lit::Int(number) => number.base10_parse().ok(),
            _ => None,
        },
        _ => None,
    };
    match rate {
        Some(rate) if (0.0..=1.0).contains(&rate) => Ok(rate),
        _ => {
            let message = "the rate of sampling is a number from 0.0 to 1.0";
            Err(syn::Error::new_spanned(expression, message))
        }
    }
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
    fn nothing_is_asked_for_unless_it_is_said() {
        let options: Options = parse_quote!();
        assert!(options.name.is_none() && options.display_name.is_none());
        assert!(options.skip.is_empty() && options.redact.is_empty());
        assert!(!options.skip_all && !options.skip_output);
        assert!((options.sample_rate - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn options_come_in_any_order() {
        let options: Options = parse_quote!(
            sample_rate = 0.25,
            crate = ::other::weave,
            skip_output,
            redact(key),
            attributes(model = "small", "a.b" = size + 1, type = f(1, 2),),
            skip(self, r#type),
            display_name = format!("{a}, {b}"),
            name = "my.op-1_ü",
        );
        assert_eq!(options.name.as_deref(), Some("my.op-1_ü"));
        let skipped: Vec<String> = options.skip.iter().map(ToString::to_string).collect();
        assert_eq!(skipped, ["self", "r#type"]);
        let keys: Vec<&str> = options.attributes.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["model", "a.b", "type"]);
        assert!(options.skip_output && options.crate_path.is_some());
        assert!((options.sample_rate - 0.25).abs() < f64::EPSILON);
    }

    #[test]
    fn rates_are_numbers_from_zero_to_one() {
        for good in ["0", "1", "0.0", "1.0", "1e-3", "0.5f64"] {
            assert_eq!(refusal(&format!("sample_rate = {good}")), "", "{good}");
        }
        for bad in ["-0.5", "1.01", "2", "\"0.5\"", "RATE", "1e9"] {
            let refusal = refusal(&format!("sample_rate = {bad}"));
            assert_eq!(refusal, "the rate of sampling is a number from 0.0 to 1.0", "{bad}");
        }
    }

    #[test]
    fn names_are_what_a_server_takes() {
        let of_length = |length| refusal(&format!("name = {:?}", "a".repeat(length)));
        assert_eq!(of_length(LONGEST_NAME), "");
        for refused in [of_length(LONGEST_NAME + 1), of_length(0), refusal("name = \"a b\"")] {
            assert!(refused.starts_with("the name of an op is 1 to 128 letters"), "{refused}");
        }
    }

    #[test]
    fn an_unknown_option_is_answered_with_those_there_are() {
        let refusal = refusal("skip_outputs");
        assert!(refusal.starts_with("unknown option `skip_outputs`; there are `name = "));
    }

    #[test]
    fn nothing_is_given_twice() {
        assert_eq!(refusal("skip_all, skip_all"), "`skip_all` is given twice");
        assert_eq!(refusal("attributes(a = 1, \"a\" = 2)"), "`a` is given twice");
    }
}
