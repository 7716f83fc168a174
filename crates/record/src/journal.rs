//! Format of records on disk, so that what a client was told survives a crash. The caller writes the
//! bytes, and syncs them before a client or a node hears of the records in them.
//!
//! A journal is a sequence of frames: four bytes of magic, the length of the payload (u32, little
//! endian), XXH3-64 of the payload with the length as seed, and the payload (MessagePack). The first frame identifies
//! the file. A frame that is incomplete or damaged at the end was never confirmed and is dropped.
//! A valid frame behind a damaged one proves that records were lost: the journal then gets another
//! number, as if the file had been lost, so that nobody counts on it. The generation counts the
//! writes: a copy of the file from before has a smaller one than the cluster has recorded.
//!
//! There are no absolute times. The retention of each record begins again at a start, so nothing
//! expires too early, whatever the clocks do.

use crate::defect::Defect;
use crate::directory::{Directory, RecordOf};
use crate::message::Record;
use crate::table::{Entry, Key, Value};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use twox_hash::XxHash3_64;

const MAGIC: [u8; 4] = *b"EKRJ";
const HEAD_BYTES: usize = 16;
/// Version of the format.
const FORMAT: u32 = 1;
/// Limit of a frame's payload, bytes.
const FRAME_BYTES_MAX: usize = 64 << 10;
/// Limit of a journal, bytes. The rest of a longer file is ignored, and counts as damaged.
pub(crate) const JOURNAL_BYTES_MAX: usize = 256 << 20;
/// Number of superfluous frames after which the file is rewritten.
const STALE_MAX: usize = 65_536;

#[derive(Serialize, Deserialize)]
enum Frame<K, V> {
    Head {
        format: u32,
        store: u64,
    },
    Put(Record<K, V>),
    Gone(K),
    /// End of a write that has to be synced.
    Generation(u64),
}

/// Damage of a journal when it was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum JournalDamage {
    #[default]
    None,
    /// The last write was incomplete. Nobody was told of it.
    TornTail,
    /// Confirmed records may be missing.
    Lost,
}

/// Contents of a journal.
#[derive(Debug)]
pub struct JournalContents<K, V> {
    pub records: BTreeMap<K, Record<K, V>>,
    pub damage: JournalDamage,
}

/// Bytes to write. After the sync, [`Journal::generation`] is on disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JournalWrite {
    Append(Vec<u8>),
    /// Contents of a new file that replaces the old one by a rename.
    Replace(Vec<u8>),
}

/// Position of a journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Journal {
    store: u64,
    generation: u64,
    frames: usize,
    has_file: bool,
}

impl Journal {
    /// Reads a journal. `new_store`: random number that identifies the journal if there is none, or
    /// if records were lost.
    pub fn read<K, V>(bytes: &[u8], new_store: u64) -> (Journal, JournalContents<K, V>)
    where
        K: Key + DeserializeOwned,
        V: Value + DeserializeOwned,
    {
        Journal::read_with(bytes, new_store, None)
    }

    pub(crate) fn read_with<K, V>(
        bytes: &[u8],
        new_store: u64,
        defect: Option<Defect>,
    ) -> (Journal, JournalContents<K, V>)
    where
        K: Key + DeserializeOwned,
        V: Value + DeserializeOwned,
    {
        let mut records = BTreeMap::new();
        let mut damage = JournalDamage::None;
        let mut journal = Journal {
            store: new_store,
            generation: 0,
            frames: 0,
            has_file: false,
        };
        let mut rest = &bytes[..bytes.len().min(JOURNAL_BYTES_MAX)];
        let is_whole = rest.len() == bytes.len();
        let checks = defect != Some(Defect::ChecksumIgnored);
        while !rest.is_empty() {
            let frame = split_frame(rest, checks).and_then(|(payload, behind)| {
                let frame: Frame<K, V> = rmp_serde::from_slice(payload).ok()?;
                Some((frame, behind))
            });
            let Some((frame, behind)) = frame else {
                // Lengths behind a damaged frame cannot be trusted, so each position is tried.
                let next = (1..rest.len()).find(|at| split_frame(&rest[*at..], true).is_some());
                damage = match next {
                    Some(_) => JournalDamage::Lost,
                    None if damage == JournalDamage::None => JournalDamage::TornTail,
                    None => damage,
                };
                rest = next.map_or(&[], |at| &rest[at..]);
                continue;
            };
            rest = behind;
            journal.frames += 1;
            match frame {
                Frame::Head { format, store } if format == FORMAT && !journal.has_file => {
                    (journal.store, journal.has_file) = (store, true);
                }
                // A newer program has written the file.
                Frame::Head { .. } => damage = JournalDamage::Lost,
                Frame::Put(record) => drop(records.insert(record.key, record)),
                Frame::Gone(key) => drop(records.remove(&key)),
                Frame::Generation(generation) => journal.generation = generation,
            }
        }
        if !is_whole || !journal.has_file && !bytes.is_empty() {
            damage = JournalDamage::Lost;
        }
        if damage == JournalDamage::Lost {
            journal.store = new_store;
        }
        // The next write replaces a file with damage.
        journal.has_file &= damage == JournalDamage::None;
        (journal, JournalContents { records, damage })
    }

