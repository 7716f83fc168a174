//! Sends chunks of files from the page cache to the socket of an HTTP client without a copy
//! (sendfile).
//!
//! hyper writes only bytes from memory. The body therefore gives it a placeholder with the length
//! of the chunk and meaningless bytes, and the connection sends the chunk where hyper writes the
//! placeholder. hyper writes data in the order in which it gets them. It merges pieces only if the
//! connection does not support vectored writes.

use crate::source::{OpenFile, SourceReadError};
use hyper::body::Bytes;
use part::lock;
use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, LazyLock, Mutex};

/// Maximum length of a chunk, bytes: about what the kernel buffers for a fast client, so that most
/// chunks take one or two calls.
pub(super) const CHUNK_BYTES: usize = 1 << 20;

/// Memory of all placeholders. The bytes are never read, so the system allocates no memory for
/// them.
static HOLDER: LazyLock<Bytes> = LazyLock::new(|| vec![0; CHUNK_BYTES].into());

/// Reason why a fetch is broken.
pub(super) type SharedFetchError = Arc<Mutex<Option<String>>>;

/// Chunks of a connection for which hyper has placeholders.
#[derive(Clone, Default)]
pub(super) struct FileChunks(Arc<Mutex<VecDeque<Chunk>>>);

struct Chunk {
    file: OpenFile,
    at: u64,
    left: usize,
    broken: SharedFetchError,
}

pub(super) fn is_holder(bytes: &[u8]) -> bool {
    HOLDER.as_ptr_range().contains(&bytes.as_ptr())
}

impl FileChunks {
    /// Queues a chunk of a file, at most [`CHUNK_BYTES`] long, and returns the placeholder for it.
    pub(super) fn push(
        &self,
        file: OpenFile,
        at: u64,
        length: usize,
        broken: SharedFetchError,
    ) -> Bytes {
        let holder = HOLDER.slice(..length.min(CHUNK_BYTES));
        lock(&self.0).push_back(Chunk {
            file,
            at,
            left: holder.len(),
            broken,
        });
        holder
    }

    /// Sends at most `length` bytes of the first chunk. Returns how many bytes the socket accepted.
    ///
    /// # Errors
    ///
    /// No chunk is queued, or a system call fails. The error is `WouldBlock` if the socket accepts
    /// no data now, `UnexpectedEof` if the file was truncated.
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
                *lock(&chunk.broken) = Some(SourceReadError::Truncated.to_string());
            }
            Err(_) => {}
        }
        if chunk.left == 0 {
            all.pop_front();
        }
        sent
    }
}
