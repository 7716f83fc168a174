//! Implements `cargo xtask bench-farm`: measures the duration of logons at a farm of remote
//! desktops: 1,000 simulated clients at two nodes, also while one of them dies, and xfreerdp with
//! xrdp in each way that the farm supports.
//!
//! Numbers of different runs or machines are never compared.

mod case;
mod crowd;
mod desktops;
mod hosts;
mod options;
#[path = "../../../crates/farm/tests/it/packets.rs"]
mod packets;
mod site;
mod table;

use crate::cluster::Error;
use crate::comparison::{self, Case as _};
use options::Options;
use std::ffi::OsString;
use std::process::ExitCode;
use table::Table;

/// Name of the command, and of the markers in docs/benchmarks.md.
const COMMAND: &str = "bench-farm";

/// Runs the benchmark of the command line.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let parsed = options::parse(arguments).map_err(Error::from);
    comparison::options::main(COMMAND, options::HELP, parsed, run)
}

fn run(options: &Options) -> Result<bool, Error> {
    options.look()?;
    let mut table = Table::default();
    let mut good = true;
    for case in &options.cases {
        for number in 1..=options.repetitions {
            eprintln!("{}: {number} of {}", case.name(), options.repetitions);
            match case.turn(options) {
                Ok(samples) => table.add(&samples),
                Err(error) => {
                    good = false;
                    eprintln!("{COMMAND}: {}: {error}", case.name());
                    let note = format!("{}: one turn failed.", case.name());
                    table.notes.push(note);
                }
            }
        }
    }
    if !table.meets() {
        eprintln!("{COMMAND}: a median is above its target");
    }
    options.show(COMMAND, &heading(options), &table.markdown())?;
    Ok(good)
}

/// Lowers the priority of this thread, so that the nodes get the processors first.
fn yields() -> std::io::Result<()> {
    rustix::process::nice(10).map(drop).map_err(Into::into)
}

fn heading(options: &Options) -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!(
        "Logons: two nodes and an arbiter, ten simulated session hosts with weights from {} to {}, and {} clients \
         that connect at one time, half of them at each node; all hosts are one thread, and all clients are another one. \
         Nodes, hosts and clients share {cores} cores, of which the nodes have what they need first (hosts and clients have \
         nice 10): elsewhere these are other machines. A decision is measured by the node: from the moment it has read who \
         a client is until the thread that serves this client has the host, with what the other node has to confirm. The \
         time in the queue of the socket before, and the connection to the host after, are in the rows from connect to \
         answer. Routed clients have their name in their first request; redirected ones log on \
         over TLS and come back with a token. A killed node is killed (SIGKILL) when half of the clients have their \
         answer. Desktops: xfreerdp and xrdp with Xvnc in network namespaces; the time from the start of xfreerdp, or \
         from the cut or kill, until xrdp shows the session, which is there before. The targets of desktops \
         are how many times stand-ins by hand took, on another day, what the way straight to the host took. With a token: \
         as the portal hands it out, also by the gateway. {} repetitions of each case, medians; the last column is \
         the median divided by that of the client without a farm.",
        site::WEIGHTS.iter().min().unwrap_or(&0),
        site::WEIGHTS.iter().max().unwrap_or(&0),
        crowd::CLIENTS,
        options.repetitions
    )
}
