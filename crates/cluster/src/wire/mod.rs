//! Connects the members of a cluster and carries requests between them: mutual TLS, over TCP or
//! through one other member.
//!
//! Every member dials every other one, directly and through third members, and keeps all these
//! connections open. Both sides may send requests on each of them. Frames multiplex many requests,
//! small ones before pieces of large ones. A request without a prompt response is sent again on
//! another route, and is still handled once. So a silently cut cable costs some tens of
//! milliseconds, and no election.
//!
//! - [`frame`] and [`outbox`] encode and queue messages, without IO.
//! - `link` is one connection, `peer` those to one member, `call` a request.
//! - `dial`, `accept` and `tunnel` make connections; [`join`] is for machines with a token.
//!
//! This module does not interpret the requests. Everything that a stranger or a member can make
//! this process hold has a bound.

mod accept;
mod call;
mod counters;
mod dial;
mod failure;
mod frame;
mod greeting;
pub mod join;
mod link;
mod network;
mod outbox;
mod path;
mod peer;
mod places;
mod recent;
mod renewal;
mod runs;
mod service;
mod shared;
#[cfg(test)]
pub(crate) mod simulated;
mod tasks;
mod tunnel;

#[cfg(test)]
mod tests;

pub use failure::CallError;
pub use frame::MESSAGE_BYTES_MAX;
pub use network::{ConnectionFactory, Tcp};
pub use path::{Connection, Event, Loss, Path, PathKind};
pub use renewal::RenewalError;
pub use service::{Handler, Service, Signer};

use crate::authority::{AuthorityError, MemberIdentity, MemberKey, Trust};
use crate::log::{MemberSignature, SigningError};
use crate::member::MemberId;
use crate::raft::transport::{self, MemberTransport};
use shared::WireState;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;

pub const PORT: u16 = 7443;
pub const LISTEN_MAX: usize = 16;

/// Binding of a TLS connection, known only to its two ends (exported keying material).
/// A proof that contains it is useless on another connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Binding(pub [u8; 32]);

/// Intervals and timeouts of connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    pub ping: Duration,
    /// Time after which an unanswered request is sent again; three round trips if that is longer.
    pub again: Duration,
    /// Silence after which a member counts as down.
    pub silent: Duration,
    /// Silence after which a connection is closed.
    pub close: Duration,
    pub dial: Duration,
    /// Timeout for TLS, and for the hello after it.
    pub handshake: Duration,
    /// Pause after the first failure to connect; doubled after each further one, up to
    /// `backoff_max`.
    pub backoff_min: Duration,
    pub backoff_max: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            ping: Duration::from_millis(200),
            again: Duration::from_millis(25),
            silent: Duration::from_secs(1),
            close: Duration::from_secs(4),
            dial: Duration::from_secs(1),
            handshake: Duration::from_secs(3),
            backoff_min: Duration::from_millis(20),
            backoff_max: Duration::from_secs(1),
        }
    }
}

/// Reason why the wire did not start, or refuses its input.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("{0} listening addresses; the maximum is {LISTEN_MAX}")]
    TooManyAddresses(usize),
    #[error("{0}")]
    Authority(#[from] AuthorityError),
    #[error("the connections of this member are already open")]
    Started,
}

/// The connections of this member to all others, and the requests on them. Clones share them.
pub struct MemberWire<N: ConnectionFactory> {
    shared: Arc<WireState<N>>,
}

impl<N: ConnectionFactory> Clone for MemberWire<N> {
    fn clone(&self) -> Self {
        MemberWire {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<N: ConnectionFactory> fmt::Debug for MemberWire<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wire(of member {})", self.shared.me())
    }
}

impl<N: ConnectionFactory> MemberWire<N> {
    /// Creates a wire that has no connections yet: calls find no route. The handler may need the
    /// wire, so the wire exists before [`MemberWire::serve`].
    ///
    /// # Errors
    /// As [`TlsConfigs::new`](crate::authority::TlsConfigs::new).
    pub fn new(
        identity: Arc<MemberIdentity>,
        trust: Trust,
        timing: Timing,
        network: N,
    ) -> Result<MemberWire<N>, WireError> {
        let shared = Arc::new(WireState::new(identity, trust, timing, network)?);
        Ok(MemberWire { shared })
    }

