//! Holds the CA certificates that verify others: those of a `ca-file`, of a directory, or of the
//! system, parsed once. Reading the files and changing the certificates at run time happen
//! elsewhere.

use rustls::DistinguishedName;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, TrustAnchor};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::certificate::Certificate;

/// Maximum number of certificates in a file. The bundles of operating systems have about 150.
pub const AUTHORITIES_MAX: usize = 100_000;

/// Paths of the system's CA bundle by distribution. The first existing one is used.
pub const SYSTEM_BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
];

/// Extensions of the files that are read from a directory as `ca-file`. Files that begin with a dot
/// are ignored.
pub const DIRECTORY_EXTENSIONS: &[&str] = &[".pem", ".crt", ".cer", ".crl"];

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoAuthorities {
    #[error("no certificate or crl found")]
    Empty,
    #[error("cannot read one of its certificates")]
    Malformed,
    #[error("it has too many certificates")]
    TooMany,
}

#[derive(Clone, Debug)]
pub struct Authority {
    pub der: CertificateDer<'static>,
    /// The same certificate, parsed for OpenSSL's rules.
    pub certificate: Certificate,
}

/// All CA certificates of a file or a directory.
pub struct Authorities {
    list: Vec<Authority>,
    anchors: Vec<TrustAnchor<'static>>,
    between: Vec<CertificateDer<'static>>,
    names: Vec<DistinguishedName>,
    by_subject: HashMap<Box<[u8]>, Vec<usize>>,
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorities({})", self.list.len())
    }
}

impl PartialEq for Authorities {
    fn eq(&self, other: &Self) -> bool {
        self.list.len() == other.list.len()
            && self
                .list
                .iter()
                .zip(&other.list)
                .all(|(a, b)| a.der == b.der)
    }
}

impl Eq for Authorities {}

impl Authorities {
    /// Parses the certificates of a PEM file; other blocks are ignored.
    ///
    /// # Errors
    /// As [`Self::from_texts`].
    pub fn from_pem(text: &[u8]) -> Result<Authorities, NoAuthorities> {
        Self::from_texts([text])
    }

    /// Returns the CA certificates of many files, such as those of a directory.
    ///
    /// # Errors
    /// `Malformed` if a certificate cannot be parsed. `TooMany` if there are more than
    /// [`AUTHORITIES_MAX`]. `Empty` if there is none.
    pub fn from_texts<'t>(
        texts: impl IntoIterator<Item = &'t [u8]>,
    ) -> Result<Authorities, NoAuthorities> {
        let mut certificates = Vec::new();
        for text in texts {
            for der in CertificateDer::pem_slice_iter(text) {
                certificates.push(der.map_err(|_| NoAuthorities::Malformed)?);
                if certificates.len() > AUTHORITIES_MAX {
                    return Err(NoAuthorities::TooMany);
                }
            }
        }
        Self::new(certificates)
    }

    /// Creates a set of CA certificates, without duplicates.
    ///
    /// # Errors
    /// `Malformed` if a certificate cannot be parsed. `Empty` if there is none.
    pub fn new(certificates: Vec<CertificateDer<'static>>) -> Result<Authorities, NoAuthorities> {
        let mut made = Authorities {
            list: Vec::with_capacity(certificates.len()),
            anchors: Vec::with_capacity(certificates.len()),
            between: Vec::new(),
            names: Vec::new(),
            by_subject: HashMap::new(),
        };
        let mut seen = std::collections::HashSet::with_capacity(certificates.len());
        for der in certificates {
            if !seen.insert(der.clone()) {
                continue;
            }
            let Some(certificate) = Certificate::parse(&der) else {
                return Err(NoAuthorities::Malformed);
            };
            made.add(der, certificate);
        }
        if made.list.is_empty() {
            Err(NoAuthorities::Empty)
        } else {
            Ok(made)
        }
    }

    fn add(&mut self, der: CertificateDer<'static>, certificate: Certificate) {
        // HAProxy does not enable partial chains in OpenSSL: a certificate that another CA has
        // signed is not a trust anchor, but helps to reach a root. A certificate that webpki
        // rejects as an anchor is evaluated by OpenSSL's rules only.
        if !certificate.looks_self_signed() {
            self.between.push(der.clone());
        } else if let Ok(anchor) = webpki::anchor_from_trusted_cert(&der) {
            self.anchors.push(anchor.to_owned());
        }
        let subject = certificate.subject.clone();
        let same = self.by_subject.entry(subject.clone()).or_default();
        if same.is_empty() {
            self.names.push(DistinguishedName::in_sequence(&subject));
        }
        same.push(self.list.len());
        self.list.push(Authority { der, certificate });
    }

    pub fn union_with(&self, more: &Authorities) -> Arc<Authorities> {
        let mut both = Authorities {
            list: Vec::new(),
            anchors: Vec::new(),
            between: Vec::new(),
            names: Vec::new(),
            by_subject: HashMap::new(),
        };
        for authority in self.list.iter().chain(&more.list) {
            both.add(authority.der.clone(), authority.certificate.clone());
        }
        Arc::new(both)
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Returns false, because an empty set cannot be created.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns all certificates in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Authority> {
        self.list.iter()
    }

    pub fn by_subject(&self, subject: &[u8]) -> impl Iterator<Item = &Authority> {
        let found = self.by_subject.get(subject).map_or(&[][..], Vec::as_slice);
        found.iter().map(|index| &self.list[*index])
    }

    pub fn has(&self, der: &[u8], subject: &[u8]) -> bool {
        self.by_subject(subject)
            .any(|authority| &*authority.der == der)
    }

    /// Returns the intermediate certificates, which another CA has signed, so that they are not
    /// trust anchors.
    pub fn between(&self) -> &[CertificateDer<'static>] {
        &self.between
    }

    pub fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }

    /// Returns the subjects, as they are sent to clients.
    pub fn names(&self) -> &[DistinguishedName] {
        &self.names
    }
}
