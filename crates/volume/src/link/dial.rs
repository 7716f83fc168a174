//! Establishes the connections over which two nodes replicate their volumes. One thread listens for
//! all volumes of the role. For each volume, the node whose name sorts first dials, on a thread of
//! its own. Both block, with deadlines, and pass the connections to the volume's thread.

use super::PORT;
use super::greeting::{CopyGreeting, Greeting, GreetingError, Opening};
use part::lock;
use rustix::event::{PollFd, PollFlags, poll};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use wire::{
    GreetingConnection, HandshakeError, NodeConnection, TimedStream, TrustedNodes, is_closed,
    is_mine, unspecified,
};

const PATIENCE: Duration = Duration::from_secs(2);
/// Delay after the first failure to connect. Each further failure doubles the delay up to the
/// maximum.
const AGAIN_MIN: Duration = Duration::from_millis(50);
const AGAIN_MAX: Duration = Duration::from_secs(1);
/// Limit of connections from unknown addresses that have not sent a greeting.
const STRANGERS_MAX: usize = 16;
/// Limit of connections from node addresses that have not sent a greeting. Unknown addresses
/// cannot use these slots.
const KNOWN_MAX: usize = 32;
/// Interval of attempts to listen at an address that does not exist yet.
const LOOK: Duration = Duration::from_millis(500);

/// Replication link of the two nodes: addresses, port and encryption.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReplicationLink {
    /// Addresses of both ends. Each machine recognises its own end by its own addresses. None: the
    /// addresses at which the cluster reaches the nodes.
    pub ends: Option<[IpAddr; 2]>,
    pub port: u16,
    pub is_plain: bool,
}

impl fmt::Display for ReplicationLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ends {
            Some([one, other]) => write!(f, "{one} - {other} port {}", self.port)?,
            None => write!(f, "by the addresses of the nodes, port {}", self.port)?,
        }
        f.write_str(if self.is_plain { ", plain" } else { "" })
    }
}

impl Default for ReplicationLink {
    /// Returns the link to use without a configuration: the cluster's addresses, the default port
    /// and TLS.
    fn default() -> ReplicationLink {
        ReplicationLink {
            ends: None,
            port: PORT,
            is_plain: false,
        }
    }
}

impl ReplicationLink {
    /// Returns whether an address belongs to a node: it is an end of the link, or the cluster
    /// reaches a node there. Behind NAT, a node has none of these addresses.
    fn is_node_address(&self, address: IpAddr, trusted: Option<&TrustedNodes>) -> bool {
        let address = address.to_canonical();
        let is_end = self.ends.is_some_and(|ends| ends.contains(&address));
        let mut reached = trusted
            .iter()
            .flat_map(|one| one.addresses.values().flatten());
        is_end || reached.any(|one| *one == address)
    }

    /// Returns whether a connection without TLS is accepted from an address. Without a certificate
    /// only the address identifies the other end. If the link has no ends, the address has to be
    /// known.
    fn may_be_plain(&self, from: IpAddr, is_known: bool) -> bool {
        self.is_plain
            && match self.ends.map(sides) {
                Some(Ok((_, other))) => other == from.to_canonical(),
                Some(Err(_)) => false,
                None => is_known,
            }
    }

    /// Returns whether the listener of this link also listens at the addresses at which other nodes
    /// reach this one. A second listener must not be opened there: its bind would fail.
    pub(crate) fn covers(&self, port: u16, reached: &[IpAddr]) -> bool {
        let is_own_end = |ends: [IpAddr; 2]| {
            // Counts as covered behind NAT, where a second listener would use all addresses of this
            // node.
            let is_translated = !reached.iter().any(|address| is_mine(*address));
            is_translated || reached.iter().any(|address| ends.contains(address))
        };
        self.port == port && self.ends.is_none_or(is_own_end)
    }

