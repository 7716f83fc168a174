//! Connects the farm roles of the nodes: mutual TLS 1.3 with the certificates of the cluster. Of
//! two nodes, the one with the lesser name connects to the other. The link carries the messages of
//! the directories, and detects that a node is gone. It decides nothing.

mod frame;
mod session;

pub use crate::config::LINK_PORT as PORT;
pub use frame::{FarmLinkError, LinkFrame, decode};

use crate::site::{FarmState, MessageNotifier};
use frame::PROTOCOL;
use nodes::{
    AcceptedConnection, ConnectedClient, NodeChangeDetector, NodeConnectionLimits, RedialPause,
    TrustedNodesReceiver, accept_node, dial, listen,
};
use part::lock;
use session::SILENT;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use wire::TrustedNodes;

const TICK: Duration = Duration::from_millis(50);
const HANDSHAKES: NodeConnectionLimits = NodeConnectionLimits {
    nodes: 16,
    strangers: 8,
};
/// Time for which a stopping role waits until the other nodes have closed their connections.
const LEAVE: Duration = Duration::from_millis(300);

/// State that the link shares with its connections.
struct LinkState {
    sites: Mutex<BTreeMap<String, Arc<FarmState>>>,
    bell: MessageNotifier,
    nodes: Mutex<Option<BTreeSet<String>>>,
    /// Connections that have to end, with the reason.
    cut: Mutex<BTreeMap<String, String>>,
    /// Lock of each node, so that there is one connection with it at a time.
    turns: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
    leaves: AtomicBool,
    /// Error of the listening socket, because of which other nodes cannot connect.
    trouble: Mutex<String>,
}

impl LinkState {
    fn ring(&self) {
        self.bell
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    fn take_cut_reason(&self, node: &str) -> Option<String> {
        lock(&self.cut).remove(node)
    }

    fn is_leaving(&self) -> bool {
        self.leaves.load(Ordering::Acquire)
    }

    fn connection_lock(&self, node: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = lock(&self.turns);
        Arc::clone(turns.entry(node.to_owned()).or_default())
    }

    fn all(&self) -> Vec<Arc<FarmState>> {
        lock(&self.sites).values().cloned().collect()
    }
}

/// The link. Dropping it closes its connections.
pub struct NodeLink {
    shared: Arc<LinkState>,
    trusted: watch::Sender<Option<Arc<TrustedNodes>>>,
    ended: Receiver<()>,
}

impl NodeLink {
    /// Starts the link without connections; [`NodeLink::trust`] sets the other nodes.
    ///
    /// # Errors
    /// Fails if the system has no thread or descriptor left.
    pub fn start() -> io::Result<NodeLink> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(1)
            .build()?;
        let shared = Arc::new(LinkState {
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
            // Ignores an error: nobody may be waiting.
            let _ = ends.send(());
        })?;
        Ok(NodeLink {
            shared,
            trusted,
            ended,
        })
    }

    pub fn message_notifier(&self) -> MessageNotifier {
        Arc::clone(&self.shared.bell)
    }

    pub fn trust(&self, trusted: TrustedNodes) {
        let before = self.trusted.borrow().clone();
        let trusted = trusted.continue_from(before.as_deref());
        self.trusted.send_replace(Some(Arc::new(trusted)));
    }

    /// Returns the name of this node; empty until the cluster has set it.
    pub fn me(&self) -> String {
        let trusted = self.trusted.borrow();
        trusted
            .as_ref()
            .map(|one| one.me.clone())
            .unwrap_or_default()
    }

