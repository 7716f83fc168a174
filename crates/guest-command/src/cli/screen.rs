//! Prints the serial output of a guest on the operator's terminal from a separate thread, and drops
//! output while the terminal is too slow: QEMU waits until its output is read, so a stopped
//! terminal would block the guest.

use part::lock;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

const WAITING_MAX: usize = 1 << 20;

/// Text in place of output that was dropped.
pub(super) const NOT_SHOWN: &[u8] = b"\r\n[output is missing here: this terminal was too slow]\r\n";

/// Output to a terminal, which a thread writes.
pub(super) struct Screen {
    shared: Arc<(Mutex<PendingOutput>, Condvar)>,
    writer: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct PendingOutput {
    bytes: Vec<u8>,
    /// Output was dropped after the waiting bytes.
    has_dropped: bool,
    is_over: bool,
}

impl Screen {
    pub(super) fn new(out: impl Write + Send + 'static) -> Screen {
        let shared = Arc::<(Mutex<PendingOutput>, Condvar)>::default();
        let own = Arc::clone(&shared);
        let writer = Some(std::thread::spawn(move || write(out, &own.0, &own.1)));
        Screen { shared, writer }
    }

    /// Queues a piece of output, or drops it and all further ones while the queue is full.
    ///
    /// # Errors
    /// Fails if the thread has ended because the terminal cannot be written.
    pub(super) fn show(&mut self, piece: &[u8]) -> io::Result<()> {
        if self.writer.as_ref().is_none_or(JoinHandle::is_finished) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let (waiting, changed) = &*self.shared;
        let mut waiting = lock(waiting);
        // Marks dropped output once, until the terminal accepts output again.
        waiting.has_dropped |= waiting.bytes.len() + piece.len() > WAITING_MAX;
        if !waiting.has_dropped {
            waiting.bytes.extend_from_slice(piece);
        }
        changed.notify_one();
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        lock(&self.shared.0).is_over = true;
        self.shared.1.notify_one();
        if let Some(writer) = self.writer.take() {
            // Ignores the result, because the thread never panics.
            let _ = writer.join();
        }
    }
}

fn write(mut out: impl Write, waiting: &Mutex<PendingOutput>, changed: &Condvar) {
    loop {
        let is_idle = |waiting: &mut PendingOutput| {
            waiting.bytes.is_empty() && !waiting.has_dropped && !waiting.is_over
        };
        let mut all = changed
            .wait_while(lock(waiting), is_idle)
            .unwrap_or_else(PoisonError::into_inner);
        let mut bytes = std::mem::take(&mut all.bytes);
        if std::mem::take(&mut all.has_dropped) {
            bytes.extend_from_slice(NOT_SHOWN);
        }
        let is_over = all.is_over;
        drop(all);
        let written = out.write_all(&bytes).and_then(|()| out.flush());
        if is_over || written.is_err() {
            return;
        }
    }
}
