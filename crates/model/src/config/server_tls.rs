//! Holds the TLS options of `server` and `default-server` lines. The TLS connector is built from
//! them when the whole file is loaded.

use crate::compiled::Expression;
use rustls::sign::CertifiedKey;
use std::sync::Arc;
use tls::authorities::Authorities;
use tls::revocation::Revocations;
use tls::{Connector, TlsSide};

/// Content of a file, with the name by which operators refer to the file.
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
    /// The line or `default-server` contains `ssl`. A later `no-ssl` does not clear this.
    pub ssl_said: bool,
    /// Of `ssl` and `no-ssl`, `no-ssl` came last in the line or `default-server`.
    pub ssl_undone: bool,
    /// `check-ssl` (true): checks use TLS even if they have an address of their own or the traffic
    /// is without TLS. `no-check-ssl` (false): checks never use TLS. None: checks are like the
    /// traffic.
    pub check_ssl: Option<bool>,
    /// Versions, ciphers and similar settings, mostly shared by all servers of a backend.
    pub side: Arc<TlsSide>,
    /// `verify`; None uses `ssl-server-verify`.
    pub verify: Option<bool>,
    pub verify_host: Option<Box<str>>,
    pub authorities: Option<NamedContent<Authorities>>,
    /// A file of the TLS settings was rejected, so that settings missing because of that are not
    /// reported again.
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

    /// Returns the connector for checks; None without TLS. `elsewhere`: the checks have an address
    /// or port of their own, and use TLS only with `check-ssl`.
    pub fn for_checks(&self, elsewhere: bool) -> Option<&Arc<Connector>> {
        let wanted = self.check_ssl.unwrap_or(self.ssl && !elsewhere);
        self.connector.as_ref().filter(|_| wanted)
    }
}

/// `ws`: HTTP version for WebSocket streams.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum WebSocketProto {
    /// HTTP version of the connection's other streams, but HTTP/1 if ALPN offers it.
    #[default]
    Auto,
    H1,
    H2,
}
