//! What the words of a `server` line say of TLS, and what `default-server`
//! lines hand on. A connector is made of them when the whole file is read.

use crate::compiled::Expression;
use rustls::sign::CertifiedKey;
use std::sync::Arc;
use tls::authorities::Authorities;
use tls::revocation::Revocations;
use tls::{Connector, TlsSide};

/// What a file held, by the name that operators know it by.
#[derive(Debug)]
pub struct Named<T> {
    /// The file.
    pub name: Box<str>,
    /// What it held.
    pub it: Arc<T>,
}

impl<T> Clone for Named<T> {
    fn clone(&self) -> Self {
        Named {
            name: self.name.clone(),
            it: Arc::clone(&self.it),
        }
    }
}

/// The TLS of a server.
#[derive(Clone, Debug, Default)]
pub struct ServerTls {
    /// `ssl`
    pub ssl: bool,
    /// An `ssl` was said for it, on its line or by `default-server`; a later `no-ssl` leaves it so.
    pub ssl_said: bool,
    /// `no-ssl` was the last word, on its line or by `default-server`.
    pub ssl_undone: bool,
    /// `check-ssl`: checks speak TLS although they go elsewhere, or the traffic does not;
    /// `no-check-ssl`: they never do. None: as the traffic does.
    pub check_ssl: Option<bool>,
    /// Versions, ciphers and the like: one for all servers of a backend, mostly.
    pub side: Arc<TlsSide>,
    /// `verify`; None is what `ssl-server-verify` says.
    pub verify: Option<bool>,
    /// `verifyhost`
    pub verify_host: Option<Box<str>>,
    /// `ca-file`
    pub authorities: Option<Named<Authorities>>,
    /// A file of it was refused: what it lacks for that is not told again.
    pub refused: bool,
    /// `crl-file`
    pub crls: Option<Named<Revocations>>,
    /// `crt`
    pub certificate: Option<Named<CertifiedKey>>,
    /// `sni`, as it is written.
    pub sni: Option<(Box<str>, Arc<Expression>)>,
    /// `alpn`
    pub alpn: Vec<Vec<u8>>,
    /// `check-sni`
    pub check_sni: Option<Box<str>>,
    /// `check-alpn`; None is `alpn`.
    pub check_alpn: Option<Vec<Vec<u8>>>,
    /// `no-ssl-reuse`
    pub no_reuse: bool,
    /// For traffic with `ssl`, or for checks alone; made at the end of loading.
    pub connector: Option<Arc<Connector>>,
}

impl ServerTls {
    /// Versions, ciphers and the like, to be changed for this one.
    pub fn side_mut(&mut self) -> &mut TlsSide {
        Arc::make_mut(&mut self.side)
    }

    /// How connections for traffic are made; None is without TLS.
    pub fn for_traffic(&self) -> Option<&Arc<Connector>> {
        self.connector.as_ref().filter(|_| self.ssl)
    }

    /// How connections for checks are made; None is without TLS. Checks that go
    /// to an address or a port of their own speak TLS only if `check-ssl` says so, and
    /// with `no-check-ssl` none does.
    pub fn for_checks(&self, elsewhere: bool) -> Option<&Arc<Connector>> {
        let wanted = self.check_ssl.unwrap_or(self.ssl && !elsewhere);
        self.connector.as_ref().filter(|_| wanted)
    }
}

/// `ws`: the version for WebSocket streams.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum WebSocketProto {
    /// That of the other streams; where ALPN offers HTTP/1 too, that.
    #[default]
    Auto,
    /// HTTP/1
    H1,
    /// HTTP/2 (RFC 8441)
    H2,
}
