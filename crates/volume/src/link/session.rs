//! A connection in the loop of a volume: frames in and out, without blocking.

use super::frame::{EXTRA_BYTES_MAX, HEAD_BYTES, Head, checksum};
use crate::disk::{Account, Buffer, Pool};
use crate::stream::{Inbox, Outbox, Received};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use wire::{Bytes, Wire};

/// Room for heads that came together, or for the longest value with its head, bytes.
const INBOX_BYTES: usize = EXTRA_BYTES_MAX + HEAD_BYTES;
/// How much is received where heads without payload are expected, bytes.
const HEADS_BYTES: usize = 32 * HEAD_BYTES;
/// System calls that receive in a turn of the loop.
const RECEIVES_MAX: usize = 32;
/// Heads that the other side has not taken, bytes: it reads no more, or is not sane.
const OUTBOX_HEADS_MAX: usize = 1 << 20;

/// Why a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LinkError {
    /// The other side closed it.
    #[error("the other node closed the connection")]
    Closed,
    /// The network.
    #[error("{0}")]
    Io(Errno),
    /// A head is not one of this version, or was damaged on the way.
    #[error("damaged on the way: the head of a frame has a wrong checksum")]
    Head,
    /// A payload was damaged on the way.
    #[error("damaged on the way: a payload has a wrong checksum")]
    Payload,
    /// A record of TLS was damaged on the way.
    #[error("damaged on the way: TLS cannot read a record")]
    Record,
    /// The cluster no longer accepts the other node.
    #[error(
        "the cluster no longer accepts the certificate of the other node: it was removed, or the CA has changed"
    )]
    Revoked,
    /// Nothing comes.
    #[error("the other node is silent")]
    Silent,
    /// It does not read.
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

/// A frame that came as a whole.
#[derive(Debug)]
pub enum Incoming {
    /// A head alone.
    Head(Head),
    /// With blocks.
    Data(Head, Buffer),
    /// With the bytes of a value.
    Value(Head, Vec<u8>),
}

/// A payload that is being received.
struct Partial {
    head: Head,
    buffer: Buffer,
    filled: usize,
}

/// A connection.
pub struct Session {
    wire: Wire,
    inbox: Inbox,
    partial: Option<Partial>,
    outbox: Outbox,
    /// The last frame had blocks, so the next one may, too.
    has_data: bool,
    /// The next payload waits for memory.
    starves: bool,
}

impl Session {
    /// Of a connection after the greetings; it does not block.
    pub fn new(wire: Wire) -> Session {
        Session {
            wire,
            inbox: Inbox::new(INBOX_BYTES),
            partial: None,
            outbox: Outbox::default(),
            has_data: false,
            starves: false,
        }
    }

    /// Whether it has something to send.
    pub fn has_output(&self) -> bool {
        !self.outbox.is_empty() || self.wire.has_output()
    }

    /// Whether something came that epoll does not know of.
    pub fn has_input(&self) -> bool {
        self.wire.has_input() && !self.starves
    }

    /// Whether it waits for memory, and reads nothing meanwhile.
    pub fn starves(&self) -> bool {
        self.starves
    }

    /// Sends a head.
    pub fn send(&mut self, head: &Head) {
        self.outbox
            .head(|out| out.extend_from_slice(&head.encode()));
    }

    /// Sends a head and blocks behind it. The head gets their checksum.
    pub fn send_data(&mut self, head: Head, buffer: Rc<Buffer>) {
        let checksum = checksum(buffer.bytes());
        self.send(&Head { checksum, ..head });
        self.outbox.shared(buffer);
    }

    /// Sends a head and the value behind it.
    pub fn send_value(&mut self, (head, value): (Head, Vec<u8>)) {
        self.outbox.head(|out| {
            out.extend_from_slice(&head.encode());
            out.extend_from_slice(&value);
        });
    }

    /// Writes as much as the network takes.
    ///
    /// # Errors
    /// The connection is gone.
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

    /// Receives what there is, with buffers of the account that `account` says.
    ///
    /// # Errors
    /// The connection is gone, or what came is not a frame.
    pub fn receive<'a>(
        &mut self,
        pool: &Pool,
        account: &dyn Fn(&Head) -> &'a Account,
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
            // A value of which not all has come.
            Some(_) => INBOX_BYTES,
            None if self.has_data => HEAD_BYTES,
            None => HEADS_BYTES,
        };
        Ok(self.inbox.receive(socket, wanted)?)
    }

    /// Takes what the inbox has.
    fn consume<'a>(
        &mut self,
        pool: &Pool,
        account: &dyn Fn(&Head) -> &'a Account,
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
            let head = Head::decode(bytes).ok_or(LinkError::Head)?;
            let (data, extra) = (head.data_bytes(), head.extra_bytes as usize);
            self.has_data = data > 0;
            if data > 0 {
                // A shorter one is of no use.
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
