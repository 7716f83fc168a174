//! Handles the start of an NBD client's TCP connection, until its bytes are relayed to the volume.
//! With TLS: the greeting of a server that requires TLS, `NBD_OPT_STARTTLS` and the handshake (the
//! NBD project's `doc/proto.md`: TLS, mode FORCEDTLS). The volume's socket sends another greeting,
//! which is dropped because the client has already received one.

use super::places::{CONNECTIONS_MAX, OF_ADDRESS_MAX};
use crate::export::{CLIENTS_MAX, HANDSHAKE_MAX};
use protocol::nbd::{GREETING, Handshake, NbdConnectionError, NbdHandshakeStep, NbdTransport};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt,
};
use rustls::ServerConfig;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wire::{GreetingConnection, HandshakeError, NodeConnection, TimedStream};

/// Timeout for the volume to send its greeting or to close the connection for lack of a client
/// slot.
const GREETED_MAX: Duration = Duration::from_secs(10);
const READ_BYTES: usize = 4096;
/// Time for which a refused client may read the reason. Closing with unread bytes would reset the
/// connection and lose the reason.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 64 << 10;

/// Reason why a client was not connected to the volume.
#[derive(Debug, thiserror::Error)]
pub enum FrontError {
    #[error(transparent)]
    Nbd(NbdConnectionError),
    #[error("it does not use TLS, which is required here")]
    WithoutTls,
    #[error("it sent plaintext data after NBD_OPT_STARTTLS")]
    Clear,
    #[error("it presents no certificate of a CA in `ca-file`")]
    NoCertificate,
    #[error("TLS: {0}")]
    Tls(rustls::Error),
    #[error("it ended the TLS handshake: it may not accept the certificate of this volume")]
    Ended,
    #[error("it did not finish the handshake within {} s", HANDSHAKE_MAX.as_secs())]
    Late,
    #[error(transparent)]
    Io(io::Error),
    #[error("the volume is not served here: {0}")]
    NotServed(io::Error),
    #[error("{CONNECTIONS_MAX} connections are already in use")]
    TooMany,
    #[error("{OF_ADDRESS_MAX} connections of its address are already in the handshake")]
    TooManyOfAddress,
    #[error("the volume has no free client slot (it has {CLIENTS_MAX}), or is stopping")]
    NoPlace,
}

impl From<io::Error> for FrontError {
    fn from(error: io::Error) -> FrontError {
        match error.kind() {
            io::ErrorKind::TimedOut => FrontError::Late,
            _ => FrontError::Io(error),
        }
    }
}

impl From<HandshakeError> for FrontError {
    fn from(error: HandshakeError) -> FrontError {
        match error {
            HandshakeError::Tls(rustls::Error::NoCertificatesPresented) => {
                FrontError::NoCertificate
            }
            HandshakeError::Tls(error) => FrontError::Tls(error),
            HandshakeError::Ended => FrontError::Ended,
            HandshakeError::Io(error) => error.into(),
            other => FrontError::Io(io::Error::other(other)),
        }
    }
}

impl FrontError {
    /// Returns whether to log the error. Errors of the connection itself are not logged: most come
    /// from port scans.
    pub fn is_worth_a_line(&self) -> bool {
        !matches!(self, FrontError::Io(_))
    }
}

/// Client whose TLS handshake is complete, and its flags from the NBD greeting.
#[derive(Debug)]
pub struct TlsClient {
    young: GreetingConnection,
    flags: u32,
}

/// Serves the client until TLS may start, and performs the TLS handshake. None: the client
/// disconnected.
///
/// # Errors
/// The client was refused, the network failed, or no descriptor is available. The connection is
/// closed after the client had time to read the reason.
pub fn secure(
    socket: TcpStream,
    config: &Arc<ServerConfig>,
) -> Result<Option<TlsClient>, FrontError> {
    let kept = socket.try_clone()?;
    let mut timed = TimedStream::new(socket, HANDSHAKE_MAX);
    let secured = start_tls(&mut timed).and_then(|flags| {
        let Some(flags) = flags else {
            return Ok(None);
        };
        let young = GreetingConnection::serve(timed, config)?;
        Ok(Some(TlsClient { young, flags }))
    });
    if secured.is_err() {
        linger(&kept);
    }
    secured
}

