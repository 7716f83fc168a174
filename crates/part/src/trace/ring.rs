//! Stores the events of a role in a ring of shared memory. The supervisor creates the memory, so
//! the events survive the process, also one that was killed in the middle of a write.

use super::record::{RECORD_BYTES_MAX, TraceRecord};
use crate::fnv::fnv1a;
use crate::mapped;
use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, fstat, ftruncate,
    memfd_create,
};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering, fence};

pub const RING_BYTES: usize = 256 * 1024;
const WORDS: usize = RING_BYTES / size_of::<u64>();
const SLOT_WORDS: usize = 16;
const SLOT_BYTES: usize = SLOT_WORDS * size_of::<u64>();
/// Number of slots; the header takes the place of the first one.
const SLOTS: usize = WORDS / SLOT_WORDS - 1;
/// Bytes of a record before its contents: number, length and checksum.
const HEAD_BYTES: usize = 2 * size_of::<u64>();

/// Word of the header with the number of the next record.
const NEXT: usize = 1;
/// Word of the header with the number of events that the journal did not accept.
const LOST: usize = 2;
const MAGIC: u64 = u64::from_le_bytes(*b"evktrce1");
const MARK: u64 = 0xe7a1;

/// Creates the memory of a ring, which cannot shrink, so that other processes can map it.
///
/// # Errors
/// The system has no memory or no descriptors left.
pub fn create() -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = memfd_create("evenkeel trace", flags)?;
    ftruncate(&file, RING_BYTES as u64)?;
    rustix::io::pwrite(&file, &MAGIC.to_le_bytes(), 0)?;
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    fcntl_add_seals(&file, seals)?;
    Ok(file)
}

/// Makes a file a ring, unless it is one.
///
/// # Errors
/// The file cannot be written, or its file system is full.
pub fn prepare(file: &OwnedFd) -> io::Result<()> {
    if RingContents::read(file).is_ok() {
        return Ok(());
    }
    // Allocates the blocks of the file: without them a write to the mapped file would kill the
    // process if the file system is full.
    ftruncate(file, 0)?;
    fallocate(file, FallocateFlags::empty(), 0, RING_BYTES as u64)?;
    rustix::io::pwrite(file, &MAGIC.to_le_bytes(), 0)?;
    Ok(())
}

#[derive(Clone, Copy)]
pub struct RingWriter {
    words: &'static [AtomicU64],
}

impl RingWriter {
    /// Maps a ring for as long as the process lives. None if the memory is not a ring.
    pub fn open(memory: &OwnedFd) -> Option<RingWriter> {
        let words = mapped::map(memory, WORDS)?;
        (words[0].load(Ordering::Relaxed) == MAGIC.to_le()).then_some(RingWriter { words })
    }

    /// Continues in the memory of another supervisor's ring, which gets the current contents.
    /// Returns false if that memory is not a ring.
    pub fn move_to(&self, memory: &OwnedFd) -> bool {
        let words = self.words.iter();
        let bytes: Vec<u8> = words
            .flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes())
            .collect();
        is_ring(memory)
            && rustix::io::pwrite(memory, &bytes, 0) == Ok(bytes.len())
            && mapped::replace(self.words, memory)
    }

    /// Continues in another memory with its contents. Returns false if that memory is not a ring.
    pub fn continue_in(&self, memory: &OwnedFd) -> bool {
        is_ring(memory) && mapped::replace(self.words, memory)
    }

    pub fn count_lost(&self) {
        self.words[LOST].fetch_add(1, Ordering::Relaxed);
    }

    /// Appends a record. Bytes beyond [`RECORD_BYTES_MAX`] are dropped.
    pub fn write(&self, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(RECORD_BYTES_MAX)];
        let slots = (HEAD_BYTES + bytes.len()).div_ceil(SLOT_BYTES);
        let number = self.words[NEXT].fetch_add(slots as u64, Ordering::Relaxed);
        let word = |at: usize| &self.words[word_of(number, at)];
        word(0).store(0, Ordering::Relaxed);
        // Removes the old number before the contents change, so that a reader never takes new
        // contents for those of the old record.
        fence(Ordering::Release);
        for (at, chunk) in bytes.chunks(size_of::<u64>()).enumerate() {
            let mut eight = [0; size_of::<u64>()];
            eight[..chunk.len()].copy_from_slice(chunk);
            word(2 + at).store(u64::from_ne_bytes(eight), Ordering::Relaxed);
        }
        word(1).store(second_word(number, bytes), Ordering::Relaxed);
        word(0).store(number.wrapping_add(1), Ordering::Release);
    }
}

