//! Holds rarely used data of a session, or data that is only recorded if the configuration needs
//! it: addresses that rules set, the socket, fields of the PROXY header. All of it is in one box,
//! so that a session without this data stays small.

use super::{Endpoint, Session, Trace};
use protocol::proxy_protocol::{Ssl, Tlvs};
use reactor::{StreamSocket, WeakSocket};
use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::sync::{Arc, Mutex};

/// Source and destination that rules set.
pub type Rewritten = (Option<Endpoint>, Option<Endpoint>);

#[derive(Clone, Debug, Default)]
pub struct Details {
    /// Source and destination that `tcp-request connection` and `session` rules set for all
    /// streams.
    rewritten: Cell<Rewritten>,
    /// Source and destination of the connection itself; recorded if a PROXY header has others and
    /// the configuration needs them.
    connection: Cell<Option<(Endpoint, Endpoint)>>,
    /// Socket of the client, for TCP statistics.
    socket: Cell<Option<WeakSocket>>,
    /// A rule required a PROXY header, and the client sent one.
    has_proxy_header: Cell<bool>,
    /// Fields of the client's PROXY header that rules use.
    fields: OnceCell<Tlvs>,
    /// Trace of the session's streams, if an operator requested it.
    pub(super) trace: OnceCell<Arc<Mutex<Trace>>>,
}

impl Session {
    pub(super) fn details(&self) -> &Details {
        self.details.get_or_init(Box::default)
    }

    pub fn rewritten(&self) -> Rewritten {
        let details = self.details.get();
        details.map_or((None, None), |details| details.rewritten.get())
    }

    /// Makes the addresses that `tcp-request connection` rules set the addresses of the session. A
    /// later PROXY header replaces them. Addresses that rules set afterwards are stored separately.
    pub fn settle_addresses(self: &mut Rc<Session>) {
        let (source, destination) = self.rewritten();
        if source.is_none() && destination.is_none() {
            return;
        }
        if let Some(session) = Rc::get_mut(self) {
            session.source = source.unwrap_or(session.source);
            session.destination = destination.unwrap_or(session.destination);
            session.rewrite((None, None));
        }
    }

    pub fn rewrite(&self, addresses: Rewritten) {
        self.details().rewritten.set(addresses);
    }

    /// Returns the addresses of the connection itself, regardless of a PROXY header.
    pub fn connection(&self) -> (Endpoint, Endpoint) {
        let kept = self
            .details
            .get()
            .and_then(|details| details.connection.get());
        kept.unwrap_or((self.source, self.destination))
    }

    /// Records the addresses of a connection with a PROXY header, if the configuration needs them.
    pub fn keep_connection(&self, ends: (Endpoint, Endpoint)) {
        if self.config.global.recording.connection {
            self.details().connection.set(Some(ends));
        }
    }

    /// Returns whether the connection began with a PROXY header, as the listener or a rule
    /// required.
    pub fn has_proxy_header(&self) -> bool {
        // Needs no record for a listener with `accept-proxy`, which refuses connections without the
        // header.
        let by_listener = self.listener().is_some_and(|bind| bind.preface.proxy);
        let details = self.details.get();
        by_listener || details.is_some_and(|details| details.has_proxy_header.get())
    }

    /// Records that the client sent the PROXY header that a rule required, if the configuration
    /// needs it.
    pub fn keep_proxy_header(&self) {
        if self.config.global.recording.proxy_header {
            self.details().has_proxy_header.set(true);
        }
    }

    pub fn socket(&self) -> Option<WeakSocket> {
        self.details.get()?.socket.get()
    }

    /// Records the client's socket, if the configuration needs it.
    pub fn keep_socket(&self, socket: &StreamSocket) {
        if self.config.global.recording.client_socket {
            self.details().socket.set(Some(socket.downgrade()));
        }
    }

    /// Returns a field of the client's PROXY header, of a type that the configuration uses.
    pub fn proxy_field(&self, kind: u8) -> Option<&[u8]> {
        self.details.get()?.fields.get()?.get(kind)
    }

    pub fn proxy_tls(&self) -> Option<Ssl<'_>> {
        self.details.get()?.fields.get()?.ssl()
    }

    /// Records the fields of the client's PROXY header that the configuration needs. They never
    /// exceed the header's limit.
    pub fn keep_fields(&self, fields: &Tlvs) {
        let asked = &self.config.global.recording.proxy_fields;
        let mut kept = Tlvs::default();
        for field in fields.iter().filter(|field| asked.contains(&field.kind)) {
            // Cannot fail, because the field fitted into the header.
            let _ = kept.push(field.kind, field.value);
        }
        if !kept.is_empty() {
            let _ = self.details().fields.set(kept);
        }
    }
}
