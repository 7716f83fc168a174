//! What carries the bytes of a link: a socket alone, or with TLS on it.

use super::dial::is_closed;
use super::greeting::GreetingError;
use crate::stream::Bytes;
use rustix::io::Errno;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes that TLS has encrypted and the network has not taken, at most.
const ENCRYPTED_BYTES_MAX: usize = 256 << 10;

/// Says whose certificate this is, by the name of the node; None: of no present node.
pub type NodeOf = Box<dyn Fn(&CertificateDer<'_>) -> Option<String> + Send + Sync>;

/// What the cluster says of the nodes: where they are, and how to know them.
pub struct Trusted {
    /// The name of this node.
    pub me: String,
    /// The addresses of all nodes, by name, the preferred one first.
    pub addresses: BTreeMap<String, Vec<IpAddr>>,
    /// To dial: with a certificate of this node.
    pub client: Arc<ClientConfig>,
    /// To be dialled.
    pub server: Arc<ServerConfig>,
    /// Says whose certificate this is.
    pub node_of: NodeOf,
}

impl Trusted {
    /// The addresses of a node; none if the cluster has no such node.
    pub(crate) fn addresses_of(&self, node: &str) -> &[IpAddr] {
        self.addresses.get(node).map_or(&[], Vec::as_slice)
    }
}

impl fmt::Debug for Trusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trusted({}, {:?})", self.me, self.addresses)
    }
}

/// A connection that blocks until a moment at most, for what both sides say first.
#[derive(Debug)]
pub(crate) struct Timed {
    socket: TcpStream,
    until: Instant,
}

impl Timed {
    /// A socket that blocks.
    pub(crate) fn new(socket: TcpStream, limit: Duration) -> Timed {
        let until = Instant::now() + limit;
        Timed { socket, until }
    }

    /// Waits for the first bytes; returns whether they are of a handshake of TLS (RFC 8446,
    /// section 5.1). They can be read afterwards.
    ///
    /// # Errors
    /// The network's.
    pub(super) fn begins_tls(&self) -> io::Result<bool> {
        self.socket.set_read_timeout(Some(self.left()?))?;
        let mut first = [0];
        let count = self.socket.peek(&mut first).map_err(timed_out)?;
        Ok(count == 1 && first == [22])
    }

    /// What is left of the time; never zero, which would mean without a limit.
    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(left.max(Duration::from_millis(1))),
        }
    }
}

impl Read for Timed {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(self.left()?))?;
        self.socket.read(bytes).map_err(timed_out)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(self.left()?))?;
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

/// A connection during the greetings.
#[derive(Debug)]
pub(crate) struct Young {
    timed: Timed,
    tls: Option<Connection>,
}

impl Young {
    /// Without TLS.
    pub(super) fn plain(timed: Timed) -> Young {
        Young { timed, tls: None }
    }

    /// As the side that dials, with TLS. Returns also the name of the other node.
    ///
    /// # Errors
    /// The handshake's, or it is no node of this cluster.
    pub(super) fn dial(timed: Timed, trusted: &Trusted) -> Result<(Young, String), GreetingError> {
        // The certificate says which node it is, not an address.
        let name = ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into());
        let tls = ClientConnection::new(Arc::clone(&trusted.client), name)?;
        Young::shake(timed, tls.into())?.of_node(trusted)
    }

    /// As the side that was dialled, with TLS. Returns also the name of the other node.
    ///
    /// # Errors
    /// The handshake's, or it is no node of this cluster.
    pub(super) fn answer(
        timed: Timed,
        trusted: &Trusted,
    ) -> Result<(Young, String), GreetingError> {
        Young::serve(timed, &trusted.server)?.of_node(trusted)
    }

    /// As the side that was dialled, with TLS. What certificates it accepts is all that is asked
    /// of the other side.
    ///
    /// # Errors
    /// The handshake's.
    pub(crate) fn serve(timed: Timed, config: &Arc<ServerConfig>) -> Result<Young, GreetingError> {
        let tls = ServerConnection::new(Arc::clone(config))?;
        Young::shake(timed, tls.into())
    }

    fn shake(mut timed: Timed, mut tls: Connection) -> Result<Young, GreetingError> {
        while tls.is_handshaking() {
            tls.complete_io(&mut timed).map_err(handshake)?;
        }
        let tls = Some(tls);
        Ok(Young { timed, tls })
    }

    /// With the name of the node whose certificate the other side has.
    fn of_node(self, trusted: &Trusted) -> Result<(Young, String), GreetingError> {
        let tls = self.tls.as_ref();
        let certificates = tls.and_then(|tls| tls.peer_certificates());
        let first = certificates.and_then(<[_]>::first);
        let node = first.and_then(|one| (trusted.node_of)(one));
        Ok((self, node.ok_or(GreetingError::Stranger)?))
    }

    /// What becomes of it in the loop of a volume.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn ready(self) -> io::Result<Wire> {
        let Timed { socket, .. } = self.timed;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let tls = self.tls.map(|mut tls| {
            tls.set_buffer_limit(Some(ENCRYPTED_BYTES_MAX));
            Box::new(tls)
        });
        Ok(Wire {
            socket: socket.into(),
            tls,
        })
    }
}

/// What went wrong in a handshake, without the words of the system's error around it.
fn handshake(error: io::Error) -> GreetingError {
    let of_tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match of_tls {
        Some(error) => GreetingError::Tls(error.clone()),
        None if is_closed(&error) => GreetingError::NoTls,
        None => GreetingError::Io(error),
    }
}

impl Read for Young {
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

impl Write for Young {
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

/// A connection that does not block.
pub struct Wire {
    socket: OwnedFd,
    tls: Option<Box<Connection>>,
}

impl Wire {
    /// Whether something came that a look at the socket would not show.
    pub(super) fn has_input(&self) -> bool {
        let tls = self.tls.as_ref();
        // TLS wants nothing more before that was taken.
        tls.is_some_and(|tls| !tls.wants_read())
    }

    /// Tells the other side that nothing more comes. It is sent by the next write.
    pub(super) fn end(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
    }

    /// Whether something is encrypted that the network has not taken.
    pub(super) fn has_output(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }
}

impl From<OwnedFd> for Wire {
    /// Without TLS.
    fn from(socket: OwnedFd) -> Wire {
        Wire { socket, tls: None }
    }
}

impl Bytes for Wire {
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
            match tls.write_tls(&mut Socket(socket)) {
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

/// Fills the slices with what TLS has, and with what is behind it on the socket.
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
                // The other side has ended it, in good order.
                Ok(0) => return Ok(total),
                Ok(count) => {
                    at += count;
                    total += count;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(errno(error)),
            }
            match tls.read_tls(&mut Socket(socket)) {
                // What came before is taken first.
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
            // A record that is damaged, or not of this connection.
            tls.process_new_packets().map_err(|_| Errno::BADMSG)?;
        }
    }
    Ok(total)
}

fn errno(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::CONNRESET)
}

/// A socket for TLS, which reads and writes whole records.
struct Socket<'a>(BorrowedFd<'a>);

impl Read for Socket<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        Ok(self.0.read(&mut [IoSliceMut::new(bytes)])?)
    }
}

impl Write for Socket<'_> {
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

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tls = if self.tls.is_some() { "TLS" } else { "plain" };
        write!(f, "Wire({tls})")
    }
}
