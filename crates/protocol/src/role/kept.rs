//! What a supervisor leaves in a file for one that comes after it, should it be
//! killed: the version that it made the role serve. The role itself, which
//! speaks with the network, is never asked what that was.
//!
//! The file is these bytes and, behind them, the bundle. Like a hand-over it is
//! read by older and newer programs.

use super::codec::{DecodeError, Reader, Writer};
use super::message::Take;
use super::{DESCRIPTORS_MAX, PACKET_BYTES_MAX};

/// What it begins with.
const HEAD: &[u8] = b"evenkeel version\n";
/// The number of the form.
const KEPT_VERSION: u16 = 1;
/// Bytes of one socket.
const SOCKET_BYTES: usize = 16;

/// Bytes before the bundle at most.
pub const KEPT_BYTES_MAX: usize = 2 * PACKET_BYTES_MAX + DESCRIPTORS_MAX * SOCKET_BYTES;

/// A socket, as the kernel tells it from every other one while it is open.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KeptSocket {
    /// The device that it is on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
}

/// A version that was served.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Kept {
    /// What it is.
    pub take: Take,
    /// Its sockets, in their order.
    pub sockets: Vec<KeptSocket>,
    /// How long the bundle behind it is.
    pub bundle_bytes: u64,
}

impl Kept {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut fields = Writer::default();
        self.take.write(&mut fields);
        fields.list(&self.sockets, DESCRIPTORS_MAX, |to, socket| {
            to.u64(socket.device);
            to.u64(socket.inode);
        });
        fields.u64(self.bundle_bytes);
        self.take.plan.write_end(&mut fields);
        let mut to = Writer::default();
        to.bytes.extend(HEAD);
        to.u16(KEPT_VERSION);
        to.slice(&fields.bytes, KEPT_BYTES_MAX);
        to.bytes
    }

    /// From the beginning of a file; and how many bytes of it these were.
    pub fn decode(bytes: &[u8]) -> Result<(Kept, usize), DecodeError> {
        let rest = bytes.strip_prefix(HEAD).ok_or(DecodeError::Magic)?;
        let mut from = Reader::new(rest);
        let version = from.u16()?;
        if version != KEPT_VERSION {
            return Err(DecodeError::Version(
                u8::try_from(version).unwrap_or(u8::MAX),
            ));
        }
        let fields = from.bytes("version", KEPT_BYTES_MAX)?;
        let length = HEAD.len() + size_of::<u16>() + size_of::<u32>() + fields.len();
        let mut from = Reader::new(&fields);
        let from = &mut from;
        let mut kept = Kept {
            take: Take::read(from)?,
            sockets: from.list("sockets", DESCRIPTORS_MAX, |from| {
                Ok(KeptSocket {
                    device: from.u64()?,
                    inode: from.u64()?,
                })
            })?,
            bundle_bytes: from.u64()?,
        };
        kept.take.plan.read_end(from)?;
        Ok((kept, length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn some() -> Kept {
        let socket = |inode| KeptSocket { device: 9, inode };
        Kept {
            take: Take {
                version: 4,
                ..Take::default()
            },
            sockets: vec![socket(1), socket(u64::MAX)],
            bundle_bytes: 6,
        }
    }

    #[test]
    fn what_is_kept_comes_back_as_it_was_and_the_bundle_begins_behind_it() {
        let mut bytes = some().encode();
        bytes.extend(b"bundle");
        let (kept, length) = Kept::decode(&bytes).unwrap();
        assert_eq!(kept, some());
        assert_eq!(&bytes[length..], b"bundle");
        let most = Kept {
            sockets: vec![KeptSocket::default(); DESCRIPTORS_MAX],
            ..some()
        };
        assert_eq!(Kept::decode(&most.encode()).unwrap().0, most);
    }

    #[test]
    fn what_is_cut_or_of_another_form_is_refused() {
        let bytes = some().encode();
        for end in 0..bytes.len() {
            assert!(Kept::decode(&bytes[..end]).is_err(), "{end}");
        }
        let mut other = bytes.clone();
        other[HEAD.len()] = 2;
        assert_eq!(Kept::decode(&other), Err(DecodeError::Version(2)));
        assert_eq!(Kept::decode(b"#!/bin/sh\n"), Err(DecodeError::Magic));
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
            if let Ok((kept, _)) = Kept::decode(&bytes) {
                prop_assert_eq!(Kept::decode(&kept.encode()).map(|one| one.0), Ok(kept));
            }
        }
    }
}
