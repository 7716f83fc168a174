//! Implements `cargo xtask bench`: compares HAProxy and Evenkeel on the same files, within one run,
//! and also nginx where TLS is measured.
//!
//! Each side has one thread on its own core; the clients and the origin share the other core. The
//! sides alternate, and each window has a fixed number of verified requests. The result is the
//! proxy's CPU time per request, as a ratio within a round. Numbers of different runs or machines
//! are never compared.

pub mod answer;
pub mod attack;
mod case;
mod cases;
mod coded;
mod collector;
pub mod configuration;
pub mod error;
pub mod http2;
pub mod load;
mod map;
pub mod options;
pub mod origin;
pub mod process;
mod round;
mod secure;
mod statistics;
pub mod table;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use case::Case;
use collector::Collector;
use error::BenchError;
use options::{Asked, Options};
use origin::Origin;
use process::{Cores, Side};
use round::{Bench, Sample, Sides};
use table::{Row, Table, Verdict, in_unit};

/// Runs the benchmark of the command line.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let result = match options::parse(arguments) {
        Ok(Asked::Help) => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Ok(Asked::List) => {
            print!("{}", options::list());
            return ExitCode::SUCCESS;
        }
        Ok(Asked::Run(options)) => run(&options),
        Err(error) => {
            eprintln!("bench: {error}");
            return ExitCode::from(2);
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("bench: {error}");
        ExitCode::FAILURE
    })
}

