//! Provides both ends of TLS for tests: a client with an exact offer that reports the result, and a
//! TLS layer for origins.
//!
//! The module uses rustls with blocking sockets, never the code of the product. For what rustls
//! does not support (old versions, odd ciphers) a test uses the `openssl` program.

use crate::Failure;
use crate::http::{BufferedConnection, Carrier, HttpResponse};
use crate::pki::Issued;
use crate::probe::{CLOSED_FRESH, failure_of, read_answer, request_bytes};
use namespace::{LabError, Location};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, DigitallySignedStruct, HandshakeKind,
    ProtocolVersion, RootCertStore, ServerConfig, ServerConnection, SideData, SignatureScheme,
    StreamOwned, SupportedProtocolVersion,
};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use rustls::{CipherSuite, Error, NamedGroup};

/// Default timeout of a handshake or a response.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum number of bytes that are read from a refused client.
const MAX_DRAINED_BYTES: u64 = 1024 * 1024;

/// Maximum number of sessions that a client keeps for resumption.
const SESSIONS: usize = 64;

/// TLS versions that are offered or accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Versions {
    #[default]
    Both,
    Only12,
    Only13,
}

static ONLY_12: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS12];
static ONLY_13: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];

impl Versions {
    fn list(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Versions::Both => rustls::ALL_VERSIONS,
            Versions::Only12 => &ONLY_12,
            Versions::Only13 => &ONLY_13,
        }
    }
}

/// Offer of a TLS client. By default the client trusts every certificate, sends no server name, and
/// resumes no session.
#[derive(Clone, Copy, Debug, Default)]
pub struct TlsOffer<'a> {
    /// Server name to request; None: no SNI.
    pub sni: Option<&'a str>,
    /// Trusted CAs, as returned by [`crate::pki::Authority::der`]; empty: every certificate is
    /// trusted.
    pub roots: &'a [&'a [u8]],
    pub alpn: &'a [&'a str],
    pub versions: Versions,
    /// Cipher suites, best first; empty: all that rustls supports.
    pub suites: &'a [CipherSuite],
    /// Key exchange groups, best first; empty: all that rustls supports.
    pub groups: &'a [NamedGroup],
    pub identity: Option<&'a Issued>,
    /// Keep sessions, and resume them with the next connection.
    pub resume: bool,
    /// Send early data in sessions that allow it.
    pub early_data: bool,
}

/// Requirements of a TLS server. By default the server requests no client certificate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms<'a> {
    /// CAs for client certificates; empty: no certificate is requested.
    pub client_roots: &'a [&'a [u8]],
    /// Clients without a certificate are accepted, too.
    pub client_optional: bool,
    pub alpn: &'a [&'a str],
    pub versions: Versions,
    /// Cipher suites, best first; empty: all that rustls supports.
    pub suites: &'a [CipherSuite],
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Negotiated {
    /// Version as text: `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// Registered name of the cipher suite: `TLS13_AES_128_GCM_SHA256`.
    pub suite: String,
    /// Key exchange group, if a key exchange took place.
    pub group: Option<String>,
    /// ALPN protocol, if one was negotiated.
    pub alpn: Option<String>,
    /// Server name that the client requested; only known to a server.
    pub sni: Option<String>,
    /// The handshake resumed an earlier session.
    pub resumed: bool,
    pub early_data: bool,
    /// Certificates of the other side, its own first.
    pub certificates: Vec<Vec<u8>>,
}

/// Reason why there is no connection or no response.
#[derive(Clone, PartialEq, Debug)]
pub enum TlsFailure {
    /// A TLS error: an alert of the other side, or an error in its messages.
    Tls(Error),
    Plain(Failure),
}

impl TlsFailure {
    /// Returns whether the other side refused with this alert.
    pub fn is_alert(&self, alert: rustls::AlertDescription) -> bool {
        *self == TlsFailure::Tls(Error::AlertReceived(alert))
    }
}

