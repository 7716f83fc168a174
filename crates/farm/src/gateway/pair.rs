//! Joins the two HTTP requests of a gateway client without WebSockets: an endless response
//! (RDG_OUT_DATA) and an endless request (RDG_IN_DATA). Both have the same connection identifier,
//! and may arrive in either order. On a cluster both arrive at one node, since one node has the
//! gateway's address at a time.

use super::stream::{Reader, Writer};
use super::visitor::Visitor;
use access::network::client_network;
use part::lock;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant};

/// Time for which the first request waits for the second one.
const WAIT: Duration = Duration::from_secs(30);
/// Limit of waiting requests in total.
const WAITING_MAX: usize = 1_000;
/// Limit of waiting requests from one client network.
const OF_ADDRESS_MAX: usize = 100;
pub(super) const NAME_MAX: usize = 64;

/// Connection identifier, and the user that HTTP has authenticated: a request cannot join that of
/// another user.
pub(super) type PairKey = (String, Option<String>);

/// Request of a client that belongs to a pair.
pub(super) enum Half {
    Out(Writer),
    /// The incoming request, with the sender by which it learns of the tunnel's end.
    In(Reader, oneshot::Sender<()>),
}

/// Both requests of a client, which together are one tunnel.
pub(super) struct Whole {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    pub(super) visitors: [Arc<Visitor>; 2],
    /// Notifies the incoming request of the tunnel's end.
    pub(super) ended: oneshot::Sender<()>,
}

struct UnpairedRequest {
    half: Half,
    visitor: Arc<Visitor>,
    until: Instant,
}

/// Requests that wait for the other request of their pair.
#[derive(Default)]
pub(super) struct Pairs(Mutex<BTreeMap<PairKey, UnpairedRequest>>);

/// Result of adding a request.
pub(super) enum Paired {
    Whole(Box<Whole>),
    Waits,
    Refused,
}

impl Pairs {
    pub(super) fn add(&self, name: PairKey, half: Half, visitor: Arc<Visitor>) -> Paired {
        let mut all = lock(&self.0);
        let now = Instant::now();
        all.retain(|_, waiting| waiting.until > now);
        let other = all.remove(&name);
        let first = match (half, other) {
            (
                Half::Out(writer),
                Some(UnpairedRequest {
                    half: Half::In(reader, ended),
                    visitor: other,
                    ..
                }),
            )
            | (
                Half::In(reader, ended),
                Some(UnpairedRequest {
                    half: Half::Out(writer),
                    visitor: other,
                    ..
                }),
            ) => {
                return Paired::Whole(Box::new(Whole {
                    reader,
                    writer,
                    visitors: [visitor, other],
                    ended,
                }));
            }
            // Replaces the old request, because the same request a second time means that the
            // client has restarted.
            (half, _) => half,
        };
        let from = client_network(visitor.from());
        let own = all
            .values()
            .filter(|one| client_network(one.visitor.from()) == from);
        if all.len() >= WAITING_MAX || own.count() >= OF_ADDRESS_MAX {
            return Paired::Refused;
        }
        let waiting = UnpairedRequest {
            half: first,
            visitor,
            until: now + WAIT,
        };
        all.insert(name, waiting);
        Paired::Waits
    }

    pub(super) fn expire(&self) {
        let now = Instant::now();
        lock(&self.0).retain(|_, waiting| waiting.until > now);
    }
}
