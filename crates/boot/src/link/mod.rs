//! Link to the boot roles of the other nodes: TLS 1.3 with the certificates of the cluster on
//! both sides. The holder of parts connects to the others, sends them its leases, and receives
//! confirmations of what is on their disks. The link itself decides nothing.

mod frame;
mod keeper;
mod session;

pub use keeper::{Keeper, remove_copies};

use crate::site::{Bell, Shared as Site};
use frame::PROTOCOL;
use nodes::{Guest, Known, Pause, Places, Rooms, answer, dial, listen};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use tokio::sync::watch;
use tokio::task::JoinSet;
use wire::Trusted;

/// TCP port of boot roles.
pub const PORT: u16 = 7449;
/// Connection limits.
const ROOMS: Rooms = Rooms {
    nodes: 32,
    strangers: 8,
};

/// Network as the link uses it.
#[derive(Clone)]
pub struct Network {
    /// State of the network, whose leases are sent.
    pub site: Site,
    /// Thread that stores the copies.
    pub keeper: Keeper,
}

/// Shared state of the link and its connections.
struct Shared {
    networks: Mutex<BTreeMap<String, Network>>,
    bell: watch::Sender<u64>,
    /// Reason for which there is no connection to a node.
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

/// Link to the other nodes. Dropping the value ends its connections.
pub struct Link {
    shared: Arc<Shared>,
    trusted: watch::Sender<Option<Arc<Trusted>>>,
}

impl Link {
    /// Starts the link without connections, until the cluster reports the other nodes.
    ///
    /// # Errors
    ///
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

    /// Returns a function that wakes the link when messages are ready.
    pub fn bell(&self) -> Bell {
        let shared = Arc::clone(&self.shared);
        Arc::new(move || shared.ring())
    }

    /// Sets the nodes of the cluster that are trusted.
    pub fn trust(&self, trusted: Trusted) {
        let before = self.trusted.borrow().clone();
        let trusted = trusted.after(before.as_deref());
        self.trusted.send_replace(Some(Arc::new(trusted)));
    }

    /// Replaces the networks.
    pub fn set_networks(&self, networks: BTreeMap<String, Network>) {
        *lock(&self.shared.networks) = networks;
        self.shared.ring();
    }

    /// Returns the reason for each missing connection, by node.
    pub fn troubles(&self) -> BTreeMap<String, String> {
        lock(&self.shared.troubles).clone()
    }
}

/// Keeps connections to the nodes that the cluster reports.
async fn run(mut known: Known, shared: Arc<Shared>) {
    let mut places = Places::default();
    let mut tasks = JoinSet::new();
    while let Some(now) = places.next(&mut known).await {
        // Connections to the previous set of nodes end.
        tasks.shutdown().await;
        lock(&shared.troubles).clear();
        let others = now.addresses.keys().filter(|name| **name != now.me);
        for node in others.cloned().collect::<Vec<_>>() {
            let (known, shared) = (known.clone(), Arc::clone(&shared));
            tasks.spawn(async move { dials(&known, &node, &shared).await });
        }
        let (known, shared) = (known.clone(), Arc::clone(&shared));
        tasks.spawn(async move { listens(&known, &shared).await });
    }
}

/// Connects to a node, and reconnects after failures.
async fn dials(known: &Known, node: &str, shared: &Arc<Shared>) {
    let mut pause = Pause::default();
    loop {
        let now = known.borrow().clone();
        let Some(now) = now else {
            return;
        };
        let broken = match dial(&PROTOCOL, &now, node).await {
            Ok(stream) => {
                pause.connected();
                lock(&shared.troubles).remove(node);
                session::tells(shared, node, stream).await
            }
            Err(broken) => broken,
        };
        lock(&shared.troubles).insert(node.to_owned(), broken.to_string());
        pause.after(Some(&broken)).await;
    }
}

/// Accepts connections at the cluster address of this node.
async fn listens(known: &Known, shared: &Arc<Shared>) {
    let serve = |guest: Guest| {
        let shared = Arc::clone(shared);
        async move {
            let answered = answer(&PROTOCOL, &guest.trusted, guest.stream, |_| true);
            // Errors are those of unknown peers, and of connections that end.
            if let Ok((stream, node)) = answered.await {
                let _ = session::hears(&shared, &node, stream).await;
            }
            drop(guest.place);
        }
    };
    // A node that cannot connect reports that itself.
    listen(PORT, known, ROOMS, |_| {}, serve).await;
}

#[cfg(test)]
mod tests;