    /// Returns the local listening address.
    ///
    /// # Errors
    /// This node has no end of the link, or the cluster has not reported the node's addresses.
    fn own(&self, trusted: Option<&TrustedNodes>) -> Result<IpAddr, LinkFailure> {
        if let Some(ends) = self.ends {
            return Ok(sides(ends)?.0);
        }
        let trusted = trusted.ok_or(LinkFailure::NoCertificate)?;
        let known = trusted.addresses_of(&trusted.me);
        let first = known
            .first()
            .ok_or_else(|| LinkFailure::Unknown(trusted.me.clone()))?;
        let mine = known.iter().find(|address| is_mine(**address));
        // Uses all addresses behind NAT: this node does not have the one at which others reach it.
        Ok(*mine.unwrap_or(&unspecified(*first)))
    }

    /// Returns the addresses of the other node, the preferred one first.
    ///
    /// # Errors
    /// This node has no end of the link, or the cluster has not reported the other node's
    /// addresses.
    fn peer_addresses(
        &self,
        other: &str,
        trusted: Option<&TrustedNodes>,
    ) -> Result<Vec<IpAddr>, LinkFailure> {
        if let Some(ends) = self.ends {
            return Ok(vec![sides(ends)?.1]);
        }
        let trusted = trusted.ok_or(LinkFailure::NoCertificate)?;
        match trusted.addresses_of(other) {
            [] => Err(LinkFailure::Unknown(other.to_owned())),
            known => Ok(known.to_vec()),
        }
    }
}

fn sides(ends: [IpAddr; 2]) -> Result<(IpAddr, IpAddr), LinkFailure> {
    let [one, other] = ends;
    match (is_mine(one), is_mine(other)) {
        (true, false) => Ok((one, other)),
        (false, true) => Ok((other, one)),
        (false, false) => Err(LinkFailure::NoAddress(ends)),
        (true, true) => Err(LinkFailure::BothAddresses(ends)),
    }
}

/// Reason why a volume has no replication connection.
#[derive(Debug, thiserror::Error)]
pub enum LinkFailure {
    #[error("neither {} nor {} is an address of this machine: check `link`", .0[0], .0[1])]
    NoAddress([IpAddr; 2]),
    #[error("{} and {} are both addresses of this machine: check `link`", .0[0], .0[1])]
    BothAddresses([IpAddr; 2]),
    #[error(
        "this node has no certificate of the cluster for it yet: the control role sends it every few seconds. If this \
         remains, the log of this node says why"
    )]
    NoCertificate,
    #[error("the cluster has no node '{0}': check `on`")]
    Unknown(String),
    #[error("cannot listen at {0}: {1}")]
    Listen(SocketAddr, io::Error),
    #[error("cannot connect to {0}: {1}")]
    Connect(SocketAddr, io::Error),
    #[error("{0}: {1}")]
    Greeting(SocketAddr, GreetingError),
}

/// Receiver of a volume's replication connections.
pub trait Receiver: Send + Sync {
    fn greeting(&self) -> Greeting;

    /// Accepts a non-blocking connection after both greetings.
    fn connected(&self, wire: NodeConnection, theirs: Greeting);

    fn not_connected(&self, why: String);
}

/// Receiver of connections on which a node writes a whole volume.
pub trait CopyReceiver: Send + Sync {
    /// Accepts a connection with TLS and a certificate of the node that sent the greeting.
    fn begin(self: Arc<Self>, wire: NodeConnection, theirs: CopyGreeting);
}

/// Volumes that accept connections, by name.
#[derive(Default)]
pub struct Registry {
    receivers: Mutex<HashMap<String, Arc<dyn Receiver>>>,
    strangers: Arc<AtomicUsize>,
    known: Arc<AtomicUsize>,
    trouble: Mutex<Option<String>>,
    trusted: Mutex<Option<Arc<TrustedNodes>>>,
    copies: Mutex<Option<Arc<dyn CopyReceiver>>>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Registry({} volumes)", lock(&self.receivers).len())
    }
}

impl Registry {
    pub fn add(&self, name: &str, receiver: Arc<dyn Receiver>) {
        lock(&self.receivers).insert(name.to_owned(), receiver);
    }

    /// Removes a volume. Connections for it are refused from now on.
    pub fn remove(&self, name: &str) {
        lock(&self.receivers).remove(name);
    }

