//! Connections to servers that only one client's streams may use: `http-reuse never`, a
//! PROXY header of that client, an address that goes by it.

use super::ServerConnection;
use model::config::Server;
use model::state::ServerState;
use model::transaction::Stream;
use std::sync::Arc;

/// `max-session-srv-conns` where the file does not say.
const OWN_MAX: u32 = 5;

/// A client's own connections, the one that was used last at the end. Most clients have
/// none, which takes no memory.
#[derive(Default)]
pub struct Own(Option<Box<Kept>>);

#[derive(Default)]
struct Kept(Vec<ServerConnection>);

impl Own {
    /// Takes one that a stream may use.
    pub fn take(&mut self, server: &Server, stream: &Stream) -> Option<ServerConnection> {
        let leads_there = |own: &ServerConnection| {
            Arc::ptr_eq(&own.state, &server.state)
                && own.way == own.way.of_file(server.way)
                && own.leads_to(server, stream)
        };
        let kept = self.0.as_mut()?;
        while let Some(at) = kept.0.iter().rposition(leads_there) {
            let own = kept.0.remove(at);
            if own.is_fit() {
                return own.again();
            }
        }
        None
    }

    /// Keeps one for the client's next streams; of more than `most` the oldest goes.
    pub fn keep(&mut self, connection: ServerConnection, most: Option<u32>) {
        let kept = self.0.get_or_insert_default();
        kept.0.push(connection);
        let most = most.unwrap_or(OWN_MAX) as usize;
        let surplus = kept.0.len().saturating_sub(most);
        kept.0.drain(..surplus);
    }

    /// Whether one leads to a server.
    pub fn holds(&self, server: &Arc<ServerState>) -> bool {
        let mut kept = self.0.iter().flat_map(|kept| &kept.0);
        kept.any(|own| Arc::ptr_eq(&own.state, server))
    }

    /// Closes what leads to a server that moved, or is no more.
    pub fn forget_moved(&mut self) {
        if let Some(kept) = &mut self.0 {
            kept.0.retain(|own| own.way == own.state.way());
        }
    }

    /// Gives one to another stream of the same client.
    pub fn share(&mut self) -> Own {
        let one = self.0.as_mut().and_then(|kept| kept.0.pop());
        Own(one.map(|one| Box::new(Kept(vec![one]))))
    }

    /// Takes what a stream of the same client leaves.
    pub fn join(&mut self, left: Own, most: u32) {
        let most = Some(most);
        for connection in left.0.into_iter().flat_map(|kept| kept.0) {
            self.keep(connection, most);
        }
    }
}
