//! Encodes and decodes records on disk, so that responses to clients stay valid after a crash. The
//! caller writes the bytes, and syncs them before a client or a node receives the records in them.
//!
//! A journal is a sequence of frames: four bytes of magic, the length of the payload (u32, little
//! endian), XXH3-64 of the payload with the length as seed, and the payload (MessagePack). The
//! first frame identifies the file. The last frame of a write counts the writes (generation): an
//! older copy of the file has a smaller number than the cluster has recorded.
//!
//! A write that may be lost repeats the number. A write that is incomplete or damaged was never
//! confirmed, and is dropped. The end of a later write behind damage proves that records were lost:
//! the journal then gets another number, as if the file were lost, and no node relies on it.
//!
//! There are no absolute times. The retention of each record begins again at a start, so nothing
//! expires too early, whatever the clocks do.

use crate::defect::Defect;
use crate::directory::Directory;
use crate::record::Record;
use crate::record::{Key, Value};
use crate::table::Entry;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use twox_hash::XxHash3_64;

const MAGIC: [u8; 4] = *b"EKRJ";
const HEAD_BYTES: usize = 16;
const FORMAT: u32 = 1;
const FRAME_BYTES_MAX: usize = 64 << 10;
/// Limit of a journal, bytes. The rest of a longer file is ignored, and counts as damaged.
pub const JOURNAL_BYTES_MAX: usize = 256 << 20;
/// Number of superfluous frames after which the file is rewritten.
const STALE_MAX: usize = 65_536;

/// Entry of a journal. `N`: facts of the application about all records of the file.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum JournalEntry<K, V, N = ()> {
    Put(Record<K, V>),
    Gone(K),
    /// Replaces the previous note.
    Note(N),
}

#[derive(Serialize, Deserialize)]
enum Frame<K, V, N> {
    Head {
        format: u32,
        store: u64,
    },
    Entry(JournalEntry<K, V, N>),
    /// End of a write that has to be synced.
    Generation(u64),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum JournalDamage {
    #[default]
    None,
    /// The last write was incomplete. No client and no node had received its records.
    TornTail,
    /// Confirmed records may be missing.
    Lost,
}

#[derive(Debug)]
pub struct JournalContents<K, V, N = ()> {
    pub records: BTreeMap<K, Record<K, V>>,
    pub note: Option<N>,
    pub damage: JournalDamage,
    /// True if another program has written frames, such as a newer one: their checksums are
    /// correct, and this program cannot read them.
    pub has_unknown_frames: bool,
}

/// Bytes to write. After the sync, [`Journal::generation`] is on disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JournalWrite {
    Append(Vec<u8>),
    /// Contents of a new file that replaces the old one by a rename.
    Replace(Vec<u8>),
}

/// The state of a journal: identity of its file, generation, and number of frames. The caller
/// writes the bytes that the methods return.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Journal {
    store: u64,
    generation: u64,
    frames: usize,
    has_file: bool,
}

impl Journal {
    /// Creates a journal without a file. `store`: random number that identifies it.
    pub fn new(store: u64) -> Journal {
        Journal {
            store,
            generation: 0,
            frames: 0,
            has_file: false,
        }
    }

    /// Returns whether the magic of a frame occurs in these bytes: a file of another format has
    /// none.
    pub fn is_in(bytes: &[u8]) -> bool {
        bytes.windows(MAGIC.len()).any(|window| window == MAGIC)
    }

    /// Reads a journal. `new_store`: random number that identifies the journal if there is none, or
    /// if records were lost.
    pub fn read<K, V, N>(bytes: &[u8], new_store: u64) -> (Journal, JournalContents<K, V, N>)
    where
        K: Copy + Ord + DeserializeOwned,
        V: DeserializeOwned,
        N: DeserializeOwned,
    {
        Journal::read_with(bytes, new_store, None)
    }

