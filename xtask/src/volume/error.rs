//! Defines the errors of `bench-volume`.

use crate::{cluster, comparison};
use std::fmt;

/// Reason why the comparison, or one side of it, stopped.
#[derive(Debug)]
pub enum VolumeBenchError {
    Comparison(comparison::Error),
    /// An error of the members of Evenkeel's cluster.
    Cluster(Box<cluster::Error>),
    /// The duration of a turn is zero or too long.
    Seconds {
        most: u32,
    },
    /// Output of fio without the numbers.
    NoNumbers(String),
    /// A program that is not installed.
    NotInstalled(&'static str),
}

impl From<comparison::Error> for VolumeBenchError {
    fn from(error: comparison::Error) -> Self {
        VolumeBenchError::Comparison(error)
    }
}

impl From<lab::LabError> for VolumeBenchError {
    fn from(error: lab::LabError) -> Self {
        VolumeBenchError::Comparison(error.into())
    }
}

impl From<lexopt::Error> for VolumeBenchError {
    fn from(error: lexopt::Error) -> Self {
        VolumeBenchError::Comparison(error.into())
    }
}

impl From<cluster::Error> for VolumeBenchError {
    fn from(error: cluster::Error) -> Self {
        VolumeBenchError::Cluster(Box::new(error))
    }
}

impl fmt::Display for VolumeBenchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VolumeBenchError::Comparison(error) => error.fmt(f),
            VolumeBenchError::Cluster(error) => error.fmt(f),
            VolumeBenchError::Seconds { most } => write!(f, "seconds are 1 to {most}"),
            VolumeBenchError::NoNumbers(output) => write!(f, "fio printed no numbers: {output}"),
            VolumeBenchError::NotInstalled(program) => write!(f, "{program} is not installed"),
        }
    }
}

impl std::error::Error for VolumeBenchError {}
