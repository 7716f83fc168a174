//! What is said on a connection before its bytes are carried to the volume: with TLS, the greeting
//! of a server that requires it, `NBD_OPT_STARTTLS` and the handshake (the NBD project's
//! `doc/proto.md`: TLS, mode FORCEDTLS). The volume greets each client as well; the client has
//! seen such a greeting, so that one is not passed on.

use super::places::{CONNECTIONS_MAX, OF_ADDRESS_MAX};
use crate::export::{CLIENTS_MAX, HANDSHAKE_MAX};
use protocol::nbd::{Fault, GREETING, Handshake, Step, Transport};
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
use wire::{HandshakeError, Timed, Wire, Young};

/// How long the volume may take to greet, or to close the connection for want of a place.
const GREETED_MAX: Duration = Duration::from_secs(10);
/// Bytes that are read at once before TLS.
const READ_BYTES: usize = 4096;
/// How long a client that was refused may take to read why, and how many bytes it may send
/// meanwhile: unread ones would make the network drop what it was sent.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 64 << 10;

/// Why a client was not brought to the volume.
#[derive(Debug, thiserror::Error)]
pub enum FrontError {
    /// It does not speak NBD, or sends nonsense.
    #[error(transparent)]
    Nbd(Fault),
    /// It was told that TLS is required, and did not begin it.
    #[error("it does not use TLS, which is required here")]
    WithoutTls,
    /// Behind `NBD_OPT_STARTTLS` something else came than a handshake.
    #[error("it sent data in the clear behind NBD_OPT_STARTTLS")]
    Clear,
    /// It has no certificate, or presents none of these CAs.
    #[error("it presents no certificate of a CA in `ca-file`")]
    NoCertificate,
    /// The handshake of TLS.
    #[error("TLS: {0}")]
    Tls(rustls::Error),
    /// It ended the connection in the handshake of TLS.
    #[error("it ended the handshake of TLS: it may not accept the certificate of this volume")]
    Ended,
    /// It took too long.
    #[error("it did not finish the handshake within {} s", HANDSHAKE_MAX.as_secs())]
    Late,
    /// The network.
    #[error(transparent)]
    Io(io::Error),
    /// Nothing serves the volume here.
    #[error("the volume is not served here: {0}")]
    NotServed(io::Error),
    /// All connections are in use.
    #[error("{CONNECTIONS_MAX} connections are in use already")]
    TooMany,
    /// Too many connections of its address have not finished the handshake.
    #[error("{OF_ADDRESS_MAX} connections of its address are in the handshake already")]
    TooManyOfAddress,
    /// The volume does not greet.
    #[error("the volume has no place for another client (it has {CLIENTS_MAX}), or stops")]
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
    /// Whether it says something of this machine or its clients: a connection that ends before
    /// anything was said is somebody who looks whether the port is open.
    pub fn is_worth_a_line(&self) -> bool {
        !matches!(self, FrontError::Io(_))
    }
}

/// A client after TLS has begun.
#[derive(Debug)]
pub struct Secured {
    young: Young,
    /// The flags of its handshake, as it sent them.
    flags: u32,
}

/// Says what comes before TLS, and begins it. None: the client left.
///
/// # Errors
/// It is refused. The connection is closed, after it had time to see why.
pub fn secure(
    socket: TcpStream,
    config: &Arc<ServerConfig>,
) -> Result<Option<Secured>, FrontError> {
    let kept = socket.try_clone()?;
    let mut timed = Timed::new(socket, HANDSHAKE_MAX);
    let secured = start_tls(&mut timed).and_then(|flags| {
        let Some(flags) = flags else {
            return Ok(None);
        };
        let young = Young::serve(timed, config)?;
        Ok(Some(Secured { young, flags }))
    });
    if secured.is_err() {
        linger(&kept);
    }
    secured
}

/// Speaks as a server that requires TLS, until it may begin. Returns the flags of the client; None
/// if it left.
///
/// # Errors
/// What it sent is refused.
pub fn start_tls(stream: &mut (impl Read + Write)) -> Result<Option<u32>, FrontError> {
    stream.write_all(&GREETING)?;
    let mut handshake = Handshake::new(Transport::TlsRequired);
    let (mut input, mut out) = (Vec::new(), Vec::new());
    let mut was_refused = false;
    let left = |was_refused| match was_refused {
        true => Err(FrontError::WithoutTls),
        false => Ok(None),
    };
    loop {
        let mut rest = input.as_slice();
        let step = handshake.handle(&mut rest, &[], &mut out);
        let taken = input.len() - rest.len();
        input.drain(..taken);
        stream.write_all(&out)?;
        match step {
            Err(Fault::TlsRequired) | Ok(Step::Transmit(_)) => return Err(FrontError::WithoutTls),
            Err(fault) => return Err(FrontError::Nbd(fault)),
            Ok(Step::StartTls) if input.is_empty() => return Ok(handshake.flags()),
            Ok(Step::StartTls) => return Err(FrontError::Clear),
            Ok(Step::Close) => return left(was_refused),
            Ok(Step::Read) => was_refused |= !out.is_empty(),
        }
        out.clear();
        let mut bytes = [0; READ_BYTES];
        match stream.read(&mut bytes)? {
            0 => return left(was_refused),
            count => input.extend_from_slice(&bytes[..count]),
        }
    }
}

impl Secured {
    /// Connects the client with the volume. Returns both ends, whose bytes are to be carried.
    ///
    /// # Errors
    /// The volume cannot be reached.
    pub fn enter(self, volume: &Path) -> Result<(Wire, UnixStream), FrontError> {
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
            let other = io::Error::other("another greeting than expected");
            return Err(FrontError::NotServed(other));
        }
        inner
            .write_all(&self.flags.to_be_bytes())
            .map_err(FrontError::NotServed)?;
        limit(&inner, None).map_err(FrontError::NotServed)?;
        Ok((self.young.ready()?, inner))
    }
}

/// Connects to the socket of a volume. It does not wait where too many others do.
///
/// # Errors
/// There is no socket, or nothing serves it.
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

/// Lets a client read what it was sent last.
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
