//! Parses the command line of `bench-volume`.

use super::case::Case;
use super::error::VolumeBenchError;
use crate::bench::options::{evenkeel, workspace};
use crate::comparison::{self, Case as _, write_between};
use lexopt::prelude::{Long, Short, ValueExt};
use std::ffi::OsString;
use std::path::PathBuf;

pub const HELP: &str = "\
Volumes: nbdkit beside a volume with one copy, QEMU's quorum driver and GlusterFS
beside one with two copies, in turn, by fio, in namespaces (as root).

usage: cargo xtask bench-volume [OPTION...]

  --case NAME         only this case; may be repeated:
                        flush-1, flush-16    4 KiB writes, a flush after each
                        random-1, random-16  4 KiB random reads
                        read, write          sequential, 128 KiB
                        write-flush          the same with a flush each 8 MiB
                        mixed, mixed-flush   70 % reads; a flush each 32 writes
  --copies N          only volumes with so many copies (1 or 2)
  --rounds N          turns of each side in each case (5)
  --seconds N         of each turn (3)
  --right COMMAND     what is compared (target/release/evenkeel)
  --markdown          prints the table as Markdown
  --write             write the table to docs/benchmarks.md
";

/// Default number of turns of each case.
const ROUNDS: usize = 5;
const ROUNDS_MAX: usize = 1000;
/// Default duration of a turn in seconds.
const SECONDS: u32 = 3;
const SECONDS_MAX: u32 = 20;

#[derive(Debug)]
pub struct Options {
    pub cases: Vec<Case>,
    pub copies: Option<u8>,
    pub rounds: usize,
    pub seconds: u32,
    pub program: PathBuf,
    markdown: bool,
    document: Option<PathBuf>,
}

/// Parses the arguments; None if help was requested.
pub fn parse(
    arguments: impl Iterator<Item = OsString>,
) -> Result<Option<Options>, VolumeBenchError> {
    let mut options = Options {
        cases: Vec::new(),
        copies: None,
        rounds: ROUNDS,
        seconds: SECONDS,
        program: evenkeel(),
        markdown: false,
        document: None,
    };
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("case") => {
                let name = parser.value()?.string()?;
                let case = Case::ALL.iter().find(|case| case.name() == name);
                let case = case.ok_or(comparison::Error::NoSuchCase(name))?;
                options.cases.push(*case);
            }
            Long("copies") => options.copies = Some(parser.value()?.parse()?),
            Long("rounds") => options.rounds = parser.value()?.parse()?,
            Long("seconds") => options.seconds = parser.value()?.parse()?,
            Long("right") => options.program = parser.value()?.into(),
            Long("markdown") => options.markdown = true,
            Long("write") => options.document = Some(workspace().join("docs/benchmarks.md")),
            Long("help") | Short('h') => return Ok(None),
            other => return Err(other.unexpected().into()),
        }
    }
    if options.cases.is_empty() {
        options.cases = Case::ALL.into();
    }
    if options.rounds == 0 || options.rounds > ROUNDS_MAX {
        return Err(comparison::Error::Repetitions { most: ROUNDS_MAX }.into());
    }
    if options.seconds == 0 || options.seconds > SECONDS_MAX {
        return Err(VolumeBenchError::Seconds { most: SECONDS_MAX });
    }
    Ok(Some(options))
}

impl Options {
    /// Checks that the program exists, and that namespaces can be created.
    pub fn look(&self) -> Result<(), VolumeBenchError> {
        lab::privileged().map_err(comparison::Error::Missing)?;
        if self.program.is_file() {
            Ok(())
        } else {
            Err(comparison::Error::NoProgram(self.program.clone()).into())
        }
    }

    /// Prints the tables, or puts them between the markers of docs/benchmarks.md.
    pub fn show(&self, markers: &str, text: &str) -> Result<(), VolumeBenchError> {
        if self.markdown || self.document.is_none() {
            print!("{text}");
        }
        let Some(document) = &self.document else {
            return Ok(());
        };
        let written = write_between(document, markers, text);
        let failed = |source| comparison::Error::Table {
            path: document.clone(),
            source,
        };
        Ok(written.map_err(failed)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Option<Options>, VolumeBenchError> {
        parse(arguments.iter().map(OsString::from))
    }

    #[test]
    fn without_options_all_cases_run() {
        let options = parsed(&[]).unwrap().unwrap();
        assert_eq!(options.cases, Case::ALL);
        assert_eq!((options.rounds, options.seconds), (ROUNDS, SECONDS));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in [
            ["--case", "x"],
            ["--rounds", "0"],
            ["--seconds", "0"],
            ["--seconds", "21"],
        ] {
            assert!(parsed(&wrong).is_err(), "{wrong:?}");
        }
    }
}
