//! Errors of the kernel interface.

use rustix::io::Errno;
use std::io;
use std::time::Duration;

/// A request to the kernel failed.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The socket could not be made or used.
    #[error("netlink: {0}")]
    Socket(#[from] io::Error),
    /// The kernel refused, with its own words where it has some.
    #[error("{request}: {}", refusal(.words, *.errno))]
    Refused {
        /// Description of the request.
        request: &'static str,
        /// Why.
        #[source]
        errno: Errno,
        /// The kernel's words (extended acknowledgement); empty where it has none.
        words: String,
    },
    /// No answer came in time.
    #[error("{request}: the kernel did not respond within {waited:?}")]
    NoAnswer {
        /// Description of the request.
        request: &'static str,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The tables changed while they were listed, as often as we tried.
    #[error("{request}: the list changed during each attempt")]
    NeverStill {
        /// Description of the listing.
        request: &'static str,
    },
    /// No interface has this name.
    #[error("no interface is named `{0}`")]
    NoInterface(String),
    /// A name that no interface can have, or a label that is no name of its interface.
    #[error("`{0}` is not a valid interface name")]
    BadName(String),
    /// A value that the kernel has no field for, e.g. an address of another family.
    #[error("{0}")]
    BadValue(&'static str),
    /// A file below `/proc/sys` could not be read or written.
    #[error("{path}: {error}")]
    Sysctl {
        /// The path.
        path: String,
        /// Why.
        #[source]
        error: io::Error,
    },
}

impl KernelError {
    /// Whether the kernel refused: the same request would fail again.
    pub fn is_refusal(&self) -> bool {
        matches!(self, KernelError::Refused { .. })
    }

    /// Whether the kernel refused with this error.
    pub fn is(&self, wanted: Errno) -> bool {
        matches!(self, KernelError::Refused { errno, .. } if *errno == wanted)
    }
}

/// Why the kernel refused: its words, if it has any.
fn refusal(words: &str, errno: Errno) -> String {
    match words {
        "" => errno.to_string(),
        _ => format!("{words} ({errno})"),
    }
}

impl From<Errno> for KernelError {
    fn from(errno: Errno) -> Self {
        KernelError::Socket(errno.into())
    }
}
