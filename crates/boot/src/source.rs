//! Opens [`FetchContent`] for a file server, and reads its length and its bytes, or sends them to a
//! socket. Refuses everything but regular files, without waiting for the writer of a FIFO.

use crate::content::FetchContent;
use rustix::fs::{Advice, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, ReadWriteFlags};
use std::fs::File;
use std::io;
use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use thiserror::Error;

const FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// Opened content. A clone reads from the same open file.
#[derive(Clone, Debug)]
pub enum OpenContent {
    Bytes(Arc<[u8]>),
    File(OpenFile),
}

/// Open regular file, with its properties when it was opened.
#[derive(Clone, Debug)]
pub struct OpenFile {
    file: Arc<File>,
    pub bytes: u64,
    /// Modification time: seconds and nanoseconds since 1970.
    pub modified: (i64, u32),
    /// Inode number, which changes when the file is replaced.
    pub inode: u64,
}

/// Reason why a content cannot be opened.
#[derive(Debug, Error)]
pub enum ContentOpenError {
    #[error("cannot open the file: {}", language::reason(.0))]
    Open(#[from] io::Error),
    #[error("not a regular file")]
    NotAFile,
}

/// Reason why bytes of a source cannot be read.
#[derive(Debug, Error)]
pub enum SourceReadError {
    #[error("cannot read the file: {}", language::reason(.0))]
    Read(#[from] io::Error),
    #[error("the file was truncated while it was sent")]
    Truncated,
}

impl OpenContent {
    /// Opens a content without waiting for the writer of a FIFO.
    ///
    /// # Errors
    ///
    /// There is no such file, or it is not a regular file.
    pub fn open(content: &FetchContent) -> Result<OpenContent, ContentOpenError> {
        match content {
            FetchContent::Made(bytes) => Ok(OpenContent::Bytes(Arc::clone(bytes))),
            FetchContent::File(path) => {
                let fd = rustix::fs::open(path, FLAGS, Mode::empty()).map_err(io::Error::from)?;
                Ok(OpenContent::File(OpenFile::of(fd)?))
            }
        }
    }

    /// Opens a content if that needs no disk access. None: disk access may be needed, or the
    /// content cannot be opened (openat2(2), Linux 5.12).
    pub fn open_at_once(content: &FetchContent) -> Option<OpenContent> {
        let path = match content {
            FetchContent::Made(bytes) => return Some(OpenContent::Bytes(Arc::clone(bytes))),
            FetchContent::File(path) => path,
        };
        let cached = ResolveFlags::CACHED;
        let fd = rustix::fs::openat2(CWD, path, FLAGS, Mode::empty(), cached).ok()?;
        OpenFile::of(fd).ok().map(OpenContent::File)
    }

    pub fn bytes(&self) -> u64 {
        match self {
            OpenContent::Bytes(bytes) => bytes.len() as u64,
            OpenContent::File(file) => file.bytes,
        }
    }

    /// Fills `buffer` with the bytes from `at`.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or ends before the last byte of `buffer`.
    pub fn read(&self, at: u64, buffer: &mut [u8]) -> Result<(), SourceReadError> {
        match self {
            OpenContent::Bytes(bytes) => {
                let from = usize::try_from(at).map_err(|_| SourceReadError::Truncated)?;
                let end = from.checked_add(buffer.len());
                let part = end.and_then(|end| bytes.get(from..end));
                buffer.copy_from_slice(part.ok_or(SourceReadError::Truncated)?);
                Ok(())
            }
            OpenContent::File(file) => match file.file.read_exact_at(buffer, at) {
                Ok(()) => Ok(()),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    Err(SourceReadError::Truncated)
                }
                Err(error) => Err(error.into()),
            },
        }
    }

    /// Fills `buffer` with the bytes from `at`, if that needs no disk access. Returns whether
    /// `buffer` was filled.
    pub fn read_at_once(&self, at: u64, buffer: &mut [u8]) -> bool {
        let file = match self {
            OpenContent::Bytes(_) => return self.read(at, buffer).is_ok(),
            OpenContent::File(file) => file,
        };
        let wanted = buffer.len();
        let mut into = [IoSliceMut::new(buffer)];
        let read = rustix::io::preadv2(&*file.file, &mut into, at, ReadWriteFlags::NOWAIT);
        read == Ok(wanted)
    }
}

/// Number of the system call cachestat(2), Linux 6.5, which is the same on all architectures.
const CACHESTAT: libc::c_long = 451;

impl OpenFile {
    /// Returns whether `length` bytes from `at` can be read without disk access. False also if the
    /// kernel does not report that.
    pub fn is_in_memory(&self, at: u64, length: u64) -> bool {
        // SAFETY: it only returns a number.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let page = u64::try_from(page).unwrap_or(1).max(1);
        let (Some(last), range) = (
            at.checked_add(length).and_then(|end| end.checked_sub(1)),
            [at, length],
        ) else {
            return false;
        };
        // Pages in the cache, dirty ones, under writeback, evicted, evicted recently.
        let mut pages = [0_u64; 5];
        // SAFETY: the kernel reads two numbers of `range`, writes five to `pages`, and keeps neither.
        let asked = unsafe {
            libc::syscall(
                CACHESTAT,
                self.file.as_raw_fd(),
                range.as_ptr(),
                pages.as_mut_ptr(),
                0,
            )
        };
        if asked != 0 || pages[0] <= last / page - at / page {
            return false;
        }
        // Tests the last page, which is read last: a page that is still being read counts as
        // cached.
        let mut byte = [0];
        let mut into = [IoSliceMut::new(&mut byte)];
        rustix::io::preadv2(&*self.file, &mut into, last, ReadWriteFlags::NOWAIT) == Ok(1)
    }

