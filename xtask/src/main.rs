//! Development tasks: tidy checks, benchmarks, generated documents.

mod bench;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments
        .next()
        .as_deref()
        .and_then(std::ffi::OsStr::to_str)
    {
        Some("bench") => bench::main(arguments),
        _ => {
            eprintln!("usage: cargo xtask bench [OPTION...]");
            ExitCode::from(2)
        }
    }
}
