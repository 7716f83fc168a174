//! Defines the errors of a comparison. A measured failure of a program is not an error but a
//! result.

use super::WriteError;
use std::fmt;
use std::io;
use std::path::PathBuf;

#[derive(Debug)]
pub enum Error {
    /// An argument that lexopt refuses.
    Arguments(lexopt::Error),
    /// A case that does not exist.
    NoSuchCase(String),
    /// The number of repetitions is zero or too large.
    Repetitions {
        most: usize,
    },
    Lab(lab::LabError),
    /// This machine cannot make namespaces.
    Missing(lab::Missing),
    /// A program that is not there.
    NoProgram(PathBuf),
    /// A file that could not be read or written.
    File {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// A program did not become ready in time.
    NotReady {
        label: String,
        waited_for: &'static str,
        said: String,
    },
    /// The table could not be written into its document.
    Table {
        path: PathBuf,
        source: WriteError,
    },
}

impl From<lab::LabError> for Error {
    fn from(error: lab::LabError) -> Self {
        Error::Lab(error)
    }
}

impl From<lexopt::Error> for Error {
    fn from(error: lexopt::Error) -> Self {
        Error::Arguments(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Arguments(source) => write!(f, "{source} (--help shows the options)"),
            Error::NoSuchCase(name) => write!(f, "there is no case `{name}` (--help shows them)"),
            Error::Repetitions { most } => write!(f, "repetitions are 1 to {most}"),
            Error::Lab(source) => source.fmt(f),
            Error::Missing(missing) => write!(f, "this {missing}"),
            Error::NoProgram(path) => write!(f, "there is no {}", path.display()),
            Error::File {
                doing,
                path,
                source,
            } => write!(f, "{doing} {}: {source}", path.display()),
            Error::NotReady {
                label,
                waited_for,
                said,
            } => write!(f, "{label}: {waited_for}: that did not happen\n{said}"),
            Error::Table { path, source } => write!(f, "{}: {source}", path.display()),
        }
    }
}

impl std::error::Error for Error {}
