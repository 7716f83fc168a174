//! Errors that prevent the platform demo from starting or continuing.

use language::reason;
use namespace::LabError;
use std::io;
use std::time::Duration;

/// Reason why the demo ends.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// The demo needs the privileges of root.
    #[error("network namespaces need root: run `sudo evenkeel demo --platform`")]
    NotRoot,
    /// A program is not installed.
    #[error("the program `{program}` is missing: install the package {package}")]
    Missing {
        program: &'static str,
        /// Debian package that contains it.
        package: &'static str,
    },
    #[error(transparent)]
    Lab(#[from] LabError),
    #[error("cannot {doing}: {}", reason(.source))]
    System {
        /// The attempted action, as an infinitive: `cannot {doing}`.
        doing: &'static str,
        source: io::Error,
    },
    /// An event did not happen in time.
    #[error("{what} did not happen within {} s\n{output}", .within.as_secs())]
    Late {
        what: String,
        within: Duration,
        /// Last output of the members.
        output: String,
    },
    /// A program printed unexpected output.
    #[error("`{command}` printed no {wanted}: {output}")]
    Output {
        /// Command line of the program.
        command: &'static str,
        wanted: &'static str,
        output: String,
    },
    /// A signal, or the end of standard output: no error of the demo.
    #[error("interrupted")]
    Interrupted,
}

impl PlatformError {
    /// Wraps an error of the system.
    pub fn system(doing: &'static str) -> impl FnOnce(io::Error) -> PlatformError {
        move |source| PlatformError::System { doing, source }
    }
}
