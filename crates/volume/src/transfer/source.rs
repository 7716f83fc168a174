//! Reads a whole disk for a copy: from an NBD server, a file, a block device or a snapshot.

use super::image::HEAD_BYTES;
use super::{ALIGN_BYTES, DiskPiece, PIECE_BYTES, REQUESTS_MAX, STATUS_BYTES, TransferError};
use crate::client::{AWAY_MAX, Address, Client, NbdReply, NbdRequest};
use crate::device::Snapshot;
use protocol::nbd::reply::Extent;
use rustix::fs::{
    CWD, FileType, FlockOperation, Mode, OFlags, SeekFrom, flock, fstat, openat, seek,
};
use rustix::io::{Errno, pread};
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Disk that is read from start to end.
#[derive(Debug)]
pub enum TransferSource {
    Server(Box<Client>),
    File(Disk),
}

#[derive(Debug)]
pub struct Disk {
    file: File,
    path: PathBuf,
    /// Offset of the disk in the file, bytes. Holes are detected only if this is 0.
    first: u64,
    size: u64,
}

impl TransferSource {
    /// Opens an NBD export, a file or a block device. A device is opened exclusively.
    ///
    /// # Errors
    /// The source does not exist, is not a disk or is in use, or the NBD server cannot be used.
    pub fn open(word: &str) -> Result<TransferSource, TransferError> {
        if Address::is_uri(word) {
            let address = Address::parse(word).map_err(|error| TransferError::File {
                action: "use",
                path: word.into(),
                error: io::Error::new(io::ErrorKind::InvalidInput, error),
            })?;
            let client = Client::connect_within(address, AWAY_MAX)?;
            return Ok(TransferSource::Server(Box::new(client)));
        }
        Disk::open(Path::new(word)).map(TransferSource::File)
    }

    /// Opens a snapshot.
    ///
    /// # Errors
    /// The snapshot does not exist, or is in use.
    pub fn snapshot(snapshot: &Snapshot) -> Result<TransferSource, TransferError> {
        let mut disk = Disk::open(&snapshot.path)?;
        disk.first = snapshot.first;
        disk.size = snapshot
            .size_bytes
            .min(disk.size.saturating_sub(snapshot.first));
        Ok(TransferSource::File(disk))
    }

    /// Connects to a volume, without a receive timeout.
    ///
    /// # Errors
    /// The server cannot be used.
    pub fn connect(address: Address) -> Result<TransferSource, TransferError> {
        Ok(TransferSource::Server(Box::new(Client::connect(address)?)))
    }

    pub fn size(&self) -> u64 {
        match self {
            TransferSource::Server(client) => client.offer().size,
            TransferSource::File(disk) => disk.size,
        }
    }

    /// Returns the first bytes, for recognising an image format.
    ///
    /// # Errors
    /// The source cannot be read.
    pub fn head(&mut self) -> Result<Vec<u8>, TransferError> {
        match self {
            TransferSource::Server(client) => {
                let offer = *client.offer();
                let wanted = (HEAD_BYTES as u64).next_multiple_of(u64::from(offer.block_min));
                let length = wanted.min(offer.size);
                let length = u32::try_from(length).unwrap_or(0);
                if length == 0 {
                    return Ok(Vec::new());
                }
                match client.call(NbdRequest::Read(0, length))? {
                    NbdReply::Data(_, bytes) => Ok(bytes),
                    _ => Ok(Vec::new()),
                }
            }
            TransferSource::File(disk) => {
                let length = (HEAD_BYTES as u64).min(disk.size);
                disk.bytes(0, usize::try_from(length).unwrap_or(0))
            }
        }
    }

    /// Reads the whole source in order. `give` returns false to stop.
    pub(super) fn read(
        &mut self,
        give: &mut dyn FnMut(DiskPiece) -> bool,
    ) -> Result<(), TransferError> {
        self.read_from(0, give)
    }

    /// Reads the source from `begin` on, which is a multiple of 64 KiB or the end. May be called
    /// repeatedly.
    pub(crate) fn read_from(
        &mut self,
        begin: u64,
        give: &mut dyn FnMut(DiskPiece) -> bool,
    ) -> Result<(), TransferError> {
        match self {
            TransferSource::Server(client) => Reading::new(client, begin)?.run(give),
            TransferSource::File(disk) => disk.read(begin, give),
        }
    }
}

