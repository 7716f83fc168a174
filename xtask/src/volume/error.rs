//! Errors of the comparison.

use crate::{cluster, comparison};
use std::fmt;

/// Reason why the comparison, or one side of it, stopped.
#[derive(Debug)]
pub enum Error {
    Comparison(comparison::Error),
    /// The members of our cluster.
    Cluster(Box<cluster::Error>),
    /// Turns without a length, or too long ones.
    Seconds {
        most: u32,
    },
    /// Output of fio without the numbers.
    NoNumbers(String),
    /// A program that is not installed.
    NotInstalled(&'static str),
}

impl From<comparison::Error> for Error {
    fn from(error: comparison::Error) -> Self {
        Error::Comparison(error)
    }
}

impl From<lab::LabError> for Error {
    fn from(error: lab::LabError) -> Self {
        Error::Comparison(error.into())
    }
}

impl From<lexopt::Error> for Error {
    fn from(error: lexopt::Error) -> Self {
        Error::Comparison(error.into())
    }
}

impl From<cluster::Error> for Error {
    fn from(error: cluster::Error) -> Self {
        Error::Cluster(Box::new(error))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Comparison(error) => error.fmt(f),
            Error::Cluster(error) => error.fmt(f),
            Error::Seconds { most } => write!(f, "seconds are 1 to {most}"),
            Error::NoNumbers(output) => write!(f, "fio printed no numbers: {output}"),
            Error::NotInstalled(program) => write!(f, "{program} is not installed"),
        }
    }
}

impl std::error::Error for Error {}
