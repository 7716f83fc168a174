//! Copies whole disks, for commands: from an NBD server, a file or a block device to an NBD server,
//! a new file or a stream. Zeroes are not copied where source and target support holes.
//!
//! Two threads, one that reads and one that writes, share a bounded queue. This module decides
//! nothing about volumes, and prints nothing.

mod image;
mod source;
mod target;

pub use image::{Image, recognise};
pub use source::TransferSource;
pub use target::{Partial, TransferTarget};

use crate::client::{Client, ClientError, NbdReply, NbdRequest};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;

const PIECE_BYTES: u32 = 512 << 10;
const REQUESTS_MAX: usize = 8;
const QUEUE_MAX: usize = 8;
/// Alignment of pieces, bytes: the largest sector of a disk. Only the end of the source may be
/// unaligned.
const ALIGN_BYTES: u64 = 4096;
const STATUS_BYTES: u64 = 1 << 30;
/// Minimum length of zeroes that are skipped, bytes.
const GRAIN_BYTES: usize = 64 << 10;

/// Part of a disk. Pieces follow each other without gaps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DiskPiece {
    Data(Vec<u8>),
    Zeroes(u64),
}

#[derive(Debug, Default)]
pub struct Progress {
    /// Size of the source, bytes.
    pub total: AtomicU64,
    /// Completed length of the target, including zeroes, bytes.
    pub done: AtomicU64,
    /// Length of the data within the completed length, bytes.
    pub data: AtomicU64,
}

/// Reason why a copy failed.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("cannot {action} {}: {error}", .path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        error: io::Error,
    },
    #[error("{} is {what}: a source is a raw image, a block device or an NBD address", .path.display())]
    NotADisk { path: PathBuf, what: &'static str },
    #[error("{} exists: choose a new file", .0.display())]
    Exists(PathBuf),
    #[error("{} is in use: {}", .path.display(), .what)]
    InUse { path: PathBuf, what: &'static str },
    #[error("{} ended at byte {at} of {expected}: it changed while it was read", .path.display())]
    Short {
        path: PathBuf,
        at: u64,
        expected: u64,
    },
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
}

/// Returns the allocated bytes of an export; its full size if the server does not report holes.
///
/// # Errors
/// The server failed.
pub fn allocated(client: &mut Client) -> Result<u64, ClientError> {
    let mut held = 0;
    let size = client.offer().size;
    data_of(client, 0, size, &mut |begin, end| held += end - begin)?;
    Ok(held)
}

/// Calls `each` with the start and end of each part of an export that may contain data. The parts
/// are aligned to blocks of the export.
///
/// # Errors
/// The server failed.
pub(crate) fn data_of(
    client: &mut Client,
    begin: u64,
    end: u64,
    each: &mut dyn FnMut(u64, u64),
) -> Result<(), ClientError> {
    let mut at = begin;
    while at < end {
        let length = STATUS_BYTES.min(end - at);
        let ask = NbdRequest::Status(at, u32::try_from(length).unwrap_or(u32::MAX));
        let extents = match client.offer().allocation {
            None => Vec::new(),
            Some(_) => match client.call(ask)? {
                NbdReply::Extents(_, extents) => extents,
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

/// Copies the whole source. The target is complete only after [`TransferTarget::finish`], which
/// this function calls at the end.
///
/// # Errors
/// Reading or writing failed. The target then contains a part of the data.
pub fn run(
    mut source: TransferSource,
    mut target: TransferTarget,
    progress: &Arc<Progress>,
) -> Result<(), TransferError> {
    progress.total.store(source.size(), Ordering::Relaxed);
    let (sender, receiver) = sync_channel::<DiskPiece>(QUEUE_MAX);
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
        // Ends the reader, whose pieces then have no receiver.
        drop(receiver);
        let read = reader
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        written.and(read)?;
        target.finish()
    })
}

impl DiskPiece {
    /// Returns the total length of a piece, and the length of its data, bytes.
    pub(crate) fn length(&self) -> (u64, u64) {
        match self {
            DiskPiece::Data(bytes) => (bytes.len() as u64, bytes.len() as u64),
            DiskPiece::Zeroes(length) => (*length, 0),
        }
    }
}

fn split(
    piece: DiskPiece,
    each: &mut dyn FnMut(DiskPiece) -> Result<(), TransferError>,
) -> Result<(), TransferError> {
    let DiskPiece::Data(mut bytes) = piece else {
        return each(piece);
    };
    let zero = |grain: &[u8]| is_zero(grain);
    let mut kinds = bytes.chunks(GRAIN_BYTES).map(zero);
    let first = kinds.next().unwrap_or(false);
    if kinds.all(|kind| kind == first) {
        return each(if first {
            DiskPiece::Zeroes(bytes.len() as u64)
        } else {
            DiskPiece::Data(bytes)
        });
    }
    while !bytes.is_empty() {
        let mut grains = bytes.chunks(GRAIN_BYTES);
        let first = grains.next().is_some_and(zero);
        let run = grains.take_while(|grain| zero(grain) == first).count() + 1;
        let rest = bytes.split_off((run * GRAIN_BYTES).min(bytes.len()));
        let run = std::mem::replace(&mut bytes, rest);
        each(if first {
            DiskPiece::Zeroes(run.len() as u64)
        } else {
            DiskPiece::Data(run)
        })?;
    }
    Ok(())
}

/// Returns whether all bytes are zero. Stops at the first nonzero byte, so most data costs almost
/// nothing.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<16>();
    words.iter().all(|word| *word == [0; 16]) && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(bytes: Vec<u8>) -> Vec<DiskPiece> {
        let mut parts = Vec::new();
        let all = split(DiskPiece::Data(bytes), &mut |part| {
            parts.push(part);
            Ok(())
        });
        all.unwrap();
        parts
    }

    #[test]
    fn zeroes_and_data_are_separated_by_granule() {
        let grain = |byte: u8, count: usize| vec![byte; GRAIN_BYTES * count];
        let zeroes = |count: usize| DiskPiece::Zeroes((GRAIN_BYTES * count) as u64);
        assert_eq!(parts(grain(1, 8)), [DiskPiece::Data(grain(1, 8))]);
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
            DiskPiece::Data(grain(3, 1)),
            zeroes(1),
            DiskPiece::Data(grain(4, 2)),
            DiskPiece::Zeroes(512),
        ];
        assert_eq!(parts(mixed), expected);
        // A single nonzero byte makes the grain data.
        let mut one = grain(0, 2);
        one[GRAIN_BYTES * 2 - 1] = 1;
        assert_eq!(
            parts(one.clone()),
            [zeroes(1), DiskPiece::Data(one[GRAIN_BYTES..].to_vec())]
        );
    }
}
