//! Defines the error of requests to the kernel, and how messages show it.

use rustix::io::Errno;
use std::io;
use std::time::Duration;

/// Error of a request to the kernel.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    #[error("netlink: {0}")]
    Socket(#[from] io::Error),
    #[error("{request}: {}", refusal(.words, *.errno))]
    Refused {
        request: &'static str,
        #[source]
        errno: Errno,
        /// Message of the kernel (extended acknowledgement); empty if it sent none.
        words: String,
    },
    #[error("{request}: the kernel did not respond within {waited:?}")]
    NoAnswer {
        request: &'static str,
        waited: Duration,
    },
    /// The tables changed during every attempt to list them.
    #[error("{request}: the list changed during each attempt")]
    NeverStill { request: &'static str },
    #[error("no interface is named `{0}`")]
    NoInterface(String),
    /// Invalid name of an interface, or a label that does not belong to the interface's name.
    #[error("`{0}` is not a valid interface name")]
    BadName(String),
    /// A value that the kernel cannot represent, e.g. an address of another family.
    #[error("{0}")]
    BadValue(&'static str),
    #[error("{path}: {error}")]
    Sysctl {
        path: String,
        #[source]
        error: io::Error,
    },
}

impl KernelError {
    /// Returns whether the kernel received the request and refused it.
    pub fn is_refusal(&self) -> bool {
        matches!(self, KernelError::Refused { .. })
    }

    /// Returns whether the kernel has no such protocol family or protocol at all. Other errors, for
    /// example too many open files, may pass.
    pub fn is_unsupported(&self) -> bool {
        let unsupported = [Errno::PROTONOSUPPORT, Errno::AFNOSUPPORT, Errno::OPNOTSUPP];
        match self {
            KernelError::Socket(error) => {
                Errno::from_io_error(error).is_some_and(|errno| unsupported.contains(&errno))
            }
            KernelError::Refused { errno, .. } => unsupported.contains(errno),
            _ => false,
        }
    }

    pub fn is(&self, wanted: Errno) -> bool {
        matches!(self, KernelError::Refused { errno, .. } if *errno == wanted)
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_missing_support_means_unsupported() {
        for errno in [Errno::PROTONOSUPPORT, Errno::AFNOSUPPORT, Errno::OPNOTSUPP] {
            assert!(KernelError::from(errno).is_unsupported(), "{errno}");
        }
        for errno in [
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOBUFS,
            Errno::NOMEM,
            Errno::PERM,
        ] {
            assert!(!KernelError::from(errno).is_unsupported(), "{errno}");
        }
    }
}
