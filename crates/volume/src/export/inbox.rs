//! What a client sent and nobody has taken yet: options, and the heads of requests. Payloads
//! go past it, into buffers.

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use std::io::IoSliceMut;
use std::os::fd::BorrowedFd;

/// Room for the longest option with its head, bytes.
pub(super) const INBOX_BYTES: usize = protocol::nbd::OPTION_BYTES_MAX as usize + 64;

/// Bytes in the order of their arrival.
pub(super) struct Inbox {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

/// What a system call brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Received {
    /// All that was asked for: there may be more.
    Full,
    /// Less: there is no more at this moment.
    Short,
    /// The client sends nothing any more.
    End,
}

impl Inbox {
    pub(super) fn new() -> Inbox {
        Inbox {
            bytes: vec![0; INBOX_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Takes up to `count` bytes from the front.
    pub(super) fn take(&mut self, count: usize) -> &[u8] {
        let start = self.start;
        self.start = self.end.min(start.saturating_add(count));
        &self.bytes[start..self.start]
    }

    /// Receives until there are `wanted` bytes, or as many as there are now.
    ///
    /// # Errors
    /// The connection is gone.
    pub(super) fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        wanted: usize,
    ) -> Result<Received, Errno> {
        self.make_room();
        let end = wanted.max(self.end + 1).min(self.bytes.len());
        let room = &mut self.bytes[self.end..end];
        let asked = room.len();
        loop {
            return match recv(socket, &mut *room, RecvFlags::DONTWAIT) {
                Ok((0, _)) => Ok(Received::End),
                Ok((count, _)) => {
                    self.end += count;
                    Ok(if count == asked {
                        Received::Full
                    } else {
                        Received::Short
                    })
                }
                Err(Errno::AGAIN) => Ok(Received::Short),
                Err(Errno::INTR) => continue,
                Err(errno) => Err(errno),
            };
        }
    }

    /// Receives into `payload`, and up to `behind` bytes of what follows it into the inbox,
    /// which is empty. Returns also how much of the payload came.
    ///
    /// # Errors
    /// The connection is gone.
    pub(super) fn receive_payload(
        &mut self,
        socket: BorrowedFd<'_>,
        payload: &mut [u8],
        behind: usize,
    ) -> Result<(Received, usize), Errno> {
        self.make_room();
        let length = payload.len();
        let asked = length + behind;
        let room = &mut self.bytes[self.end..][..behind];
        let mut slices = [IoSliceMut::new(payload), IoSliceMut::new(room)];
        loop {
            return match rustix::io::readv(socket, &mut slices) {
                Ok(0) => Ok((Received::End, 0)),
                Ok(count) => {
                    self.end += count.saturating_sub(length);
                    let received = if count == asked {
                        Received::Full
                    } else {
                        Received::Short
                    };
                    Ok((received, count.min(length)))
                }
                Err(Errno::AGAIN) => Ok((Received::Short, 0)),
                Err(Errno::INTR) => continue,
                Err(errno) => Err(errno),
            };
        }
    }

    fn make_room(&mut self) {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
    }
}
