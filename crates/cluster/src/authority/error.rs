//! Defines [`AuthorityError`], the error of all operations with keys, certificates, tokens and
//! encrypted contents.

use crate::command::Epoch;
use crate::member::{Digest, MemberId};
use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error(
        "invalid cluster name `{0}`: use 1 to 32 letters, digits and hyphens, beginning and ending with a \
             letter or a digit"
    )]
    ClusterName(String),
    #[error("cannot create a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error("not a key")]
    Key,
    #[error("the certificate request is not signed by its own key")]
    Unproven,
    /// The certificate cannot be parsed, or it belongs to another key or another member.
    #[error("the certificate was not issued by this cluster's CA")]
    NotOurs,
    #[error("content key number {} is not on this machine", .0.0)]
    NoRing(Epoch),
    #[error("no content key is on this machine; only nodes have them")]
    NoRings,
    #[error("part {0} of a content is missing")]
    MissingChunk(Digest),
    /// A chunk or an encrypted key was encrypted with another key, or was changed.
    #[error("cannot decrypt: encrypted with another key, or changed")]
    NotSealed,
    /// No key that was encrypted for this node in this epoch can be decrypted here.
    #[error("content key number {} was not encrypted with the sealing key of this machine", .0.0)]
    UnusableRing(Epoch),
    #[error("a content of {bytes} bytes exceeds the limit of {bytes_max}")]
    TooLarge { bytes: u64, bytes_max: u64 },
    #[error("member {0} has no key for encryption")]
    SealingKey(MemberId),
    #[error("{}: {error}", .path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("{}: invalid content", .0.display())]
    Malformed(PathBuf),
}
