//! Creates the cluster's CA, issues certificates to members, and decides when a certificate or the
//! CA is renewed.
//!
//! Names are only in the subjectAltName: `member-3.NAME.evenkeel` identifies the
//! member, and `was-KEY.member-3.NAME.evenkeel` (KEY: the base32 digest of a former
//! public key) shows that this member had that key before. So a member that was away
//! during a change of key still recognizes it. A new CA comes with a certificate by the
//! old one for the same reason.

use super::token::base32;
use super::{AuthorityError, der};
use crate::log::{MemberSignature, Signer, SigningError};
use crate::member::{Digest, MemberId};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::fill;
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519, PublicKeyData, SanType, SerialNumber, SignatureAlgorithm,
};
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::ParsedCertificate;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::{Duration, SystemTime};
use zeroize::Zeroizing;

pub const MEMBER_VALID_DAYS: u64 = 365;
/// Days before its expiry from which a certificate that was not renewed is reported.
const SOON_DAYS: u64 = 60;
pub const AUTHORITY_VALID_DAYS: u64 = 3650;
/// Remaining validity of the CA below which the next CA replaces it, in days.
const AUTHORITY_LEFT_DAYS: u64 = 2 * MEMBER_VALID_DAYS;
/// Largest number of former CAs that are remembered: a chain leads over each of them to
/// the next.
pub const FORMER_AUTHORITIES_MAX: usize = 4;
pub const PREDECESSORS_MAX: usize = 32;
/// Time before its issue from which a certificate is valid, because clocks differ.
const BACKDATED: Duration = Duration::from_secs(24 * 3600);
const CLUSTER_NAME_BYTES_MAX: usize = 32;
const PUBLIC_KEY_BYTES: usize = 32;
const SERIAL_BYTES: usize = 16;
/// First bytes of the message that a certificate request signs. The SHA-256 of the binding and the
/// public key follow.
const REQUEST_CONTEXT: &[u8] = b"evenkeel certificate request 1\0";
const DAY: Duration = Duration::from_secs(24 * 3600);

pub fn member_name(cluster: &str, member: MemberId) -> String {
    format!("member-{member}.{cluster}.evenkeel")
}

/// Returns the DNS name in a member's certificate that shows that the member had the key with this
/// digest before.
pub(super) fn predecessor_name(cluster: &str, member: MemberId, key: &Digest) -> String {
    let key = base32::encode(&key.0).to_ascii_lowercase();
    format!("was-{key}.{}", member_name(cluster, member))
}

pub(super) fn sha256(bytes: &[u8]) -> Digest {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    Digest(out)
}

/// Returns the SHA-256 of the public key (SPKI) in a certificate (DER); None if the certificate
/// cannot be parsed.
pub fn certificate_digest(certificate: &[u8]) -> Option<Digest> {
    let der = CertificateDer::from(certificate);
    let parsed = ParsedCertificate::try_from(&der).ok()?;
    Some(sha256(&parsed.subject_public_key_info()))
}

/// Returns the SHA-256 of the SPKI of an Ed25519 public key, by which the cluster knows
/// a member.
pub fn key_digest(public_key: &[u8]) -> Digest {
    sha256(&PublicKey(public_key).subject_public_key_info())
}

pub fn is_signed_by_key(public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    public_key.len() == PUBLIC_KEY_BYTES
        && UnparsedPublicKey::new(&ED25519, public_key)
            .verify(message, signature)
            .is_ok()
}

/// Returns the SHA-256 of a CA's certificate (DER), its fingerprint.
pub fn fingerprint(certificate: &[u8]) -> Digest {
    sha256(certificate)
}

/// Returns whether the CA with this certificate issued a certificate (DER), regardless
/// of its validity.
pub fn is_issued_by(certificate: &[u8], authority: &[u8]) -> bool {
    der::is_signed_by(certificate, authority)
}

