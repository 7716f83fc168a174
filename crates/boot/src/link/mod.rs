//! The link to the boot roles of the other nodes: TLS 1.3 with the certificates of the cluster on both
//! sides. The holder of parts dials the others, tells them of its leases, and hears what is on their
//! disks. The link decides nothing.

mod frame;
mod keeper;
mod session;

pub use keeper::Keeper;

use crate::site::{Bell, Shared as Site};
use frame::Broken;
use rustls::pki_types::{CertificateDer, ServerName};
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use wire::{Trusted, is_mine, unspecified};

/// The port of boot roles.
pub const PORT: u16 = 7449;
/// How long a connection and its handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(2);
/// How long until a node is dialled again: at first, and at most.
const REDIAL: Duration = Duration::from_millis(100);
const REDIAL_MAX: Duration = Duration::from_secs(1);
/// How long the address of this node is waited for.
const LOOK: Duration = Duration::from_millis(500);
/// Connections at one time: of addresses of nodes, and of others.
const CONNECTIONS_MAX: usize = 32;
const STRANGERS_MAX: usize = 8;

/// A network as the link has it.
#[derive(Clone)]
pub struct Network {
    /// What is reported.
    pub site: Site,
    /// What writes the copies.
    pub keeper: Keeper,
}

/// What the link and its connections know together.
struct Shared {
    networks: Mutex<BTreeMap<String, Network>>,
    bell: watch::Sender<u64>,
    /// Why there is no connection to a node, in words.
    troubles: Mutex<BTreeMap<String, String>>,
}

fn lock<T>(one: &Mutex<T>) -> MutexGuard<'_, T> {
    one.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn ring(&self) {
        self.bell
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    fn networks(&self) -> BTreeMap<String, Network> {
        lock(&self.networks).clone()
    }
}

/// The link. Dropping it ends its connections.
pub struct Link {
    shared: Arc<Shared>,
    trusted: watch::Sender<Option<Arc<Trusted>>>,
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
            networks: Mutex::default(),
            bell: watch::Sender::new(0),
            troubles: Mutex::default(),
        });
        let (trusted, known) = watch::channel(None);
        let own = Arc::clone(&shared);
        let thread = thread::Builder::new().name("boot/link".to_owned());
        thread.spawn(move || {
            runtime.block_on(run(known, own));
            runtime.shutdown_background();
        })?;
        Ok(Link { shared, trusted })
    }

    /// Rings when something is to be told.
    pub fn bell(&self) -> Bell {
        let shared = Arc::clone(&self.shared);
        Arc::new(move || shared.ring())
    }

    /// The cluster says this of its nodes.
    pub fn trust(&self, trusted: Trusted) {
        self.trusted.send_replace(Some(Arc::new(trusted)));
    }

    /// These are the networks now.
    pub fn set_networks(&self, networks: BTreeMap<String, Network>) {
        *lock(&self.shared.networks) = networks;
        self.shared.ring();
    }

    /// Why there are no connections, by node.
    pub fn troubles(&self) -> BTreeMap<String, String> {
        lock(&self.shared.troubles).clone()
    }
}

/// Holds the connections to the nodes that the cluster names.
async fn run(mut trusted: watch::Receiver<Option<Arc<Trusted>>>, shared: Arc<Shared>) {
    let mut before = None;
    let mut tasks = JoinSet::new();
    loop {
        let now = trusted.borrow_and_update().clone();
        let places = { now.as_ref() }.map(|now| (now.me.clone(), now.addresses.clone()));
        // Another certificate alone is for the next connection.
        if let Some(now) = now
            && places != before
        {
            before = places;
            // Those of before end.
            tasks.shutdown().await;
            lock(&shared.troubles).clear();
            let others = now.addresses.keys().filter(|name| **name != now.me);
            for node in others.cloned().collect::<Vec<_>>() {
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
async fn dials(trusted: &watch::Receiver<Option<Arc<Trusted>>>, node: &str, shared: &Arc<Shared>) {
    let mut pause = REDIAL;
    loop {
        let now = trusted.borrow().clone();
        let Some(now) = now else {
            return;
        };
        let broken = match dial(&now, node).await {
            Ok(stream) => {
                pause = REDIAL;
                lock(&shared.troubles).remove(node);
                session::tells(shared, node, stream).await
            }
            Err(broken) => broken,
        };
        lock(&shared.troubles).insert(node.to_owned(), broken.to_string());
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(REDIAL_MAX);
    }
}

type Dialled = tokio_rustls::client::TlsStream<TcpStream>;

async fn dial(trusted: &Trusted, node: &str) -> Result<Dialled, Broken> {
    let nowhere = "the cluster does not say where it is".to_owned();
    let mut last = Err(Broken::Refused(nowhere));
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
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let strangers = Arc::new(Semaphore::new(STRANGERS_MAX));
    let mut tasks = JoinSet::new();
    loop {
        let now = trusted.borrow().clone();
        let Some(now) = now else {
            return;
        };
        // An address may be late, or taken by a role that ends.
        let Ok(listener) = bind(&now).await else {
            tokio::time::sleep(LOOK).await;
            continue;
        };
        loop {
            let Ok((stream, from)) = listener.accept().await else {
                tokio::time::sleep(REDIAL).await;
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
                // Strangers, and connections that end.
                if let Ok((stream, node)) = answer(&now, stream).await {
                    let _ = session::hears(&shared, &node, stream).await;
                }
                drop(place);
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

/// Answers a connection; returns also the node that it is of.
async fn answer(trusted: &Trusted, stream: TcpStream) -> Result<(Answered, String), Broken> {
    let acceptor = TlsAcceptor::from(Arc::clone(&trusted.server));
    let accepted = within(async {
        stream.set_nodelay(true)?;
        acceptor.accept(stream).await
    });
    let mut stream = accepted.await?;
    let from = name_of(trusted, stream.get_ref().1.peer_certificates());
    let from = from.filter(|from| *from != trusted.me);
    let from = from.ok_or(Broken::Foreign)?;
    session::greets(&mut stream).await?;
    Ok((stream, from))
}
