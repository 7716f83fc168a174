//! Sends and receives on a nonblocking connection: a socket, with or without TLS.

use crate::{ConnectionPermission, NonblockingStream};
use rustix::io::Errno;
use rustls::Connection;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Maximum bytes that TLS has encrypted and the network has not accepted.
const ENCRYPTED_BYTES_MAX: usize = 256 << 10;

/// An established TLS connection between two nodes, used without blocking.
pub struct NodeConnection {
    socket: OwnedFd,
    tls: Option<Box<Connection>>,
    bond: Option<ConnectionPermission>,
}

impl NodeConnection {
    pub(crate) fn new(
        socket: OwnedFd,
        tls: Option<Connection>,
        bond: Option<ConnectionPermission>,
    ) -> NodeConnection {
        let tls = tls.map(|mut tls| {
            tls.set_buffer_limit(Some(ENCRYPTED_BYTES_MAX));
            Box::new(tls)
        });
        NodeConnection { socket, tls, bond }
    }

    /// Returns whether the connection has TLS, so that a certificate proves the identity of the
    /// other end.
    pub fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// Returns whether data is available that polling the socket would not report.
    pub fn has_input(&self) -> bool {
        let tls = self.tls.as_ref();
        // TLS reads nothing more before the available data is taken.
        tls.is_some_and(|tls| !tls.wants_read())
    }

    /// Returns whether the connection has ended because the cluster no longer accepts the node at
    /// the other end.
    pub fn is_revoked(&self) -> bool {
        self.bond
            .as_ref()
            .is_some_and(ConnectionPermission::is_revoked)
    }

    /// Announces the end of the data to the other side. The next write sends the announcement.
    pub fn end(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
    }

    /// Returns whether encrypted data waits for the network.
    pub fn has_output(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }
}

impl From<OwnedFd> for NodeConnection {
    fn from(socket: OwnedFd) -> NodeConnection {
        NodeConnection {
            socket,
            tls: None,
            bond: None,
        }
    }
}

impl NonblockingStream for NodeConnection {
    fn read(&mut self, slices: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
        match &mut self.tls {
            None => self.socket.as_fd().read(slices),
            Some(tls) => decrypted(tls, self.socket.as_fd(), slices),
        }
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, Errno> {
        let mut socket = self.socket.as_fd();
        let Some(tls) = &mut self.tls else {
            return socket.write(slices);
        };
        let taken = tls.writer().write_vectored(slices).map_err(errno)?;
        while tls.wants_write() {
            match tls.write_tls(&mut TlsSocket(socket)) {
                Ok(0) => return Err(Errno::PIPE),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(errno(error)),
            }
        }
        match taken {
            0 if slices.iter().any(|slice| !slice.is_empty()) => Err(Errno::AGAIN),
            _ => Ok(taken),
        }
    }
}

/// Fills the slices with the data that TLS has decrypted, then with further data from the socket.
fn decrypted(
    tls: &mut Connection,
    socket: BorrowedFd<'_>,
    slices: &mut [IoSliceMut<'_>],
) -> Result<usize, Errno> {
    let mut total = 0;
    for slice in slices {
        let mut at = 0;
        while at < slice.len() {
            match tls.reader().read(&mut slice[at..]) {
                // Returns what was read, because the other side has closed the connection cleanly.
                Ok(0) => return Ok(total),
                Ok(count) => {
                    at += count;
                    total += count;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(errno(error)),
            }
            match tls.read_tls(&mut TlsSocket(socket)) {
                // Returns the data received before the end first.
                Ok(0) => return Ok(total),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return match total {
                        0 => Err(Errno::AGAIN),
                        _ => Ok(total),
                    };
                }
                Err(error) => return Err(errno(error)),
            }
            // Fails if the record is damaged or does not belong to this connection.
            tls.process_new_packets().map_err(|_| Errno::BADMSG)?;
        }
    }
    Ok(total)
}

fn errno(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::CONNRESET)
}

/// A socket as TLS uses it, which reads and writes whole records.
struct TlsSocket<'a>(BorrowedFd<'a>);

impl Read for TlsSocket<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        Ok(self.0.read(&mut [IoSliceMut::new(bytes)])?)
    }
}

impl Write for TlsSocket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.0.write(&[IoSlice::new(bytes)])?)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(self.0.write(slices)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for NodeConnection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl fmt::Debug for NodeConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tls = if self.tls.is_some() { "TLS" } else { "plain" };
        write!(f, "Wire({tls})")
    }
}
