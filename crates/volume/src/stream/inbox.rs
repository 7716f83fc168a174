//! Buffers received bytes of a socket, mostly headers. Payloads bypass the buffer and go directly
//! into disk buffers.

use rustix::io::Errno;
use std::io::IoSliceMut;
use wire::NonblockingStream;

/// Received bytes in order of arrival.
pub(crate) struct Inbox {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

/// Result of a receive call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Received {
    /// All requested bytes were received; more may be available.
    Full,
    /// Fewer bytes than requested were received; no more are available at the moment.
    Short,
    /// The other side has closed its sending direction.
    End,
}

impl Inbox {
    pub(crate) fn new(bytes: usize) -> Inbox {
        Inbox {
            bytes: vec![0; bytes].into_boxed_slice(),
            start: 0,
            end: 0,
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(crate) fn take(&mut self, count: usize) -> &[u8] {
        let start = self.start;
        self.start = self.end.min(start.saturating_add(count));
        &self.bytes[start..self.start]
    }

    /// Receives until `wanted` bytes are buffered, or until no more are available.
    ///
    /// # Errors
    /// The connection is broken.
    pub(crate) fn receive(
        &mut self,
        socket: &mut impl NonblockingStream,
        wanted: usize,
    ) -> Result<Received, Errno> {
        self.make_room();
        let end = wanted.max(self.end + 1).min(self.bytes.len());
        let room = &mut self.bytes[self.end..end];
        let asked = room.len();
        loop {
            return match socket.read(&mut [IoSliceMut::new(room)]) {
                Ok(0) => Ok(Received::End),
                Ok(count) => {
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

    /// Receives into `payload`, and up to `behind` bytes that follow the payload into the inbox,
    /// which must be empty. Also returns the received length of the payload.
    ///
    /// # Errors
    /// The connection is broken.
    pub(crate) fn receive_payload(
        &mut self,
        socket: &mut impl NonblockingStream,
        payload: &mut [u8],
        behind: usize,
    ) -> Result<(Received, usize), Errno> {
        self.make_room();
        let length = payload.len();
        let asked = length + behind;
        let room = &mut self.bytes[self.end..][..behind];
        let mut slices = [IoSliceMut::new(payload), IoSliceMut::new(room)];
        loop {
            return match socket.read(&mut slices) {
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
