//! Splits a disk into chunks, the units of comparison and transfer, and computes their checksums
//! and compressed form.

use crate::transfer::{DiskPiece, TransferError, TransferSource, is_zero};
use aws_lc_rs::digest::{Context, SHA256, digest};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use std::sync::LazyLock;

/// Length of a chunk, bytes. The last chunk of a disk may be shorter.
pub const CHUNK_BYTES: usize = 64 << 10;
/// Maximum number of chunks in an offer: one for each bit of the response.
pub const OFFER_CHUNKS_MAX: usize = 64;
const BATCH_BYTES: usize = OFFER_CHUNKS_MAX * CHUNK_BYTES;
/// Minimum length of zeroes that are not read, bytes.
const ZEROES_BYTES_MIN: u64 = 1 << 20;

/// SHA-256 of a chunk, or of a whole disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sum(pub [u8; 32]);

static ZEROES: LazyLock<Sum> = LazyLock::new(|| hash(&[0; CHUNK_BYTES]));

fn hash(bytes: &[u8]) -> Sum {
    let mut sum = [0; 32];
    sum.copy_from_slice(digest(&SHA256, bytes).as_ref());
    Sum(sum)
}

impl Sum {
    pub fn of(chunk: &[u8]) -> Sum {
        if chunk.len() == CHUNK_BYTES && is_zero(chunk) {
            *ZEROES
        } else {
            hash(chunk)
        }
    }

    pub fn of_zeroes(length: usize) -> Sum {
        match length {
            CHUNK_BYTES => *ZEROES,
            length => hash(&vec![0; length.min(CHUNK_BYTES)]),
        }
    }
}

pub fn count(size: u64) -> u64 {
    size.div_ceil(CHUNK_BYTES as u64)
}

/// Returns the length of a chunk in a disk of this size, bytes; zero after the end of the disk.
pub fn length(chunk: u64, size: u64) -> usize {
    let begin = chunk.saturating_mul(CHUNK_BYTES as u64);
    size.saturating_sub(begin).min(CHUNK_BYTES as u64) as usize
}

/// Checksum of a whole disk, computed from its chunks' checksums in order.
#[derive(Clone)]
pub struct DiskChecksum(Context);

impl Default for DiskChecksum {
    fn default() -> DiskChecksum {
        DiskChecksum(Context::new(&SHA256))
    }
}

impl std::fmt::Debug for DiskChecksum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Whole")
    }
}

impl DiskChecksum {
    pub fn add(&mut self, sum: &Sum) {
        self.0.update(&sum.0);
    }

    pub fn add_zeroes(&mut self, count: u64) {
        (0..count).for_each(|_| self.add(&ZEROES));
    }

    pub fn sum(self) -> Sum {
        let mut sum = [0; 32];
        sum.copy_from_slice(self.0.finish().as_ref());
        Sum(sum)
    }
}

/// Content of consecutive chunks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    pub first: u64,
    pub bytes: Vec<u8>,
}

/// Run of whole chunks of a disk. Runs follow each other without gaps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ChunkRun {
    Data(Batch),
    Zeroes { first: u64, count: u64 },
}

struct ChunkSplitter<'g> {
    give: &'g mut dyn FnMut(ChunkRun) -> bool,
    next: u64,
    bytes: Vec<u8>,
    is_over: bool,
}

impl ChunkSplitter<'_> {
    fn give(&mut self, part: ChunkRun, count: u64) {
        self.next += count;
        self.is_over |= !self.is_over && !(self.give)(part);
    }

    fn give_bytes(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if !bytes.is_empty() {
            let (first, chunks) = (self.next, count(bytes.len() as u64));
            self.give(ChunkRun::Data(Batch { first, bytes }), chunks);
        }
    }

    fn data(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = BATCH_BYTES - self.bytes.len();
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            self.bytes.extend_from_slice(now);
            bytes = rest;
            if self.bytes.len() == BATCH_BYTES {
                self.give_bytes();
            }
        }
    }

    fn zeroes(&mut self, mut length: u64) {
        if length >= ZEROES_BYTES_MIN {
            let begun = self.bytes.len() % CHUNK_BYTES;
            let rest = (CHUNK_BYTES - begun) % CHUNK_BYTES;
            self.data(&vec![0; rest]);
            self.give_bytes();
            length -= rest as u64;
            let (first, whole) = (self.next, length / CHUNK_BYTES as u64);
            self.give(
                ChunkRun::Zeroes {
                    first,
                    count: whole,
                },
                whole,
            );
            length %= CHUNK_BYTES as u64;
        }
        let zeroes = [0; 4096];
        while length > 0 {
            let now = length.min(zeroes.len() as u64);
            self.data(&zeroes[..now as usize]);
            length -= now;
        }
    }
}

/// Reads a disk from the chunk `from` to the offset `size`, bytes. `give` returns false to stop.
///
/// # Errors
/// The source failed.
pub fn read(
    source: &mut TransferSource,
    from: u64,
    size: u64,
    give: &mut dyn FnMut(ChunkRun) -> bool,
) -> Result<(), TransferError> {
    let begin = from.saturating_mul(CHUNK_BYTES as u64).min(size);
    let mut left = size - begin;
    let mut cutting = ChunkSplitter {
        give,
        next: from,
        bytes: Vec::new(),
        is_over: false,
    };
    source.read_from(begin, &mut |piece| {
        let length = piece.length().0.min(left);
        left -= length;
        match &piece {
            DiskPiece::Data(bytes) => cutting.data(&bytes[..length as usize]),
            DiskPiece::Zeroes(_) => cutting.zeroes(length),
        }
        left > 0 && !cutting.is_over
    })?;
    cutting.give_bytes();
    Ok(())
}

pub struct ChunkCompressor(Compress);

