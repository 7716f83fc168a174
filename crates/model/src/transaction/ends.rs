//! Holds data about a stream's two connections and its last rule, for fetches and formats.
//! [`ConnectionRecords`] is only recorded if the configuration needs it.

use super::{Endpoint, ProxyStream, Termination};
use mux::StreamWatch;
use mux::link::PeerConnection;
use reactor::WeakSocket;
use std::net::SocketAddr;
use std::rc::Rc;

/// Data on a stream's two connections.
#[derive(Debug, Default)]
pub struct Links {
    /// The client's address as a rule set it (`set-src`).
    pub source: Option<Endpoint>,
    /// The destination as a rule set it (`set-dst`, `set-dst-port`).
    pub destination: Option<Endpoint>,
    /// Result of the server's TLS handshake; None without TLS or server.
    pub server_tls: Option<Rc<tls::Info>>,
    /// Data for fetches and formats; None if not recorded.
    pub ends: Option<Box<ConnectionRecords>>,
}

/// Recorded data for fetches and formats.
#[derive(Debug, Default)]
pub struct ConnectionRecords {
    /// HTTP/2 stream of the client.
    client: Option<StreamWatch>,
    server: Option<ServerEnd>,
    /// Position of the last rule that ended its list.
    last_rule: Option<RulePlace>,
}

/// Position of a rule: the index of its file in `Config::files`, and its line.
pub type RulePlace = (u32, u32);

/// The connection to the server.
#[derive(Debug)]
pub struct ServerEnd {
    /// Local address of the connection.
    pub address: Option<SocketAddr>,
    pub socket: Option<WeakSocket>,
    pub stream: Option<StreamWatch>,
    /// Number of streams that the connection carried before.
    pub carried: u32,
}

/// Selects one of the stream's two connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConnectionSide {
    Client,
    Server,
}

impl Links {
    fn ends(&mut self) -> &mut ConnectionRecords {
        self.ends.get_or_insert_default()
    }

    #[cold]
    pub fn watch_server(&mut self, server: ServerEnd) {
        self.ends().server = Some(server);
    }

    pub fn server_end(&self) -> Option<&ServerEnd> {
        self.ends.as_ref()?.server.as_ref()
    }

    pub fn last_rule(&self) -> Option<RulePlace> {
        self.ends.as_ref()?.last_rule
    }

    pub fn server_side(&self) -> Option<SocketAddr> {
        self.server_end()?.address
    }

    /// Returns the HTTP/2 stream at one end; None if the connection is not HTTP/2 or was not
    /// recorded.
    pub fn watched(&self, end: ConnectionSide) -> Option<&StreamWatch> {
        let ends = self.ends.as_ref()?;
        match end {
            ConnectionSide::Client => ends.client.as_ref(),
            ConnectionSide::Server => ends.server.as_ref()?.stream.as_ref(),
        }
    }
}

impl ProxyStream {
    /// Records the client's connection, if the configuration needs it.
    #[inline]
    pub fn watch_client(&mut self, link: &PeerConnection) {
        if self.config.global.recording.client_end {
            self.links.ends().client = link.watch();
        }
    }

    pub(crate) fn keep_rule(&mut self, place: Option<RulePlace>) {
        if place.is_some() && self.config.global.recording.last_rule {
            self.links.ends().last_rule = place;
        }
    }

    pub fn is_aborted_by(&self, end: ConnectionSide) -> bool {
        let by = match end {
            ConnectionSide::Client => Termination::ClientAbort,
            ConnectionSide::Server => Termination::ServerAbort,
        };
        let watched = self.links.watched(end);
        self.outcome.termination == by || watched.is_some_and(StreamWatch::is_aborted)
    }
}
