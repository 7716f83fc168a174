//! Answers of OCSP responders that are stapled to handshakes: whether one is
//! about a certificate, what it says, and until when. Its signature is the
//! client's to verify; nobody is asked for a new one here.

use super::der::{Reader, tag};
use aws_lc_rs::digest;
use std::fmt;

/// The largest answer, bytes.
pub const BYTES_MAX: usize = 64 << 10;

/// OIDs as they are written.
const BASIC: &[u8] = b"\x2b\x06\x01\x05\x05\x07\x30\x01\x01";
const SHA1: &[u8] = b"\x2b\x0e\x03\x02\x1a";
const SHA256: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x01";

/// Why an answer is not stapled, in HAProxy's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OcspError {
    /// It is no answer.
    Unparsable,
    /// The responder refused.
    Status,
    /// The responder does not know the certificate.
    Unknown,
    /// It does not say until when it holds.
    NoNextUpdate,
    /// It holds no longer.
    Expired,
    /// It is about another certificate.
    OtherCertificate,
}

impl fmt::Display for OcspError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OcspError::Unparsable => "Unable to parse OCSP response",
            OcspError::Status => "OCSP response status not successful",
            OcspError::Unknown => "OCSP single response: certificate status is unknown",
            OcspError::NoNextUpdate => "OCSP single response: missing nextupdate",
            OcspError::Expired => "OCSP single response: no longer valid.",
            OcspError::OtherCertificate => {
                "OCSP single response: Certificate ID does not match certificate and issuer"
            }
        })
    }
}

/// What an answer says of the certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// It is good.
    Good,
    /// It was revoked.
    Revoked,
}

/// Which certificate is asked about: what the hashes are made of.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The serial number, as DER has it.
    pub serial: &'a [u8],
    /// The issuer's name in DER.
    pub issuer: &'a [u8],
    /// The issuer's public key, without what stands around it.
    pub issuer_key: &'a [u8],
}

/// An answer that may be stapled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// Its bytes.
    pub der: Vec<u8>,
    /// What it says.
    pub status: Status,
    /// Since when it is so, seconds since 1970.
    pub this_update_s: i64,
    /// Until when it holds.
    pub next_update_s: i64,
    /// The first hash of the identifier by which HAProxy's operators name it:
    /// the whole CertID in DER.
    pub id: Vec<u8>,
}

impl Response {
    /// Reads an answer and looks whether it is about a certificate and holds now.
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

    /// The CertID of an answer, by which a certificate is looked for.
    pub fn id_of(der: &[u8]) -> Result<Vec<u8>, OcspError> {
        Single::read(der).map(|one| one.id.to_vec())
    }
}

/// The CertID of a certificate as HAProxy names it: with SHA-1, in DER.
pub fn certificate_id(about: &Subject<'_>) -> Vec<u8> {
    let hash = |bytes: &[u8]| digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes);
    let value = |tag: u8, bytes: &[u8]| {
        // Each is far below 128 bytes: two hashes and a serial number of 21.
        let mut whole = vec![tag, bytes.len().min(0x7f) as u8];
        whole.extend(bytes);
        whole
    };
    let algorithm = [value(tag::OID, SHA1), vec![0x05, 0x00]].concat();
    let fields = [
        value(tag::SEQUENCE, &algorithm),
        value(tag::OCTET_STRING, hash(about.issuer).as_ref()),
        value(tag::OCTET_STRING, hash(about.issuer_key).as_ref()),
        value(tag::INTEGER, about.serial),
    ];
    value(tag::SEQUENCE, &fields.concat())
}

/// The first single answer within an answer.
struct Single<'a> {
    id: &'a [u8],
    algorithm: &'a [u8],
    name_hash: &'a [u8],
    key_hash: &'a [u8],
    serial: &'a [u8],
    /// None: unknown.
    status: Option<Status>,
    this_update_s: i64,
    next_update_s: Option<i64>,
}

impl<'a> Single<'a> {
    fn read(der: &'a [u8]) -> Result<Single<'a>, OcspError> {
        let body = basic(der)?;
        Self::first(body).ok_or(OcspError::Unparsable)
    }

    fn first(der: &'a [u8]) -> Option<Single<'a>> {
        let mut data = Reader::new(der).enter(tag::SEQUENCE)?.enter(tag::SEQUENCE)?;
        if data.peek() == Some(tag::context(0)) {
            data.any()?;
        }
        data.any()?;
        data.take(tag::GENERALIZED_TIME)?;
        let mut one = data.enter(tag::SEQUENCE)?.enter(tag::SEQUENCE)?;
        let (id, _) = one.whole()?;
        let mut name = one.enter(tag::SEQUENCE)?;
        let algorithm = name.enter(tag::SEQUENCE)?.take(tag::OID)?;
        let name_hash = name.take(tag::OCTET_STRING)?;
        let key_hash = name.take(tag::OCTET_STRING)?;
        let serial = name.take(tag::INTEGER)?;
        let status = match one.any()?.0 & 0x1f {
            0 => Some(Status::Good),
            1 => Some(Status::Revoked),
            _ => None,
        };
        let this_update_s = time(one.take(tag::GENERALIZED_TIME)?)?;
        let next_update_s = match one.enter(tag::context(0)) {
            Some(mut next) => Some(time(next.take(tag::GENERALIZED_TIME)?)?),
            None => None,
        };
        Some(Single {
            id,
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
            && same(about.issuer, self.name_hash)
            && same(about.issuer_key, self.key_hash)
    }
}

/// The basic answer within an answer.
fn basic(der: &[u8]) -> Result<&[u8], OcspError> {
    let unparsable = OcspError::Unparsable;
    let outer = Reader::new(der).enter(tag::SEQUENCE);
    let mut outer = outer.ok_or(unparsable)?;
    if outer.take(tag::ENUMERATED).ok_or(unparsable)? != [0] {
        return Err(OcspError::Status);
    }
    let found = (|| {
        let mut bytes = outer.enter(tag::context(0))?.enter(tag::SEQUENCE)?;
        let kind = bytes.take(tag::OID)?;
        let body = bytes.take(tag::OCTET_STRING)?;
        (kind == BASIC).then_some(body)
    })();
    found.ok_or(unparsable)
}

/// `YYYYMMDDHHMMSSZ`, in seconds since 1970.
fn time(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text.strip_suffix(b"Z")?).ok()?;
    let text = text.split('.').next()?;
    if text.len() != 14 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number = |from: usize, to: usize| text[from..to].parse::<i8>().ok();
    let year = text[..4].parse::<i16>().ok()?;
    let at = jiff::civil::DateTime::new(
        year,
        number(4, 6)?,
        number(6, 8)?,
        number(8, 10)?,
        number(10, 12)?,
        number(12, 14)?.min(59),
        0,
    );
    let zoned = at.ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(zoned.timestamp().as_second())
}

#[cfg(test)]
pub(crate) mod tests;
