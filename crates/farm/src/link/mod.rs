//! The link to the farm roles of the other nodes: TLS 1.3 with the certificates of the cluster on both
//! sides. Of two nodes the one whose name is the lesser dials. The link carries what the directories
//! say, and finds out when a node is gone; it decides nothing.

mod frame;
mod session;

use crate::site::{Bell, Site};
use frame::Broken;
use part::lock;
use rustls::pki_types::{CertificateDer, ServerName};
use session::SILENT;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use wire::{Trusted, is_mine, unspecified};

/// The port of farm roles.
pub const PORT: u16 = 7448;
/// How often what is due is looked for.
const TICK: Duration = Duration::from_millis(50);
/// How long a connection and its handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(2);
/// How long until a node is dialled again: at first, and at most.
const REDIAL: Duration = Duration::from_millis(100);
const REDIAL_MAX: Duration = Duration::from_secs(1);
/// The same for a node with another version of the protocol.
const REDIAL_OTHER: Duration = Duration::from_secs(5);
/// How long the address of this node is waited for.
const LOOK: Duration = Duration::from_millis(500);
/// Handshakes at one time: of addresses of nodes, and of others.
const HANDSHAKES_MAX: usize = 16;
const STRANGERS_MAX: usize = 8;
/// How long a role that stops waits until the other nodes know it.
const LEAVE: Duration = Duration::from_millis(300);

/// What the link and its connections know together.
struct Shared {
    sites: Mutex<BTreeMap<String, Arc<Site>>>,
    bell: Bell,
    nodes: Mutex<Option<BTreeSet<String>>>,
    /// Connections that are to end, and why.
    cut: Mutex<BTreeMap<String, String>>,
    /// The turn of each node's connections: one at a time.
    turns: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
    leaves: AtomicBool,
    /// Why other nodes cannot connect.
    trouble: Mutex<String>,
}

impl Shared {
    fn ring(&self) {
        self.bell
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    fn take_cut(&self, node: &str) -> Option<String> {
        lock(&self.cut).remove(node)
    }

    fn leaves(&self) -> bool {
        self.leaves.load(Ordering::Acquire)
    }

    fn turn(&self, node: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = lock(&self.turns);
        Arc::clone(turns.entry(node.to_owned()).or_default())
    }

    fn all(&self) -> Vec<Arc<Site>> {
        lock(&self.sites).values().cloned().collect()
    }
}

/// The link. Dropping it ends its connections.
pub struct Link {
    shared: Arc<Shared>,
    trusted: watch::Sender<Option<Arc<Trusted>>>,
    ended: Receiver<()>,
}

impl Link {
    /// Starts it without connections: the cluster has to say who the others are.
    ///
    /// # Errors
    /// The system has no thread or descriptor left.
    pub fn start() -> io::Result<Link> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(1)
            .build()?;
        let shared = Arc::new(Shared {
            sites: Mutex::default(),
            bell: Arc::new(watch::Sender::new(0)),
            nodes: Mutex::default(),
            cut: Mutex::default(),
            turns: Mutex::default(),
            leaves: AtomicBool::new(false),
            trouble: Mutex::default(),
        });
        let (trusted, known) = watch::channel(None);
        let (ends, ended) = channel();
        let own = Arc::clone(&shared);
        let thread = thread::Builder::new().name("farm/link".to_owned());
        thread.spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = run(known, Arc::clone(&own)) => {}
                    () = ticks(&own) => {}
                }
            });
            runtime.shutdown_background();
            // Who has not waited has gone.
            let _ = ends.send(());
        })?;
        Ok(Link {
            shared,
            trusted,
            ended,
        })
    }

    /// Rings when something is to be sent.
    pub fn bell(&self) -> Bell {
        Arc::clone(&self.shared.bell)
    }

    /// The cluster says this of its nodes.
    pub fn trust(&self, trusted: Trusted) {
        self.trusted.send_replace(Some(Arc::new(trusted)));
    }

    /// The name of this node; empty: the cluster has not said it.
    pub fn me(&self) -> String {
        let trusted = self.trusted.borrow();
        trusted
            .as_ref()
            .map(|one| one.me.clone())
            .unwrap_or_default()
    }

    /// These are the farms now.
    pub fn set_sites(&self, sites: BTreeMap<String, Arc<Site>>) {
        let nodes = lock(&self.shared.nodes).clone();
        for (name, site) in &sites {
            let is_new = !lock(&self.shared.sites).contains_key(name);
            if let Some(nodes) = nodes.as_ref().filter(|_| is_new) {
                site.set_peers(nodes);
            }
        }
        *lock(&self.shared.sites) = sites;
        self.shared.ring();
    }

    /// Why other nodes cannot connect; empty: they can.
    pub fn trouble(&self) -> String {
        lock(&self.shared.trouble).clone()
    }

    /// Ends all connections. The other nodes do not wait for this one.
    pub fn leave(self) {
        self.shared.leaves.store(true, Ordering::Release);
        self.shared.ring();
        // The other nodes close; one that does not is left.
        let _ = self.ended.recv_timeout(LEAVE);
    }
}

