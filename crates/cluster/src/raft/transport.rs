//! Defines the interface through which the engine reaches other members. In the role the wire
//! implements it; in tests, channels and simulated links do.

use crate::log::Vote;
use crate::member::MemberId;
use crate::store::Store;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Largest message that the engine gives to a transport, bytes: entries and their
/// envelope.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Reason why a call has no response.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CallError {
    /// There is no route to the member now; it did not get the call.
    #[error("no route to the member")]
    Unreachable,
    /// The call timed out; the member may have got it.
    #[error("the member did not respond in time")]
    Timeout,
    /// The connection ended before the response; the member may have got the call.
    #[error("the connection ended before the reply")]
    Closed,
    /// The called member refuses calls of this member: it does not know this member, or the cluster
    /// has removed this member.
    #[error("the member refuses calls of this member")]
    Refused,
}

impl CallError {
    pub fn may_have_arrived(self) -> bool {
        matches!(self, CallError::Timeout | CallError::Closed)
    }
}

pub trait MemberTransport: Clone + Send + Sync + 'static {
    /// Calls a member, whose [`crate::raft::Engine::handle`] responds.
    fn call(
        &self,
        to: MemberId,
        bytes: Vec<u8>,
        limit: Duration,
    ) -> impl Future<Output = Result<Vec<u8>, CallError>> + Send;
}

type TransportCall = Pin<Box<dyn Future<Output = Result<Vec<u8>, CallError>> + Send>>;

/// A transport with its type erased, so that the engine is not generic over it.
trait AnyTransport: Send + Sync {
    fn call(&self, to: MemberId, bytes: Vec<u8>, limit: Duration) -> TransportCall;
}

impl<T: MemberTransport> AnyTransport for T {
    fn call(&self, to: MemberId, bytes: Vec<u8>, limit: Duration) -> TransportCall {
        let own = self.clone();
        Box::pin(async move { MemberTransport::call(&own, to, bytes, limit).await })
    }
}

/// Largest step of the term in one message. An election raises the term by one, so no member
/// is ever this far behind. Without a bound one message could use up all terms.
const TERM_STEP_MAX: u64 = 1 << 28;

/// Any transport, and the term of this member.
#[derive(Clone)]
pub(super) struct Calls {
    transport: Arc<dyn AnyTransport>,
    store: Option<Store>,
}

impl Calls {
    #[cfg(test)]
    pub(super) fn new(transport: impl MemberTransport) -> Calls {
        let transport = Arc::new(transport);
        Calls {
            transport,
            store: None,
        }
    }

    pub(super) fn of(transport: impl MemberTransport, store: Store) -> Calls {
        Calls {
            transport: Arc::new(transport),
            store: Some(store),
        }
    }

    pub(super) fn call(&self, to: MemberId, bytes: Vec<u8>, limit: Duration) -> TransportCall {
        self.transport.call(to, bytes, limit)
    }

    /// Returns whether a member that follows the protocol can send a vote with this term.
    pub(super) fn is_plausible(&self, vote: &Vote) -> bool {
        let own = self.store.as_ref().and_then(Store::vote);
        let term = own.map_or(0, |own| own.leader_id.term);
        self.store.is_none() || vote.leader_id.term <= term.saturating_add(TERM_STEP_MAX)
    }
}
