//! Serves one NBD client's connection: the handshake, the client's requests in order of arrival,
//! and the replies. The server reads from the socket only what it has space for, so a client that
//! does not read its replies blocks only itself.

use super::ranges::Ranges;
use super::request::{PendingRequest, RequestPiece, RequestSlot, Requests};
use super::tenure::{
    ConnectionUser, Grant, OpenRefusal, OtherNodeUse, VolumeUser, WritePermission, may_open,
    may_open_unnamed, may_write, user_of,
};
use crate::disk::{Account, Buffer, Failure, Operation, OperationOutput, Pool, Token};
use crate::overwrite::OverwriteMark;
use crate::stream::{Inbox, Outbox, Received};
use protocol::nbd::reply::{self, Extent};
use protocol::nbd::{
    Errno, Export, GREETING, Gate, Handshake, NbdCommand, NbdConnectionError, NbdHandshakeStep,
    NbdRequestHeader, NbdTransport, REQUEST_BYTES, Session,
};
use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Instant;

/// Limit of queued reply headers, bytes. Above it no further request of the client starts.
const HEAD_BYTES_MAX: usize = 64 << 10;
const RECEIVES_MAX: usize = 16;
const INBOX_BYTES: usize = protocol::nbd::OPTION_BYTES_MAX as usize + 64;
/// Length of a receive call while request headers are expected, bytes.
const HEADS_BYTES: usize = 32 * REQUEST_BYTES;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CloseReason {
    Left,
    Fault(NbdConnectionError),
    /// A read failed after a simple reply had begun, which cannot report the error.
    Broken,
}

impl From<rustix::io::Errno> for CloseReason {
    fn from(_: rustix::io::Errno) -> CloseReason {
        CloseReason::Left
    }
}

impl From<NbdConnectionError> for CloseReason {
    fn from(fault: NbdConnectionError) -> CloseReason {
        CloseReason::Fault(fault)
    }
}

/// Resources of the export that a client uses.
pub(super) struct Port<'a> {
    pub(super) exports: &'a [Export],
    pub(super) pool: &'a Pool,
    pub(super) operations: &'a mut Vec<(Token, Operation)>,
    pub(super) stops: bool,
    pub(super) holder: Option<&'a VolumeUser>,
    pub(super) elsewhere: OtherNodeUse,
    pub(super) overwrite: Option<OverwriteMark>,
    pub(super) grant: Option<&'a Grant>,
}

/// Meaning of the next received bytes.
enum ReceiveState {
    Options(Handshake),
    Head,
    Payload {
        slot: RequestSlot,
        part: Option<ReceiveBuffer>,
    },
    /// Payload of a refused write, which is skipped: the remaining length.
    Skip {
        left: u32,
    },
    /// A read is being submitted to the disk; later requests wait.
    Reading {
        slot: RequestSlot,
    },
    Closed,
}

struct ReceiveBuffer {
    buffer: Buffer,
    filled: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ClientWait {
    Input,
    Memory,
    /// Completion of one of the client's requests, or progress in sending replies.
    Room,
}

pub(super) struct Client {
    socket: OwnedFd,
    /// Slot index, and the generation that distinguishes clients of this slot.
    place: (u8, u16),
    account: Account,
    intake: ReceiveState,
    session: Option<Session>,
    inbox: Inbox,
    requests: Requests,
    ranges: Ranges,
    outbox: Outbox,
    wants: ClientWait,
    /// The last request had a payload, so the next one may have one too.
    writes: bool,
    has_written: bool,
    origin: ConnectionOrigin,
    since: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ConnectionOrigin {
    Local,
    Remote,
}

impl Client {
    pub(super) fn new(
        socket: OwnedFd,
        place: (u8, u16),
        account: Account,
        origin: ConnectionOrigin,
        now: Instant,
    ) -> Client {
        let mut outbox = Outbox::default();
        outbox.head(|out| out.extend_from_slice(&GREETING));
        Client {
            socket,
            place,
            account,
            intake: ReceiveState::Options(Handshake::new(NbdTransport::Plain)),
            session: None,
            inbox: Inbox::new(INBOX_BYTES),
            requests: Requests::new(),
            ranges: Ranges::default(),
            outbox,
            wants: ClientWait::Input,
            writes: false,
            has_written: false,
            origin,
            since: now,
        }
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) fn generation(&self) -> u16 {
        self.place.1
    }

    /// Returns the start of the connection; None once the client has chosen an export.
    pub(super) fn in_handshake_since(&self) -> Option<Instant> {
        self.session.is_none().then_some(self.since)
    }

