//! `cargo xtask bench-boot`: Kea and dnsmasq beside Evenkeel as DHCP servers of one network, with
//! the same machines and the same range, in one run and in turn.
//!
//! perfdhcp is their clients. It never compares numbers of different runs or machines.

mod case;
mod options;
mod site;

use crate::comparison::{self, Case as _, Error, Table};
use options::Options;
use std::ffi::OsString;
use std::process::ExitCode;

/// The command, and the markers in docs/benchmarks.md.
const COMMAND: &str = "bench-boot";

/// Runs the comparison that the arguments ask for.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let parsed = options::parse(arguments);
    comparison::options::main(COMMAND, options::HELP, parsed, run)
}

fn run(options: &Options) -> Result<bool, Error> {
    options.look()?;
    let mut table = Table::default();
    let mut good = true;
    for case in &options.cases {
        for number in 1..=options.repetitions {
            eprintln!("{}: {number} of {}", case.name(), options.repetitions);
            for is_left in [true, false] {
                match case.turn(options, is_left) {
                    Ok(samples) => table.add(&samples, is_left),
                    Err(error) => {
                        good = false;
                        let label = if is_left { "the other" } else { "evenkeel" };
                        table.failed(COMMAND, case.name(), label, &error);
                    }
                }
            }
        }
    }
    let table = table.markdown("the other", "evenkeel");
    options.show(COMMAND, &heading(options), &table)?;
    Ok(good)
}

fn heading(options: &Options) -> String {
    format!(
        "A server and perfdhcp (as a relay) in two network namespaces. Each server knows the same \
         10,000 machines with an address of their own and the same range of 64,000 addresses; none \
         looks for other users of an address behind a relay. evenkeel has each lease of the range on \
         its disk before it acknowledges it; Kea (memfile) and dnsmasq do not wait for that. Clients \
         begin 4,000 exchanges a second beside Kea and 200 beside dnsmasq, for {} s. An exchange is \
         DISCOVER, OFFER, REQUEST and ACK; the CPU time is that of all processes of the server. They \
         took turns, {} repetitions. The last column is the other one's median divided by evenkeel's: \
         below 1 is better for evenkeel where exchanges are counted, above 1 where time is.",
        site::SECONDS,
        options.repetitions
    )
}