    pub fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    /// Sets the cluster's nodes and certificates for subsequent connections.
    pub fn trust(&self, trusted: Arc<TrustedNodes>) {
        *lock(&self.trusted) = Some(trusted);
    }

    pub fn allow_copies(&self, receiver: Arc<dyn CopyReceiver>) {
        *lock(&self.copies) = Some(receiver);
    }

    /// Returns the cluster's nodes and certificates. None until the cluster sent them.
    pub fn trusted(&self) -> Option<Arc<TrustedNodes>> {
        lock(&self.trusted).clone()
    }

    fn place(&self, is_known: bool) -> Option<ConnectionSlot> {
        let (places, most) = if is_known {
            (&self.known, KNOWN_MAX)
        } else {
            (&self.strangers, STRANGERS_MAX)
        };
        let before = places.fetch_add(1, Ordering::Relaxed);
        let place = ConnectionSlot(Arc::clone(places));
        (before < most).then_some(place)
    }

    fn all(&self) -> Vec<Arc<dyn Receiver>> {
        lock(&self.receivers).values().cloned().collect()
    }

    fn find(&self, name: &str) -> Option<Arc<dyn Receiver>> {
        lock(&self.receivers).get(name).cloned()
    }
}

/// Slot of a connection. Dropping it frees the slot.
struct ConnectionSlot(Arc<AtomicUsize>);

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Listens at the local end of the link until `stop` is readable.
pub fn listen(cable: &ReplicationLink, registry: &Arc<Registry>, stop: BorrowedFd<'_>) {
    loop {
        let bound = cable.own(registry.trusted().as_deref()).and_then(|own| {
            let at = SocketAddr::new(own, cable.port);
            TcpListener::bind(at).map_err(|error| LinkFailure::Listen(at, error))
        });
        let listener = match bound {
            Ok(listener) => listener,
            Err(trouble) => {
                *lock(&registry.trouble) = Some(trouble.to_string());
                if waits(stop, None, Some(LOOK)) == WakeReason::Stop {
                    return;
                }
                continue;
            }
        };
        *lock(&registry.trouble) = None;
        // Never blocks in accept, although a client may reset its connection early.
        let _ = listener.set_nonblocking(true);
        loop {
            match waits(stop, Some(listener.as_fd()), None) {
                WakeReason::Stop => return,
                WakeReason::Time => continue,
                WakeReason::Ready => {}
            }
            match listener.accept() {
                Ok((socket, from)) => receive(socket, from, cable, registry),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Retries later: no file descriptor or no memory is available.
                Err(_) => _ = waits(stop, None, Some(AGAIN_MIN)),
            }
        }
    }
}

#[derive(PartialEq, Eq)]
enum WakeReason {
    Stop,
    Ready,
    Time,
}

fn waits(
    stop: BorrowedFd<'_>,
    other: Option<BorrowedFd<'_>>,
    limit: Option<Duration>,
) -> WakeReason {
    let mut watched = vec![PollFd::from_borrowed_fd(stop, PollFlags::IN)];
    watched.extend(other.map(|other| PollFd::from_borrowed_fd(other, PollFlags::IN)));
    let limit = limit.and_then(|limit| rustix::time::Timespec::try_from(limit).ok());
    // Ignores errors: the caller checks everything again after any wake-up.
    let _ = poll(&mut watched, limit.as_ref());
    match &watched[..] {
        [stop, ..] if !stop.revents().is_empty() => WakeReason::Stop,
        [_, other] if !other.revents().is_empty() => WakeReason::Ready,
        _ => WakeReason::Time,
    }
}

