//! A version as a machine loads it: the files of the command line in order, and
//! every file that they name, as plain bytes. It goes to the loader in a sealed
//! memory file, and stands on a node's disk as the version that it starts with when
//! it is alone.

use crate::codec::{self, Malformed};
use crate::command::VersionId;
use crate::store::digest;
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::Zeroize;

/// Largest set, bytes of all files together.
pub const SET_BYTES_MAX: u64 = 64 << 20;
/// Files in a set.
pub const FILES_MAX: usize = 4096;

/// What stands between a set and its digest.
const SEAL: &[u8] = b"\nSHA-256:";
/// Bytes of that.
const DIGEST_BYTES: usize = 32;

/// A file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetFile {
    /// Its path, as it is named.
    pub path: String,
    /// It is one of the command line's; these stand first, in their order.
    pub main: bool,
    /// It was read as a secret.
    pub secret: bool,
    /// Its permissions.
    pub mode: u32,
    /// What it holds.
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
    /// Which version it is; zero where it is none yet.
    pub version: VersionId,
    /// What is written where the version is named to people, for example
    /// `version 12 by anna: "more servers"`.
    pub label: String,
    /// The node that loads it: what `on NODE` lines are compared with.
    pub node: String,
    /// Its files.
    pub files: Vec<SetFile>,
    /// Directories that are named, with the names in them.
    pub listings: Vec<(String, Vec<String>)>,
}

impl FileSet {
    /// As bytes, with their digest behind them, which older programs pass over.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = codec::encode(self);
        let digest = digest(&bytes);
        bytes.extend_from_slice(SEAL);
        bytes.extend_from_slice(&digest.0);
        bytes
    }

    /// What stands before a digest, and whether that is its own; None: there is none.
    fn unsealed(bytes: &[u8]) -> Option<(&[u8], bool)> {
        let end = bytes.len().saturating_sub(SEAL.len() + DIGEST_BYTES);
        let (body, seal) = bytes.split_at(end);
        let sum = seal.strip_prefix(SEAL)?;
        Some((body, digest(body).0 == *sum))
    }

    /// Whether the digest behind these bytes is theirs. They are not looked at.
    pub fn is_whole(bytes: &[u8]) -> bool {
        Self::unsealed(bytes).is_some_and(|(_, whole)| whole)
    }

    /// From bytes.
    ///
    /// # Errors
    /// Fails on bytes that are no set, and on a set whose digest is another one. A set of an
    /// older program has no digest.
    pub fn decode(bytes: &[u8]) -> Result<FileSet, Malformed> {
        match Self::unsealed(bytes) {
            Some((_, false)) => Err(Malformed::damaged()),
            Some((body, true)) => codec::decode(body),
            None => codec::decode(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_which_a_bit_changed_is_none_and_older_programs_read_a_new_one() {
        let set = FileSet {
            label: "version 7".to_owned(),
            files: vec![SetFile {
                path: "/etc/evenkeel.cfg".to_owned(),
                main: true,
                secret: false,
                mode: 0o600,
                bytes: b"server one 192.0.2.1:80".to_vec(),
            }],
            ..FileSet::default()
        };
        let bytes = set.encode();
        assert_eq!(FileSet::decode(&bytes).unwrap(), set);
        assert!(FileSet::is_whole(&bytes));
        for length in 0..bytes.len() {
            assert!(!FileSet::is_whole(&bytes[..length]), "{length}");
        }
        for place in 0..bytes.len() - SEAL.len() - DIGEST_BYTES {
            let mut other = bytes.clone();
            other[place] ^= 1;
            assert!(FileSet::decode(&other).is_err(), "{place}");
        }
        assert_eq!(codec::decode::<FileSet>(&bytes).unwrap(), set);
        assert_eq!(FileSet::decode(&codec::encode(&set)).unwrap(), set);
    }
}
