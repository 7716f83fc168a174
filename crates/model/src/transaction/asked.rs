//! What a client asked for, which says what its answer is like; rules may have changed the
//! request since.

use super::Stream;
use http::http1::{RequestFacts, Upgrade};

impl Stream {
    /// Whether the client sent HEAD, whatever the method is by now.
    pub fn asked_head(&self) -> bool {
        self.received_method() == b"HEAD"
    }

    /// Whether the client takes a response with this status for the beginning of a
    /// tunnel, so that it sends no further request.
    pub fn begins_tunnel(&self, status: u16) -> bool {
        let connects = self.received_method() == b"CONNECT" && (200..300).contains(&status);
        connects || self.switches(status)
    }

    /// Whether a status is the 101 that the request asks for.
    pub fn switches(&self, status: u16) -> bool {
        status == 101 && self.request.get(b"upgrade").is_some()
    }

    /// How the server's response is read: by the method that was sent to it. A
    /// tunnel is one only where the client asked for it, too.
    pub fn server_facts(&self, upgrade: Option<Upgrade>) -> RequestFacts {
        let mut facts = RequestFacts::of(&self.request, upgrade);
        facts.connect &= self.received_method() == b"CONNECT";
        facts
    }

    /// Whether a server takes its connection for a tunnel that is none.
    pub fn misleads_server(&self) -> bool {
        self.request.method() == b"CONNECT" && self.received_method() != b"CONNECT"
    }
}
