//! Implements `cargo xtask bench-cluster`: compares etcd and Evenkeel as consensus groups of three
//! members each, in turn within one run, on the same disk.
//!
//! Numbers of different runs or machines are never compared.

mod case;
pub mod ensemble;
mod error;
mod etcd;
mod options;
pub mod ours;
mod rpc;

use crate::comparison::{self, Case as _, Table, median};
use case::{Case, Setting};
use ensemble::Side;
pub use error::Error;
use options::Options;
use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

/// Name of the command, and of the markers in docs/benchmarks.md.
const COMMAND: &str = "bench-cluster";

/// Default heartbeat interval and election timeout of etcd in milliseconds.
const USUAL: (u32, u32) = (100, 1000);
const SHORT: (u32, u32) = (20, 200);

/// Number of writes that measure the disk.
const DISK_WRITES: usize = 200;

/// Runs the comparison of the command line.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let parsed = options::parse(arguments);
    comparison::options::main(COMMAND, options::HELP, parsed, run)
}

/// Returns the sides of a case in their order, each with the settings whose rows it fills.
fn sides(options: &Options, case: Case) -> Vec<(Side, Vec<Setting>)> {
    let etcd = |(heartbeat_ms, election_ms)| Side::Etcd {
        program: options.left.clone(),
        heartbeat_ms,
        election_ms,
        tls: false,
    };
    let with_tls = Side::Etcd {
        program: options.left.clone(),
        heartbeat_ms: USUAL.0,
        election_ms: USUAL.1,
        tls: true,
    };
    let ours = Side::Evenkeel {
        program: options.right.clone(),
    };
    if !case.has_etcd() {
        vec![(ours, vec![Setting::Usual])]
    } else if case == Case::Write {
        vec![
            (etcd(USUAL), vec![Setting::Usual]),
            (with_tls, vec![Setting::Tls]),
            (ours, vec![Setting::Usual, Setting::Tls]),
        ]
    } else if case.depends_on_times() {
        vec![
            (etcd(USUAL), vec![Setting::Usual]),
            (etcd(SHORT), vec![Setting::Short]),
            (ours, vec![Setting::Usual, Setting::Short]),
        ]
    } else {
        vec![
            (etcd(USUAL), vec![Setting::Usual]),
            (ours, vec![Setting::Usual]),
        ]
    }
}

fn run(options: &Options) -> Result<bool, Error> {
    options.look()?;
    let mut table = Table::default();
    let mut good = true;
    for case in &options.cases {
        let sides = sides(options, *case);
        for number in 1..=options.repetitions {
            eprintln!("{}: {number} of {}", case.name(), options.repetitions);
            for (side, settings) in &sides {
                let is_left = matches!(side, Side::Etcd { .. });
                match case.turn(side, settings) {
                    Ok(samples) => table.add(&samples, is_left),
                    Err(error) => {
                        good = false;
                        table.failed(COMMAND, case.name(), side.label(), &error);
                    }
                }
            }
        }
    }
    let table = table.markdown("etcd", "evenkeel");
    options.show(COMMAND, &heading(options)?, &table)?;
    Ok(good)
}

fn heading(options: &Options) -> Result<String, Error> {
    let versions: Vec<String> = sides(options, Case::Memory)
        .iter()
        .filter_map(|(side, _)| side.version())
        .collect();
    Ok(format!(
        "Three members on three machines in network namespaces: three etcd members (without TLS \
         unless the row names it) or two nodes and an arbiter (with mutual TLS). They took turns, \
         {} repetitions, on the same disk and with fsync (an fdatasync of 512 bytes takes {:.2} ms \
         here). One client on the leader's machine writes sequentially: over gRPC and TCP to \
         etcd, over the operators' socket to evenkeel. After the leader is killed, both survivors \
         are queried for the leader every 2 ms, and get writes until one acknowledges. Memory is \
         RssAnon of all processes of a member after 2,100 writes. The last column is etcd's \
         median divided by evenkeel's: above 1, evenkeel needs less time or memory. Measured with {}.",
        options.repetitions,
        disk()?,
        versions.join(" and ")
    ))
}

/// Returns the median duration in milliseconds of a write with fdatasync on the disk of the
/// members' files.
fn disk() -> Result<f64, Error> {
    let scratch = lab::ScratchDirectory::new()?;
    let path = scratch.path().join("disk");
    let failed = |source| comparison::Error::File {
        doing: "writing",
        path: path.clone(),
        source,
    };
    let mut file = File::create(&path).map_err(failed)?;
    let mut took = Vec::with_capacity(DISK_WRITES);
    for _ in 0..DISK_WRITES {
        let begun = Instant::now();
        file.write_all(&[0; 512])
            .and_then(|()| file.sync_data())
            .map_err(failed)?;
        took.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(median(&took).unwrap_or_default())
}
