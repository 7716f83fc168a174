//! Connections between the guest roles of two nodes: TLS 1.3 with the certificates of the cluster.
//! Each is pumped by a thread of its own, with bounded buffers, between the network and a Unix
//! socket of this machine: the role's thread never waits for the network.

use crate::migration::{Hello, frame, take_frame};
use part::lock;
use part::voice::write_error;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::net::sockopt::set_tcp_user_timeout;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket,
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// The port of guest roles.
pub const PORT: u16 = 7445;
/// How long a connection and its handshake may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the network may take to confirm what was sent, milliseconds.
const SENT_MAX_MS: u32 = 15_000;
/// How often an address that is not there yet is looked for.
const LOOK: Duration = Duration::from_secs(1);
/// Connections that were dialled from addresses of nodes, at most.
const CAME_MAX: usize = 32;
/// The same from other addresses: a node may come from one that the cluster does not name.
const STRANGERS_MAX: usize = 8;
/// Bytes that are on their way through a pump, in each direction.
const BUFFER_BYTES: usize = 256 << 10;

/// Says whose certificate (DER) this is, by the name of the node; None: of no node of the cluster.
pub type NodeOf = Box<dyn Fn(&[u8]) -> Option<String> + Send + Sync>;

/// What the cluster says of the nodes: where they are, and how to know them.
pub struct Trusted {
    /// The name of this node.
    pub me: String,
    /// The addresses of all nodes, the preferred one first.
    pub addresses: BTreeMap<String, Vec<IpAddr>>,
    /// To dial: with a certificate of this node.
    pub client: Arc<ClientConfig>,
    /// To be dialled.
    pub server: Arc<ServerConfig>,
    /// Says whose certificate this is.
    pub node_of: NodeOf,
}

