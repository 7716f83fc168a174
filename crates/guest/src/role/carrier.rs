//! Connects the guest roles of two nodes: TLS 1.3 with the certificates of the cluster. For each
//! connection, a separate thread with bounded buffers relays between the network and a local Unix
//! socket, so the role's thread never waits for the network.

use super::door::{self, ConnectionSlot, ConnectionSlots};
use crate::migration::{ConnectionPurpose, frame, take_frame};
use part::lock;
use part::voice::write_error;
use part::wake::WakeEvent;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use wire::{
    GreetingConnection, NodeConnection, Relay, RelayPeer, TimedStream, TrustedNodes, is_mine,
    unspecified,
};

pub const PORT: u16 = 7445;
/// Socket buffer size at each end, bytes. With the kernel's default (megabytes), the last memory of
/// a guest that is paused for its migration would wait for everything that was sent earlier.
const KERNEL_BYTES: usize = 256 << 10;
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_secs(1);
const CAME_MAX: usize = 32;

/// Incoming connection of another node.
#[derive(Debug)]
pub struct IncomingConnection {
    /// Name of the other node, from its certificate.
    pub from: String,
    pub hello: ConnectionPurpose,
    /// Sender for the socket that is to be connected with the other node. Dropping it closes the
    /// connection.
    pub give: SyncSender<UnixStream>,
}

/// Outgoing connection to another node.
#[derive(Clone, Debug, Default)]
pub struct OutgoingConnection {
    trouble: Arc<Mutex<String>>,
    sent: Arc<AtomicU64>,
}

impl OutgoingConnection {
    /// Returns why the connection ended, as text; empty: it has not ended, or no reason is known.
    pub fn trouble(&self) -> String {
        lock(&self.trouble).clone()
    }

    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

type SharedTrust = Arc<Mutex<Option<Arc<TrustedNodes>>>>;

/// Connections to the guest roles of other nodes.
#[derive(Debug)]
pub struct NodeConnections {
    trusted: SharedTrust,
    came: Receiver<IncomingConnection>,
    sender: SyncSender<IncomingConnection>,
    wake: Arc<WakeEvent>,
    listens: bool,
}

impl NodeConnections {
    /// Creates the state without connections and without trusted nodes.
    ///
    /// # Errors
    /// A system call fails.
    pub fn new() -> io::Result<NodeConnections> {
        let (sender, came) = sync_channel(CAME_MAX);
        Ok(NodeConnections {
            trusted: SharedTrust::default(),
            came,
            sender,
            wake: Arc::new(WakeEvent::new()?),
            listens: false,
        })
    }

    /// Sets the nodes that the cluster trusts. Connections with nodes that it no longer trusts are
    /// closed.
    pub fn trust(&mut self, trusted: TrustedNodes) {
        {
            let mut known = lock(&self.trusted);
            let trusted = trusted.continue_from(known.as_deref());
            *known = Some(Arc::new(trusted));
        }
        if self.listens {
            return;
        }
        let (known, sender) = (Arc::clone(&self.trusted), self.sender.clone());
        let wake = Arc::clone(&self.wake);
        let spawned = thread::Builder::new()
            .name("guest/listen".to_owned())
            .spawn(move || listen(&known, &sender, &wake));
        self.listens = spawned.is_ok();
    }

    pub fn is_ready(&self) -> bool {
        lock(&self.trusted).is_some()
    }

    pub fn addresses(&self, node: &str) -> Vec<IpAddr> {
        let trusted = lock(&self.trusted);
        let of = trusted.as_ref().and_then(|one| one.addresses.get(node));
        of.cloned().unwrap_or_default()
    }

