//! Buffers for data in transit, from a pool of the thread. A buffer is taken when a
//! socket is readable and returned when it is empty, so an idle connection has none.
//! Their memory is never zeroed: the types prevent reading bytes that were not written.

use super::socket::Socket;
use std::cell::RefCell;
use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The size of buffers unless [`set_buffer_size`] says otherwise.
///
/// 64 KiB less what lets a full one go out as one segment over the largest path
/// (an MTU of 65,536, as the loopback's, less all headers): 64 KiB would make two.
const SIZE_DEFAULT: usize = 64 * 1024 - 64;
/// A head with its line has to fit.
const SIZE_MIN: usize = 1024;
/// Offsets are 32 bits wide.
const SIZE_MAX: usize = 1 << 30;
/// Free memory that the pool of a thread keeps at most.
const POOLED_BYTES_MAX: usize = 16 * 1024 * 1024;

static SIZE: AtomicUsize = AtomicUsize::new(SIZE_DEFAULT);

thread_local! {
    static POOL: RefCell<Vec<Memory>> = const { RefCell::new(Vec::new()) };
}

type Memory = Box<[MaybeUninit<u8>]>;

/// Frees the memory that this thread keeps for buffers to come.
pub(super) fn release_pool() {
    // Freed when the pool is not borrowed any more.
    let pooled = POOL.try_with(|pool| std::mem::take(&mut *pool.borrow_mut()));
    drop(pooled);
}

/// Sets the size of buffers taken from now on, in the whole process; sizes out
/// of bounds (1 KiB to 1 GiB) are moved to the bound.
pub fn set_buffer_size(size: usize) {
    SIZE.store(size.clamp(SIZE_MIN, SIZE_MAX), Ordering::Relaxed);
}

/// The size of a buffer that is taken now.
pub fn buffer_size() -> usize {
    SIZE.load(Ordering::Relaxed)
}

/// A piece of memory with bytes in the middle: consumed at the front, filled at
/// the end.
pub struct Buffer {
    memory: Memory,
    start: u32,
    /// Everything from `start` to here is initialised.
    end: u32,
}

impl Buffer {
    /// An empty buffer, from the pool if one is there.
    pub fn take() -> Buffer {
        let size = buffer_size();
        let pooled = POOL.try_with(|pool| pool.borrow_mut().pop()).ok().flatten();
        let memory = match pooled {
            // Of another size only after a change of it.
            Some(memory) if memory.len() == size => memory,
            Some(_) | None => Box::new_uninit_slice(size),
        };
        Buffer {
            memory,
            start: 0,
            end: 0,
        }
    }

    /// How many bytes are in it.
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether no byte is in it.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// How many bytes it can hold.
    pub fn capacity(&self) -> usize {
        self.memory.len()
    }

    /// The bytes.
    pub fn filled(&self) -> &[u8] {
        let range = self.start as usize..self.end as usize;
        let bytes = self.memory.get(range).unwrap_or_default();
        // SAFETY: from `start` to `end` all is initialised.
        unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) }
    }

    /// The bytes, to change in place.
    pub fn filled_mut(&mut self) -> &mut [u8] {
        let range = self.start as usize..self.end as usize;
        let bytes = self.memory.get_mut(range).unwrap_or_default();
        // SAFETY: from `start` to `end` all is initialised.
        unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len()) }
    }

    /// The room behind the bytes; [`Buffer::commit`] makes it theirs.
    pub fn spare(&mut self) -> &mut [MaybeUninit<u8>] {
        self.memory.get_mut(self.end as usize..).unwrap_or_default()
    }

    /// Makes the first `n` bytes of [`Buffer::spare`] part of the bytes.
    ///
    /// # Safety
    /// They must be initialised.
    ///
    /// # Panics
    /// When there is less room than that.
    pub unsafe fn commit(&mut self, n: usize) {
        assert!(
            n <= self.memory.len() - self.end as usize,
            "committed more than there is room"
        );
        self.end += n as u32;
    }

    /// Reads from `socket` into the room: how many bytes came, 0 for the end of
    /// the stream. `OutOfMemory` when there is no room, since 0 would lie.
    pub fn read_from(&mut self, socket: &Socket) -> io::Result<usize> {
        if self.spare().is_empty() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let n = socket.try_read_uninit(self.spare())?;
        // SAFETY: the socket has filled the first n bytes.
        unsafe { self.commit(n) };
        Ok(n)
    }

    /// Appends what fits of `bytes` and says how many that are.
    pub fn extend(&mut self, bytes: &[u8]) -> usize {
        let n = bytes.len().min(self.spare().len());
        for (to, from) in self.spare().iter_mut().zip(bytes) {
            to.write(*from);
        }
        // SAFETY: just written.
        unsafe { self.commit(n) };
        n
    }

    /// Takes `n` bytes (or all, when there are fewer) away from the front.
    pub fn consume(&mut self, n: usize) {
        self.start += n.min(self.len()) as u32;
        if self.start == self.end {
            self.clear();
        }
    }

    /// Keeps only the first `n` bytes.
    pub fn truncate(&mut self, n: usize) {
        self.end = self.start + n.min(self.len()) as u32;
    }

    /// Takes all bytes away.
    pub fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Moves the bytes to the front, so that all room is behind them.
    pub fn compact(&mut self) {
        let range = self.start as usize..self.end as usize;
        let length = range.len();
        if range.start > 0 {
            self.memory.copy_within(range, 0);
            self.start = 0;
            self.end = length as u32;
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        let most = POOLED_BYTES_MAX / memory.len().max(1);
        // Without a pool (the thread is ending) or with a full one, freed.
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if memory.len() == buffer_size() && pool.len() < most {
                pool.push(memory);
            }
        });
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buffer")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_in_at_the_end_and_out_at_the_front() {
        let mut buffer = Buffer::take();
        assert!(buffer.is_empty());
        assert_eq!(buffer.extend(b"hello world"), 11);
        buffer.consume(6);
        assert_eq!(buffer.filled(), b"world");
        buffer.filled_mut().make_ascii_uppercase();
        buffer.compact();
        assert_eq!(buffer.filled(), b"WORLD");
        assert_eq!(buffer.spare().len(), buffer.capacity() - 5);
        buffer.truncate(2);
        assert_eq!(buffer.filled(), b"WO");
        buffer.consume(99);
        assert_eq!((buffer.len(), buffer.spare().len()), (0, buffer.capacity()));
    }

    #[test]
    fn a_full_buffer_takes_no_more() {
        let mut buffer = Buffer::take();
        let big = vec![b'x'; buffer.capacity() + 10];
        assert_eq!(buffer.extend(&big), buffer.capacity());
        assert_eq!(buffer.extend(b"y"), 0);
        assert_eq!(buffer.filled(), &big[..buffer.capacity()]);
        assert!(buffer.spare().is_empty());
    }

    #[test]
    fn a_dropped_buffer_is_taken_again() {
        let mut buffer = Buffer::take();
        buffer.extend(b"old");
        let place = buffer.filled().as_ptr();
        drop(buffer);
        let mut again = Buffer::take();
        assert!(again.is_empty());
        assert_eq!(again.spare().as_ptr().cast::<u8>(), place);
    }

    #[test]
    fn the_pool_is_bounded() {
        let most = POOLED_BYTES_MAX / buffer_size();
        let many: Vec<Buffer> = (0..most + 10).map(|_| Buffer::take()).collect();
        drop(many);
        assert_eq!(POOL.with(|pool| pool.borrow().len()), most);
        release_pool();
        assert_eq!(POOL.with(|pool| pool.borrow().len()), 0);
    }
}
