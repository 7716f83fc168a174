//! Encodes and decodes a slot of the metadata ring. The envelope (magic number, format, length,
//! checksum) is the same in every format, and contains the head of a replica and its activity log.

use super::bytes::{CHECKSUM_BYTES, Reader, seal, unseal};
use super::{FORMAT, LOG_EXTENTS_MAX, MAGIC, SECTOR_BYTES, SLOT_BYTES};
use crate::overwrite::OverwriteMark;
use std::fmt;

/// Magic number of the volume's name, which follows the record of a slot.
const NAME_MAGIC: [u8; 8] = *b"EKname01";
/// Magic number of the copy's identity, which follows the name.
const IDENTITY_MAGIC: [u8; 8] = *b"EKcopy01";
/// Magic number of the mark of an incomplete volume, which follows the name and the identity.
const OVERWRITE_MAGIC: [u8; 8] = *b"EKpart01";
/// Length of the mark of an incomplete volume in a slot: magic number, number of the store, mark,
/// checksum.
const OVERWRITE_BYTES: usize = 24 + CHECKSUM_BYTES;
const NAME_BYTES_MAX: usize = 255;

const FRAME_BYTES: usize = 16;

const JOINED: u32 = 1;
const SYNCING: u32 = 2;

/// Identifier of a volume: 16 random bytes, generated at its creation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VolumeId(pub [u8; 16]);

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// Completeness of a replica. Generations count the changes of the volume's record in the cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SyncState {
    Joined(u64),
    /// Incomplete: a resync is in progress. The dirty bits of the resync source count from this
    /// generation on.
    Syncing(u64),
}

/// Identity of one of two copies. If its files are moved to another node, they do not become that
/// node's copy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CopyIdentity {
    pub node: String,
    /// Random number, drawn when the copy is created; never 0.
    pub copy: u64,
    /// Number of the other copy, to which the dirty bits refer; 0 if unknown.
    pub tracked: u64,
}

/// Head of a replica: values that change atomically.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Superblock {
    /// Identifier of the volume; `None` for a replica that was never part of one.
    pub volume: Option<VolumeId>,
    pub size_bytes: u64,
    /// Offset of the data on a device, where it follows the metadata, bytes; 0 if the data has its
    /// own file.
    pub data_offset: u64,
    /// Promised epoch. No owner of an earlier epoch may write.
    pub promised: u64,
    pub incarnation: u64,
    pub state: SyncState,
    /// Boot of the machine (Linux: `/proc/sys/kernel/random/boot_id`) in which the replica
    /// acknowledged writes that may not be flushed.
    pub unflushed: Option<u128>,
    /// Numbers of the extents in the activity log, at most [`LOG_EXTENTS_MAX`].
    pub hot: Vec<u32>,
    /// Identity of the copy; None for a single replica, and in metadata of an earlier release.
    pub identity: Option<CopyIdentity>,
    /// Mark of a command that has not completed its overwrite of the volume. Earlier releases
    /// ignore the mark, and lose it with their next store.
    pub overwrite: Option<OverwriteMark>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SuperblockSlot {
    pub(super) number: u64,
    pub(super) head: Superblock,
    pub(super) fill: Fill,
    /// Name of the volume at its creation. None: the replica comes from an earlier release, which
    /// stored no name.
    pub(super) name: Option<String>,
}

/// Last store that set or cleared all dirty bits at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fill {
    /// Number of that store; pages of earlier stores are invalid.
    pub(super) number: u64,
    pub(super) value: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum SlotContent {
    Valid(Box<SuperblockSlot>),
    Newer(u32),
    Damaged,
    Nothing,
}

