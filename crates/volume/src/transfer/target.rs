//! Writes a whole disk for a copy: to an NBD server, a new file or a stream.

use super::{DiskPiece, PIECE_BYTES, REQUESTS_MAX, TransferError};
use crate::client::{Client, NbdRequest};
use rustix::fs::{
    CWD, FileType, FlockOperation, Mode, OFlags, RenameFlags, SeekFrom, fcntl_getfl, flock, fstat,
    fsync, ftruncate, openat, renameat_with, seek, unlinkat,
};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Maximum length of one zero request, bytes: a multiple of every sector size.
const ZEROES_BYTES_MAX: u64 = 1 << 30;
static ZEROES: [u8; 64 << 10] = [0; 64 << 10];

/// Disk that is written from start to end.
#[derive(Debug)]
pub enum TransferTarget {
    Server {
        client: Box<Client>,
        at: u64,
    },
    File {
        /// File with a temporary name until it is complete.
        partial: Arc<Partial>,
        at: u64,
    },
    Stream {
        file: File,
        /// True if zeroes are skipped: the stream is a regular file, and the write position is its
        /// end.
        skips: bool,
    },
}

/// Incomplete file with the name `NAME.partial`, which is removed unless it is completed.
#[derive(Debug)]
pub struct Partial {
    file: File,
    path: PathBuf,
    partial: PathBuf,
}

impl TransferTarget {
    pub fn server(client: Client) -> TransferTarget {
        let client = Box::new(client);
        TransferTarget::Server { client, at: 0 }
    }

    pub fn file(partial: Arc<Partial>) -> TransferTarget {
        TransferTarget::File { partial, at: 0 }
    }

    /// Writes to an open file, such as standard output.
    ///
    /// # Errors
    /// The file cannot be examined.
    pub fn stream(file: File) -> Result<TransferTarget, TransferError> {
        let skips = skips(&file).map_err(|errno| TransferError::Output(errno.into()))?;
        Ok(TransferTarget::Stream { file, skips })
    }

