//! Establishes a new connection: the TLS handshake, and then the greetings that its user exchanges.
//! The connection blocks, with a deadline; [`GreetingConnection::into_connection`] makes the
//! connection that does not.

use crate::{ConnectionPermission, NodeConnection, TrustedNodes};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, Connection, ServerConfig, ServerConnection};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The reason why no usable connection was established.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error("the other side ended the handshake of TLS")]
    Ended,
    /// The certificate belongs to no node of this cluster.
    #[error("it is no node of this cluster")]
    Stranger,
}

/// Returns whether the other side has closed the connection, possibly before reading everything.
pub fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

/// A blocking connection with a deadline, for the greetings of both sides.
#[derive(Debug)]
pub struct TimedStream {
    socket: TcpStream,
    until: Instant,
}

impl TimedStream {
    pub fn new(socket: TcpStream, limit: Duration) -> TimedStream {
        let until = Instant::now() + limit;
        TimedStream { socket, until }
    }

    /// Waits for the first bytes. Returns whether they start a TLS handshake (RFC 8446, section
    /// 5.1). They can be read afterwards.
    ///
    /// # Errors
    /// A network error.
    pub fn begins_tls(&self) -> io::Result<bool> {
        self.socket.set_read_timeout(Some(self.remaining_time()?))?;
        let mut first = [0];
        let count = self.socket.peek(&mut first).map_err(timed_out)?;
        Ok(count == 1 && first == [22])
    }

    /// Returns the remaining time; never zero, which would mean no limit.
    fn remaining_time(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            Err(io::ErrorKind::TimedOut.into())
        } else {
            Ok(left.max(Duration::from_millis(1)))
        }
    }
}

impl Read for TimedStream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(self.remaining_time()?))?;
        self.socket.read(bytes).map_err(timed_out)
    }
}

impl Write for TimedStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket
            .set_write_timeout(Some(self.remaining_time()?))?;
        self.socket.write(bytes).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

/// A connection after the TLS handshake, if it has one, and before the end of the greetings.
#[derive(Debug)]
pub struct GreetingConnection {
    timed: TimedStream,
    tls: Option<Connection>,
    bond: Option<ConnectionPermission>,
}

impl GreetingConnection {
    pub fn plain(timed: TimedStream) -> GreetingConnection {
        GreetingConnection {
            timed,
            tls: None,
            bond: None,
        }
    }

    /// Runs the TLS handshake as the dialling side. Also returns the name of the other node.
    ///
    /// # Errors
    /// An error of the handshake, or the other side is no node of this cluster.
    pub fn dial(
        timed: TimedStream,
        trusted: &TrustedNodes,
    ) -> Result<(GreetingConnection, String), HandshakeError> {
        // Uses no real address, because the certificate identifies the node.
        let name = ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into());
        let tls = ClientConnection::new(Arc::clone(&trusted.client), name)?;
        GreetingConnection::run_handshake(timed, tls.into())?.of_node(trusted)
    }

    /// Runs the TLS handshake as the dialled side. Also returns the name of the other node.
    ///
    /// # Errors
    /// An error of the handshake, or the other side is no node of this cluster.
    pub fn answer(
        timed: TimedStream,
        trusted: &TrustedNodes,
    ) -> Result<(GreetingConnection, String), HandshakeError> {
        GreetingConnection::serve(timed, &trusted.server)?.of_node(trusted)
    }

    /// Runs the TLS handshake as the dialled side. Only the certificates that `config` accepts are
    /// required of the other side.
    ///
    /// # Errors
    /// An error of the handshake.
    pub fn serve(
        timed: TimedStream,
        config: &Arc<ServerConfig>,
    ) -> Result<GreetingConnection, HandshakeError> {
        let tls = ServerConnection::new(Arc::clone(config))?;
        GreetingConnection::run_handshake(timed, tls.into())
    }

    fn run_handshake(
        mut timed: TimedStream,
        mut tls: Connection,
    ) -> Result<GreetingConnection, HandshakeError> {
        while tls.is_handshaking() {
            tls.complete_io(&mut timed).map_err(handshake)?;
        }
        let tls = Some(tls);
        let bond = None;
        Ok(GreetingConnection { timed, tls, bond })
    }

    fn of_node(
        mut self,
        trusted: &TrustedNodes,
    ) -> Result<(GreetingConnection, String), HandshakeError> {
        let tls = self.tls.as_ref();
        let chain = tls.and_then(|tls| tls.peer_certificates());
        let admitted = trusted.admit(self.timed.socket.as_fd(), chain);
        let (node, bond) = admitted.ok_or(HandshakeError::Stranger)?;
        self.bond = Some(bond);
        Ok((self, node))
    }

    /// Admits a node without TLS that reports this name.
    ///
    /// # Errors
    /// The cluster has no such node.
    pub fn admit_by_name(
        mut self,
        name: &str,
        trusted: &TrustedNodes,
    ) -> Result<GreetingConnection, HandshakeError> {
        let bond = trusted.admit_by_name(self.timed.socket.as_fd(), name);
        self.bond = Some(bond.ok_or(HandshakeError::Stranger)?);
        Ok(self)
    }

    /// Converts the connection for use after the greetings.
    ///
    /// # Errors
    /// A system error.
    pub fn into_connection(self) -> io::Result<NodeConnection> {
        let TimedStream { socket, .. } = self.timed;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        Ok(NodeConnection::new(socket.into(), self.tls, self.bond))
    }
}

fn handshake(error: io::Error) -> HandshakeError {
    let of_tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match of_tls {
        Some(error) => HandshakeError::Tls(error.clone()),
        None if is_closed(&error) => HandshakeError::Ended,
        None => HandshakeError::Io(error),
    }
}

impl Read for GreetingConnection {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.timed.read(bytes);
        };
        loop {
            match tls.reader().read(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    tls.complete_io(&mut self.timed)?;
                }
                read => return read,
            }
        }
    }
}

impl Write for GreetingConnection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.timed.write(bytes);
        };
        let count = tls.writer().write(bytes)?;
        while tls.wants_write() {
            tls.write_tls(&mut self.timed)?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
