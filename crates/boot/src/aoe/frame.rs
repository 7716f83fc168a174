//! The header of a frame, behind that of Ethernet (AoE revision 11, section 2).

use serde::{Deserialize, Serialize};
use std::fmt;

/// The type of AoE's frames in Ethernet.
pub const ETHER_TYPE: u16 = 0x88a2;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 10;
/// The shortest frame without its Ethernet header: shorter ones are filled up.
pub const FRAME_BYTES_MIN: usize = 46;
/// Bytes of all headers around the sectors: Ethernet's, AoE's and ATA's.
pub const OVERHEAD_BYTES: usize = 36;
/// Bytes of a sector.
pub const SECTOR_BYTES: usize = 512;
/// The largest number of sectors that a frame carries: its field has one byte.
pub const SECTORS_MAX: usize = 255;

const VERSION: u8 = 1;
const RESPONSE: u8 = 0x08;
const ERROR: u8 = 0x04;
const ALL_SHELVES: u16 = 0xffff;
const ALL_SLOTS: u8 = 0xff;

/// The number of a target: the shelf and the slot in it.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Target {
    /// The shelf (major), at most 65,534.
    pub shelf: u16,
    /// The slot (minor), at most 254.
    pub slot: u8,
}

impl Target {
    /// Whether a frame to `asked` is for this target: one of its numbers may stand for all.
    pub fn is_asked(self, asked: Target) -> bool {
        (asked.shelf == ALL_SHELVES || asked.shelf == self.shelf)
            && (asked.slot == ALL_SLOTS || asked.slot == self.slot)
    }

    /// Whether a disk can have this number: neither part of it stands for all.
    pub fn is_of_a_disk(self) -> bool {
        self.shelf != ALL_SHELVES && self.slot != ALL_SLOTS
    }
}

impl fmt::Display for Target {
    /// As iPXE and aoetools write it: `e0.1`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "e{}.{}", self.shelf, self.slot)
    }
}

/// Why a request is refused (section 2.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Refusal {
    /// The command is not one that this server has.
    UnknownCommand = 1,
    /// A field has a value that it cannot have.
    BadArgument = 2,
    /// The config string is set already.
    ConfigString = 4,
    /// The frame is of another version of AoE.
    Version = 5,
}

/// The header of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// The version of AoE.
    pub version: u8,
    /// Which target is asked.
    pub asked: Target,
    /// The command.
    pub command: u8,
    /// The number by which the client knows the reply.
    pub tag: [u8; 4],
}

impl Header {
    /// Reads the header of a request, and returns it with what follows. None for replies, and for what
    /// is too short.
    pub fn parse(frame: &[u8]) -> Option<(Header, &[u8])> {
        let (head, rest) = frame.split_first_chunk::<HEADER_BYTES>()?;
        let [flags, _, high, low, slot, command, a, b, c, d] = *head;
        if flags & RESPONSE != 0 {
            return None;
        }
        let header = Header {
            version: flags >> 4,
            asked: Target {
                shelf: u16::from_be_bytes([high, low]),
                slot,
            },
            command,
            tag: [a, b, c, d],
        };
        Some((header, rest))
    }

    /// Why no target can do anything for this header, whatever follows.
    pub fn refusal(&self) -> Option<Refusal> {
        (self.version != VERSION).then_some(Refusal::Version)
    }

    /// Writes a reply of a target.
    pub fn reply(&self, target: Target, refusal: Option<Refusal>, body: &[&[u8]]) -> Vec<u8> {
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

/// How many sectors a frame of an interface carries at most.
pub fn sectors_max(mtu: usize) -> usize {
    (mtu.saturating_sub(OVERHEAD_BYTES) / SECTOR_BYTES).min(SECTORS_MAX)
}
