//! Receives the messages of `log-forward` sections on the side thread. A change of the
//! configuration never closes a socket that remains (the same inode), and each message is
//! forwarded under the newest configuration.

use super::framing::{self, FramingResult};
use super::pass_on;
use crate::runtime::Runtime;
use model::config::{Config, LOG_CONNECTIONS_DEFAULT, LogForward};
use model::thread::lock;
use rustix::net::{AddressFamily, sockopt};
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tls::acceptor::Acceptor;
use tls::side;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, UdpSocket, UnixDatagram, UnixListener};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

/// Pause in receiving after descriptors or memory ran out.
const PAUSE: Duration = Duration::from_millis(100);
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Upper limit of `maxconn` for a section, because each connection may hold a message.
const CONNECTIONS_MAX: u32 = 10_000;

#[derive(Debug)]
pub struct LogSocket {
    pub fd: OwnedFd,
    pub section: Arc<str>,
    pub datagrams: bool,
    /// TLS settings for senders that connect; None: without TLS.
    pub tls: Option<Arc<Acceptor>>,
}

/// TLS settings of a socket. A newer configuration replaces them.
type Tls = Arc<Mutex<Option<Arc<Acceptor>>>>;

#[derive(Debug)]
struct Loop {
    inode: u64,
    section: Arc<str>,
    tls: Tls,
    task: AbortHandle,
}

/// Connection limit of each section, and its free slots.
type ConnectionLimits = HashMap<Arc<str>, (u32, Arc<Semaphore>)>;

#[derive(Debug)]
pub struct LogReceivers {
    runtime: &'static Runtime,
    handle: Handle,
    loops: Mutex<Vec<Loop>>,
    places: Arc<Mutex<ConnectionLimits>>,
}

enum BoundSocket {
    Udp(UdpSocket),
    UnixDatagram(UnixDatagram),
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl LogReceivers {
    /// Creates receivers without sockets; their tasks run on this Tokio runtime.
    pub fn new(runtime: &'static Runtime, handle: &Handle) -> LogReceivers {
        LogReceivers {
            runtime,
            handle: handle.clone(),
            loops: Mutex::default(),
            places: Arc::default(),
        }
    }

    /// Replaces the sockets by those of the newest configuration. If that fails, everything stays
    /// as it was.
    ///
    /// # Errors
    /// Fails if the kernel does not describe a socket, or if a new one cannot be made nonblocking
    /// or registered with the Tokio runtime.
    pub fn change(&self, sockets: Vec<LogSocket>) -> io::Result<()> {
        let mut loops = lock(&self.loops);
        // All steps that may fail come first.
        let mut wanted = Vec::with_capacity(sockets.len());
        for socket in sockets {
            let inode = rustix::fs::fstat(&socket.fd)?.st_ino;
            let section = Arc::clone(&socket.section);
            let tls = socket.tls.clone();
            let served = |one: &Loop| one.inode == inode && one.section == section;
            let opened = if loops.iter().any(served) {
                None
            } else {
                Some(self.socket(socket)?)
            };
            wanted.push((inode, section, tls, opened));
        }
        self.limit(&self.runtime.config());
        let mut before = std::mem::take(&mut *loops);
        for (inode, section, tls, opened) in wanted {
            let served = |one: &Loop| one.inode == inode && one.section == section;
            if let Some(at) = before.iter().position(served) {
                let goes_on = before.swap_remove(at);
                *lock(&goes_on.tls) = tls;
                loops.push(goes_on);
            } else if let Some(socket) = opened {
                let tls = Arc::new(Mutex::new(tls));
                let task = self.serve(socket, Arc::clone(&section), Arc::clone(&tls));
                loops.push(Loop {
                    inode,
                    section,
                    tls,
                    task: task.abort_handle(),
                });
            }
        }
        before.iter().for_each(|gone| gone.task.abort());
        Ok(())
    }

    /// Applies `maxconn` of each section. Connections that were accepted under an earlier limit do
    /// not count.
    fn limit(&self, config: &Config) {
        let mut places = lock(&self.places);
        let before = std::mem::take(&mut *places);
        for section in &config.log_forwards {
            let most = section.connections_max.unwrap_or(LOG_CONNECTIONS_DEFAULT);
            let most = most.clamp(1, CONNECTIONS_MAX);
            let known = before.get(&*section.name).filter(|known| known.0 == most);
            let new = || (most, Arc::new(Semaphore::new(most as usize)));
            let entry = known.cloned().unwrap_or_else(new);
            places.insert(Arc::from(&*section.name), entry);
        }
    }

    fn socket(&self, socket: LogSocket) -> io::Result<BoundSocket> {
        let unix = sockopt::socket_domain(&socket.fd)? == AddressFamily::UNIX;
        rustix::io::ioctl_fionbio(&socket.fd, true)?;
        let _entered = self.handle.enter();
        Ok(match (unix, socket.datagrams) {
            (true, true) => BoundSocket::UnixDatagram(UnixDatagram::from_std(socket.fd.into())?),
            (true, false) => BoundSocket::Unix(UnixListener::from_std(socket.fd.into())?),
            (false, true) => BoundSocket::Udp(UdpSocket::from_std(socket.fd.into())?),
            (false, false) => BoundSocket::Tcp(TcpListener::from_std(socket.fd.into())?),
        })
    }

    fn serve(
        &self,
        socket: BoundSocket,
        section: Arc<str>,
        tls: Tls,
    ) -> tokio::task::JoinHandle<()> {
        let runtime = self.runtime;
        let places = Arc::clone(&self.places);
        self.handle.spawn(async move {
            match socket {
                BoundSocket::Udp(_) | BoundSocket::UnixDatagram(_) => {
                    datagrams(runtime, &section, &socket).await;
                }
                BoundSocket::Tcp(listener) => loop {
                    let accepted = listener.accept().await;
                    let accepted = accepted.map(|(stream, from)| (stream, Some(from.ip())));
                    admit(runtime, &section, &tls, &places, accepted).await;
                },
                BoundSocket::Unix(listener) => loop {
                    let accepted = listener.accept().await;
                    let accepted = accepted.map(|(stream, _)| (stream, None));
                    admit(runtime, &section, &tls, &places, accepted).await;
                },
            }
        })
    }
}

fn section<'c>(config: &'c Config, name: &str) -> Option<&'c LogForward> {
    config.log_forwards.iter().find(|one| *one.name == *name)
}

