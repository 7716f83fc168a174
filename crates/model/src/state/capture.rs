//! Keeps the last invalid request and the last invalid response of a proxy (`show errors`), with
//! the bytes as received. Only refused messages are captured.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Maximum number of captured bytes of a message.
pub const CAPTURED_MAX: usize = 16 * 1024;

static EVENTS: AtomicU64 = AtomicU64::new(0);

/// Name and id of a proxy or server.
pub type NameAndId = (Box<str>, u32);

/// An invalid message as `show errors` displays it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Capture {
    pub at: SystemTime,
    /// Number of the capture in the process, from 0 upwards.
    pub event: u64,
    pub source: String,
    pub frontend: NameAndId,
    pub backend: Option<NameAndId>,
    pub server: Option<NameAndId>,
    /// Offset of the error in the message.
    pub position: usize,
    /// First bytes of the message, at most [`CAPTURED_MAX`].
    pub bytes: Box<[u8]>,
}

/// The last invalid request and the last invalid response of a proxy.
#[derive(Debug, Default)]
pub struct Captures(Mutex<[Option<Arc<Capture>>; 2]>);

impl Captures {
    fn lock(&self) -> MutexGuard<'_, [Option<Arc<Capture>>; 2]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn request(&self) -> Option<Arc<Capture>> {
        self.lock()[0].clone()
    }

    pub fn response(&self) -> Option<Arc<Capture>> {
        self.lock()[1].clone()
    }

    /// Stores a message and numbers it.
    pub fn keep(&self, response: bool, mut capture: Capture) {
        capture.event = EVENTS.fetch_add(1, Relaxed);
        self.lock()[usize::from(response)] = Some(Arc::new(capture));
    }
}

/// Returns the number of messages captured so far.
pub fn captured() -> u64 {
    EVENTS.load(Relaxed)
}
