//! The two requests of a client without WebSockets: an endless response out (RDG_OUT_DATA), and an endless
//! request in (RDG_IN_DATA). Both name one connection, and find each other in either order. On a cluster
//! both come to one node, since the address of the gateway is at one node at a time.

use super::stream::{Reader, Writer};
use super::visitor::Visitor;
use access::network::client_network;
use part::lock;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant};

/// How long the first one waits for the second.
const WAIT: Duration = Duration::from_secs(30);
/// Halves that wait at one time, and of one address.
const WAITING_MAX: usize = 1_000;
const OF_ADDRESS_MAX: usize = 100;
/// Letters of the name of a connection.
pub(super) const NAME_MAX: usize = 64;

/// The name of a connection, and the user that HTTP knows: nobody joins a request to that of another one.
pub(super) type Name = (String, Option<String>);

/// One of the two requests.
pub(super) enum Half {
    Out(Writer),
    /// With what tells the request that the tunnel has ended.
    In(Reader, oneshot::Sender<()>),
}

/// Both.
pub(super) struct Whole {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    pub(super) visitors: [Arc<Visitor>; 2],
    /// Tells the incoming request that the tunnel has ended.
    pub(super) ended: oneshot::Sender<()>,
}

struct Waiting {
    half: Half,
    visitor: Arc<Visitor>,
    until: Instant,
}

/// Halves that wait for the other one.
#[derive(Default)]
pub(super) struct Pairs(Mutex<BTreeMap<Name, Waiting>>);

/// What becomes of a half.
pub(super) enum Paired {
    /// The other one is there.
    Whole(Box<Whole>),
    /// It waits.
    Waits,
    /// There are too many.
    Refused,
}

impl Pairs {
    /// Adds a half.
    pub(super) fn add(&self, name: Name, half: Half, visitor: Arc<Visitor>) -> Paired {
        let mut all = lock(&self.0);
        let now = Instant::now();
        all.retain(|_, waiting| waiting.until > now);
        let other = all.remove(&name);
        let first = match (half, other) {
            (
                Half::Out(writer),
                Some(Waiting {
                    half: Half::In(reader, ended),
                    visitor: other,
                    ..
                }),
            )
            | (
                Half::In(reader, ended),
                Some(Waiting {
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
            // The same half again: the client has restarted, and the old one ends.
            (half, _) => half,
        };
        let from = client_network(visitor.from());
        let own = { all.values() }.filter(|one| client_network(one.visitor.from()) == from);
        if all.len() >= WAITING_MAX || own.count() >= OF_ADDRESS_MAX {
            return Paired::Refused;
        }
        let waiting = Waiting {
            half: first,
            visitor,
            until: now + WAIT,
        };
        all.insert(name, waiting);
        Paired::Waits
    }

    /// Ends the halves that have waited too long.
    pub(super) fn expire(&self) {
        let now = Instant::now();
        lock(&self.0).retain(|_, waiting| waiting.until > now);
    }
}
