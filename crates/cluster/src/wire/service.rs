//! Defines the services that members offer each other, and the interface of the handler of their
//! requests.

use crate::authority::Authority;
use crate::member::MemberId;
use crate::wire::Binding;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Service {
    Raft,
    Gossip,
    /// Messages to the role of another member: a member is leaving, or the followed repositories
    /// must be polled.
    Control,
    /// Leases, which must not wait behind anything else.
    Lease,
}

impl Service {
    pub(crate) fn code(self) -> u8 {
        match self {
            Service::Raft => 1,
            Service::Gossip => 2,
            Service::Control => 3,
            Service::Lease => 4,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Service> {
        match code {
            1 => Some(Service::Raft),
            2 => Some(Service::Gossip),
            3 => Some(Service::Control),
            4 => Some(Service::Lease),
            _ => None,
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Service::Raft => "raft",
            Service::Gossip => "gossip",
            Service::Control => "control",
            Service::Lease => "lease",
        })
    }
}

/// The handler of requests. A request is handled once, even if it arrived on two paths.
pub trait Handler: Send + Sync + 'static {
    fn handle(
        &self,
        from: MemberId,
        service: Service,
        bytes: Vec<u8>,
    ) -> impl Future<Output = Vec<u8>> + Send;

    /// Responds to a client that wants to become a member, with
    /// [`crate::wire::join::serve`].
    fn join(
        &self,
        from: SocketAddr,
        binding: Binding,
        bytes: Vec<u8>,
    ) -> impl Future<Output = Vec<u8>> + Send;

    /// Returns the CA if its key is on this machine. With it the wire renews certificates
    /// of members, including this one, before they expire.
    fn signer(&self) -> Option<Signer> {
        None
    }
}

#[derive(Clone, Debug)]
pub struct Signer {
    pub authority: Arc<Authority>,
    /// Chain to present with the certificates that the CA signs, DER.
    pub chain: Vec<Vec<u8>>,
}
