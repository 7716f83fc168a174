//! Adds TLS to an established server connection: performs the handshake, and records the host name
//! that was used for it, since only streams that require this name may reuse the connection.

use super::ConnectFailure;
use super::mark::Mark;
use http::websocket;
use model::config::{HttpProtocol, Server, WebSocketProto};
use model::state::Tally;
use model::thread::current_thread_data;
use model::transaction::ProxyStream;
use reactor::Instant;
use rustls::pki_types::ServerName;
use std::rc::Rc;
use std::sync::Arc;
use tls::connector::{BadName, no_name};
use tls::handshake::{self, Failure, Terms};
use tls::keylog::Collector;
use tls::transport::ConnectionTransport;
use tls::{Connector, Info, counters};

#[derive(Debug)]
pub struct Secured {
    /// Host name of the handshake: the value of `sni`, or the placeholder for none.
    name: ServerName<'static>,
    pub info: Rc<Info>,
}

impl Secured {
    /// Copies the values, with an `Info` that is not shared, for another thread.
    pub(super) fn duplicate(&self) -> (ServerName<'static>, Info) {
        (self.name.clone(), Info::clone(&self.info))
    }

    pub(super) fn from_parts((name, info): (ServerName<'static>, Info)) -> Rc<Secured> {
        let info = Rc::new(info);
        Rc::new(Secured { name, info })
    }
}

#[derive(Clone, Debug)]
enum WantedName {
    Any,
    Name(ServerName<'static>),
    /// The stream needs an invalid name, so it cannot use any connection.
    Impossible,
}

/// Properties that a connection must have for a stream to use it.
#[derive(Clone, Debug)]
pub struct ConnectionRequirements {
    name: WantedName,
    /// The required properties in one value; None if no connection can have them.
    mark: Option<Mark>,
}

/// Returns the HTTP version that a WebSocket stream requires of its connection (`ws`); None for
/// other streams. With `auto` that is HTTP/1 if ALPN offers a choice, because every server
/// supports WebSockets over HTTP/1.
#[inline]
pub fn forced_version(server: &Server, stream: &ProxyStream) -> Option<HttpProtocol> {
    let options = &server.options;
    let by_alpn = match options.protocol {
        None => server.traffic_tls(),
        Some(_) => None,
    };
    if options.web_socket == WebSocketProto::Auto && by_alpn.is_none() {
        return None;
    }
    forced_for(server, stream, by_alpn)
}

#[inline(never)]
fn forced_for(
    server: &Server,
    stream: &ProxyStream,
    by_alpn: Option<&Arc<Connector>>,
) -> Option<HttpProtocol> {
    if !stream.http || !websocket::is_request(&stream.request) {
        return None;
    }
    let options = &server.options;
    match options.web_socket {
        WebSocketProto::H1 => Some(HttpProtocol::Http1),
        WebSocketProto::H2 => Some(HttpProtocol::Http2),
        WebSocketProto::Auto => {
            let alpn = by_alpn?.alpn();
            let has = |name: &[u8]| alpn.iter().any(|known| known == name);
            (has(b"h2") && has(b"http/1.1")).then_some(HttpProtocol::Http1)
        }
    }
}

impl ConnectionRequirements {
    /// Returns the requirements of a stream. An invalid server name is reported later, when a
    /// connection is opened.
    pub fn of(server: &Server, stream: &ProxyStream) -> ConnectionRequirements {
        let connector = server.traffic_tls();
        let by_name = server.options.pool_name.is_none() && server.options.tls.sni.is_some();
        let name = match connector.filter(|_| by_name) {
            None => WantedName::Any,
            Some(connector) => {
                name_of(server, connector, stream).map_or(WantedName::Impossible, WantedName::Name)
            }
        };
        let mark = Mark::of(server, stream);
        ConnectionRequirements { name, mark }
    }

    /// Returns the required properties; None if no connection can have them.
    pub(super) fn mark(&self) -> Option<&Mark> {
        self.mark.as_ref()
    }

    pub fn is_of(&self, secured: Option<&Rc<Secured>>, mark: &Mark) -> bool {
        let named = match (&self.name, secured) {
            (WantedName::Name(name), Some(secured)) => secured.name == *name,
            (WantedName::Any, _) => true,
            (WantedName::Name(_), None) | (WantedName::Impossible, _) => false,
        };
        named && self.mark.as_ref() == Some(mark)
    }
}

/// Returns the host name for the handshake of a new connection: the value of `sni`, otherwise a
/// placeholder.
fn name_of(
    server: &Server,
    connector: &Connector,
    stream: &ProxyStream,
) -> Result<ServerName<'static>, BadName> {
    let sni = server.options.tls.sni.as_ref();
    match sni.and_then(|(_, sni)| sni.evaluate(stream)) {
        None => Ok(no_name()),
        Some(value) => value.with_text(|text| connector.name(text)),
    }
}

pub(super) async fn secure(
    transport: &mut ConnectionTransport,
    server: &Server,
    connector: &Connector,
    stream: &ProxyStream,
    forced: Option<HttpProtocol>,
    deadline: Option<Instant>,
) -> Result<Rc<Secured>, ConnectFailure> {
    let name = name_of(server, connector, stream).map_err(|_| ConnectFailure::BadName)?;
    let sni = match &name {
        ServerName::DnsName(name) => Some(name.as_ref().into()),
        _ => None,
    };
    let failed = |failure| match failure {
        Failure::Timeout => ConnectFailure::Timeout,
        failure => ConnectFailure::Insecure(failure),
    };
    let tls = &stream.config.global.tls;
    let terms = Terms::new(deadline, tls).map_err(failed)?;
    let mut config = match forced {
        None | Some(HttpProtocol::FastCgi) => connector.config(),
        Some(HttpProtocol::Http1) => connector.config_offering(vec![b"http/1.1".to_vec()]),
        Some(HttpProtocol::Http2) => connector.config_offering(vec![b"h2".to_vec()]),
    };
    if tls.key_log {
        Arc::make_mut(&mut config).key_log = Arc::new(Collector);
    }
    let sni = sni.filter(|_| config.enable_sni);
    let made = handshake::connect(transport.socket(), config, name.clone(), sni, terms).await;
    let tally = match &made {
        Ok((_, info)) if info.resumed => Tally::TlsResumed,
        Ok(_) => Tally::TlsSessions,
        Err(_) => Tally::TlsFailed,
    };
    server.state.count(tally);
    if let Some(backend) = stream.backend() {
        backend.state.count_backend(tally);
    }
    let (session, info) = made.map_err(failed)?;
    if !info.resumed {
        counters().server_keys.count(current_thread_data().now_ms());
    }
    transport.secure(session);
    let info = Rc::new(info);
    Ok(Rc::new(Secured { name, info }))
}