impl Disk {
    fn open(path: &Path) -> Result<Disk, TransferError> {
        let failed = |action| {
            let path = path.to_path_buf();
            move |errno: Errno| TransferError::File {
                action,
                path,
                error: errno.into(),
            }
        };
        let no_disk = |what| {
            let path = path.to_path_buf();
            Err(TransferError::NotADisk { path, what })
        };
        let in_use = |what| {
            let path = path.to_path_buf();
            Err(TransferError::InUse { path, what })
        };
        // Avoids waiting for the other end of a FIFO (NONBLOCK). EXCL is for devices only: it
        // requires that the device is neither mounted nor part of another one.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = openat(CWD, path, flags, Mode::empty()).map_err(failed("open"))?;
        let stat = fstat(&file).map_err(failed("look at"))?;
        let file = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => file,
            FileType::BlockDevice => match openat(CWD, path, flags | OFlags::EXCL, Mode::empty()) {
                Ok(file) => file,
                Err(Errno::BUSY) => {
                    return in_use("mounted, or part of LVM or RAID: unmount it first");
                }
                Err(errno) => return Err(failed("open")(errno)),
            },
            FileType::Directory => return no_disk("a directory"),
            FileType::Fifo => return no_disk("a FIFO"),
            FileType::Socket => return no_disk("a socket"),
            _ => return no_disk("a character device"),
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return in_use("by a volume: use `evenkeel volume export`, or its NBD address");
            }
            Err(errno) => return Err(failed("lock")(errno)),
        }
        let size = seek(&file, SeekFrom::End(0)).map_err(failed("find the size of"))?;
        Ok(Disk {
            file: file.into(),
            path: path.to_path_buf(),
            first: 0,
            size,
        })
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(Errno) -> TransferError + use<'_> {
        move |errno| TransferError::File {
            action,
            path: self.path.clone(),
            error: errno.into(),
        }
    }

    fn bytes(&self, offset: u64, length: usize) -> Result<Vec<u8>, TransferError> {
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while filled < length {
            let at = offset + filled as u64;
            match pread(&self.file, &mut bytes[filled..], self.first + at) {
                Ok(0) => {
                    return Err(TransferError::Short {
                        path: self.path.clone(),
                        at,
                        expected: self.size,
                    });
                }
                Ok(count) => filled += count,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.failed("read")(errno)),
            }
        }
        Ok(bytes)
    }

    /// Returns the start and end of the next data from `at` on; the end of the disk if there is
    /// none.
    fn data_from(&self, at: u64) -> Result<(u64, u64), TransferError> {
        if self.first > 0 {
            return Ok((at, self.size));
        }
        let begin = match seek(&self.file, SeekFrom::Data(at)) {
            Ok(begin) => begin.min(self.size),
            Err(Errno::NXIO) => return Ok((self.size, self.size)),
            // Counts the rest as data: block devices and some file systems do not report holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok((at, self.size)),
            Err(errno) => return Err(self.failed("find the data of")(errno)),
        };
        let end = seek(&self.file, SeekFrom::Hole(begin));
        let end = end.map_err(self.failed("find the data of"))?;
        // Aligns the range, because blocks of a file system may be smaller than sectors.
        let begin = (begin - begin % ALIGN_BYTES).max(at);
        let end = end.max(begin).next_multiple_of(ALIGN_BYTES);
        Ok((begin, end.min(self.size)))
    }

    fn read(
        &self,
        begin: u64,
        give: &mut dyn FnMut(DiskPiece) -> bool,
    ) -> Result<(), TransferError> {
        let mut at = begin;
        while at < self.size {
            let (begin, end) = self.data_from(at)?;
            if begin > at && !give(DiskPiece::Zeroes(begin - at)) {
                return Ok(());
            }
            at = begin;
            while at < end {
                // Aligns requests to the piece length, regardless of where the data begins.
                let length = u64::from(PIECE_BYTES) - at % u64::from(PIECE_BYTES);
                let length = length.min(end - at);
                let bytes = self.bytes(at, usize::try_from(length).unwrap_or(0))?;
                at += length;
                if !give(DiskPiece::Data(bytes)) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// State of reading an export.
struct Reading<'c> {
    client: &'c mut Client,
    size: u64,
    align: u64,
    /// Extents that the server has reported and that were not requested yet: length, and whether
    /// they are zeroes.
    known: VecDeque<(u64, bool)>,
    known_to: u64,
    asked_to: u64,
    given_to: u64,
    /// Received pieces that wait for an earlier piece, by offset.
    early: BTreeMap<u64, DiskPiece>,
}

impl<'c> Reading<'c> {
    fn new(client: &'c mut Client, begin: u64) -> Result<Reading<'c>, TransferError> {
        // Discards replies of an earlier, cancelled read.
        while client.under_way() > 0 {
            client.receive()?;
        }
        Ok(Reading {
            size: client.offer().size,
            align: u64::from(client.offer().block_min).max(ALIGN_BYTES),
            client,
            known: VecDeque::new(),
            known_to: begin,
            asked_to: begin,
            given_to: begin,
            early: BTreeMap::new(),
        })
    }

    fn run(mut self, give: &mut dyn FnMut(DiskPiece) -> bool) -> Result<(), TransferError> {
        while self.given_to < self.size {
            // Counts pieces that wait, too, which bounds the memory.
            while self.client.under_way() + self.early.len() < REQUESTS_MAX
                && self.asked_to < self.size
            {
                self.ask()?;
            }
            while let Some(piece) = self.early.remove(&self.given_to) {
                self.given_to += piece.length().0;
                if !give(piece) {
                    return Ok(());
                }
            }
            if self.client.under_way() > 0 {
                self.receive()?;
            }
        }
        Ok(())
    }

    fn ask(&mut self) -> Result<(), TransferError> {
        while self.needs_more() && self.known_to < self.size {
            self.learn()?;
        }
        let at = self.asked_to;
        let Some((length, is_zero)) = self.known.pop_front() else {
            return Ok(());
        };
        if is_zero {
            self.early.insert(at, DiskPiece::Zeroes(length));
            self.asked_to += length;
            return Ok(());
        }
        let most = u64::from(self.client.offer().payload_max.min(PIECE_BYTES));
        let mut count = most.min(length);
        if at + count < self.size {
            count = (count - count % self.align).max(self.align.min(length));
        }
        if count < length {
            self.known.push_front((length - count, false));
        }
        self.asked_to += count;
        let count = u32::try_from(count).unwrap_or(PIECE_BYTES);
        Ok(self.client.submit(NbdRequest::Read(at, count))?)
    }

    fn needs_more(&self) -> bool {
        match self.known.front() {
            None => true,
            Some((length, is_zero)) => !is_zero && *length < self.align && self.known.len() == 1,
        }
    }

    fn add(&mut self, length: u64, is_zero: bool) {
        let (at, end) = (self.known_to, self.known_to + length);
        self.known_to = end;
        let begin = at.next_multiple_of(self.align);
        let last = if end == self.size {
            end
        } else {
            end - end % self.align
        };
        let parts = if is_zero && begin < last {
            [
                (begin - at, false),
                (last - begin, true),
                (end - last, false),
            ]
        } else {
            [(length, false), (0, false), (0, false)]
        };
        for (length, is_zero) in parts.into_iter().filter(|(length, _)| *length > 0) {
            match self.known.back_mut() {
                Some((before, kind)) if *kind == is_zero => *before += length,
                _ => self.known.push_back((length, is_zero)),
            }
        }
    }

    fn learn(&mut self) -> Result<(), TransferError> {
        let length = STATUS_BYTES.min(self.size - self.known_to);
        if self.client.offer().allocation.is_none() {
            self.add(length, false);
            return Ok(());
        }
        let count = u32::try_from(length).unwrap_or(u32::MAX);
        self.client
            .submit(NbdRequest::Status(self.known_to, count))?;
        let before = self.known_to;
        while self.known_to == before {
            self.receive()?;
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<(), TransferError> {
        match self.client.receive()? {
            NbdReply::Data(offset, bytes) => {
                self.early.insert(offset, DiskPiece::Data(bytes));
            }
            NbdReply::Extents(_, extents) => {
                for Extent { length, hole } in extents {
                    // Cuts the last extent, which may exceed the queried range.
                    let length = u64::from(length).min(self.size - self.known_to);
                    self.add(length, hole);
                }
            }
            NbdReply::Changed(..) | NbdReply::Flushed => {}
        }
        Ok(())
    }
}