/// Acts as an NBD server that requires TLS, until TLS may start. Returns the client's flags; None
/// if it disconnected.
///
/// # Errors
/// The client sends invalid data, sends data before TLS starts, or wants no TLS; or the network
/// fails.
pub fn start_tls(stream: &mut (impl Read + Write)) -> Result<Option<u32>, FrontError> {
    stream.write_all(&GREETING)?;
    let mut handshake = Handshake::new(NbdTransport::TlsRequired);
    let (mut input, mut out) = (Vec::new(), Vec::new());
    let mut was_refused = false;
    let left = |was_refused| {
        if was_refused {
            Err(FrontError::WithoutTls)
        } else {
            Ok(None)
        }
    };
    loop {
        let mut rest = input.as_slice();
        let step = handshake.handle(&mut rest, &[], &mut out);
        let taken = input.len() - rest.len();
        input.drain(..taken);
        stream.write_all(&out)?;
        match step {
            Err(NbdConnectionError::TlsRequired) | Ok(NbdHandshakeStep::Transmit(_)) => {
                return Err(FrontError::WithoutTls);
            }
            Err(fault) => return Err(FrontError::Nbd(fault)),
            Ok(NbdHandshakeStep::StartTls) if input.is_empty() => return Ok(handshake.flags()),
            Ok(NbdHandshakeStep::StartTls) => return Err(FrontError::Clear),
            Ok(NbdHandshakeStep::Close) => return left(was_refused),
            Ok(NbdHandshakeStep::Read) => was_refused |= !out.is_empty(),
        }
        out.clear();
        let mut bytes = [0; READ_BYTES];
        match stream.read(&mut bytes)? {
            0 => return left(was_refused),
            count => input.extend_from_slice(&bytes[..count]),
        }
    }
}

impl TlsClient {
    /// Connects the client with the volume. Returns both ends for the relay.
    ///
    /// # Errors
    /// The volume cannot be reached or has no place for the client, or a system call fails.
    pub fn enter(self, volume: &Path) -> Result<(NodeConnection, UnixStream), FrontError> {
        let mut inner = reach(volume)?;
        let limit = |inner: &UnixStream, limit| {
            inner.set_read_timeout(limit)?;
            inner.set_write_timeout(limit)
        };
        limit(&inner, Some(GREETED_MAX)).map_err(FrontError::NotServed)?;
        let mut greeting = [0; GREETING.len()];
        inner
            .read_exact(&mut greeting)
            .map_err(|error| match error.kind() {
                io::ErrorKind::WouldBlock
                | io::ErrorKind::TimedOut
                | io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset => FrontError::NoPlace,
                _ => FrontError::NotServed(error),
            })?;
        if greeting != GREETING {
            let other = io::Error::other("an unexpected greeting");
            return Err(FrontError::NotServed(other));
        }
        inner
            .write_all(&self.flags.to_be_bytes())
            .map_err(FrontError::NotServed)?;
        limit(&inner, None).map_err(FrontError::NotServed)?;
        Ok((self.young.into_connection()?, inner))
    }
}

/// Connects to the socket of a volume. Waits at most `GREETED_MAX` while the backlog is full.
///
/// # Errors
/// The socket does not exist, no process listens on it, the backlog stays full, or a system call
/// fails.
pub fn reach(volume: &Path) -> Result<UnixStream, FrontError> {
    let reached = || -> Result<UnixStream, rustix::io::Errno> {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(GREETED_MAX))?;
        connect(&socket, &SocketAddrUnix::new(volume)?)?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, None)?;
        Ok(socket.into())
    };
    reached().map_err(|errno| FrontError::NotServed(errno.into()))
}

fn linger(mut socket: &TcpStream) {
    let _ = socket.shutdown(Shutdown::Write);
    let until = Instant::now() + LINGER;
    let mut bytes = [0; READ_BYTES];
    let mut total = 0;
    while total < LINGER_BYTES_MAX {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || socket.set_read_timeout(Some(left)).is_err() {
            return;
        }
        match socket.read(&mut bytes) {
            Ok(0) | Err(_) => return,
            Ok(count) => total += count,
        }
    }
}