    pub(crate) fn read_with<K, V, N>(
        bytes: &[u8],
        new_store: u64,
        defect: Option<Defect>,
    ) -> (Journal, JournalContents<K, V, N>)
    where
        K: Copy + Ord + DeserializeOwned,
        V: DeserializeOwned,
        N: DeserializeOwned,
    {
        let mut journal = Journal::new(new_store);
        let whole = &bytes[..bytes.len().min(JOURNAL_BYTES_MAX)];
        let checks = defect != Some(Defect::ChecksumIgnored);
        let ReadFrames {
            mut frames,
            damaged_at,
            mut has_unknown,
        } = read_frames(whole, checks);
        let is_end = |frame: &Frame<K, V, N>| matches!(frame, Frame::Generation(_));
        let is_confirmed = |at: usize| frames[at..].iter().any(is_end);
        let mut damage = match damaged_at {
            None => JournalDamage::None,
            Some(at) if is_confirmed(at) => JournalDamage::Lost,
            Some(at) => {
                frames.truncate(at);
                JournalDamage::TornTail
            }
        };
        // Drops frames after the last generation, which belong to a write that did not end.
        let confirmed = frames.iter().rposition(is_end).map_or(1, |at| at + 1);
        if frames.len() > confirmed {
            frames.truncate(confirmed);
            if damage == JournalDamage::None {
                damage = JournalDamage::TornTail;
            }
        }
        journal.frames = frames.len();
        let (mut records, mut note) = (BTreeMap::new(), None);
        for frame in frames {
            match frame {
                Frame::Head { format, store } if format == FORMAT && !journal.has_file => {
                    (journal.store, journal.has_file) = (store, true);
                }
                // Counts the file as lost, because another program, such as a newer one, has
                // written it.
                Frame::Head { .. } => (damage, has_unknown) = (JournalDamage::Lost, true),
                Frame::Entry(JournalEntry::Put(record)) => {
                    records.insert(record.key, record);
                }
                Frame::Entry(JournalEntry::Gone(key)) => {
                    records.remove(&key);
                }
                Frame::Entry(JournalEntry::Note(new)) => note = Some(new),
                Frame::Generation(generation) => journal.generation = generation,
            }
        }
        let is_cut = whole.len() < bytes.len();
        if is_cut || !journal.has_file && !bytes.is_empty() {
            damage = JournalDamage::Lost;
        }
        if damage == JournalDamage::Lost {
            journal.store = new_store;
        }
        // Replaces a file with damage at the next write.
        journal.has_file &= damage == JournalDamage::None;
        let contents = JournalContents {
            records,
            note,
            damage,
            has_unknown_frames: has_unknown,
        };
        (journal, contents)
    }

    /// Returns the number that identifies the file. One that was lost and created again has another
    /// number.
    pub fn store(&self) -> u64 {
        self.store
    }

    /// Returns the number of the last synced write, counted over all starts.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Continues without the file: the journal gets another number, and its next generation is after
    /// a recorded one. An older copy of the file is dropped so, and a file of another format is
    /// replaced.
    pub fn forget(&mut self, new_store: u64, newest: u64) {
        self.store = new_store;
        self.raise_generation(newest);
        self.has_file = false;
    }

    /// Raises the generation to that of another file which counts the same writes.
    pub fn raise_generation(&mut self, generation: u64) {
        self.generation = self.generation.max(generation);
    }

    /// Returns whether a write of some entries has to replace the file: there is none, or the file
    /// would have too many superfluous frames. `records`: number of records after the write.
    pub fn needs_replacement(&self, entries: usize, records: usize) -> bool {
        !self.has_file || self.frames + entries + 1 > records + STALE_MAX
    }

    /// Returns the bytes of entries that are appended to the file as the next generation.
    pub fn append<K: Serialize, V: Serialize, N: Serialize>(
        &mut self,
        entries: impl IntoIterator<Item = JournalEntry<K, V, N>>,
    ) -> Vec<u8> {
        self.generation = self.generation.saturating_add(1);
        self.append_unsynced(entries)
    }

    /// Returns the bytes of entries that may be lost: of records that have ended. They need no sync,
    /// and end with the generation of the write before.
    pub fn append_unsynced<K: Serialize, V: Serialize, N: Serialize>(
        &mut self,
        entries: impl IntoIterator<Item = JournalEntry<K, V, N>>,
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        for entry in entries {
            self.frames += 1;
            put(&mut bytes, &Frame::Entry(entry));
        }
        self.frames += 1;
        put(&mut bytes, &Frame::<K, V, N>::Generation(self.generation));
        bytes
    }

    /// Returns the contents of a new file as the next generation. `entries`: everything.
    pub fn replace<K: Serialize, V: Serialize, N: Serialize>(
        &mut self,
        entries: impl IntoIterator<Item = JournalEntry<K, V, N>>,
    ) -> Vec<u8> {
        self.generation = self.generation.saturating_add(1);
        self.rewrite(entries)
    }

