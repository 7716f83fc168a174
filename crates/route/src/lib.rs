//! Determines where a request would go: evaluates it with a configuration and the code of the
//! proxy, and reports each line that decided. [`expect`] is the `test` section, whose requests have
//! an expected result.
//!
//! The crate contacts no server and opens no socket on the network. Commands and processes provide
//! the configuration, and the state of a running instance.

mod asked;
pub mod expect;
mod live;
mod report;
pub mod rounds;
pub mod text;

pub use asked::RouteRequest;
pub use live::{Live, LiveServer};
pub use report::{EvaluatedLine, RouteDestination, RouteReport, TermText};

use language::SourceMap;
use model::config::{Config, ListenerIndex};
use proxy::carry::CarryError;
use proxy::message::AskedKey;
use proxy::route::{self, ListenerCriteria, NotThere, RouteQuery};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Default client address, from the range for documentation (RFC 5737).
const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 10));
/// Default peer address at a listener with `accept-proxy`.
const BALANCER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 20));
const CLIENT_PORT: u16 = 49_152;

/// IP address, and a port if one is given.
pub type RouteEndpoint = (IpAddr, Option<u16>);

/// Request with the addresses and the TLS server name of its connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    pub asked: RouteRequest,
    pub frontend: Option<String>,
    pub source: Option<RouteEndpoint>,
    /// Address of the load balancer that connects to a listener with `accept-proxy`.
    pub through: Option<RouteEndpoint>,
    pub to: Option<RouteEndpoint>,
    /// TLS server name, if it differs from the host of the URL.
    pub sni: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum NotFollowed {
    #[error(transparent)]
    NotThere(#[from] NotThere),
    /// Threads or sockets cannot be created, or the TLS server name is invalid.
    #[error("cannot serve the request: {0}")]
    Serve(#[from] std::io::Error),
    #[error("the state of the running instance: {0}")]
    State(#[from] CarryError),
}

impl Request {
    pub fn new(asked: RouteRequest) -> Request {
        Request {
            asked,
            frontend: None,
            source: None,
            through: None,
            to: None,
            sni: None,
        }
    }

    /// Evaluates the request with a loaded configuration.
    ///
    /// # Errors
    /// Fails if no listener accepts the request, or if the request cannot be evaluated.
    pub fn follow(&self, config: Config, sources: &SourceMap) -> Result<RouteReport, NotFollowed> {
        let config = route::prepare(config);
        self.follow_in(&config, sources).map(|(_, report)| report)
    }

    /// Evaluates the request with a loaded configuration and the state of a running proxy. Also
    /// returns the table entries that were needed and that the state lacks.
    ///
    /// # Errors
    /// Fails as [`Request::follow`] does, or if the state is invalid.
    pub fn follow_live(
        &self,
        config: Config,
        sources: &SourceMap,
        state: &[u8],
    ) -> Result<(RouteReport, Vec<AskedKey>), NotFollowed> {
        let (config, left_out) = route::prepare_live(config, state)?;
        let large = left_out
            .tables
            .iter()
            .filter_map(|(name, _)| config.tables.live(name));
        let large: Vec<_> = large.collect();
        large.iter().for_each(|table| table.note_keys());
        let (at, mut report) = self.follow_in(&config, sources)?;
        let keys = large.iter().flat_map(|table| {
            let keys = table.noted_keys().into_iter();
            keys.map(|key| AskedKey {
                table: table.name.to_string(),
                key: key.into_vec(),
            })
        });
        let keys = keys.collect();
        let frontend = config.proxy(at.frontend);
        let live = Live::new(&config, frontend, report.backend.as_deref(), &left_out);
        if frontend.state.frontend.paused.load(Relaxed) {
            let name = &frontend.name;
            let why = format!("frontend {name} is disabled at run time: it accepts no connection");
            report.outcome = RouteDestination::Nothing { why };
        }
        report.live = Some(live);
        Ok((report, keys))
    }

    fn follow_in(
        &self,
        config: &Arc<Config>,
        sources: &SourceMap,
    ) -> Result<(ListenerIndex, RouteReport), NotFollowed> {
        let (to, to_port) = self.to.unzip();
        let (source, port) = self.source.unwrap_or((CLIENT, None));
        let source = SocketAddr::new(source, port.unwrap_or(CLIENT_PORT));
        let (through, port) = self.through.unwrap_or((BALANCER, None));
        let mut wanted = ListenerCriteria {
            tls: self.asked.tls,
            port: to_port.flatten().unwrap_or(self.asked.port),
            address: to.or(self.asked.address),
            v6: source.is_ipv6(),
            frontend: self.frontend.clone(),
        };
        let found = match route::find(config, &wanted) {
            // Tries a TLS listener as well, since a path does not show whether the connection uses
            // TLS.
            Err(NotThere::Otherwise { .. }) if self.asked.is_path => {
                wanted.tls = true;
                route::find(config, &wanted)
            }
            found => found,
        };
        let (at, destination) = found?;
        let sni = || self.sni.clone().unwrap_or_else(|| self.asked.server_name());
        let is_http = config.proxy(at.frontend).mode == model::config::Mode::Http;
        let question = RouteQuery {
            at,
            ends: destination.map(|destination| [source, destination]),
            through: SocketAddr::new(through, port.unwrap_or(CLIENT_PORT)),
            tls: wanted.tls.then(sni),
            bytes: self.asked.bytes(is_http),
            closes: !is_http && self.asked.is_connection() && !wanted.tls,
        };
        let answer = route::trace_route(config, &question)?;
        let report = RouteReport::new(config, sources, self, &question, &answer);
        Ok((at, report))
    }
}

pub fn end(text: &str) -> Option<RouteEndpoint> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if let Ok(ip) = bare.unwrap_or(text).parse() {
        return Some((ip, None));
    }
    let both: SocketAddr = text.parse().ok()?;
    Some((both.ip(), Some(both.port())))
}
