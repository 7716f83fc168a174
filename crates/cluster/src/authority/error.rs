//! Errors of keys, certificates and contents.

use crate::command::Epoch;
use crate::member::{Digest, MemberId};
use std::io;
use std::path::PathBuf;

/// Why something of the authority's did not work.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The name of a cluster is part of names in certificates.
    #[error(
        "invalid cluster name `{0}`: use 1 to 32 letters, digits and hyphens, beginning and ending with a \
             letter or a digit"
    )]
    ClusterName(String),
    /// A certificate could not be made.
    #[error("cannot create a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// TLS does not take a key or a certificate.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// A key that is none.
    #[error("not a key")]
    Key,
    /// A request whose signature is not by its key.
    #[error("the certificate request is not signed by its own key")]
    Unproven,
    /// A certificate that is none, or of another authority.
    #[error("the certificate was not issued by this cluster's CA")]
    NotOurs,
    /// The key of contents of this epoch is not here.
    #[error("content key number {} is not on this machine", .0.0)]
    NoRing(Epoch),
    /// No key of contents is here at all.
    #[error("no content key is on this machine; only nodes have them")]
    NoRings,
    /// A piece of a content is missing.
    #[error("part {0} of a content is missing")]
    MissingChunk(Digest),
    /// A piece of a content, or a sealed key, was not sealed by this key, or was
    /// changed.
    #[error("cannot decrypt: encrypted with another key, or changed")]
    NotSealed,
    /// A content larger than one may be.
    #[error("a content of {bytes} bytes exceeds the limit of {bytes_max}")]
    TooLarge {
        /// Size of the content or secret, bytes.
        bytes: u64,
        /// Largest permitted size, in bytes.
        bytes_max: u64,
    },
    /// A member to whom a key should be sealed has no usable sealing key.
    #[error("member {0} has no key for encryption")]
    SealingKey(MemberId),
    /// A file of the state directory.
    #[error("{}: {error}", .path.display())]
    File {
        /// Path of the affected file.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// A file of the state directory that does not hold what it should.
    #[error("{}: invalid content", .0.display())]
    Malformed(PathBuf),
}
