//! Verifies the certificate that a client or a server presented.
//!
//! webpki decides first. A chain that it accepts is accepted, unless OpenSSL would refuse it. A
//! chain that it refuses is checked by OpenSSL's rules ([`super::chain`]): for the number of the
//! error, because a configuration may ignore errors, and because OpenSSL accepts certificates
//! that webpki never accepts (a certificate that is its own CA, or one without extensions).
//! rustls passes no connection to the verifier, so the result is stored in the thread for
//! [`with_outcome`].

use super::authorities::Authorities;
use super::certificate::Certificate;
use super::chain::{self, ChainError, ChainVerificationInput, Purpose, code};
use super::der::{Der, SEQUENCE};
use super::describe;
use super::ignore::IgnoredErrors;
use super::provider::{BuildError, provider};
use super::revocation::Revocations;
use crate::settings::{ClientAuth, Parameters, Verify};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, NamedGroup, OtherError,
    PeerMisbehaved, SignatureScheme,
};
use std::cell::Cell;
use std::sync::Arc;
use webpki::{EndEntityCert, KeyUsage, RawPublicKeyEntity, RevocationOptionsBuilder, VerifiedPath};

/// Result of a verification: as in HAProxy, the first error of each kind, ignored ones included.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Verified {
    /// True if a certificate was presented and checked.
    pub verified: bool,
    /// First error above the presented certificate (`ssl_c_ca_err`), with its depth.
    pub authority: Option<ChainError>,
    /// First error of the presented certificate itself (`ssl_c_err`).
    pub own: Option<ChainError>,
    /// Last error, ignored or not.
    pub last: Option<ChainError>,
    /// Error for which the connection was refused (`ssl_fc_err`, logs).
    pub refused: Option<ChainError>,
}

impl Verified {
    /// Returns the last error, 0 for none: OpenSSL's value for `ssl_c_verify`.
    pub fn verify_code(&self) -> u8 {
        self.last.map_or(0, |failure| failure.code)
    }
}

const UNKNOWN: ChainError = ChainError {
    depth: 0,
    code: code::UNSPECIFIED,
};

thread_local! {
    static CURRENT: Cell<Verified> = const { Cell::new(Verified {
        verified: false,
        authority: None,
        own: None,
        last: None,
        refused: None,
    }) };
}

/// Performs a step of a handshake and returns the result of a verification in it. Must wrap every
/// call that lets rustls process records until the handshake is complete; a result with `verified`
/// set belongs to this connection. If a session is resumed, nothing is verified, and the original
/// result is not known here.
pub fn with_outcome<R>(step: impl FnOnce() -> R) -> (R, Verified) {
    CURRENT.set(Verified::default());
    let done = step();
    (done, CURRENT.take())
}

/// Maximum number of certificates with the same name that a peer may send. With more, webpki would
/// have to try too many paths.
const SAME_SUBJECT_MAX: usize = 2;

