//! Holds a certificate with its chain, its private key and its OCSP response, checked for
//! consistency; and the same parts while an operator replaces them one by one. Files are read
//! elsewhere.

use super::certificate::Certificate;
use super::der::{Der, OCTET_STRING, OID, SEQUENCE};
use super::ocsp::{self, OcspError};
use super::pem::{Contents, Key, PemError};
use rustls::SignatureAlgorithm;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SigningKey};
use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

const ALT_NAMES: &[u8] = &[0x55, 0x1d, 17];
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
/// Tag of a host name in subjectAltName (RFC 5280, 4.2.1.6: dNSName).
pub const DNS_NAME: u8 = 0x82;
const EXTENSIONS: u8 = 0xa3;
const SET: u8 = 0x31;

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CertError {
    #[error("{0}")]
    Pem(#[from] PemError),
    #[error("it has no certificate")]
    NoCertificate,
    /// The n-th certificate, counted from 1, cannot be parsed.
    #[error("cannot read its certificate {0}")]
    BadCertificate(usize),
    #[error("No Private Key found")]
    NoKey,
    #[error("its private key is unusable: {0}")]
    BadKey(Box<str>),
    /// The key belongs to another certificate.
    #[error("inconsistencies between private key and certificate loaded")]
    Mismatch,
    #[error("is not an issuer")]
    NotIssuer,
    #[error("cannot be read or parsed")]
    BadIssuer,
    #[error(
        "is present and activates OCSP but it is impossible to compute the OCSP certificate ID \
             (maybe the issuer could not be found)"
    )]
    OcspWithoutIssuer,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum KeyKind {
    Ecdsa,
    Rsa,
    Ed25519,
}

/// The parts of a certificate: chain, key, issuer, OCSP response. Each may be missing until all
/// are collected.
#[derive(Clone, Default)]
pub struct Parts {
    /// Leaf certificate, followed by those of its issuers.
    pub chain: Vec<CertificateDer<'static>>,
    /// Private key, ready for signing; its bytes have been wiped.
    pub key: Option<Arc<dyn SigningKey>>,
    /// Certificate of the issuer, if the chain does not contain it.
    pub issuer: Option<CertificateDer<'static>>,
    pub ocsp: Option<Vec<u8>>,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parts({} certificates)", self.chain.len())
    }
}

/// Converts a key for rustls. Its bytes may be wiped afterwards.
///
/// # Errors
/// `BadKey` if the key is malformed or of an unsupported type.
pub fn signing_key(key: &Key) -> Result<Arc<dyn SigningKey>, CertError> {
    rustls::crypto::aws_lc_rs::sign::any_supported_type(&key.der())
        .map_err(|error| CertError::BadKey(error.to_string().into()))
}

impl Parts {
    /// Adds the certificates and the key of a file. Parts that the file does not contain stay as
    /// they are.
    ///
    /// # Errors
    /// `Pem` if the file is malformed. `BadKey` if the key cannot be used; the certificates are
    /// then already replaced.
    pub fn take(&mut self, text: &[u8]) -> Result<(), CertError> {
        let found = Contents::parse(text)?;
        if !found.certificates.is_empty() {
            self.chain = found.certificates;
        }
        if let Some(key) = found.key {
            self.key = Some(signing_key(&key)?);
        }
        Ok(())
    }

    /// Adds the certificate of the issuer.
    ///
    /// # Errors
    /// `BadIssuer` if the text has no certificate that can be parsed. `NotIssuer` if the
    /// certificate names another issuer.
    pub fn take_issuer(&mut self, text: &[u8]) -> Result<(), CertError> {
        let found = Contents::parse(text).map_err(|_| CertError::BadIssuer)?;
        let issuer = found.certificates.into_iter().next();
        let issuer = issuer.ok_or(CertError::BadIssuer)?;
        let issued = self.chain.first().and_then(|der| Certificate::parse(der));
        let parsed = Certificate::parse(&issuer).ok_or(CertError::BadIssuer)?;
        if issued.is_some_and(|leaf| leaf.issuer != parsed.subject) {
            return Err(CertError::NotIssuer);
        }
        self.issuer = Some(issuer);
        Ok(())
    }

