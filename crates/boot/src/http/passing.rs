//! Chunks of files that go from the system's memory to the socket (sendfile), without a copy in this process.
//!
//! hyper writes the bytes of a body that it was given. So the body gives it a place holder of the length of the
//! chunk, whose bytes mean nothing, and the connection sends the chunk where hyper writes the place holder. hyper
//! writes in the order in which it was given something, and only gathers what it was given where the connection
//! takes several pieces at a time.

use crate::source::{NotRead, Opened};
use hyper::body::Bytes;
use part::lock;
use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, LazyLock, Mutex};

/// The longest chunk: about what the system buffers for a fast client, so that most chunks take one call or two.
pub(super) const CHUNK_BYTES: usize = 1 << 20;

/// All place holders are of these bytes. They stay unread, so the system gives them no memory.
static HOLDER: LazyLock<Bytes> = LazyLock::new(|| vec![0; CHUNK_BYTES].into());

/// Why a fetch is broken, in words.
pub(super) type Broken = Arc<Mutex<Option<String>>>;

/// The chunks of a connection that hyper has place holders of.
#[derive(Clone, Default)]
pub(super) struct Passing(Arc<Mutex<VecDeque<Chunk>>>);

struct Chunk {
    file: Opened,
    at: u64,
    left: usize,
    broken: Broken,
}

/// Whether bytes are of a place holder.
pub(super) fn is_holder(bytes: &[u8]) -> bool {
    HOLDER.as_ptr_range().contains(&bytes.as_ptr())
}

impl Passing {
    /// Has a chunk of a file, at most [`CHUNK_BYTES`] long, sent where the place holder is written.
    pub(super) fn push(&self, file: Opened, at: u64, length: usize, broken: Broken) -> Bytes {
        let holder = HOLDER.slice(..length.min(CHUNK_BYTES));
        lock(&self.0).push_back(Chunk {
            file,
            at,
            left: holder.len(),
            broken,
        });
        holder
    }

    /// Sends of the first chunk at most `length` bytes. Returns how many the socket took.
    ///
    /// # Errors
    /// The system's; `WouldBlock` where the socket takes none now, `UnexpectedEof` where the file was truncated.
    pub(super) fn send(&self, socket: impl AsFd, length: usize) -> io::Result<usize> {
        let mut all = lock(&self.0);
        let Some(chunk) = all.front_mut() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let sent = chunk.file.send(socket, chunk.at, length.min(chunk.left));
        match &sent {
            Ok(sent) => {
                chunk.at = chunk.at.saturating_add(*sent as u64);
                chunk.left = chunk.left.saturating_sub(*sent);
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                *lock(&chunk.broken) = Some(NotRead::Truncated.to_string());
            }
            Err(_) => {}
        }
        if chunk.left == 0 {
            all.pop_front();
        }
        sent
    }
}