/// Returns whether at most [`AUTHORITY_LEFT_DAYS`] of the validity of a CA's certificate (DER)
/// remain at `now`, so that the next CA must follow. False if the certificate cannot be parsed.
pub fn follow_up_due(authority: &[u8], now: SystemTime) -> bool {
    let Some(over_s) = der::over_at_s(authority) else {
        return false;
    };
    let left = DAY * AUTHORITY_LEFT_DAYS as u32;
    let then = (now + left).duration_since(SystemTime::UNIX_EPOCH);
    then.is_ok_and(|then| i64::try_from(then.as_secs()).is_ok_and(|then_s| then_s >= over_s))
}

pub(super) fn has_name(certificate: &ParsedCertificate<'_>, name: &str) -> bool {
    ServerName::try_from(name).is_ok_and(|name| verify_server_name(certificate, &name).is_ok())
}

struct PublicKey<'a>(&'a [u8]);

impl PublicKeyData for PublicKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

/// Ed25519 key pair of a member.
pub struct MemberKey(KeyPair);

impl MemberKey {
    /// Generates a new random key pair.
    ///
    /// # Errors
    /// Fails if the library cannot generate a key, for example without random numbers.
    pub fn generate() -> Result<MemberKey, AuthorityError> {
        Ok(MemberKey(KeyPair::generate_for(&PKCS_ED25519)?))
    }

    /// Loads a key pair from PKCS #8.
    ///
    /// # Errors
    /// Fails with [`AuthorityError::Key`] if the bytes are not an Ed25519 key pair.
    pub fn from_pkcs8(bytes: &[u8]) -> Result<MemberKey, AuthorityError> {
        key_pair(bytes).map(MemberKey)
    }

    pub fn pkcs8(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.0.serialize_der())
    }

    pub fn digest(&self) -> Digest {
        sha256(&self.0.subject_public_key_info())
    }

    /// Signs a message. Each kind of message must begin with a context of its own.
    ///
    /// # Errors
    /// Fails only if the library refuses to sign.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, AuthorityError> {
        use rcgen::SigningKey;
        Ok(self.0.sign(message)?)
    }

    pub fn public(&self) -> &[u8] {
        self.0.public_key_raw()
    }

    /// Creates a certificate request. The binding is that of the connection on which the
    /// request is sent, so that nobody can replay it on another one. It is empty if the
    /// connection itself authenticates the requester.
    ///
    /// # Errors
    /// As [`MemberKey::sign`].
    pub fn request(&self, binding: &[u8]) -> Result<CertificateRequest, AuthorityError> {
        use rcgen::SigningKey;
        let public = self.0.public_key_raw().to_vec();
        let signature = self.0.sign(&signed_by_request(binding, &public))?;
        Ok(CertificateRequest { public, signature })
    }
}

impl fmt::Debug for MemberKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemberKey({})", self.digest())
    }
}

fn key_pair(pkcs8: &[u8]) -> Result<KeyPair, AuthorityError> {
    let der = PrivatePkcs8KeyDer::from(pkcs8);
    KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ED25519).map_err(|_| AuthorityError::Key)
}

fn signed_by_request(binding: &[u8], public: &[u8]) -> Vec<u8> {
    [REQUEST_CONTEXT, sha256(binding).0.as_slice(), public].concat()
}

/// Certificate request: a public key, and a proof of possession of the private key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CertificateRequest {
    #[serde(with = "serde_bytes")]
    public: Vec<u8>,
    #[serde(with = "serde_bytes")]
    signature: Vec<u8>,
}

impl CertificateRequest {
    /// Verifies that the request is signed by its own public key, for this binding.
    ///
    /// # Errors
    /// Fails with [`AuthorityError::Key`] if the public key has another length, and with
    /// [`AuthorityError::Unproven`] if the signature is of another key or binding.
    pub fn verify(&self, binding: &[u8]) -> Result<(), AuthorityError> {
        if self.public.len() != PUBLIC_KEY_BYTES {
            return Err(AuthorityError::Key);
        }
        let message = signed_by_request(binding, &self.public);
        if is_signed_by_key(&self.public, &message, &self.signature) {
            Ok(())
        } else {
            Err(AuthorityError::Unproven)
        }
    }

