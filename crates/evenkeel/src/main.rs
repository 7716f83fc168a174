//! Starts the binary `evenkeel` with the built-in parts only.

use std::process::ExitCode;

fn main() -> ExitCode {
    evenkeel::main(&[])
}
