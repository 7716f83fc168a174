//! Decodes and encodes the header of an AoE frame, after the Ethernet header (AoE revision 11,
//! section 2). Defines the addresses of targets and the error codes.

use serde::{Deserialize, Serialize};
use std::fmt;

pub const ETHER_TYPE: u16 = 0x88a2;
pub const HEADER_BYTES: usize = 10;
/// Shortest frame without its Ethernet header, bytes: shorter ones are padded.
pub const FRAME_BYTES_MIN: usize = 46;
/// Length of all headers around the sectors, bytes: Ethernet, AoE and ATA.
pub const OVERHEAD_BYTES: usize = 36;
pub const SECTOR_BYTES: usize = 512;
/// Most sectors in a frame: the field has one byte.
pub const SECTORS_MAX: usize = 255;

const VERSION: u8 = 1;
const RESPONSE: u8 = 0x08;
const ERROR: u8 = 0x04;
const ALL_SHELVES: u16 = 0xffff;
const ALL_SLOTS: u8 = 0xff;

#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AoeAddress {
    /// Shelf (major), at most 65,534.
    pub shelf: u16,
    /// Slot (minor), at most 254.
    pub slot: u8,
}

impl AoeAddress {
    /// Returns whether a frame to the address `asked` is for this target. The broadcast value of
    /// either number matches every target.
    pub fn is_asked(self, asked: AoeAddress) -> bool {
        (asked.shelf == ALL_SHELVES || asked.shelf == self.shelf)
            && (asked.slot == ALL_SLOTS || asked.slot == self.slot)
    }

    /// Returns whether a disk can have this address: neither number is the broadcast value.
    pub fn is_of_a_disk(self) -> bool {
        self.shelf != ALL_SHELVES && self.slot != ALL_SLOTS
    }
}

impl fmt::Display for AoeAddress {
    /// Formats the address as iPXE and aoetools write it: `e0.1`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "e{}.{}", self.shelf, self.slot)
    }
}

/// Error code of a refused request (section 2.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum AoeErrorCode {
    UnknownCommand = 1,
    BadArgument = 2,
    ConfigString = 4,
    Version = 5,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    pub version: u8,
    pub asked: AoeAddress,
    /// Command code: 0 ATA, 1 query config information.
    pub command: u8,
    pub tag: [u8; 4],
}

impl Header {
    /// Parses the header of a request, and returns it with what follows. None for replies, and
    /// for frames that are too short.
    pub fn parse(frame: &[u8]) -> Option<(Header, &[u8])> {
        let (head, rest) = frame.split_first_chunk::<HEADER_BYTES>()?;
        let [flags, _, high, low, slot, command, a, b, c, d] = *head;
        if flags & RESPONSE != 0 {
            return None;
        }
        let header = Header {
            version: flags >> 4,
            asked: AoeAddress {
                shelf: u16::from_be_bytes([high, low]),
                slot,
            },
            command,
            tag: [a, b, c, d],
        };
        Some((header, rest))
    }

    /// Returns why every target refuses this header, whatever follows; None: it is valid.
    pub fn refusal(&self) -> Option<AoeErrorCode> {
        (self.version != VERSION).then_some(AoeErrorCode::Version)
    }

    pub fn reply(
        &self,
        target: AoeAddress,
        refusal: Option<AoeErrorCode>,
        body: &[&[u8]],
    ) -> Vec<u8> {
        let error = refusal.map_or(0, |refusal| refusal as u8);
        let flags = VERSION << 4 | RESPONSE | if refusal.is_some() { ERROR } else { 0 };
        let length = HEADER_BYTES + body.iter().map(|part| part.len()).sum::<usize>();
        let mut frame = Vec::with_capacity(length.max(FRAME_BYTES_MIN));
        let [high, low] = target.shelf.to_be_bytes();
        frame.extend([flags, error, high, low, target.slot, self.command]);
        frame.extend(self.tag);
        for part in body {
            frame.extend_from_slice(part);
        }
        if frame.len() < FRAME_BYTES_MIN {
            frame.resize(FRAME_BYTES_MIN, 0);
        }
        frame
    }
}

pub fn sectors_max(mtu: usize) -> usize {
    (mtu.saturating_sub(OVERHEAD_BYTES) / SECTOR_BYTES).min(SECTORS_MAX)
}
