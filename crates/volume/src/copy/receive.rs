//! Receives a copy from another node, as a client of the target volume: reads the volume's content,
//! requests the differing chunks, and finally reads everything again.

use super::chunk::{self, CHUNK_BYTES, ChunkRun, DiskChecksum, OFFER_CHUNKS_MAX, Sum};
use super::frame::CopyFrame;
use super::{CopyError, Frames, SILENT_MAX};
use crate::client::{Address, Client, Ender, NbdReply, NbdRequest};
use crate::config::size_words;
use crate::transfer::{TransferError, TransferSource, allocated, data_of, is_zero};
use std::collections::BTreeMap;
use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// Maximum number of outstanding chunks: twice what a sender offers at a time.
const WANTED_MAX: usize = 16 * OFFER_CHUNKS_MAX;
/// Maximum number of concurrent requests to the volume.
const REQUESTS_MAX: usize = 16;
const READ_BYTES: u64 = 512 << 10;
const ZEROES_BYTES_MAX: u64 = 256 << 20;
/// Interval of flushes, bytes. After a broken connection the copy resumes at the last flush.
const STABLE_BYTES: u64 = 256 << 20;
const CHECKED_BYTES: u64 = 64 << 20;

/// Receives a copy from a stream and writes it to a volume. Errors are also reported to the other
/// end, unless the connection broke. `ender` aborts a wait for the volume.
///
/// # Errors
/// The connection broke, the volume failed or is unsuitable, or the other side violates the
/// protocol.
pub fn receive(
    stream: &UnixStream,
    name: &str,
    address: &Address,
    ender: &Arc<Ender>,
) -> Result<(), CopyError> {
    let received = begin(stream, name, address, ender);
    if let Err(error) = &received
        && !matches!(error, CopyError::Broken(_))
    {
        let again = matches!(error, CopyError::Refused { again: true, .. });
        let words = error.to_string();
        // Ignores failures: the other side may have disconnected.
        let _ = Frames::new(stream).send(&CopyFrame::Refused { again, words });
    }
    received
}

fn begin(
    stream: &UnixStream,
    name: &str,
    address: &Address,
    ender: &Arc<Ender>,
) -> Result<(), CopyError> {
    let timeout = stream.set_read_timeout(Some(SILENT_MAX));
    timeout.map_err(CopyError::Broken)?;
    let mut input = BufReader::new(stream);
    let CopyFrame::Begin {
        size,
        from,
        overwrites,
    } = CopyFrame::read(&mut input)?
    else {
        return Err(UNEXPECTED);
    };
    let connect =
        || Client::connect_until(address.clone(), ender.clone()).map_err(TransferError::from);
    let (mut reads, writes) = (connect()?, connect()?);
    let has = reads.offer().size;
    if has < size {
        let wanted = size_words(size.checked_next_multiple_of(4096).unwrap_or(size));
        return Err(refused(format!(
            "the source has {size} bytes and volume '{name}' {has}: write `size {wanted}` into its section and reload"
        )));
    }
    if from > chunk::count(size) {
        return Err(CopyError::Protocol(
            "an offset beyond the end of the source",
        ));
    }
    let held = allocated(&mut reads).map_err(TransferError::from)?;
    let compares = held > 0 && !overwrites;
    let mut receiving = CopyReception {
        name,
        input,
        frames: Frames::new(stream),
        reads,
        writes,
        size,
        next: if compares { 0 } else { from },
        wanted: BTreeMap::new(),
        compares,
        unstable: 0,
    };
    receiving.frames.send(&CopyFrame::Ready {
        size: has,
        held,
        compares,
    })?;
    receiving.run()?;
    let mut source = TransferSource::Server(Box::new(connect()?));
    let sum = receiving.check(&mut source)?;
    receiving.frames.send(&CopyFrame::Done(sum))
}

const UNEXPECTED: CopyError = CopyError::Protocol("an unexpected frame");

fn refused(words: String) -> CopyError {
    let again = false;
    CopyError::Refused { words, again }
}

struct CopyReception<'s> {
    name: &'s str,
    input: BufReader<&'s UnixStream>,
    frames: Frames<'s>,
    reads: Client,
    writes: Client,
    size: u64,
    next: u64,
    wanted: BTreeMap<u64, Sum>,
    compares: bool,
    unstable: u64,
}

