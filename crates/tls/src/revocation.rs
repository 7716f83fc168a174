//! Parses the CRLs of a `crl-file`, which list revoked certificates.

use super::certificate::Signed;
use super::der::{BOOLEAN, Der, Element, GENERALIZED_TIME, INTEGER, OID, SEQUENCE, UTC_TIME};
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use std::collections::HashSet;
use std::fmt;
use webpki::{CertRevocationList, OwnedCertRevocationList};

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoRevocations {
    #[error("no certificate or crl found")]
    Empty,
    #[error("cannot read one of its revocation lists")]
    Malformed,
}

/// The CRL of one CA.
#[derive(Debug)]
pub struct Revoked {
    pub signed: Signed,
    pub issuer: Box<[u8]>,
    /// Time of issue (thisUpdate), seconds since 1970.
    pub this_update_s: i64,
    /// Time of the next CRL (nextUpdate), if given.
    pub next_update_s: Option<i64>,
    /// The CRL or one of its entries has a critical extension. No extension is evaluated here, so
    /// it is unclear to which certificates of the issuer the CRL applies.
    pub critical_unknown: bool,
    serials: HashSet<Box<[u8]>>,
}

/// Returns whether one of these extensions is critical. None if they are malformed.
fn has_critical(extensions: Option<Element<'_>>) -> Option<bool> {
    let Some(extensions) = extensions else {
        return Some(false);
    };
    let mut list = extensions.inside();
    let mut found = false;
    while !list.is_empty() {
        let mut extension = list.take(SEQUENCE)?.inside();
        extension.take(OID)?;
        found |= extension.take(BOOLEAN).is_some_and(|e| e.content != [0]);
    }
    Some(found)
}

impl Revoked {
    fn parse(der: &[u8]) -> Option<Revoked> {
        let (signed, tbs) = Signed::parse(der)?;
        let mut tbs = tbs.inside();
        tbs.take(INTEGER);
        tbs.take(SEQUENCE)?;
        let issuer = tbs.take(SEQUENCE)?.content.into();
        let this_update_s = tbs.next()?.time_s()?;
        let next_update_s = match tbs.take(UTC_TIME).or_else(|| tbs.take(GENERALIZED_TIME)) {
            Some(time) => Some(time.time_s()?),
            None => None,
        };
        let mut serials = HashSet::new();
        let mut critical_unknown = false;
        if let Some(list) = tbs.take(SEQUENCE) {
            let mut list = list.inside();
            while !list.is_empty() {
                let mut entry = list.take(SEQUENCE)?.inside();
                serials.insert(entry.take(INTEGER)?.content.into());
                entry.next()?.time_s()?;
                critical_unknown |= has_critical(entry.take(SEQUENCE))?;
            }
        }
        if let Some(extensions) = tbs.take(0xa0) {
            critical_unknown |= has_critical(extensions.inside().take(SEQUENCE))?;
        }
        Some(Revoked {
            signed,
            issuer,
            this_update_s,
            next_update_s,
            critical_unknown,
            serials,
        })
    }

    pub fn has(&self, serial: &[u8]) -> bool {
        self.serials.contains(serial)
    }

    /// Parses the CRL again, for display.
    pub fn text(&self) -> RevokedText<'_> {
        let mut text = RevokedText {
            version: 1,
            revoked: Vec::new(),
        };
        // Ignores the result, because the CRL was already parsed successfully.
        let _ = text.read(&self.signed.message);
        text
    }

    pub fn len(&self) -> usize {
        self.serials.len()
    }

    pub fn is_empty(&self) -> bool {
        self.serials.is_empty()
    }
}

/// The fields of a CRL for display only.
#[derive(Debug)]
pub struct RevokedText<'a> {
    pub version: u32,
    /// Serial numbers of revoked certificates, and their revocation dates in seconds
    /// since 1970.
    pub revoked: Vec<(&'a [u8], i64)>,
}

impl<'a> RevokedText<'a> {
    fn read(&mut self, message: &'a [u8]) -> Option<()> {
        let mut tbs = Der(message).take(SEQUENCE)?.inside();
        if let Some(version) = tbs.take(INTEGER) {
            self.version = version.small()?.saturating_add(1);
        }
        tbs.take(SEQUENCE)?;
        tbs.take(SEQUENCE)?;
        tbs.next()?;
        let _ = tbs.take(UTC_TIME).or_else(|| tbs.take(GENERALIZED_TIME));
        let mut list = tbs.take(SEQUENCE)?.inside();
        while let Some(entry) = list.take(SEQUENCE) {
            let mut entry = entry.inside();
            let serial = entry.take(INTEGER)?.content;
            self.revoked.push((serial, entry.next()?.time_s()?));
        }
        Some(())
    }
}

/// All CRLs of a file.
pub struct Revocations {
    lists: Vec<Revoked>,
    webpki: Vec<CertRevocationList<'static>>,
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Revocations({})", self.lists.len())
    }
}

impl PartialEq for Revocations {
    fn eq(&self, other: &Self) -> bool {
        let signed = |all: &Self| -> Vec<Signed> {
            all.lists.iter().map(|list| list.signed.clone()).collect()
        };
        signed(self) == signed(other)
    }
}

impl Eq for Revocations {}

impl Revocations {
    /// Parses the CRLs in a PEM file. Other blocks are ignored; as in HAProxy, a file that
    /// contains certificates only is an empty list.
    ///
    /// # Errors
    /// `Malformed` if a CRL cannot be parsed. `Empty` if the file has neither a CRL nor a
    /// certificate.
    pub fn from_pem(text: &[u8]) -> Result<Revocations, NoRevocations> {
        let mut made = Revocations {
            lists: Vec::new(),
            webpki: Vec::new(),
        };
        for der in CertificateRevocationListDer::pem_slice_iter(text) {
            let der = der.map_err(|_| NoRevocations::Malformed)?;
            made.lists
                .push(Revoked::parse(&der).ok_or(NoRevocations::Malformed)?);
            // Leaves a CRL that webpki rejects to OpenSSL's rules only.
            if let Ok(list) = OwnedCertRevocationList::from_der(&der) {
                made.webpki.push(list.into());
            }
        }
        let certificates =
            || rustls::pki_types::CertificateDer::pem_slice_iter(text).any(|found| found.is_ok());
        if made.lists.is_empty() && !certificates() {
            Err(NoRevocations::Empty)
        } else {
            Ok(made)
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Revoked> {
        self.lists.iter()
    }

    /// Returns the CRLs in webpki's format. None if there are none, or webpki rejects any of them.
    pub fn webpki(&self) -> Option<&[CertRevocationList<'static>]> {
        let all = self.webpki.len() == self.lists.len() && !self.lists.is_empty();
        all.then_some(&self.webpki[..])
    }
}
