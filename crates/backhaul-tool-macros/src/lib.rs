//! The attribute that makes a function a tool of an agent: [`macro@tool`].
//!
//! Programs use it by the name `tools::tool`, of the crates `backhaul` or `backhaul-runtime`,
//! whose documentation has examples that run. What it expands to calls their module
//! `macro_support`, which is public for that and for nothing else.

mod documentation;
mod expansion;
mod offline;
mod options;
mod parameters;
mod seconds;

use proc_macro::TokenStream;

/// Makes a function a tool: a model can be told of it and call it, and it says what becomes of
/// a call without a network.
///
/// ```text
/// use backhaul::tools::{IdempotencyKey, OfflinePolicy, tool};
///
/// /// Send a push notification to a user.
/// #[tool(offline_policy = OfflinePolicy::Queue, expires_after = 3 * DAY)]
/// async fn send_notification(
///     /// What the user reads.
///     message: &str,
///     key: IdempotencyKey,
/// ) -> Result<Receipt, reqwest::Error> { .. }
///
/// /// Get the current weather.
/// #[tool(offline_policy = local_fallback, local_cache_ttl = 3600)]
/// async fn get_weather(location: String) -> Result<Weather, reqwest::Error> { .. }
///
/// let tools = ToolRegistry::new().with(send_notification::tool())?.with(get_weather::tool())?;
/// ```
///
/// The function stays what it was, to be called as before. Beside it stands a type of the same
/// name, and its `tool()` is the tool. (So no module or type of that name may stand there, and
/// where the documentation links to the function it says `fn@name`.)
///
/// # Name and description
/// The tool has the name of the function, and its documentation for a description, up to the
/// first heading. One of both is needed, documentation or `description = ".."`: a model has
/// nothing else to choose by.
///
/// # Arguments
/// Each parameter is an argument by its name, of any type that implements `DeserializeOwned`
/// and `JsonSchema` (`tools::schemars`; `#[schemars(crate = "..")]` says where it is). Its own
/// documentation is for the model.
/// - `&str`, `&[T]` and `&T` are borrowed from a `String`, a `Vec<T>` or a `T`.
/// - `Option<T>` may be missing, or null.
/// - With `#[default = EXPR]` it may be missing, and is that then.
/// - A parameter of the type `IdempotencyKey` is no argument, but what the intended effect is
///   known by; `&ToolInvocation` is all of the call. They are known by these names.
///
/// Arguments that are missing, of another type, or that the function does not have are refused
/// before it is called (`ToolErrorKind::InvalidArguments`).
///
/// # What it returns
/// Anything that implements `Serialize`, or a `Result` of that and an error: one of
/// `std::error::Error`, `anyhow::Error` and its like, a boxed error, a text or whatever can be
/// displayed, or a `ToolError` that says more exactly what it means. It may be an `async fn`,
/// return a future, or neither. A future has to be `Send`.
///
/// # Options
/// In any order, each once. Times are expressions for whole numbers of seconds (`u64`), or of
/// the type `Duration`:
///
/// | option | |
/// |---|---|
/// | `name = ".."` | the tool's name, of 1 to 64 letters, digits, `_` and `-` |
/// | `description = ".."` | what a model is told |
/// | `offline_policy = queue` | or `skip`, `local_fallback`, `fail` (also `OfflinePolicy::Queue`). Without it, `fail` |
/// | `local_cache_ttl = 3600` | how old a kept result may be that is given in an outage; with `local_fallback` |
/// | `stale_allowed` | older ones are given too, marked as stale |
/// | `local = path::of::function` | what is done on the device in an outage; with `local_fallback` |
/// | `on_unknown = repeat` | or `check_first`, `ask_person`, `abandon` (also `OnUnknown::Repeat`): what is done with a call of which nobody knows whether it was done. Without it, `repeat` |
/// | `probe = path::of::function` | finds out whether it was done; with `check_first` |
/// | `timeout = 30` | how long one attempt may take |
/// | `expires_after = 86400` | how old a queued call may get; with `queue` |
/// | `collapse_by(a, b)` | of queued calls that agree in these arguments, the newest alone is done; with `queue` |
/// | `max_retries = 3` | how often a call that fails while there is a network is tried again |
/// | `blocking` | the function, and those of `local` and `probe`, wait for something without `async`: they run on a thread where that is no harm |
/// | `crate = path` | where the module `tools` is, if it is not found by the dependencies of the package |
///
/// The functions of `local` and `probe` take the same parameters as the function, and may be
/// `async` or not. `local` returns what the function might return, `probe` a `Probed` or a
/// `Result` of it.
///
/// # Errors
/// It does not compile, with an error at what is wrong, on anything but a function; on methods,
/// `unsafe` and generic functions (lifetimes are no harm); on parameters without a name; without
/// a description; with options that are unknown, given twice or out of range; and with options
/// that contradict each other.
#[proc_macro_attribute]
pub fn tool(options: TokenStream, item: TokenStream) -> TokenStream {
    expansion::expand(options.into(), &item.into()).into()
}
