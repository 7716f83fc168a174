//! Parses the fields of a certificate that OpenSSL's rules evaluate, and verifies the signatures of
//! certificates and CRLs. RSA with SHA-1 is verified, but reported as weak. [`super::chain`]
//! decides by the results.

use super::der::{self, BOOLEAN, Der, Element, INTEGER, OCTET_STRING, OID, SEQUENCE};
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use webpki::RawPublicKeyEntity;

/// The signed bytes of a certificate or CRL with the signature.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signed {
    /// Bytes that the signature covers, as received.
    pub message: Box<[u8]>,
    pub algorithm: Box<[u8]>,
    pub signature: Box<[u8]>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signature {
    Good,
    Bad,
    /// The signature is valid, but uses a digest that is no longer secure.
    Weak,
    Unknown,
}

/// Prefixes of signature algorithms with insecure digests, DER.
const WEAK: &[&[u8]] = &[
    // RSA with MD2, MD4, MD5, SHA-1: 1.2.840.113549.1.1.{2,3,4,5}
    &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 2],
    &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 3],
    &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 4],
    &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5],
    // ECDSA with SHA-1: 1.2.840.10045.4.1
    &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1],
];

/// Object identifier of RSA with SHA-1, DER.
const RSA_SHA1: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5];
const RSA: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];

impl Signed {
    /// Parses the outer SEQUENCE of a certificate or CRL.
    pub(super) fn parse(der: &[u8]) -> Option<(Signed, Element<'_>)> {
        let mut all = Der(der);
        let mut outer = all.take(SEQUENCE)?.inside();
        let message = outer.take(SEQUENCE)?;
        let algorithm = outer.take(SEQUENCE)?;
        let signature = outer.take(der::BIT_STRING)?.bits()?;
        let whole = outer.is_empty() && all.is_empty();
        let signed = Signed {
            message: message.whole.into(),
            algorithm: algorithm.content.into(),
            signature: signature.into(),
        };
        whole.then_some((signed, message))
    }

    pub fn is_weak(&self) -> bool {
        WEAK.iter().any(|weak| self.algorithm.starts_with(weak))
    }

