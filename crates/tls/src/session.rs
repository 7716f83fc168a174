//! Implements an established TLS connection over a socket: converts between records and
//! plaintext. rustls has performed the handshake and keeps the secrets for later keys; this code
//! encrypts and decrypts the records. A session has buffers only while they contain records.
//!
//! No method waits. Records that the socket does not accept are kept and sent first next time. An
//! incomplete record is kept until the rest arrives.

use super::bytes::Bytes;
use super::counters::Counted;
use super::record::{CONTENT_MAX, HEADER, Pieces, Protection, RecordError, kind};
use reactor::{self, StreamSocket};
use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::task::{Context, Poll, ready};

/// Maximum number of consecutive received records without data: key updates, empty records,
/// warnings. Tickets also count; real servers send two or four.
const FRUITLESS_MAX: u8 = 32;
/// Maximum length of a handshake message after the handshake, such as a ticket, bytes.
const TICKET_MAX: usize = 64 * 1024;
/// Space in the output buffer that data leaves free for an alert or close_notify, bytes.
const RESERVED: usize = 128;
const CONTENT_MAX_16: u16 = CONTENT_MAX as u16;
/// Number of bytes at the beginning of a transfer that are sent in smaller records.
const BEGINNING: u16 = 48 * 1024;
/// Pause after which further data counts as a new transfer, like HAProxy's `tune.idletimer`,
/// milliseconds.
const PAUSE_MS: u32 = 1000;
/// Maximum length of a received record with its header, bytes.
const RECORD_MAX: usize = HEADER + CONTENT_MAX + 2048;

pub(super) mod alert {
    pub(crate) const CLOSE_NOTIFY: u8 = 0;
    pub(crate) const USER_CANCELED: u8 = 90;
    pub(crate) const NO_RENEGOTIATION: u8 = 100;
    pub(crate) const WARNING: u8 = 1;
    pub(crate) const FATAL: u8 = 2;
}

/// Types of handshake messages that may arrive after the handshake.
mod message {
    pub(super) const HELLO_REQUEST: u8 = 0;
    pub(super) const CLIENT_HELLO: u8 = 1;
    pub(super) const NEW_SESSION_TICKET: u8 = 4;
    pub(super) const KEY_UPDATE: u8 = 24;
}

/// Returns the maximum body length of a message after the handshake. None if the message is not
/// allowed.
fn longest(secrets: &LaterKeys, message: u8) -> Option<usize> {
    match (secrets, message) {
        (LaterKeys::Fixed(true), message::CLIENT_HELLO) => Some(CONTENT_MAX),
        (LaterKeys::Fixed(false), message::HELLO_REQUEST) => Some(0),
        (LaterKeys::Client(_), message::NEW_SESSION_TICKET) => Some(TICKET_MAX),
        (LaterKeys::Server(_) | LaterKeys::Client(_), message::KEY_UPDATE) => Some(1),
        _ => None,
    }
}

/// Provides the keys after a key update (RFC 8446, section 4.6.3).
pub(super) enum LaterKeys {
    /// TLS 1.2, which has no key updates. True if the peer is the client.
    Fixed(bool),
    /// TLS 1.3, this side is the server.
    Server(Box<KernelConnection<ServerConnectionData>>),
    /// TLS 1.3, this side is the client.
    Client(Box<KernelConnection<ClientConnectionData>>),
}

pub struct Session {
    inner: RefCell<TlsSessionState>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ReadState {
    Open,
    Closed,
    /// The connection ended without close_notify: the data may be truncated.
    Cut,
    Failed(io::ErrorKind),
}

struct TlsSessionState {
    opener: Protection,
    sealer: Protection,
    secrets: LaterKeys,
    incoming: Option<Bytes>,
    /// Number of decrypted bytes at the front of `incoming`.
    plain: u32,
    tail: u32,
    outgoing: Option<Bytes>,
    /// Plaintext that rustls decrypted at the end of the handshake.
    early: Vec<u8>,
    /// Beginning of a handshake message that continues in the next record.
    joining: Vec<u8>,
    end: ReadState,
    fruitless: u8,
    /// True if the peer has requested a key update before the next data.
    wants_update: bool,
    said_goodbye: bool,
    /// The write direction of the socket must be closed as soon as all output was written.
    shut_when_flushed: bool,
    records: Records,
    /// Number of bytes sent since the last pause, not counted further than necessary.
    sent: u16,
    sent_at_ms: u32,
    _counted: Counted,
}

/// Maximum content lengths of sent records, bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Records {
    /// Limit at the beginning of a transfer: `tune.ssl.maxrecord`.
    first: u16,
    /// Limit at all times: `tune.ssl.hard-maxrecord`.
    always: u16,
}