    pub(super) fn write(&mut self, piece: DiskPiece) -> Result<(), TransferError> {
        let length = piece.length().0;
        match self {
            TransferTarget::Server { client, at } => {
                to_server(client, *at, piece)?;
                *at += length;
            }
            TransferTarget::File { partial, at } => {
                if let DiskPiece::Data(bytes) = &piece {
                    partial.write(*at, bytes)?;
                }
                *at += length;
            }
            TransferTarget::Stream { file, skips } => {
                to_stream(file, *skips, &piece).map_err(TransferError::Output)?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<(), TransferError> {
        match self {
            TransferTarget::Server { mut client, at } => {
                // Zeroes the rest of the export after a shorter source.
                let begin = at.next_multiple_of(u64::from(client.offer().block_min));
                let rest = client.offer().size.saturating_sub(begin);
                to_server(&mut client, begin, DiskPiece::Zeroes(rest))?;
                while client.under_way() > 0 {
                    client.receive()?;
                }
                if client.offer().can_flush() {
                    client.call(NbdRequest::Flush)?;
                }
                Ok(())
            }
            TransferTarget::File { partial, at } => partial.finish(at),
            TransferTarget::Stream { mut file, skips } => {
                let finish = |file: &mut File| {
                    if skips {
                        // Extends the file, because zeroes at its end were skipped.
                        let end = seek(&*file, SeekFrom::Current(0))?;
                        ftruncate(&*file, end)?;
                        return fsync(&*file).map_err(io::Error::from);
                    }
                    file.flush()
                };
                finish(&mut file).map_err(TransferError::Output)
            }
        }
    }
}

fn submit(client: &mut Client, ask: NbdRequest) -> Result<(), TransferError> {
    while client.under_way() >= REQUESTS_MAX {
        client.receive()?;
    }
    Ok(client.submit(ask)?)
}

fn to_server(client: &mut Client, at: u64, piece: DiskPiece) -> Result<(), TransferError> {
    let offer = *client.offer();
    // Zeroes the rest of the sector in the export if the piece ends within one, which only the last
    // piece may do.
    let end = at + piece.length().0;
    let end = end
        .next_multiple_of(u64::from(offer.block_min))
        .min(offer.size);
    match piece {
        DiskPiece::Data(mut bytes) => {
            bytes.resize(usize::try_from(end - at).unwrap_or(bytes.len()), 0);
            submit(client, NbdRequest::Write(at, bytes))
        }
        DiskPiece::Zeroes(_) if offer.can_zero() => {
            pieces(at, end, ZEROES_BYTES_MAX, |at, length| {
                submit(client, NbdRequest::Zeroes(at, length))
            })
        }
        DiskPiece::Zeroes(_) => pieces(at, end, u64::from(PIECE_BYTES), |at, length| {
            submit(client, NbdRequest::Write(at, vec![0; length as usize]))
        }),
    }
}

fn pieces(
    mut at: u64,
    end: u64,
    most: u64,
    mut each: impl FnMut(u64, u32) -> Result<(), TransferError>,
) -> Result<(), TransferError> {
    while at < end {
        let length = most.min(end - at);
        each(at, u32::try_from(length).unwrap_or(u32::MAX))?;
        at += length;
    }
    Ok(())
}

fn to_stream(file: &mut File, skips: bool, piece: &DiskPiece) -> io::Result<()> {
    match piece {
        DiskPiece::Data(bytes) => file.write_all(bytes),
        DiskPiece::Zeroes(length) if skips => {
            let length = i64::try_from(*length).map_err(|_| io::ErrorKind::FileTooLarge)?;
            Ok(seek(&*file, SeekFrom::Current(length)).map(drop)?)
        }
        DiskPiece::Zeroes(length) => {
            let mut left = *length;
            while left > 0 {
                let count = left.min(ZEROES.len() as u64);
                file.write_all(&ZEROES[..usize::try_from(count).unwrap_or(0)])?;
                left -= count;
            }
            Ok(())
        }
    }
}

/// Returns whether zeroes may be skipped. The file must end at the write position, so that no old
/// data follows.
fn skips(file: &File) -> Result<bool, Errno> {
    let stat = fstat(file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile
        || fcntl_getfl(file)?.contains(OFlags::APPEND)
    {
        return Ok(false);
    }
    let at = seek(file, SeekFrom::Current(0))?;
    Ok(u64::try_from(stat.st_size).is_ok_and(|size| size <= at))
}

impl Partial {
    /// Creates a new file.
    ///
    /// # Errors
    /// The file exists, another process is writing it, or a system call fails.
    pub fn create(path: &Path) -> Result<Partial, TransferError> {
        let failed = |action, path: &Path| {
            let path = path.to_path_buf();
            move |errno: Errno| TransferError::File {
                action,
                path,
                error: errno.into(),
            }
        };
        if path.symlink_metadata().is_ok() {
            return Err(TransferError::Exists(path.to_path_buf()));
        }
        let mut name = path.file_name().map(OsString::from).unwrap_or_default();
        name.push(".partial");
        let partial = path.with_file_name(name);
        // Overwrites the leftover of a killed process.
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
        let file = openat(CWD, &partial, flags, mode).map_err(failed("create", &partial))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let what = "another process writes to it";
                return Err(TransferError::InUse {
                    path: partial,
                    what,
                });
            }
            Err(errno) => return Err(failed("lock", &partial)(errno)),
        }
        ftruncate(&file, 0).map_err(failed("empty", &partial))?;
        Ok(Partial {
            file: file.into(),
            path: path.to_path_buf(),
            partial,
        })
    }

    pub fn partial_path(&self) -> &Path {
        &self.partial
    }

    pub fn discard(&self) {
        // Ignores failures, because the failed copy is reported anyway.
        let _ = unlinkat(CWD, &self.partial, rustix::fs::AtFlags::empty());
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Result<(), TransferError> {
        let written = self.file.write_all_at(bytes, at);
        written.map_err(|error| self.failed("write", error))
    }

    fn finish(&self, size: u64) -> Result<(), TransferError> {
        let io = |action| move |errno: Errno| self.failed(action, errno.into());
        ftruncate(&self.file, size).map_err(io("extend"))?;
        fsync(&self.file).map_err(io("flush"))?;
        let flags = RenameFlags::NOREPLACE;
        let renamed = match renameat_with(CWD, &self.partial, CWD, &self.path, flags) {
            // Renames without RENAME_NOREPLACE if the file system does not support it. The target
            // did not exist a moment ago.
            Err(Errno::INVAL | Errno::NOSYS) => {
                rustix::fs::renameat(CWD, &self.partial, CWD, &self.path)
            }
            other => other,
        };
        match renamed {
            Ok(()) => {}
            Err(Errno::EXIST) => return Err(TransferError::Exists(self.path.clone())),
            Err(errno) => return Err(io("rename")(errno)),
        }
        let directory = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(CWD, directory, flags, Mode::empty()).map_err(io("flush"))?;
        fsync(directory).map_err(io("flush"))
    }

    fn failed(&self, action: &'static str, error: io::Error) -> TransferError {
        TransferError::File {
            action,
            path: self.partial.clone(),
            error,
        }
    }
}
