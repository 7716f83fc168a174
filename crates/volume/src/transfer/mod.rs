//! Copies of whole disks, for commands: from an NBD server, a file or a block device, to an
//! NBD server, a new file or a stream. What reads as zeroes is not copied, where source and
//! target can tell.
//!
//! Two threads: one reads and one writes, with a bounded queue between them. It decides nothing
//! about volumes, and prints nothing.

mod image;
mod source;
mod target;

pub use image::{Image, recognise};
pub use source::Source;
pub use target::{Partial, Target};

use crate::client::{Ask, Client, ClientError, Done};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;

/// What is read and written at a time, bytes.
const PIECE_BYTES: u32 = 512 << 10;
/// Requests of this length that a server has at a time.
const REQUESTS_MAX: usize = 8;
/// Pieces between the two threads.
const QUEUE_MAX: usize = 8;
/// Pieces begin and end at multiples of this, the largest sector of a disk, bytes. Only the
/// end of the source may be elsewhere.
const ALIGN_BYTES: u64 = 4096;
/// How much is asked for at a time, of which parts are allocated, bytes.
const STATUS_BYTES: u64 = 1 << 30;
/// Zeroes of at least this length are left out, bytes.
const GRAIN_BYTES: usize = 64 << 10;

/// A part of a disk. Parts follow each other without gaps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// These bytes.
    Data(Vec<u8>),
    /// So many zeroes.
    Zeroes(u64),
}

/// How far a copy has got.
#[derive(Debug, Default)]
pub struct Progress {
    /// All bytes of the source.
    pub total: AtomicU64,
    /// Bytes that the target has, zeroes included.
    pub done: AtomicU64,
    /// Bytes of data among them.
    pub data: AtomicU64,
}

/// Why a copy failed.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The server of the source or of the target.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A file.
    #[error("cannot {action} {}: {error}", .path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// A source that is no disk.
    #[error("{} is {what}: a source is a raw image, a block device or an NBD address", .path.display())]
    NotADisk {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The file to be written is there.
    #[error("{} exists: choose a new file", .0.display())]
    Exists(PathBuf),
    /// Somebody has it.
    #[error("{} is in use: {}", .path.display(), .what)]
    InUse {
        /// The file.
        path: PathBuf,
        /// By whom, and what helps.
        what: &'static str,
    },
    /// The source became shorter.
    #[error("{} ended at byte {at} of {expected}: it has changed while it was read", .path.display())]
    Short {
        /// The file.
        path: PathBuf,
        /// Where it ended, bytes.
        at: u64,
        /// Its size at the start, bytes.
        expected: u64,
    },
    /// Standard output.
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
}

/// Returns how many bytes of an export are not holes: all of it where the server cannot tell.
///
/// # Errors
/// The server's.
pub fn allocated(client: &mut Client) -> Result<u64, ClientError> {
    let mut held = 0;
    let size = client.offer().size;
    data_of(client, 0, size, &mut |begin, end| held += end - begin)?;
    Ok(held)
}

/// Calls `each` with the begin and the end of each part of an export that may be data. The
/// range begins and ends at blocks of it.
///
/// # Errors
/// The server's.
pub(crate) fn data_of(
    client: &mut Client,
    begin: u64,
    end: u64,
    each: &mut dyn FnMut(u64, u64),
) -> Result<(), ClientError> {
    let mut at = begin;
    while at < end {
        let length = STATUS_BYTES.min(end - at);
        let ask = Ask::Status(at, u32::try_from(length).unwrap_or(u32::MAX));
        let extents = match client.offer().allocation {
            None => Vec::new(),
            Some(_) => match client.call(ask)? {
                Done::Extents(_, extents) => extents,
                _ => Vec::new(),
            },
        };
        if extents.is_empty() {
            each(at, end);
            return Ok(());
        }
        for extent in extents {
            let length = u64::from(extent.length).min(end - at);
            if !extent.hole && length > 0 {
                each(at, at + length);
            }
            at += length;
        }
    }
    Ok(())
}

