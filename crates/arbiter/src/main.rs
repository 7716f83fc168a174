//! Starts the program of the package `evenkeel-arbiter`. Built with the profile `arbiter`, the
//! linker keeps only what an arbiter needs.

use std::process::ExitCode;

fn main() -> ExitCode {
    evenkeel::arbiter_main()
}