impl CopyReception<'_> {
    fn run(&mut self) -> Result<(), CopyError> {
        loop {
            self.frames.alive()?;
            match CopyFrame::read(&mut self.input)? {
                CopyFrame::Alive => {}
                CopyFrame::Offer { first, sums } => self.offered(first, &sums)?,
                CopyFrame::Zeroes { first, count } => self.zeroes(first, count)?,
                CopyFrame::Data {
                    chunk,
                    is_packed,
                    bytes,
                } => self.data(chunk, is_packed, bytes)?,
                CopyFrame::End(_) if self.end()? => return Ok(()),
                CopyFrame::End(_) => {}
                CopyFrame::Refused { words, again } => {
                    return Err(CopyError::Refused { words, again });
                }
                _ => return Err(UNEXPECTED),
            }
            if self.unstable >= STABLE_BYTES && !self.compares {
                self.flush()?;
                let first = self.wanted.keys().next();
                let upto = first.copied().unwrap_or(self.next);
                self.frames.send(&CopyFrame::Stable(upto))?;
            }
        }
    }

    /// Advances past these chunks, which have to follow the previous ones.
    fn advance(&mut self, first: u64, count: u64) -> Result<(), CopyError> {
        let end = first.checked_add(count);
        let end = end.filter(|end| first == self.next && *end <= chunk::count(self.size));
        self.next = end.ok_or(CopyError::Protocol("an offer out of order"))?;
        self.unstable += count.saturating_mul(CHUNK_BYTES as u64);
        Ok(())
    }

    /// Returns the end of the range of the volume that is changed when the first `end` bytes of the
    /// source are written.
    fn rounded(&self, end: u64) -> u64 {
        let offer = self.reads.offer();
        end.next_multiple_of(u64::from(offer.block_min))
            .min(offer.size)
    }

    fn offered(&mut self, first: u64, sums: &[Sum]) -> Result<(), CopyError> {
        self.advance(first, sums.len() as u64)?;
        if self.wanted.len() + sums.len() > WANTED_MAX {
            return Err(CopyError::Protocol("more offers than the receiver allows"));
        }
        let begin = first * CHUNK_BYTES as u64;
        let end = self.rounded((self.next * CHUNK_BYTES as u64).min(self.size));
        let has = self.read(begin, end)?;
        let mut mask = 0;
        for (index, (sum, has)) in sums.iter().zip(has.chunks(CHUNK_BYTES)).enumerate() {
            let chunk = first + index as u64;
            let length = chunk::length(chunk, self.size);
            let (content, behind) = has.split_at(length);
            if is_zero(behind) && Sum::of(content) == *sum {
                continue;
            }
            let at = chunk * CHUNK_BYTES as u64;
            if self.compares {
                self.keeps(at, has)?;
            } else if *sum == Sum::of_zeroes(length) {
                self.zero(at, at + has.len() as u64)?;
            } else {
                mask |= 1 << index;
                self.wanted.insert(chunk, *sum);
            }
        }
        self.frames.send(&CopyFrame::Want { first, mask })
    }

    fn keeps(&self, at: u64, has: &[u8]) -> Result<(), CopyError> {
        if is_zero(has) {
            Ok(())
        } else {
            Err(refused(format!(
                "volume '{}' holds other data (at byte {at}): `--yes` overwrites all of it",
                self.name
            )))
        }
    }

    /// Reads a range of the volume; holes read as zeroes.
    fn read(&mut self, begin: u64, end: u64) -> Result<Vec<u8>, CopyError> {
        let mut bytes = vec![0; usize::try_from(end - begin).unwrap_or(0)];
        let mut parts = Vec::new();
        let mut each = |begin, end| parts.push((begin, end));
        data_of(&mut self.reads, begin, end, &mut each).map_err(TransferError::from)?;
        let mut take = |done: NbdReply| {
            if let NbdReply::Data(offset, read) = done {
                let at = usize::try_from(offset - begin).unwrap_or(usize::MAX);
                let room = bytes
                    .get_mut(at..)
                    .and_then(|rest| rest.get_mut(..read.len()));
                room.into_iter()
                    .for_each(|room| room.copy_from_slice(&read));
            }
        };
        let most = READ_BYTES.min(u64::from(self.reads.offer().payload_max));
        for (begin, end) in parts {
            let mut at = begin;
            while at < end {
                let length = most.min(end - at);
                let ask = NbdRequest::Read(at, u32::try_from(length).unwrap_or(0));
                submit(&mut self.reads, ask, &mut take)?;
                at += length;
            }
        }
        while self.reads.under_way() > 0 {
            take(self.reads.receive().map_err(TransferError::from)?);
        }
        Ok(bytes)
    }

    fn zeroes(&mut self, first: u64, count: u64) -> Result<(), CopyError> {
        self.advance(first, count)?;
        let begin = first * CHUNK_BYTES as u64;
        let end = self.next * CHUNK_BYTES as u64;
        if end > self.size {
            return Err(CopyError::Protocol("zeroes beyond the end of the source"));
        }
        self.empty(begin, end)
    }

    fn empty(&mut self, begin: u64, end: u64) -> Result<(), CopyError> {
        let mut at = begin;
        while at < end {
            let next = at.saturating_add(STABLE_BYTES).min(end);
            let mut parts = Vec::new();
            let mut each = |begin, end| parts.push((begin, end));
            data_of(&mut self.reads, at, next, &mut each).map_err(TransferError::from)?;
            at = next;
            for (begin, end) in parts {
                if self.compares {
                    self.is_empty(begin, end)?
                } else {
                    self.zero(begin, end)?
                }
                self.frames.alive()?;
            }
        }
        Ok(())
    }

    fn is_empty(&mut self, begin: u64, end: u64) -> Result<(), CopyError> {
        let mut at = begin;
        while at < end {
            let next = at.saturating_add(8 * READ_BYTES).min(end);
            let has = self.read(at, next)?;
            self.keeps(at, &has)?;
            self.frames.alive()?;
            at = next;
        }
        Ok(())
    }

    fn zero(&mut self, begin: u64, end: u64) -> Result<(), CopyError> {
        let can_zero = self.writes.offer().can_zero();
        let most = if can_zero {
            ZEROES_BYTES_MAX
        } else {
            READ_BYTES
        };
        let mut at = begin;
        while at < end {
            let length = u32::try_from(most.min(end - at)).unwrap_or(0);
            let ask = if can_zero {
                NbdRequest::Zeroes(at, length)
            } else {
                NbdRequest::Write(at, vec![0; length as usize])
            };
            submit(&mut self.writes, ask, &mut drop)?;
            at += u64::from(length);
        }
        Ok(())
    }

    fn data(&mut self, chunk: u64, is_packed: bool, bytes: Vec<u8>) -> Result<(), CopyError> {
        let wanted = self.wanted.remove(&chunk);
        let wanted = wanted.ok_or(CopyError::Protocol("a chunk that was not requested"))?;
        let length = chunk::length(chunk, self.size);
        let bytes = if is_packed {
            chunk::unpack(&bytes, length)
        } else {
            Some(bytes).filter(|bytes| bytes.len() == length)
        };
        let bytes = bytes.filter(|bytes| Sum::of(bytes) == wanted);
        let mut bytes = bytes.ok_or(CopyError::Protocol("a chunk with a wrong checksum"))?;
        let at = chunk * CHUNK_BYTES as u64;
        let end = self.rounded(at + bytes.len() as u64);
        bytes.resize(usize::try_from(end - at).unwrap_or(bytes.len()), 0);
        submit(&mut self.writes, NbdRequest::Write(at, bytes), &mut drop)
    }

    fn flush(&mut self) -> Result<(), CopyError> {
        while self.writes.under_way() > 0 {
            self.writes.receive().map_err(TransferError::from)?;
        }
        if self.writes.offer().can_flush() {
            self.writes
                .call(NbdRequest::Flush)
                .map_err(TransferError::from)?;
        }
        self.unstable = 0;
        Ok(())
    }

    /// Handles the end of the offers. Returns whether all offered chunks were received, and not
    /// only compared.
    fn end(&mut self) -> Result<bool, CopyError> {
        if self.next != chunk::count(self.size) || !self.wanted.is_empty() {
            return Err(CopyError::Protocol("an end of the copy before all data"));
        }
        let size = self.reads.offer().size;
        self.empty(self.rounded(self.size), size)?;
        if std::mem::take(&mut self.compares) {
            self.next = 0;
            let frame = CopyFrame::Ready {
                size,
                held: 0,
                compares: false,
            };
            self.frames.send(&frame)?;
            return Ok(false);
        }
        self.flush()?;
        Ok(true)
    }

    fn check(&mut self, source: &mut TransferSource) -> Result<Sum, CopyError> {
        let mut whole = DiskChecksum::default();
        let mut told = 0;
        let mut failed = None;
        let frames = &self.frames;
        chunk::read(source, 0, self.size, &mut |part| {
            let next = match part {
                ChunkRun::Zeroes { first, count } => {
                    whole.add_zeroes(count);
                    first + count
                }
                ChunkRun::Data(batch) => {
                    let chunks = batch.bytes.chunks(CHUNK_BYTES);
                    chunks.for_each(|chunk| whole.add(&Sum::of(chunk)));
                    batch.first + chunk::count(batch.bytes.len() as u64)
                }
            };
            if next.saturating_sub(told) >= CHECKED_BYTES / CHUNK_BYTES as u64 {
                told = next;
                failed = frames.send(&CopyFrame::Checked(next)).err();
            }
            failed.is_none()
        })?;
        failed.map_or_else(|| Ok(whole.sum()), Err)
    }
}

fn submit(
    client: &mut Client,
    ask: NbdRequest,
    take: &mut dyn FnMut(NbdReply),
) -> Result<(), CopyError> {
    while client.under_way() >= REQUESTS_MAX {
        take(client.receive().map_err(TransferError::from)?);
    }
    Ok(client.submit(ask).map_err(TransferError::from)?)
}
