//! Defines the errors of `cargo xtask changes`. A failed request is not an error but a result.

use std::fmt;
use std::io;

use crate::bench::error::BenchError;

/// Reason why a run, or one of its cases, stopped.
#[derive(Debug)]
pub enum ChangesError {
    /// An argument that lexopt refuses.
    Arguments(lexopt::Error),
    /// A case that does not exist.
    NoSuchCase {
        name: String,
    },
    /// A word that an option does not know.
    NoSuchChoice {
        option: &'static str,
        word: String,
    },
    /// A command without a program.
    NoProgram {
        option: &'static str,
    },
    /// An error of code that the benchmark shares.
    Bench(BenchError),
    Lab(lab::LabError),
    /// The rate would need more clients than one thread may have.
    TooManyClients {
        most: usize,
    },
    /// The thread of the clients panicked.
    ClientsDied,
    /// The first version of the configuration was not served in time.
    NeverServed {
        label: String,
        said: String,
    },
    /// The health checks did not detect that a server is down.
    StaysUp {
        label: String,
    },
    /// The statistics page cannot be read.
    NoStatistics {
        label: String,
    },
    /// The program ended by itself.
    Ended {
        label: String,
        said: String,
    },
}

impl ChangesError {
    /// Returns a function for `map_err`: the system call that `doing` names failed.
    pub fn system<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Bench(BenchError::system(doing)(source))
    }
}

impl fmt::Display for ChangesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments(source) => write!(f, "{source} (--help shows the options)"),
            Self::NoSuchCase { name } => {
                write!(f, "there is no case `{name}` (--help shows them)")
            }
            Self::NoSuchChoice { option, word } => write!(f, "{option} does not know `{word}`"),
            Self::NoProgram { option } => write!(f, "{option} needs a program"),
            Self::Bench(source) => source.fmt(f),
            Self::Lab(source) => source.fmt(f),
            Self::TooManyClients { most } => write!(f, "more than {most} clients"),
            Self::ClientsDied => write!(f, "the thread of the clients panicked"),
            Self::NeverServed { label, said } => {
                write!(f, "{label} does not serve its first file\n{said}")
            }
            Self::StaysUp { label } => {
                write!(f, "{label} does not find out that a server is down")
            }
            Self::NoStatistics { label } => write!(f, "{label} has no page of statistics"),
            Self::Ended { label, said } => write!(f, "{label} ended\n{said}"),
        }
    }
}

impl std::error::Error for ChangesError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Arguments(source) => Some(source),
            Self::Bench(source) => Some(source),
            Self::Lab(source) => Some(source),
            _ => None,
        }
    }
}

impl From<lexopt::Error> for ChangesError {
    fn from(source: lexopt::Error) -> Self {
        Self::Arguments(source)
    }
}

impl From<BenchError> for ChangesError {
    fn from(source: BenchError) -> Self {
        Self::Bench(source)
    }
}

impl From<lab::LabError> for ChangesError {
    fn from(source: lab::LabError) -> Self {
        Self::Lab(source)
    }
}
