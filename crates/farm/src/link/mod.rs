//! The link to the farm roles of the other nodes: TLS 1.3 with the certificates of the cluster on both
//! sides. Of two nodes the one whose name is the lesser dials. The link carries what the directories
//! say, and finds out when a node is gone; it decides nothing.

mod frame;
mod session;

pub use crate::config::LINK_PORT as PORT;
pub use frame::{Broken, Frame, decode};

use crate::site::{Bell, Site};
use frame::PROTOCOL;
use nodes::{Answered, Guest, Known, Pause, Places, Rooms, answer, dial, listen};
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
use wire::Trusted;

/// How often what is due is looked for.
const TICK: Duration = Duration::from_millis(50);
/// Handshakes at one time.
const HANDSHAKES: Rooms = Rooms {
    nodes: 16,
    strangers: 8,
};
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
        let before = self.trusted.borrow().clone();
        let trusted = trusted.after(before.as_deref());
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
async fn run(mut known: Known, shared: Arc<Shared>) {
    let mut places = Places::default();
    let mut tasks = JoinSet::new();
    while let Some(now) = places.next(&mut known).await {
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
            let (known, shared) = (known.clone(), Arc::clone(&shared));
            tasks.spawn(async move { dials(&known, &node, &shared).await });
        }
        let (known, shared) = (known.clone(), Arc::clone(&shared));
        tasks.spawn(async move { listens(&known, &shared).await });
    }
}

/// Dials a node again and again.
async fn dials(known: &Known, node: &str, shared: &Shared) {
    let mut pause = Pause::default();
    loop {
        let now = known.borrow().clone();
        let Some(now) = now else {
            return;
        };
        let turn = shared.turn(node);
        let own = turn.lock().await;
        let broken = match dial(&PROTOCOL, &now, node).await {
            Ok(stream) => {
                pause.connected();
                lock(&shared.cut).remove(node);
                session::run(shared, node, stream).await
            }
            Err(broken) => broken.into(),
        };
        // Before the next connection has its turn.
        tell(shared, node, &broken);
        drop(own);
        pause.after(broken.of_link()).await;
    }
}

/// Tells all farms why there is no connection.
fn tell(shared: &Shared, node: &str, broken: &Broken) {
    let why = broken.to_string();
    for site in shared.all() {
        match broken {
            Broken::Link {
                link: nodes::Broken::Version { .. } | nodes::Broken::Foreign(_),
            }
            | Broken::Left => site.left(node, &why),
            Broken::Link { .. } | Broken::Cut(_) => site.broke(node, &why),
        }
    }
}

/// Listens where the cluster reaches this node.
async fn listens(known: &Known, shared: &Arc<Shared>) {
    let trouble = |why: Option<String>| *lock(&shared.trouble) = why.unwrap_or_default();
    let serves = |guest: Guest| {
        let shared = Arc::clone(shared);
        async move {
            let me = guest.trusted.me.clone();
            // The lesser name dials.
            let may = |from: &str| from < me.as_str();
            let answered = answer(&PROTOCOL, &guest.trusted, guest.stream, may).await;
            drop(guest.place);
            match answered {
                Ok((stream, node)) => serve(&shared, &node, stream).await,
                // Strangers, and connections that end.
                Err((None, _)) => {}
                Err((Some(node), broken)) => tell(&shared, &node, &broken.into()),
            }
        }
    };
    listen(PORT, known, HANDSHAKES, trouble, serves).await;
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
