//! Errors of the kernel interface.

use rustix::io::Errno;
use std::fmt;
use std::io;
use std::time::Duration;

/// A request to the kernel failed.
#[derive(Debug)]
pub enum KernelError {
    /// The socket could not be made or used.
    Socket(io::Error),
    /// The kernel refused, with its own words where it has some.
    Refused {
        /// Description of the request.
        request: &'static str,
        /// Why.
        errno: Errno,
        /// The kernel's words (extended acknowledgement); empty where it has none.
        words: String,
    },
    /// No answer came in time.
    NoAnswer {
        /// Description of the request.
        request: &'static str,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The tables changed while they were listed, as often as we tried.
    NeverStill {
        /// Description of the listing.
        request: &'static str,
    },
    /// No interface has this name.
    NoInterface(String),
    /// A name that no interface can have, or a label that is no name of its interface.
    BadName(String),
    /// A value that the kernel has no field for, e.g. an address of another family.
    BadValue(&'static str),
    /// A file below `/proc/sys` could not be read or written.
    Sysctl {
        /// The path.
        path: String,
        /// Why.
        error: io::Error,
    },
}

impl KernelError {
    /// Whether the kernel refused with this error.
    pub fn is(&self, wanted: Errno) -> bool {
        matches!(self, KernelError::Refused { errno, .. } if *errno == wanted)
    }
}

impl fmt::Display for KernelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KernelError::Socket(error) => write!(f, "netlink: {error}"),
            KernelError::Refused {
                request,
                errno,
                words,
            } if words.is_empty() => {
                write!(f, "{request}: {errno}")
            }
            KernelError::Refused {
                request,
                errno,
                words,
            } => {
                write!(f, "{request}: {words} ({errno})")
            }
            KernelError::NoAnswer { request, waited } => {
                write!(f, "{request}: the kernel did not respond within {waited:?}")
            }
            KernelError::NeverStill { request } => {
                write!(f, "{request}: the list changed during each attempt")
            }
            KernelError::NoInterface(name) => write!(f, "no interface is named `{name}`"),
            KernelError::BadName(name) => write!(f, "`{name}` is not a valid interface name"),
            KernelError::BadValue(what) => f.write_str(what),
            KernelError::Sysctl { path, error } => write!(f, "{path}: {error}"),
        }
    }
}

impl std::error::Error for KernelError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            KernelError::Socket(error) | KernelError::Sysctl { error, .. } => Some(error),
            KernelError::Refused { errno, .. } => Some(errno),
            _ => None,
        }
    }
}

impl From<io::Error> for KernelError {
    fn from(error: io::Error) -> Self {
        KernelError::Socket(error)
    }
}

impl From<Errno> for KernelError {
    fn from(errno: Errno) -> Self {
        KernelError::Socket(errno.into())
    }
}
