//! How members reach each other: mutual TLS, over TCP or through one other member.
//!
//! Every member dials every other one, directly and through third members, and keeps
//! all these connections warm. On each of them both sides may ask; frames carry many
//! questions at once, small ones before pieces of large ones. A question that is not
//! answered soon is asked again on another way, and is handled once all the same. So a
//! cable that is silently cut costs some tens of milliseconds, and no election.
//!
//! - [`frame`] and [`outbox`] are values: bytes and queues.
//! - `link` is one connection, `peer` those to one member, `call` a question.
//! - `dial`, `accept` and `tunnel` make connections; [`join`] is for who has a token.
//!
//! Nothing here knows what is asked. Everything that a stranger or a member can make
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
pub use network::{Network, Tcp};
pub use path::{Connection, Event, Loss, Path, PathKind};
pub use renewal::RenewalError;
pub use service::{Handler, Service, Signer};

use crate::authority::{AuthorityError, Identity, MemberKey, Trust};
use crate::log::{MemberSignature, SigningError};
use crate::member::MemberId;
use crate::raft::transport::{self, Transport};
use shared::WireState;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;

/// Default port on which members listen.
pub const PORT: u16 = 7443;
/// Addresses that one member listens at.
pub const LISTEN_MAX: usize = 16;

/// A TLS connection, as both of its ends know it and nobody else: a proof that names it
/// is of no use on another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Binding(pub [u8; 32]);

/// How long things take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// Between pings on one connection.
    pub ping: Duration,
    /// A question without an answer is asked again after so long, or after three round
    /// trips where that is more.
    pub again: Duration,
    /// A member of which nothing came for so long is down.
    pub silent: Duration,
    /// A connection on which nothing came for so long is ended.
    pub close: Duration,
    /// For TCP to connect.
    pub dial: Duration,
    /// For TLS, and for the first words after it.
    pub handshake: Duration,
    /// After the first failure to connect; doubled from then on.
    pub backoff_min: Duration,
    /// At most.
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

/// Why the wire did not start, or does not take what it is given.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// More addresses than one member listens at.
    #[error("{0} listening addresses; the maximum is {LISTEN_MAX}")]
    TooManyAddresses(usize),
    /// A key or a certificate.
    #[error("{0}")]
    Authority(#[from] AuthorityError),
    /// It was started already.
    #[error("the wire was started already")]
    Started,
}

/// The wire of a member. Clones are the same one.
pub struct Wire<N: Network> {
    shared: Arc<WireState<N>>,
}

impl<N: Network> Clone for Wire<N> {
    fn clone(&self) -> Self {
        Wire {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<N: Network> fmt::Debug for Wire<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wire(of member {})", self.shared.me())
    }
}

impl<N: Network> Wire<N> {
    /// A wire that does nothing yet: calls find no way. What answers may need it, so it
    /// is there before [`Wire::serve`].
    pub fn new(
        identity: Arc<Identity>,
        trust: Trust,
        timing: Timing,
        network: N,
    ) -> Result<Wire<N>, WireError> {
        let shared = Arc::new(WireState::new(identity, trust, timing, network)?);
        Ok(Wire { shared })
    }

    /// Listens and dials from now on; questions go to the handler. To be called on the
    /// Tokio runtime that carries it, once. Returns where it listens.
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

    /// Sets the members of the cluster. Connections to others are closed, with the
    /// reason.
    pub fn set_trust(&self, trust: Trust) -> Result<(), WireError> {
        self.shared.set_trust(trust)
    }

    /// Returns the identity that this member presents.
    pub fn identity(&self) -> Arc<Identity> {
        self.shared.identity()
    }

    /// Sets the identity that this member presents on new connections.
    pub fn set_identity(&self, identity: Arc<Identity>) -> Result<(), WireError> {
        self.shared.set_identity(identity)
    }

    /// A new certificate for this key, signed here or by a node that is asked. It is not
    /// shown before [`Wire::set_identity`]; where the key is a new one, the cluster is to
    /// be told of it ([`crate::command::Body::Announce`]) after that. Nothing needs to
    /// call this before a certificate is over: the wire renews its own, with the same
    /// key, and tells ([`Event::Renewed`]).
    pub async fn renew(&self, key: MemberKey) -> Result<Identity, RenewalError> {
        self.shared.renew(key).await
    }

    /// Asks a member, and waits for its answer at most so long. Questions to
    /// [`Service::Raft`] and [`Service::Gossip`] may be handled once more by a process
    /// that was started anew in between; all others are not.
    pub async fn call(
        &self,
        to: MemberId,
        service: Service,
        bytes: Vec<u8>,
        limit: Duration,
    ) -> Result<Vec<u8>, CallError> {
        self.shared.call(to, service, bytes, limit).await
    }

    /// Returns the current route to each other member.
    pub fn paths(&self) -> Vec<Path> {
        self.shared.paths()
    }

    /// Subscribes to events. A slow subscriber misses some, and is notified of that.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.shared.events()
    }

    /// Returns the value of one counter.
    #[cfg(test)]
    fn counted(&self, of: fn(&counters::Counters) -> &std::sync::atomic::AtomicU64) -> u64 {
        of(&self.shared.counters).load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Ends all connections, and makes none any more. Without it, a wire that serves
    /// lives as long as its runtime.
    pub fn stop(&self) {
        self.shared.stop();
    }
}

impl<N: Network> crate::log::Signer for Wire<N> {
    /// With the key that this member shows now: `cluster rotate` replaces it.
    fn sign(&self, bytes: &[u8]) -> Result<MemberSignature, SigningError> {
        self.identity().sign(bytes)
    }
}

impl<N: Network> Transport for Wire<N> {
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