impl Records {
    /// Makes the limits from the configuration. 0 means no limit.
    pub(super) fn of(first: Option<u32>, always: Option<u32>) -> Records {
        let bound = |bytes: Option<u32>| match bytes.map(u16::try_from) {
            Some(Ok(bytes @ 1..=CONTENT_MAX_16)) => bytes,
            _ => CONTENT_MAX_16,
        };
        let always = bound(always);
        Records {
            first: bound(first).min(always),
            always,
        }
    }
}

pub(super) struct Established {
    pub(super) opener: Protection,
    pub(super) sealer: Protection,
    pub(super) secrets: LaterKeys,
    pub(super) incoming: Option<Bytes>,
    pub(super) early: Vec<u8>,
    pub(super) records: Records,
    pub(super) counted: Counted,
}

/// Copies bytes into memory without contents of the same length.
fn copy(from: &[u8], to: &mut [MaybeUninit<u8>]) {
    assert_eq!(from.len(), to.len(), "copied between unequal lengths");
    // SAFETY: both slices are valid for that many bytes and cannot overlap, since one is borrowed
    // mutably.
    unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to.as_mut_ptr().cast(), from.len()) };
}

impl Session {
    pub(super) fn new(made: Established) -> Session {
        let incoming = made.incoming.filter(|bytes| !bytes.is_empty());
        Session {
            inner: RefCell::new(TlsSessionState {
                opener: made.opener,
                sealer: made.sealer,
                secrets: made.secrets,
                incoming,
                plain: 0,
                tail: 0,
                outgoing: None,
                early: made.early,
                joining: Vec::new(),
                end: ReadState::Open,
                fruitless: 0,
                wants_update: false,
                said_goodbye: false,
                shut_when_flushed: false,
                records: made.records,
                sent: 0,
                sent_at_ms: 0,
                _counted: made.counted,
            }),
        }
    }

    /// Reads plaintext. Returns 0 at the end, see [`Self::is_truncated`].
    ///
    /// # Errors
    /// `WouldBlock` if no record with data is complete. `InvalidData` after an invalid record,
    /// `ConnectionReset` after a fatal alert of the peer. Others as the read of the socket.
    pub fn read(&self, socket: &StreamSocket, out: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        self.inner.borrow_mut().read(socket, out)
    }