    /// Sends at most `length` bytes from `at` to a socket, without a copy. Returns how many the
    /// socket accepted.
    ///
    /// # Errors
    ///
    /// A system call fails. The error is `WouldBlock` if the socket accepts no data now,
    /// `UnexpectedEof` if the file ends before.
    pub fn send(&self, socket: impl AsFd, at: u64, length: usize) -> io::Result<usize> {
        let mut at = at;
        match rustix::fs::sendfile(socket, &*self.file, Some(&mut at), length)? {
            0 if length > 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            sent => Ok(sent),
        }
    }

    fn of(fd: OwnedFd) -> Result<OpenFile, ContentOpenError> {
        let about = rustix::fs::fstat(&fd).map_err(io::Error::from)?;
        if FileType::from_raw_mode(about.st_mode) != FileType::RegularFile {
            return Err(ContentOpenError::NotAFile);
        }
        // Gives the kernel a hint to read ahead; an error has no consequence.
        let _: Result<(), Errno> = rustix::fs::fadvise(&fd, 0, None, Advice::Sequential);
        Ok(OpenFile {
            file: Arc::new(File::from(fd)),
            bytes: u64::try_from(about.st_size).unwrap_or(0),
            modified: (
                about.st_mtime,
                u32::try_from(about.st_mtime_nsec).unwrap_or(0),
            ),
            inode: about.st_ino,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::ScratchDirectory;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::path::Path;

    fn opened(path: &Path) -> Result<OpenContent, ContentOpenError> {
        OpenContent::open(&FetchContent::File(path.to_owned()))
    }

    #[test]
    fn a_file_is_read_at_any_offset_and_never_behind_its_end() {
        let scratch = ScratchDirectory::new().unwrap();
        let path = scratch.write("a", "0123456789").unwrap();
        let made = OpenContent::Bytes(Arc::from(b"0123456789".as_slice()));
        for source in [opened(&path).unwrap(), made] {
            assert_eq!(source.bytes(), 10);
            let mut four = [0; 4];
            source.read(6, &mut four).unwrap();
            assert_eq!(&four, b"6789");
            let behind = source.read(7, &mut four);
            assert!(matches!(behind, Err(SourceReadError::Truncated)));
            let behind = source.read(u64::MAX - 1, &mut four);
            assert!(behind.is_err());
        }
    }

    #[test]
    fn what_is_opened_at_once_is_what_is_opened_otherwise() {
        let scratch = ScratchDirectory::new().unwrap();
        let path = scratch.write("a", "0123456789").unwrap();
        let at_once = |path: &Path| OpenContent::open_at_once(&FetchContent::File(path.to_owned()));
        // A kernel without the feature never reports a file as cached.
        if let Some(source) = at_once(&path) {
            let mut four = [0; 4];
            source.read(6, &mut four).unwrap();
            assert_eq!((&four, source.bytes()), (b"6789", 10));
        }
        assert!(at_once(scratch.path()).is_none(), "a directory");
        assert!(at_once(&scratch.path().join("none")).is_none());
        let made = OpenContent::open_at_once(&FetchContent::Made(Arc::from(b"1".as_slice())));
        assert_eq!(made.map(|made| made.bytes()), Some(1));
    }

    #[test]
    fn a_socket_gets_the_bytes_of_a_file_and_hears_of_its_end() {
        let scratch = ScratchDirectory::new().unwrap();
        let path = scratch.write("a", "0123456789").unwrap();
        let OpenContent::File(file) = opened(&path).unwrap() else {
            unreachable!("it is a file");
        };
        let (mut near, mut far) = UnixStream::pair().unwrap();
        assert_eq!(file.send(&near, 6, 3).unwrap(), 3);
        assert_eq!(file.send(&near, 9, 3).unwrap(), 1);
        let end = file.send(&near, 10, 3).unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
        near.write_all(b".").unwrap();
        drop(near);
        let mut got = String::new();
        far.read_to_string(&mut got).unwrap();
        assert_eq!(got, "6789.");
    }

    #[test]
    fn only_what_was_read_or_written_is_in_memory() {
        let scratch = ScratchDirectory::new().unwrap();
        let path = scratch.path().join("a");
        let bytes = File::create(&path).unwrap();
        bytes.set_len(100 << 20).unwrap();
        bytes.write_all_at(&[1; 20_000], 5_000).unwrap();
        let OpenContent::File(file) = opened(&path).unwrap() else {
            unreachable!("it is a file");
        };
        let is_there = [(5_000, 20_000), (9_000, 1), (24_999, 1)];
        let there = is_there.map(|(at, length)| file.is_in_memory(at, length));
        // A kernel without cachestat never reports data as cached.
        assert!(there == [true; 3] || there == [false; 3], "{there:?}");
        for (at, length) in [
            (0, 1 << 20),
            (50 << 20, 1),
            (24_999, 60 << 20),
            (0, 0),
            (u64::MAX, 2),
        ] {
            assert!(!file.is_in_memory(at, length), "{at} {length}");
        }
    }

    #[test]
    fn a_directory_a_fifo_and_a_missing_file_are_refused_at_once() {
        let scratch = ScratchDirectory::new().unwrap();
        let directory = opened(scratch.path());
        assert!(matches!(directory, Err(ContentOpenError::NotAFile)));
        let fifo = scratch.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert!(matches!(opened(&fifo), Err(ContentOpenError::NotAFile)));
        let missing = opened(&scratch.path().join("none")).unwrap_err();
        assert_eq!(
            missing.to_string(),
            "cannot open the file: No such file or directory"
        );
    }
}
