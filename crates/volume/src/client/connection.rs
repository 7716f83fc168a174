//! Connects the NBD client to a server, and performs the NBD handshake.

use super::{Address, ClientError, Server};
use protocol::nbd::client::{Dial, NbdExport, NbdNegotiationError};
use std::io::{self, IoSlice, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

const CONNECT_MAX: Duration = Duration::from_secs(10);
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
const RECEIVE_BYTES: usize = 4096;

#[derive(Debug)]
pub(super) enum Connection {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl From<Connection> for OwnedFd {
    fn from(connection: Connection) -> OwnedFd {
        match connection {
            Connection::Unix(stream) => stream.into(),
            Connection::Tcp(stream) => stream.into(),
        }
    }
}

pub(super) fn is_silence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// Replaces the kernel's misleading error of an expired timeout by one that names the timeout of
/// the handshake. Returns other errors unchanged.
fn silent(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => {
            let words = format!("no reply within {} s", HANDSHAKE_MAX.as_secs());
            io::Error::new(io::ErrorKind::TimedOut, words)
        }
        _ => error,
    }
}

impl Connection {
    /// Connects and negotiates the export. `is_plain` disables structured replies. After the
    /// handshake, `limit` is the receive timeout.
    pub(super) fn open(
        address: &Address,
        is_plain: bool,
        limit: Option<Duration>,
    ) -> Result<(Connection, NbdExport), ClientError> {
        let refused = |error| ClientError::Refused(address.clone(), error);
        let failed = |error| ClientError::Connect(address.clone(), silent(error));
        let mut connection = Connection::connect(&address.server).map_err(failed)?;
        connection.patience(Some(HANDSHAKE_MAX)).map_err(failed)?;
        let mut dial = Dial::new(&address.export, is_plain).map_err(refused)?;
        let (mut input, mut out) = (Vec::new(), Vec::new());
        loop {
            let mut bytes = input.as_slice();
            let offer = dial.handle(&mut bytes, &mut out).map_err(refused)?;
            let left = bytes.len();
            input.drain(..input.len() - left);
            if let Some(offer) = offer {
                // Refuses data after the handshake: a server sends nothing before the first
                // request.
                if !input.is_empty() {
                    return Err(refused(NbdNegotiationError::Malformed));
                }
                connection.patience(limit).map_err(failed)?;
                return Ok((connection, offer));
            }
            connection.send(&[&out]).map_err(failed)?;
            out.clear();
            let mut bytes = [0; RECEIVE_BYTES];
            match connection.read(&mut bytes).map_err(failed)? {
                0 => return Err(failed(io::ErrorKind::UnexpectedEof.into())),
                count => input.extend_from_slice(&bytes[..count]),
            }
        }
    }

    fn connect(server: &Server) -> io::Result<Connection> {
        let (host, port) = match server {
            Server::Unix(path) => return UnixStream::connect(path).map(Connection::Unix),
            Server::Tcp(host, port) => (host.as_str(), *port),
        };
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in (host, port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_MAX) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(Connection::Tcp(stream));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    pub(super) fn socket(&self) -> io::Result<OwnedFd> {
        match self {
            Connection::Unix(stream) => stream.try_clone().map(OwnedFd::from),
            Connection::Tcp(stream) => stream.try_clone().map(OwnedFd::from),
        }
    }

    fn patience(&self, limit: Option<Duration>) -> io::Result<()> {
        match self {
            Connection::Unix(stream) => {
                stream.set_write_timeout(limit)?;
                stream.set_read_timeout(limit)
            }
            Connection::Tcp(stream) => {
                stream.set_write_timeout(limit)?;
                stream.set_read_timeout(limit)
            }
        }
    }

    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Connection::Unix(stream) => stream.read(bytes),
            Connection::Tcp(stream) => stream.read(bytes),
        }
    }

    pub(super) fn send(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        let mut slices = [IoSlice::new(&[]); 2];
        for (slice, part) in slices.iter_mut().zip(parts) {
            *slice = IoSlice::new(part);
        }
        let mut rest = &mut slices[..parts.len().min(2)];
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let sent = match self {
                Connection::Unix(stream) => stream.write_vectored(rest),
                Connection::Tcp(stream) => stream.write_vectored(rest),
            };
            match sent {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => IoSlice::advance_slices(&mut rest, count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(super) fn receive(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        match self {
            Connection::Unix(stream) => stream.read_exact(bytes),
            Connection::Tcp(stream) => stream.read_exact(bytes),
        }
    }

    /// Receives the payload of a chunk. The caller has checked the length.
    pub(super) fn content(&mut self, length: u32) -> io::Result<Vec<u8>> {
        let mut content = vec![0; length as usize];
        self.receive(&mut content)?;
        Ok(content)
    }
}
