//! Sends a copy to another node. One thread reads the source, one computes and offers checksums,
//! and the calling thread sends the requested chunks. Offered chunks stay in memory until the
//! target has requested or declined them, so their content matches the offer even if the source
//! changes.

use super::chunk::{self, Batch, CHUNK_BYTES, ChunkCompressor, ChunkRun, DiskChecksum, Sum};
use super::frame::CopyFrame;
use super::{ALIVE_EVERY, CopyError, Frames, STALL_MAX};
use crate::transfer::{Progress, TransferError, TransferSource};
use part::lock;
use std::collections::VecDeque;
use std::io::{self, BufReader};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

const READ_MAX: usize = 2;
/// Maximum number of concurrent offers, 4 MiB each.
const OFFERED_MAX: usize = 8;
/// Maximum number of remembered points at which the copy can resume. Larger than the number that
/// the receiver can cause at a time.
const PLACES_MAX: usize = 4096;

/// State of a copy across all of its connections.
#[derive(Debug, Default)]
pub struct CopyTransfer {
    /// Progress of the copy; only transferred chunks count as data.
    pub progress: Arc<Progress>,
    /// Compressed length of the transferred data, bytes.
    pub packed: AtomicU64,
    /// Length of chunks that the target already had, bytes. Zeroes of the source that were offered
    /// one by one do not count.
    pub skipped: AtomicU64,
    /// First chunk that may not be on stable storage of the target, and the checksum of the chunks
    /// before it.
    from: (u64, DiskChecksum),
    pub overwrites: bool,
    pub has_begun: bool,
}

struct OfferedBatch {
    batch: Batch,
    sums: Vec<Sum>,
}

type ResumePoints = Mutex<VecDeque<(u64, DiskChecksum)>>;

/// Sends the source over a new stream. After a broken connection, the next call with the same
/// value resumes.
///
/// # Errors
/// The connection broke, the other side refused the copy, or the source cannot be read.
pub fn send(
    stream: &UnixStream,
    source: &mut TransferSource,
    sending: &mut CopyTransfer,
) -> Result<(), CopyError> {
    let size = source.size();
    sending.progress.total.store(size, Ordering::Relaxed);
    let timeout = stream.set_read_timeout(Some(STALL_MAX));
    timeout.map_err(CopyError::Broken)?;
    let frames = Frames::new(stream);
    let places = ResumePoints::default();
    let mut replies = ReplyReader {
        input: BufReader::new(stream),
        places: &places,
    };
    let done = passes(source, &frames, &mut replies, sending, size);
    match done {
        // Prefers the reason that the other side may have sent before it closed the connection.
        Err(CopyError::Broken(error)) => Err(replies.last_words(error)),
        done => done,
    }
}

fn passes(
    source: &mut TransferSource,
    frames: &Frames<'_>,
    replies: &mut ReplyReader<'_>,
    sending: &mut CopyTransfer,
    size: u64,
) -> Result<(), CopyError> {
    frames.send(&CopyFrame::Begin {
        size,
        from: sending.from.0,
        overwrites: sending.overwrites,
    })?;
    let compares = match replies.next()? {
        CopyFrame::Ready { compares, .. } => compares,
        _ => return Err(CopyError::Protocol("an unexpected frame")),
    };
    if compares {
        pass(source, frames, replies, sending, 0, true)?;
        // Permits overwriting from now on: the target contains only data of the source.
        sending.overwrites = true;
    }
    sending.has_begun = true;
    let from = sending.from.0;
    pass(source, frames, replies, sending, from, false)
}

fn pass(
    source: &mut TransferSource,
    frames: &Frames<'_>,
    replies: &mut ReplyReader<'_>,
    sending: &mut CopyTransfer,
    from: u64,
    compares: bool,
) -> Result<(), CopyError> {
    let size = source.size();
    let begin = from.saturating_mul(CHUNK_BYTES as u64).min(size);
    sending.progress.done.store(begin, Ordering::Relaxed);
    if from == 0 {
        sending.skipped.store(0, Ordering::Relaxed);
    }
    let whole = match from {
        0 => DiskChecksum::default(),
        _ => sending.from.1.clone(),
    };
    let places = replies.places;
    lock(places).clear();
    let progress = Arc::clone(&sending.progress);
    let (read, parts) = sync_channel(READ_MAX);
    let (offered, offers) = sync_channel(OFFERED_MAX);
    let (end, ended) = sync_channel::<()>(0);
    std::thread::scope(|scope| {
        let reader = scope
            .spawn(move || chunk::read(source, from, size, &mut |part| read.send(part).is_ok()));
        let offerer = scope.spawn(move || offer(&parts, &offered, frames, whole, places));
        scope.spawn(move || {
            while ended.recv_timeout(ALIVE_EVERY) == Err(RecvTimeoutError::Timeout) {
                // Ignores failures here: the other threads notice them, too.
                let _ = frames.alive();
            }
        });
        let mut sent = answer(&offers, frames, replies, &mut *sending, compares);
        if let Err(error) = sent {
            sent = Err(match error {
                CopyError::Broken(error) => replies.last_words(error),
                error => error,
            });
            // Unblocks the threads that wait for the other side.
            let _ = frames.stream.shutdown(Shutdown::Both);
        }
        drop(offers);
        drop(end);
        let whole = join(offerer);
        let read: Result<(), TransferError> = join(reader);
        read?;
        sent?;
        let whole = whole?.sum();
        finish(frames, replies, whole, compares, &progress)
    })
}