/// A TLS client: its settings, and the sessions that it may resume.
#[derive(Clone, Debug)]
pub struct TlsClient {
    place: Location,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    timeout: Duration,
    witness: Arc<Witness>,
}

impl TlsClient {
    /// Creates a client on this machine.
    pub fn new_local(offer: &TlsOffer) -> Result<Self, LabError> {
        TlsClient::new(Location::Here, offer)
    }

    /// Creates a client without a connection.
    pub fn new(place: impl Into<Location>, offer: &TlsOffer) -> Result<Self, LabError> {
        let provider = Arc::new(provider(offer.suites, offer.groups));
        let witness = Arc::new(Witness::new(offer.roots, &provider)?);
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(offer.versions.list())
            .map_err(tls("choose versions"))?
            .dangerous()
            .with_custom_certificate_verifier(witness.clone());
        let mut config = match offer.identity {
            Some(issued) => builder
                .with_client_auth_cert(issued.certificates(), issued.key())
                .map_err(tls("take the certificate"))?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn(offer.alpn);
        config.enable_sni = offer.sni.is_some();
        config.enable_early_data = offer.early_data;
        config.resumption = if offer.resume {
            Resumption::in_memory_sessions(SESSIONS)
        } else {
            Resumption::disabled()
        };
        let name = offer.sni.unwrap_or("localhost").to_owned();
        let name = ServerName::try_from(name)
            .map_err(|_| LabError::ServerName(offer.sni.unwrap_or_default().to_owned()))?;
        Ok(TlsClient {
            place: place.into(),
            config: Arc::new(config),
            name,
            timeout: DEFAULT_TIMEOUT,
            witness,
        })
    }

    /// Sets the timeout of a handshake, and of each response.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Returns the rustls configuration, for tests that drive rustls themselves.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }

    /// Returns the OCSP response that came with the last certificate; empty without one.
    pub fn stapled(&self) -> Vec<u8> {
        self.witness.lock().clone()
    }

    /// Connects, and performs the handshake.
    pub fn connect(&self, address: SocketAddr) -> Result<TlsConnection, TlsFailure> {
        self.connect_early(address, b"")
    }

    /// Connects with these bytes as early data if the session allows. The result shows whether they
    /// were accepted.
    pub fn connect_early(
        &self,
        address: SocketAddr,
        early: &[u8],
    ) -> Result<TlsConnection, TlsFailure> {
        let connect = || TcpStream::connect_timeout(&address, self.timeout);
        let stream = self.place.enter(connect);
        let stream = stream.map_err(|e| TlsFailure::Plain(Failure::Connect(e.kind())))?;
        self.over(stream, &address.to_string(), early)
    }

    /// Performs the handshake on an existing connection: after a PROXY header, or in a tunnel.
    pub fn over(
        &self,
        stream: TcpStream,
        host: &str,
        early: &[u8],
    ) -> Result<TlsConnection, TlsFailure> {
        let _ = stream.set_nodelay(true);
        let _ = stream.set_read_timeout(Some(self.timeout));
        let _ = stream.set_write_timeout(Some(self.timeout));
        let connection = ClientConnection::new(self.config.clone(), self.name.clone());
        let mut stream = StreamOwned::new(connection.map_err(TlsFailure::Tls)?, stream);
        if let Some(mut writer) = stream.conn.early_data() {
            // Writes as much early data as the session allows, and ignores the rest.
            let _ = writer.write(early);
        }
        handshake(&mut stream.conn, &mut stream.sock)?;
        let mut negotiated = negotiated(&stream.conn);
        negotiated.early_data = stream.conn.is_early_data_accepted();
        let host = match &self.name {
            ServerName::DnsName(name) if self.config.enable_sni => name.as_ref().to_owned(),
            _ => host.to_owned(),
        };
        Ok(TlsConnection {
            wire: BufferedConnection::new(stream),
            negotiated,
            host,
            timeout: self.timeout,
        })
    }
}

/// A TLS connection, which transfers plain bytes or makes HTTP/1 requests.
#[derive(Debug)]
pub struct TlsConnection {
    wire: BufferedConnection<StreamOwned<ClientConnection, TcpStream>>,
    negotiated: Negotiated,
    host: String,
    timeout: Duration,
}

impl TlsConnection {
    /// Returns the result of the handshake.
    pub fn negotiated(&self) -> &Negotiated {
        &self.negotiated
    }

