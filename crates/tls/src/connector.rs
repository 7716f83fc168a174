//! Holds the TLS settings of connections to one server: the configuration of rustls, the SNI, the
//! verified name, and session resumption. This code opens no connection.

use super::authorities::Authorities;
use super::build::{self, BuildError};
use super::chain::{ChainError, Purpose, code};
use super::ignore::IgnoredErrors;
use super::revocation::Revocations;
use super::store::{ConfigLocation, Dependent, Missing, Prepared, Stock};
use super::verify::{self, Belief};
use super::{hostname, schemes};
use crate::settings::Parameters;
use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, Tls12Resumption};
use rustls::pki_types::{CertificateDer, DnsName, IpAddr, Ipv4Addr, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Maximum number of names under which sessions with a server are cached. A server usually has a
/// few.
const SESSION_NAMES_MAX: usize = 64;

#[derive(Clone, Debug, Default)]
pub struct ClientSettings {
    pub parameters: Parameters,
    /// Protocols of `alpn`, the preferred first.
    pub alpn: Vec<Vec<u8>>,
    pub verify: bool,
    pub authorities: Option<Arc<Authorities>>,
    pub crls: Option<Arc<Revocations>>,
    /// `verifyhost`: name that the certificate must have if no SNI is sent.
    pub verify_host: Option<Box<str>>,
    /// `crt`: the client certificate that is presented.
    pub certificate: Option<Arc<CertifiedKey>>,
    pub no_resumption: bool,
    pub no_tickets: bool,
}

impl PartialEq for ClientSettings {
    fn eq(&self, other: &Self) -> bool {
        let shown = |settings: &Self| {
            let certified = settings.certificate.as_ref();
            certified.map(|certified| certified.cert.clone())
        };
        self.parameters == other.parameters
            && self.alpn == other.alpn
            && self.verify == other.verify
            && self.authorities == other.authorities
            && self.crls == other.crls
            && self.verify_host == other.verify_host
            && shown(self) == shown(other)
            && self.no_resumption == other.no_resumption
            && self.no_tickets == other.no_tickets
    }
}

/// A value of `sni` that is not a valid host name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the value of 'sni' is not a host name")]
pub struct BadName;

#[derive(Debug)]
struct BuiltConfig {
    settings: ClientSettings,
    config: Arc<ClientConfig>,
}

/// Files that a `server` line uses, by their names in the certificate store.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ServerLineFiles {
    pub certificate: Option<Box<str>>,
    pub authorities: Option<Box<str>>,
    pub crls: Option<Box<str>>,
}

#[derive(Debug)]
pub struct Connector {
    /// True after the server was removed: the connector no longer counts as a user of its files.
    is_removed: AtomicBool,
    location: ConfigLocation,
    files: ServerLineFiles,
    made: RwLock<Arc<BuiltConfig>>,
}

impl PartialEq for Connector {
    fn eq(&self, other: &Self) -> bool {
        self.made().settings == other.made().settings
    }
}

impl Connector {
    /// Creates a connector with these settings, without a position and files.
    ///
    /// # Errors
    /// As [`client_config`].
    pub fn new(settings: ClientSettings) -> Result<Connector, BuildError> {
        let config = Arc::new(client_config(&settings)?);
        Ok(Connector {
            is_removed: AtomicBool::new(false),
            location: ConfigLocation::default(),
            files: ServerLineFiles::default(),
            made: RwLock::new(Arc::new(BuiltConfig { settings, config })),
        })
    }

    /// Sets the position in the file, and the files of the store that the connector uses.
    pub fn at(self, place: ConfigLocation, files: ServerLineFiles) -> Connector {
        Connector {
            location: place,
            files,
            ..self
        }
    }

    pub fn uses(&self, name: &str) -> bool {
        self.certificate_uses(name) > 0 || self.names_file(name)
    }

    /// Marks the server as removed, so that its files may be removed, too.
    pub fn release_files(&self) {
        self.is_removed.store(true, Ordering::Relaxed);
    }