pub struct MappedRing {
    pub writer: RingWriter,
    inode: AtomicU64,
}

impl MappedRing {
    /// Maps a ring. None if the memory is not a ring.
    pub fn open(memory: &OwnedFd) -> Option<MappedRing> {
        let writer = RingWriter::open(memory)?;
        let inode = AtomicU64::new(inode_of(memory));
        Some(MappedRing { writer, inode })
    }

    /// Continues in another memory: with its contents (`has_events`), or with the contents so far.
    /// The same memory, or one that is not a ring, has no effect. Returns whether the ring is in
    /// the memory now.
    pub fn replace(&self, memory: &OwnedFd, has_events: bool) -> bool {
        let inode = inode_of(memory);
        if self.inode.load(Ordering::Relaxed) == inode {
            return true;
        }
        let is_replaced = if has_events {
            self.writer.continue_in(memory)
        } else {
            self.writer.move_to(memory)
        };
        if is_replaced {
            self.inode.store(inode, Ordering::Relaxed);
        }
        is_replaced
    }
}

fn is_ring(memory: &OwnedFd) -> bool {
    let mut magic = [0; 8];
    rustix::io::pread(memory, &mut magic, 0).is_ok() && magic == MAGIC.to_le_bytes()
}

fn inode_of(memory: &OwnedFd) -> u64 {
    fstat(memory).map_or(0, |data| data.st_ino)
}

fn word_of(number: u64, at: usize) -> usize {
    let slot = usize::try_from(number % SLOTS as u64).unwrap_or_default();
    SLOT_WORDS + (slot * SLOT_WORDS + at) % (SLOTS * SLOT_WORDS)
}

/// Combines the length and the checksum of a record (FNV-1a over its number and contents).
fn second_word(number: u64, bytes: &[u8]) -> u64 {
    let hash = fnv1a(
        number
            .to_le_bytes()
            .into_iter()
            .chain(bytes.iter().copied()),
    );
    let checksum = (hash ^ (hash >> 32)) & 0xffff_ffff;
    (MARK << 48) | ((bytes.len() as u64) << 32) | checksum
}

/// A record with its number in the ring.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NumberedRecord {
    pub number: u64,
    pub record: TraceRecord,
}

/// The contents of a ring at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RingContents {
    /// Records of the ring, the oldest first.
    pub records: Vec<NumberedRecord>,
    pub damaged: usize,
    /// Number of events that the journal did not accept.
    pub lost: u64,
}

impl RingContents {
    /// Reads a ring while its role may write to it.
    ///
    /// # Errors
    /// The memory cannot be read, or is not a ring.
    pub fn read(memory: impl AsFd) -> io::Result<RingContents> {
        let mut bytes = vec![0; RING_BYTES];
        let mut filled = 0;
        while filled < bytes.len() {
            match rustix::io::pread(&memory, &mut bytes[filled..], filled as u64)? {
                0 => break,
                count => filled += count,
            }
        }
        RingContents::of_bytes(&bytes)
            .filter(|_| filled == RING_BYTES)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a ring of events"))
    }

    /// Returns a number that changes with each event, to notice new ones without reading all.
    ///
    /// # Errors
    /// The memory cannot be read.
    pub fn position(memory: impl AsFd) -> io::Result<u64> {
        let mut word = [0; size_of::<u64>()];
        rustix::io::pread(&memory, &mut word, (NEXT * size_of::<u64>()) as u64)?;
        Ok(u64::from_ne_bytes(word))
    }

    /// Decodes the bytes of a ring. None if they are not a ring.
    pub fn of_bytes(bytes: &[u8]) -> Option<RingContents> {
        let (chunks, _) = bytes.as_chunks::<8>();
        let words: Vec<u64> = chunks.iter().map(|one| u64::from_ne_bytes(*one)).collect();
        if words.len() != WORDS || words[0] != MAGIC.to_le() {
            return None;
        }
        let mut contents = RingContents {
            lost: words[LOST],
            ..RingContents::default()
        };
        for slot in 0..SLOTS {
            let number = words[SLOT_WORDS + slot * SLOT_WORDS].wrapping_sub(1);
            let second = words[SLOT_WORDS + slot * SLOT_WORDS + 1];
            if second >> 48 != MARK || number % SLOTS as u64 != slot as u64 {
                continue;
            }
            match record(&words, number, second) {
                Some(record) => contents.records.push(NumberedRecord { number, record }),
                None => contents.damaged += 1,
            }
        }
        contents.records.sort_by_key(|one| one.number);
        Some(contents)
    }
}