/// Parses the other certificates of a peer, up to the limit.
fn readable(others: &[CertificateDer<'_>]) -> (Vec<Certificate>, Vec<CertificateDer<'static>>) {
    let (mut parsed, mut ders) = (Vec::<Certificate>::new(), Vec::new());
    for der in others.iter().take(chain::DEPTH_MAX) {
        let Some(certificate) = Certificate::parse(der) else {
            continue;
        };
        let same = parsed.iter().filter(|c| c.subject == certificate.subject);
        if same.count() < SAME_SUBJECT_MAX {
            parsed.push(certificate);
            ders.push(der.clone().into_owned());
        }
    }
    (parsed, ders)
}

/// Trusted CAs, CRLs, ignored errors and purpose of a verification.
#[derive(Clone, Debug)]
pub(super) struct Belief {
    pub authorities: Option<Arc<Authorities>>,
    pub crls: Option<Arc<Revocations>>,
    pub ca_ignore: IgnoredErrors,
    pub crt_ignore: IgnoredErrors,
    pub purpose: Purpose,
}

impl Belief {
    fn webpki(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        question: &ChainVerificationInput<'_>,
        now: UnixTime,
    ) -> Result<(), webpki::Error> {
        let Some(authorities) = &self.authorities else {
            return Err(webpki::Error::UnknownIssuer);
        };
        let usage = match self.purpose {
            Purpose::Client => KeyUsage::client_auth(),
            Purpose::Server => KeyUsage::server_auth(),
        };
        let lists: Vec<&webpki::CertRevocationList<'_>> = match &self.crls {
            None => Vec::new(),
            Some(crls) => match crls.webpki() {
                Some(lists) => lists.iter().collect(),
                None => return Err(webpki::Error::UnknownRevocationStatus),
            },
        };
        let revocation = if lists.is_empty() {
            None
        } else {
            Some(
                RevocationOptionsBuilder::new(&lists)
                    .map_err(|_| webpki::Error::UnknownRevocationStatus)?
                    .with_expiration_policy(webpki::ExpirationPolicy::Enforce)
                    .build(),
            )
        };
        let all: Vec<CertificateDer<'_>>;
        let others = match authorities.between() {
            [] => others,
            between => {
                all = others.iter().chain(between).cloned().collect();
                &all
            }
        };
        EndEntityCert::try_from(leaf)?
            .verify_for_usage(
                provider().signature_verification_algorithms.all,
                authorities.anchors(),
                others,
                now,
                usage,
                revocation,
                Some(&|path| check_openssl_rules(path, authorities, question)),
            )
            .map(|_| ())
    }

    /// Verifies a chain and stores the outcome. Fails if the chain is not trusted.
    pub fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let mut outcome = Verified {
            verified: true,
            ..Verified::default()
        };
        let (shown, others) = readable(others);
        let question = ChainVerificationInput {
            leaf,
            others: &shown,
            authorities: self.authorities.as_deref(),
            revocations: self.crls.as_deref(),
            now_s: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
            purpose: self.purpose,
        };
        let strict = self.webpki(leaf, &others, &question, now);
        let believed = match strict {
            Ok(()) => true,
            Err(error) => self.verify_like_openssl(&question, &error, &mut outcome),
        };
        CURRENT.set(outcome);
        match outcome.refused {
            _ if believed => Ok(()),
            failure => Err(refusal(failure.map_or(code::UNSPECIFIED, |f| f.code))),
        }
    }

    fn verify_like_openssl(
        &self,
        question: &ChainVerificationInput<'_>,
        strict: &webpki::Error,
        outcome: &mut Verified,
    ) -> bool {
        let mut told = 0;
        let mut tell = |failure: ChainError| {
            told += 1;
            self.passes(failure, outcome)
        };
        if chain::verify(question, &mut tell).is_err() {
            // Refuses in any case, because the error that a certificate cannot be parsed is never
            // ignored.
            outcome.refused.get_or_insert(UNKNOWN);
            return false;
        }
        // Accepts a chain without an error by OpenSSL's rules if webpki is known to be stricter
        // here. Otherwise webpki has found something that this code does not check.
        if told == 0 && !is_stricter(strict) {
            return self.passes(UNKNOWN, outcome);
        }
        true
    }

    /// Records an error. Returns whether the configuration ignores it.
    pub fn passes(&self, failure: ChainError, outcome: &mut Verified) -> bool {
        let (first, ignored) = match failure.depth {
            0 => (&mut outcome.own, self.crt_ignore),
            _ => (&mut outcome.authority, self.ca_ignore),
        };
        first.get_or_insert(failure);
        outcome.last = Some(failure);
        let passes = ignored.has(failure.code);
        if !passes {
            outcome.refused = Some(failure);
        }
        passes
    }
}

