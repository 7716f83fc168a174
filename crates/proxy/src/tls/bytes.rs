//! Memory for records on their way, from a pool of the thread. It is held only
//! while there are bytes in it, so an idle connection has none. Larger than the
//! buffers of plaintext by what sealing adds, so that a full one of those goes
//! out in one write.

use std::cell::RefCell;
use std::io;

use crate::reactor::Socket;

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

    /// One without memory, until it is to hold bytes.
    pub(super) fn without_memory() -> Bytes {
        Bytes {
            memory: Box::default(),
            start: 0,
            end: 0,
        }
    }

    /// Has memory from here on.
    pub(super) fn hold(&mut self) {
        if self.memory.is_empty() {
            *self = Bytes::take();
        }
    }

    /// Gives its memory back if nothing is in it.
    pub(super) fn release(&mut self) {
        if self.is_empty() {
            *self = Bytes::without_memory();
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
        if memory.is_empty() {
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
        let mut bytes = Bytes::without_memory();
        assert!(bytes.spare().is_empty() && !bytes.extend(b"no room"));
        bytes.hold();
        assert!(bytes.extend(b"bytes"));
        bytes.hold();
        bytes.release();
        assert_eq!(bytes.filled(), b"bytes");
        bytes.consume(5);
        bytes.release();
        assert!(bytes.spare().is_empty());
        drop(bytes);
        let pooled = POOL.with(|pool| pool.borrow().iter().all(|memory| memory.len() == CAPACITY));
        assert!(pooled);
    }
}