    /// Verifies a signature with RSA and SHA-1, the only insecure algorithm that is still in use,
    /// for configurations that ignore the error.
    fn verify_weak(&self, key: &[u8]) -> Signature {
        if !self.algorithm.starts_with(RSA_SHA1) {
            return Signature::Unknown;
        }
        let bits = Der(key).take(SEQUENCE).and_then(|spki| {
            let mut inside = spki.inside();
            let algorithm = inside.take(SEQUENCE)?.content;
            let is_rsa = algorithm.starts_with(RSA);
            inside.next()?.bits().filter(|_| is_rsa)
        });
        let Some(bits) = bits else {
            return Signature::Unknown;
        };
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, bits);
        match key.verify(&self.message, &self.signature) {
            Ok(()) => Signature::Weak,
            Err(_) => Signature::Bad,
        }
    }

    pub fn verify(&self, key: &[u8]) -> Signature {
        if self.is_weak() {
            return self.verify_weak(key);
        }
        let key = SubjectPublicKeyInfoDer::from(key);
        let Ok(key) = RawPublicKeyEntity::try_from(&key) else {
            return Signature::Unknown;
        };
        let mut found = Signature::Unknown;
        let known = super::provider::provider().signature_verification_algorithms;
        for algorithm in known.all {
            if *algorithm.signature_alg_id() != *self.algorithm {
                continue;
            }
            match key.verify_signature(*algorithm, &self.message, &self.signature) {
                Ok(()) => return Signature::Good,
                Err(_) => found = Signature::Bad,
            }
        }
        found
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Basic {
    pub ca: bool,
    /// Maximum number of CAs below this one.
    pub path_len: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Purposes {
    pub server: bool,
    pub client: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certificate {
    pub signed: Signed,
    /// Version: 1, 2 or 3.
    pub version: u32,
    pub serial: Box<[u8]>,
    /// Content of the issuer's name.
    pub issuer: Box<[u8]>,
    /// Content of the subject's name.
    pub subject: Box<[u8]>,
    /// Valid from, seconds since 1970.
    pub not_before_s: i64,
    pub not_after_s: i64,
    pub key: Box<[u8]>,
    pub basic: Option<Basic>,
    /// First two bytes of the extension `keyUsage`, unchanged.
    pub key_usage: Option<u16>,
    pub purposes: Option<Purposes>,
    pub key_id: Option<Box<[u8]>>,
    /// Key identifier in the extension `authorityKeyIdentifier`.
    pub issuer_key_id: Option<Box<[u8]>>,
    /// Content of the extension `subjectAltName`.
    pub alternative_names: Option<Box<[u8]>>,
    pub critical_unknown: bool,
    pub constrains_names: bool,
}

/// Maximum number of extensions of a certificate. Real ones have about ten.
const EXTENSIONS_MAX: usize = 64;

pub const KEY_CERT_SIGN: u16 = 0x0400;
pub const CRL_SIGN: u16 = 0x0200;
pub const DIGITAL_SIGNATURE: u16 = 0x8000;
pub const KEY_ENCIPHERMENT: u16 = 0x2000;
pub const KEY_AGREEMENT: u16 = 0x0800;

impl Certificate {
    /// Parses all certificates of a PEM text, in order: in a chain file that of the server is the
    /// first. Blocks that cannot be parsed are ignored.
    pub fn all_of(text: &[u8]) -> Vec<Certificate> {
        let contents = super::pem::Contents::parse(text).unwrap_or_default();
        let certificates = contents.certificates.iter();
        certificates
            .filter_map(|der| Certificate::parse(der))
            .collect()
    }

    pub fn parse(der: &[u8]) -> Option<Certificate> {
        let (signed, tbs) = Signed::parse(der)?;
        let mut tbs = tbs.inside();
        let version = match tbs.take(0xa0) {
            Some(explicit) => explicit.inside().take(INTEGER)?.small()? + 1,
            None => 1,
        };
        let serial = tbs.take(INTEGER)?.content.into();
        tbs.take(SEQUENCE)?;
        let issuer = tbs.take(SEQUENCE)?.content.into();
        let mut validity = tbs.take(SEQUENCE)?.inside();
        let (from, until) = (validity.next()?.time_s()?, validity.next()?.time_s()?);
        let subject = tbs.take(SEQUENCE)?.content.into();
        let key = tbs.take(SEQUENCE)?.whole.into();
        // issuerUniqueID and subjectUniqueID are skipped, because they are unused.
        let _ = (
            tbs.take(0x81),
            tbs.take(0xa1),
            tbs.take(0x82),
            tbs.take(0xa2),
        );
        let mut made = Certificate {
            signed,
            version,
            serial,
            issuer,
            subject,
            not_before_s: from,
            not_after_s: until,
            key,
            basic: None,
            key_usage: None,
            purposes: None,
            key_id: None,
            issuer_key_id: None,
            alternative_names: None,
            critical_unknown: false,
            constrains_names: false,
        };
        if let Some(extensions) = tbs.take(0xa3) {
            let mut list = extensions.inside().take(SEQUENCE)?.inside();
            let mut seen: Vec<&[u8]> = Vec::new();
            while !list.is_empty() {
                let extension = list.take(SEQUENCE)?.inside();
                let id = Der(extension.0).take(OID)?.content;
                // Rejects a certificate with a repeated extension, which is ambiguous, or too many
                // extensions.
                if seen.contains(&id) || seen.len() == EXTENSIONS_MAX {
                    return None;
                }
                seen.push(id);
                made.extension(extension)?;
            }
        }
        tbs.is_empty().then_some(made)
    }

    fn extension(&mut self, mut extension: Der<'_>) -> Option<()> {
        const ID_CE: [u8; 2] = [0x55, 0x1d];
        let id = extension.take(OID)?.content;
        let critical = extension.take(BOOLEAN).is_some_and(|e| e.content != [0]);
        let mut value = extension.take(OCTET_STRING)?.inside();
        match id {
            [a, b, 14] if [*a, *b] == ID_CE => {
                self.key_id = Some(value.take(OCTET_STRING)?.content.into());
            }
            [a, b, 15] if [*a, *b] == ID_CE => {
                let bits = value.take(der::BIT_STRING)?.content;
                let byte = |n| bits.get(n).copied().unwrap_or(0);
                self.key_usage = Some(u16::from_be_bytes([byte(1), byte(2)]));
            }
            [a, b, 19] if [*a, *b] == ID_CE => {
                let mut inside = value.take(SEQUENCE)?.inside();
                let ca = inside.take(BOOLEAN).is_some_and(|e| e.content != [0]);
                let path_len = match inside.take(INTEGER) {
                    Some(number) => Some(number.small()?),
                    None => None,
                };
                self.basic = Some(Basic { ca, path_len });
            }
            [a, b, 30] if [*a, *b] == ID_CE => self.constrains_names = true,
            [a, b, 35] if [*a, *b] == ID_CE => {
                let named = value.take(SEQUENCE)?.inside().take(0x80);
                self.issuer_key_id = named.map(|e| e.content.into());
            }
            [a, b, 37] if [*a, *b] == ID_CE => self.purposes = Some(purposes(value)?),
            [a, b, 17] if [*a, *b] == ID_CE => {
                self.alternative_names = Some(value.take(SEQUENCE)?.content.into());
            }
            // issuerAltName, cRLDistributionPoints and certificatePolicies are known, so they are
            // accepted even if critical: they have no effect here, or webpki checks them.
            [a, b, 18 | 31 | 32] if [*a, *b] == ID_CE => {}
            _ => self.critical_unknown |= critical,
        }
        Some(())
    }

    pub fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    /// Returns whether the certificate appears to be self-signed, according to its names and key
    /// identifiers.
    pub fn looks_self_signed(&self) -> bool {
        let ids_agree = match (&self.issuer_key_id, &self.key_id) {
            (Some(issuer), Some(own)) => issuer == own,
            _ => true,
        };
        self.is_self_issued() && ids_agree
    }

    /// Returns whether the certificate may sign others, by its basic constraints and key usage. A
    /// root without basic constraints needs a key usage or X.509 version 1.
    pub fn may_sign_certificates(&self, is_root: bool) -> bool {
        let usage = self.key_usage.map(|usage| usage & KEY_CERT_SIGN != 0);
        let basic = match self.basic {
            Some(basic) => basic.ca,
            None => is_root && (usage.is_some() || self.version == 1),
        };
        usage.unwrap_or(true) && basic
    }

    /// Returns whether a common name looks like a host name and is not among the alternative
    /// names. Name constraints must also hold for such a name, which webpki does not check.
    pub fn has_unlisted_host(&self) -> bool {
        const COMMON_NAME: [u8; 3] = [0x55, 4, 3];
        let could_be_host = |name: &[u8]| {
            let fits = |b: &u8| b.is_ascii_alphanumeric() || b"-_.*".contains(b);
            name.contains(&b'.') && name.iter().all(fits)
        };
        let listed = |wanted: &[u8]| {
            let mut names = Der(self.alternative_names.as_deref().unwrap_or_default());
            std::iter::from_fn(|| names.next())
                .any(|name| name.tag == 0x82 && name.content.eq_ignore_ascii_case(wanted))
        };
        let mut sets = Der(&self.subject);
        while let Some(set) = sets.next() {
            let mut fields = set.inside();
            while let Some(field) = fields.take(SEQUENCE) {
                let mut field = field.inside();
                let is_common = field.take(OID).is_some_and(|id| id.content == COMMON_NAME);
                let value = field.next().map_or(&[][..], |value| value.content);
                if is_common && could_be_host(value) && !listed(value) {
                    return true;
                }
            }
        }
        false
    }
}

fn purposes(mut value: Der<'_>) -> Option<Purposes> {
    const ID_KP: [u8; 7] = [0x2b, 6, 1, 5, 5, 7, 3];
    let mut found = Purposes::default();
    let mut list = value.take(SEQUENCE)?.inside();
    while !list.is_empty() {
        let id = list.take(OID)?.content;
        match id.strip_prefix(&ID_KP[..]) {
            Some([1]) => found.server = true,
            Some([2]) => found.client = true,
            // Ignores other purposes, also anyExtendedKeyUsage, which is not enough for OpenSSL
            // either.
            _ => {}
        }
    }
    Some(found)
}