    /// Encrypts as much plaintext as fits into the output buffer, and writes as much as the socket
    /// accepts. Encrypts nothing while earlier records are not written.
    ///
    /// # Errors
    /// `WouldBlock` while earlier records are pending. `BrokenPipe` after close_notify.
    /// `ConnectionAborted` if the encryption fails. `InvalidData` or `ConnectionReset` after a
    /// failed read. Others as the write of the socket.
    pub fn write(
        &self,
        socket: &StreamSocket,
        pieces: &[IoSlice<'_>],
        more: bool,
    ) -> io::Result<usize> {
        self.inner.borrow_mut().write(socket, pieces, more)
    }

    pub fn poll_readable(&self, socket: &StreamSocket, context: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.inner.borrow_mut();
        loop {
            if inner.has_readable_data(socket) {
                return Poll::Ready(());
            }
            inner.release();
            ready!(socket.poll_readable(context));
            // Ignores the result: after WouldBlock, the next round waits; other errors are recorded
            // in `end`.
            let _ = inner.fill(socket);
        }
    }

    pub fn poll_writable(&self, socket: &StreamSocket, context: &mut Context<'_>) -> Poll<()> {
        // Ignores an error, because the next write reports it.
        let _ = ready!(self.poll_flush(socket, context));
        socket.poll_writable(context)
    }

    /// Ready when all written plaintext is in the kernel.
    pub fn poll_flush(
        &self,
        socket: &StreamSocket,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut inner = self.inner.borrow_mut();
        loop {
            match inner.flush(socket, false) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(socket.poll_writable(context));
                }
                other => return Poll::Ready(other),
            }
        }
    }

    pub fn is_flushed(&self) -> bool {
        self.inner.borrow().outgoing.is_none()
    }

    /// Returns whether a read would return data, the end or an error. Processes records without
    /// data, such as a server's tickets.
    pub fn is_readable(&self, socket: &StreamSocket) -> bool {
        let mut inner = self.inner.borrow_mut();
        loop {
            if inner.has_readable_data(socket) {
                return true;
            }
            inner.release();
            if !socket.is_readable() || inner.fill(socket).is_err() {
                return inner.end != ReadState::Open;
            }
        }
    }

    pub fn is_closed(&self) -> bool {
        self.inner.borrow().end != ReadState::Open
    }

    /// Ready when the peer has sent close_notify or closed its side. A close_notify that follows
    /// unread data is not noticed before the data is read; until then only the end of the socket
    /// is noticed.
    pub fn poll_closed(&self, socket: &StreamSocket, context: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.inner.borrow_mut();
        while !inner.has_readable_data(socket) {
            inner.release();
            if socket.poll_readable(context).is_pending() {
                break;
            }
            // Ignores the result: after WouldBlock, the next round waits; other errors are recorded
            // in `end`.
            let _ = inner.fill(socket);
        }
        match inner.end {
            ReadState::Open => socket.poll_peer_closed(context),
            ReadState::Closed | ReadState::Cut | ReadState::Failed(_) => Poll::Ready(()),
        }
    }

    /// Returns whether the connection ended without close_notify. An attacker may then have
    /// truncated the data.
    pub fn is_truncated(&self) -> bool {
        self.inner.borrow().end == ReadState::Cut
    }

    /// Sends close_notify and closes the write direction, now or when everything is
    /// flushed.
    ///
    /// # Errors
    /// The system call `shutdown` fails. A failed write is not reported.
    pub fn shutdown_write(&self, socket: &StreamSocket) -> io::Result<()> {
        let mut inner = self.inner.borrow_mut();
        inner.send_close_notify();
        inner.shut_when_flushed = true;
        match inner.flush(socket, false) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                // Closes the direction, which is possible although nothing more can be sent.
                inner.shut_when_flushed = false;
                socket.shutdown_write()
            }
            _ => Ok(()),
        }
    }

    /// Suppresses further output, including close_notify, because the connection will be closed by
    /// a reset.
    pub fn suppress_output(&self) {
        let mut inner = self.inner.borrow_mut();
        inner.said_goodbye = true;
        inner.shut_when_flushed = false;
        inner.outgoing = None;
    }

    /// Updates the sending keys, as a peer may do at any time.
    #[cfg(test)]
    pub(super) fn change_keys(&self, socket: &StreamSocket, asks: bool) {
        let mut inner = self.inner.borrow_mut();
        assert!(inner.update_sending(asks).is_ok());
        let _ = inner.flush(socket, false);
    }

    /// Queues close_notify if there is space, before the connection is closed.
    pub fn queue_close_notify(&self, socket: &StreamSocket) {
        let mut inner = self.inner.borrow_mut();
        inner.send_close_notify();
        inner.shut_when_flushed = false;
        let _ = inner.flush(socket, false);
    }
}

#[cfg(test)]
impl Session {
    /// Queues a record of any kind and content, as a hostile peer would.
    pub(super) fn queue_record(&self, kind: u8, content: &[u8]) {
        let mut inner = self.inner.borrow_mut();
        inner.queue(kind, content).expect("it is sealed");
    }

    /// Encrypts the next records with other keys without a message to the peer.
    pub(super) fn use_next_key(&self) {
        let mut inner = self.inner.borrow_mut();
        let keys = match &mut inner.secrets {
            LaterKeys::Server(kernel) => kernel.update_tx_secret(),
            LaterKeys::Client(kernel) => kernel.update_tx_secret(),
            LaterKeys::Fixed(_) => panic!("TLS 1.2 has one key"),
        };
        inner.sealer = Protection::new(true, keys.expect("keys")).expect("a key");
    }
}

