//! Implements `cargo xtask bench-volume`: compares volumes with nbdkit, QEMU's quorum driver and
//! GlusterFS, in turn within one run, on the same disk.
//!
//! Numbers of different runs or machines are never compared.

mod case;
mod error;
mod fio;
mod hand;
mod options;
mod ours;
mod peers;
mod side;
mod table;

use crate::comparison::{self, Case as _};
use error::VolumeBenchError;
use options::Options;
use side::Side;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode};
use table::{Table, Unit};

/// Name of the command, and of the markers in docs/benchmarks.md.
const COMMAND: &str = "bench-volume";

/// Runs the comparison of the command line.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let parsed = options::parse(arguments);
    comparison::options::main(COMMAND, options::HELP, parsed, run)
}

/// Function that starts a side.
type Start = fn(&Path) -> Result<Side, VolumeBenchError>;

/// Returns the sides for volumes with this number of copies. The last one is Evenkeel.
fn sides(copies: u8) -> Vec<(&'static str, Start)> {
    match copies {
        1 => vec![
            ("nbdkit file", |_| peers::nbdkit(true)),
            ("nbdkit file, cache=none", |_| peers::nbdkit(false)),
            ("evenkeel", ours::single),
        ],
        _ => vec![
            ("by hand", |_| hand::start()),
            ("QEMU quorum", |_| peers::quorum()),
            ("GlusterFS", |_| peers::gluster()),
            ("evenkeel", ours::pair),
        ],
    }
}

fn run(options: &Options) -> Result<bool, VolumeBenchError> {
    options.look()?;
    let (mut text, mut good) = (heading(options), true);
    for copies in [1, 2] {
        if options.copies.is_none_or(|only| only == copies) {
            let table = compare(options, copies, &mut good);
            let title = match copies {
                1 => "One copy",
                _ => "Two copies",
            };
            text.push_str(&format!("\n\n### {title}\n\n{}", table.markdown()));
        }
    }
    options.show(COMMAND, &text)?;
    Ok(good)
}

/// Runs all sides with this number of copies in all cases. A missing peer is skipped with a note;
/// Evenkeel must be present.
fn compare(options: &Options, copies: u8, good: &mut bool) -> Table {
    let sides = sides(copies);
    let mut table = Table::new(sides.iter().map(|(label, _)| *label).collect());
    let ours = sides.len() - 1;
    let mut started = Vec::new();
    for (number, (label, start)) in sides.iter().enumerate() {
        let side = start(&options.program).and_then(|side| side.fill().map(|()| side));
        match side {
            Ok(side) => started.push((number, *label, side)),
            Err(error) => {
                eprintln!("{COMMAND}: {label}: {error}");
                *good &= number != ours && matches!(error, VolumeBenchError::NotInstalled(_));
                let first = error.to_string();
                let first = first.lines().next().unwrap_or_default().to_owned();
                table.notes.push(format!("{label} was skipped: {first}."));
            }
        }
    }
    for case in &options.cases {
        for round in 1..=options.rounds {
            eprintln!(
                "copies {copies}: {}: {round} of {}",
                case.name(),
                options.rounds
            );
            for (number, label, side) in &started {
                match side.run(*case, options.seconds) {
                    Ok(Some(turn)) => {
                        for (name, unit, value) in case.rows(&turn.numbers) {
                            table.add(*number, name, unit, value);
                        }
                        if let (Some(name), Some(us)) = (case.processor_row(), turn.processor_us) {
                            table.add(*number, name, Unit::Processor, us);
                        }
                    }
                    Ok(None) => {}
                    Err(error) => {
                        *good = false;
                        eprintln!("{COMMAND}: {}: {label}: {error}", case.name());
                        let note = format!("{}: one turn of {label} failed.", case.name());
                        table.notes.push(note);
                    }
                }
            }
        }
    }
    for (number, _, side) in &started {
        if let Some(memory) = side.memory() {
            let name = "memory of the volume role of a node, with this volume";
            table.add(*number, name, Unit::Memory, memory);
        }
    }
    table
}

/// Returns the first line of the output of `--version`.
fn version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().map(str::to_owned)
}

fn heading(options: &Options) -> String {
    let program = options.program.to_string_lossy();
    let versions = ["fio", "nbdkit", "qemu-nbd", "glusterfs", &program].map(version);
    let versions: Vec<String> = versions.into_iter().flatten().collect();
    format!(
        "Volumes of {} MiB, written once before; fio's NBD engine for {} s a turn, and the medians \
         of {} turns of each side, which took turns. Machines are network namespaces; all files \
         are on the same disk. \"Evenkeel better by\" is the ratio of the medians: above 1, \
         evenkeel is faster or needs less. Of one copy, evenkeel and nbdkit \
         use the page cache (nbdkit with `cache=none` drops the pages), so rows without a flush are \
         the speed of memory. Two copies are written past it. By hand: one \
         process on each machine, a TCP connection, and `write` and `fdatasync` on both at the \
         same time, without NBD or any safety. QEMU's quorum driver: a local file (`cache=none`) and a \
         remote NBD export, both needed for a write. GlusterFS: `replica 3 arbiter 1`, three \
         bricks on one host, a file through FUSE with direct I/O. p50 of both is the median of \
         the writes plus that of the flushes. Memory is RssAnon. Measured with {}.",
        fio::SIZE_MIB,
        options.seconds,
        options.rounds,
        versions.join(", ")
    )
}