/// Reads the record with this number. None if the record is not complete.
fn record(words: &[u64], number: u64, second: u64) -> Option<TraceRecord> {
    let length = usize::try_from((second >> 32) & 0xffff).ok()?;
    if length > RECORD_BYTES_MAX {
        return None;
    }
    let mut bytes = Vec::with_capacity(length + size_of::<u64>());
    for at in 0..length.div_ceil(size_of::<u64>()) {
        bytes.extend(words[word_of(number, 2 + at)].to_ne_bytes());
    }
    bytes.truncate(length);
    if second_word(number, &bytes) != second {
        return None;
    }
    TraceRecord::decode(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{Signal, kill};
    use nix::sys::wait::waitpid;
    use nix::unistd::{ForkResult, fork};

    fn event(number: usize, length: usize) -> TraceRecord {
        TraceRecord {
            time_us: number as i64,
            message: "m".repeat(length),
            ..TraceRecord::default()
        }
    }

    fn ring() -> (OwnedFd, RingWriter) {
        let memory = create().expect("memory");
        let writer = RingWriter::open(&memory).expect("a ring");
        (memory, writer)
    }

    fn times(memory: &OwnedFd) -> Vec<i64> {
        let contents = RingContents::read(memory).expect("a ring");
        let records = contents.records.iter();
        records.map(|one| one.record.time_us).collect()
    }

    #[test]
    fn events_are_read_in_their_order() {
        let (memory, writer) = ring();
        assert!(times(&memory).is_empty());
        for number in 0..20 {
            writer.write(&event(number, number * 50).encode());
        }
        assert_eq!(times(&memory), (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn ring_that_moves_is_mapped_once() {
        let (_, writer) = ring();
        writer.write(&event(1, 1).encode());
        let mappings_of = |memory: &OwnedFd| {
            let inode = format!(" {} ", inode_of(memory));
            let maps = std::fs::read_to_string("/proc/self/maps").expect("the mappings");
            maps.lines().filter(|line| line.contains(&inode)).count()
        };
        let [moved, continued] = [(); 2].map(|()| create().expect("memory"));
        assert!(writer.move_to(&moved));
        assert_eq!((mappings_of(&moved), times(&moved)), (1, vec![1]));
        assert!(writer.continue_in(&continued));
        assert_eq!(mappings_of(&moved), 0);
        assert_eq!((mappings_of(&continued), times(&continued)), (1, vec![]));
        let other = std::fs::File::open("/dev/null").expect("it exists").into();
        assert!(!writer.move_to(&other) && !writer.continue_in(&other));
        writer.write(&event(2, 1).encode());
        assert_eq!(times(&continued), [2]);
    }

    #[test]
    fn full_ring_keeps_the_newest_events() {
        let (memory, writer) = ring();
        for number in 0..10_000 {
            writer.write(&event(number, number % 900).encode());
        }
        let times = times(&memory);
        assert!(times.len() > 300, "{}", times.len());
        let first = 10_000 - times.len() as i64;
        assert_eq!(times, (first..10_000).collect::<Vec<_>>());
    }

    #[test]
    fn file_becomes_a_ring_once_and_keeps_its_events() {
        let scratch = lab::ScratchDirectory::new().expect("a directory");
        for before in [&b""[..], b"not a ring", &[7; RING_BYTES + 1]] {
            let path = scratch.path().join("ring");
            std::fs::write(&path, before).expect("written");
            let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&path, permissions).expect("its mode");
            let open = || {
                let file = std::fs::OpenOptions::new()
                    .read(true)
                    .write(true)
                    .open(&path);
                let file = OwnedFd::from(file.expect("open"));
                prepare(&file).expect("a ring");
                file
            };
            let (_, own) = ring();
            own.write(&event(1, 10).encode());
            let file = open();
            assert!(own.continue_in(&file));
            own.write(&event(2, 10).encode());
            assert_eq!(times(&open()), [2]);
        }
    }

    #[test]
    fn torn_record_is_skipped_and_its_neighbours_are_read() {
        let (memory, writer) = ring();
        for number in 0..3 {
            writer.write(&event(number, 400).encode());
        }
        // Simulates a writer that was killed after it had reserved three slots, and before it
        // stored the number of its record.
        writer.words[NEXT].fetch_add(3, Ordering::Relaxed);
        writer.write(&event(4, 10).encode());
        // Overwrites another record in its middle.
        let second = word_of(4, 10);
        writer.words[second].store(7, Ordering::Relaxed);
        let contents = RingContents::read(&memory).expect("a ring");
        let times: Vec<i64> = contents
            .records
            .iter()
            .map(|one| one.record.time_us)
            .collect();
        assert_eq!(times, [0, 2, 4]);
        assert_eq!(contents.damaged, 1);
    }

    #[test]
    fn hostile_bytes_are_read_without_harm() {
        let mut random = lab::Random::new(7);
        let mut bytes = vec![0_u8; RING_BYTES];
        for _ in 0..50 {
            for eight in bytes.as_chunks_mut::<8>().0 {
                *eight = random.next().to_ne_bytes();
            }
            bytes[..8].copy_from_slice(&MAGIC.to_ne_bytes());
            // Fills every slot with a valid record number and a random length and checksum.
            for slot in 0..SLOTS {
                let at = (SLOT_WORDS + slot * SLOT_WORDS) * 8;
                bytes[at..at + 8].copy_from_slice(&(slot as u64 + 1).to_ne_bytes());
                let second = (MARK << 48) | (random.next() & 0xffff_ffff_ffff);
                bytes[at + 8..at + 16].copy_from_slice(&second.to_ne_bytes());
            }
            let contents = RingContents::of_bytes(&bytes).expect("a ring");
            assert_eq!(contents.records.len() + contents.damaged, SLOTS);
        }
        assert_eq!(RingContents::of_bytes(&bytes[..RING_BYTES - 8]), None);
        assert_eq!(RingContents::of_bytes(&vec![0; RING_BYTES]), None);
    }

    #[test]
    fn hostile_next_number_does_not_stop_a_writer() {
        let (memory, writer) = ring();
        writer.words[NEXT].store(u64::MAX - 2, Ordering::Relaxed);
        for number in 0..100 {
            writer.write(&event(number, 500).encode());
        }
        assert!(times(&memory).len() >= 90);
    }

    #[test]
    fn events_of_a_killed_process_are_read() {
        let (memory, writer) = ring();
        // SAFETY: the child only writes to memory that was mapped before, until it is killed; the
        // parent waits for it.
        let child = match unsafe { fork() }.expect("a process") {
            ForkResult::Child => {
                let bytes = [7; 900];
                loop {
                    writer.write(&bytes);
                }
            }
            ForkResult::Parent { child } => child,
        };
        let written = || writer.words[NEXT].load(Ordering::Relaxed) > 100_000;
        let has_written = lab::eventually(std::time::Duration::from_secs(20), written);
        kill(child, Signal::SIGKILL).expect("a signal");
        waitpid(child, None).expect("its end");
        assert!(has_written);
        // The next writer continues in the ring of the killed one.
        for number in 0..10 {
            writer.write(&event(number, 100).encode());
        }
        let contents = RingContents::read(&memory).expect("a ring");
        let records = contents.records.iter().rev().take(10).rev();
        let times: Vec<i64> = records.map(|one| one.record.time_us).collect();
        assert_eq!(times, (0..10).collect::<Vec<_>>());
        // The records that the killed writer left incomplete count as damaged; a quarter of the
        // slots is the most it could fill.
        assert!(contents.damaged <= SLOTS / 4);
    }

    #[test]
    fn threads_write_to_one_ring_at_the_same_time() {
        let (memory, writer) = ring();
        std::thread::scope(|scope| {
            for thread in 0..4_usize {
                scope.spawn(move || {
                    for number in 0..50 {
                        writer.write(&event(thread * 1_000 + number, 200).encode());
                    }
                });
            }
        });
        let mut times = times(&memory);
        times.sort_unstable();
        let wanted: Vec<i64> = (0..4)
            .flat_map(|thread| (0..50).map(move |number| thread * 1_000 + number))
            .collect();
        assert_eq!(times, wanted);
    }

    #[test]
    fn another_memory_gets_the_events_so_far_and_the_next_ones() {
        let (first, writer) = ring();
        writer.write(&event(1, 10).encode());
        let second = create().expect("memory");
        assert!(writer.move_to(&second));
        writer.write(&event(2, 10).encode());
        assert_eq!((times(&first), times(&second)), (vec![1], vec![1, 2]));
        let other = std::fs::File::open("/dev/null").expect("a file").into();
        assert!(!writer.move_to(&other));
        let (third, old) = ring();
        old.write(&event(7, 10).encode());
        assert!(writer.continue_in(&third));
        writer.write(&event(8, 10).encode());
        assert_eq!(times(&third), [7, 8]);
    }
}
