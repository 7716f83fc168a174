//! Why the platform demo cannot start or go on.

use lab::LabError;
use language::reason;
use std::io;
use std::time::Duration;

/// Why the demo ends.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// Without the rights of root.
    #[error("network namespaces need root: run `sudo evenkeel demo --platform`")]
    NotRoot,
    /// A program is not installed.
    #[error("the program `{program}` is missing: install the package {package}")]
    Missing {
        /// The program.
        program: &'static str,
        /// Debian's package of it.
        package: &'static str,
    },
    /// The lab failed.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// The system refused.
    #[error("cannot {doing}: {}", reason(.source))]
    System {
        /// What was tried.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Something did not happen in time.
    #[error("{what} did not happen within {} s\n{output}", .within.as_secs())]
    Late {
        /// What was waited for.
        what: String,
        /// The timeout.
        within: Duration,
        /// The last output of the members.
        output: String,
    },
    /// A command printed something else than expected.
    #[error("`{command}` printed no {wanted}: {output}")]
    Output {
        /// The command.
        command: &'static str,
        /// What it should print.
        wanted: &'static str,
        /// What it printed.
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
