//! Sends and receives replication frames on an established connection to the other node, without
//! blocking, in a volume's event loop.

use super::frame::{EXTRA_BYTES_MAX, FrameHeader, HEAD_BYTES, checksum};
use crate::disk::{Account, Buffer, Pool};
use crate::stream::{Inbox, Outbox, Received};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use wire::{NodeConnection, NonblockingStream};

/// Size of the receive buffer, bytes: several headers, or the longest payload without blocks with
/// its header.
const INBOX_BYTES: usize = EXTRA_BYTES_MAX + HEAD_BYTES;
const HEADS_BYTES: usize = 32 * HEAD_BYTES;
const RECEIVES_MAX: usize = 32;
/// Limit of unsent headers, bytes. Above it the other side has stopped reading, or misbehaves.
const OUTBOX_HEADS_MAX: usize = 1 << 20;

/// Reason why a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LinkError {
    #[error("the other node closed the connection")]
    Closed,
    #[error("{0}")]
    Io(Errno),
    #[error("damaged in transit: a frame header has a wrong checksum")]
    Head,
    #[error("damaged in transit: a payload has a wrong checksum")]
    Payload,
    #[error("damaged in transit: TLS cannot decode a record")]
    Record,
    #[error(
        "the cluster no longer accepts the certificate of the other node: it was removed, or the CA has changed"
    )]
    Revoked,
    #[error("the other node is silent")]
    Silent,
    #[error("the other node reads nothing")]
    Stuck,
}

impl From<Errno> for LinkError {
    fn from(errno: Errno) -> LinkError {
        match errno {
            Errno::BADMSG => LinkError::Record,
            errno => LinkError::Io(errno),
        }
    }
}

#[derive(Debug)]
pub enum Incoming {
    Head(FrameHeader),
    Data(FrameHeader, Buffer),
    Value(FrameHeader, Vec<u8>),
}

struct Partial {
    head: FrameHeader,
    buffer: Buffer,
    filled: usize,
}

/// Connection of two replicas after their greetings.
pub struct Session {
    wire: NodeConnection,
    inbox: Inbox,
    partial: Option<Partial>,
    outbox: Outbox,
    /// True if the last frame had blocks, so that the next one may have blocks too.
    has_data: bool,
    starves: bool,
}

impl Session {
    pub fn new(wire: NodeConnection) -> Session {
        Session {
            wire,
            inbox: Inbox::new(INBOX_BYTES),
            partial: None,
            outbox: Outbox::default(),
            has_data: false,
            starves: false,
        }
    }

    pub fn has_output(&self) -> bool {
        !self.outbox.is_empty() || self.wire.has_output()
    }

    /// Returns whether received data is buffered in TLS, which epoll does not report.
    pub fn has_input(&self) -> bool {
        self.wire.has_input() && !self.starves
    }

    /// Returns whether the session waits for buffer memory. While it waits, it reads nothing.
    pub fn starves(&self) -> bool {
        self.starves
    }

    pub fn send(&mut self, head: &FrameHeader) {
        self.outbox
            .head(|out| out.extend_from_slice(&head.encode()));
    }

    /// Queues a header with blocks, and sets the header's checksum.
    pub fn send_data(&mut self, head: FrameHeader, buffer: Rc<Buffer>) {
        let checksum = checksum(buffer.bytes());
        self.send(&FrameHeader { checksum, ..head });
        self.outbox.shared(buffer);
    }

    pub fn send_value(&mut self, head: FrameHeader, value: &[u8]) {
        self.outbox.head(|out| {
            out.extend_from_slice(&head.encode());
            out.extend_from_slice(value);
        });
    }