impl SuperblockSlot {
    /// Encodes the slot as whole sectors. The caller must not exceed [`LOG_EXTENTS_MAX`] extents,
    /// for which there is no space.
    pub(super) fn encode(&self) -> Vec<u8> {
        let head = &self.head;
        assert!(
            head.hot.len() <= LOG_EXTENTS_MAX,
            "the activity log is bounded"
        );
        let mut bytes = Vec::with_capacity(SLOT_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        // Reserves space for the length, which is filled in at the end.
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.number.to_le_bytes());
        let volume = head.volume.map_or([0; 16], |volume| volume.0);
        bytes.extend_from_slice(&volume);
        let (state, generation) = match head.state {
            SyncState::Joined(generation) => (JOINED, generation),
            SyncState::Syncing(base) => (SYNCING, base),
        };
        for number in [
            u32::from(head.volume.is_some()),
            u32::from(head.unflushed.is_some()),
            u32::from(self.fill.value),
            state,
        ] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for number in [
            head.size_bytes,
            head.data_offset,
            head.promised,
            head.incarnation,
            generation,
            self.fill.number,
        ] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        let boot = head.unflushed.unwrap_or_default();
        bytes.extend_from_slice(&boot.to_le_bytes());
        bytes.extend_from_slice(&(head.hot.len() as u32).to_le_bytes());
        for extent in &head.hot {
            bytes.extend_from_slice(&extent.to_le_bytes());
        }
        let length = (bytes.len() + CHECKSUM_BYTES) as u32;
        bytes[12..FRAME_BYTES].copy_from_slice(&length.to_le_bytes());
        seal(&mut bytes);
        // Appends names and identities after the record, where releases without support for them do
        // not read.
        let name = self.name.as_deref().map(|name| self.name_record(name));
        bytes.extend(name.unwrap_or_default());
        let identity = head.identity.as_ref();
        bytes.extend(identity.map_or(Vec::new(), |one| self.identity_record(one)));
        bytes.extend(
            head.overwrite
                .map_or(Vec::new(), |mark| self.overwrite_record(mark)),
        );
        bytes.resize(bytes.len().next_multiple_of(SECTOR_BYTES), 0);
        bytes
    }

