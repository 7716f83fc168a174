//! Defines the handle by which its user reads and writes an HTTP/2 stream.

use super::drains::BYTES_MAX;
use super::mapping;
use super::shared::{ConnectionState, MuxState, OUTPUT_MAX_BYTES};
use super::slot::{Expected, Gone, Interest};
use http::http1::{HttpParseError, Parsed};
use http::message::{Fields, HttpMessage};
use protocol::http2::{ErrorCode, Http2Role, StreamId};
use reactor::Buffer;
use std::cell::RefMut;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

#[derive(Debug)]
pub enum HeadFailure {
    Gone(Gone),
    /// The head was malformed. The stream has been reset.
    Fault(HttpParseError),
}

/// A stream of an HTTP/2 connection. Dropping it before both sides have ended resets it.
pub struct MuxStream {
    shared: Rc<ConnectionState>,
    slot: u32,
}

impl MuxStream {
    pub(super) fn new(shared: Rc<ConnectionState>, slot: u32) -> MuxStream {
        MuxStream { shared, slot }
    }

    pub(super) fn place(&self) -> (&Rc<ConnectionState>, u32) {
        (&self.shared, self.slot)
    }

    /// Schedules the sending of output and window updates. The writes of many streams before the
    /// driver's turn are combined.
    fn flush(&self, inner: RefMut<'_, MuxState>) {
        let due = !inner.connection.output().is_empty() && !inner.blocked;
        drop(inner);
        if due {
            self.shared.wake_driver();
        }
    }

    fn sendable_connection(&self) -> io::Result<RefMut<'_, MuxState>> {
        let mut inner = self.shared.inner.borrow_mut();
        let slot = inner.slot(self.slot);
        if slot.gone.is_some() || slot.sent_end {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(inner)
    }