/// Returns the maximum length of a message; the rest of a longer datagram is cut off.
fn message_max(runtime: &Runtime) -> usize {
    runtime.config().global.tune.bufsize
}

async fn datagrams(runtime: &'static Runtime, name: &str, socket: &BoundSocket) {
    let mut buffer = vec![0; message_max(runtime)];
    loop {
        let received = match socket {
            BoundSocket::Udp(socket) => {
                let received = socket.recv_from(&mut buffer).await;
                received.map(|(length, from)| (length, Some(from.ip())))
            }
            BoundSocket::UnixDatagram(socket) => socket.recv(&mut buffer).await.map(|n| (n, None)),
            BoundSocket::Tcp(_) | BoundSocket::Unix(_) => return,
        };
        match received {
            Ok((length, from)) => {
                let config = runtime.config();
                let bytes = buffer.get(..length).unwrap_or_default();
                if let Some(section) = section(&config, name) {
                    pass_on(&config, section, bytes, from);
                }
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Serves an accepted connection as soon as a slot is free; until then no further connection is
/// accepted.
async fn admit<S>(
    runtime: &'static Runtime,
    name: &Arc<str>,
    tls: &Tls,
    places: &Mutex<ConnectionLimits>,
    accepted: io::Result<(S, Option<IpAddr>)>,
) where
    S: side::AsyncTransport + 'static,
{
    let Ok((stream, from)) = accepted else {
        return tokio::time::sleep(PAUSE).await;
    };
    let semaphore = lock(places).get(name).map(|known| Arc::clone(&known.1));
    let Some(semaphore) = semaphore else { return };
    // The semaphore is never closed, so this always gets a permit.
    let Ok(place) = semaphore.acquire_owned().await else {
        return;
    };
    let name = Arc::clone(name);
    let tls = lock(tls).clone();
    tokio::spawn(async move {
        let wire = match tls {
            None => Some(Box::pin(stream) as side::BoxedWire),
            Some(acceptor) => {
                let shaken = side::accept(stream, &acceptor);
                let shaken = tokio::time::timeout(HANDSHAKE_LIMIT, shaken).await;
                shaken.ok().and_then(Result::ok)
            }
        };
        if let Some(wire) = wire {
            connection(runtime, &name, wire, from).await;
        }
        drop(place);
    });
}

/// Receives messages until the sender disconnects, times out, or sends a malformed one. An
/// incomplete message is discarded.
async fn connection(
    runtime: &'static Runtime,
    name: &str,
    mut stream: side::BoxedWire,
    from: Option<IpAddr>,
) {
    let most = message_max(runtime);
    let mut buffer: Vec<u8> = Vec::new();
    let mut piece = vec![0; most];
    loop {
        let config = runtime.config();
        let Some(client_ms) = section(&config, name).map(|section| section.client_ms) else {
            return;
        };
        drop(config);
        let read = stream.read(&mut piece);
        let read = match client_ms.filter(|ms| *ms > 0) {
            Some(ms) => tokio::time::timeout(Duration::from_millis(ms.into()), read).await,
            None => Ok(read.await),
        };
        let length = match read {
            Ok(Ok(length)) if length > 0 => length,
            _ => return,
        };
        buffer.extend_from_slice(piece.get(..length).unwrap_or_default());
        let config = runtime.config();
        let Some(section) = section(&config, name) else {
            return;
        };
        let mut taken = 0;
        loop {
            let rest = buffer.get(taken..).unwrap_or_default();
            match framing::next(rest, section.newlines_only, most) {
                FramingResult::More => break,
                FramingResult::Broken => return,
                FramingResult::Message(range, whole) => {
                    pass_on(&config, section, rest.get(range).unwrap_or_default(), from);
                    taken += whole;
                }
            }
        }
        // At most an incomplete message with its length remains.
        buffer.drain(..taken);
    }
}