/// Checks whether OpenSSL's rules accept a path that webpki has found. If not, webpki looks for
/// another path; if there is none, OpenSSL's rules alone decide.
fn check_openssl_rules(
    path: &VerifiedPath<'_>,
    authorities: &Authorities,
    question: &ChainVerificationInput<'_>,
) -> Result<(), webpki::Error> {
    let mut way = Vec::new();
    way.extend(Certificate::parse(question.leaf));
    for between in path.intermediate_certificates() {
        way.push(Certificate::parse(&between.der()).ok_or(webpki::Error::UnknownIssuer)?);
    }
    // Compares the keys of all CAs with the name of the trust anchor, because webpki has only the
    // anchor's name and key, which several certificates may have.
    let anchor = path.anchor();
    let is_anchor = |certificate: &Certificate| {
        let key = Der(&certificate.key).take(SEQUENCE);
        certificate.looks_self_signed()
            && key.is_some_and(|key| *key.content == *anchor.subject_public_key_info)
    };
    let agrees = authorities
        .by_subject(&anchor.subject)
        .map(|authority| &authority.certificate)
        .filter(|certificate| is_anchor(certificate))
        .take(chain::SAME_NAME_MAX)
        .any(|root| {
            let way = way.iter().chain([root]).cloned();
            chain::is_acceptable_to_openssl(way.collect(), question)
        });
    agrees.then_some(()).ok_or(webpki::Error::UnknownIssuer)
}

/// Records an error of a certificate that was otherwise accepted.
pub(super) fn note_refused(failure: ChainError) {
    let mut outcome = CURRENT.get();
    outcome.own.get_or_insert(failure);
    outcome.last = Some(failure);
    outcome.refused = Some(failure);
    CURRENT.set(outcome);
}

/// Returns whether this error of webpki may concern something that OpenSSL accepts.
fn is_stricter(error: &webpki::Error) -> bool {
    matches!(
        error,
        // A client certificate that is also a CA, or its own CA.
        webpki::Error::CaUsedAsEndEntity
            // The issuer may be among the certificates that webpki rejects as anchors.
            | webpki::Error::UnknownIssuer
            // Certificates of a version without extensions.
            | webpki::Error::UnsupportedCertVersion
            | webpki::Error::EndEntityUsedAsCa
            // A serial number that is too long or negative.
            | webpki::Error::InvalidSerialNumber
            // A CRL that does not apply to all certificates of its issuer.
            | webpki::Error::UnknownRevocationStatus
    )
}

/// Converts an OpenSSL error number to the rustls error that determines the alert.
pub(super) fn refusal(code: u8) -> Error {
    let error = match code {
        code::CERT_HAS_EXPIRED => CertificateError::Expired,
        code::CERT_NOT_YET_VALID => CertificateError::NotValidYet,
        code::CERT_REVOKED => CertificateError::Revoked,
        code::UNABLE_TO_GET_ISSUER_CERT
        | code::DEPTH_ZERO_SELF_SIGNED_CERT
        | code::SELF_SIGNED_CERT_IN_CHAIN
        | code::UNABLE_TO_GET_ISSUER_CERT_LOCALLY
        | code::UNABLE_TO_VERIFY_LEAF_SIGNATURE => CertificateError::UnknownIssuer,
        code::INVALID_PURPOSE => CertificateError::InvalidPurpose,
        code::CERT_SIGNATURE_FAILURE => CertificateError::BadSignature,
        code::UNABLE_TO_GET_CRL => CertificateError::UnknownRevocationStatus,
        code::HOSTNAME_MISMATCH => CertificateError::NotValidForName,
        _ => CertificateError::ApplicationVerificationFailure,
    };
    Error::InvalidCertificate(error)
}

