//! The attribute that makes a function an op of Weave: [`macro@op`].
//!
//! Programs use it by the name `weave::op`, of the crates `backhaul` or `backhaul-weave`, whose
//! documentation has examples that run. What it expands to calls their module `macro_support`,
//! which is public for that and for nothing else.

mod expansion;
mod future;
mod options;
mod output;
mod parameters;
mod recording;
mod source;

use proc_macro::TokenStream;

/// Makes a function or method an op: each call of it is traced, with its inputs, its output or
/// error, its time and the call that it was made in.
///
/// ```text
/// use backhaul::weave;
///
/// #[weave::op]
/// async fn answer(question: &str) -> Result<String, ModelError> { .. }
///
/// #[weave::op(name = "rank", redact(key), attributes(model = MODEL), sample_rate = 0.1)]
/// fn rank(documents: &[Document], key: &str) -> Vec<usize> { .. }
/// ```
///
/// The function does what it did, whatever becomes of the trace: neither its signature nor what
/// it returns changes.
///
/// # What is recorded
/// - **Inputs**, before the body runs, by their names. A pattern such as `(x, y): (i32, i32)` is
///   recorded whole, as `argument_0` if it is the first parameter (`self` does not count), and
///   `_` is not. `self` is recorded if its type can be serialized.
/// - **The output**, or the error of a `Result`. With `-> !` there is none.
/// - **Values** as JSON if their type implements `serde::Serialize`, otherwise as their `Debug`
///   text, otherwise as the name of the type. In generic code the bounds decide that: a value
///   of `T` without bounds is recorded as a name.
/// - **The source text** of the function, from its file, up to 64 KiB. It stands in the program.
///
/// # Options
/// In any order, each once:
///
/// | option | |
/// |---|---|
/// | `name = ".."` | the op's name, of 1 to 128 letters, digits, `_`, `.` and `-`. Without it, that of the function, after the type for a method with `self` |
/// | `display_name = EXPR` | what a call is shown as: anything that is `Into<String>`, made of the parameters if need be |
/// | `attributes(key = EXPR, "a.key" = EXPR)` | attributes of each call, captured as inputs are |
/// | `skip(a, b)`, `skip_all` | these parameters, or all, are not recorded |
/// | `redact(a)` | that there was a value is recorded, and not the value |
/// | `skip_output` | the output is not recorded; errors are |
/// | `sample_rate = 0.25` | the share of calls that are traced, 0.0 to 1.0; 1.0 without it |
/// | `crate = path` | where the module `weave` is, if it is not found by the dependencies of the package |
///
/// Expressions are evaluated when the call begins and can borrow the parameters. They are not
/// evaluated for a call that is not traced.
///
/// # Futures
/// The call of an `async fn` begins when its future is first polled. So does that of a function
/// which returns a future by its type (`impl Future`, `Pin<Box<dyn Future>>`, `BoxFuture`) and
/// ends in `async move { .. }` or `Box::pin(async move { .. })`, though its inputs are those of
/// when it was called, and are captured even if the call is not traced. Methods of
/// `#[async_trait]` are the like, and need the attribute on the method. A function that gets its
/// future elsewhere is an op that returns a future, and ends when it has.
///
/// # Errors
/// It does not compile, with an error at what is wrong, on anything but a function with a body,
/// on a `const fn`, with options that are unknown, given twice or out of range, and with names
/// that are no parameters.
#[proc_macro_attribute]
pub fn op(options: TokenStream, item: TokenStream) -> TokenStream {
    let source = source::source_of(&item);
    expansion::expand(options.into(), &item.into(), &source).into()
}
