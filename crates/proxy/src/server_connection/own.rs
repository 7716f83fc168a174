//! Keeps server connections that only the streams of one client may use: because of
//! `http-reuse never`, a PROXY header of that client, an address that depends on the client, or a
//! server that authenticates the connection instead of each request.

use super::{Authentication, ServerConnection};
use model::config::{Proxy, Server, ServerIndex};
use model::state::ServerState;
use model::transaction::ProxyStream;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// Connections reserved for one client, the most recently used at the end. Clones share one list,
/// so that all streams of a client's HTTP/2 connection use it. Most clients have no reserved
/// connection, which takes no memory.
#[derive(Default)]
pub struct PrivateConnections(Option<Rc<RefCell<Vec<ServerConnection>>>>);

impl PrivateConnections {
    /// Returns the same list for another stream of the same client.
    pub fn share(&mut self) -> PrivateConnections {
        PrivateConnections(Some(Rc::clone(self.0.get_or_insert_default())))
    }

    /// Takes a connection that a stream may use.
    pub fn take(&mut self, server: &Server, stream: &ProxyStream) -> Option<ServerConnection> {
        let mut kept = self.0.as_ref()?.borrow_mut();
        if kept.is_empty() {
            return None;
        }
        let has_credentials = stream.request.has_connection_credentials();
        let may_use = |own: &ServerConnection| {
            Arc::ptr_eq(&own.state, &server.state)
                && own.way == own.way.of_file(server.way)
                && own.leads_to(server, stream)
        };
        // Leaves connections that wait for credentials to requests with credentials, because no
        // other request of the client must be sent in between.
        let waits = |own: &ServerConnection| own.authentication == Authentication::Challenged;
        loop {
            let challenged = || kept.iter().rposition(|own| waits(own) && may_use(own));
            let at = has_credentials.then(challenged).flatten();
            let at = at.or_else(|| kept.iter().rposition(|own| !waits(own) && may_use(own)))?;
            let own = kept.remove(at);
            if own.is_fit() {
                return own.reuse();
            }
        }
    }

    /// Keeps a connection for the client's next streams. If there are more than `connections_max`,
    /// closes the oldest, preferably one whose server does not wait for credentials.
    pub fn keep(&mut self, connection: ServerConnection, connections_max: u32) {
        let mut kept = self.0.get_or_insert_default().borrow_mut();
        kept.push(connection);
        while kept.len() > connections_max as usize {
            let oldest = kept
                .iter()
                .position(|own| own.authentication != Authentication::Challenged)
                .unwrap_or(0);
            kept.remove(oldest);
        }
    }

    pub fn holds(&self, server: &Arc<ServerState>) -> bool {
        let kept = self.0.as_ref().map(|kept| kept.borrow());
        kept.is_some_and(|kept| kept.iter().any(|own| Arc::ptr_eq(&own.state, server)))
    }

    /// Returns the server of this backend that has authenticated a connection of the client, or
    /// is about to.
    pub fn authenticating_server(&self, backend: &Proxy) -> Option<ServerIndex> {
        let kept = self.0.as_ref()?.borrow();
        let authenticates = |own: &&ServerConnection| own.authentication != Authentication::None;
        kept.iter().rev().filter(authenticates).find_map(|own| {
            let is_its = |server: &Server| Arc::ptr_eq(&server.state, &own.state);
            let at = backend.servers.iter().position(is_its)?;
            Some(ServerIndex(at as u32))
        })
    }

    /// Closes connections to servers that have moved or were removed.
    pub fn forget_moved(&mut self) {
        if let Some(kept) = &mut self.0 {
            kept.borrow_mut().retain(|own| own.way == own.state.way());
        }
    }
}