    pub fn digest(&self) -> Digest {
        key_digest(&self.public)
    }
}

/// The cluster's CA, which signs certificates.
pub struct Authority {
    cluster: String,
    certificate: Vec<u8>,
    key: KeyPair,
}

impl Authority {
    /// Creates a CA with a new key, for a new cluster.
    ///
    /// # Errors
    /// Fails if the cluster name is invalid, or if the library cannot create a key or a
    /// certificate.
    pub fn found(cluster: &str) -> Result<Authority, AuthorityError> {
        check_cluster_name(cluster)?;
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let certificate = authority_params(cluster, &key)?.self_signed(&key)?;
        Ok(Authority {
            cluster: cluster.to_owned(),
            certificate: certificate.der().to_vec(),
            key,
        })
    }

    /// Creates the CA from its certificate (DER) and key (PKCS #8).
    ///
    /// # Errors
    /// - [`AuthorityError::ClusterName`]: the cluster name is invalid.
    /// - [`AuthorityError::Key`]: the key is not an Ed25519 key pair.
    /// - [`AuthorityError::NotOurs`]: the certificate is invalid, or of another key.
    pub fn from_parts(
        cluster: &str,
        certificate: &[u8],
        pkcs8: &[u8],
    ) -> Result<Authority, AuthorityError> {
        check_cluster_name(cluster)?;
        let key = key_pair(pkcs8)?;
        let own = sha256(&key.subject_public_key_info());
        if certificate_digest(certificate) != Some(own) {
            return Err(AuthorityError::NotOurs);
        }
        Ok(Authority {
            cluster: cluster.to_owned(),
            certificate: certificate.to_vec(),
            key,
        })
    }

    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    pub fn fingerprint(&self) -> Digest {
        sha256(&self.certificate)
    }

    pub fn pkcs8(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.key.serialize_der())
    }

    /// Issues a certificate (DER) for a member, valid from now by this clock. The
    /// previous keys are those by which the cluster knew the member before, newest first.
    /// The caller has verified the request.
    ///
    /// # Errors
    /// Fails if a name is no valid DNS name, or if the library cannot create the certificate.
    pub fn sign(
        &self,
        member: MemberId,
        request: &CertificateRequest,
        predecessors: &[Digest],
    ) -> Result<Vec<u8>, AuthorityError> {
        self.sign_at(member, request, predecessors, SystemTime::now())
    }

    pub(crate) fn sign_at(
        &self,
        member: MemberId,
        request: &CertificateRequest,
        predecessors: &[Digest],
        now: SystemTime,
    ) -> Result<Vec<u8>, AuthorityError> {
        let name = member_name(&self.cluster, member);
        let before = predecessors.iter().take(PREDECESSORS_MAX);
        let before = before.map(|key| predecessor_name(&self.cluster, member, key));
        let names: Vec<String> = std::iter::once(name).chain(before).collect();
        self.sign_names(&names, request, now)
    }

    /// Issues a certificate (DER) with a single name, which is not the name of a member.
    pub(super) fn sign_name(
        &self,
        name: &str,
        request: &CertificateRequest,
    ) -> Result<Vec<u8>, AuthorityError> {
        self.sign_names(&[name.to_owned()], request, SystemTime::now())
    }

    fn sign_names(
        &self,
        names: &[String],
        request: &CertificateRequest,
        now: SystemTime,
    ) -> Result<Vec<u8>, AuthorityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished(names.first().map_or("", String::as_str));
        params.subject_alt_names = names
            .iter()
            .map(|name| dns(name))
            .collect::<Result<_, _>>()?;
        params.not_before = (now - BACKDATED).into();
        params.not_after = (now + DAY * MEMBER_VALID_DAYS as u32).into();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial()?);
        let issuer = Issuer::new(authority_params(&self.cluster, &self.key)?, &self.key);
        let certificate = params.signed_by(&PublicKey(&request.public), &issuer)?;
        Ok(certificate.der().to_vec())
    }

    /// Signs bytes that are not a certificate; their first byte must differ from that of
    /// a certificate.
    pub(super) fn sign_words(&self, words: &[u8]) -> Result<Vec<u8>, AuthorityError> {
        use rcgen::SigningKey;
        Ok(self.key.sign(words)?)
    }

    /// Issues a certificate (DER) for a newer CA's key: a member that knows only this CA
    /// then trusts what the newer one signs.
    ///
    /// # Errors
    /// Fails if the library cannot create the certificate.
    pub fn vouch_for(&self, newer: &Authority) -> Result<Vec<u8>, AuthorityError> {
        let params = authority_params(&newer.cluster, &newer.key)?;
        let issuer = Issuer::new(authority_params(&self.cluster, &self.key)?, &self.key);
        let certificate = params.signed_by(&newer.key, &issuer)?;
        Ok(certificate.der().to_vec())
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({}, {})", self.cluster, self.fingerprint())
    }
}