/// Does for all farms what is due, until the link leaves.
async fn ticks(shared: &Shared) {
    loop {
        tokio::time::sleep(TICK).await;
        for site in shared.all() {
            for (node, why) in site.tick() {
                lock(&shared.cut).insert(node, why.to_owned());
                shared.ring();
            }
        }
        if shared.leaves() {
            // What is left to say is said now.
            tokio::time::sleep(TICK).await;
            return;
        }
    }
}

/// Holds the connections to the nodes that the cluster names.
async fn run(mut trusted: watch::Receiver<Option<Arc<Trusted>>>, shared: Arc<Shared>) {
    let mut before = None;
    let mut tasks = JoinSet::new();
    loop {
        let now = trusted.borrow_and_update().clone();
        let places = now
            .as_ref()
            .map(|now| (now.me.clone(), now.addresses.clone()));
        // Another certificate alone is for the next connection.
        if let Some(now) = now
            && places != before
        {
            before = places;
            // Those of before end.
            tasks.shutdown().await;
            for site in shared.all() {
                let nodes = lock(&shared.nodes).clone().unwrap_or_default();
                let why = "the nodes of the cluster have changed";
                nodes.iter().for_each(|node| site.broke(node, why));
            }
            let others = now.addresses.keys().filter(|name| **name != now.me);
            let others: BTreeSet<String> = others.cloned().collect();
            for site in shared.all() {
                site.set_peers(&others);
            }
            *lock(&shared.nodes) = Some(others.clone());
            for node in others.into_iter().filter(|node| now.me < *node) {
                let (trusted, shared) = (trusted.clone(), Arc::clone(&shared));
                tasks.spawn(async move { dials(&trusted, &node, &shared).await });
            }
            let (trusted, shared) = (trusted.clone(), Arc::clone(&shared));
            tasks.spawn(async move { listens(&trusted, &shared).await });
        }
        if trusted.changed().await.is_err() {
            return;
        }
    }
}

async fn within<T>(what: impl Future<Output = io::Result<T>>) -> Result<T, Broken> {
    match timeout(HANDSHAKE, what).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Broken::Silent),
    }
}

/// Dials a node again and again.
async fn dials(trusted: &watch::Receiver<Option<Arc<Trusted>>>, node: &str, shared: &Shared) {
    let mut pause = REDIAL;
    loop {
        let now = trusted.borrow().clone();
        let Some(now) = now else {
            return;
        };
        let turn = shared.turn(node);
        let own = turn.lock().await;
        let broken = match dial(&now, node).await {
            Ok(stream) => {
                pause = REDIAL;
                lock(&shared.cut).remove(node);
                session::run(shared, node, stream).await
            }
            Err(broken) => broken,
        };
        // Before the next connection has its turn.
        tell(shared, node, &broken);
        drop(own);
        tokio::time::sleep(match broken {
            Broken::Version(_) => REDIAL_OTHER,
            _ => pause,
        })
        .await;
        pause = (pause * 2).min(REDIAL_MAX);
    }
}

/// Tells all farms why there is no connection.
fn tell(shared: &Shared, node: &str, broken: &Broken) {
    let why = broken.to_string();
    for site in shared.all() {
        match broken {
            Broken::Version(_) | Broken::Foreign | Broken::Left => site.left(node, &why),
            _ => site.broke(node, &why),
        }
    }
}

type Dialled = tokio_rustls::client::TlsStream<TcpStream>;

async fn dial(trusted: &Trusted, node: &str) -> Result<Dialled, Broken> {
    let nowhere = || Broken::Cut("the cluster does not say where it is".to_owned());
    let mut last = Err(nowhere());
    for address in trusted.addresses_of(node) {
        let at = SocketAddr::new(*address, PORT);
        last = within(async {
            let stream = TcpStream::connect(at).await?;
            stream.set_nodelay(true)?;
            // The certificate says which node it is, not an address.
            let name = ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into());
            let connector = TlsConnector::from(Arc::clone(&trusted.client));
            connector.connect(name, stream).await
        })
        .await;
        if last.is_ok() {
            break;
        }
    }
    let mut stream = last?;
    let is = name_of(trusted, stream.get_ref().1.peer_certificates());
    if is.as_deref() != Some(node) {
        let why = "its certificate is not that of this node".to_owned();
        return Err(Broken::Refused(why));
    }
    session::greets(&mut stream).await?;
    Ok(stream)
}

