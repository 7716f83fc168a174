//! Encodes and decodes the file that a supervisor leaves for its successor in case it is killed:
//! the configuration version in service. The role, which communicates with the network, is not
//! trusted as a source of its configuration version.
//!
//! The file contains no bundle, which has the passwords of the configuration: the role keeps that in
//! memory, and the file has a digest of it. As with a hand-over, older and newer programs can read
//! the file.

use super::hand_over::after_version;
use super::take::Take;
use super::{DESCRIPTORS_MAX, DecodeError, PACKET_BYTES_MAX};
use crate::codec;
use serde::{Deserialize, Serialize};

const HEAD: &[u8] = b"evenkeel version\n";
const KEPT_VERSION: u16 = 3;
const SOCKET_BYTES: usize = 19;

pub const KEPT_BYTES_MAX: usize = 2 * PACKET_BYTES_MAX + DESCRIPTORS_MAX * SOCKET_BYTES;

/// Identity of an open socket in the kernel.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
pub struct KeptSocket {
    pub device: u64,
    pub inode: u64,
}

impl From<(u64, u64)> for KeptSocket {
    fn from((device, inode): (u64, u64)) -> KeptSocket {
        KeptSocket { device, inode }
    }
}

impl From<KeptSocket> for (u64, u64) {
    fn from(socket: KeptSocket) -> (u64, u64) {
        (socket.device, socket.inode)
    }
}

/// Configuration version that was in service.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct SavedVersion {
    pub take: Take,
    /// Identities of the version's sockets, in their order.
    pub sockets: Vec<KeptSocket>,
    /// Length of the bundle in bytes; 0 if the role does not keep it.
    pub bundle_bytes: u64,
    /// SHA-256 digest of [`Take::salt`] and the bundle. Without the salt, which is not stored, it
    /// does not allow guesses of the bundle's passwords to be tested.
    #[serde(with = "serde_bytes")]
    pub digest: Vec<u8>,
}

impl SavedVersion {
    pub fn encode(&self) -> Vec<u8> {
        let fields = codec::encode(self);
        // Encodes the length, which is at most KEPT_BYTES_MAX and so fits into a u32.
        let length = (fields.len() as u32).to_le_bytes();
        [HEAD, &KEPT_VERSION.to_le_bytes(), &length, &fields].concat()
    }

    /// Decodes a file. Also returns the number of bytes that belong to it.
    ///
    /// # Errors
    /// The bytes are invalid, or of another format.
    pub fn decode(bytes: &[u8]) -> Result<(SavedVersion, usize), DecodeError> {
        let rest = bytes.strip_prefix(HEAD).ok_or(DecodeError::Magic)?;
        let rest = after_version(rest, KEPT_VERSION)?;
        let (length, rest) = rest.split_first_chunk().ok_or(DecodeError::Malformed)?;
        let length = u32::from_le_bytes(*length) as usize;
        let fields = rest.get(..length).ok_or(DecodeError::Malformed)?;
        let whole = bytes.len() - rest.len() + length;
        Ok((codec::decode(fields)?, whole))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn some() -> SavedVersion {
        let socket = |inode| KeptSocket { device: 9, inode };
        SavedVersion {
            take: Take {
                version: 4,
                ..Take::default()
            },
            sockets: vec![socket(1), socket(u64::MAX)],
            bundle_bytes: 6,
            digest: vec![7; 32],
        }
    }

    #[test]
    fn saved_version_is_read_back_with_its_length() {
        let mut bytes = some().encode();
        bytes.extend(b"more");
        let (kept, length) = SavedVersion::decode(&bytes).unwrap();
        assert_eq!(kept, some());
        assert_eq!(&bytes[length..], b"more");
        let most = SavedVersion {
            sockets: vec![KeptSocket::default(); DESCRIPTORS_MAX],
            ..some()
        };
        assert_eq!(SavedVersion::decode(&most.encode()).unwrap().0, most);
    }

    #[test]
    fn truncation_or_another_format_is_refused() {
        let bytes = some().encode();
        for end in 0..bytes.len() {
            assert!(SavedVersion::decode(&bytes[..end]).is_err(), "{end}");
        }
        let mut other = bytes.clone();
        other[HEAD.len()] = 9;
        assert_eq!(SavedVersion::decode(&other), Err(DecodeError::Version(9)));
        assert_eq!(
            SavedVersion::decode(b"#!/bin/sh\n"),
            Err(DecodeError::Magic)
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            changes in proptest::collection::vec((0usize..400, any::<u8>()), 1..8),
        ) {
            let mut bytes = some().encode();
            for (at, byte) in changes {
                let length = bytes.len();
                bytes[at % length] = byte;
            }
            if let Ok((kept, _)) = SavedVersion::decode(&bytes) {
                prop_assert_eq!(SavedVersion::decode(&kept.encode()).map(|one| one.0), Ok(kept));
            }
        }
    }
}
