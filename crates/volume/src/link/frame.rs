//! Encodes and decodes replication frames: a header of 64 bytes, which a payload follows in some
//! kinds of frame. Numbers are little-endian. Header and payload each have a checksum (XXH3, 64
//! bits), so that corruption by a network card or a cable never reaches a disk.

use crate::disk::BUFFER_BYTES_MAX;
use crate::replica::{BLOCK_BYTES, Blocks, Epoch, Generation, Incarnation, VolumeId};
use part::codec;
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

pub const HEAD_BYTES: usize = 64;
/// Maximum number of blocks in a frame: one buffer.
pub const BLOCKS_MAX: u32 = (BUFFER_BYTES_MAX as u64 / BLOCK_BYTES) as u32;
/// Maximum length of a payload without blocks, bytes. A `Welcome` with a full activity log fits.
pub const EXTRA_BYTES_MAX: usize = 16 << 10;

const MAGIC: [u8; 4] = *b"EVL1";

/// Type of a frame. Most carry the `replica::ReplicaMessage` of the same name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum FrameKind {
    /// Heartbeat. `number` is 1 if the sender serves the volume, `count` the number of its clients,
    /// `first` the total of its client connections, `epoch` the number of the user connected to the
    /// sender, or 0.
    Pulse = 1,
    Hello,
    /// `Welcome`, with an introduction.
    Welcome,
    /// `Refused`; `epoch` is the epoch that the sender has promised.
    Refused,
    /// `Begin`; `first` is the incarnation, `number` the base.
    Begin,
    Begun,
    Write,
    Flush,
    /// Command: compare for a resync; `number` is the checksum.
    Compare,
    Done,
    Differs,
    Failed,
    /// `Finish`; `number` is the generation.
    Finish,
    Finished,
    Settle,
    Settled,
    AskRead,
    AskWrite,
    AskFlush,
    /// Response to a forwarded request; `number` is the [`ForwardResult`].
    Answer,
    /// `Room`; `number` is in blocks.
    Room,
    /// `Grow`; `number` is in blocks.
    Grow,
    Grown,
    /// `Resized`; `number` is in blocks.
    Resized,
    /// Command: compare for a verify; `number` is the checksum.
    Verify,
    Unreadable,
    Read,
    Content,
    Damaged,
}

const KINDS: [FrameKind; 29] = [
    FrameKind::Pulse,
    FrameKind::Hello,
    FrameKind::Welcome,
    FrameKind::Refused,
    FrameKind::Begin,
    FrameKind::Begun,
    FrameKind::Write,
    FrameKind::Flush,
    FrameKind::Compare,
    FrameKind::Done,
    FrameKind::Differs,
    FrameKind::Failed,
    FrameKind::Finish,
    FrameKind::Finished,
    FrameKind::Settle,
    FrameKind::Settled,
    FrameKind::AskRead,
    FrameKind::AskWrite,
    FrameKind::AskFlush,
    FrameKind::Answer,
    FrameKind::Room,
    FrameKind::Grow,
    FrameKind::Grown,
    FrameKind::Resized,
    FrameKind::Verify,
    FrameKind::Unreadable,
    FrameKind::Read,
    FrameKind::Content,
    FrameKind::Damaged,
];

/// Result of a forwarded request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum ForwardResult {
    /// The request is complete. The data of a read follows the header.
    Done = 1,
    Failed = 2,
    /// The receiver is not the owner. The request was not executed, or was, but will not be
    /// executed from now on.
    Moved = 3,
    Refused = 4,
}

impl ForwardResult {
    pub fn of(number: u64) -> Option<ForwardResult> {
        let all = [
            ForwardResult::Done,
            ForwardResult::Failed,
            ForwardResult::Moved,
            ForwardResult::Refused,
        ];
        all.into_iter().find(|answer| *answer as u64 == number)
    }
}