fn receive(socket: TcpStream, from: SocketAddr, cable: &ReplicationLink, registry: &Arc<Registry>) {
    let is_known = cable.is_node_address(from.ip(), registry.trusted().as_deref());
    let Some(place) = registry.place(is_known) else {
        return;
    };
    let own = Arc::clone(registry);
    let is_plain = cable.is_plain;
    let may_be_plain = cable.may_be_plain(from.ip(), is_known);
    let builder = std::thread::Builder::new().name("volume/greeting".to_owned());
    // Ignores a failure: without a thread, the connection closes and its slot is freed here.
    let _ = builder.spawn(move || {
        let _place = place;
        match welcome(socket, is_plain, may_be_plain, &own) {
            // Ignores the connection: a port scan sends no greeting.
            Ok(()) | Err((None, GreetingError::Io(_))) => {}
            // Ignores errors of unknown addresses: they do not explain why a node is not
            // connected.
            Err((None, _)) if !is_known => {}
            Err((receiver, error)) => {
                // Reports the reason to all volumes if the connection was refused before its volume
                // was known.
                let all = receiver.map_or_else(|| own.all(), |one| vec![one]);
                let why = LinkFailure::Greeting(from, error).to_string();
                all.iter().for_each(|one| one.not_connected(why.clone()));
            }
        }
    });
}

type RefusedGreeting = (Option<Arc<dyn Receiver>>, GreetingError);

fn welcome(
    socket: TcpStream,
    links_are_plain: bool,
    may_be_plain: bool,
    registry: &Registry,
) -> Result<(), RefusedGreeting> {
    let nobody = |error: GreetingError| (None, error);
    socket
        .set_nonblocking(false)
        .map_err(|error| nobody(error.into()))?;
    let timed = TimedStream::new(socket, PATIENCE);
    // Reads the first bytes even if links are plain: copies of whole volumes need TLS.
    let is_plain = links_are_plain && !timed.begins_tls().map_err(|error| nobody(error.into()))?;
    if is_plain && !may_be_plain {
        return Ok(());
    }
    let (mut young, node) = match (is_plain, registry.trusted()) {
        (true, _) => (GreetingConnection::plain(timed), None),
        (false, Some(trusted)) => {
            let (young, node) = GreetingConnection::answer(timed, &trusted)
                .map_err(|error| nobody(error.into()))?;
            (young, Some(node))
        }
        // Closes the connection until this node has a certificate. The other node sees the close
        // and tries again.
        (false, None) => return Ok(()),
    };
    let theirs = match Opening::read(&mut young).map_err(nobody)? {
        Opening::Link(_) if is_plain != links_are_plain => {
            return Err(nobody(GreetingError::UsesTls));
        }
        Opening::Link(theirs) => theirs,
        Opening::Copy(theirs) => return copies(young, node, theirs, registry).map_err(nobody),
    };
    // Closes the connection if the volume is not registered. The other node tries again later.
    let Some(receiver) = registry.find(&theirs.volume) else {
        return Ok(());
    };
    let ours = receiver.greeting();
    let of = |error: GreetingError| (Some(Arc::clone(&receiver)), error);
    is_named(&theirs.from, node).map_err(of)?;
    let young = admitted(young, is_plain, &theirs.from, registry.trusted().as_deref());
    let mut young = young.map_err(of)?;
    ours.write(&mut young).map_err(|error| of(error.into()))?;
    ours.fits(&theirs).map_err(of)?;
    let wire = young.into_connection().map_err(|error| of(error.into()))?;
    receiver.connected(wire, theirs);
    Ok(())
}

/// Checks that the cluster still has the node of a link without TLS, which authenticates the node
/// by its name only.
fn admitted(
    young: GreetingConnection,
    is_plain: bool,
    node: &str,
    trusted: Option<&TrustedNodes>,
) -> Result<GreetingConnection, GreetingError> {
    match trusted.filter(|_| is_plain) {
        Some(trusted) => Ok(young.admit_by_name(node, trusted)?),
        None => Ok(young),
    }
}

/// Passes the connection of a node that writes a whole volume to the receiver of such copies.
/// Refuses a connection without TLS.
fn copies(
    young: GreetingConnection,
    node: Option<String>,
    theirs: CopyGreeting,
    registry: &Registry,
) -> Result<(), GreetingError> {
    let (Some(node), Some(trusted)) = (node, registry.trusted()) else {
        return Ok(());
    };
    is_named(&theirs.from, Some(node))?;
    let receiver = lock(&registry.copies).clone();
    if let Some(receiver) = receiver.filter(|_| theirs.to == trusted.me) {
        receiver.begin(young.into_connection()?, theirs);
    }
    Ok(())
}

