//! Parses the command line of a comparison, and runs the comparison up to the exit code.

use super::{Error, Table, write_between};
use crate::bench::options::{evenkeel, workspace};
use lexopt::prelude::{Long, Short, ValueExt};
use std::ffi::OsString;
use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

const REPETITIONS_MAX: usize = 1000;

/// A case of the comparison of two programs.
pub trait Case: Copy + 'static {
    /// All cases, in the order in which they run.
    const ALL: &'static [Self];

    /// Returns the name of the case on the command line.
    fn name(self) -> &'static str;
}

#[derive(Debug)]
pub struct Options<C> {
    pub cases: Vec<C>,
    pub repetitions: usize,
    pub left: PathBuf,
    pub right: PathBuf,
    markdown: bool,
    document: Option<PathBuf>,
}

/// Parses the arguments, with these defaults of repetitions and of the left side. None if help was
/// requested.
pub fn parse<C: Case>(
    arguments: impl Iterator<Item = OsString>,
    repetitions: usize,
    left: &str,
) -> Result<Option<Options<C>>, Error> {
    let mut options = Options {
        cases: Vec::new(),
        repetitions,
        left: left.into(),
        right: evenkeel(),
        markdown: false,
        document: None,
    };
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("case") => {
                let name = parser.value()?.string()?;
                let case = C::ALL.iter().find(|case| case.name() == name);
                options.cases.push(*case.ok_or(Error::NoSuchCase(name))?);
            }
            Long("repetitions") => options.repetitions = parser.value()?.parse()?,
            Long("left") => options.left = parser.value()?.into(),
            Long("right") => options.right = parser.value()?.into(),
            Long("markdown") => options.markdown = true,
            Long("write") => options.document = Some(workspace().join("docs/benchmarks.md")),
            Long("help") | Short('h') => return Ok(None),
            other => return Err(other.unexpected().into()),
        }
    }
    if options.cases.is_empty() {
        options.cases = C::ALL.into();
    }
    if options.repetitions == 0 || options.repetitions > REPETITIONS_MAX {
        return Err(Error::Repetitions {
            most: REPETITIONS_MAX,
        });
    }
    Ok(Some(options))
}

impl<C> Options<C> {
    /// Checks that both programs exist, and that namespaces can be created.
    pub fn look(&self) -> Result<(), Error> {
        lab::privileged().map_err(Error::Missing)?;
        let gone = [&self.left, &self.right].into_iter().find(|p| !p.is_file());
        gone.map_or(Ok(()), |path| Err(Error::NoProgram(path.clone())))
    }

    /// Prints the table below its heading, or puts it between the markers of docs/benchmarks.md.
    pub fn show(&self, markers: &str, heading: &str, table: &str) -> Result<(), Error> {
        let text = format!("{heading}\n\n{table}");
        if self.markdown || self.document.is_none() {
            print!("{text}");
        }
        let Some(document) = &self.document else {
            return Ok(());
        };
        write_between(document, markers, &text).map_err(|source| Error::Table {
            path: document.clone(),
            source,
        })
    }
}

impl Table {
    /// Records a failed turn, and prints the reason.
    pub fn failed(&mut self, command: &str, case: &str, label: &str, error: &dyn Display) {
        eprintln!("{command}: {case}: {error}");
        self.notes
            .push(format!("{case}: one turn of {label} failed."));
    }
}

/// Runs a comparison and returns the exit code: 2 for invalid arguments. `run` returns whether
/// everything succeeded.
pub fn main<O, E: Display>(
    command: &str,
    help: &str,
    parsed: Result<Option<O>, E>,
    run: impl FnOnce(&O) -> Result<bool, E>,
) -> ExitCode {
    let refused = |error: E, code| {
        eprintln!("{command}: {error}");
        code
    };
    match parsed.map(|options| options.map(|options| run(&options))) {
        Ok(None) => {
            print!("{help}");
            ExitCode::SUCCESS
        }
        Ok(Some(Ok(true))) => ExitCode::SUCCESS,
        Ok(Some(Ok(false))) => ExitCode::FAILURE,
        Ok(Some(Err(error))) => refused(error, ExitCode::FAILURE),
        Err(error) => refused(error, ExitCode::from(2)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, PartialEq, Debug)]
    enum TestCase {
        One,
        Two,
    }

    impl Case for TestCase {
        const ALL: &'static [Self] = &[TestCase::One, TestCase::Two];

        fn name(self) -> &'static str {
            match self {
                TestCase::One => "one",
                TestCase::Two => "two",
            }
        }
    }

    fn parsed(arguments: &[&str]) -> Result<Options<TestCase>, Error> {
        let arguments = arguments.iter().map(OsString::from);
        parse(arguments, 5, "/usr/bin/other").map(|options| options.expect("not help"))
    }

    #[test]
    fn without_options_all_cases_run() {
        let options = parsed(&[]).expect("options");
        assert_eq!(options.cases, TestCase::ALL);
        assert_eq!(options.repetitions, 5);
        let options = parsed(&["--case", "two", "--repetitions=7"]).expect("options");
        assert_eq!(
            (&options.cases[..], options.repetitions),
            (&[TestCase::Two][..], 7)
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(matches!(
            parsed(&["--case", "x"]),
            Err(Error::NoSuchCase(_))
        ));
        for count in ["0", "1001"] {
            let refused = parsed(&["--repetitions", count]);
            assert!(matches!(refused, Err(Error::Repetitions { .. })));
        }
        assert!(matches!(parsed(&["more"]), Err(Error::Arguments(_))));
    }
}
