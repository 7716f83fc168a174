//! Provides buffers for data in transit from a pool of the thread. A buffer is taken when a
//! socket is readable and returned when it is empty, so an idle connection has none. Their memory
//! is never zeroed: the types prevent reading bytes that were not written.

use super::socket::StreamSocket;
use std::cell::RefCell;
use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Size of a buffer unless [`set_buffer_size`] changes it, in bytes.
///
/// 64 KiB minus the headers, so that a full buffer is sent as one segment over the largest path MTU
/// (65,536, as on the loopback interface). 64 KiB would need two segments.
const SIZE_DEFAULT: usize = 64 * 1024 - 64;
/// Minimum buffer size in bytes; a message head with its start line has to fit.
const SIZE_MIN: usize = 1024;
/// Maximum buffer size in bytes; offsets are 32 bits wide.
const SIZE_MAX: usize = 1 << 30;
const POOLED_BYTES_MAX: usize = 16 * 1024 * 1024;

static SIZE: AtomicUsize = AtomicUsize::new(SIZE_DEFAULT);

thread_local! {
    static POOL: RefCell<Vec<BufferMemory>> = const { RefCell::new(Vec::new()) };
}

type BufferMemory = Box<[MaybeUninit<u8>]>;

pub(super) fn release_pool() {
    // Frees the memory after the borrow of the pool has ended.
    let pooled = POOL.try_with(|pool| std::mem::take(&mut *pool.borrow_mut()));
    drop(pooled);
}

/// Sets the size of new buffers in the whole process. Sizes outside the bounds (1 KiB to 1 GiB) are
/// clamped.
pub fn set_buffer_size(size: usize) {
    SIZE.store(size.clamp(SIZE_MIN, SIZE_MAX), Ordering::Relaxed);
}

pub fn buffer_size() -> usize {
    SIZE.load(Ordering::Relaxed)
}

/// A block of memory with bytes in the middle: consumed at the front, filled at the end.
pub struct Buffer {
    memory: BufferMemory,
    start: u32,
    /// Everything from `start` to `end` is initialised.
    end: u32,
}

impl Buffer {
    /// Returns an empty buffer, from the pool if it has one.
    pub fn take() -> Buffer {
        let size = buffer_size();
        let pooled = POOL.try_with(|pool| pool.borrow_mut().pop()).ok().flatten();
        let memory = match pooled {
            // Reuses memory of the right size only; sizes differ after a change of the buffer size.
            Some(memory) if memory.len() == size => memory,
            Some(_) | None => Box::new_uninit_slice(size),
        };
        Buffer {
            memory,
            start: 0,
            end: 0,
        }
    }

    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub fn capacity(&self) -> usize {
        self.memory.len()
    }

    pub fn filled(&self) -> &[u8] {
        let range = self.start as usize..self.end as usize;
        let bytes = self.memory.get(range).unwrap_or_default();
        // SAFETY: all memory from `start` to `end` is initialised.
        unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) }
    }

    pub fn filled_mut(&mut self) -> &mut [u8] {
        let range = self.start as usize..self.end as usize;
        let bytes = self.memory.get_mut(range).unwrap_or_default();
        // SAFETY: all memory from `start` to `end` is initialised.
        unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len()) }
    }

    /// Returns the free space after the bytes; [`Buffer::commit`] adds it to the contents.
    pub fn spare_capacity(&mut self) -> &mut [MaybeUninit<u8>] {
        self.memory.get_mut(self.end as usize..).unwrap_or_default()
    }

    /// Adds the first `n` bytes of `Buffer::spare_capacity` to the contents.
    ///
    /// # Safety
    /// The caller must have initialised these bytes.
    ///
    /// # Panics
    /// Panics when the free space is smaller than `n`.
    pub unsafe fn commit(&mut self, n: usize) {
        assert!(
            n <= self.memory.len() - self.end as usize,
            "committed more than there is room"
        );
        self.end += n as u32;
    }

    /// Reads from `socket` into the free space. Returns the number of bytes read, 0 at the end of
    /// the stream.
    ///
    /// # Errors
    /// Fails with `OutOfMemory` if the buffer is full, because 0 would mean the end of the stream.
    /// Other errors are those of [`StreamSocket::try_read_uninit`].
    pub fn read_from(&mut self, socket: &StreamSocket) -> io::Result<usize> {
        if self.spare_capacity().is_empty() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let n = socket.try_read_uninit(self.spare_capacity())?;
        // SAFETY: the socket has filled the first n bytes.
        unsafe { self.commit(n) };
        Ok(n)
    }

    /// Appends as much of `bytes` as fits and returns the number of bytes appended.
    pub fn extend(&mut self, bytes: &[u8]) -> usize {
        let n = bytes.len().min(self.spare_capacity().len());
        for (to, from) in self.spare_capacity().iter_mut().zip(bytes) {
            to.write(*from);
        }
        // SAFETY: the loop above has written these bytes.
        unsafe { self.commit(n) };
        n
    }

    /// Removes `n` bytes (or all, when there are fewer) from the front.
    pub fn consume(&mut self, n: usize) {
        self.start += n.min(self.len()) as u32;
        if self.start == self.end {
            self.clear();
        }
    }

    pub fn truncate(&mut self, n: usize) {
        self.end = self.start + n.min(self.len()) as u32;
    }

    pub fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Moves the bytes to the front, so that all free space is after them.
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
        // Frees the memory if the pool is full or does not exist (the thread is ending), or the
        // size has changed.
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
        assert_eq!(buffer.spare_capacity().len(), buffer.capacity() - 5);
        buffer.truncate(2);
        assert_eq!(buffer.filled(), b"WO");
        buffer.consume(99);
        assert_eq!(
            (buffer.len(), buffer.spare_capacity().len()),
            (0, buffer.capacity())
        );
    }

    #[test]
    fn full_buffer_accepts_nothing() {
        let mut buffer = Buffer::take();
        let big = vec![b'x'; buffer.capacity() + 10];
        assert_eq!(buffer.extend(&big), buffer.capacity());
        assert_eq!(buffer.extend(b"y"), 0);
        assert_eq!(buffer.filled(), &big[..buffer.capacity()]);
        assert!(buffer.spare_capacity().is_empty());
    }

    #[test]
    fn dropped_buffer_is_reused() {
        let mut buffer = Buffer::take();
        buffer.extend(b"old");
        let place = buffer.filled().as_ptr();
        drop(buffer);
        let mut again = Buffer::take();
        assert!(again.is_empty());
        assert_eq!(again.spare_capacity().as_ptr().cast::<u8>(), place);
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
