//! Implements `cargo xtask bench-boot`: compares Kea, dnsmasq and nginx with Evenkeel, in turn
//! within one run: DHCP with the same machines and the same range, files that many machines fetch
//! at once, and boots of machines with real firmware.
//!
//! Numbers of different runs or machines are never compared.

mod case;
mod firmware;
mod hand;
mod options;
mod site;
mod storm;

pub use site::output;

use crate::comparison::{self, Case as _, Error, Table};
use options::Options;
use std::ffi::OsString;
use std::process::ExitCode;

/// Name of the command, and of the markers in docs/benchmarks.md.
const COMMAND: &str = "bench-boot";

/// Runs the comparison of the command line.
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
        "DHCP: a server and perfdhcp (as a relay) in two network namespaces. Each server knows the same \
         10,000 machines with an address of their own and the same range of 64,000 addresses; none \
         looks for other users of an address behind a relay. evenkeel has each lease of the range on \
         its disk before it acknowledges it; Kea (memfile) and dnsmasq do not wait for that. Clients \
         begin 4,000 exchanges a second beside Kea and 200 beside dnsmasq, for {} s. An exchange is \
         DISCOVER, OFFER, REQUEST and ACK. Files: {} machines, each with an address of its own, begin at one \
         time; by TFTP they ask for blocks of 1,432 bytes and repeat after a second, and all of them are \
         one thread. Boots: QEMU without hardware virtualisation, from its start to the first process of \
         Linux, beside dnsmasq and nginx configured by hand. CPU time is that of all processes of the server. They \
         took turns, {} repetitions. The last column is the other one's median divided by evenkeel's: \
         below 1 is better for evenkeel where exchanges or bytes are counted, above 1 where time is.",
        site::SECONDS,
        storm::MACHINES,
        options.repetitions
    )
}