/// Connects to the volume role of another node to write a whole volume there.
///
/// # Errors
/// The cluster does not have the node, or the node cannot be reached.
pub fn dial_copy(
    port: u16,
    trusted: &TrustedNodes,
    ours: &CopyGreeting,
) -> Result<NodeConnection, LinkFailure> {
    let mut last = Err(LinkFailure::Unknown(ours.to.clone()));
    for address in trusted.addresses_of(&ours.to) {
        let at = SocketAddr::new(*address, port);
        last = dial_copy_at(at, trusted, ours);
        if last.is_ok() {
            break;
        }
    }
    last
}

fn dial_copy_at(
    at: SocketAddr,
    trusted: &TrustedNodes,
    ours: &CopyGreeting,
) -> Result<NodeConnection, LinkFailure> {
    let failed = |error: io::Error| LinkFailure::Connect(at, error);
    let unwelcome = |error: GreetingError| LinkFailure::Greeting(at, error);
    let stranger = |error: HandshakeError| unwelcome(error.into());
    let socket = TcpStream::connect_timeout(&at, PATIENCE).map_err(failed)?;
    let timed = TimedStream::new(socket, PATIENCE);
    let (mut young, is) = GreetingConnection::dial(timed, trusted).map_err(stranger)?;
    is_named(&ours.to, Some(is)).map_err(unwelcome)?;
    ours.write(&mut young).map_err(failed)?;
    young.into_connection().map_err(failed)
}

fn is_named(says: &str, node: Option<String>) -> Result<(), GreetingError> {
    match node {
        Some(is) if is != says => Err(GreetingError::OtherCertificate {
            says: says.to_owned(),
            is,
        }),
        _ => Ok(()),
    }
}

/// Dials the other node for one volume on request.
#[derive(Debug, Default)]
pub struct Dialer {
    state: Mutex<DialRequest>,
    changed: Condvar,
}

#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
enum DialRequest {
    #[default]
    Nothing,
    Connection,
    End,
}

impl Dialer {
    pub fn dial(&self) {
        self.wish(DialRequest::Connection);
    }

    pub fn end(&self) {
        self.wish(DialRequest::End);
    }

    fn wish(&self, wish: DialRequest) {
        *lock(&self.state) = wish;
        self.changed.notify_all();
    }

    fn is_ending(&self) -> bool {
        *lock(&self.state) == DialRequest::End
    }

