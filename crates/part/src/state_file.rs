//! Reads and writes the file in which a role stores the state that its successor starts with, also
//! after SIGKILL. The supervisor opens the file and never decodes the state.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

pub const BYTES_MAX: usize = 32 << 20;

const HEAD_BYTES: u64 = 8;

/// Returns the state that a state file contains. None if nothing is stored, or if the last write
/// was interrupted.
pub fn read(file: BorrowedFd<'_>) -> Option<Vec<u8>> {
    let file = File::from(file.try_clone_to_owned().ok()?);
    let mut head = [0; HEAD_BYTES as usize];
    file.read_exact_at(&mut head, 0).ok()?;
    let length = usize::try_from(u64::from_le_bytes(head)).ok()?;
    if length == 0 || length > BYTES_MAX {
        return None;
    }
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, HEAD_BYTES).ok()?;
    Some(bytes)
}

/// Replaces the state in a state file.
///
/// # Errors
/// The system call fails; `FileTooLarge` for more than [`BYTES_MAX`], which changes nothing.
pub fn write(file: &impl AsFd, bytes: &[u8]) -> io::Result<()> {
    if bytes.len() > BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let fd = file.as_fd();
    let put = |bytes: &[u8], at: u64| -> io::Result<()> {
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            done += rustix::io::pwrite(fd, rest, at + done as u64)?;
        }
        Ok(())
    };
    put(&0u64.to_le_bytes(), 0)?;
    put(bytes, HEAD_BYTES)?;
    put(&(bytes.len() as u64).to_le_bytes(), 0)
}
