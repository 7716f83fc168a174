//! Defines the errors that prevent the platform demo from starting or continuing.

use language::reason;
use namespace::LabError;
use std::io;
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    #[error("network namespaces need root: run `sudo evenkeel demo --platform`")]
    NotRoot,
    #[error("the program `{program}` is missing: install the package {package}")]
    Missing {
        program: &'static str,
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
    #[error("{what} did not happen within {} s\n{output}", .within.as_secs())]
    Late {
        what: String,
        within: Duration,
        output: String,
    },
    #[error("`{command}` printed no {wanted}: {output}")]
    Output {
        command: &'static str,
        wanted: &'static str,
        output: String,
    },
    /// The demo was ended by a signal, or by the end of standard output, which is no error.
    #[error("interrupted")]
    Interrupted,
}

impl PlatformError {
    pub fn system(doing: &'static str) -> impl FnOnce(io::Error) -> PlatformError {
        move |source| PlatformError::System { doing, source }
    }
}
