//! Determines which response the client expects for the request that it sent. Rules may have
//! changed the request since.

use super::ProxyStream;
use http::http1::{RequestFacts, Upgrade};

impl ProxyStream {
    /// Returns whether the client sent HEAD, regardless of the current method.
    pub fn asked_head(&self) -> bool {
        self.received_method() == b"HEAD"
    }

    /// Returns whether a response with this status begins a tunnel for the client, so that it sends
    /// no further request.
    pub fn begins_tunnel(&self, status: u16) -> bool {
        let connects = self.received_method() == b"CONNECT" && (200..300).contains(&status);
        connects || self.switches(status)
    }

    /// Returns whether a status is the 101 of a requested upgrade.
    pub fn switches(&self, status: u16) -> bool {
        status == 101 && self.request.get(b"upgrade").is_some()
    }

    /// Returns how to parse the server's response, by the method that was sent to it. A CONNECT
    /// tunnel requires that the client also sent CONNECT.
    pub fn server_facts(&self, upgrade: Option<Upgrade>) -> RequestFacts {
        let mut facts = RequestFacts::of(&self.request, upgrade);
        facts.connect &= self.received_method() == b"CONNECT";
        facts
    }

    /// Returns whether a rule changed the method to CONNECT: the server expects a tunnel, and the
    /// client does not.
    pub fn misleads_server(&self) -> bool {
        self.request.method() == b"CONNECT" && self.received_method() != b"CONNECT"
    }
}
