//! Where a command and the volume role of its node meet: the command listens at a socket in the
//! runtime directory, whose number it tells the role.

use crate::message::copy_socket;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, CWD, Mode, chmodat};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Returns a number that nobody else has.
///
/// # Errors
/// The system has no random bytes.
pub fn random() -> Result<u64, Errno> {
    let mut bytes = [0; 8];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(u64::from_ne_bytes(bytes))
}

/// A socket of a command. It is removed with this value.
#[derive(Debug)]
pub struct Meeting {
    listener: UnixListener,
    path: PathBuf,
    number: u64,
}

impl Meeting {
    /// Listens at a new socket.
    ///
    /// # Errors
    /// The system's.
    pub fn new(runtime: &Path) -> io::Result<Meeting> {
        let number = random()?;
        let path = copy_socket(runtime, number);
        let listener = UnixListener::bind(&path)?;
        let meeting = Meeting {
            listener,
            path,
            number,
        };
        let mode = Mode::RUSR | Mode::WUSR;
        chmodat(CWD, &meeting.path, mode, AtFlags::empty())?;
        Ok(meeting)
    }

    /// Its number, which the role is told.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Waits for the role.
    ///
    /// # Errors
    /// It does not come, or the system's.
    pub fn accept(self, limit: Duration) -> io::Result<UnixStream> {
        let mut watched = [PollFd::new(&self.listener, PollFlags::IN)];
        let limit = Timespec::try_from(limit).ok();
        match poll(&mut watched, limit.as_ref())? {
            0 => Err(io::ErrorKind::TimedOut.into()),
            _ => Ok(self.listener.accept()?.0),
        }
    }
}

impl Drop for Meeting {
    fn drop(&mut self) {
        // It may be gone.
        let _ = rustix::fs::unlink(&self.path);
    }
}
