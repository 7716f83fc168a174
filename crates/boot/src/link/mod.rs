//! Connects the boot role with those of the other nodes: TLS 1.3 with the certificates of the
//! cluster on both sides. The holder of parts connects to the others, sends them its leases, and
//! receives confirmations of what is on their disks. The link itself decides nothing.

mod frame;
mod keeper;
mod session;

pub use keeper::{CopyWriter, remove_copies};

use crate::site::{MessageNotifier, SharedNetworkState as Site};
use frame::PROTOCOL;
use nodes::{
    ConnectedClient, NodeChangeDetector, NodeConnectionLimits, RedialPause, TrustedNodesReceiver,
    accept_node, dial, listen,
};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use tokio::sync::watch;
use tokio::task::JoinSet;
use wire::TrustedNodes;

/// TCP port of boot roles.
pub const PORT: u16 = 7449;
const ROOMS: NodeConnectionLimits = NodeConnectionLimits {
    nodes: 32,
    strangers: 8,
};

/// Network as the link uses it.
#[derive(Clone)]
pub struct LinkedNetwork {
    /// State of the network, whose leases are sent.
    pub site: Site,
    /// Thread that stores the copies of leases of other nodes' pool parts.
    pub keeper: CopyWriter,
}

/// Shared state of the link and its connections.
struct BootNodeLinkState {
    networks: Mutex<BTreeMap<String, LinkedNetwork>>,
    bell: watch::Sender<u64>,
    /// Reason for which there is no connection to a node.
    troubles: Mutex<BTreeMap<String, String>>,
}

fn lock<T>(one: &Mutex<T>) -> MutexGuard<'_, T> {
    one.lock().unwrap_or_else(PoisonError::into_inner)
}

impl BootNodeLinkState {
    fn notify_connections(&self) {
        self.bell
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    fn networks(&self) -> BTreeMap<String, LinkedNetwork> {
        lock(&self.networks).clone()
    }
}

/// Link to the other nodes. Dropping the value ends its connections.
pub struct BootNodeLink {
    shared: Arc<BootNodeLinkState>,
    trusted: watch::Sender<Option<Arc<TrustedNodes>>>,
}

impl BootNodeLink {
    /// Starts the link without connections, until the cluster reports the other nodes.
    ///
    /// # Errors
    ///
    /// The system has no thread or descriptor left.
    pub fn start() -> io::Result<BootNodeLink> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(1)
            .build()?;
        let shared = Arc::new(BootNodeLinkState {
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
        Ok(BootNodeLink { shared, trusted })
    }

    /// Returns a function that wakes the link when messages are ready.
    pub fn message_notifier(&self) -> MessageNotifier {
        let shared = Arc::clone(&self.shared);
        Arc::new(move || shared.notify_connections())
    }

    /// Sets the nodes of the cluster that are trusted.
    pub fn trust(&self, trusted: TrustedNodes) {
        let before = self.trusted.borrow().clone();
        let trusted = trusted.continue_from(before.as_deref());
        self.trusted.send_replace(Some(Arc::new(trusted)));
    }

    pub fn set_networks(&self, networks: BTreeMap<String, LinkedNetwork>) {
        *lock(&self.shared.networks) = networks;
        self.shared.notify_connections();
    }

    /// Returns the reason for each missing connection, by node.
    pub fn troubles(&self) -> BTreeMap<String, String> {
        lock(&self.shared.troubles).clone()
    }
}

/// Keeps connections to the nodes that the cluster reports.
async fn run(mut known: TrustedNodesReceiver, shared: Arc<BootNodeLinkState>) {
    let mut places = NodeChangeDetector::default();
    let mut tasks = JoinSet::new();
    while let Some(now) = places.wait_for_change(&mut known).await {
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
async fn dials(known: &TrustedNodesReceiver, node: &str, shared: &Arc<BootNodeLinkState>) {
    let mut pause = RedialPause::default();
    loop {
        let now = known.borrow().clone();
        let Some(now) = now else {
            return;
        };
        let broken = match dial(&PROTOCOL, &now, node).await {
            Ok(stream) => {
                pause.reset_pause();
                lock(&shared.troubles).remove(node);
                session::send_leases(shared, node, stream).await
            }
            Err(broken) => broken,
        };
        lock(&shared.troubles).insert(node.to_owned(), broken.to_string());
        pause.wait_before_redial(Some(&broken)).await;
    }
}

/// Accepts connections at the cluster address of this node.
async fn listens(known: &TrustedNodesReceiver, shared: &Arc<BootNodeLinkState>) {
    let serve = |guest: ConnectedClient| {
        let shared = Arc::clone(shared);
        async move {
            let answered = accept_node(&PROTOCOL, &guest.trusted, guest.stream, |_| true);
            // Ignores errors, which are those of unknown peers and of connections that end.
            if let Ok((stream, node)) = answered.await {
                let _ = session::receive_leases(&shared, &node, stream).await;
            }
            drop(guest.slot);
        }
    };
    // A node that cannot connect reports that itself.
    listen(PORT, known, ROOMS, |_| {}, serve).await;
}

#[cfg(test)]
mod tests;
