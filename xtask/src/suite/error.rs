//! Defines the errors of the test runner `cargo xtask test`.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::{fmt, io};

/// Reason why the tests could not be run. A failed test is no error of the runner.
#[derive(Debug)]
pub enum SuiteError {
    /// A program could not be started.
    Run { program: PathBuf, source: io::Error },
    /// cargo did not build the tests; it printed why.
    Build(ExitStatus),
    /// cargo printed a message that is not JSON.
    Message(serde_json::Error),
    /// The file of a test binary's output could not be written or read.
    Output { path: PathBuf, source: io::Error },
}

impl fmt::Display for SuiteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SuiteError::Run { program, source } => {
                write!(f, "cannot run {}: {source}", program.display())
            }
            SuiteError::Build(status) => write!(f, "the tests do not build: {status}"),
            SuiteError::Message(error) => write!(f, "unexpected output of cargo: {error}"),
            SuiteError::Output { path, source } => write!(f, "{}: {source}", path.display()),
        }
    }
}
