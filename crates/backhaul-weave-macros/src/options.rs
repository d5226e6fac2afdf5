//! What stands in the brackets of `#[op(…)]`.

use proc_macro2::Span;
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned as _;
use syn::{Error, Expr, Ident, Lit, LitStr, Path, Result, Token, parenthesized};

/// All options, for whoever names another.
const KNOWN: &str = "name, display_name, attributes(…), skip(…), skip_all, redact(…), \
    skip_output, sample_rate, crate";
/// Most characters of an op's name, as at Weave's server.
const LONGEST_NAME: usize = 128;

/// Options of an op. What is not named has its default.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) name: Option<LitStr>,
    pub(crate) display_name: Option<Expr>,
    pub(crate) attributes: Vec<(String, Expr)>,
    pub(crate) skip: Vec<Ident>,
    pub(crate) skip_all: bool,
    pub(crate) redact: Vec<Ident>,
    pub(crate) skip_output: bool,
    pub(crate) sample_rate: Option<f64>,
    pub(crate) crate_path: Option<Path>,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Self::default();
        let mut seen = Vec::new();
        while !input.is_empty() {
            let option = input.call(Ident::parse_any)?;
            if seen.contains(&option) {
                return Err(Error::new(option.span(), format!("`{option}` is given twice")));
            }
            options.read(&option, input)?;
            seen.push(option);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        options.check()?;
        Ok(options)
    }
}

impl Options {
    fn read(&mut self, option: &Ident, input: ParseStream<'_>) -> Result<()> {
        match option.to_string().as_str() {
            "name" => self.name = Some(name(input)?),
            "display_name" => self.display_name = Some(value(input)?),
            "attributes" => self.attributes = attributes(input)?,
            "skip" => self.skip = names(input)?,
            "skip_all" => self.skip_all = true,
            "redact" => self.redact = names(input)?,
            "skip_output" => self.skip_output = true,
            "sample_rate" => self.sample_rate = Some(sample_rate(input)?),
            "crate" => {
                input.parse::<Token![=]>()?;
                self.crate_path = Some(input.call(Path::parse_mod_style)?);
            }
            other => {
                let message = format!("`{other}` is no option of an op: expected one of {KNOWN}");
                return Err(Error::new(option.span(), message));
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        match self.redact.iter().find(|name| self.skip.contains(name)) {
            Some(name) => {
                let message = format!("`{name}` is both skipped and redacted: choose one");
                Err(Error::new(name.span(), message))
            }
            None => Ok(()),
        }
    }
}

fn value(input: ParseStream<'_>) -> Result<Expr> {
    input.parse::<Token![=]>()?;
    input.parse()
}

fn name(input: ParseStream<'_>) -> Result<LitStr> {
    input.parse::<Token![=]>()?;
    let name: LitStr = input.parse()?;
    let text = name.value();
    let is_allowed = |letter: char| letter.is_alphanumeric() || "_.-".contains(letter);
    if text.is_empty() || text.chars().count() > LONGEST_NAME || !text.chars().all(is_allowed) {
        let message =
            format!("an op's name has 1 to {LONGEST_NAME} letters, digits, `_`, `.` and `-`");
        return Err(Error::new(name.span(), message));
    }
    Ok(name)
}

fn names(input: ParseStream<'_>) -> Result<Vec<Ident>> {
    let inner;
    parenthesized!(inner in input);
    let names = Punctuated::<Ident, Token![,]>::parse_terminated_with(&inner, Ident::parse_any)?;
    Ok(names.into_iter().collect())
}

fn attributes(input: ParseStream<'_>) -> Result<Vec<(String, Expr)>> {
    let inner;
    parenthesized!(inner in input);
    let read = |inner: ParseStream<'_>| {
        let key = match inner.peek(LitStr) {
            true => inner.parse::<LitStr>()?.value(),
            false => inner.call(Ident::parse_any)?.unraw().to_string(),
        };
        Ok((key, value(inner)?))
    };
    let attributes = Punctuated::<_, Token![,]>::parse_terminated_with(&inner, read)?;
    Ok(attributes.into_iter().collect())
}

fn sample_rate(input: ParseStream<'_>) -> Result<f64> {
    input.parse::<Token![=]>()?;
    let rate: Expr = input.parse()?;
    let span: Span = rate.span();
    let number = match &rate {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Float(number) => number.base10_parse().ok(),
            Lit::Int(number) => number.base10_parse().ok(),
            _ => None,
        },
        _ => None,
    };
    number
        .filter(|rate| (0.0..=1.0).contains(rate))
        .ok_or_else(|| Error::new(span, "a sample rate is a number from 0.0 (none) to 1.0 (all)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(options: &str) -> String {
        syn::parse_str::<Options>(options).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn all_options_are_read_in_any_order() {
        let options: Options = syn::parse_str(
            r#"skip(a, self), sample_rate = 0, attributes(site = "x", "b.c" = n + 1),
               display_name = format!("{n}"), redact(token), skip_output, name = "a.b-c",
               crate = some::weave"#,
        )
        .unwrap();
        assert_eq!(options.skip.len(), 2);
        assert_eq!(options.sample_rate, Some(0.0));
        assert_eq!(options.attributes[1].0, "b.c");
        assert!(options.skip_output && options.crate_path.is_some());
    }

    #[test]
    fn what_is_no_option_is_refused_with_those_there_are() {
        assert!(error_of("skp(a)").contains("skip(…)"));
        assert!(error_of("skip_all, skip_all").contains("twice"));
        assert!(error_of("sample_rate = 1.5").contains("0.0"));
        assert!(error_of("sample_rate = -1").contains("0.0"));
        assert!(error_of("sample_rate = RATE").contains("0.0"));
        assert!(error_of("name = \"a b\"").contains("letters"));
        assert!(error_of("skip(a), redact(a)").contains("choose"));
    }
}