impl Default for ChunkCompressor {
    fn default() -> ChunkCompressor {
        ChunkCompressor(compress())
    }
}

fn compress() -> Compress {
    Compress::new(Compression::fast(), false)
}

impl ChunkCompressor {
    /// Compresses a chunk. Returns None if that saves nothing.
    pub fn pack(&mut self, chunk: &[u8]) -> Option<Vec<u8>> {
        // Reserves space for incompressible output, too: a state with pending output must not be
        // reused (zlib-rs 0.6 panics then).
        let mut packed = vec![0; chunk.len() + chunk.len() / 4 + 64];
        self.0.reset();
        let status = self.0.compress(chunk, &mut packed, FlushCompress::Finish);
        if !matches!(status, Ok(Status::StreamEnd)) {
            self.0 = compress();
            return None;
        }
        let length = usize::try_from(self.0.total_out()).ok()?;
        packed.truncate(length);
        (length < chunk.len() - chunk.len() / 16).then_some(packed)
    }
}

/// Decompresses a chunk of this length, and never more. Returns None if the data is invalid.
pub fn unpack(packed: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut chunk = vec![0; length.min(CHUNK_BYTES)];
    let mut state = Decompress::new(false);
    let status = state.decompress(packed, &mut chunk, FlushDecompress::Finish);
    let is_whole = matches!(status, Ok(Status::StreamEnd))
        && state.total_out() == length as u64
        && state.total_in() == packed.len() as u64;
    is_whole.then_some(chunk)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(pieces: &[DiskPiece], from: u64) -> Vec<ChunkRun> {
        let mut parts = Vec::new();
        let mut give = |part| {
            parts.push(part);
            true
        };
        let mut cutting = ChunkSplitter {
            give: &mut give,
            next: from,
            bytes: Vec::new(),
            is_over: false,
        };
        for piece in pieces {
            match piece {
                DiskPiece::Data(bytes) => cutting.data(bytes),
                DiskPiece::Zeroes(length) => cutting.zeroes(*length),
            }
        }
        cutting.give_bytes();
        parts
    }

    fn sum(parts: &[ChunkRun]) -> Sum {
        let mut whole = DiskChecksum::default();
        for part in parts {
            match part {
                ChunkRun::Data(batch) => batch
                    .bytes
                    .chunks(CHUNK_BYTES)
                    .for_each(|chunk| whole.add(&Sum::of(chunk))),
                ChunkRun::Zeroes { count, .. } => whole.add_zeroes(*count),
            }
        }
        whole.sum()
    }

    #[test]
    fn chunks_do_not_depend_on_how_a_disk_is_read() {
        let data = |length: usize| DiskPiece::Data(vec![5; length]);
        // 100 KiB of data, zeroes up to 5 MiB, and data up to an odd end.
        let [begin, end] = [100 << 10, 12_345];
        let zeroes = (5 << 20) - begin as u64;
        let told = [data(begin), DiskPiece::Zeroes(zeroes), data(end)];
        let read = [
            data(begin),
            DiskPiece::Data(vec![0; zeroes as usize]),
            data(end),
        ];
        let split = [
            data(1),
            data(begin - 1),
            DiskPiece::Zeroes(4096),
            DiskPiece::Zeroes(zeroes - 4096),
            data(end),
        ];
        let all = [cut(&told, 0), cut(&read, 0), cut(&split, 0)];
        assert_eq!(sum(&all[0]), sum(&all[1]));
        assert_eq!(sum(&all[0]), sum(&all[2]));
        let ChunkRun::Zeroes { first, count } = all[0][1] else {
            panic!("{:?}", all[0]);
        };
        assert_eq!((first, count), (2, 78));
        // The runs follow each other without gaps.
        for parts in all {
            let mut next = 0;
            for part in parts {
                let (first, chunks) = match part {
                    ChunkRun::Data(batch) => (batch.first, super::count(batch.bytes.len() as u64)),
                    ChunkRun::Zeroes { first, count } => (first, count),
                };
                assert_eq!(first, next);
                next += chunks;
            }
            assert_eq!(next, super::count((5 << 20) + end as u64));
        }
    }

    #[test]
    fn chunks_survive_compression_and_invalid_ones_are_refused() {
        let mut packer = ChunkCompressor::default();
        let chunk: Vec<u8> = (0..CHUNK_BYTES).map(|at| (at / 100) as u8).collect();
        for _ in 0..2 {
            let packed = packer.pack(&chunk).unwrap();
            assert!(packed.len() < CHUNK_BYTES / 4);
            assert_eq!(unpack(&packed, CHUNK_BYTES).as_ref(), Some(&chunk));
            // Data that is longer or shorter than expected, or has trailing bytes.
            assert_eq!(unpack(&packed, CHUNK_BYTES - 1), None);
            assert_eq!(unpack(&packed[..packed.len() - 1], CHUNK_BYTES), None);
            let longer = [&packed[..], &[0]].concat();
            assert_eq!(unpack(&longer, CHUNK_BYTES), None);
            assert_eq!(unpack(&packed, usize::MAX), None);
        }
        let mut random = lab::Random::new(1);
        let mut noise = vec![0; CHUNK_BYTES];
        random.fill(&mut noise);
        for _ in 0..2 {
            assert_eq!(packer.pack(&noise), None);
            let packed = packer.pack(&chunk).unwrap();
            assert_eq!(unpack(&packed, CHUNK_BYTES).as_ref(), Some(&chunk));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_unpacked_within_bounds(
            bytes in prop::collection::vec(any::<u8>(), 0..300), length in 0..=CHUNK_BYTES
        ) {
            if let Some(chunk) = unpack(&bytes, length) {
                prop_assert_eq!(chunk.len(), length);
            }
        }
    }
}
