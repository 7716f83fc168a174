//! Errors of keys, certificates and contents.

use crate::command::Epoch;
use crate::member::{Digest, MemberId};
use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why something of the authority's did not work.
#[derive(Debug)]
pub enum AuthorityError {
    /// The name of a cluster is part of names in certificates.
    ClusterName(String),
    /// A certificate could not be made.
    Certificate(rcgen::Error),
    /// TLS does not take a key or a certificate.
    Tls(rustls::Error),
    /// A key that is none.
    Key,
    /// A request whose signature is not by its key.
    Unproven,
    /// A certificate that is none, or of another authority.
    NotOurs,
    /// The key of contents of this epoch is not here.
    NoRing(Epoch),
    /// No key of contents is here at all.
    NoRings,
    /// A piece of a content is missing.
    MissingChunk(Digest),
    /// A piece of a content, or a sealed key, was not sealed by this key, or was
    /// changed.
    NotSealed,
    /// A content larger than one may be.
    TooLarge {
        /// Its size, bytes.
        bytes: u64,
        /// How large it may be.
        bytes_max: u64,
    },
    /// A member to whom a key should be sealed has no usable sealing key.
    SealingKey(MemberId),
    /// A file of the state directory.
    File {
        /// The path.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// A file of the state directory that does not hold what it should.
    Malformed(PathBuf),
}

impl fmt::Display for AuthorityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AuthorityError::ClusterName(name) => write!(
                f,
                "invalid cluster name `{name}`: use 1 to 32 letters, digits and hyphens, beginning and ending with a \
                 letter or a digit"
            ),
            AuthorityError::Certificate(error) => write!(f, "cannot create a certificate: {error}"),
            AuthorityError::Tls(error) => write!(f, "TLS: {error}"),
            AuthorityError::Key => f.write_str("not a key"),
            AuthorityError::Unproven => {
                f.write_str("the certificate request is not signed by its own key")
            }
            AuthorityError::NotOurs => {
                f.write_str("the certificate was not issued by this cluster's CA")
            }
            AuthorityError::NoRing(epoch) => {
                write!(f, "content key number {} is not on this machine", epoch.0)
            }
            AuthorityError::NoRings => {
                f.write_str("no content key is on this machine; only nodes have them")
            }
            AuthorityError::MissingChunk(digest) => {
                write!(f, "part {digest} of a content is missing")
            }
            AuthorityError::NotSealed => {
                f.write_str("cannot decrypt: encrypted with another key, or changed")
            }
            AuthorityError::TooLarge { bytes, bytes_max } => {
                write!(
                    f,
                    "a content of {bytes} bytes exceeds the limit of {bytes_max}"
                )
            }
            AuthorityError::SealingKey(member) => {
                write!(f, "member {member} has no key for encryption")
            }
            AuthorityError::File { path, error } => write!(f, "{}: {error}", path.display()),
            AuthorityError::Malformed(path) => {
                write!(f, "{}: invalid content", path.display())
            }
        }
    }
}

impl Error for AuthorityError {}

impl From<rcgen::Error> for AuthorityError {
    fn from(error: rcgen::Error) -> Self {
        AuthorityError::Certificate(error)
    }
}

impl From<rustls::Error> for AuthorityError {
    fn from(error: rustls::Error) -> Self {
        AuthorityError::Tls(error)
    }
}