    fn made(&self) -> Arc<BuiltConfig> {
        let made = self.made.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&made)
    }

    /// Returns the configuration for the next connection. Operators' changes of files replace it.
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.made().config)
    }

    /// Returns the configuration for a connection that offers other protocols (`check-alpn`).
    pub fn config_offering(&self, alpn: Vec<Vec<u8>>) -> Arc<ClientConfig> {
        let mut config = ClientConfig::clone(&self.made().config);
        config.alpn_protocols = alpn;
        Arc::new(config)
    }

    pub fn settings(&self) -> ClientSettings {
        self.made().settings.clone()
    }

    fn install(&self, new: BuiltConfig) {
        let mut made = self.made.write().unwrap_or_else(PoisonError::into_inner);
        *made = Arc::new(new);
    }

    pub fn alpn(&self) -> Vec<Vec<u8>> {
        self.made().settings.alpn.clone()
    }

    /// Parses the name for a new connection (`sni`, `check-sni`).
    ///
    /// # Errors
    /// Verification is enabled, and the text is not a host name.
    pub fn name(&self, text: &[u8]) -> Result<ServerName<'static>, BadName> {
        match parse_name(text) {
            Some(name) => Ok(name),
            None if self.made().settings.verify => Err(BadName),
            None => Ok(no_name()),
        }
    }
}

impl Dependent for Connector {
    /// Prepares new settings after a change of a file. Cached sessions are dropped, because other
    /// files verified them.
    fn prepare(self: Arc<Self>, stock: &Stock) -> Result<Prepared, String> {
        let mut settings = self.settings();
        let missing = |error: Missing| error.to_string();
        if let Some(name) = &self.files.certificate {
            let found = stock.certificate(name).map_err(missing)?;
            settings.certificate = Some(Arc::clone(found.plain()));
        }
        if let Some(name) = &self.files.authorities {
            settings.authorities = Some(stock.authorities(name).map_err(missing)?);
        }
        if let Some(name) = &self.files.crls {
            settings.crls = Some(stock.revocations(name).map_err(missing)?);
        }
        let config = client_config(&settings).map_err(|error| error.to_string())?;
        let config = Arc::new(config);
        Ok(Box::new(move || {
            self.install(BuiltConfig { settings, config })
        }))
    }

    fn certificate_uses(&self, name: &str) -> usize {
        if self.is_removed.load(Ordering::Relaxed) {
            return 0;
        }
        usize::from(self.files.certificate.as_deref() == Some(name))
    }

    fn list_uses(&self, _: &str) -> usize {
        0
    }

    fn file_uses(&self, name: &str) -> usize {
        let shows = self.files.certificate.is_some();
        usize::from(shows && self.names_file(name))
    }

    fn names_file(&self, name: &str) -> bool {
        if self.is_removed.load(Ordering::Relaxed) {
            return false;
        }
        let named = [&self.files.authorities, &self.files.crls];
        named.into_iter().any(|file| file.as_deref() == Some(name))
    }

    fn place(&self) -> &ConfigLocation {
        &self.location
    }
}

/// Returns a placeholder that means "no name": no SNI is sent, and only `verifyhost` is verified.
pub fn no_name() -> ServerName<'static> {
    ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([0; 4])))
}

/// Parses a host name that rules have extracted, for example from a `host` header with a port.
fn parse_name(text: &[u8]) -> Option<ServerName<'static>> {
    let text = std::str::from_utf8(text).ok()?.trim();
    if text.is_empty() {
        return Some(no_name());
    }
    let bare = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') && is_number(port) => host,
            _ => text,
        },
    };
    if let Ok(address) = bare.parse::<std::net::IpAddr>() {
        // The placeholder for "no name" is refused here, because it would not be verified.
        let name = ServerName::IpAddress(address.into());
        return (name != no_name()).then_some(name);
    }
    // A trailing dot belongs to DNS notation, not to the name (RFC 6066, 3).
    let bare = bare.strip_suffix('.').unwrap_or(bare);
    let name = DnsName::try_from(bare).ok()?;
    Some(ServerName::DnsName(name.to_lowercase_owned()))
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