/// A directory that is removed on drop.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Scratch {
    fn create() -> Result<Self, BenchError> {
        let path = std::env::temp_dir().join(format!("evenkeel-bench-{}", std::process::id()));
        fs::create_dir(&path).map_err(BenchError::file("creating", &path))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // If this fails, the files stay in the directory for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn run(options: &Options) -> Result<ExitCode, BenchError> {
    let cores = Cores::of_this_process()?;
    process::raise_descriptor_limit(cases::DESCRIPTORS_NEEDED)?;
    let mut notes: Vec<String> = Vec::new();
    let scratch = Scratch::create()?;
    let sides = prepare(options, &scratch.0, &mut notes)?;
    process::pin(cores.load)?;
    let body = origin::body();
    let bench = Bench {
        cores,
        origin: Origin::start(&body, Some(cores.load))?,
        body,
        text: origin::text(),
        log: Collector::open()?,
        folder: scratch.0.clone(),
        quick: options.quick,
    };
    let mut table = Table {
        left: sides.left.label.clone(),
        right: sides.right.label.clone(),
        rows: vec![],
    };
    let mut failed = false;
    for case in &options.cases {
        match measure(case, &bench, &sides, options.rounds, &mut notes) {
            Ok(rows) => table.rows.extend(rows),
            Err(error) => {
                failed = true;
                eprintln!("bench: {}: {error}", case.name);
                notes.push(format!("{}: not measured, see the messages", case.name));
            }
        }
    }
    let text = if options.markdown {
        table.markdown()
    } else {
        table.text()
    };
    print!("{text}");
    for note in &notes {
        println!("{note}");
    }
    if let Some(document) = &options.document {
        if failed {
            return Err(BenchError::Incomplete);
        }
        let block = document_block(&table, &notes, &sides, options.rounds);
        table::write_between_markers(document, &block)?;
    }
    let missed = table
        .rows
        .iter()
        .any(|row| matches!(row.verdict(), Verdict::ByMedian | Verdict::Missed));
    let bad = failed || (options.strict && missed);
    Ok(if bad {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Prepares the programs, each in its own directory; adds a note if nginx is missing.
fn prepare(options: &Options, folder: &Path, notes: &mut Vec<String>) -> Result<Sides, BenchError> {
    let (left_label, right_label) = options.labels();
    let nginx = folder.join("nginx");
    let nginx = match Side::prepare_as("nginx", "nginx".to_owned(), &options.nginx, &nginx) {
        Err(BenchError::MissingProgram { .. }) => {
            notes.push("nginx is not there: TLS is compared with haproxy only".to_owned());
            None
        }
        side => Some(side?),
    };
    Ok(Sides {
        left: Side::prepare(left_label, &options.left, &folder.join("left"))?,
        right: Side::prepare(right_label, &options.right, &folder.join("right"))?,
        nginx,
    })
}

fn measure(
    case: &'static Case,
    bench: &Bench,
    sides: &Sides,
    rounds: usize,
    notes: &mut Vec<String>,
) -> Result<Vec<Row>, BenchError> {
    let configuration = case.configuration(bench)?;
    let mut rows: Vec<Row> = case.metrics.iter().map(Row::new).collect();
    let measured = case.sides(sides);
    let begin = Instant::now();
    for round in 1..=rounds {
        let samples = case.round(bench, &measured, &configuration)?;
        let mut progress = format!("{} {round}/{rounds}:", case.name);
        for (at, (side, sample)) in measured.iter().zip(samples).enumerate() {
            progress.push_str(&format!(" {}", side.label));
            record(&mut rows, at, &sample, &mut progress);
            for note in sample.notes {
                let note = format!("{}: {}: {note}", case.name, side.label);
                // Adds a note only once, not for every round.
                if !notes.contains(&note) {
                    notes.push(note);
                }
            }
        }
        let ratios: Vec<String> = rows
            .iter()
            .filter_map(|row| Some(format!("{:.3}", row.ratios().last()?)))
            .collect();
        let seconds = begin.elapsed().as_secs_f64();
        eprintln!("{progress}, ratio {}, {seconds:.1} s", ratios.join(" "));
    }
    Ok(rows)
}

/// Adds the numbers of one side: 0 is left, 1 is right, 2 is nginx.
fn record(rows: &mut [Row], side: usize, sample: &Sample, progress: &mut String) {
    for (row, value) in rows.iter_mut().zip(&sample.values) {
        let column = match side {
            0 => &mut row.left,
            1 => &mut row.right,
            _ => &mut row.nginx,
        };
        column.push(*value);
        progress.push_str(&format!(" {}", in_unit(*value, row.metric.unit)));
    }
    if let Some(busy) = sample.busy {
        progress.push_str(&format!(" ({:.0} % of its core)", busy * 100.0));
    }
}

/// Returns the text for docs/benchmarks.md: the setup, the table, how to repeat it.
fn document_block(table: &Table, notes: &[String], sides: &Sides, rounds: usize) -> String {
    let first = |path: &str, prefix: &str| {
        let text = fs::read_to_string(Path::new(path)).unwrap_or_default();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(prefix))
            .unwrap_or_default();
        line.trim_start_matches([' ', '\t', ':']).to_owned()
    };
    let all = [Some(&sides.left), sides.nginx.as_ref(), Some(&sides.right)];
    let versions: Vec<&str> = all
        .iter()
        .flatten()
        .map(|side| side.version.as_deref().unwrap_or(&side.label))
        .collect();
    let mut block = format!(
        "CPU time of the proxy for each request. Each proxy has one thread, pinned to its own \
         core, and the same file (nginx an equivalent one). They ran {rounds} rounds in turn. \
         The ratio of a round is {0} (or the better of it and nginx, if measured; for memory \
         {0} alone) divided by {1}: above 1, {1} needs less. Rows relative to a map of 100 \
         divide the cost with the small map by the cost with the large one. \
         Measured with {2} on {3}, Linux {4}.\n\n",
        table.left,
        table.right,
        versions.join(", "),
        first("/proc/cpuinfo", "model name"),
        first("/proc/sys/kernel/osrelease", ""),
    );
    block.push_str(&table.markdown());
    if !notes.is_empty() {
        block.push('\n');
    }
    for note in notes {
        block.push_str(&format!("- {note}\n"));
    }
    block.push_str("\nTo repeat, run `make bench` on an idle machine with at least two cores, or `cargo xtask bench --case NAME` for one case.\n");
    block
}
