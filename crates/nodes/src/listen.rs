//! Listens for connections of other nodes within limits, and authenticates and greets the nodes
//! that connect. The caller serves the connections.

use crate::places::TrustedNodesReceiver;
use crate::{NodeConnectionError, NodeProtocol, RevocableSocket, within};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_rustls::{TlsAcceptor, server};
use wire::{TrustedNodes, is_mine, unspecified};

const LOOK: Duration = Duration::from_millis(500);
/// Pause of a listener after a connection could not be accepted.
const REST: Duration = Duration::from_millis(50);

/// A connection of another node, after the greetings.
pub type AcceptedConnection = server::TlsStream<RevocableSocket>;

/// Maximum numbers of simultaneous connections.
#[derive(Clone, Copy, Debug)]
pub struct NodeConnectionLimits {
    pub nodes: usize,
    pub strangers: usize,
}

/// A client that has connected. Dropping its slot frees it for another one.
#[derive(Debug)]
pub struct ConnectedClient {
    /// The connection, not yet authenticated.
    pub stream: TcpStream,
    /// The cluster's latest description of its nodes.
    pub trusted: Arc<TrustedNodes>,
    pub slot: OwnedSemaphorePermit,
}

/// Listens on the address at which the cluster reaches this node, and serves the accepted
/// connections, until this node belongs to no cluster. A connection for which no slot is free is
/// closed. `trouble` receives the reason why the node cannot listen now; `None` when it listens.
pub async fn listen<S>(
    port: u16,
    known: &TrustedNodesReceiver,
    rooms: NodeConnectionLimits,
    trouble: impl Fn(Option<String>),
    serve: impl Fn(ConnectedClient) -> S,
) where
    S: Future<Output = ()> + Send + 'static,
{
    let nodes = Arc::new(Semaphore::new(rooms.nodes));
    let strangers = Arc::new(Semaphore::new(rooms.strangers));
    let mut tasks = JoinSet::new();
    loop {
        let now = known.borrow().clone();
        let Some(now) = now else {
            return;
        };
        // Retries, because the address may not be configured yet, or still be in use by a role that
        // is ending.
        let listener = match bind(&now, port).await {
            Ok(listener) => listener,
            Err(error) => {
                let why = language::reason(&error);
                trouble(Some(format!("cannot listen at port {port}: {why}")));
                tokio::time::sleep(LOOK).await;
                continue;
            }
        };
        trouble(None);
        loop {
            let Ok((stream, from)) = listener.accept().await else {
                tokio::time::sleep(REST).await;
                continue;
            };
            while tasks.try_join_next().is_some() {}
            let now = known.borrow().clone();
            let Some(trusted) = now else {
                return;
            };
            let room = if is_of_a_node(&trusted, from.ip()) {
                &nodes
            } else {
                &strangers
            };
            if let Ok(place) = Arc::clone(room).try_acquire_owned() {
                tasks.spawn(serve(ConnectedClient {
                    stream,
                    trusted,
                    slot: place,
                }));
            }
        }
    }
}

fn is_of_a_node(trusted: &TrustedNodes, from: IpAddr) -> bool {
    let from = from.to_canonical();
    let mut all = trusted.addresses.values().flatten();
    all.any(|address| *address == from)
}

async fn bind(trusted: &TrustedNodes, port: u16) -> io::Result<TcpListener> {
    let own = trusted.addresses_of(&trusted.me);
    let Some(first) = own.first() else {
        return Err(io::ErrorKind::AddrNotAvailable.into());
    };
    // Accepts loopback addresses, which tests use and which are not the source of any route.
    let mut mine = own.iter();
    let mine = mine.find(|one: &&IpAddr| one.is_loopback() || is_mine(**one));
    let at = SocketAddr::new(*mine.unwrap_or(&unspecified(*first)), port);
    TcpListener::bind(at).await
}

/// Accepts a connection of a node that `may` permits. Also returns the node's name. An error
/// includes the name if it is known.
///
/// # Errors
/// The node is not permitted, or does not speak this protocol.
pub async fn accept_node(
    protocol: &NodeProtocol,
    trusted: &TrustedNodes,
    stream: TcpStream,
    may: impl Fn(&str) -> bool,
) -> Result<(AcceptedConnection, String), (Option<String>, NodeConnectionError)> {
    let acceptor = TlsAcceptor::from(Arc::clone(&trusted.server));
    let accepted = within(async {
        stream.set_nodelay(true)?;
        acceptor.accept(RevocableSocket::new(stream)).await
    });
    let mut stream = accepted.await.map_err(|broken| (None, broken))?;
    let (socket, tls) = stream.get_mut();
    let from = socket.admit(trusted, tls.peer_certificates());
    let from = from.filter(|from| *from != trusted.me && may(from));
    let from = from.ok_or((None, NodeConnectionError::Foreign(protocol.subject)))?;
    match protocol.exchange_greetings(&mut stream).await {
        Ok(()) => Ok((stream, from)),
        Err(broken) => Err((Some(from), broken)),
    }
}