    pub(super) fn uses(&self) -> (bool, bool) {
        (self.session.is_some(), self.has_written)
    }

    /// Returns the user of the connection; None before the client has chosen an export.
    pub(super) fn tenant(&self) -> Option<ConnectionUser<'_>> {
        let session = self.session.as_ref()?;
        Some(match (&session.user, self.origin) {
            (Some(user), _) => ConnectionUser::Named(user_of(user)),
            (None, ConnectionOrigin::Local) => ConnectionUser::Local(self.has_written),
            (None, ConnectionOrigin::Remote) => ConnectionUser::Remote(self.has_written),
        })
    }

    pub(super) fn wants_input(&self) -> bool {
        self.wants == ClientWait::Input && !matches!(self.intake, ReceiveState::Closed)
    }

    pub(super) fn has_output(&self) -> bool {
        !self.outbox.is_empty()
    }

    pub(super) fn waits(&self) -> bool {
        self.wants != ClientWait::Input
    }

    pub(super) fn starves(&self) -> bool {
        self.wants == ClientWait::Memory
    }

    pub(super) fn is_busy(&self) -> bool {
        self.requests.len() > 0
    }

    pub(super) fn is_finished(&self) -> bool {
        matches!(self.intake, ReceiveState::Closed) && !self.is_busy() && self.outbox.is_empty()
    }

    pub(super) fn send(&mut self) -> Result<bool, CloseReason> {
        Ok(self.outbox.send(&mut self.socket.as_fd())?)
    }

    /// Stops accepting requests. The connection closes after the current requests. A partly
    /// received request gets no reply, so the client repeats it on its next connection.
    pub(super) fn stop(&mut self) {
        match self.intake {
            // Continues to submit the read: the rest needs only memory, which other completions
            // return.
            ReceiveState::Reading { .. } => return,
            ReceiveState::Payload { slot, .. } => drop(self.requests.remove(slot)),
            _ => {}
        }
        self.intake = ReceiveState::Closed;
    }

