//! How the engine reaches other members. The wire answers it in the role, tests with
//! channels and simulated links.

use crate::member::MemberId;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Largest message that the engine gives to a transport, bytes: a payload of entries
/// and what stands around it.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Why a call has no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CallError {
    /// There is no way to the member now; it did not get the call.
    #[error("no route to the member")]
    Unreachable,
    /// No answer within the limit; it may have got the call.
    #[error("the member did not respond in time")]
    Timeout,
    /// The connection ended before the answer; it may have got the call.
    #[error("the connection ended before the reply")]
    Closed,
    /// The member takes no calls of ours: it is not known to it, or was removed.
    #[error("the member refuses calls of this member")]
    Refused,
}

impl CallError {
    /// Whether the other one may have got the call.
    pub fn may_have_arrived(self) -> bool {
        matches!(self, CallError::Timeout | CallError::Closed)
    }
}

/// A way to other members.
pub trait Transport: Clone + Send + Sync + 'static {
    /// Asks a member; its [`crate::raft::Engine::handle`] answers.
    fn call(
        &self,
        to: MemberId,
        bytes: Vec<u8>,
        limit: Duration,
    ) -> impl Future<Output = Result<Vec<u8>, CallError>> + Send;
}

/// An answer that is under way.
type Pending = Pin<Box<dyn Future<Output = Result<Vec<u8>, CallError>> + Send>>;

/// A transport whose kind is forgotten, so that the engine need not carry it.
trait AnyTransport: Send + Sync {
    fn call(&self, to: MemberId, bytes: Vec<u8>, limit: Duration) -> Pending;
}

impl<T: Transport> AnyTransport for T {
    fn call(&self, to: MemberId, bytes: Vec<u8>, limit: Duration) -> Pending {
        let own = self.clone();
        Box::pin(async move { Transport::call(&own, to, bytes, limit).await })
    }
}

/// Any transport.
#[derive(Clone)]
pub(super) struct Calls(Arc<dyn AnyTransport>);

impl Calls {
    pub(super) fn new(transport: impl Transport) -> Calls {
        Calls(Arc::new(transport))
    }

    pub(super) fn call(&self, to: MemberId, bytes: Vec<u8>, limit: Duration) -> Pending {
        self.0.call(to, bytes, limit)
    }
}