    /// Returns a descriptor that is readable when an incoming connection waits.
    pub fn wakes(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    pub fn take_incoming(&mut self) -> Option<IncomingConnection> {
        // Resets the counter, which may be zero already.
        self.wake.reset();
        self.came.try_recv().ok()
    }

    /// Connects a socket with the guest role of another node, in a separate thread. The socket
    /// closes with the connection.
    pub fn dial(
        &self,
        node: &str,
        hello: ConnectionPurpose,
        local: UnixStream,
    ) -> OutgoingConnection {
        let line = OutgoingConnection::default();
        let trusted = lock(&self.trusted).clone();
        let (own, node) = (line.clone(), node.to_owned());
        let spawned = thread::Builder::new()
            .name("guest/line".to_owned())
            .spawn(move || {
                let connected = connect(trusted.as_deref(), &node, &hello);
                let ended = connected.and_then(|wire| {
                    let carried = Relay::new(wire, local, RelayPeer::Node)
                        .with_sent_counter(&own.sent)
                        .run();
                    carried.map_err(|error| format!("connection to {node}: {error}"))
                });
                if let Err(words) = ended {
                    *lock(&own.trouble) = words;
                }
            });
        if let Err(error) = spawned {
            *lock(&line.trouble) = format!("no thread: {error}");
        }
        line
    }
}

fn connect(
    trusted: Option<&TrustedNodes>,
    node: &str,
    hello: &ConnectionPurpose,
) -> Result<NodeConnection, String> {
    let trusted = trusted.ok_or("this node has no certificate of the cluster for it yet")?;
    let addresses = trusted.addresses.get(node);
    let mut last = Err(format!("the cluster has no node '{node}'"));
    for address in addresses.into_iter().flatten() {
        let at = SocketAddr::new(*address, PORT);
        last = connect_to(at, trusted, node, hello).map_err(|words| format!("{at}: {words}"));
        if last.is_ok() {
            break;
        }
    }
    last
}

fn connect_to(
    at: SocketAddr,
    trusted: &TrustedNodes,
    node: &str,
    hello: &ConnectionPurpose,
) -> Result<NodeConnection, String> {
    let words = |error: io::Error| error.to_string();
    let socket = door::dial(at, PATIENCE).map_err(words)?;
    set_socket_send_buffer_size(&socket, KERNEL_BYTES).map_err(|errno| words(errno.into()))?;
    let dialled = GreetingConnection::dial(TimedStream::new(socket, PATIENCE), trusted);
    let (mut young, is) = dialled.map_err(|error| error.to_string())?;
    if is != node {
        return Err(format!("its certificate is for {is}, not for {node}"));
    }
    young.write_all(&frame(hello)).map_err(words)?;
    young.into_connection().map_err(words)
}

fn listen(known: &SharedTrust, sender: &SyncSender<IncomingConnection>, wake: &Arc<WakeEvent>) {
    let door = Arc::new(ConnectionSlots::default());
    let mut trouble = String::new();
    loop {
        let listener = match bind(known) {
            Ok(listener) => listener,
            Err(words) => {
                if words != trouble {
                    write_error(&format!("evenkeel: guests: {words}\n"));
                    trouble = words;
                }
                thread::sleep(LOOK);
                continue;
            }
        };
        for socket in listener.incoming() {
            let Ok(socket) = socket else {
                // Descriptors or memory are exhausted: try again later.
                thread::sleep(LOOK);
                continue;
            };
            let Some(place) = door.enter(&socket, is_of_a_node(known, &socket)) else {
                continue;
            };
            let (known, sender) = (Arc::clone(known), sender.clone());
            let wake = Arc::clone(wake);
            // Ignores an error: if no thread can be created, the slot becomes free again.
            let _ = thread::Builder::new()
                .name("guest/line".to_owned())
                .spawn(move || {
                    // Ignores the result: failed connections of unknown clients and closed
                    // connections are not reported.
                    let _ = receive(socket, place, &known, &sender, &wake);
                });
        }
    }
}

fn is_of_a_node(known: &SharedTrust, socket: &TcpStream) -> bool {
    let from = socket.peer_addr().map(|at| at.ip());
    let trusted = lock(known).clone();
    let mut addresses = trusted.iter().flat_map(|one| {
        let others = one.addresses.iter().filter(|(node, _)| **node != one.me);
        others.flat_map(|(_, addresses)| addresses)
    });
    from.is_ok_and(|from| addresses.any(|address| *address == from))
}

fn bind(known: &SharedTrust) -> Result<TcpListener, String> {
    let trusted = lock(known).clone();
    let own = trusted.as_ref().and_then(|one| one.addresses.get(&one.me));
    let own = own.ok_or("the cluster has not reported the address of this node")?;
    let first = own.first().ok_or("this node has no address")?;
    // Listens at the first address that this machine has. Tests use loopback addresses, from which
    // other hosts are unreachable.
    let mine = own.iter().find(|one| one.is_loopback() || is_mine(**one));
    let at = SocketAddr::new(*mine.unwrap_or(&unspecified(*first)), PORT);
    TcpListener::bind(at).map_err(|error| format!("cannot listen at {at}: {error}"))
}

fn receive(
    socket: TcpStream,
    mut place: ConnectionSlot,
    known: &SharedTrust,
    sender: &SyncSender<IncomingConnection>,
    wake: &WakeEvent,
) -> Result<(), String> {
    let words = |error: io::Error| error.to_string();
    let trusted = lock(known).clone().ok_or("no certificate yet")?;
    set_socket_recv_buffer_size(&socket, KERNEL_BYTES).map_err(|errno| words(errno.into()))?;
    let answered = GreetingConnection::answer(TimedStream::new(socket, PATIENCE), &trusted);
    let (mut young, from) = answered.map_err(|error| error.to_string())?;
    if from == trusted.me {
        return Err("it is this node".to_owned());
    }
    if !place.is_known() {
        return Err("too many connections".to_owned());
    }
    let mut came = Vec::new();
    let hello = loop {
        if let Some(hello) = take_frame::<ConnectionPurpose>(&mut came)? {
            break hello;
        }
        let mut piece = [0; 4096];
        match young.read(&mut piece).map_err(words)? {
            0 => return Err("no greeting".to_owned()),
            count => came.extend_from_slice(piece.get(..count).unwrap_or_default()),
        }
    };
    let wire = young.into_connection().map_err(words)?;
    let (give, given) = sync_channel(1);
    let one = IncomingConnection { from, hello, give };
    sender.try_send(one).map_err(|error| error.to_string())?;
    wake.wake();
    let local = given
        .recv_timeout(PATIENCE)
        .map_err(|error| error.to_string())?;
    let carried = Relay::new(wire, local, RelayPeer::Node)
        .with_received_bytes(came)
        .run();
    carried.map_err(|error| error.to_string())
}