    /// Returns the stream id. 0 for a stream to a server that has sent nothing yet.
    pub fn id(&self) -> u32 {
        self.shared.inner.borrow_mut().slot(self.slot).id
    }

    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.shared.inner.borrow_mut();
        let slot = inner.slot(self.slot);
        if slot.has_readable_data() {
            return Poll::Ready(());
        }
        slot.wait(Interest::READ, context);
        Poll::Pending
    }

    pub async fn readable(&self) {
        poll_fn(|context| self.poll_readable(context)).await;
    }

    pub fn is_readable(&self) -> bool {
        self.shared
            .inner
            .borrow_mut()
            .slot(self.slot)
            .has_readable_data()
    }

    /// Moves received body data into the free space of a buffer, and opens the peer's window by as
    /// much. 0 is the end of the body.
    ///
    /// # Errors
    /// `WouldBlock` if there is no data. `OutOfMemory` if the buffer is full. `ConnectionReset` if
    /// the stream is [`Self::gone`] before its end.
    pub fn read_into(&self, buffer: &mut Buffer) -> io::Result<usize> {
        let mut inner = self.shared.inner.borrow_mut();
        let (connection, slot) = inner.connection_and_stream(self.slot);
        if slot.received.len() > 0 {
            let n = slot.received.pop_into(buffer);
            if n == 0 {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            connection.consumed(StreamId(slot.id), n as u32);
            self.flush(inner);
            return Ok(n);
        }
        match slot.gone {
            _ if slot.received_end => Ok(0),
            Some(_) => Err(io::ErrorKind::ConnectionReset.into()),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Returns whether the peer has ended its side and all of it was read.
    pub fn is_ended(&self) -> bool {
        let mut inner = self.shared.inner.borrow_mut();
        let slot = inner.slot(self.slot);
        slot.received_end && slot.received.len() == 0
    }

    /// Returns the trailers of the body, once, after its end.
    pub fn take_trailers(&self) -> Option<Box<Fields>> {
        self.shared
            .inner
            .borrow_mut()
            .slot(self.slot)
            .trailers
            .take()
    }

    pub fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.shared.inner.borrow_mut();
        let slot = inner.slot(self.slot);
        if slot.gone.is_some() || slot.sent_end || inner.writable(self.slot) > 0 {
            return Poll::Ready(());
        }
        if inner.wait_to_write(self.slot, context) {
            drop(inner);
            self.shared.wake_driver();
        }
        Poll::Pending
    }

    pub async fn writable(&self) {
        poll_fn(|context| self.poll_writable(context)).await;
    }

    /// Sends the head of a response to a client, interim (1xx) or final. A final head is sent even
    /// if the output is full, because a stream has only one. An interim head cannot end the stream.
    ///
    /// # Errors
    /// `ConnectionReset` if the stream is lost or this side has ended. `WouldBlock` if the head is
    /// interim and the output of the connection is full. `InvalidInput` if the message is not a
    /// response.
    pub fn send_head(&self, head: &HttpMessage, end: bool) -> io::Result<()> {
        let interim = (100..200).contains(&head.status()) && head.status() != 101;
        let mut inner = self.sendable_connection()?;
        let (connection, slot) = inner.connection_and_stream(self.slot);
        if interim && connection.output().len() >= OUTPUT_MAX_BYTES {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let end = end && !interim;
        mapping::send_response(connection, StreamId(slot.id), head, slot.extended, end)?;
        slot.sent_end |= end;
        self.flush(inner);
        Ok(())
    }

    /// Discards the rest of a request body as it arrives, because the response that follows does
    /// not depend on it. The client gets the window for all of a short rest before the response:
    /// some clients (curl 7.88) no longer read once they have the response, but send the rest. A
    /// rest that is too long is stored and not read, so it ends with its window.
    pub fn discard_body(&self) {
        let mut inner = self.shared.inner.borrow_mut();
        let (connection, slot) = inner.connection_and_stream(self.slot);
        let id = StreamId(slot.id);
        if slot.received_end || slot.discarded.is_some() || slot.gone.is_some() {
            return;
        }
        if connection.grant_rest(id, BYTES_MAX) {
            connection.consumed(StreamId(0), slot.received.len() as u32);
            slot.received.clear();
            slot.discarded = Some(0);
        }
    }

    /// Waits for the server's SETTINGS, or the end of the stream. Returns whether the server
    /// accepts tunnels for other protocols (RFC 8441).
    pub async fn takes_extended_connect(&self) -> bool {
        poll_fn(|context| {
            let mut inner = self.shared.inner.borrow_mut();
            let connection = &inner.connection;
            if connection.is_settled() || connection.is_closed() {
                return Poll::Ready(connection.peer_settings().connect_protocol);
            }
            let slot = inner.slot(self.slot);
            if slot.gone.is_some() {
                return Poll::Ready(false);
            }
            slot.wait(Interest::SETTINGS, context);
            Poll::Pending
        })
        .await
    }

    /// Sends the head of a request to a server, and assigns the id of the stream. `expected` has
    /// the data for parsing the response.
    ///
    /// # Errors
    /// `ConnectionReset` if the stream is lost or this side has ended. `ConnectionRefused` if the
    /// connection accepts no further streams; the caller then uses another connection.
    /// `InvalidInput` if HTTP/2 cannot express the request.
    pub fn send_request(
        &self,
        head: &HttpMessage,
        expected: Expected,
        end: bool,
    ) -> io::Result<()> {
        let mut inner = self.sendable_connection()?;
        if inner.slot(self.slot).id == 0 {
            let Ok(id) = inner.connection.open() else {
                inner.slot(self.slot).gone = Some(Gone::Refused);
                return Err(io::ErrorKind::ConnectionRefused.into());
            };
            inner.streams.unsent -= 1;
            inner.slot(self.slot).id = id.0;
            inner.add_stream_id(id.0, self.slot);
        }
        let secure = self.shared.secure;
        let (connection, slot) = inner.connection_and_stream(self.slot);
        slot.expected = Some(expected);
        mapping::send_request(connection, StreamId(slot.id), head, secure, end)?;
        slot.sent_end |= end;
        self.flush(inner);
        Ok(())
    }

    /// Sends as much body data as fits. `end` takes effect only if all of `data`, which may be
    /// empty, was accepted.
    ///
    /// # Errors
    /// `ConnectionReset` if the stream is lost, has not sent its head, or this side has ended.
    /// `WouldBlock` while the peer's window or the connection's output is full.
    pub fn try_write(&self, data: &[u8], end: bool) -> io::Result<usize> {
        let mut inner = self.sendable_connection()?;
        let room = inner.writable(self.slot).min(data.len());
        if room == 0 && !(end && data.is_empty()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (connection, slot) = inner.connection_and_stream(self.slot);
        let ends = end && room == data.len();
        let taken = connection
            .send_data(StreamId(slot.id), &data[..room], ends)
            .map_err(mapping::lost_stream_error)?;
        slot.sent_end |= ends && taken == room;
        inner.count_written(self.slot, taken);
        self.flush(inner);
        Ok(taken)
    }

    /// Ends this side with trailers.
    ///
    /// # Errors
    /// `ConnectionReset` if the stream is lost or this side has ended.
    pub fn send_trailers(&self, trailers: &Fields) -> io::Result<()> {
        let mut inner = self.sendable_connection()?;
        let (connection, slot) = inner.connection_and_stream(self.slot);
        mapping::send_trailers(connection, StreamId(slot.id), trailers)?;
        slot.sent_end = true;
        self.flush(inner);
        Ok(())
    }

    pub fn has_sent_end(&self) -> bool {
        self.shared.inner.borrow_mut().slot(self.slot).sent_end
    }

    /// Returns the reason for the loss of the stream, if it is lost. Data received before can still
    /// be read.
    pub fn gone(&self) -> Option<Gone> {
        self.shared.inner.borrow_mut().slot(self.slot).gone
    }

    /// Returns whether the peer has reset the stream, or the connection is lost or closed by the
    /// peer. Then the peer may not be waiting for the output.
    pub fn is_gone(&self) -> bool {
        let mut inner = self.shared.inner.borrow_mut();
        inner.ends.half_closed || inner.slot(self.slot).gone.is_some()
    }

    /// Ready when `is_gone` is true. Readers and writers can wait at the same time.
    pub fn poll_gone(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.is_gone() {
            return Poll::Ready(());
        }
        let mut inner = self.shared.inner.borrow_mut();
        inner.slot(self.slot).wait(Interest::GONE, context);
        Poll::Pending
    }

    /// Ready when the stream is [`Self::gone`]. A client that only closed its side of the
    /// connection still waits for the response.
    pub fn poll_lost(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.shared.inner.borrow_mut();
        let slot = inner.slot(self.slot);
        if slot.gone.is_some() {
            return Poll::Ready(());
        }
        slot.wait(Interest::GONE, context);
        Poll::Pending
    }

    pub fn reset(&self, code: ErrorCode) {
        let mut inner = self.shared.inner.borrow_mut();
        let (connection, slot) = inner.connection_and_stream(self.slot);
        if slot.id != 0 {
            connection.reset(StreamId(slot.id), code);
        }
        if !slot.is_complete() {
            slot.gone.get_or_insert(Gone::Reset(code));
        }
        self.flush(inner);
    }

    /// Marks the request as an extended CONNECT (RFC 8441). The 101 that accepts it in HTTP/1 is
    /// sent as a 200, and no other success may look the same.
    pub fn set_extended(&self) {
        self.shared.inner.borrow_mut().slot(self.slot).extended = true;
    }

    /// Ends the whole connection: with a GOAWAY ENHANCE_YOUR_CALM, or silently, so that the peer
    /// keeps its side open until its own timeout.
    pub fn kill_connection(&self, silently: bool) {
        if !silently {
            self.reset(ErrorCode::EnhanceYourCalm);
        }
        self.shared.inner.borrow_mut().ends.killed = Some(silently);
        self.shared.wake_driver();
    }

    /// Moves the next head of the response, interim or final, into `into`, whose contents are
    /// replaced. `Parsed::interim` is true for an interim one.
    pub fn poll_head(
        &self,
        context: &mut Context<'_>,
        into: &mut HttpMessage,
    ) -> Poll<Result<Parsed, HeadFailure>> {
        let mut inner = self.shared.inner.borrow_mut();
        let slot = inner.slot(self.slot);
        if let Some((mut message, parsed)) = slot.heads.pop_front() {
            std::mem::swap(into, &mut message);
            inner.keep_head_memory(message);
            return Poll::Ready(Ok(parsed));
        }
        if let Some(fault) = slot.fault {
            return Poll::Ready(Err(HeadFailure::Fault(fault)));
        }
        if let Some(gone) = slot.gone {
            return Poll::Ready(Err(HeadFailure::Gone(gone)));
        }
        slot.wait(Interest::HEAD, context);
        Poll::Pending
    }

    /// Waits for the next head of the response.
    ///
    /// # Errors
    /// `Gone` if the stream is lost. `Fault` if the head was malformed.
    pub async fn head(&self, into: &mut HttpMessage) -> Result<Parsed, HeadFailure> {
        poll_fn(|context| self.poll_head(context, into)).await
    }
}

impl Drop for MuxStream {
    fn drop(&mut self) {
        let mut inner = self.shared.inner.borrow_mut();
        let (connection, slot) = inner.connection_and_stream(self.slot);
        let id = StreamId(slot.id);
        let unread = slot.received.len();
        if unread > 0 {
            // Returns the window of the unread data to the connection, for other streams.
            connection.consumed(id, unread as u32);
        }
        let mut is_drained = false;
        if slot.id != 0 && connection.is_open(id) {
            let sent_end = slot.sent_end;
            let discarded = slot.discarded.unwrap_or(0);
            let code = match connection.role() {
                Http2Role::Client => Some(ErrorCode::Cancel),
                // Drains the rest of the request after a complete response, because the client need
                // not send it.
                Http2Role::Server
                    if sent_end && inner.drains.begin(id, discarded, reactor::now()) =>
                {
                    None
                }
                Http2Role::Server if sent_end => Some(ErrorCode::NoError),
                Http2Role::Server => Some(ErrorCode::InternalError),
            };
            match code {
                Some(code) => inner.connection.reset(id, code),
                None => is_drained = true,
            }
        }
        inner.free_slot(self.slot);
        // Wakes the driver, which may have been waiting for this stream, and ends a drain that
        // takes too long.
        if inner.streams.open == 0 || inner.has_waiters() || is_drained {
            drop(inner);
            self.shared.wake_driver();
        } else {
            self.flush(inner);
        }
    }
}