    pub fn get(&mut self, path: &str) -> Result<HttpResponse, TlsFailure> {
        self.request("GET", path, &[], b"")
    }

    /// Sends a request and waits for its response.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<HttpResponse, TlsFailure> {
        let bytes = request_bytes(method, path, &self.host, headers, body);
        // Reads the response in any case, because a server may refuse before it has read
        // everything.
        let written = self.wire.stream.write_all(&bytes);
        self.wire.set_deadline(Instant::now() + self.timeout);
        let answer = read_answer(&mut self.wire, method == "HEAD");
        answer.map(|(answer, _)| answer).map_err(|error| {
            if let Err(error) = self.wire.stream.conn.process_new_packets() {
                return TlsFailure::Tls(error);
            }
            match written {
                Err(error) if error.kind() != ErrorKind::WouldBlock => failed(&error),
                _ => TlsFailure::Plain(failure_of(error, CLOSED_FRESH)),
            }
        })
    }

    pub fn close(&mut self) -> io::Result<()> {
        self.wire.stream.conn.send_close_notify();
        self.wire.stream.flush()
    }

    /// Returns the TCP connection below.
    pub fn socket(&self) -> &TcpStream {
        &self.wire.stream.sock
    }
}

impl Read for TlsConnection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wire.stream.read(buffer)
    }
}

impl Write for TlsConnection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wire.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.wire.stream.flush()
    }
}

/// TLS layer of a test server.
#[derive(Clone, Debug)]
pub struct TlsServer(Arc<ServerConfig>);

impl TlsServer {
    /// Creates a layer that presents this certificate for every name.
    pub fn new(issued: &Issued, terms: &Terms) -> Result<Self, LabError> {
        let provider = Arc::new(provider(terms.suites, &[]));
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(terms.versions.list())
            .map_err(tls("choose versions"))?;
        let builder = if terms.client_roots.is_empty() {
            builder.with_no_client_auth()
        } else {
            let roots = Arc::new(roots(terms.client_roots)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            let verifier = if terms.client_optional {
                verifier.allow_unauthenticated()
            } else {
                verifier
            };
            let verifier = verifier.build().map_err(|_| LabError::NoAuthority)?;
            builder.with_client_cert_verifier(verifier)
        };
        let mut config = builder
            .with_single_cert(issued.certificates(), issued.key())
            .map_err(tls("take the certificate"))?;
        config.alpn_protocols = alpn(terms.alpn);
        Ok(TlsServer(Arc::new(config)))
    }

    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0)
    }

    /// Performs the handshake as the server.
    pub fn accept(
        &self,
        mut stream: TcpStream,
    ) -> Result<(StreamOwned<ServerConnection, TcpStream>, Negotiated), TlsFailure> {
        let _ = stream.set_nodelay(true);
        let connection = ServerConnection::new(self.0.clone());
        let mut connection = connection.map_err(TlsFailure::Tls)?;
        if let Err(failure) = handshake(&mut connection, &mut stream) {
            drain(&mut stream);
            return Err(failure);
        }
        let mut negotiated = negotiated(&connection);
        negotiated.sni = connection.server_name().map(str::to_owned);
        Ok((StreamOwned::new(connection, stream), negotiated))
    }
}

impl<C, S: SideData> Carrier for StreamOwned<C, TcpStream>
where
    C: DerefMut + Deref<Target = ConnectionCommon<S>>,
{
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.sock.set_read_timeout(timeout)
    }
}

