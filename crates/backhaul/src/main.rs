//! The command line of backhaul.

use std::process::ExitCode;

fn main() -> ExitCode {
    backhaul::program::main()
}