/// Copies all of the source. The target is not complete before [`Target::finish`], which this
/// calls in the end.
///
/// # Errors
/// What went wrong first; the target has a part of the data then.
pub fn run(
    mut source: Source,
    mut target: Target,
    progress: &Arc<Progress>,
) -> Result<(), TransferError> {
    progress.total.store(source.size(), Ordering::Relaxed);
    let (sender, receiver) = sync_channel::<Piece>(QUEUE_MAX);
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || source.read(&mut |piece| sender.send(piece).is_ok()));
        let written = receiver.iter().try_for_each(|piece| {
            split(piece, &mut |piece| {
                let (length, data) = piece.length();
                target.write(piece)?;
                progress.data.fetch_add(data, Ordering::Relaxed);
                progress.done.fetch_add(length, Ordering::Relaxed);
                Ok(())
            })
        });
        // The reader ends, because nobody takes its pieces any more.
        drop(receiver);
        let read = reader
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        written.and(read)?;
        target.finish()
    })
}

impl Piece {
    /// Its length, and how much of it is data, bytes.
    pub(crate) fn length(&self) -> (u64, u64) {
        match self {
            Piece::Data(bytes) => (bytes.len() as u64, bytes.len() as u64),
            Piece::Zeroes(length) => (*length, 0),
        }
    }
}

/// Parts data from zeroes, in runs of whole grains.
fn split(
    piece: Piece,
    each: &mut dyn FnMut(Piece) -> Result<(), TransferError>,
) -> Result<(), TransferError> {
    let Piece::Data(mut bytes) = piece else {
        return each(piece);
    };
    let zero = |grain: &[u8]| is_zero(grain);
    let mut kinds = bytes.chunks(GRAIN_BYTES).map(zero);
    let first = kinds.next().unwrap_or(false);
    if kinds.all(|kind| kind == first) {
        return each(match first {
            true => Piece::Zeroes(bytes.len() as u64),
            false => Piece::Data(bytes),
        });
    }
    while !bytes.is_empty() {
        let mut grains = bytes.chunks(GRAIN_BYTES);
        let first = grains.next().is_some_and(zero);
        let run = grains.take_while(|grain| zero(grain) == first).count() + 1;
        let rest = bytes.split_off((run * GRAIN_BYTES).min(bytes.len()));
        let run = std::mem::replace(&mut bytes, rest);
        each(match first {
            true => Piece::Zeroes(run.len() as u64),
            false => Piece::Data(run),
        })?;
    }
    Ok(())
}

/// Ends at the first byte that is not zero, so it costs nothing for most data.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<16>();
    words.iter().all(|word| *word == [0; 16]) && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(bytes: Vec<u8>) -> Vec<Piece> {
        let mut parts = Vec::new();
        let all = split(Piece::Data(bytes), &mut |part| {
            parts.push(part);
            Ok(())
        });
        all.unwrap();
        parts
    }

    #[test]
    fn zeroes_are_parted_from_data_in_whole_grains() {
        let grain = |byte: u8, count: usize| vec![byte; GRAIN_BYTES * count];
        let zeroes = |count: usize| Piece::Zeroes((GRAIN_BYTES * count) as u64);
        assert_eq!(parts(grain(1, 8)), [Piece::Data(grain(1, 8))]);
        assert_eq!(parts(grain(0, 8)), [zeroes(8)]);
        let mixed = [
            grain(0, 2),
            grain(3, 1),
            grain(0, 1),
            grain(4, 2),
            vec![0; 512],
        ]
        .concat();
        let expected = [
            zeroes(2),
            Piece::Data(grain(3, 1)),
            zeroes(1),
            Piece::Data(grain(4, 2)),
            Piece::Zeroes(512),
        ];
        assert_eq!(parts(mixed), expected);
        // One byte is enough.
        let mut one = grain(0, 2);
        one[GRAIN_BYTES * 2 - 1] = 1;
        assert_eq!(
            parts(one.clone()),
            [zeroes(1), Piece::Data(one[GRAIN_BYTES..].to_vec())]
        );
    }
}