fn check_cluster_name(name: &str) -> Result<(), AuthorityError> {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let good = (1..=CLUSTER_NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-');
    if good {
        Ok(())
    } else {
        Err(AuthorityError::ClusterName(name.to_owned()))
    }
}

/// Returns the certificate parameters of a CA, valid from now. The name depends only on the cluster
/// and the key, so that a CA that is reconstructed from its key has the same name as issuer.
fn authority_params(cluster: &str, key: &KeyPair) -> Result<CertificateParams, AuthorityError> {
    let of_key = sha256(&key.subject_public_key_info()).to_string();
    let short = of_key.get(..16).unwrap_or_default();
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished(&format!("evenkeel {cluster} {short}"));
    // Sets the path length so that a chain may contain, below this CA, the CAs that followed it.
    let below = BasicConstraints::Constrained(FORMER_AUTHORITIES_MAX as u8);
    params.is_ca = IsCa::Ca(below);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    let now = SystemTime::now();
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + DAY * AUTHORITY_VALID_DAYS as u32).into();
    params.serial_number = Some(serial()?);
    Ok(params)
}

fn distinguished(name: &str) -> rcgen::DistinguishedName {
    let mut distinguished = rcgen::DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn dns(name: &str) -> Result<SanType, AuthorityError> {
    Ok(SanType::DnsName(name.to_owned().try_into()?))
}

fn serial() -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0; SERIAL_BYTES];
    fill(&mut bytes).map_err(|_| AuthorityError::Key)?;
    if let Some(first) = bytes.first_mut() {
        // The serial number is positive, and has no leading zero that would shorten it (RFC
        // 5280, 4.1.2.2).
        *first = (*first & 0x7f) | 0x40;
    }
    Ok(SerialNumber::from_slice(&bytes))
}

/// The identity of a member: its certificate, and the private key.
pub struct MemberIdentity {
    cluster: String,
    member: MemberId,
    key: MemberKey,
    chain: Vec<Vec<u8>>,
    predecessors: Vec<Digest>,
}

