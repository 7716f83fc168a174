//! Pipes of the kernel, through which bytes that nobody looks at go from one
//! socket to another without a copy (splice).
//!
//! A pipe is taken empty and only filled when it is empty, so the socket it is
//! filled from is what has nothing when that would block, and the socket it is
//! emptied into is what has no room. One that still holds bytes when it is
//! dropped is closed; no later transfer can find them.

use super::executor;
use super::socket::Socket;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use rustix::process::{Resource, getrlimit};
use std::cell::RefCell;
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Pipes of the process, unless [`set_pipes_max`] says otherwise.
pub const PIPES_MAX: u32 = 64;
/// Requested capacity of a pipe, bytes; a smaller one works too. With this value all
/// pipes together stay below the kernel's limit for an unprivileged user.
const PIPE_BYTES: usize = 256 * 1024;
/// Descriptors reserved for connections: beyond that, data is copied instead of spliced.
const LEFT_DESCRIPTORS: u64 = 128;
/// Pipes that a thread keeps: one is in use at a time, but for those whose
/// receivers take nothing.
const KEPT_MAX: usize = 4;
/// The cost of moving bytes this way is so many times less than that of copying.
const CHEAPER: usize = 4;

static MOST: AtomicU32 = AtomicU32::new(PIPES_MAX);
/// Pipes that are open: in use, and kept for later.
static OPEN: AtomicU32 = AtomicU32::new(0);
static KEPT: AtomicU32 = AtomicU32::new(0);
static SPLICED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool(Vec::new())) };
}

/// Empty pipes for later, counted as such.
struct Pool(Vec<Ends>);

impl Pool {
    fn pop(&mut self) -> Option<Ends> {
        let ends = self.0.pop()?;
        KEPT.fetch_sub(1, Ordering::Relaxed);
        Some(ends)
    }

    fn keep(&mut self, ends: Ends) {
        if self.0.len() < KEPT_MAX && OPEN.load(Ordering::Relaxed) <= MOST.load(Ordering::Relaxed) {
            self.0.push(ends);
            KEPT.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        KEPT.fetch_sub(self.0.len() as u32, Ordering::Relaxed);
    }
}

/// The two descriptors.
struct Ends {
    out: OwnedFd,
    into: OwnedFd,
}

impl Drop for Ends {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Closes the pipes that this thread keeps.
pub(super) fn release_pool() {
    // Closed when the pool is not borrowed any more.
    let pooled = POOL.try_with(|pool| pool.replace(Pool(Vec::new())));
    drop(pooled);
}

/// Bounds the pipes of the process from now on; 0 forbids them.
pub fn set_pipes_max(most: u32) {
    MOST.store(most.min(PIPES_MAX), Ordering::Relaxed);
}

/// The pipes of the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pipes {
    /// How many it may have.
    pub most: u32,
    /// How many hold bytes, or are about to.
    pub used: u32,
    /// How many are kept for later.
    pub kept: u32,
    /// The bytes that left them.
    pub bytes: u64,
}

/// Returns the current pipes of the process.
pub fn pipes() -> Pipes {
    let kept = KEPT.load(Ordering::Relaxed);
    Pipes {
        most: MOST.load(Ordering::Relaxed),
        used: OPEN.load(Ordering::Relaxed).saturating_sub(kept),
        kept,
        bytes: SPLICED.load(Ordering::Relaxed),
    }
}

/// A pipe and how many bytes are in it.
pub struct Pipe {
    /// Absent once it was given back.
    ends: Option<Ends>,
    bytes: usize,
}

impl Pipe {
    /// An empty pipe; None where the process has as many as it may.
    pub fn take() -> Option<Pipe> {
        let pooled = POOL.try_with(|pool| pool.borrow_mut().pop()).ok().flatten();
        let ends = match pooled {
            Some(ends) => ends,
            None => open()?,
        };
        Some(Pipe {
            ends: Some(ends),
            bytes: 0,
        })
    }

    /// How many bytes are in it.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether no byte is in it.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Takes up to `most` bytes that came on `socket` into the pipe, which has to
    /// be empty. 0 is the end of the stream. A short result says nothing: the
    /// pipe may be full.
    pub fn fill_from(&mut self, socket: &Socket, most: usize) -> io::Result<usize> {
        let Some(ends) = self.ends.as_ref().filter(|_| self.bytes == 0 && most > 0) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let n = socket.try_operation(true, |fd| splice(fd, None, &ends.into, None, most, flags))?;
        executor::charge(n / CHEAPER / executor::BYTES_A_UNIT);
        self.bytes = n;
        Ok(n)
    }

    /// Gives `socket` what fits of the bytes. `more` as in
    /// [`Socket::try_write_before`].
    pub fn drain_to(&mut self, socket: &Socket, more: bool) -> io::Result<usize> {
        let Some(ends) = self.ends.as_ref().filter(|_| self.bytes > 0) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let mut flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        flags.set(SpliceFlags::MORE, more);
        let bytes = self.bytes;
        let n =
            socket.try_operation(false, |fd| splice(&ends.out, None, fd, None, bytes, flags))?;
        if n == 0 {
            // It holds bytes, so this is no end; whatever it is must not loop.
            return Err(io::ErrorKind::WriteZero.into());
        }
        executor::charge(n / CHEAPER / executor::BYTES_A_UNIT);
        SPLICED.fetch_add(n as u64, Ordering::Relaxed);
        self.bytes = self.bytes.saturating_sub(n);
        Ok(n)
    }
}

/// Opens one, if the process may have another.
fn open() -> Option<Ends> {
    let most = MOST.load(Ordering::Relaxed);
    if OPEN.fetch_add(1, Ordering::Relaxed) >= most {
        OPEN.fetch_sub(1, Ordering::Relaxed);
        return None;
    }
    match pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK) {
        Ok((out, into)) => {
            let number = out.as_raw_fd().max(into.as_raw_fd());
            let ends = Ends { out, into };
            let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
            if u64::from(number.unsigned_abs()).saturating_add(LEFT_DESCRIPTORS) > most {
                return None;
            }
            // The kernel may refuse; then it holds less.
            let _ = fcntl_setpipe_size(&ends.into, PIPE_BYTES);
            Some(ends)
        }
        Err(_) => {
            OPEN.fetch_sub(1, Ordering::Relaxed);
            None
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let Some(ends) = self.ends.take().filter(|_| self.bytes == 0) else {
            return;
        };
        // Without a pool (the thread is ending) or with a full one, closed.
        let _ = POOL.try_with(|pool| pool.borrow_mut().keep(ends));
    }
}

impl std::fmt::Debug for Pipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipe")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}