    fn wait_while(&self, wish: DialRequest, limit: Option<Duration>) -> DialRequest {
        let state = lock(&self.state);
        let same = |state: &mut DialRequest| *state == wish;
        match limit {
            Some(limit) => {
                let waited = self.changed.wait_timeout_while(state, limit, same);
                *waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => {
                let waited = self.changed.wait_while(state, same);
                *waited.unwrap_or_else(PoisonError::into_inner)
            }
        }
    }

    pub fn run_dialer(
        &self,
        cable: &ReplicationLink,
        registry: &Registry,
        receiver: &dyn Receiver,
    ) {
        let mut pause = AGAIN_MIN;
        while !self.is_ending() {
            if self.wait_while(DialRequest::Nothing, None) != DialRequest::Connection {
                continue;
            }
            match connect(cable, registry.trusted().as_deref(), &receiver.greeting()) {
                Ok((wire, theirs)) => {
                    let mut state = lock(&self.state);
                    if *state == DialRequest::Connection {
                        *state = DialRequest::Nothing;
                    }
                    drop(state);
                    pause = AGAIN_MIN;
                    receiver.connected(wire, theirs);
                }
                Err(trouble) => {
                    receiver.not_connected(trouble.to_string());
                    self.wait_while(DialRequest::Connection, Some(pause));
                    pause = (pause * 2).min(AGAIN_MAX);
                }
            }
        }
    }
}

fn connect(
    cable: &ReplicationLink,
    trusted: Option<&TrustedNodes>,
    ours: &Greeting,
) -> Result<(NodeConnection, Greeting), LinkFailure> {
    let mut last = Err(LinkFailure::Unknown(ours.to.clone()));
    for other in cable.peer_addresses(&ours.to, trusted)? {
        let at = SocketAddr::new(other, cable.port);
        last = connect_to(at, cable.is_plain, trusted, ours);
        if last.is_ok() {
            break;
        }
    }
    last
}

fn connect_to(
    at: SocketAddr,
    is_plain: bool,
    trusted: Option<&TrustedNodes>,
    ours: &Greeting,
) -> Result<(NodeConnection, Greeting), LinkFailure> {
    let failed = |error: io::Error| LinkFailure::Connect(at, error);
    let unwelcome = |error: GreetingError| LinkFailure::Greeting(at, error);
    let stranger = |error: HandshakeError| unwelcome(error.into());
    let socket = TcpStream::connect_timeout(&at, PATIENCE).map_err(failed)?;
    let timed = TimedStream::new(socket, PATIENCE);
    let (mut young, node) = match (is_plain, trusted) {
        (true, _) => (GreetingConnection::plain(timed), None),
        (false, Some(trusted)) => {
            let (young, node) = GreetingConnection::dial(timed, trusted).map_err(stranger)?;
            (young, Some(node))
        }
        (false, None) => return Err(LinkFailure::NoCertificate),
    };
    ours.write(&mut young).map_err(failed)?;
    let theirs = Greeting::read(&mut young).map_err(|error| match error {
        // Names the volume if the other node closed the connection instead of sending a greeting.
        GreetingError::Io(error) if is_closed(&error) => unwelcome(GreetingError::Closed {
            from: ours.to.clone(),
            volume: ours.volume.clone(),
        }),
        error => unwelcome(error),
    })?;
    is_named(&theirs.from, node).map_err(unwelcome)?;
    ours.fits(&theirs).map_err(unwelcome)?;
    let young = admitted(young, is_plain, &theirs.from, trusted).map_err(unwelcome)?;
    Ok((young.into_connection().map_err(failed)?, theirs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cable_between_the_addresses_of_the_cluster_covers_them() {
        let address = |last| IpAddr::from([127, 0, 0, last]);
        let cable = |ends| ReplicationLink {
            ends,
            ..ReplicationLink::default()
        };
        let translated = IpAddr::from([192, 0, 2, 1]);
        for (ends, port, reached, covers) in [
            (None, PORT, vec![address(1)], true),
            (None, PORT + 1, vec![address(1)], false),
            (Some([1, 2]), PORT, vec![address(1)], true),
            (Some([2, 1]), PORT, vec![address(3), address(1)], true),
            (Some([1, 2]), PORT + 1, vec![address(1)], false),
            (Some([2, 3]), PORT, vec![address(1)], false),
            (Some([1, 2]), PORT, vec![translated], true),
        ] {
            let cable = cable(ends.map(|ends| ends.map(address)));
            let said = cable.covers(port, &reached);
            assert_eq!(said, covers, "{cable}, {port}, {reached:?}");
        }
    }

    #[test]
    fn connection_without_tls_comes_from_the_other_end_only() {
        let address = |last| IpAddr::from([127, 0, 0, last]);
        // Only the first address belongs to this machine; TEST-NET-1 belongs to no machine.
        let ends = Some([address(1), IpAddr::from([192, 0, 2, 77])]);
        let cable = |is_plain, ends| ReplicationLink {
            ends,
            is_plain,
            ..ReplicationLink::default()
        };
        let plain = cable(true, ends);
        assert!(plain.may_be_plain([192, 0, 2, 77].into(), true));
        assert!(plain.may_be_plain("::ffff:192.0.2.77".parse().unwrap(), true));
        for from in [address(1), address(3), IpAddr::from([192, 0, 2, 78])] {
            assert!(!plain.may_be_plain(from, true), "{from}");
        }
        assert!(!cable(false, ends).may_be_plain([192, 0, 2, 77].into(), true));
        assert!(!cable(true, None).may_be_plain([192, 0, 2, 77].into(), false));
    }
}