impl fmt::Debug for Trusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trusted({}, {:?})", self.me, self.addresses)
    }
}

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

    /// The cluster says this of its nodes. It holds for connections from now on.
    pub fn trust(&mut self, trusted: Trusted) {
        *lock(&self.trusted) = Some(Arc::new(trusted));
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
                let ended = connected.and_then(|(tls, socket)| {
                    let pumped = pump(tls, &socket, &local, Vec::new(), &own.sent);
                    pumped.map_err(|error| format!("connection to {node}: {error}"))
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
fn connect(
    trusted: Option<&Trusted>,
    node: &str,
    hello: &Hello,
) -> Result<(Connection, TcpStream), String> {
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
) -> Result<(Connection, TcpStream), String> {
    let socket = TcpStream::connect_timeout(&at, PATIENCE).map_err(|error| error.to_string())?;
    // The certificate says which node it is, not an address.
    let name = rustls::pki_types::ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into());
    let tls = ClientConnection::new(Arc::clone(&trusted.client), name);
    let mut tls = Connection::from(tls.map_err(|error| error.to_string())?);
    let is = shake(&mut tls, &socket, trusted)?;
    if is != node {
        return Err(format!("its certificate is that of {is}, not of {node}"));
    }
    greet(&mut tls, &socket, hello).map_err(|error| error.to_string())?;
    Ok((tls, socket))
}

fn greet(tls: &mut Connection, socket: &TcpStream, hello: &Hello) -> io::Result<()> {
    tls.set_buffer_limit(None);
    tls.writer().write_all(&frame(hello))?;
    while tls.wants_write() {
        tls.write_tls(&mut Timed(socket))?;
    }
    Ok(())
}

/// A socket as rustls reads and writes it.
struct Timed<'a>(&'a TcpStream);

impl Read for Timed<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        (&mut &*self.0).read(bytes)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&mut &*self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Shakes hands. Returns the name of the other node.
fn shake(tls: &mut Connection, socket: &TcpStream, trusted: &Trusted) -> Result<String, String> {
    let words = |error: io::Error| error.to_string();
    socket.set_nodelay(true).map_err(words)?;
    socket.set_read_timeout(Some(PATIENCE)).map_err(words)?;
    socket.set_write_timeout(Some(PATIENCE)).map_err(words)?;
    let until = Instant::now() + PATIENCE;
    while tls.is_handshaking() {
        if Instant::now() >= until {
            return Err("the handshake took too long".to_owned());
        }
        tls.complete_io(&mut Timed(socket)).map_err(words)?;
    }
    let certificates = tls.peer_certificates();
    let first = certificates.and_then(<[_]>::first);
    let node = first.and_then(|one| (trusted.node_of)(one));
    node.filter(|node| *node != trusted.me)
        .ok_or_else(|| "it is no guest role of another node of this cluster".to_owned())
}

fn unspecified(of: IpAddr) -> IpAddr {
    match of {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// Whether an address is this machine's: the way to it begins at itself.
fn is_mine(address: IpAddr) -> bool {
    if address.is_loopback() {
        return true;
    }
    // Nothing is sent: the port does not matter.
    let way = UdpSocket::bind((unspecified(address), 0)).and_then(|socket| {
        socket.connect((address, PORT))?;
        socket.local_addr()
    });
    way.is_ok_and(|from| from.ip() == address)
}

/// Listens where the cluster reaches this node, as long as the process lives.
fn listen(known: &Known, sender: &SyncSender<Came>, wake: &Arc<OwnedFd>) {
    // Strangers take no place of a node.
    let [nodes, strangers] = [0; 2].map(|_| Arc::new(AtomicUsize::new(0)));
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
            let (places, most) = match is_of_a_node(known, &socket) {
                true => (&nodes, CAME_MAX),
                false => (&strangers, STRANGERS_MAX),
            };
            if places.fetch_add(1, Ordering::Relaxed) >= most {
                places.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            let (known, sender) = (Arc::clone(known), sender.clone());
            let (wake, own) = (Arc::clone(wake), Arc::clone(places));
            let spawned = thread::Builder::new()
                .name("guest/line".to_owned())
                .spawn(move || {
                    // Strangers, and connections that end: nobody has to know.
                    let _ = receive(&socket, &known, &sender, &wake);
                    own.fetch_sub(1, Ordering::Relaxed);
                });
            if spawned.is_err() {
                places.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

/// Whether a connection comes from an address of another node.
fn is_of_a_node(known: &Known, socket: &TcpStream) -> bool {
    let from = socket.peer_addr().map(|at| at.ip());
    let trusted = lock(known).clone();
    let mut addresses = trusted
        .iter()
        .flat_map(|one| one.addresses.values().flatten());
    from.is_ok_and(|from| addresses.any(|address| *address == from))
}

fn bind(known: &Known) -> Result<TcpListener, String> {
    let trusted = lock(known).clone();
    let own = trusted.as_ref().and_then(|one| one.addresses.get(&one.me));
    let own = own.ok_or("the cluster has not said where this node is")?;
    let first = own.first().ok_or("this node has no address")?;
    let mine = own.iter().find(|address| is_mine(**address));
    let at = SocketAddr::new(*mine.unwrap_or(&unspecified(*first)), PORT);
    TcpListener::bind(at).map_err(|error| format!("cannot listen at {at}: {error}"))
}

/// The life of a connection of another node.
fn receive(
    socket: &TcpStream,
    known: &Known,
    sender: &SyncSender<Came>,
    wake: &OwnedFd,
) -> Result<(), String> {
    let trusted = lock(known).clone().ok_or("no certificate yet")?;
    let tls = ServerConnection::new(Arc::clone(&trusted.server));
    let mut tls = Connection::from(tls.map_err(|error| error.to_string())?);
    let from = shake(&mut tls, socket, &trusted)?;
    let mut came = Vec::new();
    let until = Instant::now() + PATIENCE;
    let hello = loop {
        if let Some(hello) = take_frame::<Hello>(&mut came)? {
            break hello;
        }
        if Instant::now() >= until {
            return Err("no greeting".to_owned());
        }
        let mut piece = [0; 4096];
        match tls.reader().read(&mut piece) {
            Ok(0) => return Err("no greeting".to_owned()),
            Ok(count) => came.extend_from_slice(piece.get(..count).unwrap_or_default()),
            Err(error) if would_block(&error) => {
                let done = tls.complete_io(&mut Timed(socket));
                done.map_err(|error| error.to_string())?;
            }
            Err(error) => return Err(error.to_string()),
        }
    };
    let (give, given) = sync_channel(1);
    let one = Came { from, hello, give };
    sender.try_send(one).map_err(|error| error.to_string())?;
    // The counter of the descriptor is far from its end.
    let _ = rustix::io::write(wake, &1_u64.to_ne_bytes());
    let local = given
        .recv_timeout(PATIENCE)
        .map_err(|error| error.to_string())?;
    let sent = AtomicU64::new(0);
    pump(tls, socket, &local, came, &sent).map_err(|error| error.to_string())
}

/// Carries bytes in both directions until one side ends and its bytes are through.
fn pump(
    mut tls: Connection,
    socket: &TcpStream,
    local: &UnixStream,
    inward: Vec<u8>,
    sent: &AtomicU64,
) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    local.set_nonblocking(true)?;
    // Without it a connection that is cut stays for long, and disturbs nobody.
    let _ = set_tcp_user_timeout(socket, SENT_MAX_MS);
    tls.set_buffer_limit(Some(BUFFER_BYTES));
    let mut pump = Pump {
        tls,
        socket,
        local,
        inward,
        is_deaf: false,
        local_ended: None,
        far_ended: false,
    };
    let mut piece = vec![0; BUFFER_BYTES / 4];
    loop {
        pump.write_out()?;
        if pump.is_over() {
            return Ok(());
        }
        if pump.decrypts(&mut piece)? {
            continue;
        }
        let (far, near) = pump.wait()?;
        if far {
            pump.read_far()?;
        }
        if near {
            pump.read_local(&mut piece, sent)?;
        }
    }
}

/// A connection and the socket that it is connected with.
struct Pump<'a> {
    tls: Connection,
    socket: &'a TcpStream,
    local: &'a UnixStream,
    /// Bytes of the other node that the socket has not taken.
    inward: Vec<u8>,
    /// The socket takes nothing more.
    is_deaf: bool,
    /// When it ended, or bytes of it were sent since.
    local_ended: Option<Instant>,
    /// Nothing more comes of the other node.
    far_ended: bool,
}

impl Pump<'_> {
    /// Whether all is through. The side that ends first waits for the other one: if it closed the
    /// connection with bytes that it has not read, such as those of a handshake that the other side
    /// is late with, what it has sent would be lost.
    fn is_over(&self) -> bool {
        let is_through = self.far_ended && self.inward.is_empty();
        let has_waited = |since: Instant| since.elapsed() >= PATIENCE && !self.tls.wants_write();
        is_through || self.local_ended.is_some_and(has_waited)
    }

    /// Takes in what is decrypted. Returns whether it was something.
    fn decrypts(&mut self, piece: &mut [u8]) -> io::Result<bool> {
        if self.far_ended || !self.inward.is_empty() {
            return Ok(false);
        }
        match self.tls.reader().read(piece) {
            Ok(0) => self.far_ended = true,
            Ok(count) if !self.is_deaf => {
                self.inward
                    .extend_from_slice(piece.get(..count).unwrap_or_default());
            }
            Ok(_) => {}
            Err(error) if would_block(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    fn read_far(&mut self) -> io::Result<()> {
        match self.tls.read_tls(&mut Timed(self.socket)) {
            Ok(0) => self.far_ended = true,
            Ok(_) => {
                let processed = self.tls.process_new_packets();
                processed.map_err(io::Error::other)?;
            }
            Err(error) if would_block(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn read_local(&mut self, piece: &mut [u8], sent: &AtomicU64) -> io::Result<()> {
        match (&mut &*self.local).read(piece) {
            Ok(0) => {
                self.local_ended = Some(Instant::now());
                self.tls.send_close_notify();
            }
            Ok(count) => {
                let bytes = piece.get(..count).unwrap_or_default();
                self.tls.writer().write_all(bytes)?;
                sent.fetch_add(count as u64, Ordering::Relaxed);
            }
            Err(error) if would_block(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Writes what waits, as far as both sides take it.
    fn write_out(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut Timed(self.socket)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => self.local_ended = self.local_ended.map(|_| Instant::now()),
                Err(error) if would_block(&error) => break,
                Err(error) => return Err(error),
            }
        }
        if self.local_ended.is_some() && !self.tls.wants_write() {
            // A second time is as good.
            let _ = self.socket.shutdown(Shutdown::Write);
        }
        while !self.inward.is_empty() {
            match (&mut &*self.local).write(&self.inward) {
                Ok(count) if count > 0 => drop(self.inward.drain(..count)),
                Err(error) if would_block(&error) => break,
                // What it has written before may not have been read yet.
                Ok(_) | Err(_) => {
                    self.is_deaf = true;
                    self.inward.clear();
                }
            }
        }
        Ok(())
    }

    /// Waits for either side. Returns which of them can be read.
    fn wait(&self) -> io::Result<(bool, bool)> {
        let flags = |reads: bool, writes: bool| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, reads);
            flags.set(PollFlags::OUT, writes);
            flags
        };
        let (sends, delivers) = (self.tls.wants_write(), !self.inward.is_empty());
        let reads_far = !self.far_ended && !delivers && self.tls.wants_read();
        let reads_local = self.local_ended.is_none() && !sends;
        let far = PollFd::new(self.socket, flags(reads_far, sends));
        let near = PollFd::new(self.local, flags(reads_local, delivers));
        let mut both = [far, near];
        // An end is reported in any case: only what is read or written is looked at.
        let watched = match (reads_far || sends, reads_local || delivers) {
            (true, true) => &mut both[..],
            (true, false) => &mut both[..1],
            (false, _) => &mut both[1..],
        };
        let limit = Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        match poll(watched, Some(&limit)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        // What came before an end is read before it.
        let comes = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
        let [far, near] = both.map(|one| one.revents().intersects(comes));
        Ok((far && reads_far, near && reads_local))
    }
}

fn would_block(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