fn handshake<S: SideData>(
    connection: &mut ConnectionCommon<S>,
    stream: &mut TcpStream,
) -> Result<(), TlsFailure> {
    while connection.is_handshaking() {
        connection.complete_io(stream).map_err(|e| failed(&e))?;
    }
    // Sends the last flight of a client, which may still be pending.
    while connection.wants_write() {
        connection.write_tls(stream).map_err(|e| failed(&e))?;
    }
    Ok(())
}

/// Ends the write side, then reads until the other side closes: closing a socket with unread data
/// would discard the alert that was sent before.
fn drain(stream: &mut TcpStream) {
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.set_read_timeout(Some(DEFAULT_TIMEOUT));
    let _ = io::copy(&mut stream.take(MAX_DRAINED_BYTES), &mut io::sink());
}

fn failed(error: &io::Error) -> TlsFailure {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    if let Some(inner) = inner {
        return TlsFailure::Tls(Error::clone(inner));
    }
    TlsFailure::Plain(match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Failure::TimedOut,
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
            Failure::Closed { reused: false }
        }
        kind => Failure::Io(kind),
    })
}

fn negotiated<S>(connection: &ConnectionCommon<S>) -> Negotiated {
    let certificates = connection.peer_certificates().unwrap_or_default();
    let alpn = connection.alpn_protocol();
    let suite = connection.negotiated_cipher_suite();
    let group = connection.negotiated_key_exchange_group();
    Negotiated {
        version: match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "",
        },
        suite: suite.map_or_else(String::new, |suite| format!("{:?}", suite.suite())),
        group: group.map(|group| format!("{:?}", group.name())),
        alpn: alpn.map(|name| String::from_utf8_lossy(name).into_owned()),
        sni: None,
        resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        early_data: false,
        certificates: certificates.iter().map(|c| c.to_vec()).collect(),
    }
}

fn provider(suites: &[CipherSuite], groups: &[NamedGroup]) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    if !suites.is_empty() {
        let all = std::mem::take(&mut provider.cipher_suites);
        let found = |suite| all.iter().find(|known| known.suite() == suite).copied();
        provider.cipher_suites = suites.iter().filter_map(|&suite| found(suite)).collect();
    }
    if !groups.is_empty() {
        let all = std::mem::take(&mut provider.kx_groups);
        let found = |group| all.iter().find(|known| known.name() == group).copied();
        provider.kx_groups = groups.iter().filter_map(|&group| found(group)).collect();
    }
    provider
}

fn alpn(names: &[&str]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.as_bytes().to_vec()).collect()
}

fn roots(ders: &[&[u8]]) -> Result<RootCertStore, LabError> {
    let mut roots = RootCertStore::empty();
    for der in ders {
        let der = CertificateDer::from(der.to_vec());
        roots.add(der).map_err(tls("trust the authority"))?;
    }
    Ok(roots)
}

fn tls(doing: &'static str) -> impl FnOnce(Error) -> LabError {
    move |source| LabError::Tls {
        doing,
        source: Box::new(source),
    }
}

/// Certificate verifier of a test client: stores the OCSP response of the server, and accepts every
/// certificate if no CAs are set.
#[derive(Debug)]
struct Witness {
    provider: Arc<CryptoProvider>,
    verifier: Option<Arc<WebPkiServerVerifier>>,
    stapled: Mutex<Vec<u8>>,
}

