//! Checks an OCSP response that is to be stapled to handshakes: whether it belongs to the
//! certificate, its status, and its validity. Clients verify the signature; no responder is
//! queried here.

use super::der::{Der, Element, GENERALIZED_TIME, INTEGER, OCTET_STRING, OID, SEQUENCE};
use aws_lc_rs::digest;

pub const BYTES_MAX: usize = 64 << 10;

pub(crate) const ENUMERATED: u8 = 0x0a;
/// First context-specific tag of a constructed element.
pub(crate) const CONTEXT_0: u8 = 0xa0;
pub(crate) const BASIC: &[u8] = b"\x2b\x06\x01\x05\x05\x07\x30\x01\x01";
const SHA1: &[u8] = b"\x2b\x0e\x03\x02\x1a";
const SHA256: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x01";

/// Reason why a response is not stapled, with HAProxy's texts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OcspError {
    #[error("Unable to parse OCSP response")]
    Unparsable,
    #[error("OCSP response status not successful")]
    Status,
    #[error("OCSP single response: certificate status is unknown")]
    Unknown,
    #[error("OCSP single response: missing nextupdate")]
    NoNextUpdate,
    #[error("OCSP single response: no longer valid.")]
    Expired,
    #[error("OCSP single response: Certificate ID does not match certificate and issuer")]
    OtherCertificate,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OcspStatus {
    Good,
    Revoked,
}

/// The certificate that a response is about: the data from which the hashes in a CertID are
/// computed.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Serial number, content of the INTEGER.
    pub serial: &'a [u8],
    /// Name of the issuer in DER, without tag and length.
    pub issuer_content: &'a [u8],
    /// Public key of the issuer, without its algorithm.
    pub issuer_key: &'a [u8],
}

impl Subject<'_> {
    /// Returns the name of the issuer with tag and length, the input of the hash.
    fn issuer(&self) -> Vec<u8> {
        let length = self.issuer_content.len();
        let mut name = vec![SEQUENCE];
        match length {
            0..=0x7f => name.push(length as u8),
            0x80..=0xff => name.extend([0x81, length as u8]),
            _ => name.extend([0x82, (length >> 8) as u8, length as u8]),
        }
        name.extend(self.issuer_content);
        name
    }
}

/// An OCSP response that may be stapled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    pub der: Vec<u8>,
    pub status: OcspStatus,
    /// Time of the status (thisUpdate), seconds since 1970.
    pub this_update_s: i64,
    /// End of validity (nextUpdate), seconds since 1970.
    pub next_update_s: i64,
    /// CertID in DER, by which operators identify the response, as in HAProxy.
    pub id: Vec<u8>,
}

impl Response {
    /// Parses a response, and checks that it belongs to a certificate and is currently valid.
    ///
    /// # Errors
    /// `Unparsable` if the response is malformed. `Status` if the responder returned an error.
    /// `NoNextUpdate`, `Unknown`, `OtherCertificate` or `Expired` if it may not be stapled for that
    /// reason.
    pub fn parse(der: &[u8], about: &Subject<'_>, now_s: i64) -> Result<Response, OcspError> {
        let one = Single::read(der)?;
        let next_update_s = one.next_update_s.ok_or(OcspError::NoNextUpdate)?;
        let status = one.status.ok_or(OcspError::Unknown)?;
        if !one.is_about(about) {
            return Err(OcspError::OtherCertificate);
        }
        if next_update_s <= now_s {
            return Err(OcspError::Expired);
        }
        Ok(Response {
            der: der.to_vec(),
            status,
            this_update_s: one.this_update_s,
            next_update_s,
            id: one.id.to_vec(),
        })
    }

    /// Returns the CertID of a response, to find its certificate.
    ///
    /// # Errors
    /// `Unparsable` if the response is malformed. `Status` if the responder returned an error.
    pub fn id_of(der: &[u8]) -> Result<Vec<u8>, OcspError> {
        Single::read(der).map(|one| one.id.to_vec())
    }
}