/// Verifies a handshake signature with the key of a certificate, even if webpki rejects the
/// certificate.
pub(super) fn handshake_signature(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
    offered: &[SignatureScheme],
    is_tls13: bool,
) -> Result<HandshakeSignatureValid, Error> {
    let known: WebPkiSupportedAlgorithms = provider().signature_verification_algorithms;
    let usable = offered.contains(&dss.scheme) && (!is_tls13 || supported_in_tls13(dss.scheme));
    let algorithms = known
        .mapping
        .iter()
        .find(|(scheme, _)| usable && *scheme == dss.scheme)
        .map(|(_, algorithms)| *algorithms)
        .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    let parsed = Certificate::parse(certificate)
        .ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let key = SubjectPublicKeyInfoDer::from(&*parsed.key);
    let bad = || Error::InvalidCertificate(CertificateError::BadSignature);
    let key = RawPublicKeyEntity::try_from(&key).map_err(|_| bad())?;
    // Tries one algorithm in TLS 1.3, where the scheme determines the curve; in earlier versions
    // any curve is allowed.
    let tried = if is_tls13 {
        &algorithms[..1]
    } else {
        algorithms
    };
    let is_right = tried.iter().any(|algorithm| {
        key.verify_signature(*algorithm, message, dss.signature())
            .is_ok()
    });
    is_right
        .then(HandshakeSignatureValid::assertion)
        .ok_or_else(bad)
}

fn supported_in_tls13(scheme: SignatureScheme) -> bool {
    !matches!(
        scheme,
        SignatureScheme::RSA_PKCS1_SHA256
            | SignatureScheme::RSA_PKCS1_SHA384
            | SignatureScheme::RSA_PKCS1_SHA512
            | SignatureScheme::RSA_PKCS1_SHA1
            | SignatureScheme::ECDSA_SHA1_Legacy
    )
}

/// Returns the signature schemes that peers may use: all supported ones, or those of a
/// list in its order.
pub(super) fn schemes(list: Option<&[SignatureScheme]>) -> Vec<SignatureScheme> {
    let known = provider()
        .signature_verification_algorithms
        .supported_schemes();
    match list {
        None => known,
        Some(list) => list.iter().filter(|s| known.contains(s)).copied().collect(),
    }
}

#[derive(Debug)]
struct ClientVerifier {
    belief: Belief,
    required: bool,
    names: Vec<DistinguishedName>,
    schemes: Vec<SignatureScheme>,
    /// `curves`: up to TLS 1.2 these also restrict the curves of client keys (RFC 8422, section
    /// 5.1.1), as in OpenSSL.
    curves: Option<Arc<[NamedGroup]>>,
}

/// The key of a client uses a curve that `curves` does not list.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("wrong curve")]
pub(super) struct WrongCurve;

impl ClientVerifier {
    fn check_curve(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        let Some(curves) = &self.curves else {
            return Ok(());
        };
        let parsed = Certificate::parse(certificate);
        let curve = parsed.and_then(|parsed| describe::curve(&parsed.key));
        if curve.is_none_or(|curve| curves.contains(&curve)) {
            Ok(())
        } else {
            Err(OtherError(Arc::new(WrongCurve)).into())
        }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.names
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.belief.verify(end_entity, intermediates, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_curve(cert)?;
        handshake_signature(message, cert, dss, &self.schemes, false)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        handshake_signature(message, cert, dss, &self.schemes, true)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

/// Returns the verifier of client certificates; None if no certificate is requested.
pub(super) fn client_verifier(
    settings: &ClientAuth,
    parameters: &Parameters,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, BuildError> {
    if settings.mode == Verify::None {
        return Ok(None);
    }
    let named = settings.authorities.as_ref();
    let authorities = match (named, &settings.more_authorities) {
        (Some(named), Some(more)) => named.union_with(more),
        (Some(one), None) | (None, Some(one)) => Arc::clone(one),
        (None, None) => return Err(BuildError::NoAuthorities),
    };
    let names = named.filter(|_| !settings.no_ca_names);
    Ok(Some(Arc::new(ClientVerifier {
        names: names.map_or_else(Vec::new, |all| all.names().to_vec()),
        belief: Belief {
            authorities: Some(authorities),
            crls: settings.crls.clone(),
            ca_ignore: settings.ca_ignore_err,
            crt_ignore: settings.crt_ignore_err,
            purpose: Purpose::Client,
        },
        required: settings.mode == Verify::Required,
        schemes: schemes(parameters.client_sigalgs.as_deref()),
        curves: parameters.curves.clone(),
    })))
}

#[cfg(test)]
mod tests;