    /// Checks that the parts fit together, and combines them. An OCSP response that cannot be
    /// stapled is left out and returned as an error.
    ///
    /// # Errors
    /// `NoCertificate` or `NoKey` if that part is missing. `BadCertificate` if a certificate of the
    /// chain cannot be parsed. `Mismatch` if the key belongs to another certificate.
    /// `OcspWithoutIssuer` if there is an OCSP response, but no issuer.
    pub fn certify(self) -> Result<(Certified, Option<OcspError>), CertError> {
        let leaf = self.chain.first().ok_or(CertError::NoCertificate)?;
        let info = Certificate::parse(leaf).ok_or(CertError::BadCertificate(1))?;
        for (at, der) in self.chain.iter().enumerate().skip(1) {
            Certificate::parse(der).ok_or(CertError::BadCertificate(at + 1))?;
        }
        let key = self.key.clone().ok_or(CertError::NoKey)?;
        if !keys_match(&info, &*key) {
            return Err(CertError::Mismatch);
        }
        let issuer = self.issuer_info(&info);
        if self.ocsp.is_some() && issuer.is_none() {
            return Err(CertError::OcspWithoutIssuer);
        }
        let kind = match key.algorithm() {
            SignatureAlgorithm::RSA => KeyKind::Rsa,
            SignatureAlgorithm::ED25519 => KeyKind::Ed25519,
            _ => KeyKind::Ecdsa,
        };
        let mut certified = Certified {
            names: names(leaf, &info),
            kind,
            ocsp_id: issuer
                .as_ref()
                .map(|i| ocsp::certificate_id(&ocsp_subject(&info, i))),
            plain: Arc::new(CertifiedKey::new(self.chain.clone(), key)),
            stapled: None,
            info,
            parts: self,
        };
        let bytes = certified.parts.ocsp.take();
        let told = match (bytes, issuer) {
            (Some(bytes), Some(issuer)) => certified.staple(&bytes, &issuer).err(),
            _ => None,
        };
        Ok((certified, told))
    }

    fn issuer_info(&self, leaf: &Certificate) -> Option<Certificate> {
        let beside = self.issuer.iter().chain(self.chain.iter().skip(1));
        let mut all = beside.filter_map(|der| Certificate::parse(der));
        all.find(|issuer| issuer.subject == leaf.issuer)
    }
}

/// Returns whether a key belongs to a certificate, of any X.509 version.
pub fn keys_match(info: &Certificate, key: &dyn SigningKey) -> bool {
    /// Extracts the key without its algorithm, which may be encoded in two ways.
    fn bits(spki: &[u8]) -> Option<&[u8]> {
        let mut inside = Der(spki).take(SEQUENCE)?.inside();
        inside.take(SEQUENCE)?;
        inside.next()?.bits()
    }
    // Accepts a key without a public half, which cannot be compared, as OpenSSL does.
    key.public_key()
        .is_none_or(|public| bits(&public) == bits(&info.key))
}

fn ocsp_subject<'a>(leaf: &'a Certificate, issuer: &'a Certificate) -> ocsp::Subject<'a> {
    let mut key = Der(&issuer.key);
    let bits = key.take(SEQUENCE).and_then(|spki| {
        let mut inside = spki.inside();
        inside.take(SEQUENCE)?;
        inside.next()?.bits()
    });
    ocsp::Subject {
        serial: &leaf.serial,
        issuer_content: &issuer.subject,
        issuer_key: bits.unwrap_or_default(),
    }
}

/// Returns the host names of a certificate in lower case: its alternative names and its
/// common name.
fn names(leaf: &[u8], info: &Certificate) -> Box<[Box<[u8]>]> {
    let mut all: Vec<Box<[u8]>> = Vec::new();
    let mut add = |name: &[u8]| {
        let name: Box<[u8]> = name.to_ascii_lowercase().into();
        if !name.is_empty() && !all.contains(&name) {
            all.push(name);
        }
    };
    for (tag, name) in alternative_names(leaf) {
        if tag == DNS_NAME {
            add(name);
        }
    }
    let mut relative = Der(&info.subject);
    while let Some(set) = relative.take(SET) {
        let mut set = set.inside();
        while let Some(pair) = set.take(SEQUENCE) {
            let mut pair = pair.inside();
            if pair.take(OID).is_some_and(|oid| oid.content == COMMON_NAME)
                && let Some(value) = pair.next()
            {
                add(value.content);
            }
        }
    }
    all.into()
}