    pub fn set_sites(&self, sites: BTreeMap<String, Arc<FarmState>>) {
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

    /// Returns why other nodes cannot connect; empty if they can.
    pub fn trouble(&self) -> String {
        lock(&self.shared.trouble).clone()
    }

    /// Closes all connections, after a message which tells the other nodes not to wait for this
    /// one.
    pub fn leave(self) {
        self.shared.leaves.store(true, Ordering::Release);
        self.shared.ring();
        // Ignores a timeout: the other nodes close their connections, and this one does not wait
        // for one that does not.
        let _ = self.ended.recv_timeout(LEAVE);
    }
}

async fn ticks(shared: &LinkState) {
    loop {
        tokio::time::sleep(TICK).await;
        for site in shared.all() {
            for (node, why) in site.tick() {
                lock(&shared.cut).insert(node, why.to_owned());
                shared.ring();
            }
        }
        if shared.is_leaving() {
            // Waits until the last messages are sent.
            tokio::time::sleep(TICK).await;
            return;
        }
    }
}

async fn run(mut known: TrustedNodesReceiver, shared: Arc<LinkState>) {
    let mut places = NodeChangeDetector::default();
    let mut tasks = JoinSet::new();
    while let Some(now) = places.wait_for_change(&mut known).await {
        // Ends the connections of the old configuration.
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
            let (known, shared) = (known.clone(), Arc::clone(&shared));
            tasks.spawn(async move { dials(&known, &node, &shared).await });
        }
        let (known, shared) = (known.clone(), Arc::clone(&shared));
        tasks.spawn(async move { listens(&known, &shared).await });
    }
}

async fn dials(known: &TrustedNodesReceiver, node: &str, shared: &LinkState) {
    let mut pause = RedialPause::default();
    loop {
        let now = known.borrow().clone();
        let Some(now) = now else {
            return;
        };
        let turn = shared.connection_lock(node);
        let own = turn.lock().await;
        let broken = match dial(&PROTOCOL, &now, node).await {
            Ok(stream) => {
                pause.reset_pause();
                lock(&shared.cut).remove(node);
                session::run(shared, node, stream).await
            }
            Err(broken) => broken.into(),
        };
        // Reports the end before the lock is released, and so before the next connection can start.
        report_broken_connection(shared, node, &broken);
        drop(own);
        pause.wait_before_redial(broken.of_link()).await;
    }
}

fn report_broken_connection(shared: &LinkState, node: &str, broken: &FarmLinkError) {
    let why = broken.to_string();
    for site in shared.all() {
        match broken {
            FarmLinkError::Link {
                link:
                    nodes::NodeConnectionError::Version { .. } | nodes::NodeConnectionError::Foreign(_),
            }
            | FarmLinkError::Left => site.left(node, &why),
            FarmLinkError::Link { .. } | FarmLinkError::Cut(_) => site.broke(node, &why),
        }
    }
}

/// Listens at this node's address within the cluster.
async fn listens(known: &TrustedNodesReceiver, shared: &Arc<LinkState>) {
    let trouble = |why: Option<String>| *lock(&shared.trouble) = why.unwrap_or_default();
    let serves = |guest: ConnectedClient| {
        let shared = Arc::clone(shared);
        async move {
            let me = guest.trusted.me.clone();
            // Accepts only nodes with a lesser name, which are the ones that connect.
            let may = |from: &str| from < me.as_str();
            let answered = accept_node(&PROTOCOL, &guest.trusted, guest.stream, may).await;
            drop(guest.slot);
            match answered {
                Ok((stream, node)) => serve(&shared, &node, stream).await,
                // Ignores errors of unknown addresses, and ends of connections.
                Err((None, _)) => {}
                Err((Some(node), broken)) => {
                    report_broken_connection(&shared, &node, &broken.into())
                }
            }
        }
    };
    listen(PORT, known, HANDSHAKES, trouble, serves).await;
}

/// Runs a connection from another node. An earlier connection ends: the node has connected again.
async fn serve(shared: &LinkState, node: &str, stream: AcceptedConnection) {
    let turn = shared.connection_lock(node);
    let own = match turn.try_lock() {
        Ok(own) => own,
        Err(_) => {
            lock(&shared.cut).insert(node.to_owned(), "it reconnected".to_owned());
            shared.ring();
            match timeout(SILENT, turn.lock()).await {
                Ok(own) => own,
                Err(_) => return,
            }
        }
    };
    lock(&shared.cut).remove(node);
    let broken = session::run(shared, node, stream).await;
    // Reports the end before the lock is released, and so before the next connection can start.
    report_broken_connection(shared, node, &broken);
    drop(own);
}