/// Content of the blocks of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum BlockContent {
    #[default]
    None = 0,
    /// The payload after the header.
    Data = 1,
    Zero = 2,
    /// Zeroes; the space on the disk is freed.
    Trim = 3,
}

/// Frame header. The kind determines which numbers have a meaning; the others are zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHeader {
    pub kind: FrameKind,
    pub content: BlockContent,
    pub fua: bool,
    /// Identifier of a command or request. The response returns it.
    pub tag: u32,
    pub first: u64,
    pub count: u32,
    pub epoch: u64,
    pub number: u64,
    pub extra_bytes: u32,
    /// Checksum of the payload, or zero without one.
    pub checksum: u64,
}

impl FrameHeader {
    pub fn new(kind: FrameKind) -> FrameHeader {
        FrameHeader {
            kind,
            content: BlockContent::None,
            fua: false,
            tag: 0,
            first: 0,
            count: 0,
            epoch: 0,
            number: 0,
            extra_bytes: 0,
            checksum: 0,
        }
    }

    pub fn tag(self, tag: u32) -> FrameHeader {
        FrameHeader { tag, ..self }
    }

    pub fn epoch(self, Epoch(epoch): Epoch) -> FrameHeader {
        FrameHeader { epoch, ..self }
    }

    pub fn number(self, number: u64) -> FrameHeader {
        FrameHeader { number, ..self }
    }

    pub fn blocks(self, Blocks { first, count }: Blocks) -> FrameHeader {
        FrameHeader {
            first,
            count,
            ..self
        }
    }

    pub fn range(&self) -> Blocks {
        Blocks {
            first: self.first,
            count: self.count,
        }
    }

    /// Returns the length of the blocks' data after the header, bytes.
    pub fn data_bytes(&self) -> usize {
        match self.content {
            BlockContent::Data => self.count as usize * BLOCK_BYTES as usize,
            _ => 0,
        }
    }

