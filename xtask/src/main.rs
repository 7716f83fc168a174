//! Runs the development tasks of `cargo xtask`: tidy checks, tests, benchmarks, generated
//! documents.

mod address;
mod bench;
mod boot;
mod changes;
mod cluster;
mod comparison;
mod conformance;
mod farm;
mod suite;
mod tidy;
mod volume;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments
        .next()
        .as_deref()
        .and_then(std::ffi::OsStr::to_str)
    {
        Some("bench") => bench::main(arguments),
        Some("bench-address") => address::main(arguments),
        Some("bench-boot") => boot::main(arguments),
        Some("bench-cluster") => cluster::main(arguments),
        Some("bench-farm") => farm::main(arguments),
        Some("bench-volume") => volume::main(arguments),
        Some("changes") => changes::main(arguments),
        Some("conformance") => conformance::main(arguments),
        Some("house") => tidy::print_house(),
        Some("test") => suite::main(arguments),
        Some("tidy") => tidy::main(),
        _ => {
            eprintln!(
                "usage: cargo xtask bench [OPTION...]\n       cargo xtask \
                 bench-address [OPTION...]\n       cargo xtask bench-boot [OPTION...]\n       cargo xtask bench-cluster [OPTION...]\n       \
                 cargo xtask bench-farm [OPTION...]\n       cargo xtask bench-volume [OPTION...]\n       cargo xtask changes [OPTION...]\n       cargo xtask conformance \
                 [OPTION...]\n       cargo xtask house\n       cargo xtask test \
                 [NAME...]\n       cargo xtask tidy"
            );
            ExitCode::from(2)
        }
    }
}
