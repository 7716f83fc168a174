//! Where a request would go: a request as a person writes it, given to a configuration.

mod asked;
mod report;

pub use asked::Asked;
pub use report::{Line, Outcome, Report, TermText};

use language::SourceMap;
use model::config::Config;
use proxy::route::{self, NotThere, Question, Wanted};
use std::net::{IpAddr, SocketAddr};

/// The client where none is named, from the addresses for examples (RFC 5737).
const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 10));
/// Who connects to a listener with `accept-proxy`, for the client.
const BALANCER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 20));
/// The port of both.
const CLIENT_PORT: u16 = 49_152;

/// An address, and a port if one is given.
pub type End = (IpAddr, Option<u16>);

/// A request, and how it comes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// What is asked.
    pub asked: Asked,
    /// The frontend that gets it, if it is named.
    pub frontend: Option<String>,
    /// The client.
    pub source: Option<End>,
    /// Who connects to a listener with `accept-proxy`, for the client.
    pub through: Option<End>,
    /// The address that the client connects to.
    pub to: Option<End>,
    /// The name that it asks for with TLS, if it is not the host of the URL.
    pub sni: Option<String>,
}

/// Why it cannot be said.
#[derive(Debug, thiserror::Error)]
pub enum NotFollowed {
    /// No listener takes it, or several do.
    #[error(transparent)]
    NotThere(#[from] NotThere),
    /// Threads or sockets are missing, or the name for TLS is none.
    #[error("cannot serve the request: {0}")]
    Serve(#[from] std::io::Error),
}

impl Request {
    /// A request of which nothing else is known.
    pub fn new(asked: Asked) -> Request {
        Request {
            asked,
            frontend: None,
            source: None,
            through: None,
            to: None,
            sni: None,
        }
    }

    /// Gives it to a configuration as it was loaded.
    ///
    /// # Errors
    /// No listener takes it, or it cannot be served.
    pub fn follow(&self, config: Config, sources: &SourceMap) -> Result<Report, NotFollowed> {
        let config = route::prepare(config);
        let (to, to_port) = self.to.unzip();
        let (source, port) = self.source.unwrap_or((CLIENT, None));
        let source = SocketAddr::new(source, port.unwrap_or(CLIENT_PORT));
        let (through, port) = self.through.unwrap_or((BALANCER, None));
        let mut wanted = Wanted {
            tls: self.asked.tls,
            port: to_port.flatten().unwrap_or(self.asked.port),
            address: to.or(self.asked.address),
            v6: source.is_ipv6(),
            frontend: self.frontend.clone(),
        };
        let found = match route::find(&config, &wanted) {
            // A path says nothing about TLS.
            Err(NotThere::Otherwise { .. }) if self.asked.is_path => {
                wanted.tls = true;
                route::find(&config, &wanted)
            }
            found => found,
        };
        let (at, destination) = found?;
        let sni = || self.sni.clone().unwrap_or_else(|| self.asked.server_name());
        let is_http = config.proxy(at.frontend).mode == model::config::Mode::Http;
        let question = Question {
            at,
            ends: destination.map(|destination| [source, destination]),
            through: SocketAddr::new(through, port.unwrap_or(CLIENT_PORT)),
            tls: wanted.tls.then(sni),
            bytes: self.asked.bytes(is_http),
            closes: !is_http && self.asked.is_connection() && !wanted.tls,
        };
        let answer = route::ask(&config, &question)?;
        Ok(Report::new(&config, sources, self, &question, &answer))
    }
}

/// Reads an address, with a port or without.
pub fn end(text: &str) -> Option<End> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if let Ok(ip) = bare.unwrap_or(text).parse() {
        return Some((ip, None));
    }
    let both: SocketAddr = text.parse().ok()?;
    Some((both.ip(), Some(both.port())))
}
