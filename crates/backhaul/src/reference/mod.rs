//! Pages that describe the program, made from what it is: help, tables of settings and
//! variables. Tests compare them with those in `docs/`.

mod commands;
mod environment;

pub(crate) use self::commands::{commands, completions, man_pages};
pub(crate) use self::environment::environment;
