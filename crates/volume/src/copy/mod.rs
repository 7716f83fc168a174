//! Copies of whole disks from one node to another: both ends of a connection over which
//! checksums are compared first, and only what the receiver lacks is sent, compressed.
//!
//! - [`frame`] is what is sent, as bytes.
//! - [`chunk`] cuts disks, and has the checksums and the compression.
//! - [`Meeting`] is where a command and the volume role of its node meet.
//! - [`send()`] reads a source, in the command; [`receive()`] writes a volume, in its role.
//!
//! It blocks, and knows neither TLS nor who the other side is: a stream carries it, at whose
//! other end [`wire::Relay`] is. Nothing of a disk is decided by position: what is
//! there already is never sent again, so a copy that broke continues when it is repeated.

pub mod chunk;
pub mod frame;
mod meeting;
mod receive;
mod send;

pub use meeting::{Meeting, random};
pub use receive::receive;
pub use send::{Sending, send};

use crate::transfer::TransferError;
use chunk::Sum;
use frame::{Frame, FrameError};
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a side may be silent, which sends [`Frame::Alive`] if it has nothing else.
pub const SILENT_MAX: Duration = Duration::from_secs(20);
/// After which silence it sends that.
const ALIVE_EVERY: Duration = Duration::from_secs(5);
/// How long one operation of the receiving volume may take: it may wait for its majority.
const STALL_MAX: Duration = Duration::from_secs(120);

/// Why a copy is not complete.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The connection broke. Another attempt continues.
    #[error("the connection broke: {0}")]
    Broken(io::Error),
    /// Nothing came for too long.
    #[error("nothing came from the other side for {} s", STALL_MAX.as_secs())]
    Silent,
    /// The other side does not want it.
    #[error("{words}")]
    Refused {
        /// Why not.
        words: String,
        /// Another attempt may succeed.
        again: bool,
    },
    /// A disk.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// The other side does not keep to the protocol, or is of another version.
    #[error("the other side sent {0}")]
    Protocol(&'static str),
    /// Both disks are not equal in the end.
    #[error("the checksums of source and target differ")]
    Differs {
        /// What was sent.
        sent: Sum,
        /// What the target has.
        target: Sum,
    },
}

impl CopyError {
    /// Whether another attempt may succeed, with no change by anybody.
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

/// Where frames are written, also from several threads.
struct Frames<'s> {
    stream: &'s UnixStream,
    state: Mutex<(Vec<u8>, Instant)>,
}

impl<'s> Frames<'s> {
    fn new(stream: &'s UnixStream) -> Frames<'s> {
        let state = Mutex::new((Vec::new(), Instant::now()));
        Frames { stream, state }
    }

    fn send(&self, frame: &Frame) -> Result<(), CopyError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (bytes, sent) = &mut *state;
        bytes.clear();
        frame.encode(bytes);
        let mut stream = self.stream;
        stream.write_all(bytes).map_err(CopyError::Broken)?;
        *sent = Instant::now();
        Ok(())
    }

    /// Says that this side is there, if it has sent nothing for a while.
    fn alive(&self) -> Result<(), CopyError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = state.1.elapsed();
        drop(state);
        match silent >= ALIVE_EVERY {
            true => self.send(&Frame::Alive),
            false => Ok(()),
        }
    }
}
