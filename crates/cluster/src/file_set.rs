//! A version as a machine loads it: the files of the command line in order, and
//! every file that they name, as plain bytes. It goes to the loader in a sealed
//! memory file, and stands on a node's disk as the version that it starts with when
//! it is alone.

use crate::command::VersionId;
use part::codec::{self, Malformed};
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::Zeroize;

/// Largest set, bytes of all files together.
pub const SET_BYTES_MAX: u64 = 64 << 20;
/// Files in a set.
pub const FILES_MAX: usize = 4096;

/// A file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetFile {
    /// Path, as the configuration names it.
    pub path: String,
    /// The file was named on the command line. Such files come first, in their order.
    pub main: bool,
    /// The file was read as a secret.
    pub secret: bool,
    /// Its permissions.
    pub mode: u32,
    /// The content.
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

/// The files of a version.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct FileSet {
    /// The version; zero if there is none yet.
    pub version: VersionId,
    /// The description for messages, such as `version 12 by anna: "more servers"`.
    pub label: String,
    /// The node that loads it: what `on NODE` lines are compared with.
    pub node: String,
    /// Its files.
    pub files: Vec<SetFile>,
    /// Directories that are named, with the names in them.
    pub listings: Vec<(String, Vec<String>)>,
}

impl FileSet {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// From bytes.
    ///
    /// # Errors
    /// Fails on bytes that are no set.
    pub fn decode(bytes: &[u8]) -> Result<FileSet, Malformed> {
        codec::decode(bytes)
    }
}