    /// Returns the number that identifies the file. One that was lost and created again has another
    /// number.
    pub fn store(&self) -> u64 {
        self.store
    }

    /// Returns the number of writes, over all starts.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Drops a copy of the file from before: the journal gets another number, and a generation after
    /// the recorded one.
    pub fn forget(&mut self, new_store: u64, newest: u64) {
        self.store = new_store;
        self.generation = self.generation.max(newest);
        self.has_file = false;
    }

    /// Returns the bytes for changed keys: [`crate::Table::take_changed`].
    pub fn write<D>(
        &mut self,
        directory: &D,
        changed: &BTreeSet<D::Key>,
        now_ms: u64,
    ) -> JournalWrite
    where
        D: Directory,
        D::Key: Serialize,
        D::Value: Serialize,
    {
        let table = directory.table();
        self.generation = self.generation.saturating_add(1);
        let frames = self.frames + changed.len() + 1;
        let mut bytes = Vec::new();
        if self.has_file && frames <= table.len() + STALE_MAX {
            self.frames = frames;
            for key in changed {
                match directory.record(*key, now_ms) {
                    Some(record) => put::<D>(&mut bytes, &Frame::Put(record)),
                    None => put::<D>(&mut bytes, &Frame::Gone(*key)),
                }
            }
            put::<D>(&mut bytes, &Frame::Generation(self.generation));
            return JournalWrite::Append(bytes);
        }
        let head = Frame::Head {
            format: FORMAT,
            store: self.store,
        };
        put::<D>(&mut bytes, &head);
        for (key, _) in table.iter() {
            let record = directory.record(key, now_ms);
            record
                .into_iter()
                .for_each(|record| put::<D>(&mut bytes, &Frame::Put(record)));
        }
        put::<D>(&mut bytes, &Frame::Generation(self.generation));
        (self.frames, self.has_file) = (table.len() + 2, true);
        JournalWrite::Replace(bytes)
    }
}

impl<K: Key, V: Value> Record<K, V> {
    /// Returns the entry for [`Directory::restore`]. Its retention begins now.
    pub fn into_entry(self, now_ms: u64) -> Entry<V> {
        Entry {
            value: self.value,
            version: self.version,
            since_ms: now_ms.saturating_sub(self.age_ms),
            until_ms: Some(now_ms.saturating_add(self.left_ms)),
            far: Vec::new(),
            holds: 0,
            is_proved: self.is_proved,
        }
    }
}

fn checksum(length: [u8; 4], payload: &[u8]) -> u64 {
    XxHash3_64::oneshot_with_seed(u32::from_le_bytes(length).into(), payload)
}

/// Returns the payload of the first frame, and the bytes behind the frame.
fn split_frame(bytes: &[u8], checks: bool) -> Option<(&[u8], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
    let (magic, head) = head.split_first_chunk::<4>()?;
    let (length, head) = head.split_first_chunk::<4>()?;
    let sum = u64::from_le_bytes(*head.first_chunk::<8>()?);
    let bytes = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    if *magic != MAGIC || bytes > FRAME_BYTES_MAX || bytes > rest.len() {
        return None;
    }
    let (payload, behind) = rest.split_at(bytes);
    (!checks || checksum(*length, payload) == sum).then_some((payload, behind))
}

fn put<D: Directory>(bytes: &mut Vec<u8>, frame: &Frame<D::Key, D::Value>)
where
    D::Key: Serialize,
    D::Value: Serialize,
    RecordOf<D>: Serialize,
{
    // Memory takes everything, and the types of records serialise.
    let payload = rmp_serde::to_vec_named(frame).unwrap_or_default();
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes();
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(&checksum(length, &payload).to_le_bytes());
    bytes.extend_from_slice(&payload);
}
