//! Provides buffers for encrypted TLS records from a pool per thread. A buffer is held only while
//! it contains bytes, so an idle connection has none. The buffers are larger than those for
//! plaintext by the overhead of encryption, so that a full plaintext buffer is sent in one write.

use std::cell::RefCell;
use std::io;

use reactor::StreamSocket;

/// Capacity of a buffer: four full records and their overhead, bytes.
pub(super) const CAPACITY: usize = 64 * 1024 + 512;
const POOLED_MAX: usize = 64;

thread_local! {
    static POOL: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer that is consumed at the front and filled at the end.
pub(super) struct Bytes {
    memory: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Bytes {
    pub(super) fn from_pool() -> Bytes {
        let pooled = POOL.try_with(|pool| pool.borrow_mut().pop()).ok().flatten();
        Bytes {
            // A new buffer is zeroed; a reused one still has old bytes.
            memory: pooled.unwrap_or_else(|| vec![0; CAPACITY].into_boxed_slice()),
            start: 0,
            end: 0,
        }
    }

    /// Creates a buffer without memory, into which nothing fits before [`Bytes::expand`].
    pub(super) fn none() -> Bytes {
        Bytes {
            memory: Box::default(),
            start: 0,
            end: 0,
        }
    }

    /// Frees all memory beyond the contained bytes, while the connection waits for its peer.
    pub(super) fn shrink(&mut self) {
        let mut kept = Bytes::none();
        kept.memory = self.filled().into();
        kept.end = kept.memory.len();
        *self = kept;
    }

    pub(super) fn expand(&mut self) {
        if self.memory.len() < CAPACITY {
            let mut whole = Bytes::from_pool();
            whole.extend(self.filled());
            *self = whole;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(super) fn filled(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }

    pub(super) fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.end]
    }

    pub(super) fn spare(&mut self) -> &mut [u8] {
        &mut self.memory[self.end..]
    }

    pub(super) fn commit(&mut self, n: usize) {
        self.end = (self.end + n).min(self.memory.len());
    }

    /// Appends all of `bytes`. Returns false and appends nothing if there is not enough space.
    pub(super) fn extend(&mut self, bytes: &[u8]) -> bool {
        match self.spare().get_mut(..bytes.len()) {
            Some(room) => room.copy_from_slice(bytes),
            None => return false,
        }
        self.commit(bytes.len());
        true
    }

    pub(super) fn consume(&mut self, n: usize) {
        self.start += n.min(self.len());
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    pub(super) fn compact(&mut self) {
        if self.start > 0 {
            self.memory.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.len());
        }
    }

    /// Reads from a socket into the free space. Returns 0 at the end of the stream, and the error
    /// `OutOfMemory` if there is no free space.
    pub(super) fn read_from(&mut self, socket: &StreamSocket) -> io::Result<usize> {
        if self.spare().is_empty() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let n = socket.try_read(self.spare())?;
        self.commit(n);
        Ok(n)
    }

    /// Writes to a socket until the buffer is empty. If the socket is full, the rest stays and the
    /// error is `WouldBlock`.
    pub(super) fn write_to(&mut self, socket: &StreamSocket, more: bool) -> io::Result<()> {
        while !self.is_empty() {
            let n = socket.try_write_before(self.filled(), more)?;
            self.consume(n);
        }
        Ok(())
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        if memory.len() < CAPACITY {
            return;
        }
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < POOLED_MAX {
                pool.push(memory);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_held_only_while_there_are_bytes() {
        let mut bytes = Bytes::none();
        assert!(bytes.spare().is_empty() && !bytes.extend(b"no room"));
        bytes.expand();
        assert!(bytes.extend(b"some bytes"));
        bytes.consume(5);
        bytes.shrink();
        assert_eq!(bytes.filled(), b"bytes");
        assert!(bytes.spare().is_empty());
        bytes.expand();
        assert!(bytes.extend(b" more"));
        assert_eq!(bytes.filled(), b"bytes more");
        bytes.consume(10);
        bytes.shrink();
        drop(bytes);
        // Small buffers are not put into the pool.
        POOL.with_borrow(|pool| assert!(pool.iter().all(|memory| memory.len() == CAPACITY)));
    }
}
