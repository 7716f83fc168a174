//! Configures TLS between members: 1.3 only, certificates on both sides. The verifiers here check
//! the chain. [`super::Trust`] checks after the handshake whether the bearer is still a member, so
//! that a refusal reaches the other side as a message.

use super::{AuthorityError, MemberIdentity, Token, Trust, certificate_digest};
use crate::member::Digest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error,
    PeerIncompatible, RootCertStore, ServerConfig, SignatureScheme,
};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

pub const ALPN_MEMBER: &[u8] = b"evenkeel/1";
/// ALPN protocol of connections that ask a member to carry bytes to another one.
pub const ALPN_TUNNEL: &[u8] = b"evenkeel-tunnel/1";
/// ALPN protocol of connections of joiners with a token.
pub const ALPN_JOIN: &[u8] = b"evenkeel-join/1";
/// Largest number of certificates of one chain that may be outside of their validity.
const OUT_OF_TIME_MAX: usize = 4;

/// The TLS configurations for an identity and the CAs, built once.
#[derive(Clone)]
pub struct TlsConfigs {
    member: Arc<ClientConfig>,
    tunnel: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    clocks_wrong: Arc<AtomicU64>,
}

impl fmt::Debug for TlsConfigs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsConfigs")
    }
}

impl TlsConfigs {
    /// Creates the TLS configurations from the identity that this member presents and the
    /// CAs that it trusts.
    ///
    /// # Errors
    /// Fails if TLS rejects a certificate of a CA, or the key or the certificate of the member.
    pub fn new(identity: &MemberIdentity, trust: &Trust) -> Result<TlsConfigs, AuthorityError> {
        let verifier = Verifier::new(Anchor::Cluster {
            roots: roots(&trust.authorities)?,
            former: roots(&trust.former)?,
            late: trust.late_keys(),
            removed: trust.removed.clone(),
        });
        let client = |protocol: &[u8]| -> Result<Arc<ClientConfig>, AuthorityError> {
            let mut config = ClientConfig::builder_with_provider(provider())
                .with_protocol_versions(&[&TLS13])?
                .dangerous()
                .with_custom_certificate_verifier(Arc::clone(&verifier) as Arc<_>)
                .with_client_auth_cert(identity.tls_chain(), identity.tls_key())?;
            config.alpn_protocols = vec![protocol.to_vec()];
            config.resumption = Resumption::disabled();
            config.enable_sni = false;
            Ok(Arc::new(config))
        };
        let mut server = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::clone(&verifier) as Arc<_>)
            .with_single_cert(identity.tls_chain(), identity.tls_key())?;
        server.alpn_protocols = [ALPN_MEMBER, ALPN_TUNNEL, ALPN_JOIN]
            .map(<[u8]>::to_vec)
            .to_vec();
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Ok(TlsConfigs {
            member: client(ALPN_MEMBER)?,
            tunnel: client(ALPN_TUNNEL)?,
            server: Arc::new(server),
            clocks_wrong: Arc::clone(&verifier.clocks_wrong),
        })
    }

    pub fn member(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.member)
    }

    /// Returns the client configuration for dialing a member that should carry bytes to
    /// another one.
    pub fn tunnel(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.tunnel)
    }

    pub fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    /// Returns how many certificates were accepted although they are expired or not yet
    /// valid by the clock.
    pub fn clocks_wrong(&self) -> u64 {
        self.clocks_wrong.load(Ordering::Relaxed)
    }
}

/// TLS configuration to dial a member with a token: the server must have a certificate of
/// the CA that the token names.
pub(crate) fn joining(token: &Token) -> Result<Arc<ClientConfig>, AuthorityError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Verifier::new(Anchor::Token(token.clone())))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN_JOIN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(Arc::new(config))
}

pub(super) fn over_at(chain: &[Vec<u8>], time: SystemTime) -> bool {
    let (Some((first, rest)), Ok(since)) = (
        chain.split_first(),
        time.duration_since(SystemTime::UNIX_EPOCH),
    ) else {
        return false;
    };
    let Ok(roots) = roots(rest) else {
        return false;
    };
    let der = CertificateDer::from(first.as_slice());
    let Ok(parsed) = ParsedCertificate::try_from(&der) else {
        return false;
    };
    let checked = verify_server_cert_signed_by_trust_anchor(
        &parsed,
        &roots,
        &[],
        UnixTime::since_unix_epoch(since),
        provider().signature_verification_algorithms.all,
    );
    matches!(
        checked,
        Err(Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. }
        ))
    )
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