fn join<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn offer(
    parts: &Receiver<ChunkRun>,
    offered: &SyncSender<OfferedBatch>,
    frames: &Frames<'_>,
    mut whole: DiskChecksum,
    places: &ResumePoints,
) -> Result<DiskChecksum, CopyError> {
    for part in parts {
        let first = match &part {
            ChunkRun::Data(batch) => batch.first,
            ChunkRun::Zeroes { first, .. } => *first,
        };
        {
            let mut places = lock(places);
            if places.len() < PLACES_MAX {
                places.push_back((first, whole.clone()));
            }
        }
        match part {
            ChunkRun::Zeroes { first, count } => {
                whole.add_zeroes(count);
                frames.send(&CopyFrame::Zeroes { first, count })?;
            }
            ChunkRun::Data(batch) => {
                let sums: Vec<Sum> = batch.bytes.chunks(CHUNK_BYTES).map(Sum::of).collect();
                sums.iter().for_each(|sum| whole.add(sum));
                let frame = CopyFrame::Offer { first, sums };
                frames.send(&frame)?;
                let CopyFrame::Offer { sums, .. } = frame else {
                    continue;
                };
                if offered.send(OfferedBatch { batch, sums }).is_err() {
                    break;
                }
            }
        }
    }
    Ok(whole)
}

fn answer(
    offers: &Receiver<OfferedBatch>,
    frames: &Frames<'_>,
    replies: &mut ReplyReader<'_>,
    sending: &mut CopyTransfer,
    compares: bool,
) -> Result<(), CopyError> {
    let mut packer = ChunkCompressor::default();
    for OfferedBatch { batch, sums } in offers {
        let mask = loop {
            match replies.next()? {
                CopyFrame::Want { first, mask } if first == batch.first => break mask,
                CopyFrame::Stable(upto) if !compares => replies.stable(upto, sending),
                _ => return Err(CopyError::Protocol("an unexpected frame")),
            }
        };
        if sums.len() < 64 && mask >> sums.len() != 0 || compares && mask != 0 {
            return Err(CopyError::Protocol("a request for what was not offered"));
        }
        let progress = &sending.progress;
        for (index, bytes) in batch.bytes.chunks(CHUNK_BYTES).enumerate() {
            let length = bytes.len() as u64;
            progress.done.fetch_max(
                (batch.first + index as u64) * CHUNK_BYTES as u64 + length,
                Ordering::Relaxed,
            );
            if mask >> index & 1 == 0 {
                // Skips the chunk, which counts as skipped unless it is zero in the source.
                if sums[index] != Sum::of_zeroes(bytes.len()) {
                    sending.skipped.fetch_add(length, Ordering::Relaxed);
                }
                continue;
            }
            let packed = packer.pack(bytes);
            let is_packed = packed.is_some();
            let bytes = packed.unwrap_or_else(|| bytes.to_vec());
            progress.data.fetch_add(length, Ordering::Relaxed);
            sending
                .packed
                .fetch_add(bytes.len() as u64, Ordering::Relaxed);
            frames.send(&CopyFrame::Data {
                chunk: batch.first + index as u64,
                is_packed,
                bytes,
            })?;
        }
    }
    Ok(())
}

fn finish(
    frames: &Frames<'_>,
    replies: &mut ReplyReader<'_>,
    source: Sum,
    compares: bool,
    progress: &Progress,
) -> Result<(), CopyError> {
    frames.send(&CopyFrame::End(source))?;
    let total = progress.total.load(Ordering::Relaxed);
    progress.done.store(total, Ordering::Relaxed);
    loop {
        match replies.next()? {
            CopyFrame::Stable(_) | CopyFrame::Checked(_) if !compares => {}
            CopyFrame::Ready {
                compares: false, ..
            } if compares => return Ok(()),
            CopyFrame::Done(target) if !compares => {
                let sent = source;
                return if target == sent {
                    Ok(())
                } else {
                    Err(CopyError::Differs { sent, target })
                };
            }
            _ => return Err(CopyError::Protocol("an unexpected frame")),
        }
    }
}

struct ReplyReader<'s> {
    input: BufReader<&'s UnixStream>,
    places: &'s ResumePoints,
}

impl ReplyReader<'_> {
    fn next(&mut self) -> Result<CopyFrame, CopyError> {
        loop {
            match CopyFrame::read(&mut self.input)? {
                CopyFrame::Alive => {}
                CopyFrame::Refused { words, again } => {
                    return Err(CopyError::Refused { words, again });
                }
                frame => return Ok(frame),
            }
        }
    }

    fn last_words(&mut self, error: io::Error) -> CopyError {
        loop {
            match self.next() {
                Ok(_) => {}
                Err(refused @ CopyError::Refused { .. }) => return refused,
                Err(_) => return CopyError::Broken(error),
            }
        }
    }

    fn stable(&self, upto: u64, sending: &mut CopyTransfer) {
        let mut places = lock(self.places);
        while places.front().is_some_and(|(place, _)| *place <= upto) {
            sending.from = places.pop_front().unwrap_or_default();
        }
    }
}