impl TlsSessionState {
    fn release(&mut self) {
        self.incoming.take_if(|bytes| bytes.is_empty());
    }

    fn plain(&self) -> &[u8] {
        let filled = self.incoming.as_ref().map(Bytes::filled);
        filled
            .and_then(|filled| filled.get(..self.plain as usize))
            .unwrap_or_default()
    }

    /// Decrypts the available records up to the first one with data. Returns whether a read would
    /// not block.
    fn has_readable_data(&mut self, socket: &StreamSocket) -> bool {
        !self.early.is_empty()
            || self.plain > 0
            || self.open_next(socket)
            || self.end != ReadState::Open
    }

    fn fill(&mut self, socket: &StreamSocket) -> io::Result<()> {
        if self.end != ReadState::Open {
            return Ok(());
        }
        let bytes = self.incoming.get_or_insert_with(Bytes::from_pool);
        if bytes.spare().len() < RECORD_MAX {
            bytes.compact();
        }
        match bytes.read_from(socket) {
            Ok(0) => self.end = ReadState::Cut,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.release();
                return Err(error);
            }
            Err(error) => {
                self.end = ReadState::Failed(error.kind());
                return Err(error);
            }
        }
        Ok(())
    }

    fn read(&mut self, socket: &StreamSocket, out: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        if !self.early.is_empty() {
            return Ok(self.read_early(out));
        }
        let mut n = 0;
        loop {
            n += self.copy_plaintext(&mut out[n..]);
            if n == out.len() {
                break;
            }
            if self.open_next(socket) {
                continue;
            }
            if n > 0 {
                break;
            }
            match self.end {
                ReadState::Open => self.fill(socket)?,
                ReadState::Closed | ReadState::Cut => break,
                ReadState::Failed(kind) => return Err(kind.into()),
            }
        }
        self.release();
        Ok(n)
    }

    fn read_early(&mut self, out: &mut [MaybeUninit<u8>]) -> usize {
        let n = self.early.len().min(out.len());
        copy(&self.early[..n], &mut out[..n]);
        self.early.drain(..n);
        if self.early.is_empty() {
            self.early = Vec::new();
        }
        n
    }

    fn copy_plaintext(&mut self, out: &mut [MaybeUninit<u8>]) -> usize {
        let plain = self.plain();
        let n = plain.len().min(out.len());
        if n == 0 {
            return 0;
        }
        copy(&plain[..n], &mut out[..n]);
        self.plain -= n as u32;
        let rest = if self.plain == 0 {
            std::mem::take(&mut self.tail) as usize
        } else {
            0
        };
        if let Some(bytes) = &mut self.incoming {
            bytes.consume(n + rest);
        }
        n
    }

    /// Decrypts the available records up to the first one with data. Returns true if there is one.
    fn open_next(&mut self, socket: &StreamSocket) -> bool {
        while self.end == ReadState::Open && self.plain == 0 {
            match self.open_one() {
                Ok(Some(true)) => return true,
                Ok(Some(false)) => {
                    // Sends responses to the peer, even if the caller never writes. Ignores an
                    // error, because the next write reports it.
                    if self.outgoing.is_some() {
                        let _ = self.flush(socket, false);
                    }
                }
                Ok(None) => return false,
                Err(fault) => {
                    self.end_with_alert(fault, socket);
                    return false;
                }
            }
        }
        self.plain > 0
    }

    /// Decrypts one record. Returns whether it has data. None if it is incomplete.
    fn open_one(&mut self) -> Result<Option<bool>, RecordError> {
        let Some(bytes) = &mut self.incoming else {
            return Ok(None);
        };
        let Some(header) = self.opener.header(bytes.filled())? else {
            return Ok(None);
        };
        let (kind, content, total) = self.opener.open(header, bytes.filled_mut())?;
        if kind != kind::HANDSHAKE && !self.joining.is_empty() {
            // Rejects other records between the parts of a fragmented handshake message.
            return Err(RecordError::Unexpected);
        }
        if kind == kind::DATA && !content.is_empty() {
            self.fruitless = 0;
            bytes.consume(content.start);
            self.plain = content.len() as u32;
            self.tail = (total - content.end) as u32;
            return Ok(Some(true));
        }
        self.fruitless += 1;
        if self.fruitless > FRUITLESS_MAX {
            return Err(RecordError::Unexpected);
        }
        match kind {
            kind::DATA => bytes.consume(total),
            kind::ALERT => {
                let [level, code] = bytes.filled()[content] else {
                    return Err(RecordError::Decode);
                };
                bytes.consume(total);
                self.process_alert(level, code);
            }
            kind::HANDSHAKE if content.is_empty() => return Err(RecordError::Unexpected),
            kind::HANDSHAKE => {
                let mut joined = std::mem::take(&mut self.joining);
                joined.extend_from_slice(&bytes.filled()[content]);
                bytes.consume(total);
                self.messages(joined)?;
            }
            _ => return Err(RecordError::Unexpected),
        }
        Ok(Some(false))
    }

    fn process_alert(&mut self, level: u8, code: u8) {
        let is_13 = !matches!(self.secrets, LaterKeys::Fixed(_));
        match (level, code) {
            (_, alert::CLOSE_NOTIFY) => {
                self.end = ReadState::Closed;
                // Drops the bytes after close_notify.
                self.incoming = None;
            }
            (_, alert::USER_CANCELED) => {}
            (alert::WARNING, _) if !is_13 => {}
            _ => self.end = ReadState::Failed(io::ErrorKind::ConnectionReset),
        }
    }

    /// Processes messages after the handshake (tickets, key updates), and keeps an incomplete one.
    fn messages(&mut self, mut joined: Vec<u8>) -> Result<(), RecordError> {
        let mut at = 0;
        while let Some(&[kind, a, b, c]) = joined[at..].first_chunk::<4>() {
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            // Checks the type by the header, so that no other message is ever collected.
            if length > longest(&self.secrets, kind).ok_or(RecordError::Unexpected)? {
                return Err(RecordError::Decode);
            }
            let Some(body) = joined.get(at + 4..at + 4 + length) else {
                break;
            };
            at += 4 + length;
            let is_last = at == joined.len();
            self.message(kind, body, is_last)?;
        }
        joined.drain(..at);
        if !joined.is_empty() {
            self.joining = joined;
        }
        Ok(())
    }

    fn message(&mut self, kind: u8, body: &[u8], is_last: bool) -> Result<(), RecordError> {
        match (&mut self.secrets, kind) {
            (LaterKeys::Fixed(true), message::CLIENT_HELLO)
            | (LaterKeys::Fixed(false), message::HELLO_REQUEST) => {
                // Refuses renegotiation. A client that keeps trying exceeds the limit of records
                // without data.
                self.queue(kind::ALERT, &[alert::WARNING, alert::NO_RENEGOTIATION])
            }
            (LaterKeys::Client(kernel), message::NEW_SESSION_TICKET) => kernel
                .handle_new_session_ticket(body)
                .map_err(|_| RecordError::Decode),
            (LaterKeys::Server(_) | LaterKeys::Client(_), message::KEY_UPDATE) => {
                // Rejects messages after a key update in the same record, because they have the old
                // keys.
                if !is_last {
                    return Err(RecordError::Unexpected);
                }
                match body {
                    [0] => {}
                    [1] => self.wants_update = true,
                    [_] => return Err(RecordError::Illegal),
                    _ => return Err(RecordError::Decode),
                }
                let keys = match &mut self.secrets {
                    LaterKeys::Server(kernel) => kernel.update_rx_secret(),
                    LaterKeys::Client(kernel) => kernel.update_rx_secret(),
                    LaterKeys::Fixed(_) => return Err(RecordError::Unexpected),
                };
                self.opener = Protection::new(true, keys.map_err(|_| RecordError::Internal)?)?;
                Ok(())
            }
            _ => Err(RecordError::Unexpected),
        }
    }

    fn end_with_alert(&mut self, fault: RecordError, socket: &StreamSocket) {
        let _ = self.queue(kind::ALERT, &[alert::FATAL, fault as u8]);
        self.said_goodbye = true;
        self.end = ReadState::Failed(io::ErrorKind::InvalidData);
        self.incoming = None;
        let _ = self.flush(socket, false);
    }

    fn queue(&mut self, kind: u8, content: &[u8]) -> Result<(), RecordError> {
        let bytes = self.outgoing.get_or_insert_with(Bytes::from_pool);
        let pieces = [IoSlice::new(content)];
        let n = self.sealer.seal(
            kind,
            &mut Pieces::new(&pieces),
            content.len(),
            bytes.spare(),
        )?;
        bytes.commit(n);
        Ok(())
    }

    /// Switches to new sending keys and notifies the peer, optionally with a request to do the
    /// same.
    fn update_sending(&mut self, asks: bool) -> Result<(), RecordError> {
        let message = [message::KEY_UPDATE, 0, 0, 1, asks.into()];
        if matches!(self.secrets, LaterKeys::Fixed(_)) {
            return Err(RecordError::Internal);
        }
        self.queue(kind::HANDSHAKE, &message)?;
        let keys = match &mut self.secrets {
            LaterKeys::Server(kernel) => kernel.update_tx_secret(),
            LaterKeys::Client(kernel) => kernel.update_tx_secret(),
            LaterKeys::Fixed(_) => return Err(RecordError::Internal),
        };
        self.sealer = Protection::new(true, keys.map_err(|_| RecordError::Internal)?)?;
        self.wants_update = false;
        Ok(())
    }

    fn write(
        &mut self,
        socket: &StreamSocket,
        pieces: &[IoSlice<'_>],
        more: bool,
    ) -> io::Result<usize> {
        if let ReadState::Failed(kind) = self.end {
            return Err(kind.into());
        }
        if self.said_goodbye {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.flush(socket, more)?;
        let mut pieces = Pieces::new(pieces);
        let all = pieces.len();
        if all == 0 {
            return Ok(0);
        }
        let sealed = self.seal(&mut pieces, all);
        let taken = sealed.map_err(|_| io::Error::from(io::ErrorKind::ConnectionAborted))?;
        match self.flush(socket, more || taken < all) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(taken),
        }
    }

    fn seal(&mut self, pieces: &mut Pieces<'_, '_>, all: usize) -> Result<usize, RecordError> {
        if self.wants_update || self.sealer.is_key_exhausted() {
            self.update_sending(false)?;
        }
        self.note_transmission();
        let overhead = self.sealer.overhead();
        let bytes = self.outgoing.get_or_insert_with(Bytes::from_pool);
        let mut taken = 0;
        while taken < all && !self.sealer.is_key_exhausted() {
            let most = if self.sent < BEGINNING {
                self.records.first
            } else {
                self.records.always
            };
            let length = (all - taken).min(usize::from(most));
            if bytes.spare().len() < length + overhead + RESERVED {
                break;
            }
            let n = self
                .sealer
                .seal(kind::DATA, pieces, length, bytes.spare())?;
            bytes.commit(n);
            taken += length;
            self.sent = self.sent.saturating_add(length as u16);
        }
        Ok(taken)
    }

    /// Records that data was sent. After a pause, that begins a new transfer. Does nothing if
    /// there is no special limit for the beginning of a transfer.
    fn note_transmission(&mut self) {
        if self.records.first == self.records.always {
            return;
        }
        // The counter wraps around, so that a pause of about 49 days may be missed.
        let now_ms = (reactor::now().as_nanos() / 1_000_000) as u32;
        if now_ms.wrapping_sub(self.sent_at_ms) >= PAUSE_MS {
            self.sent = 0;
        }
        self.sent_at_ms = now_ms;
    }

    fn send_close_notify(&mut self) {
        if self.said_goodbye || matches!(self.end, ReadState::Failed(_)) {
            return;
        }
        self.said_goodbye = true;
        let _ = self.queue(kind::ALERT, &[alert::WARNING, alert::CLOSE_NOTIFY]);
    }

    fn flush(&mut self, socket: &StreamSocket, more: bool) -> io::Result<()> {
        if let Some(bytes) = &mut self.outgoing {
            if let Err(error) = bytes.write_to(socket, more) {
                if error.kind() != io::ErrorKind::WouldBlock {
                    self.outgoing = None;
                }
                return Err(error);
            }
            self.outgoing = None;
        }
        if std::mem::take(&mut self.shut_when_flushed) {
            socket.shutdown_write()?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}
