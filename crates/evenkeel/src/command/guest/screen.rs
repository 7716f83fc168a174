//! What a guest prints at the terminal of an operator, who may have stopped it, or whose connection
//! may hang: QEMU waits until its output is read, and the guest would wait with it.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

/// Pieces of output that wait for the terminal.
const WAITING_MAX: usize = 256;

/// Stands in place of output that was dropped.
pub(super) const NOT_SHOWN: &str =
    "\r\n[output is missing here: this terminal did not take it]\r\n";

/// A terminal that is written to by a thread.
pub(super) struct Screen {
    pieces: Option<SyncSender<Vec<u8>>>,
    writer: Option<JoinHandle<()>>,
    /// Output was dropped since the last piece.
    has_dropped: bool,
}

impl Screen {
    pub(super) fn new(out: impl Write + Send + 'static) -> Screen {
        let (pieces, waiting) = sync_channel(WAITING_MAX);
        Screen {
            pieces: Some(pieces),
            writer: Some(std::thread::spawn(move || write(out, &waiting))),
            has_dropped: false,
        }
    }

    /// Shows a piece of output, or drops it while too many wait.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn show(&mut self, piece: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::new();
        if self.has_dropped {
            bytes.extend_from_slice(NOT_SHOWN.as_bytes());
        }
        bytes.extend_from_slice(piece);
        let sent = self.pieces.as_ref().map(|pieces| pieces.try_send(bytes));
        self.has_dropped = match sent {
            Some(Ok(())) => false,
            Some(Err(TrySendError::Full(_))) => true,
            Some(Err(TrySendError::Disconnected(_))) | None => {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        };
        Ok(())
    }
}

impl Drop for Screen {
    /// Waits until all of it is shown.
    fn drop(&mut self) {
        if let Some(pieces) = self.pieces.take().filter(|_| self.has_dropped) {
            // The terminal may be gone.
            let _ = pieces.send(NOT_SHOWN.as_bytes().to_vec());
        }
        if let Some(writer) = self.writer.take() {
            // It does not panic.
            let _ = writer.join();
        }
    }
}

fn write(mut out: impl Write, waiting: &Receiver<Vec<u8>>) {
    while let Ok(piece) = waiting.recv() {
        if out.write_all(&piece).and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}
