//! Holds the TLS options of `server` and `default-server` lines. The TLS connector is built from
//! them when the whole file is loaded.

use crate::compiled::Expression;
use rustls::sign::CertifiedKey;
use std::sync::Arc;
use tls::authorities::Authorities;
use tls::revocation::Revocations;
use tls::{Connector, TlsSide};

/// Content of a file with the name that operators use.
#[derive(Debug)]
pub struct NamedContent<T> {
    pub name: Box<str>,
    pub content: Arc<T>,
}

impl<T> Clone for NamedContent<T> {
    fn clone(&self) -> Self {
        NamedContent {
            name: self.name.clone(),
            content: Arc::clone(&self.content),
        }
    }
}

/// TLS settings of a server.
#[derive(Clone, Debug, Default)]
pub struct ServerTls {
    pub ssl: bool,
    /// The line or `default-server` contains `ssl`; a later `no-ssl` leaves this set.
    pub ssl_said: bool,
    /// `no-ssl` is the last of both options, in the line or `default-server`.
    pub ssl_undone: bool,
    /// `check-ssl`: checks use TLS even if their address differs or the traffic does not;
    /// `no-check-ssl`: they never do. None: like the traffic.
    pub check_ssl: Option<bool>,
    /// Versions, ciphers and similar settings, mostly shared by all servers of a backend.
    pub side: Arc<TlsSide>,
    /// `verify`; None uses `ssl-server-verify`.
    pub verify: Option<bool>,
    pub verify_host: Option<Box<str>>,
    pub authorities: Option<NamedContent<Authorities>>,
    /// A file of the settings was rejected, so missing settings are not reported again.
    pub refused: bool,
    pub crls: Option<NamedContent<Revocations>>,
    pub certificate: Option<NamedContent<CertifiedKey>>,
    /// `sni`, as written in the file, and the compiled expression.
    pub sni: Option<(Box<str>, Arc<Expression>)>,
    pub alpn: Vec<Vec<u8>>,
    pub check_sni: Option<Box<str>>,
    /// `check-alpn`; None is `alpn`.
    pub check_alpn: Option<Vec<Vec<u8>>>,
    /// Sessions are not resumed (`no-ssl-reuse`).
    pub no_reuse: bool,
    /// Connector for traffic with `ssl`, or only for checks; built at the end of loading.
    pub connector: Option<Arc<Connector>>,
}

impl ServerTls {
    pub fn side_mut(&mut self) -> &mut TlsSide {
        Arc::make_mut(&mut self.side)
    }

    pub fn for_traffic(&self) -> Option<&Arc<Connector>> {
        self.connector.as_ref().filter(|_| self.ssl)
    }

    /// Returns the connector for checks; None without TLS. Checks with an address or port of their
    /// own only use TLS with `check-ssl`. With `no-check-ssl`, no check does.
    pub fn for_checks(&self, elsewhere: bool) -> Option<&Arc<Connector>> {
        let wanted = self.check_ssl.unwrap_or(self.ssl && !elsewhere);
        self.connector.as_ref().filter(|_| wanted)
    }
}

/// `ws`: HTTP version for WebSocket streams.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum WebSocketProto {
    /// Version of the other streams, but HTTP/1 if ALPN offers it.
    #[default]
    Auto,
    H1,
    H2,
}
