//! Connections between the guest roles of two nodes: TLS 1.3 with the certificates of the cluster.
//! Each is relayed by a thread of its own, with bounded buffers, between the network and a Unix
//! socket of this machine: the role's thread never waits for the network.

use super::door::{self, Door, Place};
use crate::migration::{Hello, frame, take_frame};
use part::lock;
use part::voice::write_error;
use rustix::event::{EventfdFlags, eventfd};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use wire::{Peer, Relay, Timed, Trusted, Wire, Young, is_mine, unspecified};

/// The port of guest roles.
pub const PORT: u16 = 7445;
/// Bytes that the kernel holds of a connection at each end. With as many as it would choose by itself
/// (megabytes), the last memory of a guest that moves, which stands still, would wait behind what it
/// sent before.
const KERNEL_BYTES: usize = 256 << 10;
/// How long a connection and its handshake may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often an address that is not there yet is looked for.
const LOOK: Duration = Duration::from_secs(1);
/// Connections that wait for the role, at most.
const CAME_MAX: usize = 32;

/// A connection of another node.
#[derive(Debug)]
pub struct Came {
    /// The node, by its certificate.
    pub from: String,
    /// What it wants.
    pub hello: Hello,
    /// Takes the socket that it is to be connected with; dropped, the connection ends.
    pub give: SyncSender<UnixStream>,
}

/// A connection to another node.
#[derive(Clone, Debug, Default)]
pub struct Line {
    trouble: Arc<Mutex<String>>,
    sent: Arc<AtomicU64>,
}

impl Line {
    /// Why it ended, in words.
    pub fn trouble(&self) -> String {
        lock(&self.trouble).clone()
    }

    /// Bytes of this side that it has carried.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

type Known = Arc<Mutex<Option<Arc<Trusted>>>>;

/// The connections.
#[derive(Debug)]
pub struct Carrier {
    trusted: Known,
    came: Receiver<Came>,
    sender: SyncSender<Came>,
    wake: Arc<OwnedFd>,
    listens: bool,
}

impl Carrier {
    /// Without any, and without what it needs for them.
    ///
    /// # Errors
    /// The system's.
    pub fn new() -> io::Result<Carrier> {
        let (sender, came) = sync_channel(CAME_MAX);
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Carrier {
            trusted: Known::default(),
            came,
            sender,
            wake: Arc::new(wake),
            listens: false,
        })
    }

