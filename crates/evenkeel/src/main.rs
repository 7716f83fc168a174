//! The binary with the parts that are built in.

use std::process::ExitCode;

fn main() -> ExitCode {
    evenkeel::main(&[])
}