/// Returns the CertID of a certificate in HAProxy's form: with SHA-1, in DER.
pub fn certificate_id(about: &Subject<'_>) -> Vec<u8> {
    let hash = |bytes: &[u8]| digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes);
    let value = |tag: u8, bytes: &[u8]| {
        // Encodes the length in one byte, because the whole is far below 128 bytes: two hashes and
        // a serial number of 21 bytes.
        let mut whole = vec![tag, bytes.len().min(0x7f) as u8];
        whole.extend(bytes);
        whole
    };
    let algorithm = [value(OID, SHA1), vec![0x05, 0x00]].concat();
    let fields = [
        value(SEQUENCE, &algorithm),
        value(OCTET_STRING, hash(&about.issuer()).as_ref()),
        value(OCTET_STRING, hash(about.issuer_key).as_ref()),
        value(INTEGER, about.serial),
    ];
    value(SEQUENCE, &fields.concat())
}

/// The first SingleResponse of an OCSP response.
struct Single<'a> {
    id: &'a [u8],
    algorithm: &'a [u8],
    name_hash: &'a [u8],
    key_hash: &'a [u8],
    serial: &'a [u8],
    /// Status of the certificate. None: unknown.
    status: Option<OcspStatus>,
    this_update_s: i64,
    next_update_s: Option<i64>,
}

impl<'a> Single<'a> {
    fn read(der: &'a [u8]) -> Result<Single<'a>, OcspError> {
        let body = basic(der)?;
        Self::first(body).ok_or(OcspError::Unparsable)
    }

    fn first(der: &'a [u8]) -> Option<Single<'a>> {
        let mut data = inside(&mut Der(der), SEQUENCE)?;
        let mut data = inside(&mut data, SEQUENCE)?;
        data.take(CONTEXT_0);
        // Skips the responder (responderID) and the time of the response (producedAt).
        data.next()?;
        data.take(GENERALIZED_TIME)?;
        let mut list = inside(&mut data, SEQUENCE)?;
        let mut one = inside(&mut list, SEQUENCE)?;
        let id = one.take(SEQUENCE)?;
        let mut name = id.inside();
        let algorithm = inside(&mut name, SEQUENCE)?.take(OID)?.content;
        let name_hash = name.take(OCTET_STRING)?.content;
        let key_hash = name.take(OCTET_STRING)?.content;
        let serial = name.take(INTEGER)?.content;
        let status = match one.next()?.tag & 0x1f {
            0 => Some(OcspStatus::Good),
            1 => Some(OcspStatus::Revoked),
            _ => None,
        };
        let this_update_s = one.take(GENERALIZED_TIME)?.time_s()?;
        let next_update_s = match one.take(CONTEXT_0) {
            Some(next) => Some(next.inside().take(GENERALIZED_TIME)?.time_s()?),
            None => None,
        };
        Some(Single {
            id: id.whole,
            algorithm,
            name_hash,
            key_hash,
            serial,
            status,
            this_update_s,
            next_update_s,
        })
    }

    fn is_about(&self, about: &Subject<'_>) -> bool {
        let algorithm = match self.algorithm {
            SHA1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            SHA256 => &digest::SHA256,
            _ => return false,
        };
        let same = |bytes: &[u8], hash: &[u8]| digest::digest(algorithm, bytes).as_ref() == hash;
        self.serial == about.serial
            && same(&about.issuer(), self.name_hash)
            && same(about.issuer_key, self.key_hash)
    }
}

fn inside<'a>(der: &mut Der<'a>, tag: u8) -> Option<Der<'a>> {
    der.take(tag).as_ref().map(Element::inside)
}

fn basic(der: &[u8]) -> Result<&[u8], OcspError> {
    let unparsable = OcspError::Unparsable;
    let mut outer = inside(&mut Der(der), SEQUENCE).ok_or(unparsable)?;
    if outer.take(ENUMERATED).ok_or(unparsable)?.content != [0] {
        return Err(OcspError::Status);
    }
    let found = (|| {
        let mut bytes = inside(&mut outer, CONTEXT_0)?;
        let mut bytes = inside(&mut bytes, SEQUENCE)?;
        let kind = bytes.take(OID)?.content;
        let body = bytes.take(OCTET_STRING)?.content;
        (kind == BASIC).then_some(body)
    })();
    found.ok_or(unparsable)
}

#[cfg(test)]
pub(crate) mod tests;