    /// Writes until the socket would block.
    ///
    /// # Errors
    /// The connection is broken, or more than `OUTBOX_HEADS_MAX` bytes of headers wait to be
    /// sent.
    pub fn flush(&mut self) -> Result<(), LinkError> {
        if self.outbox.is_empty() && self.wire.has_output() {
            match self.wire.write(&[]) {
                Ok(_) | Err(Errno::AGAIN) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        self.outbox.send(&mut self.wire)?;
        match self.outbox.head_bytes() {
            ..=OUTBOX_HEADS_MAX => Ok(()),
            _ => Err(LinkError::Stuck),
        }
    }

    /// Receives all available frames, with buffers of the account that `account` returns.
    ///
    /// # Errors
    /// The connection is broken or closed, the certificate of the other node was revoked, or the
    /// received data is not a frame.
    pub fn receive<'a>(
        &mut self,
        pool: &Pool,
        account: &dyn Fn(&FrameHeader) -> &'a Account,
        out: &mut VecDeque<Incoming>,
    ) -> Result<(), LinkError> {
        if self.wire.is_revoked() {
            return Err(LinkError::Revoked);
        }
        self.consume(pool, account, out)?;
        for _ in 0..RECEIVES_MAX {
            if self.starves {
                return Ok(());
            }
            let received = self.fill()?;
            if received == Received::End {
                return Err(LinkError::Closed);
            }
            self.consume(pool, account, out)?;
            if received == Received::Short {
                break;
            }
        }
        Ok(())
    }

    fn fill(&mut self) -> Result<Received, LinkError> {
        let socket = &mut self.wire;
        if let Some(partial) = &mut self.partial {
            let rest = &mut partial.buffer.bytes_mut()[partial.filled..];
            let (received, count) = self.inbox.receive_payload(socket, rest, HEAD_BYTES)?;
            partial.filled += count;
            return Ok(received);
        }
        let wanted = match self.inbox.bytes().first_chunk::<HEAD_BYTES>() {
            // Receives the rest of a payload without blocks, as much as fits.
            Some(_) => INBOX_BYTES,
            None if self.has_data => HEAD_BYTES,
            None => HEADS_BYTES,
        };
        Ok(self.inbox.receive(socket, wanted)?)
    }

    fn consume<'a>(
        &mut self,
        pool: &Pool,
        account: &dyn Fn(&FrameHeader) -> &'a Account,
        out: &mut VecDeque<Incoming>,
    ) -> Result<(), LinkError> {
        loop {
            if let Some(mut partial) = self.partial.take() {
                let rest = &mut partial.buffer.bytes_mut()[partial.filled..];
                let bytes = self.inbox.take(rest.len());
                rest[..bytes.len()].copy_from_slice(bytes);
                partial.filled += bytes.len();
                if partial.filled < partial.buffer.len() {
                    self.partial = Some(partial);
                    return Ok(());
                }
                if checksum(partial.buffer.bytes()) != partial.head.checksum {
                    return Err(LinkError::Payload);
                }
                out.push_back(Incoming::Data(partial.head, partial.buffer));
                continue;
            }
            let Some(bytes) = self.inbox.bytes().first_chunk::<HEAD_BYTES>() else {
                return Ok(());
            };
            let head = FrameHeader::decode(bytes).ok_or(LinkError::Head)?;
            let (data, extra) = (head.data_bytes(), head.extra_bytes as usize);
            self.has_data = data > 0;
            if data > 0 {
                // Waits for memory if the buffer is shorter: the payload has to fit into one.
                let buffer = pool
                    .take(account(&head), data)
                    .filter(|one| one.len() == data);
                let Some(buffer) = buffer else {
                    self.starves = true;
                    return Ok(());
                };
                self.starves = false;
                self.inbox.take(HEAD_BYTES);
                let filled = 0;
                self.partial = Some(Partial {
                    head,
                    buffer,
                    filled,
                });
                continue;
            }
            if self.inbox.bytes().len() < HEAD_BYTES + extra {
                return Ok(());
            }
            self.inbox.take(HEAD_BYTES);
            if extra == 0 {
                out.push_back(Incoming::Head(head));
                continue;
            }
            let value = self.inbox.take(extra).to_vec();
            if checksum(&value) != head.checksum {
                return Err(LinkError::Payload);
            }
            out.push_back(Incoming::Value(head, value));
        }
    }
}

impl AsFd for Session {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wire.as_fd()
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session")
    }
}
