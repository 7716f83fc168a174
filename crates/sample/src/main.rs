//! Runs Evenkeel with one more part: the counters of this crate.

use std::process::ExitCode;

static FURTHER: [&evenkeel::Feature; 1] = [&sample::COUNTERS];

fn main() -> ExitCode {
    evenkeel::main(&FURTHER)
}
