//! Encodes and decodes a configuration version as a machine loads it: the files of the command line
//! in order, every file that they name, as plain bytes, and the names in directories that they
//! list. The loader receives it in a sealed memory file. A node stores it on disk, and starts with
//! it when it is alone.

use crate::codec::{self, InvalidEncoding};
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::Zeroize;

/// Largest set, bytes of all files together.
pub const SET_BYTES_MAX: u64 = 64 << 20;
pub const FILES_MAX: usize = 4096;

/// Number of a configuration version: versions are numbered consecutively from 1; zero means none.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct VersionId(pub u64);

impl VersionId {
    /// Returns the id of the operation that brings this configuration version, in the trace events
    /// of all nodes.
    pub fn operation(self) -> String {
        crate::trace::operation_of(self.0)
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// File of a configuration version, with its content.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetFile {
    pub path: String,
    /// The file was named on the command line. Such files come first, in their order.
    pub main: bool,
    pub secret: bool,
    pub mode: u32,
    /// Content of the file; zeroized on drop if it is secret.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

impl fmt::Debug for SetFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SetFile({}, {} bytes)", self.path, self.bytes.len())
    }
}

impl Drop for SetFile {
    fn drop(&mut self) {
        if self.secret {
            self.bytes.zeroize();
        }
    }
}

/// Files of a configuration version, as a machine loads them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct FileSet {
    /// Number of the configuration version; zero if the cluster has none yet.
    pub version: VersionId,
    /// The description for messages, such as `version 12 by anna: "more servers"`.
    pub label: String,
    pub node: String,
    pub files: Vec<SetFile>,
    /// Directories that the configuration names, with the names in them.
    pub listings: Vec<(String, Vec<String>)>,
}

impl FileSet {
    pub fn operation(&self) -> String {
        self.version.operation()
    }

    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Decodes a set.
    ///
    /// # Errors
    /// Fails on bytes that do not encode a set.
    pub fn decode(bytes: &[u8]) -> Result<FileSet, InvalidEncoding> {
        codec::decode(bytes)
    }
}
