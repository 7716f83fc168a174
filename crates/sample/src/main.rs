//! Evenkeel with one more part.

use std::process::ExitCode;

static FURTHER: [&evenkeel::Feature; 1] = [&sample::COUNTERS];

fn main() -> ExitCode {
    evenkeel::main(&FURTHER)
}
