//! Connects a command with the volume role of its node: the command listens on a socket in the
//! runtime directory, and sends the role the number in the socket's name.

use crate::message::copy_socket;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, CWD, Mode, chmodat};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Returns a random, practically unique number.
///
/// # Errors
/// The system has no random bytes.
pub fn random() -> Result<u64, Errno> {
    let mut bytes = [0; 8];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(u64::from_ne_bytes(bytes))
}

/// Listening socket of a command. Dropping the value removes the socket.
#[derive(Debug)]
pub struct CommandListener {
    listener: UnixListener,
    path: PathBuf,
    number: u64,
}

impl CommandListener {
    /// Listens on a new socket.
    ///
    /// # Errors
    /// A system call fails.
    pub fn new(runtime: &Path) -> io::Result<CommandListener> {
        let number = random()?;
        let path = copy_socket(runtime, number);
        let listener = UnixListener::bind(&path)?;
        let meeting = CommandListener {
            listener,
            path,
            number,
        };
        let mode = Mode::RUSR | Mode::WUSR;
        chmodat(CWD, &meeting.path, mode, AtFlags::empty())?;
        Ok(meeting)
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    /// Waits for the role's connection.
    ///
    /// # Errors
    /// The role does not connect in time, or a system call fails.
    pub fn accept(self, limit: Duration) -> io::Result<UnixStream> {
        let mut watched = [PollFd::new(&self.listener, PollFlags::IN)];
        let limit = Timespec::try_from(limit).ok();
        match poll(&mut watched, limit.as_ref())? {
            0 => Err(io::ErrorKind::TimedOut.into()),
            _ => Ok(self.listener.accept()?.0),
        }
    }
}

impl Drop for CommandListener {
    fn drop(&mut self) {
        // Ignores failures: the socket may have been removed already.
        let _ = rustix::fs::unlink(&self.path);
    }
}