pub fn alternative_names(der: &[u8]) -> Vec<(u8, &[u8])> {
    let found = (|| {
        let mut outer = Der(der).take(SEQUENCE)?.inside();
        let mut tbs = outer.take(SEQUENCE)?.inside();
        let mut extensions = None;
        while let Some(field) = tbs.next() {
            if field.tag == EXTENSIONS {
                extensions = field.inside().take(SEQUENCE);
            }
        }
        let mut list = extensions?.inside();
        while let Some(extension) = list.take(SEQUENCE) {
            let mut extension = extension.inside();
            if extension.take(OID)?.content != ALT_NAMES {
                continue;
            }
            while let Some(value) = extension.next() {
                if value.tag == OCTET_STRING {
                    return value.inside().take(SEQUENCE);
                }
            }
        }
        None
    })();
    let mut names = Vec::new();
    let mut list = found.map_or(Der(&[]), |names| names.inside());
    while let Some(name) = list.next() {
        names.push((name.tag, name.content));
    }
    names
}

/// A certificate that can be presented.
pub struct Certified {
    /// Parts of the certificate, without the OCSP response.
    pub parts: Parts,
    pub info: Certificate,
    pub kind: KeyKind,
    /// Host names of the certificate in lower case.
    pub names: Box<[Box<[u8]>]>,
    /// Identifier of the certificate in OCSP (CertID). None without an issuer.
    pub ocsp_id: Option<Vec<u8>>,
    plain: Arc<CertifiedKey>,
    stapled: Option<(Arc<CertifiedKey>, ocsp::Response)>,
}

impl fmt::Debug for Certified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.names.iter().map(|name| String::from_utf8_lossy(name));
        f.debug_list().entries(names).finish()
    }
}

/// Returns the seconds since 1970.
pub fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

impl Certified {
    fn staple(&mut self, der: &[u8], issuer: &Certificate) -> Result<(), OcspError> {
        let response = ocsp::Response::parse(der, &ocsp_subject(&self.info, issuer), now_s())?;
        let stapled = CertifiedKey {
            ocsp: Some(response.der.clone()),
            ..CertifiedKey::clone(&self.plain)
        };
        self.stapled = Some((Arc::new(stapled), response));
        Ok(())
    }

    /// Returns a copy with another OCSP response.
    ///
    /// # Errors
    /// As [`ocsp::Response::parse`]. `OtherCertificate` also if the issuer is unknown.
    pub fn with_ocsp(&self, der: &[u8]) -> Result<Certified, OcspError> {
        let mut parts = self.parts.clone();
        parts.ocsp = Some(der.to_vec());
        // Without the issuer, no OCSP response can be assigned to the certificate.
        match parts.certify() {
            Ok((certified, None)) => Ok(certified),
            Ok((_, Some(error))) => Err(error),
            Err(_) => Err(OcspError::OtherCertificate),
        }
    }

    /// Returns the certificate to present at this time: an expired OCSP response is left
    /// out.
    pub fn certificate_to_present(&self, now_s: i64) -> &Arc<CertifiedKey> {
        match &self.stapled {
            Some((stapled, response)) if response.next_update_s > now_s => stapled,
            _ => &self.plain,
        }
    }

    /// Returns the certificate without a stapled OCSP response, for connections to servers.
    pub fn plain(&self) -> &Arc<CertifiedKey> {
        &self.plain
    }

    /// Returns the parts including the OCSP response, for changes.
    pub fn parts(&self) -> Parts {
        Parts {
            ocsp: self.ocsp().map(|response| response.der.clone()),
            ..self.parts.clone()
        }
    }

    /// Returns the OCSP response that is stapled until it expires.
    pub fn ocsp(&self) -> Option<&ocsp::Response> {
        self.stapled.as_ref().map(|(_, response)| response)
    }

    pub fn leaf(&self) -> &CertificateDer<'static> {
        // `certify` has checked that the chain is not empty.
        &self.parts.chain[0]
    }

    pub fn key(&self) -> &Arc<dyn SigningKey> {
        &self.plain.key
    }
}

#[cfg(test)]
pub(crate) mod tests;
