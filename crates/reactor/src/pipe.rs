//! Moves bytes from one socket to another through kernel pipes, without a copy (splice), for data
//! that the proxy does not inspect.
//!
//! A pipe is empty when it is taken and is filled only when it is empty. If filling would block,
//! the source socket has no data; if draining would block, the target socket has no space. A pipe
//! that still contains bytes when it is dropped is closed, so no later transfer can receive them.

use super::executor;
use super::socket::StreamSocket;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use rustix::process::{Resource, getrlimit};
use std::cell::RefCell;
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Maximum number of pipes of the process; [`set_pipes_max`] can only lower it.
pub const PIPES_MAX: u32 = 64;
/// Requested capacity of a pipe in bytes; a smaller one also works. With this value all pipes
/// together stay below the kernel's limit for an unprivileged user.
const PIPE_BYTES: usize = 256 * 1024;
/// Number of descriptors reserved for connections. When fewer are left, data is copied instead of
/// spliced.
const LEFT_DESCRIPTORS: u64 = 128;
/// Maximum free pipes of a thread: only one is in use at a time, except for those whose receivers
/// are stalled.
const KEPT_MAX: usize = 4;
/// Factor by which moving bytes through a pipe is cheaper than copying them.
const CHEAPER: usize = 4;

static MOST: AtomicU32 = AtomicU32::new(PIPES_MAX);
static OPEN: AtomicU32 = AtomicU32::new(0);
static KEPT: AtomicU32 = AtomicU32::new(0);
static SPLICED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool(Vec::new())) };
}

/// Free pipes, included in `KEPT`.
struct Pool(Vec<PipeEnds>);

impl Pool {
    fn pop(&mut self) -> Option<PipeEnds> {
        let ends = self.0.pop()?;
        KEPT.fetch_sub(1, Ordering::Relaxed);
        Some(ends)
    }

    fn return_pipe(&mut self, ends: PipeEnds) {
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

struct PipeEnds {
    out: OwnedFd,
    into: OwnedFd,
}

impl Drop for PipeEnds {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(super) fn release_pool() {
    // Closes the pipes after the borrow of the pool has ended.
    let pooled = POOL.try_with(|pool| pool.replace(Pool(Vec::new())));
    drop(pooled);
}

/// Sets the maximum number of pipes of the process, at most [`PIPES_MAX`]; 0 disables them.
pub fn set_pipes_max(most: u32) {
    MOST.store(most.min(PIPES_MAX), Ordering::Relaxed);
}

/// Statistics of the pipes of the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pipes {
    pub max_pipes: u32,
    /// Number of pipes that contain bytes or are about to.
    pub used: u32,
    pub free_pipes: u32,
    pub bytes: u64,
}

pub fn pipes() -> Pipes {
    let kept = KEPT.load(Ordering::Relaxed);
    Pipes {
        max_pipes: MOST.load(Ordering::Relaxed),
        used: OPEN.load(Ordering::Relaxed).saturating_sub(kept),
        free_pipes: kept,
        bytes: SPLICED.load(Ordering::Relaxed),
    }
}

/// A pipe and the number of bytes in it.
pub struct Pipe {
    /// None after the pipe was returned to the pool.
    ends: Option<PipeEnds>,
    bytes: usize,
}

impl Pipe {
    /// Returns an empty pipe; `None` when the process has reached its maximum.
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

    pub fn len(&self) -> usize {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Moves up to `most` received bytes from `socket` into the pipe, which must be empty. 0 is the
    /// end of the stream. A short result has no meaning, because the pipe may be full.
    ///
    /// # Errors
    /// Fails with `InvalidInput` if the pipe is not empty or `most` is 0, otherwise as
    /// [`StreamSocket::try_operation`] with splice(2) does.
    pub fn fill_from(&mut self, socket: &StreamSocket, most: usize) -> io::Result<usize> {
        let Some(ends) = self.ends.as_ref().filter(|_| self.bytes == 0 && most > 0) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let n = socket.try_operation(true, |fd| splice(fd, None, &ends.into, None, most, flags))?;
        executor::charge_budget(n / CHEAPER / executor::BYTES_A_UNIT);
        self.bytes = n;
        Ok(n)
    }

    /// Moves as many bytes as possible from the pipe to `socket`. `more` has the meaning of
    /// [`StreamSocket::try_write_before`].
    ///
    /// # Errors
    /// Fails with `InvalidInput` if the pipe is empty, with `WriteZero` if splice(2) moves nothing,
    /// otherwise as [`StreamSocket::try_operation`] with splice(2) does.
    pub fn drain_to(&mut self, socket: &StreamSocket, more: bool) -> io::Result<usize> {
        let Some(ends) = self.ends.as_ref().filter(|_| self.bytes > 0) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let mut flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        flags.set(SpliceFlags::MORE, more);
        let bytes = self.bytes;
        let n =
            socket.try_operation(false, |fd| splice(&ends.out, None, fd, None, bytes, flags))?;
        if n == 0 {
            // Fails, because the pipe contains bytes, so 0 is not the end of a stream. The error
            // prevents an endless loop, whatever the cause.
            return Err(io::ErrorKind::WriteZero.into());
        }
        executor::charge_budget(n / CHEAPER / executor::BYTES_A_UNIT);
        SPLICED.fetch_add(n as u64, Ordering::Relaxed);
        self.bytes = self.bytes.saturating_sub(n);
        Ok(n)
    }
}

fn open() -> Option<PipeEnds> {
    let most = MOST.load(Ordering::Relaxed);
    if OPEN.fetch_add(1, Ordering::Relaxed) >= most {
        OPEN.fetch_sub(1, Ordering::Relaxed);
        return None;
    }
    match pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK) {
        Ok((out, into)) => {
            let number = out.as_raw_fd().max(into.as_raw_fd());
            let ends = PipeEnds { out, into };
            let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
            if u64::from(number.unsigned_abs()).saturating_add(LEFT_DESCRIPTORS) > most {
                return None;
            }
            // Ignores a refusal of the kernel; the pipe then has a smaller capacity.
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
        // Closes the pipe if the pool is full or does not exist (the thread is ending).
        let _ = POOL.try_with(|pool| pool.borrow_mut().return_pipe(ends));
    }
}

impl std::fmt::Debug for Pipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipe")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}
