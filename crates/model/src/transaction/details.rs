//! What hardly any session has, or what is kept of it only because a file asks
//! for it: addresses that rules set, its socket, fields of its PROXY header. One
//! box, so that a session without them stays small.

use super::{Endpoint, Session, Trace};
use protocol::proxy_protocol::{Ssl, Tlvs};
use reactor::{Socket, WeakSocket};
use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::sync::{Arc, Mutex};

/// Source and destination as rules set them.
pub type Rewritten = (Option<Endpoint>, Option<Endpoint>);

/// What hardly any session has.
#[derive(Clone, Debug, Default)]
pub struct Details {
    /// Source and destination as `tcp-request connection` and `session` rules
    /// set them, for all of its streams.
    rewritten: Cell<Rewritten>,
    /// Source and destination of the connection, where a PROXY header has others and
    /// the file asks for them.
    connection: Cell<Option<(Endpoint, Endpoint)>>,
    /// The client's socket, to be asked how its packets do.
    socket: Cell<Option<WeakSocket>>,
    /// Fields of the client's PROXY header that rules ask for.
    fields: OnceCell<Tlvs>,
    /// What was decided of its streams, where somebody asks.
    pub(super) trace: OnceCell<Arc<Mutex<Trace>>>,
}

impl Session {
    pub(super) fn details(&self) -> &Details {
        self.details.get_or_init(Box::default)
    }

    /// The addresses as rules set them for the whole session.
    pub fn rewritten(&self) -> Rewritten {
        let details = self.details.get();
        details.map_or((None, None), |details| details.rewritten.get())
    }

    /// The addresses set by the connection's own rules become its addresses: a PROXY
    /// header that follows takes precedence over them, rules of streams do not.
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

    /// Sets them.
    pub fn rewrite(&self, addresses: Rewritten) {
        self.details().rewritten.set(addresses);
    }

    /// The ends of the connection itself: a PROXY header does not count.
    pub fn connection(&self) -> (Endpoint, Endpoint) {
        let kept = self
            .details
            .get()
            .and_then(|details| details.connection.get());
        kept.unwrap_or((self.source, self.destination))
    }

    /// Keeps the ends of the connection that a PROXY header came on, if the file asks
    /// for them.
    pub fn keep_connection(&self, ends: (Endpoint, Endpoint)) {
        if self.config.global.asked.connection {
            self.details().connection.set(Some(ends));
        }
    }

    /// The client's socket, where the file asks for it.
    pub fn socket(&self) -> Option<WeakSocket> {
        self.details.get()?.socket.get()
    }

    /// Keeps who its client's socket is, if the file asks for it.
    pub fn keep_socket(&self, socket: &Socket) {
        if self.config.global.asked.client_socket {
            self.details().socket.set(Some(socket.downgrade()));
        }
    }

    /// A field of the client's PROXY header, of a type that the file names.
    pub fn proxy_field(&self, kind: u8) -> Option<&[u8]> {
        self.details.get()?.fields.get()?.get(kind)
    }

    /// The TLS values of the client's PROXY header, if the file requests them.
    pub fn proxy_tls(&self) -> Option<Ssl<'_>> {
        self.details.get()?.fields.get()?.ssl()
    }

    /// Keeps those fields of the client's PROXY header that the file asks for: no
    /// more than the header had room for.
    pub fn keep_fields(&self, fields: &Tlvs) {
        let asked = &self.config.global.asked.proxy_fields;
        let mut kept = Tlvs::default();
        for field in fields.iter().filter(|field| asked.contains(&field.kind)) {
            // It was checked when the header was read, and is part of what fitted.
            let _ = kept.push(field.kind, field.value);
        }
        if !kept.is_empty() {
            let _ = self.details().fields.set(kept);
        }
    }
}
