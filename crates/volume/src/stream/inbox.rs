//! What the other side sent and nobody has taken yet: mostly heads. Payloads go past it, into
//! buffers.

use rustix::io::Errno;
use std::io::IoSliceMut;
use wire::Bytes;

/// Bytes in the order of their arrival.
pub(crate) struct Inbox {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

/// What a system call brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Received {
    /// All that was asked for: there may be more.
    Full,
    /// Less: there is no more at this moment.
    Short,
    /// The other side sends nothing any more.
    End,
}

impl Inbox {
    /// Room for so many bytes.
    pub(crate) fn new(bytes: usize) -> Inbox {
        Inbox {
            bytes: vec![0; bytes].into_boxed_slice(),
            start: 0,
            end: 0,
        }
    }

    /// What has not been taken.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Takes up to `count` bytes from the front.
    pub(crate) fn take(&mut self, count: usize) -> &[u8] {
        let start = self.start;
        self.start = self.end.min(start.saturating_add(count));
        &self.bytes[start..self.start]
    }

    /// Receives until there are `wanted` bytes, or as many as there are now.
    ///
    /// # Errors
    /// The connection is gone.
    pub(crate) fn receive(
        &mut self,
        socket: &mut impl Bytes,
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

    /// Receives into `payload`, and up to `behind` bytes of what follows it into the inbox,
    /// which is empty. Returns also how much of the payload came.
    ///
    /// # Errors
    /// The connection is gone.
    pub(crate) fn receive_payload(
        &mut self,
        socket: &mut impl Bytes,
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