pub(super) fn roots(authorities: &[Vec<u8>]) -> Result<RootCertStore, AuthorityError> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(CertificateDer::from(authority.as_slice()))?;
    }
    Ok(roots)
}

/// Verifies the chain. Returns whether it is only valid at a time other than the
/// clock's.
pub(super) fn verify_chain(
    certificate: &CertificateDer<'_>,
    others: &[CertificateDer<'_>],
    roots: &RootCertStore,
    provider: &CryptoProvider,
    now: UnixTime,
) -> Result<bool, Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    let algorithms = provider.signature_verification_algorithms.all;
    let mut time = now;
    let mut last = Error::InvalidCertificate(CertificateError::UnknownIssuer);
    for _ in 0..=OUT_OF_TIME_MAX {
        let checked =
            verify_server_cert_signed_by_trust_anchor(&parsed, roots, others, time, algorithms);
        match checked {
            Ok(()) => return Ok(time != now),
            Err(Error::InvalidCertificate(CertificateError::ExpiredContext {
                not_after, ..
            })) => {
                time = not_after;
                last = Error::InvalidCertificate(CertificateError::Expired);
            }
            Err(Error::InvalidCertificate(CertificateError::NotValidYetContext {
                not_before,
                ..
            })) => {
                time = not_before;
                last = Error::InvalidCertificate(CertificateError::NotValidYet);
            }
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

/// The trust anchor of a chain.
#[derive(Debug)]
pub(super) enum Anchor {
    Cluster {
        roots: RootCertStore,
        former: RootCertStore,
        /// Keys that are still trusted with a certificate of those CAs.
        late: BTreeSet<Digest>,
        /// Keys of removed members: they pass the handshake, so that [`Trust::judge`] can
        /// report the removal.
        removed: BTreeSet<Digest>,
    },
    Token(Token),
    /// CAs of the cluster, between roles: both sides need a certificate.
    Part {
        roots: RootCertStore,
    },
}

/// Verifies the certificate chain of a peer in a TLS 1.3 handshake. Between members, a client
/// without a certificate passes: it joins with a token. Between roles, both sides need a
/// certificate.
#[derive(Debug)]
pub(super) struct Verifier {
    anchor: Anchor,
    provider: Arc<CryptoProvider>,
    clocks_wrong: Arc<AtomicU64>,
}

impl Verifier {
    pub(super) fn new(anchor: Anchor) -> Arc<Verifier> {
        Arc::new(Verifier {
            anchor,
            provider: provider(),
            clocks_wrong: Arc::default(),
        })
    }

    fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let by = |roots| verify_chain(certificate, others, roots, &self.provider, now);
        let wrong = match &self.anchor {
            Anchor::Cluster {
                roots,
                former,
                late,
                removed,
            } => by(roots).or_else(|error| match certificate_digest(certificate) {
                // Keys that the cluster knows, although no current CA certifies them.
                Some(key) if removed.contains(&key) => Ok(false),
                Some(key) if late.contains(&key) => by(former),
                _ => Err(error),
            })?,
            Anchor::Part { roots } => by(roots)?,
            Anchor::Token(token) => {
                let root = others
                    .iter()
                    .find(|other| token.names(other))
                    .ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
                let mut roots = RootCertStore::empty();
                roots.add(root.clone().into_owned())?;
                by(&roots)?
            }
        };
        if wrong {
            self.clocks_wrong.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

fn no_tls12() -> Error {
    Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(certificate, others, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

impl ClientCertVerifier for Verifier {
    /// Returns whether a client needs a certificate: only between roles, because a machine that
    /// joins the cluster with a token has none yet.
    fn client_auth_mandatory(&self) -> bool {
        matches!(self.anchor, Anchor::Part { .. })
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(certificate, others, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}
