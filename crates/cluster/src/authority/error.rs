//! Errors of keys, certificates and contents.

use crate::command::Epoch;
use crate::member::{Digest, MemberId};
use std::io;
use std::path::PathBuf;

/// Error of an operation with keys, certificates or contents.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The name of a cluster is part of names in certificates.
    #[error(
        "invalid cluster name `{0}`: use 1 to 32 letters, digits and hyphens, beginning and ending with a \
             letter or a digit"
    )]
    ClusterName(String),
    /// A certificate could not be created.
    #[error("cannot create a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// TLS rejects a key or a certificate.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The bytes are not a valid key.
    #[error("not a key")]
    Key,
    /// The signature of a request does not match its key.
    #[error("the certificate request is not signed by its own key")]
    Unproven,
    /// The bytes are not a valid certificate, or another CA issued it.
    #[error("the certificate was not issued by this cluster's CA")]
    NotOurs,
    /// The key of contents of this epoch is not here.
    #[error("content key number {} is not on this machine", .0.0)]
    NoRing(Epoch),
    /// This member has no content keys at all.
    #[error("no content key is on this machine; only nodes have them")]
    NoRings,
    /// A chunk of a content is missing.
    #[error("part {0} of a content is missing")]
    MissingChunk(Digest),
    /// A chunk or an encrypted key was encrypted with another key, or was changed.
    #[error("cannot decrypt: encrypted with another key, or changed")]
    NotSealed,
    /// No key that was encrypted for this node in this epoch can be decrypted here.
    #[error("content key number {} was not encrypted with the sealing key of this machine", .0.0)]
    UnusableRing(Epoch),
    /// The content exceeds the largest size.
    #[error("a content of {bytes} bytes exceeds the limit of {bytes_max}")]
    TooLarge {
        /// Size of the content or secret, bytes.
        bytes: u64,
        /// Largest permitted size, in bytes.
        bytes_max: u64,
    },
    /// The member for which a key should be encrypted has no usable public key.
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
    /// A file of the state directory has invalid content.
    #[error("{}: invalid content", .0.display())]
    Malformed(PathBuf),
}