fn name_of(trusted: &Trusted, certificates: Option<&[CertificateDer<'_>]>) -> Option<String> {
    (trusted.node_of)(certificates?.first()?)
}

/// Listens where the cluster reaches this node.
async fn listens(trusted: &watch::Receiver<Option<Arc<Trusted>>>, shared: &Arc<Shared>) {
    let places = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let strangers = Arc::new(Semaphore::new(STRANGERS_MAX));
    let mut tasks = JoinSet::new();
    loop {
        let now = trusted.borrow().clone();
        let Some(now) = now else {
            return;
        };
        // An address may be late, or taken by a role that ends.
        let listener = match bind(&now).await {
            Ok(listener) => listener,
            Err(error) => {
                let why = language::reason(&error);
                *lock(&shared.trouble) = format!("cannot listen at port {PORT}: {why}");
                tokio::time::sleep(LOOK).await;
                continue;
            }
        };
        lock(&shared.trouble).clear();
        loop {
            let Ok((stream, from)) = listener.accept().await else {
                tokio::time::sleep(TICK).await;
                continue;
            };
            while tasks.try_join_next().is_some() {}
            let now = trusted.borrow().clone();
            let Some(now) = now else {
                return;
            };
            let room = match is_of_a_node(&now, from.ip()) {
                true => &places,
                false => &strangers,
            };
            let Ok(place) = Arc::clone(room).try_acquire_owned() else {
                continue;
            };
            let shared = Arc::clone(shared);
            tasks.spawn(async move {
                let answered = answer(&now, stream).await;
                drop(place);
                match answered {
                    Ok((stream, node)) => serve(&shared, &node, stream).await,
                    // Strangers, and connections that end.
                    Err((None, _)) => {}
                    Err((Some(node), broken)) => tell(&shared, &node, &broken),
                }
            });
        }
    }
}

fn is_of_a_node(trusted: &Trusted, from: IpAddr) -> bool {
    let from = from.to_canonical();
    let mut all = trusted.addresses.values().flatten();
    all.any(|address| *address == from)
}

async fn bind(trusted: &Trusted) -> io::Result<TcpListener> {
    let own = trusted.addresses_of(&trusted.me);
    let Some(first) = own.first() else {
        return Err(io::ErrorKind::AddrNotAvailable.into());
    };
    // Those of tests are loopback ones, from which no way begins.
    let mut mine = own.iter();
    let mine = mine.find(|one: &&IpAddr| one.is_loopback() || is_mine(**one));
    let at = SocketAddr::new(*mine.unwrap_or(&unspecified(*first)), PORT);
    TcpListener::bind(at).await
}

type Answered = tokio_rustls::server::TlsStream<TcpStream>;

/// Answers a connection; returns also the node that it is of. An error has it, where it is known.
async fn answer(
    trusted: &Trusted,
    stream: TcpStream,
) -> Result<(Answered, String), (Option<String>, Broken)> {
    let unknown = |broken: Broken| (None, broken);
    let acceptor = TlsAcceptor::from(Arc::clone(&trusted.server));
    let accepted = within(async {
        stream.set_nodelay(true)?;
        acceptor.accept(stream).await
    });
    let mut stream = accepted.await.map_err(unknown)?;
    let from = name_of(trusted, stream.get_ref().1.peer_certificates());
    // The lesser name dials.
    let from = from.filter(|from| *from < trusted.me);
    let from = from.ok_or_else(|| unknown(Broken::Foreign))?;
    match session::greets(&mut stream).await {
        Ok(()) => Ok((stream, from)),
        Err(broken) => Err((Some(from), broken)),
    }
}

/// The life of a connection of another node. One before it ends: the node has dialled again.
async fn serve(shared: &Shared, node: &str, stream: Answered) {
    let turn = shared.turn(node);
    let own = match turn.try_lock() {
        Ok(own) => own,
        Err(_) => {
            lock(&shared.cut).insert(node.to_owned(), "it has connected again".to_owned());
            shared.ring();
            match timeout(SILENT, turn.lock()).await {
                Ok(own) => own,
                Err(_) => return,
            }
        }
    };
    lock(&shared.cut).remove(node);
    let broken = session::run(shared, node, stream).await;
    // Before the next connection has its turn.
    tell(shared, node, &broken);
    drop(own);
}
