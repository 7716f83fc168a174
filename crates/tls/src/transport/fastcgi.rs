//! FastCGI over a transport: FastCGI records on the connection, HTTP/1 for the reader and writer
//! ([`protocol::fcgi`]).

use super::ConnectionTransport;
use protocol::fcgi::{Connection, FcgiRequest};
use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::task::{Context, Poll};

/// Maximum length of a read, bytes.
const READ_BYTES: usize = 16 * 1024;
/// Maximum number of consecutive reads without data for the reader, such as errors of the
/// application, before other tasks run.
const READS_MAX: usize = 16;
/// Number of received bytes that cost one unit of the task's budget.
const BYTES_A_UNIT: usize = 256;

/// FastCGI state of a connection.
#[derive(Debug, Default)]
pub(super) struct FastCgi {
    connection: RefCell<Connection>,
}

fn failed(fault: protocol::fcgi::FcgiError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, fault)
}

impl FastCgi {
    pub fn begin(&self, request: &FcgiRequest<'_>) {
        self.connection.borrow_mut().begin(request);
    }

    pub fn take_errors(&self) -> Vec<u8> {
        self.connection.borrow_mut().take_errors()
    }

    /// Returns whether no other request can follow.
    pub fn is_spent(&self) -> bool {
        self.connection.borrow().is_spent()
    }

    pub fn is_readable(&self) -> bool {
        let connection = self.connection.borrow();
        connection.is_readable() || connection.fault().is_some()
    }

    pub fn is_flushed(&self) -> bool {
        self.connection.borrow().outgoing().is_empty()
    }

    /// Sends pending output as far as there is space. Returns whether all of it was sent.
    fn push(&self, transport: &ConnectionTransport, more: bool) -> io::Result<bool> {
        let mut connection = self.connection.borrow_mut();
        while !connection.outgoing().is_empty() {
            match transport.write_below_fastcgi(&[IoSlice::new(connection.outgoing())], more) {
                Ok(sent) => connection.sent(sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    pub fn read(
        &self,
        transport: &ConnectionTransport,
        buffer: &mut [MaybeUninit<u8>],
    ) -> io::Result<usize> {
        let mut bytes = [0; READ_BYTES];
        for _ in 0..READS_MAX {
            let mut connection = self.connection.borrow_mut();
            let most = buffer.len().min(READ_BYTES);
            let read = connection.read(&mut bytes[..most]);
            if read > 0 {
                for (to, from) in buffer.iter_mut().zip(&bytes[..read]) {
                    to.write(*from);
                }
                return Ok(read);
            }
            if let Some(fault) = connection.fault() {
                return Err(failed(fault));
            }
            let mut received = [MaybeUninit::uninit(); READ_BYTES];
            let count = transport.receive(&mut received)?;
            if count == 0 {
                return Ok(0);
            }
            reactor::charge_budget(count / BYTES_A_UNIT);
            for (to, from) in bytes.iter_mut().zip(&received[..count]) {
                // SAFETY: the transport has filled the first `count` bytes.
                *to = unsafe { from.assume_init() };
            }
            // A fault is reported only after the data before it was read.
            let _ = connection.receive(&bytes[..count]);
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    pub fn write(
        &self,
        transport: &ConnectionTransport,
        pieces: &[IoSlice<'_>],
        more: bool,
    ) -> io::Result<usize> {
        self.push(transport, true)?;
        let mut taken = 0;
        for piece in pieces {
            let count = self.connection.borrow_mut().write(piece).map_err(failed)?;
            taken += count;
            if count < piece.len() {
                break;
            }
        }
        self.push(transport, more)?;
        match taken {
            0 if pieces.iter().any(|piece| !piece.is_empty()) => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            taken => Ok(taken),
        }
    }

    pub fn poll_flush(
        &self,
        transport: &ConnectionTransport,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match self.push(transport, false) {
                Ok(true) => return Poll::Ready(Ok(())),
                Ok(false) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            if transport.poll_room(context).is_pending() {
                return Poll::Pending;
            }
        }
    }
}
