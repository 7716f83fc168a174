//! Implements `cargo xtask bench-address`: compares keepalived and Evenkeel with a virtual address,
//! on the same file, in turn within one run.
//!
//! A client opens a connection every 5 ms. A gap is the longest time between two responses. Numbers
//! of different runs or machines are never compared.

mod case;
mod options;
mod site;
mod whole;

use crate::comparison::{self, Case as _, Error, Table};
use options::Options;
use site::AddressProgram;
use std::ffi::OsString;
use std::process::ExitCode;

/// Name of the command, and of the markers in docs/benchmarks.md.
const COMMAND: &str = "bench-address";

/// Runs the comparison of the command line.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let parsed = options::parse(arguments);
    comparison::options::main(COMMAND, options::HELP, parsed, run)
}

fn run(options: &Options) -> Result<bool, Error> {
    options.look()?;
    let sides =
        [("keepalived", &options.left), ("evenkeel", &options.right)].map(|(label, program)| {
            AddressProgram {
                label,
                program: program.clone(),
                // A program that is not called keepalived gets a subcommand that selects
                // keepalived's flags.
                ours: !program.ends_with("keepalived"),
            }
        });
    let mut table = Table::default();
    let mut good = true;
    for case in &options.cases {
        for number in 1..=options.repetitions {
            eprintln!("{}: {number} of {}", case.name(), options.repetitions);
            for (at, side) in sides.iter().enumerate() {
                match case.turn(side) {
                    Ok(samples) => table.add(&samples, at == 0),
                    Err(error) => {
                        good = false;
                        table.failed(COMMAND, case.name(), side.label, &error);
                    }
                }
            }
        }
    }
    let table = table.markdown(sides[0].label, sides[1].label);
    options.show(COMMAND, &heading(options, &sides), &table)?;
    Ok(good)
}

fn heading(options: &Options, sides: &[AddressProgram]) -> String {
    let versions: Vec<String> = sides.iter().filter_map(AddressProgram::version).collect();
    format!(
        "Two machines and a client in network namespaces. Both programs use the same \
         `keepalived.conf`, with an advert interval of 0.01 s unless a row names another one. In \
         the `virtual-ip` rows, Evenkeel's own file runs against keepalived with haproxy. They \
         took turns, {} repetitions. A gap is the longest time between two responses for a \
         client that opens a connection every 5 ms, which adds up to 5 ms. The last column is keepalived's median divided by evenkeel's. Measured with \
         {}.",
        options.repetitions,
        versions.join(" and ")
    )
}