    fn name_record(&self, name: &str) -> Vec<u8> {
        let mut bytes = NAME_MAGIC.to_vec();
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&(name.len() as u32).to_le_bytes());
        bytes.extend_from_slice(name.as_bytes());
        seal(&mut bytes);
        bytes
    }

    fn identity_record(&self, identity: &CopyIdentity) -> Vec<u8> {
        let mut bytes = IDENTITY_MAGIC.to_vec();
        for number in [self.number, identity.copy, identity.tracked] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&(identity.node.len() as u32).to_le_bytes());
        bytes.extend_from_slice(identity.node.as_bytes());
        seal(&mut bytes);
        bytes
    }

    fn overwrite_record(&self, mark: OverwriteMark) -> Vec<u8> {
        let mut bytes = OVERWRITE_MAGIC.to_vec();
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&mark.number().to_le_bytes());
        seal(&mut bytes);
        bytes
    }

    /// Decodes the volume's name at the start of `bytes`, which follow the record of the store with
    /// this number. Also returns the bytes after the name.
    fn name_of(bytes: &[u8], number: u64) -> Option<(String, &[u8])> {
        let mut reader = Reader(bytes);
        if reader.array()? != NAME_MAGIC || reader.u64()? != number {
            return None;
        }
        sealed_name(bytes, reader)
    }

    /// Decodes the copy's identity at the start of `bytes`, like `name_of`.
    fn identity_of(bytes: &[u8], number: u64) -> Option<(CopyIdentity, &[u8])> {
        let mut reader = Reader(bytes);
        if reader.array()? != IDENTITY_MAGIC || reader.u64()? != number {
            return None;
        }
        let (copy, tracked) = (reader.u64()?, reader.u64()?);
        let (node, behind) = sealed_name(bytes, reader)?;
        let identity = CopyIdentity {
            node,
            copy,
            tracked,
        };
        Some((identity, behind))
    }

    fn overwrite_of(bytes: &[u8], number: u64) -> Option<OverwriteMark> {
        let content = bytes.get(..OVERWRITE_BYTES).and_then(unseal)?;
        let mut reader = Reader(content);
        if reader.array()? != OVERWRITE_MAGIC || reader.u64()? != number {
            return None;
        }
        OverwriteMark::from_number(reader.u64()?)
    }

    pub(super) fn decode(bytes: &[u8]) -> SlotContent {
        let mut frame = Reader(bytes);
        if frame.array() != Some(MAGIC) {
            return SlotContent::Nothing;
        }
        let (Some(format), Some(length)) = (frame.u32(), frame.u32()) else {
            return SlotContent::Damaged;
        };
        let content = bytes.get(..length as usize).and_then(unseal);
        let Some(content) = content.and_then(|content| content.get(FRAME_BYTES..)) else {
            return SlotContent::Damaged;
        };
        match format {
            FORMAT => match SuperblockSlot::content(content) {
                None => SlotContent::Damaged,
                Some(mut slot) => {
                    let mut behind = bytes.get(length as usize..).unwrap_or_default();
                    if let Some((name, rest)) = SuperblockSlot::name_of(behind, slot.number) {
                        (slot.name, behind) = (Some(name), rest);
                    }
                    if let Some((identity, rest)) = SuperblockSlot::identity_of(behind, slot.number)
                    {
                        (slot.head.identity, behind) = (Some(identity), rest);
                    }
                    slot.head.overwrite = SuperblockSlot::overwrite_of(behind, slot.number);
                    SlotContent::Valid(Box::new(slot))
                }
            },
            0 => SlotContent::Damaged,
            _ => SlotContent::Newer(format),
        }
    }

    fn content(content: &[u8]) -> Option<SuperblockSlot> {
        let mut reader = Reader(content);
        let number = reader.u64()?;
        let volume = VolumeId(reader.array()?);
        let has_volume = flag(reader.u32()?)?;
        let has_unflushed = flag(reader.u32()?)?;
        let value = flag(reader.u32()?)?;
        let state = reader.u32()?;
        let (size_bytes, data_offset) = (reader.u64()?, reader.u64()?);
        let (promised, incarnation) = (reader.u64()?, reader.u64()?);
        let state = match (state, reader.u64()?) {
            (JOINED, generation) => SyncState::Joined(generation),
            (SYNCING, base) => SyncState::Syncing(base),
            _ => return None,
        };
        let fill = Fill {
            number: reader.u64()?,
            value,
        };
        let boot = reader.u128()?;
        let count = reader.u32()? as usize;
        if count > LOG_EXTENTS_MAX || reader.0.len() != count * 4 {
            return None;
        }
        let hot: Option<Vec<u32>> = (0..count).map(|_| reader.u32()).collect();
        super::metadata_bytes(size_bytes).ok()?;
        let hot = hot?;
        if hot
            .iter()
            .any(|extent| *extent >= super::extents(size_bytes))
        {
            return None;
        }
        Some(SuperblockSlot {
            number,
            head: Superblock {
                volume: has_volume.then_some(volume),
                size_bytes,
                data_offset,
                promised,
                incarnation,
                state,
                unflushed: has_unflushed.then_some(boot),
                hot,
                identity: None,
                overwrite: None,
            },
            fill,
            name: None,
        })
    }
}

/// Decodes a name, and verifies the checksum of the record that the name ends. `reader` is at the
/// length of the name. Also returns the bytes after the record.
fn sealed_name<'b>(record: &'b [u8], mut reader: Reader<'b>) -> Option<(String, &'b [u8])> {
    let length = reader.u32()? as usize;
    if length > NAME_BYTES_MAX {
        return None;
    }
    let name = reader.0.get(..length)?;
    let whole = record.len() - reader.0.len() + length + CHECKSUM_BYTES;
    let (sealed, behind) = record.split_at_checked(whole)?;
    unseal(sealed)?;
    Some((String::from_utf8(name.to_vec()).ok()?, behind))
}

fn flag(number: u32) -> Option<bool> {
    match number {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}
