//! Holds the settings of a `server` line.

use super::{
    Agent, HealthCheck, HostName, HttpProtocol, InitState, Observing, ProxyIndex, Resolving,
    RingKey, ServerIndex, ServerTls, SourceWays, WebSocketProto,
};
use crate::compiled::{Expression, Format};
use crate::setting::ServerAddress;
use crate::state::{Kept, ServerState};
use language::Span;
use std::net::SocketAddr;
use std::sync::Arc;
use tls::Connector;

/// Optional fields of a PROXY header of version 2, besides addresses and ALPN.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ProxyExtensions {
    /// CRC32C checksum of the header.
    pub checksum: bool,
    /// Server name of the client's TLS handshake (SNI).
    pub authority: bool,
    /// Unique ID of the stream (`unique-id-format`).
    pub unique_id: bool,
    pub tls: bool,
    /// With `tls`: the common name of the client's certificate.
    pub common_name: bool,
    /// With `tls`: name of the cipher of the client's connection.
    pub cipher: bool,
    /// With `tls`: the signature algorithm of the certificate that the proxy presented.
    pub signature: bool,
    /// With `tls`: the key algorithm of the certificate that the proxy presented.
    pub key: bool,
}

/// A TLV field of `set-proxy-v2-tlv-fmt`.
#[derive(Clone, Debug)]
pub struct ProxyField {
    pub kind: u8,
    /// Format as written in the file; the basis of comparisons.
    pub text: Box<str>,
    /// Compiled format of the value; None sends an empty field.
    pub format: Option<Arc<Format>>,
}

impl PartialEq for ProxyField {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.text == other.text
    }
}

/// Options of `server` and `default-server`, without the name and address.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// `weight`, 0..=256.
    pub weight: u32,
    pub backup: bool,
    pub disabled: bool,
    /// `maxconn`; 0 means no limit.
    pub maxconn: u32,
    /// The address is a UDP address, for log messages only.
    pub datagrams: bool,
    /// Each log line is preceded by its length (`log-proto octet-count`).
    pub log_counted: bool,
    /// `minconn`; 0 means `maxconn`.
    pub minconn: u32,
    /// `maxqueue`; 0 means no limit.
    pub maxqueue: u32,
    pub check: bool,
    pub rise: u32,
    pub fall: u32,
    pub inter_ms: u32,
    /// `fastinter`, milliseconds; None is `inter`.
    pub fastinter_ms: Option<u32>,
    /// `downinter`, milliseconds; None is `inter`.
    pub downinter_ms: Option<u32>,
    /// `addr`: host for the checks; None is the server's.
    pub check_host: Option<ServerAddress>,
    /// `port`: port for the checks; None is the server's.
    pub check_port: Option<u16>,
    pub check_send_proxy: bool,
    /// `send-proxy` (1) or `send-proxy-v2` (2).
    pub send_proxy: Option<u8>,
    /// `send-proxy-v2-ssl`, `proxy-v2-options`: optional fields of the header of version 2.
    pub proxy_extensions: ProxyExtensions,
    /// `set-proxy-v2-tlv-fmt`: TLV fields of the header of version 2, in the file's order.
    pub proxy_fields: Vec<ProxyField>,
    /// `pool-conn-name`, as text and compiled: the name of a connection. Streams only reuse
    /// connections with the name that they compute.
    pub pool_name: Option<(Box<str>, Arc<Expression>)>,
    /// `proto`: HTTP version of the connections, whatever TLS negotiates.
    pub protocol: Option<HttpProtocol>,
    pub cookie: Option<Box<[u8]>>,
    pub source: Option<SocketAddr>,
    pub source_ways: SourceWays,
    pub tcp_user_timeout_ms: Option<u32>,
    pub tcp_fast_open: bool,
    /// `pool-low-conn`: number of idle connections below which threads do not take those of other
    /// threads.
    pub pool_low: Option<u32>,
    /// `pool-max-conn`: maximum number of idle connections; None means no limit, 0 keeps none.
    pub pool_max: Option<u32>,
    pub pool_purge_delay_ms: u32,
    /// `max-reuse`: maximum number of requests on a connection; None means no limit.
    pub reuse_max: Option<u32>,
    pub slowstart_ms: u32,
    pub shutdown_sessions_on_down: bool,
    pub shutdown_backup_sessions_on_up: bool,
    /// `id`; 0 if the line has none.
    pub id: u32,
    /// Initial state of the server from a state file.
    pub saved: Option<Arc<Kept>>,
    /// `redir`: GET and HEAD requests are redirected to this prefix.
    pub redirect_prefix: Option<Box<[u8]>>,
    pub tls: ServerTls,
    pub check_proto: Option<HttpProtocol>,
    pub web_socket: WebSocketProto,
    pub non_stick: bool,
    pub socks4: Option<SocketAddr>,
    pub check_via_socks4: bool,
    /// `healthcheck`: the section that defines the checks.
    pub health_check: Option<Arc<HealthCheck>>,
    pub resolving: Resolving,
    pub agent: Agent,
    pub track: Option<(Span, Box<str>)>,
    /// Reaction to errors of the server's traffic (`observe`, `on-error`).
    pub observing: Observing,
    pub init_state: InitState,

    pub ring_key: Option<RingKey>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        ServerOptions {
            weight: 1,
            backup: false,
            disabled: false,
            maxconn: 0,
            datagrams: false,
            log_counted: false,
            minconn: 0,
            maxqueue: 0,
            check: false,
            rise: 2,
            fall: 3,
            inter_ms: 2000,
            fastinter_ms: None,
            downinter_ms: None,
            check_host: None,
            check_port: None,
            check_send_proxy: false,
            send_proxy: None,
            proxy_extensions: ProxyExtensions::default(),
            proxy_fields: Vec::new(),
            pool_name: None,
            protocol: None,
            cookie: None,
            source: None,
            source_ways: SourceWays::default(),
            tcp_user_timeout_ms: None,
            tcp_fast_open: false,
            pool_low: None,
            pool_max: None,
            pool_purge_delay_ms: 5000,
            reuse_max: None,
            slowstart_ms: 0,
            shutdown_sessions_on_down: false,
            shutdown_backup_sessions_on_up: false,
            id: 0,
            saved: None,
            redirect_prefix: None,
            tls: ServerTls::default(),
            check_proto: None,
            web_socket: WebSocketProto::Auto,
            non_stick: false,
            socks4: None,
            check_via_socks4: false,
            health_check: None,
            resolving: Resolving::default(),
            agent: Agent::default(),
            track: None,
            observing: Observing::default(),
            init_state: InitState::Up,
            ring_key: None,
        }
    }
}

