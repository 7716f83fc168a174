//! `cargo xtask bench-address`: keepalived beside Evenkeel as keepers of a virtual
//! address, on the same file, in one run and in turn.
//!
//! A client makes a new connection every 5 ms; a gap is the longest time from one
//! answer to the next. It never compares numbers of different runs or
//! machines.

mod case;
mod error;
mod options;
mod report;
mod site;
mod whole;

use error::Error;
use options::Options;
use report::Table;
use site::Side;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

const BEGIN: &str = "<!-- bench-address -->";
const END: &str = "<!-- /bench-address -->";

/// Runs the comparison that the arguments ask for.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let result = match options::parse(arguments) {
        Ok(None) => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Ok(Some(options)) => run(&options),
        Err(error) => {
            eprintln!("bench-address: {error}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench-address: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<ExitCode, Error> {
    lab::privileged().map_err(Error::Missing)?;
    let sides =
        [("keepalived", &options.left), ("evenkeel", &options.right)].map(|(label, program)| {
            Side {
                label,
                program: program.clone(),
                // Under its own name it has to be told whose flags are meant.
                ours: !program.ends_with("keepalived"),
            }
        });
    if let Some(side) = sides.iter().find(|side| !side.program.is_file()) {
        return Err(Error::NoProgram(side.program.clone()));
    }
    let mut table = Table::default();
    let mut failed = false;
    for case in &options.cases {
        for number in 1..=options.repetitions {
            eprintln!("{}: {number} of {}", case.name(), options.repetitions);
            for (at, side) in sides.iter().enumerate() {
                match case.turn(side) {
                    Ok(samples) => table.add(&samples, at == 0),
                    Err(error) => {
                        failed = true;
                        eprintln!("bench-address: {}: {error}", case.name());
                        let note = format!("{}: one turn of {} failed.", case.name(), side.label);
                        table.notes.push(note);
                    }
                }
            }
        }
    }
    let text = format!("{}\n\n{}", heading(options, &sides), {
        table.markdown(sides[0].label, sides[1].label)
    });
    if options.markdown || options.readme.is_none() {
        print!("{text}");
    }
    if let Some(readme) = &options.readme {
        write_between(readme, &text)?;
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn heading(options: &Options, sides: &[Side]) -> String {
    let versions: Vec<String> = sides.iter().filter_map(Side::version).collect();
    format!(
        "Two machines and a client in namespaces, both programs on the same `keepalived.conf` \
         (rows of `virtual-ip`: one file of ours, beside keepalived with haproxy) with adverts of 0.01 s unless a row says otherwise, in turn, {} repetitions. A gap is \
         the longest time from one answer to the next of a client that makes a new connection \
         every 5 ms. The last column is keepalived's median divided by evenkeel's. Measured with \
         {}.",
        options.repetitions,
        versions.join(" and ")
    )
}

/// Puts a text between the markers of a file.
fn write_between(path: &Path, text: &str) -> Result<(), Error> {
    let failed = |doing| {
        move |source| Error::File {
            doing,
            path: path.to_owned(),
            source,
        }
    };
    let old = fs::read_to_string(path).map_err(failed("reading"))?;
    let parts = old
        .split_once(BEGIN)
        .and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = parts.ok_or_else(|| Error::NoMarkers(path.to_owned()))?;
    let new = format!("{before}{BEGIN}\n{}\n{END}{after}", text.trim_end());
    fs::write(path, new).map_err(failed("writing"))
}