    /// The cluster says this of its nodes. Connections with those that it no longer accepts end.
    pub fn trust(&mut self, trusted: Trusted) {
        {
            let mut known = lock(&self.trusted);
            let trusted = trusted.after(known.as_deref());
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

    /// Whether others can be dialled.
    pub fn is_ready(&self) -> bool {
        lock(&self.trusted).is_some()
    }

    /// The addresses of a node, as the cluster knows them.
    pub fn addresses(&self, node: &str) -> Vec<IpAddr> {
        let trusted = lock(&self.trusted);
        let of = trusted.as_ref().and_then(|one| one.addresses.get(node));
        of.cloned().unwrap_or_default()
    }

    /// Readable when somebody has come.
    pub fn wakes(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Takes out a connection that has come.
    pub fn came(&mut self) -> Option<Came> {
        // Nothing to read is as good.
        let _ = rustix::io::read(&*self.wake, &mut [0; 8]);
        self.came.try_recv().ok()
    }

    /// Connects a socket with the role of another node, on a thread of its own. When the connection
    /// ends, the socket does.
    pub fn dial(&self, node: &str, hello: Hello, local: UnixStream) -> Line {
        let line = Line::default();
        let trusted = lock(&self.trusted).clone();
        let (own, node) = (line.clone(), node.to_owned());
        let spawned = thread::Builder::new()
            .name("guest/line".to_owned())
            .spawn(move || {
                let connected = connect(trusted.as_deref(), &node, &hello);
                let ended = connected.and_then(|wire| {
                    let carried = Relay::new(wire, local, Peer::Node)
                        .counting(&own.sent)
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

/// Connects to a node, and greets it.
fn connect(trusted: Option<&Trusted>, node: &str, hello: &Hello) -> Result<Wire, String> {
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
    trusted: &Trusted,
    node: &str,
    hello: &Hello,
) -> Result<Wire, String> {
    let words = |error: io::Error| error.to_string();
    let socket = door::dial(at, PATIENCE).map_err(words)?;
    set_socket_send_buffer_size(&socket, KERNEL_BYTES).map_err(|errno| words(errno.into()))?;
    let dialled = Young::dial(Timed::new(socket, PATIENCE), trusted);
    let (mut young, is) = dialled.map_err(|error| error.to_string())?;
    if is != node {
        return Err(format!("its certificate is that of {is}, not of {node}"));
    }
    young.write_all(&frame(hello)).map_err(words)?;
    young.ready().map_err(words)
}

/// Listens where the cluster reaches this node, as long as the process lives.
fn listen(known: &Known, sender: &SyncSender<Came>, wake: &Arc<OwnedFd>) {
    let door = Arc::new(Door::default());
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
                // No descriptor or no memory: later.
                thread::sleep(LOOK);
                continue;
            };
            let Some(place) = door.enter(&socket, is_of_a_node(known, &socket)) else {
                continue;
            };
            let (known, sender) = (Arc::clone(known), sender.clone());
            let wake = Arc::clone(wake);
            // Without a thread the place is free again.
            let _ = thread::Builder::new()
                .name("guest/line".to_owned())
                .spawn(move || {
                    // Strangers, and connections that end: nobody has to know.
                    let _ = receive((socket, place), &known, &sender, &wake);
                });
        }
    }
}

/// Whether a connection comes from an address of another node.
fn is_of_a_node(known: &Known, socket: &TcpStream) -> bool {
    let from = socket.peer_addr().map(|at| at.ip());
    let trusted = lock(known).clone();
    let mut addresses = trusted.iter().flat_map(|one| {
        let others = one.addresses.iter().filter(|(node, _)| **node != one.me);
        others.flat_map(|(_, addresses)| addresses)
    });
    from.is_ok_and(|from| addresses.any(|address| *address == from))
}

fn bind(known: &Known) -> Result<TcpListener, String> {
    let trusted = lock(known).clone();
    let own = trusted.as_ref().and_then(|one| one.addresses.get(&one.me));
    let own = own.ok_or("the cluster has not said where this node is")?;
    let first = own.first().ok_or("this node has no address")?;
    // Those of tests are loopback ones, from which no way begins.
    let mine = own.iter().find(|one| one.is_loopback() || is_mine(**one));
    let at = SocketAddr::new(*mine.unwrap_or(&unspecified(*first)), PORT);
    TcpListener::bind(at).map_err(|error| format!("cannot listen at {at}: {error}"))
}

/// The life of a connection of another node.
fn receive(
    (socket, mut place): (TcpStream, Place),
    known: &Known,
    sender: &SyncSender<Came>,
    wake: &OwnedFd,
) -> Result<(), String> {
    let words = |error: io::Error| error.to_string();
    let trusted = lock(known).clone().ok_or("no certificate yet")?;
    set_socket_recv_buffer_size(&socket, KERNEL_BYTES).map_err(|errno| words(errno.into()))?;
    let answered = Young::answer(Timed::new(socket, PATIENCE), &trusted);
    let (mut young, from) = answered.map_err(|error| error.to_string())?;
    if from == trusted.me {
        return Err("it is this node".to_owned());
    }
    if !place.is_known() {
        return Err("too many connections".to_owned());
    }
    let mut came = Vec::new();
    let hello = loop {
        if let Some(hello) = take_frame::<Hello>(&mut came)? {
            break hello;
        }
        let mut piece = [0; 4096];
        match young.read(&mut piece).map_err(words)? {
            0 => return Err("no greeting".to_owned()),
            count => came.extend_from_slice(piece.get(..count).unwrap_or_default()),
        }
    };
    let wire = young.ready().map_err(words)?;
    let (give, given) = sync_channel(1);
    let one = Came { from, hello, give };
    sender.try_send(one).map_err(|error| error.to_string())?;
    // The counter of the descriptor is far from its end.
    let _ = rustix::io::write(wake, &1_u64.to_ne_bytes());
    let local = given
        .recv_timeout(PATIENCE)
        .map_err(|error| error.to_string())?;
    let carried = Relay::new(wire, local, Peer::Node).after(came).run();
    carried.map_err(|error| error.to_string())
}