    /// Listens and dials from now on; requests go to the handler. Must be called once, on
    /// the Tokio runtime that runs the wire. Returns the listening addresses.
    ///
    /// # Errors
    /// Fails with [`WireError::TooManyAddresses`] above [`LISTEN_MAX`], and with
    /// [`WireError::Started`] if the wire was started before. An address on which this member
    /// cannot listen is no error: see [`MemberWire::unbound`].
    pub async fn serve<H: Handler>(
        &self,
        listen: &[SocketAddr],
        handler: H,
    ) -> Result<Vec<SocketAddr>, WireError> {
        self.shared.serve(listen, handler).await
    }

    /// Returns the addresses on which this member cannot listen, each with the reason. They are
    /// tried again.
    pub fn unbound(&self) -> BTreeMap<SocketAddr, String> {
        self.shared.unbound()
    }

    /// Sets the trusted members and CAs. Connections to other members are closed, with the reason.
    ///
    /// # Errors
    /// As [`MemberWire::new`]. The former members and CAs stay trusted then.
    pub fn set_trust(&self, trust: Trust) -> Result<(), WireError> {
        self.shared.set_trust(trust)
    }

    pub fn identity(&self) -> Arc<MemberIdentity> {
        self.shared.identity()
    }

    /// Sets the identity that this member presents on new connections.
    ///
    /// # Errors
    /// As [`MemberWire::new`]. The former identity stays then.
    pub fn set_identity(&self, identity: Arc<MemberIdentity>) -> Result<(), WireError> {
        self.shared.set_identity(identity)
    }

    /// Gets a new certificate for this key, signed locally or by a node. The certificate is not
    /// presented before [`MemberWire::set_identity`]. If the key is new, the caller must then
    /// announce it to the cluster (`command::CommandBody::Announce`). The wire renews an expiring
    /// certificate by itself, with the same key, and reports that ([`Event::Renewed`]).
    ///
    /// # Errors
    /// - [`RenewalError::NoNode`]: the CA key is not here, and no node is reachable.
    /// - [`RenewalError::Denied`]: a node refused, or sent an invalid response.
    /// - [`RenewalError::Authority`]: the request or the certificate cannot be created, or is
    ///   invalid.
    pub async fn renew(&self, key: MemberKey) -> Result<MemberIdentity, RenewalError> {
        self.shared.renew(key).await
    }

    /// Sends a request to a member, and waits for the response at most `limit`. A process that
    /// restarted meanwhile may handle requests to [`Service::Raft`] and [`Service::Gossip`] a
    /// second time, but no others.
    ///
    /// # Errors
    /// Every variant of [`CallError`] can occur.
    pub async fn call(
        &self,
        to: MemberId,
        service: Service,
        bytes: Vec<u8>,
        limit: Duration,
    ) -> Result<Vec<u8>, CallError> {
        self.shared.call(to, service, bytes, limit).await
    }

    pub fn paths(&self) -> Vec<Path> {
        self.shared.paths()
    }

    /// Subscribes to events. A slow subscriber misses some, and receives an error for that.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.shared.events()
    }

    #[cfg(test)]
    fn counted(&self, of: fn(&counters::WireCounters) -> &std::sync::atomic::AtomicU64) -> u64 {
        of(&self.shared.counters).load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Closes all connections, and opens none afterwards. A wire that serves ends only with this
    /// call or with its runtime.
    pub fn stop(&self) {
        self.shared.stop();
    }
}

impl<N: ConnectionFactory> crate::log::Signer for MemberWire<N> {
    /// Signs with the key that this member presents now: `cluster rotate` replaces it.
    fn sign(&self, bytes: &[u8]) -> Result<MemberSignature, SigningError> {
        self.identity().sign(bytes)
    }
}

impl<N: ConnectionFactory> MemberTransport for MemberWire<N> {
    async fn call(
        &self,
        to: MemberId,
        bytes: Vec<u8>,
        limit: Duration,
    ) -> Result<Vec<u8>, transport::CallError> {
        let answer = self.shared.call(to, Service::Raft, bytes, limit).await;
        answer.map_err(Into::into)
    }
}
