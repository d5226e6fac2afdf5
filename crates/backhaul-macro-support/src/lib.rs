//! What the attributes of backhaul have in common. For its macro crates alone: it promises
//! nothing to others.
//!
//! - [`Function`], [`Body`]: the item that an attribute stands on.
//! - [`Options`], [`value`], [`list`]: what stands in an attribute's parentheses.
//! - [`Library`]: where an expansion finds what it calls.

mod function;
mod library;
mod options;

pub use self::function::{Body, Function, Wanted};
pub use self::library::Library;
pub use self::options::{Options, list, value};
