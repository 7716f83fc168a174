//! The binary with the built-in parts.

use std::process::ExitCode;

fn main() -> ExitCode {
    evenkeel::main(&[])
}
