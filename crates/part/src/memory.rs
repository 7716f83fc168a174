//! Creates and reads sealed memory files, for bulk data between processes. A sealed file can
//! neither grow, shrink nor change, so the reader only has to validate the contents.

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, memfd_create};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

/// Maximum size of a memory file that is read, in bytes: a bundle contains all files and maps of a
/// version.
pub const BYTES_MAX: usize = 1 << 31;

/// Maximum size of a text that is read, in bytes: diagnostics, or the differences of a reload.
pub const TEXT_BYTES_MAX: usize = 16 << 20;

/// Maximum size of a state that is read or forwarded, in bytes: counters and states of servers,
/// some hundred bytes each.
pub const STATE_BYTES_MAX: usize = 256 << 20;

/// The reason why a memory file is not read.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The file is not sealed and could change during the read.
    #[error("the memory file is not sealed")]
    NotSealed,
    #[error("a memory file of {0} bytes")]
    TooLarge(u64),
    #[error("memory file: {0}")]
    System(io::Error),
}

impl From<Errno> for MemoryError {
    fn from(errno: Errno) -> Self {
        MemoryError::System(errno.into())
    }
}

fn seals() -> SealFlags {
    SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE
}

/// Creates a sealed memory file with these bytes.
///
/// # Errors
/// The system has no memory or no descriptors left.
pub fn create(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    sealed(name, |file| file.write_all(bytes))
}

fn sealed(name: &str, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<OwnedFd> {
    let fd = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = File::from(fd);
    write(&mut file)?;
    fcntl_add_seals(&file, seals() | SealFlags::SEAL)?;
    Ok(file.into())
}

/// Creates a sealed memory file with the content of a reader.
///
/// # Errors
/// The reader fails, or the system has no memory or no descriptors left.
pub fn copy(name: &str, from: &mut impl Read) -> io::Result<OwnedFd> {
    sealed(name, |file| io::copy(from, file).map(drop))
}

/// Reads a file from its beginning. The file offset, which other processes share, does not
/// change.
pub struct Reader<F> {
    file: F,
    at: u64,
}

impl<F: AsFd> Reader<F> {
    pub fn new(file: F) -> Reader<F> {
        Reader { file, at: 0 }
    }
}

impl<F: AsFd> Read for Reader<F> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = rustix::io::pread(&self.file, into, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// Checks that a descriptor of another process is a sealed memory file that can be
/// forwarded, and returns its size in bytes.
///
/// # Errors
/// The file is not sealed, or larger than `bytes_max`.
pub fn check(fd: impl AsFd, bytes_max: usize) -> Result<usize, MemoryError> {
    if !fcntl_get_seals(&fd)?.contains(seals()) {
        return Err(MemoryError::NotSealed);
    }
    let size = u64::try_from(fstat(&fd)?.st_size).unwrap_or(0);
    match usize::try_from(size) {
        Ok(length) if length <= bytes_max => Ok(length),
        _ => Err(MemoryError::TooLarge(size)),
    }
}

/// Reads a sealed memory file. The file offset, which other processes share, does not
/// change.
///
/// # Errors
/// The file is not sealed, too large, or cannot be read.
pub fn read(fd: impl AsFd) -> Result<Vec<u8>, MemoryError> {
    read_at_most(fd, BYTES_MAX)
}

fn read_at_most(fd: impl AsFd, bytes_max: usize) -> Result<Vec<u8>, MemoryError> {
    let mut bytes = Vec::with_capacity(check(&fd, bytes_max)?);
    let mut file = Reader::new(&fd).take(bytes_max as u64);
    file.read_to_end(&mut bytes).map_err(MemoryError::System)?;
    Ok(bytes)
}

/// Reads the state of another process.
///
/// # Errors
/// As [`read`].
pub fn state(fd: impl AsFd) -> Result<Vec<u8>, MemoryError> {
    read_at_most(fd, STATE_BYTES_MAX)
}

/// Reads a sealed memory file as text; invalid UTF-8 is replaced.
///
/// # Errors
/// As [`read`].
pub fn text(fd: impl AsFd) -> Result<String, MemoryError> {
    let bytes = read_at_most(fd, TEXT_BYTES_MAX)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_memory_is_read_repeatedly_and_immutable() {
        let fd = create("test", b"bundle").unwrap();
        for _ in 0..2 {
            assert_eq!(read(&fd).unwrap(), b"bundle");
        }
        assert!(rustix::io::write(&fd, b"x").is_err());
    }

    #[test]
    fn sparse_memory_file_does_not_exhaust_its_reader() {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let hole = memfd_create("hole", flags).unwrap();
        rustix::fs::ftruncate(&hole, TEXT_BYTES_MAX as u64 + 1).unwrap();
        fcntl_add_seals(&hole, seals()).unwrap();
        assert!(matches!(text(&hole), Err(MemoryError::TooLarge(_))));
    }

    #[test]
    fn unsealed_memory_file_is_refused() {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let open = memfd_create("open", flags).unwrap();
        assert!(matches!(read(&open), Err(MemoryError::NotSealed)));
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(read(&file).is_err());
    }
}
