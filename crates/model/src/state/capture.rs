//! The last invalid message of each side of a proxy (`show errors`): its bytes as
//! received. Captured only when a message is refused.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Most bytes of a message that are kept.
pub const CAPTURED_MAX: usize = 16 * 1024;

/// Messages captured by the process.
static EVENTS: AtomicU64 = AtomicU64::new(0);

/// A proxy or server by its name and number.
pub type Named = (Box<str>, u32);

/// A message that was none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Capture {
    /// When it came.
    pub at: SystemTime,
    /// Which of the process it is, from 0 upwards.
    pub event: u64,
    /// The client.
    pub source: String,
    /// The frontend.
    pub frontend: Named,
    /// The backend, where there was one already.
    pub backend: Option<Named>,
    /// The server, likewise.
    pub server: Option<Named>,
    /// Where in it the mistake stands.
    pub position: usize,
    /// Its first bytes, at most [`CAPTURED_MAX`].
    pub bytes: Box<[u8]>,
}

/// The last request and the last answer of a proxy that were none.
#[derive(Debug, Default)]
pub struct Captures(Mutex<[Option<Arc<Capture>>; 2]>);

impl Captures {
    fn lock(&self) -> MutexGuard<'_, [Option<Arc<Capture>>; 2]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last request that was none.
    pub fn request(&self) -> Option<Arc<Capture>> {
        self.lock()[0].clone()
    }

    /// The last answer that was none.
    pub fn response(&self) -> Option<Arc<Capture>> {
        self.lock()[1].clone()
    }

    /// Keeps a message and numbers it.
    pub fn keep(&self, response: bool, mut capture: Capture) {
        capture.event = EVENTS.fetch_add(1, Relaxed);
        self.lock()[usize::from(response)] = Some(Arc::new(capture));
    }
}

/// Messages captured by the process so far.
pub fn captured() -> u64 {
    EVENTS.load(Relaxed)
}
