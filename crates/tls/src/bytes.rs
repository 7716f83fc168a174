//! Memory for records on their way, from a pool of the thread. It is held only
//! while there are bytes in it, so an idle connection has none. Larger than the
//! buffers of plaintext by what sealing adds, so that a full one of those goes
//! out in one write.

use std::cell::RefCell;
use std::io;

use reactor::Socket;

/// How many bytes one holds: four full records and what the rest adds up to.
pub(super) const CAPACITY: usize = 64 * 1024 + 512;
/// Free ones that a thread keeps.
const POOLED_MAX: usize = 64;

thread_local! {
    static POOL: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes in the middle of a piece of memory: consumed at the front, filled at
/// the end.
pub(super) struct Bytes {
    memory: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Bytes {
    /// An empty one.
    pub(super) fn take() -> Bytes {
        let pooled = POOL.try_with(|pool| pool.borrow_mut().pop()).ok().flatten();
        Bytes {
            // Zeroed when it is new, never again.
            memory: pooled.unwrap_or_else(|| vec![0; CAPACITY].into_boxed_slice()),
            start: 0,
            end: 0,
        }
    }

    /// Creates a buffer without memory: nothing fits before [`Bytes::expand`].
    pub(super) fn none() -> Bytes {
        Bytes {
            memory: Box::default(),
            start: 0,
            end: 0,
        }
    }

    /// Gives back all memory but that of the bytes: for a peer that is waited for.
    pub(super) fn shrink(&mut self) {
        let mut kept = Bytes::none();
        kept.memory = self.filled().into();
        kept.end = kept.memory.len();
        *self = kept;
    }

    /// Has memory again where it was given back.
    pub(super) fn expand(&mut self) {
        if self.memory.len() < CAPACITY {
            let mut whole = Bytes::take();
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

    /// The room behind the bytes.
    pub(super) fn spare(&mut self) -> &mut [u8] {
        &mut self.memory[self.end..]
    }

    /// Makes the first `n` bytes of the room part of the bytes.
    pub(super) fn commit(&mut self, n: usize) {
        self.end = (self.end + n).min(self.memory.len());
    }

    /// Appends all of `bytes`, or nothing where there is no room: then false.
    pub(super) fn extend(&mut self, bytes: &[u8]) -> bool {
        match self.spare().get_mut(..bytes.len()) {
            Some(room) => room.copy_from_slice(bytes),
            None => return false,
        }
        self.commit(bytes.len());
        true
    }

    /// Takes `n` bytes away from the front.
    pub(super) fn consume(&mut self, n: usize) {
        self.start += n.min(self.len());
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Moves the bytes to the front.
    pub(super) fn compact(&mut self) {
        if self.start > 0 {
            self.memory.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.len());
        }
    }

    /// Reads from a socket into the room; 0 is the end of the stream.
    pub(super) fn read_from(&mut self, socket: &Socket) -> io::Result<usize> {
        if self.spare().is_empty() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let n = socket.try_read(self.spare())?;
        self.commit(n);
        Ok(n)
    }

    /// Writes to a socket until it is empty; what the socket does not take
    /// stays, and `WouldBlock` says so.
    pub(super) fn write_to(&mut self, socket: &Socket, more: bool) -> io::Result<()> {
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
        // What was small did not come into the pool.
        POOL.with_borrow(|pool| assert!(pool.iter().all(|memory| memory.len() == CAPACITY)));
    }
}