/// Makes the configuration of rustls for a server.
///
/// # Errors
/// `NoCipher`, `NoCiphersuite` or `NoGroup` if the parameters leave none. `NoAuthorities` if
/// servers are verified without CA certificates. `Refused` if rustls refuses the combination.
pub fn client_config(settings: &ClientSettings) -> Result<ClientConfig, BuildError> {
    let (provider, versions) = build::restricted(&settings.parameters)?;
    if settings.verify && settings.authorities.is_none() {
        return Err(BuildError::NoAuthorities);
    }
    let parameters = &settings.parameters;
    let verifier = ServerVerifier {
        belief: settings.verify.then(|| Belief {
            authorities: settings.authorities.clone(),
            crls: settings.crls.clone(),
            ca_ignore: IgnoredErrors::default(),
            crt_ignore: IgnoredErrors::default(),
            purpose: Purpose::Server,
        }),
        host: settings.verify_host.clone(),
        schemes: verify::schemes(parameters.sigalgs.as_deref()),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match (&settings.certificate, &parameters.client_sigalgs) {
        (None, _) => builder.with_no_client_auth(),
        (Some(certified), None) => builder
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(certified)))),
        (Some(certified), Some(kept)) => builder.with_client_cert_resolver(Arc::new(
            SingleCertAndKey::from(schemes::restricted(certified, kept)),
        )),
    };
    // Lets this crate get the secrets, because it protects the records after the handshake itself,
    // see `session`.
    config.enable_secret_extraction = true;
    config.alpn_protocols.clone_from(&settings.alpn);
    config.resumption = match (settings.no_resumption, settings.no_tickets) {
        (true, _) => Resumption::disabled(),
        (_, true) => Resumption::in_memory_sessions(SESSION_NAMES_MAX)
            .tls12_resumption(Tls12Resumption::SessionIdOnly),
        _ => Resumption::in_memory_sessions(SESSION_NAMES_MAX),
    };
    Ok(config)
}

#[derive(Debug)]
struct ServerVerifier {
    /// Verification settings. None with `verify none`.
    belief: Option<Belief>,
    host: Option<Box<str>>,
    schemes: Vec<SignatureScheme>,
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(belief) = &self.belief else {
            return Ok(ServerCertVerified::assertion());
        };
        belief.verify(end_entity, intermediates, now)?;
        let sent = (*server_name != no_name()).then(|| server_name.to_str());
        let wanted = sent.as_deref().or(self.host.as_deref());
        if wanted.is_none_or(|name| hostname::is_valid_for(end_entity, name)) {
            return Ok(ServerCertVerified::assertion());
        }
        let failure = ChainError {
            depth: 0,
            code: code::HOSTNAME_MISMATCH,
        };
        verify::note_refused(failure);
        Err(verify::refusal(failure.code))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify::handshake_signature(message, cert, dss, &self.schemes, false)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify::handshake_signature(message, cert, dss, &self.schemes, true)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Option<String> {
        parse_name(text.as_bytes()).map(|name| name.to_str().into_owned())
    }

    #[test]
    fn names_come_with_ports_and_in_any_case() {
        assert_eq!(name("Example.COM:8443").as_deref(), Some("example.com"));
        assert_eq!(name("example.com.").as_deref(), Some("example.com"));
        assert_eq!(name("192.0.2.1:80").as_deref(), Some("192.0.2.1"));
        assert_eq!(name("[2001:db8::1]:80").as_deref(), Some("2001:db8::1"));
        assert_eq!(name("2001:db8::1").as_deref(), Some("2001:db8::1"));
        assert_eq!(parse_name(b""), Some(no_name()));
        for bad in [
            "a b",
            "-x.",
            "a..b",
            "\u{e9}.com",
            "a:b",
            "0.0.0.0",
            "0.0.0.0:80",
        ] {
            assert_eq!(name(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_name_that_cannot_be_verified_is_refused_only_where_it_would_be() {
        let connector = Connector::new(ClientSettings::default()).expect("it builds");
        assert_eq!(connector.name(b"a b"), Ok(no_name()));
    }

    #[test]
    fn verification_needs_a_ca() {
        let settings = ClientSettings {
            verify: true,
            ..ClientSettings::default()
        };
        let refused = Connector::new(settings).map(|_| ());
        assert!(matches!(refused, Err(BuildError::NoAuthorities)));
    }
}