    pub fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        let mut at = 0;
        let mut put = |part: &[u8]| {
            bytes[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        };
        put(&MAGIC);
        put(&[self.kind as u8, self.content as u8, u8::from(self.fua), 0]);
        put(&self.tag.to_le_bytes());
        put(&self.count.to_le_bytes());
        put(&self.first.to_le_bytes());
        put(&self.epoch.to_le_bytes());
        put(&self.number.to_le_bytes());
        put(&self.extra_bytes.to_le_bytes());
        put(&[0; 4]);
        put(&self.checksum.to_le_bytes());
        let checksum = XxHash3_64::oneshot(&bytes[..HEAD_BYTES - 8]);
        bytes[HEAD_BYTES - 8..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Decodes a header. Returns None if the magic number or the checksum is wrong, the kind is
    /// unknown, or a length exceeds its limit.
    pub fn decode(bytes: &[u8; HEAD_BYTES]) -> Option<FrameHeader> {
        let (content, checksum) = bytes.split_last_chunk::<8>()?;
        if XxHash3_64::oneshot(content) != u64::from_le_bytes(*checksum) {
            return None;
        }
        let mut rest = content;
        let mut u8s = || {
            let (first, behind) = rest.split_first_chunk::<4>()?;
            rest = behind;
            Some(*first)
        };
        let magic = u8s()?;
        let [kind, body, fua, _] = u8s()?;
        let mut u32s = || u8s().map(u32::from_le_bytes);
        let (tag, count) = (u32s()?, u32s()?);
        let mut u64s = || {
            let low = u32s()?;
            Some(u64::from(low) | u64::from(u32s()?) << 32)
        };
        let (first, epoch, number) = (u64s()?, u64s()?, u64s()?);
        // Ignores the upper four bytes of the word, which are not used.
        let extra_bytes = u64s()? as u32;
        let checksum = u64s()?;
        let contents = [
            BlockContent::None,
            BlockContent::Data,
            BlockContent::Zero,
            BlockContent::Trim,
        ];
        let head = FrameHeader {
            kind: *KINDS.iter().find(|one| **one as u8 == kind)?,
            content: *contents.iter().find(|one| **one as u8 == body)?,
            fua: fua == 1,
            tag,
            first,
            count,
            epoch,
            number,
            extra_bytes,
            checksum,
        };
        let bounded = count <= BLOCKS_MAX || head.content != BlockContent::Data;
        let one = head.content != BlockContent::Data || extra_bytes == 0;
        let good = magic == MAGIC && bounded && one && extra_bytes as usize <= EXTRA_BYTES_MAX;
        good.then_some(head)
    }
}

pub fn checksum(bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot(bytes)
}

/// Volume and history that a replica joins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Membership {
    pub volume: VolumeId,
    pub incarnation: Incarnation,
    /// Generation from which the owner's bitmap bits count.
    pub base: Generation,
    pub blocks: u64,
}

pub fn with_value(head: FrameHeader, value: &impl Serialize) -> (FrameHeader, Vec<u8>) {
    let bytes = codec::encode(value);
    let head = FrameHeader {
        extra_bytes: bytes.len() as u32,
        checksum: checksum(&bytes),
        ..head
    };
    (head, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_head_is_these_bytes() {
        let head = FrameHeader {
            content: BlockContent::Data,
            fua: true,
            checksum: 0x1122_3344_5566_7788,
            ..FrameHeader::new(FrameKind::Write)
        };
        let head = head.tag(9).epoch(Epoch(5)).number(7);
        let head = head.blocks(Blocks {
            first: 0x0102_0304_0506,
            count: 3,
        });
        let bytes = head.encode();
        assert_eq!(&bytes[..8], b"EVL1\x07\x01\x01\x00");
        assert_eq!(&bytes[8..16], &[9, 0, 0, 0, 3, 0, 0, 0]);
        assert_eq!(&bytes[16..24], &[6, 5, 4, 3, 2, 1, 0, 0]);
        assert_eq!(
            &bytes[24..40],
            &[5, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(&bytes[40..48], &[0; 8]);
        assert_eq!(
            &bytes[48..56],
            &[0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11]
        );
        assert_eq!(head.data_bytes(), 3 * 4096);
        assert_eq!(FrameHeader::decode(&bytes), Some(head));
    }

    #[test]
    fn every_kind_is_read_as_it_was_written() {
        for kind in KINDS {
            let head = FrameHeader::new(kind);
            assert_eq!(FrameHeader::decode(&head.encode()), Some(head));
        }
    }

    #[test]
    fn a_payload_longer_than_a_buffer_is_refused() {
        let blocks = |count| Blocks { first: 0, count };
        let data = FrameHeader {
            content: BlockContent::Data,
            ..FrameHeader::new(FrameKind::Write)
        };
        assert!(FrameHeader::decode(&data.blocks(blocks(BLOCKS_MAX)).encode()).is_some());
        assert!(FrameHeader::decode(&data.blocks(blocks(BLOCKS_MAX + 1)).encode()).is_none());
        let zero = FrameHeader {
            content: BlockContent::Zero,
            ..data
        };
        assert!(FrameHeader::decode(&zero.blocks(blocks(u32::MAX)).encode()).is_some());
        for extra_bytes in [EXTRA_BYTES_MAX as u32 + 1, u32::MAX] {
            let head = FrameHeader {
                extra_bytes,
                ..FrameHeader::new(FrameKind::Welcome)
            };
            assert!(FrameHeader::decode(&head.encode()).is_none());
        }
    }

    proptest! {
        #[test]
        fn a_changed_bit_is_seen(bit in 0usize..HEAD_BYTES * 8, tag: u32, first: u64) {
            let head = FrameHeader { first, ..FrameHeader::new(FrameKind::Flush).tag(tag) };
            let mut bytes = head.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(FrameHeader::decode(&bytes), None);
        }
    }
}