impl Witness {
    fn new(ders: &[&[u8]], provider: &Arc<CryptoProvider>) -> Result<Self, LabError> {
        let verifier = if ders.is_empty() {
            None
        } else {
            let roots = Arc::new(roots(ders)?);
            let builder = WebPkiServerVerifier::builder_with_provider(roots, provider.clone());
            Some(builder.build().map_err(|_| LabError::NoAuthority)?)
        };
        Ok(Witness {
            provider: provider.clone(),
            verifier,
            stapled: Mutex::new(Vec::new()),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.stapled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.lock() = ocsp_response.to_vec();
        match &self.verifier {
            Some(verifier) => verifier.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ),
            None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OriginServer;
    use crate::pki::{Authority, KeyKind, Leaf};

    fn site(authority: &Authority) -> Issued {
        let leaf = Leaf {
            names: &["a.example"],
            ..Leaf::default()
        };
        authority.issue(&leaf).unwrap()
    }

    #[test]
    fn client_negotiates_its_offer_and_resumes_on_request() {
        let authority = Authority::new("Root").unwrap();
        let terms = Terms {
            alpn: &["http/1.1"],
            ..Terms::default()
        };
        let server = TlsServer::new(&site(&authority), &terms).unwrap();
        let origin = OriginServer::tls(
            Location::Here,
            "web0",
            "127.0.0.1:0".parse().unwrap(),
            server,
        );
        let origin = origin.unwrap();
        for versions in [Versions::Only12, Versions::Only13] {
            let client = TlsClient::new_local(&TlsOffer {
                sni: Some("a.example"),
                roots: &[authority.der()],
                alpn: &["h2", "http/1.1"],
                versions,
                resume: true,
                ..TlsOffer::default()
            })
            .unwrap();
            for resumed in [false, true] {
                let mut connection = client.connect(origin.address()).unwrap();
                assert_eq!(connection.get("/a").unwrap().text(), "web0");
                assert_eq!(connection.get("/b").unwrap().text(), "web0");
                let negotiated = connection.negotiated();
                assert_eq!(negotiated.resumed, resumed, "{versions:?}");
                assert_eq!(negotiated.alpn.as_deref(), Some("http/1.1"));
                let wanted = if versions == Versions::Only12 {
                    "TLSv1.2"
                } else {
                    "TLSv1.3"
                };
                assert_eq!(negotiated.version, wanted);
            }
        }
        let seen = origin.take_handshakes();
        assert_eq!(seen.len(), 4);
        assert_eq!(seen[0].sni.as_deref(), Some("a.example"));
        assert!(origin.take_requests()[0].contains("host: a.example\r\n"));
    }

    #[test]
    fn untrusted_certificate_is_refused_on_either_side() {
        let (authority, other) = (
            Authority::new("Root").unwrap(),
            Authority::new("Other").unwrap(),
        );
        let terms = Terms {
            client_roots: &[authority.der()],
            ..Terms::default()
        };
        let server = TlsServer::new(&site(&authority), &terms).unwrap();
        let origin = OriginServer::tls(
            Location::Here,
            "web0",
            "127.0.0.1:0".parse().unwrap(),
            server,
        );
        let origin = origin.unwrap();
        let leaf = Leaf {
            subject: &[("CN", "somebody")],
            key: KeyKind::Ed25519,
            client: true,
            ..Leaf::default()
        };
        let (good, bad) = (authority.issue(&leaf).unwrap(), other.issue(&leaf).unwrap());
        let ask = |identity: Option<&Issued>, roots: &[&[u8]]| {
            let client = TlsClient::new_local(&TlsOffer {
                sni: Some("a.example"),
                roots,
                identity,
                ..TlsOffer::default()
            });
            let mut connection = client.unwrap().connect(origin.address())?;
            connection.get("/")
        };
        assert_eq!(ask(Some(&good), &[]).unwrap().status, 200);
        let seen = origin.take_handshakes();
        assert_eq!(seen[0].certificates.concat(), good.der);
        let refused = ask(None, &[]).unwrap_err();
        assert!(refused.is_alert(rustls::AlertDescription::CertificateRequired));
        assert!(matches!(
            ask(Some(&bad), &[]),
            Err(TlsFailure::Tls(Error::AlertReceived(_)))
        ));
        assert!(matches!(
            ask(Some(&good), &[other.der()]),
            Err(TlsFailure::Tls(Error::InvalidCertificate(_)))
        ));
    }
}