    pub(super) fn advance(&mut self, port: &mut Port<'_>) -> Result<(), CloseReason> {
        self.wants = self.consume(port)?;
        for _ in 0..RECEIVES_MAX {
            if self.waits() {
                break;
            }
            let received = self.receive()?;
            if received == Received::End {
                return Err(CloseReason::Left);
            }
            // Consumes even after a short receive, because epoll does not report data that was
            // already received.
            self.wants = self.consume(port)?;
            if received == Received::Short {
                break;
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<Received, CloseReason> {
        let mut socket = self.socket.as_fd();
        let wanted = match &mut self.intake {
            ReceiveState::Options(_) => usize::MAX,
            ReceiveState::Payload {
                slot,
                part: Some(part),
            } => {
                let left = self
                    .requests
                    .get(*slot)
                    .map_or(0, |one| one.left() as usize);
                let is_last = part.buffer.len() >= left;
                let behind = if is_last { REQUEST_BYTES } else { 0 };
                let payload = &mut part.buffer.bytes_mut()[part.filled..];
                let (received, count) = self.inbox.receive_payload(&mut socket, payload, behind)?;
                part.filled += count;
                return Ok(received);
            }
            ReceiveState::Skip { left } => *left as usize,
            _ if self.writes => REQUEST_BYTES,
            _ => HEADS_BYTES,
        };
        Ok(self.inbox.receive(&mut socket, wanted)?)
    }

    fn consume(&mut self, port: &mut Port<'_>) -> Result<ClientWait, CloseReason> {
        loop {
            let wants = match &mut self.intake {
                ReceiveState::Options(_) => self.options(port)?,
                ReceiveState::Head if port.stops => {
                    self.intake = ReceiveState::Closed;
                    None
                }
                ReceiveState::Head => self.head(port)?,
                ReceiveState::Payload { .. } => self.payload(port),
                ReceiveState::Skip { left } => {
                    let skipped = self.inbox.take(*left as usize).len();
                    *left -= skipped as u32;
                    match *left {
                        0 => {
                            self.intake = ReceiveState::Head;
                            None
                        }
                        _ => Some(ClientWait::Input),
                    }
                }
                ReceiveState::Reading { slot } => {
                    let slot = *slot;
                    self.read(slot, port)
                }
                ReceiveState::Closed => Some(ClientWait::Room),
            };
            if let Some(wants) = wants {
                return Ok(wants);
            }
        }
    }

    fn options(&mut self, port: &Port<'_>) -> Result<Option<ClientWait>, CloseReason> {
        let ReceiveState::Options(handshake) = &mut self.intake else {
            return Ok(None);
        };
        let mut input = self.inbox.bytes();
        let before = input.len();
        let is_unknown = Cell::new(false);
        let admit = |user: Option<&str>| {
            let opened = match user {
                Some(user) => may_open(user, port.holder, port.elsewhere, port.overwrite),
                None => may_open_unnamed(port.holder, port.overwrite),
            };
            opened.map_err(|refusal| match refusal {
                OpenRefusal::Used(words) => words,
                OpenRefusal::Incomplete(status) => {
                    let name = port.exports.first().map_or("", |export| &export.name);
                    format!("volume {name} is incomplete: {}", status.refusal(name))
                }
                OpenRefusal::Unknown => {
                    is_unknown.set(true);
                    String::new()
                }
            })
        };
        let gate = Gate {
            names_users: self.origin == ConnectionOrigin::Local,
            admit: &admit,
        };
        let step = self
            .outbox
            .head(|out| handshake.handle_gated(&mut input, port.exports, Some(gate), out));
        let taken = before - input.len();
        self.inbox.take(taken);
        if is_unknown.get() {
            // Disconnects without a reply, so that the client connects again.
            return Err(CloseReason::Left);
        }
        match step {
            Ok(NbdHandshakeStep::Read) if self.outbox.head_bytes() > HEAD_BYTES_MAX => {
                return Ok(Some(ClientWait::Room));
            }
            Ok(NbdHandshakeStep::Read) => return Ok(Some(ClientWait::Input)),
            // Closes in both cases. StartTls cannot occur: the handshake's transport does not offer
            // TLS.
            Ok(NbdHandshakeStep::StartTls | NbdHandshakeStep::Close) => {
                self.intake = ReceiveState::Closed
            }
            Ok(NbdHandshakeStep::Transmit(session)) => {
                self.session = Some(session);
                self.intake = ReceiveState::Head;
            }
            Err(fault) => {
                // Sends the queued replies, which contain the error if the protocol can express it.
                // Ignores failures.
                let _ = self.outbox.send(&mut self.socket.as_fd());
                return Err(fault.into());
            }
        }
        Ok(None)
    }

    fn head(&mut self, port: &mut Port<'_>) -> Result<Option<ClientWait>, CloseReason> {
        if self.requests.is_full() || self.outbox.head_bytes() > HEAD_BYTES_MAX {
            return Ok(Some(ClientWait::Room));
        }
        let Some(bytes) = self.inbox.bytes().first_chunk::<REQUEST_BYTES>() else {
            return Ok(Some(ClientWait::Input));
        };
        let request = NbdRequestHeader::decode(bytes)?;
        if self.must_wait(&request, port) {
            return Ok(Some(ClientWait::Room));
        }
        self.inbox.take(REQUEST_BYTES);
        self.begin(request, port);
        Ok(None)
    }

    fn begin(&mut self, request: NbdRequestHeader, port: &mut Port<'_>) {
        self.writes = request.payload_bytes() > 0;
        let Some(session) = &self.session else { return };
        let command = match session.command(&request) {
            Ok(NbdCommand::Disconnect) => {
                self.intake = ReceiveState::Closed;
                return;
            }
            other => other,
        };
        let command = command.and_then(|command| {
            if self.may_do(command, port) {
                Ok(command)
            } else {
                Err(Errno::Perm)
            }
        });
        let Some(session) = &self.session else { return };
        let command = match command {
            Ok(NbdCommand::Cache) => {
                return self
                    .outbox
                    .head(|out| reply::done(session, request.cookie, out));
            }
            Ok(command) => command,
            Err(error) => {
                let cookie = request.cookie;
                self.outbox
                    .head(|out| reply::failed(session, cookie, error, out));
                let left = request.payload_bytes();
                self.intake = ReceiveState::Skip { left };
                return;
            }
        };
        let Some(slot) = self.requests.insert(PendingRequest::new(request, command)) else {
            return;
        };
        let (offset, length) = (request.offset, u64::from(request.length));
        let operation = match command {
            NbdCommand::Read { .. } => {
                self.intake = ReceiveState::Reading { slot };
                return;
            }
            NbdCommand::Write { .. } => {
                self.intake = ReceiveState::Payload { slot, part: None };
                return;
            }
            NbdCommand::Trim { .. } => Operation::Discard { offset, length },
            NbdCommand::Zeroes { allocate, fast, .. } => Operation::Zero {
                offset,
                length,
                allocate,
                fast,
            },
            NbdCommand::Status { .. } => Operation::Extents { offset, length },
            NbdCommand::Flush | NbdCommand::Cache | NbdCommand::Disconnect => Operation::Flush,
        };
        if let Some(pending) = self.requests.get(slot) {
            pending.then_flush = matches!(
                command,
                NbdCommand::Trim { fua: true } | NbdCommand::Zeroes { fua: true, .. }
            );
            let is_range = matches!(command, NbdCommand::Trim { .. } | NbdCommand::Zeroes { .. });
            pending.range = is_range.then_some(length);
            pending.start(request.length);
        }
        self.submit(slot, 0, operation, port);
    }

    fn must_wait(&self, request: &NbdRequestHeader, port: &Port<'_>) -> bool {
        let session = self.session.as_ref().filter(|_| !self.has_written);
        let command = session.and_then(|session| session.command(request).ok());
        command.is_some_and(|command| self.permission(command, port) == WritePermission::Unknown)
    }

    fn permission(&self, command: NbdCommand, port: &Port<'_>) -> WritePermission {
        match self.tenant() {
            Some(tenant) if changes(command) && !self.has_written => {
                may_write(tenant, port.holder, port.grant, port.elsewhere)
            }
            _ => WritePermission::Granted,
        }
    }

    fn may_do(&mut self, command: NbdCommand, port: &Port<'_>) -> bool {
        let is_granted = self.permission(command, port) == WritePermission::Granted;
        self.has_written |= is_granted && changes(command);
        is_granted
    }

    fn payload(&mut self, port: &mut Port<'_>) -> Option<ClientWait> {
        let ReceiveState::Payload { slot, part } = &mut self.intake else {
            return None;
        };
        let slot = *slot;
        let pending = self.requests.get(slot)?;
        let mut current = match part.take() {
            Some(current) => current,
            None => match port.pool.take(&self.account, pending.left() as usize) {
                Some(buffer) => ReceiveBuffer { buffer, filled: 0 },
                None => return Some(ClientWait::Memory),
            },
        };
        let room = &mut current.buffer.bytes_mut()[current.filled..];
        let bytes = self.inbox.take(room.len());
        room[..bytes.len()].copy_from_slice(bytes);
        current.filled += bytes.len();
        if current.filled < current.buffer.len() {
            *part = Some(current);
            return Some(ClientWait::Input);
        }
        let length = current.buffer.len() as u32;
        let (begin, offset) = (pending.started, pending.next_offset());
        let is_whole = length == pending.asked.length;
        let fua = pending.command == NbdCommand::Write { fua: true };
        pending.then_flush = fua && !is_whole;
        pending.start(length);
        if pending.left() == 0 {
            self.intake = ReceiveState::Head;
        }
        let operation = Operation::Write {
            offset,
            buffer: Rc::new(current.buffer),
            fua: fua && is_whole,
        };
        self.submit(slot, begin, operation, port);
        None
    }

    /// Submits a read to the disk, in pieces as memory permits. If a reply has to be in order and
    /// has several pieces, they are read one at a time, while no other request runs.
    fn read(&mut self, slot: RequestSlot, port: &mut Port<'_>) -> Option<ClientWait> {
        let is_alone = self.requests.len() == 1;
        let is_ordered = self.is_ordered(slot);
        let Some(pending) = self.requests.get(slot) else {
            self.intake = ReceiveState::Head;
            return None;
        };
        let continues = is_ordered && pending.started > 0;
        if continues && (pending.pieces > 0 || pending.left() == 0) {
            return Some(ClientWait::Room);
        }
        if pending.left() == 0 {
            self.intake = ReceiveState::Head;
            return None;
        }
        let Some(buffer) = port.pool.take(&self.account, pending.left() as usize) else {
            return Some(ClientWait::Memory);
        };
        let length = buffer.len() as u32;
        let is_whole = length == pending.asked.length;
        if is_ordered && !is_whole && !is_alone {
            return Some(ClientWait::Room);
        }
        let (begin, offset) = (pending.started, pending.next_offset());
        pending.start(length);
        if pending.left() == 0 && (is_whole || !is_ordered) {
            self.intake = ReceiveState::Head;
        }
        self.submit(slot, begin, Operation::Read { offset, buffer }, port);
        None
    }

    fn is_ordered(&mut self, slot: RequestSlot) -> bool {
        let structured = self.session.as_ref().is_some_and(|one| one.structured);
        let command = self.requests.get(slot).map(|one| one.command);
        !structured || command == Some(NbdCommand::Read { whole: true })
    }

    fn submit(
        &mut self,
        slot: RequestSlot,
        offset: u32,
        operation: Operation,
        port: &mut Port<'_>,
    ) {
        let (client, generation) = self.place;
        let piece = RequestPiece {
            client,
            generation,
            slot,
            offset,
        };
        let token = Token(piece.encode());
        self.ranges.submit(token, operation, port.operations);
    }

    pub(super) fn complete(
        &mut self,
        piece: RequestPiece,
        result: Result<OperationOutput, Failure>,
        port: &mut Port<'_>,
    ) -> Result<(), CloseReason> {
        let is_ordered = self.is_ordered(piece.slot);
        let (Some(pending), Some(session)) = (self.requests.get(piece.slot), &self.session) else {
            return Ok(());
        };
        pending.pieces = pending.pieces.saturating_sub(1);
        if let Some(bytes) = pending.range.take() {
            self.ranges.ended(bytes, port.operations);
        }
        let cookie = pending.asked.cookie;
        match result {
            Err(failure) => {
                pending.error = pending.error.or(Some(errno(failure)));
                // Ends the submission of a failed read. A write still receives the rest of its
                // payload.
                if matches!(pending.command, NbdCommand::Read { .. }) {
                    pending.started = pending.asked.length;
                }
                if pending.replying {
                    return Err(CloseReason::Broken);
                }
            }
            Ok(OperationOutput::Data(buffer)) if is_ordered => {
                if !std::mem::replace(&mut pending.replying, true) {
                    let whole = reply::NbdReadChunk {
                        offset: pending.asked.offset,
                        length: pending.asked.length,
                        is_last: true,
                    };
                    self.outbox
                        .head(|out| reply::data(session, cookie, whole, out));
                }
                self.outbox.data(buffer);
            }
            Ok(OperationOutput::Data(buffer)) => {
                let chunk = reply::NbdReadChunk {
                    offset: pending.asked.offset + u64::from(piece.offset),
                    length: buffer.len() as u32,
                    is_last: pending.is_done() && pending.error.is_none(),
                };
                let is_hole = is_zero(buffer.bytes())
                    && self
                        .outbox
                        .head(|out| reply::hole(session, cookie, chunk, out));
                if !is_hole {
                    self.outbox
                        .head(|out| reply::data(session, cookie, chunk, out));
                    self.outbox.data(buffer);
                }
            }
            Ok(OperationOutput::Extents(found)) => {
                let one = pending.command == NbdCommand::Status { one: true };
                let extents = extents(&found, one);
                self.outbox.head(|out| reply::status(cookie, &extents, out));
            }
            Ok(OperationOutput::Done) => {}
        }
        if pending.is_done() {
            self.finish(piece.slot, port);
        }
        Ok(())
    }

    fn finish(&mut self, slot: RequestSlot, port: &mut Port<'_>) {
        let Some(pending) = self.requests.get(slot) else {
            return;
        };
        if std::mem::take(&mut pending.then_flush) && pending.error.is_none() {
            pending.pieces += 1;
            return self.submit(slot, 0, Operation::Flush, port);
        }
        let (Some(pending), Some(session)) = (self.requests.remove(slot), &self.session) else {
            return;
        };
        let cookie = pending.asked.cookie;
        match (pending.error, pending.command) {
            (Some(error), _) => self
                .outbox
                .head(|out| reply::failed(session, cookie, error, out)),
            (None, NbdCommand::Read { .. } | NbdCommand::Status { .. }) => {}
            (None, _) => self.outbox.head(|out| reply::done(session, cookie, out)),
        }
    }
}

fn changes(command: NbdCommand) -> bool {
    matches!(
        command,
        NbdCommand::Write { .. } | NbdCommand::Trim { .. } | NbdCommand::Zeroes { .. }
    )
}

fn errno(failure: Failure) -> Errno {
    match failure {
        Failure::Io(rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT) => Errno::NoSpace,
        Failure::Io(rustix::io::Errno::SHUTDOWN) => Errno::Shutdown,
        Failure::Io(_) | Failure::Short | Failure::Damaged => Errno::Io,
        Failure::NotFast => Errno::NotSupported,
    }
}

fn extents(found: &[crate::disk::Extent], one: bool) -> Vec<Extent> {
    let most = if one { 1 } else { reply::EXTENTS_MAX };
    let extents = found.iter().take(most).map(|extent| Extent {
        length: u32::try_from(extent.length).unwrap_or(u32::MAX),
        hole: extent.is_hole,
    });
    extents.collect()
}

/// Returns whether all bytes are zero. Stops at the first nonzero byte, so most data costs almost
/// nothing.
fn is_zero(bytes: &[u8]) -> bool {
    let words = bytes.chunks_exact(size_of::<u128>());
    let rest = words.remainder();
    rest.iter().all(|byte| *byte == 0)
        && words
            .into_iter()
            .all(|word| word == [0; size_of::<u128>()].as_slice())
}
