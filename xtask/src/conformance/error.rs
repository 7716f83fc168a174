//! Defines the errors of `cargo xtask conformance`. A failed test is not an error but a result.

use std::fmt;
use std::io;
use std::path::PathBuf;

#[derive(Debug)]
pub enum ConformanceError {
    /// An argument that lexopt refuses.
    Arguments(lexopt::Error),
    /// Neither `--source` nor `HAPROXY_SOURCE` is set.
    NoSource,
    /// A release without a list of expected results.
    NoSuchRelease(String),
    /// A number that is 0 or above 1000.
    Count,
    Lab(lab::LabError),
    /// This machine cannot make namespaces.
    Missing(lab::Missing),
    /// The program under test does not exist.
    NoProgram(PathBuf),
    /// The source has no tests of a release.
    NoTests {
        source: PathBuf,
        release: String,
    },
    /// A line of a list has an invalid format.
    Line {
        path: PathBuf,
        number: usize,
    },
    /// A file that could not be read or written.
    File {
        path: PathBuf,
        source: io::Error,
    },
    /// A program that could not be started.
    Start {
        program: &'static str,
        source: io::Error,
    },
}

impl From<lab::LabError> for ConformanceError {
    fn from(error: lab::LabError) -> Self {
        ConformanceError::Lab(error)
    }
}

impl From<lexopt::Error> for ConformanceError {
    fn from(error: lexopt::Error) -> Self {
        ConformanceError::Arguments(error)
    }
}

impl fmt::Display for ConformanceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConformanceError::Arguments(source) => write!(f, "{source} (--help shows the options)"),
            ConformanceError::NoSource => {
                f.write_str("HAProxy's repository is needed: make conformance HAPROXY_SOURCE=DIR")
            }
            ConformanceError::NoSuchRelease(name) => {
                write!(
                    f,
                    "there is no list for release `{name}` (--help shows them)"
                )
            }
            ConformanceError::Count => f.write_str("repetitions, jobs and timeout are 1 to 1000"),
            ConformanceError::Lab(source) => source.fmt(f),
            ConformanceError::Missing(missing) => write!(f, "this {missing}"),
            ConformanceError::NoProgram(path) => write!(f, "there is no {}", path.display()),
            ConformanceError::NoTests { source, release } => {
                write!(f, "{} has no reg-tests of {release}", source.display())
            }
            ConformanceError::Line { path, number } => write!(
                f,
                "{}:{number}: expected `pass` or `fail` and the name of a test",
                path.display()
            ),
            ConformanceError::File { path, source } => write!(f, "{}: {source}", path.display()),
            ConformanceError::Start { program, source } => {
                write!(f, "{program} does not start: {source}")
            }
        }
    }
}