impl MemberIdentity {
    /// Creates the identity from a member's certificate (DER) and its chain. The chain
    /// leads to CAs that others may know: certificates of newer CAs by older ones, and
    /// the CAs' own.
    ///
    /// # Errors
    /// Fails with [`AuthorityError::Tls`] if the certificate cannot be parsed, and with
    /// [`AuthorityError::NotOurs`] if it is of another key or of another member.
    pub fn new(
        cluster: &str,
        member: MemberId,
        key: MemberKey,
        certificate: Vec<u8>,
        authorities: &[Vec<u8>],
    ) -> Result<MemberIdentity, AuthorityError> {
        let der = CertificateDer::from(certificate.as_slice());
        let parsed = ParsedCertificate::try_from(&der)?;
        let own = sha256(&parsed.subject_public_key_info()) == key.digest();
        if !own || !has_name(&parsed, &member_name(cluster, member)) {
            return Err(AuthorityError::NotOurs);
        }
        let mut chain = vec![certificate];
        chain.extend(authorities.iter().cloned());
        Ok(MemberIdentity {
            cluster: cluster.to_owned(),
            member,
            key,
            chain,
            predecessors: Vec::new(),
        })
    }

    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    pub fn member(&self) -> MemberId {
        self.member
    }

    pub fn key(&self) -> &MemberKey {
        &self.key
    }

    /// Returns the identity with its previous keys, which its certificate names, the
    /// newest first. They are stored so that the next certificate names them, too.
    pub fn with_predecessors(mut self, predecessors: Vec<Digest>) -> MemberIdentity {
        self.predecessors = predecessors;
        self.predecessors.truncate(PREDECESSORS_MAX);
        self
    }

    /// Returns the identity with another chain to CAs.
    ///
    /// # Errors
    /// As [`MemberIdentity::new`].
    pub fn with_chain(&self, authorities: &[Vec<u8>]) -> Result<MemberIdentity, AuthorityError> {
        let key = MemberKey::from_pkcs8(&self.key.pkcs8())?;
        let own = self.chain.first().cloned().unwrap_or_default();
        let same = MemberIdentity::new(&self.cluster, self.member, key, own, authorities)?;
        Ok(same.with_predecessors(self.predecessors.clone()))
    }

    pub fn is_issued_by(&self, authority: &[u8]) -> bool {
        let own = self.chain.first();
        own.is_some_and(|own| is_issued_by(own, authority))
    }

    /// Returns the former keys that its certificate names, the newest first.
    pub fn predecessors(&self) -> &[Digest] {
        &self.predecessors
    }

    /// Returns the certificate (DER), then the chain to the CAs.
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    pub(super) fn tls_chain(&self) -> Vec<CertificateDer<'static>> {
        let owned = |der: &Vec<u8>| CertificateDer::from(der.clone());
        self.chain.iter().map(owned).collect()
    }

    pub(super) fn tls_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.0.serialize_der()))
    }

    /// Returns whether a new certificate is due: at `now`, less than a third of
    /// [`MEMBER_VALID_DAYS`] is left. False if the certificate does not verify at that time for
    /// another reason, for example because its validity has not begun.
    pub fn renewal_due(&self, now: SystemTime) -> bool {
        let left = DAY * MEMBER_VALID_DAYS as u32 / 3;
        super::tls::over_at(&self.chain, now + left)
    }

    /// Returns the days until the certificate expires by this clock, 0 if it has expired. `None`
    /// while more than [`SOON_DAYS`] are left, because a renewal is not overdue by much then.
    pub fn ends_in_days(&self, now: SystemTime) -> Option<u64> {
        let is_over = |days: &u64| super::tls::over_at(&self.chain, now + DAY * *days as u32);
        Some(SOON_DAYS).filter(is_over)?;
        (0..=SOON_DAYS).find(is_over)
    }
}

impl Signer for MemberIdentity {
    fn sign(&self, bytes: &[u8]) -> Result<MemberSignature, SigningError> {
        Ok(MemberSignature {
            public_key: self.key.public().to_vec(),
            signature: self.key.sign(bytes).map_err(|_| SigningError)?,
            certificate: self.chain.first().cloned().unwrap_or_default(),
        })
    }
}

impl fmt::Debug for MemberIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = member_name(&self.cluster, self.member);
        write!(f, "Identity({name}, {})", self.key.digest())
    }
}
