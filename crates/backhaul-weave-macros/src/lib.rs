//! The attribute [`macro@op`], which `backhaul_weave` and `backhaul::weave` give out again.

mod expansion;
mod options;
mod parameters;
mod source;
mod support_path;

use proc_macro::TokenStream;

/// Makes a function an op: each call of it is logged to the active Weave client, with its
/// arguments, what it gives or why it fails, and how long it takes, below the call that it
/// runs in. Without a client it is the function that it was.
///
/// ```text
/// use backhaul::weave;
///
/// #[weave::op]
/// fn add(a: i64, b: i64) -> i64 { a + b }
///
/// #[weave::op(name = "look-up", redact(token), attributes(site = "buoy 7"))]
/// async fn look_up(city: &str, token: &str) -> Result<Weather, Error> { … }
/// ```
///
/// It stands on functions and methods, sync and async, with any generics. Arguments and
/// outputs are what serde makes of them; else what `{:?}` shows; else the names of their types.
/// `Err` and panics are the call's exception. `self` is logged where it can be serialized.
/// A method is called `Type.method`.
///
/// | option | |
/// |---|---|
/// | `name = "…"` | the op's name: 1 to 128 letters, digits, `_`, `.` and `-` |
/// | `display_name = EXPR` | what is shown of a call; the arguments can be used |
/// | `attributes(key = EXPR, …)` | attributes of each call; the arguments can be used |
/// | `skip(a, b)`, `skip_all` | arguments that are not logged |
/// | `redact(a)` | arguments that are logged without their values |
/// | `skip_output` | what it gives is not logged |
/// | `sample_rate = 0.1` | this share of calls that stand below no other is logged, each with all below it |
/// | `crate = path` | where `backhaul_weave` is, if it is not found by itself |
#[proc_macro_attribute]
pub fn op(options: TokenStream, item: TokenStream) -> TokenStream {
    let expanded =
        syn::parse(options).and_then(|options| expansion::expand(&options, item.clone().into()));
    match expanded {
        Ok(expanded) => expanded.into(),
        Err(error) => {
            // The function stays, so that its callers are not in error, too.
            let mut tokens = TokenStream::from(error.to_compile_error());
            tokens.extend(item);
            tokens
        }
    }
}
