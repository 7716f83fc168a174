//! Sends and receives the messages of a migration between the two nodes, on a non-blocking socket.

use super::carrier::OutgoingConnection;
use crate::migration::{MESSAGE_BYTES_MAX, MigrationMessage, frame, take_frame};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

const ALIVE_MS: u64 = 1_000;
/// Maximum time without a message of the peer, milliseconds.
const SILENCE_MAX_MS: u64 = 10_000;
const UNSENT_BYTES_MAX: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct MigrationConnection {
    socket: UnixStream,
    line: OutgoingConnection,
    came: Vec<u8>,
    unsent: Vec<u8>,
    heard: u64,
    said: u64,
    is_lost: bool,
}

impl MigrationConnection {
    /// Creates the connection on a socket whose other end a thread relays to the other node.
    pub(super) fn new(
        socket: UnixStream,
        line: OutgoingConnection,
        now: u64,
    ) -> MigrationConnection {
        // Marks a socket that cannot be set up as lost.
        let is_lost = socket.set_nonblocking(true).is_err();
        MigrationConnection {
            socket,
            line,
            came: Vec::new(),
            unsent: Vec::new(),
            heard: now,
            said: now,
            is_lost,
        }
    }

    pub(super) fn send(&mut self, message: &MigrationMessage) {
        if self.unsent.len() < UNSENT_BYTES_MAX {
            self.unsent.extend(frame(message));
        }
        self.flush();
    }

    fn flush(&mut self) {
        while !self.unsent.is_empty() && !self.is_lost {
            match self.socket.write(&self.unsent) {
                Ok(0) => self.is_lost = true,
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.is_lost = true,
            }
        }
    }

    pub(super) fn is_due(&mut self, now: u64) -> bool {
        let is_due = now >= self.said.saturating_add(ALIVE_MS);
        if is_due {
            self.said = now;
        }
        is_due
    }

    /// Returns the received messages, and the reason if the connection is lost.
    pub(super) fn read(&mut self, now: u64) -> (Vec<MigrationMessage>, Option<String>) {
        self.flush();
        let mut messages = Vec::new();
        let mut piece = [0; 4096];
        while !self.is_lost && self.came.len() <= MESSAGE_BYTES_MAX {
            match self.socket.read(&mut piece) {
                Ok(0) => self.is_lost = true,
                Ok(count) => {
                    self.heard = now;
                    self.came
                        .extend_from_slice(piece.get(..count).unwrap_or_default());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.is_lost = true,
            }
        }
        loop {
            match take_frame(&mut self.came) {
                Ok(Some(MigrationMessage::Alive)) => {}
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(words) => return (messages, Some(words)),
            }
        }
        let silent = now.saturating_sub(self.heard) >= SILENCE_MAX_MS;
        let lost = match (self.is_lost, silent) {
            (true, _) => Some(self.line.trouble()).filter(|words| !words.is_empty()),
            (false, true) => Some("the other node is silent".to_owned()),
            (false, false) => return (messages, None),
        };
        let closed = || "the other node has closed the connection".to_owned();
        (messages, Some(lost.unwrap_or_else(closed)))
    }
}

impl AsFd for MigrationConnection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