    /// Returns the contents of a new file that has everything of the old one, with the same
    /// generation, and no superfluous frames.
    pub fn rewrite<K: Serialize, V: Serialize, N: Serialize>(
        &mut self,
        entries: impl IntoIterator<Item = JournalEntry<K, V, N>>,
    ) -> Vec<u8> {
        (self.frames, self.has_file) = (1, true);
        let head = Frame::<K, V, N>::Head {
            format: FORMAT,
            store: self.store,
        };
        let mut bytes = Vec::new();
        put(&mut bytes, &head);
        bytes.extend(self.append_unsynced(entries));
        bytes
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
        let entry = |key: D::Key| -> JournalEntry<D::Key, D::Value> {
            let record = directory.record(key, now_ms);
            record.map_or(JournalEntry::Gone(key), JournalEntry::Put)
        };
        if self.needs_replacement(changed.len(), table.len()) {
            JournalWrite::Replace(self.replace(table.iter().map(|(key, _)| entry(key))))
        } else {
            JournalWrite::Append(self.append(changed.iter().map(|key| entry(*key))))
        }
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

struct ReadFrames<K, V, N> {
    frames: Vec<Frame<K, V, N>>,
    /// Number of frames before the first damage.
    damaged_at: Option<usize>,
    /// True if a frame with a correct checksum cannot be decoded.
    has_unknown: bool,
}

/// Reads all valid frames.
fn read_frames<K, V, N>(bytes: &[u8], checks: bool) -> ReadFrames<K, V, N>
where
    K: DeserializeOwned,
    V: DeserializeOwned,
    N: DeserializeOwned,
{
    let (mut frames, mut damaged_at, mut has_unknown) = (Vec::new(), None, false);
    let mut rest = bytes;
    while !rest.is_empty() {
        let frame = split_frame(rest, checks);
        match frame.and_then(|(payload, _)| rmp_serde::from_slice(payload).ok()) {
            Some(read) => {
                frames.push(read);
                rest = frame.map_or(&[], |(_, behind)| behind);
            }
            None => {
                damaged_at.get_or_insert(frames.len());
                has_unknown |= split_frame(rest, true).is_some();
                // Tries each position, because lengths behind a damaged frame cannot be trusted.
                let next = (1..rest.len()).find(|at| split_frame(&rest[*at..], true).is_some());
                rest = next.map_or(&[], |at| &rest[at..]);
            }
        }
    }
    ReadFrames {
        frames,
        damaged_at,
        has_unknown,
    }
}

fn checksum(length: [u8; 4], payload: &[u8]) -> u64 {
    XxHash3_64::oneshot_with_seed(u32::from_le_bytes(length).into(), payload)
}

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

fn put<K: Serialize, V: Serialize, N: Serialize>(bytes: &mut Vec<u8>, frame: &Frame<K, V, N>) {
    // Ignores errors: memory takes everything, and the types of records serialise.
    let payload = rmp_serde::to_vec_named(frame).unwrap_or_default();
    put_payload(bytes, &payload);
}

fn put_payload(bytes: &mut Vec<u8>, payload: &[u8]) {
    let length = u32::try_from(payload.len())
        .unwrap_or(u32::MAX)
        .to_le_bytes();
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(&checksum(length, payload).to_le_bytes());
    bytes.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::pool::{Lodging, Pool, Seat};
    use crate::version::Origin;
    use lab::Random;

    const STORE: u64 = 7;
    const OTHER_STORE: u64 = 8;

    fn read(bytes: &[u8]) -> (Journal, JournalContents<Lodging, Seat>) {
        Journal::read(bytes, OTHER_STORE)
    }

    fn gone(tenant: u8) -> JournalEntry<Lodging, Seat> {
        JournalEntry::Gone(Lodging(tenant, 0))
    }

    /// A file of three writes, with the length after each; each adds a tenant.
    fn written() -> (Pool, Journal, Vec<u8>, Vec<usize>) {
        let (mut journal, _) = Journal::read::<Lodging, Seat, ()>(&[], STORE);
        let mut pool = Pool::new(Origin(1));
        let (mut file, mut ends) = (Vec::new(), Vec::new());
        for tenant in 0..3 {
            pool.decide_alone(&Lodging(tenant, 0), 1).unwrap();
            let changed = pool.table_mut().take_changed();
            match journal.write(&pool, &changed, 1) {
                JournalWrite::Append(bytes) => file.extend(bytes),
                JournalWrite::Replace(bytes) => file = bytes,
            }
            ends.push(file.len());
        }
        (pool, journal, file, ends)
    }

    #[test]
    fn write_that_is_cut_anywhere_is_dropped() {
        let (_, journal, file, ends) = written();
        let (read_again, contents) = read(&file);
        assert_eq!((read_again, contents.records.len()), (journal, 3));
        for end in ends[0]..file.len() {
            let (journal, contents) = read(&file[..end]);
            let writes = ends.iter().filter(|one| **one <= end).count();
            let is_torn = !ends.contains(&end);
            assert_eq!(contents.damage == JournalDamage::TornTail, is_torn, "{end}");
            assert_eq!(journal.store(), STORE);
            assert_eq!(journal.generation(), writes as u64);
            assert_eq!(contents.records.len(), writes);
        }
    }

    #[test]
    fn damage_before_a_later_write_is_a_loss() {
        let (pool, _, file, ends) = written();
        for at in 0..ends[1] {
            let mut damaged = file.clone();
            damaged[at] ^= 1;
            let (mut journal, contents) = read(&damaged);
            assert_eq!(contents.damage, JournalDamage::Lost, "{at}");
            assert_eq!(journal.store(), OTHER_STORE);
            // After damage, the next write replaces the file instead of appending to it.
            let write = journal.write(&pool, &BTreeSet::new(), 1);
            assert!(matches!(write, JournalWrite::Replace(_)));
        }
    }

    #[test]
    fn frames_of_another_program_are_no_damage() {
        let (_, _, file, _) = written();
        let mut newer = Vec::new();
        put_payload(&mut newer, b"\x81\xa5Newer\x01");
        let lost = |bytes: &[u8]| {
            let (_, contents) = read(bytes);
            (
                contents.damage == JournalDamage::Lost,
                contents.has_unknown_frames,
            )
        };
        assert_eq!(lost(&file), (false, false));
        assert_eq!(lost(&[&newer[..], &file].concat()), (true, true));
        // A head of another format.
        let head = Frame::Head::<Lodging, Seat, ()> {
            format: FORMAT + 1,
            store: STORE,
        };
        let mut newer = Vec::new();
        put(&mut newer, &head);
        assert_eq!(lost(&[&newer[..], &file].concat()), (true, true));
        let mut damaged = file.clone();
        damaged[HEAD_BYTES] ^= 1;
        assert_eq!(lost(&damaged), (true, false));
    }

    #[test]
    fn older_copy_gets_another_number_and_a_later_generation() {
        let (pool, _, file, ends) = written();
        let (mut journal, _) = read(&file[..ends[0]]);
        assert_eq!(journal.generation(), 1);
        journal.forget(OTHER_STORE, 3);
        let JournalWrite::Replace(bytes) = journal.write(&pool, &BTreeSet::new(), 1) else {
            panic!("the old copy is still used");
        };
        let (journal, _) = read(&bytes);
        assert_eq!((journal.store(), journal.generation()), (OTHER_STORE, 4));
    }

    #[test]
    fn entries_that_may_be_lost_are_no_write() {
        let (_, mut journal, file, _) = written();
        let ended = journal.append_unsynced([gone(1)]);
        assert_eq!(journal.generation(), 3);
        let whole = [&file[..], &ended].concat();
        for end in file.len()..whole.len() {
            let (journal, contents) = read(&whole[..end]);
            assert_ne!(contents.damage, JournalDamage::Lost, "{end}");
            let found = (
                contents.records.len(),
                journal.generation(),
                journal.store(),
            );
            assert_eq!(found, (3, 3, STORE), "{end}");
        }
        let (mut journal, contents) = read(&whole);
        assert_eq!(
            (contents.records.len(), contents.damage),
            (2, JournalDamage::None)
        );
        // Damage of an entry that was written without a sync is a loss if a synced write follows
        // it.
        let mut later = [&whole[..], &journal.append([gone(2)])].concat();
        assert_eq!(read(&later).1.records.len(), 1);
        later[file.len() + HEAD_BYTES] ^= 1;
        assert_eq!(read(&later).1.damage, JournalDamage::Lost);
    }

    #[test]
    fn newest_note_is_read_and_a_rewrite_keeps_the_generation() {
        type Entry = JournalEntry<Lodging, Seat, String>;
        let note = |text: &str| Entry::Note(text.to_owned());
        let (mut journal, contents) = Journal::read::<Lodging, Seat, String>(&[], STORE);
        assert_eq!(contents.note, None);
        let mut file = journal.replace([note("one"), note("two")]);
        file.extend(journal.append([note("three")]));
        let read = |file: &[u8]| {
            let (journal, contents) = Journal::read::<Lodging, Seat, String>(file, OTHER_STORE);
            (journal.generation(), journal.store(), contents.note)
        };
        assert_eq!(read(&file), (2, STORE, Some("three".to_owned())));
        let file = journal.rewrite([note("three")]);
        assert_eq!(read(&file), (2, STORE, Some("three".to_owned())));
        journal.raise_generation(9);
        assert!(!journal.needs_replacement(1, 0) && journal.needs_replacement(STALE_MAX, 0));
        let file = journal.replace([note("four")]);
        assert_eq!(read(&file), (10, STORE, Some("four".to_owned())));
    }

    #[test]
    fn any_bytes_are_read() {
        let (_, _, file, _) = written();
        for seed in 0..500 {
            let mut random = Random::new(seed);
            let mut bytes = file.clone();
            for _ in 0..random.between(1, 20) {
                let at = random.index(bytes.len());
                bytes[at] = random.next() as u8;
            }
            let (_, contents) = read(&bytes);
            assert!(contents.records.len() <= 3);
        }
    }
}
