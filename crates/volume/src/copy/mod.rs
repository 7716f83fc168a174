//! Copies whole disks between nodes. Both ends first compare checksums, and then transfer only the
//! chunks that the target lacks, compressed.
//!
//! - [`frame`] is the wire format.
//! - [`chunk`] splits disks into chunks, and implements checksums and compression.
//! - [`CommandListener`] connects a command with the volume role of its node.
//! - [`send()`] reads a source, in the command; [`receive()`] writes a volume, in its role.
//!
//! All calls block. TLS and authentication happen elsewhere: [`wire::Relay`] is at the other end
//! of the stream. Chunks that the target already has are never sent again, so a repeated copy
//! resumes after a broken connection.

pub mod chunk;
pub mod frame;
mod meeting;
mod receive;
mod send;

pub use meeting::{CommandListener, random};
pub use receive::receive;
pub use send::{CopyTransfer, send};

use crate::transfer::TransferError;
use chunk::Sum;
use frame::{CopyFrame, FrameError};
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Receive timeout of the target. A side without other data sends [`CopyFrame::Alive`].
pub const SILENT_MAX: Duration = Duration::from_secs(20);
const ALIVE_EVERY: Duration = Duration::from_secs(5);
/// Receive timeout of the source: the target's volume may wait for its majority.
const STALL_MAX: Duration = Duration::from_secs(120);

/// Reason why a copy is incomplete.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The connection broke. Another attempt resumes the copy.
    #[error("the connection broke: {0}")]
    Broken(io::Error),
    #[error("the other side sent nothing in time")]
    Silent,
    #[error("{words}")]
    Refused { words: String, again: bool },
    #[error(transparent)]
    Transfer(#[from] TransferError),
    #[error("the other side sent {0}")]
    Protocol(&'static str),
    #[error("the checksums of source and target differ")]
    Differs { sent: Sum, target: Sum },
}

impl CopyError {
    /// Returns whether another attempt may succeed without operator action.
    pub fn may_repeat(&self) -> bool {
        matches!(
            self,
            CopyError::Broken(_) | CopyError::Refused { again: true, .. }
        )
    }
}

impl From<FrameError> for CopyError {
    fn from(error: FrameError) -> CopyError {
        match error {
            FrameError::Malformed => CopyError::Protocol("a malformed frame"),
            FrameError::Io(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => CopyError::Silent,
                _ => CopyError::Broken(error),
            },
        }
    }
}

/// Writer of frames, usable from several threads.
struct Frames<'s> {
    stream: &'s UnixStream,
    state: Mutex<(Vec<u8>, Instant)>,
}

impl<'s> Frames<'s> {
    fn new(stream: &'s UnixStream) -> Frames<'s> {
        let state = Mutex::new((Vec::new(), Instant::now()));
        Frames { stream, state }
    }

    fn send(&self, frame: &CopyFrame) -> Result<(), CopyError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (bytes, sent) = &mut *state;
        bytes.clear();
        frame.encode(bytes);
        let mut stream = self.stream;
        stream.write_all(bytes).map_err(CopyError::Broken)?;
        *sent = Instant::now();
        Ok(())
    }

    fn alive(&self) -> Result<(), CopyError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = state.1.elapsed();
        drop(state);
        if silent >= ALIVE_EVERY {
            self.send(&CopyFrame::Alive)
        } else {
            Ok(())
        }
    }
}
