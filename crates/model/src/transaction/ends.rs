//! What rules ask of a stream's two connections themselves, besides messages, and
//! of the rules that it met. It is kept only where a file asks for it
//! (`config::Asked`), and asked, never used to send or receive.

use super::{Endpoint, Stream, Termination};
use mux::StreamWatch;
use mux::link::Link;
use reactor::WeakSocket;
use std::net::SocketAddr;
use std::rc::Rc;

/// What is known of a stream's two connections.
#[derive(Debug, Default)]
pub struct Links {
    /// The client's address as a rule set it (`set-src`).
    pub source: Option<Endpoint>,
    /// The destination as a rule set it (`set-dst`, `set-dst-port`).
    pub destination: Option<Endpoint>,
    /// What TLS of the server's connection came to; None without TLS or server.
    pub server_tls: Option<Rc<tls::Info>>,
    /// What its connections are asked for, where a format or rule asks.
    pub ends: Option<Box<Ends>>,
}

/// What is kept.
#[derive(Debug, Default)]
pub struct Ends {
    /// The client's stream of HTTP/2.
    client: Option<StreamWatch>,
    /// The connection to the server.
    server: Option<ServerEnd>,
    /// Where the rule stands that ended its list last.
    last_rule: Option<RulePlace>,
}

/// Where a rule stands: the number of its file in `Config::files`, and its line.
pub type RulePlace = (u32, u32);

/// The connection to the server.
#[derive(Debug)]
pub struct ServerEnd {
    /// Our own address on it.
    pub address: Option<SocketAddr>,
    /// Its socket.
    pub socket: Option<WeakSocket>,
    /// The stream of HTTP/2 on it.
    pub stream: Option<StreamWatch>,
    /// Streams that it carried before.
    pub carried: u32,
}

/// One of a stream's connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The client's.
    Client,
    /// The server's.
    Server,
}

impl Links {
    fn ends(&mut self) -> &mut Ends {
        self.ends.get_or_insert_default()
    }

    /// The server is reached by this.
    #[cold]
    pub fn watch_server(&mut self, server: ServerEnd) {
        self.ends().server = Some(server);
    }

    /// The connection to the server, once it stands.
    pub fn server_end(&self) -> Option<&ServerEnd> {
        self.ends.as_ref()?.server.as_ref()
    }

    /// Where the rule stands that ended its list last.
    pub fn last_rule(&self) -> Option<RulePlace> {
        self.ends.as_ref()?.last_rule
    }

    /// Our own address on the connection to the server.
    pub fn server_side(&self) -> Option<SocketAddr> {
        self.server_end()?.address
    }

    /// The stream of HTTP/2 at one end. None: it is none, or nothing is known.
    pub fn watched(&self, end: End) -> Option<&StreamWatch> {
        let ends = self.ends.as_ref()?;
        match end {
            End::Client => ends.client.as_ref(),
            End::Server => ends.server.as_ref()?.stream.as_ref(),
        }
    }
}

impl Stream {
    /// Its client is reached by this, if the file asks for it.
    #[inline]
    pub fn watch_client(&mut self, link: &Link) {
        if self.config.global.asked.client_end {
            self.links.ends().client = link.watch();
        }
    }

    /// A rule ended its list.
    pub(crate) fn keep_rule(&mut self, place: Option<RulePlace>) {
        if place.is_some() && self.config.global.asked.last_rule {
            self.links.ends().last_rule = place;
        }
    }

    /// Whether one end broke the stream off.
    pub fn is_aborted_by(&self, end: End) -> bool {
        let by = match end {
            End::Client => Termination::ClientAbort,
            End::Server => Termination::ServerAbort,
        };
        let watched = self.links.watched(end);
        self.outcome.termination == by || watched.is_some_and(StreamWatch::is_aborted)
    }
}
