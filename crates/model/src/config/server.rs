//! One `server` line.

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

/// What a PROXY header of version 2 tells besides addresses and ALPN.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ProxyExtensions {
    /// A checksum.
    pub checksum: bool,
    /// The name that the client's TLS asked for.
    pub authority: bool,
    /// The stream's `unique-id-format`.
    pub unique_id: bool,
    /// The client's TLS and its version.
    pub tls: bool,
    /// With `tls`: the common name of the client's certificate.
    pub common_name: bool,
    /// With `tls`: the cipher.
    pub cipher: bool,
    /// With `tls`: how the certificate that was shown is signed.
    pub signature: bool,
    /// With `tls`: the key of the certificate that was shown.
    pub key: bool,
}

/// A field of `set-proxy-v2-tlv-fmt`.
#[derive(Clone, Debug)]
pub struct ProxyField {
    /// Its type.
    pub kind: u8,
    /// Its format as the file has it.
    pub text: Box<str>,
    /// What it tells; None is an empty field.
    pub format: Option<Arc<Format>>,
}

impl PartialEq for ProxyField {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.text == other.text
    }
}

/// What `server` and `default-server` can set, but for the address and the name.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// `weight`, 0..=256.
    pub weight: u32,
    /// `backup`.
    pub backup: bool,
    /// `disabled`: starts in maintenance.
    pub disabled: bool,
    /// `maxconn`; 0 is no limit.
    pub maxconn: u32,
    /// Its address is one of UDP: only for log messages.
    pub datagrams: bool,
    /// `log-proto octet-count`.
    pub log_counted: bool,
    /// `minconn`; 0 is the same as maxconn.
    pub minconn: u32,
    /// `maxqueue`; 0 is no limit.
    pub maxqueue: u32,
    /// `check`.
    pub check: bool,
    /// `rise`: successes until up.
    pub rise: u32,
    /// `fall`: failures until down.
    pub fall: u32,
    /// `inter`, milliseconds.
    pub inter_ms: u32,
    /// `fastinter`, milliseconds; None is `inter`.
    pub fastinter_ms: Option<u32>,
    /// `downinter`, milliseconds; None is `inter`.
    pub downinter_ms: Option<u32>,
    /// `addr`: another host for the checks.
    pub check_host: Option<ServerAddress>,
    /// `port`: another port for the checks.
    pub check_port: Option<u16>,
    /// `check-send-proxy`.
    pub check_send_proxy: bool,
    /// `send-proxy` (1) or `send-proxy-v2` (2).
    pub send_proxy: Option<u8>,
    /// `send-proxy-v2-ssl`, `proxy-v2-options`: what else the header of version 2 tells.
    pub proxy_extensions: ProxyExtensions,
    /// `set-proxy-v2-tlv-fmt`: fields of the header of version 2, in the file's order.
    pub proxy_fields: Vec<ProxyField>,
    /// `pool-conn-name`: the name of its connections, which only streams of the same
    /// name share; the text and what it means.
    pub pool_name: Option<(Box<str>, Arc<Expression>)>,
    /// `proto`: the version of HTTP that is spoken with it whatever is negotiated.
    pub protocol: Option<HttpProtocol>,
    /// `cookie`: the value that stands for this server.
    pub cookie: Option<Box<[u8]>>,
    /// `source`: the address that connections to it come from.
    pub source: Option<SocketAddr>,
    /// The rest of `source`.
    pub source_ways: SourceWays,
    /// `tcp-ut`, milliseconds.
    pub tcp_user_timeout_ms: Option<u32>,
    /// `tfo`.
    pub tcp_fast_open: bool,
    /// `pool-low-conn`: idle connections below which threads take none from each other.
    pub pool_low: Option<u32>,
    /// `pool-max-conn`: idle connections kept; None is no limit, 0 keeps none.
    pub pool_max: Option<u32>,
    /// `pool-purge-delay`, milliseconds.
    pub pool_purge_delay_ms: u32,
    /// `max-reuse`: requests a connection may carry; None is no limit.
    pub reuse_max: Option<u32>,
    /// `slowstart`, milliseconds.
    pub slowstart_ms: u32,
    /// `on-marked-down shutdown-sessions`.
    pub shutdown_sessions_on_down: bool,
    /// `on-marked-up shutdown-backup-sessions`.
    pub shutdown_backup_sessions_on_up: bool,
    /// `id`; 0 where the line gives none.
    pub id: u32,
    /// What a state file says of it, which is where it begins.
    pub saved: Option<Arc<Kept>>,
    /// `redir`: GET and HEAD are answered with a redirection to this prefix.
    pub redirect_prefix: Option<Box<[u8]>>,
    /// TLS.
    pub tls: ServerTls,
    /// `check-proto`
    pub check_proto: Option<HttpProtocol>,
    /// `ws`
    pub web_socket: WebSocketProto,
    /// `non-stick`: no table keeps that a client belongs to it.
    pub non_stick: bool,
    // Checks and the way to a server.
    /// `socks4`: the proxy through which it is reached.
    pub socks4: Option<SocketAddr>,
    /// `check-via-socks4`: so do its checks.
    pub check_via_socks4: bool,
    /// `healthcheck`: the section that says what its checks ask.
    pub health_check: Option<Arc<HealthCheck>>,
    // RESOLVERS's family
    /// How its name is followed.
    pub resolving: Resolving,
    /// Its agent.
    pub agent: Agent,
    /// `track`, and where that stands.
    pub track: Option<(Span, Box<str>)>,
    /// What is made of errors of its traffic.
    pub observing: Observing,
    /// `init-state`
    pub init_state: InitState,

    // Hashes.
    /// `hash-key`
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
    /// Its name in the file.
    pub span: Span,
    /// `id`; assigned from 1 upwards where the file gives none.
    pub id: u32,
    /// Its name.
    pub name: Box<str>,
    /// As the file has it (`web.example:80`), for people.
    pub address_text: Box<str>,
    /// Where it is. `set server … addr` overrides it in the state.
    pub address: ServerAddress,
    /// The rest of its line.
    pub options: ServerOptions,
    /// What changes while it serves.
    pub state: Arc<ServerState>,
    /// Which of the ways to it that its name has had this one is: another
    /// address or other options of its connections make another way.
    /// [`crate::control::install`] numbers them.
    pub way: u32,
    // RESOLVERS's family
    /// The name that its line has in place of an address. With `resolvers` and an address it
    /// is empty, until an operator gives it one (`set server … fqdn`).
    pub host: Option<Box<HostName>>,
    /// Whose state it has (`track`): the end of its chain.
    pub tracks: Option<(ProxyIndex, ServerIndex)>,
    /// The words behind `add server` that made it: no file has it.
    pub added: Option<Arc<[Box<str>]>>,
}

impl Server {
    /// Whether its name is followed while it serves: that of its line, or one that an
    /// operator gave it.
    pub fn is_followed(&self) -> bool {
        self.is_followed_if(|| self.state.host().is_some())
    }

    /// The same for a caller that has locked the state: `is_named` says whether an operator
    /// gave it a name.
    pub(crate) fn is_followed_if(&self, is_named: impl FnOnce() -> bool) -> bool {
        self.host
            .as_ref()
            .is_some_and(|host| host.resolvers.is_some() && (!host.text.is_empty() || is_named()))
    }

    /// How connections for traffic speak TLS, as its file or later an operator
    /// says; None is without.
    pub fn traffic_tls(&self) -> Option<&Arc<Connector>> {
        let tls = &self.options.tls;
        match self.state.tls_override() {
            None => tls.for_traffic(),
            Some(on) => tls.connector.as_ref().filter(|_| on),
        }
    }
}
