//! Speaks FastCGI to a server: FastCGI records on the connection, HTTP/1 for the stream that
//! reads and writes ([`protocol::fcgi`]).

use super::ConnectionTransport;
use protocol::fcgi::{Connection, FcgiRequest};
use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::task::{Context, Poll};

const READ_BYTES: usize = 16 * 1024;
/// Maximum number of consecutive reads that yield nothing for the reader, such as messages on
/// STDERR, before other tasks run.
const READS_MAX: usize = 16;
/// Number of received bytes that cost one unit of the task's budget.
const BYTES_A_UNIT: usize = 256;

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

    /// Sends the queued output as far as the transport accepts it. Returns whether all of it was
    /// sent.
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

    /// Sends the rest of the output, before the write direction is closed. `WouldBlock`: not all of
    /// it was sent.
    pub fn finish_output(&self, transport: &ConnectionTransport) -> io::Result<()> {
        match self.push(transport, false) {
            Ok(false) => Err(io::ErrorKind::WouldBlock.into()),
            // Ignores a failed write: nothing more can be sent, but the direction can still be
            // closed.
            Ok(true) | Err(_) => Ok(()),
        }
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
            // Ignores an error, because `fault` reports it after the reader has got the data before
            // it.
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

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::fcgi::{Length, Params};
    use reactor::testing::{descriptors, on_loop};
    use reactor::{Assumed, StreamSocket};
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    /// End of the last record of a request: an empty FCGI_STDIN of request 1.
    const END_OF_BODY: [u8; 8] = [1, 5, 0, 1, 0, 0, 0, 0];

    #[test]
    fn pending_output_is_sent_before_the_end() {
        on_loop(|| async {
            let (ours, theirs) = descriptors();
            let mut peer = UnixStream::from(theirs);
            peer.set_nonblocking(false).unwrap();
            let socket = StreamSocket::from_nonblocking(ours, Assumed::Both).unwrap();
            let mut transport = ConnectionTransport::from(socket);
            transport.switch_to_fastcgi();
            let mut params = Params::default();
            params.add(&[b"REQUEST_METHOD"], b"GET").unwrap();
            // Only queued: the next write would send it.
            transport.begin_fastcgi(&FcgiRequest {
                params: &params,
                length: Length::None,
                head: false,
                keep: false,
                date: b"",
            });
            transport.shutdown_write().unwrap();
            let mut received = Vec::new();
            peer.read_to_end(&mut received).unwrap();
            assert!(received.ends_with(&END_OF_BODY), "{received:?}");
        });
    }

    #[test]
    fn shutdown_waits_for_space() {
        on_loop(|| async {
            let (ours, theirs) = descriptors();
            let mut peer = UnixStream::from(theirs);
            peer.set_nonblocking(true).unwrap();
            let socket = StreamSocket::from_nonblocking(ours, Assumed::Both).unwrap();
            let mut transport = ConnectionTransport::from(socket);
            transport.switch_to_fastcgi();
            let bytes = 1 << 22;
            transport.begin_fastcgi(&FcgiRequest {
                params: &Params::default(),
                length: Length::Bytes(bytes),
                head: false,
                keep: false,
                date: b"",
            });
            let body = vec![7; 1 << 16];
            while transport.try_write(&body).is_ok() {}
            assert!(!transport.is_flushed());
            let refused = transport.shutdown_write().unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
            let mut received = vec![0; 1 << 20];
            loop {
                while peer.read(&mut received).is_ok_and(|count| count > 0) {}
                transport.writable().await;
                match transport.shutdown_write() {
                    Ok(()) => break,
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                }
            }
            assert!(transport.is_flushed());
        });
    }
}