/// A server of a backend.
#[derive(Clone, Debug)]
pub struct Server {
    pub span: Span,
    /// `id`; assigned from 1 upwards if the file has none.
    pub id: u32,
    pub name: Box<str>,
    /// Address as written in the file (`web.example:80`), for operators.
    pub address_text: Box<str>,
    /// Address of the server. `set server … addr` overrides it in the state.
    pub address: ServerAddress,
    pub options: ServerOptions,
    pub state: Arc<ServerState>,
    /// Number of the address and connection options, assigned by [`crate::control::install`]. A
    /// configuration with other options for this server gets another number, so that old
    /// connections are not reused.
    pub way: u32,
    /// Host name that the line gives in place of an address. With `resolvers` and an address, the
    /// name is empty until an operator sets one (`set server … fqdn`).
    pub host: Option<Box<HostName>>,
    /// Server whose state this one follows (`track`). If that server follows another one, too,
    /// this is the last in the chain.
    pub tracks: Option<(ProxyIndex, ServerIndex)>,
    /// Arguments of the `add server` command that created the server; None for a server of the
    /// file.
    pub added: Option<Arc<[Box<str>]>>,
}

impl Server {
    /// Returns whether the host name is resolved at run time: the name on the line, or one that an
    /// operator set.
    pub fn is_followed(&self) -> bool {
        self.is_followed_if(|| self.state.host().is_some())
    }

    /// Variant of [`Server::is_followed`] for a caller that has locked the state. `is_named`
    /// returns whether an operator set a name.
    pub(crate) fn is_followed_if(&self, is_named: impl FnOnce() -> bool) -> bool {
        self.host
            .as_ref()
            .is_some_and(|host| host.resolvers.is_some() && (!host.text.is_empty() || is_named()))
    }

    /// Returns the TLS settings of connections for traffic, from the file or an operator; None
    /// means without TLS.
    pub fn traffic_tls(&self) -> Option<&Arc<Connector>> {
        let tls = &self.options.tls;
        match self.state.tls_override() {
            None => tls.for_traffic(),
            Some(on) => tls.connector.as_ref().filter(|_| on),
        }
    }
}
