//! Parses the DER of the cluster's own certificates. Verifies an Ed25519 signature regardless of
//! the validity period, and returns the expiry; no linked library offers either. Lengths above
//! 65535 bytes are refused.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;

/// Length of an Ed25519 public key, at the end of an SPKI.
const KEY_BYTES: usize = 32;
const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// DER tag of the version field of a certificate, which may be missing.
const VERSION: u8 = 0xa0;
/// Two-digit years from here on belong to the 20th century (RFC 5280, 4.1.2.5.1).
const CENTURY: i64 = 50;

/// A DER value, and the bytes that follow it.
struct DerValue<'a> {
    tag: u8,
    /// Bytes of the value together with its tag and length.
    whole: &'a [u8],
    inside: &'a [u8],
    rest: &'a [u8],
}

fn value(bytes: &[u8]) -> Option<DerValue<'_>> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, body) = match *first {
        short @ 0..=0x7f => (usize::from(short), rest),
        0x81 => {
            let (length, body) = rest.split_first_chunk::<1>()?;
            (usize::from(length[0]), body)
        }
        0x82 => {
            let (length, body) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), body)
        }
        _ => return None,
    };
    let (inside, rest) = body.split_at_checked(length)?;
    let whole = bytes.get(..bytes.len() - rest.len())?;
    Some(DerValue {
        tag: *tag,
        whole,
        inside,
        rest,
    })
}

fn tagged(bytes: &[u8], tag: u8) -> Option<DerValue<'_>> {
    value(bytes).filter(|value| value.tag == tag)
}

/// Returns whether a certificate (DER) was signed by the key of another one, regardless
/// of its validity.
pub(super) fn is_signed_by(certificate: &[u8], by: &[u8]) -> bool {
    signed_by(certificate, by).unwrap_or(false)
}

fn signed_by(certificate: &[u8], by: &[u8]) -> Option<bool> {
    let outer = tagged(certificate, SEQUENCE)?;
    let signed = tagged(outer.inside, SEQUENCE)?;
    let algorithm = tagged(signed.rest, SEQUENCE)?;
    let signature = tagged(algorithm.rest, BIT_STRING)?;
    // The first byte of a BIT STRING is the number of unused bits, which must be 0.
    let signature = signature.inside.strip_prefix(&[0])?;
    Some(are_signed_by(signed.whole, signature, by))
}

pub(super) fn are_signed_by(bytes: &[u8], signature: &[u8], by: &[u8]) -> bool {
    let key = key_of(by);
    key.is_some_and(|key| {
        let verified = UnparsedPublicKey::new(&ED25519, key).verify(bytes, signature);
        verified.is_ok()
    })
}

fn key_of(certificate: &[u8]) -> Option<Vec<u8>> {
    let der = CertificateDer::from(certificate);
    let parsed = ParsedCertificate::try_from(&der).ok()?;
    let spki = parsed.subject_public_key_info();
    let at = spki.len().checked_sub(KEY_BYTES)?;
    spki.get(at..).map(<[u8]>::to_vec)
}

/// Returns when a certificate (DER) expires (`notAfter`), seconds since 1970.
pub(super) fn over_at_s(certificate: &[u8]) -> Option<i64> {
    let outer = tagged(certificate, SEQUENCE)?;
    let signed = tagged(outer.inside, SEQUENCE)?;
    let first = value(signed.inside)?;
    let number = match first.tag {
        VERSION => value(first.rest)?,
        _ => first,
    };
    let algorithm = tagged(number.rest, SEQUENCE)?;
    let issuer = tagged(algorithm.rest, SEQUENCE)?;
    let validity = tagged(issuer.rest, SEQUENCE)?;
    let since = value(validity.inside)?;
    let until = value(since.rest)?;
    let text = std::str::from_utf8(until.inside).ok()?;
    seconds(until.tag, text.strip_suffix('Z')?)
}

/// Converts `YYMMDDhhmmss` (UTCTime) or `YYYYMMDDhhmmss` (GeneralizedTime) to seconds since 1970.
fn seconds(tag: u8, text: &str) -> Option<i64> {
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: i64 = year.parse().ok()?;
            let century = if year < CENTURY { 2000 } else { 1900 };
            (century + year, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let part = |at: usize| rest.get(at..at + 2)?.parse::<i64>().ok();
    let (month, day) = (part(0)?, part(2)?);
    let (hour, minute, second) = (part(4)?, part(6)?, part(8)?);
    Some(((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

/// Returns the days from 1970 to a day of the Gregorian calendar. Years begin in March,
/// so that the leap day is the last one.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leaps + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_of_the_calendar() {
        assert_eq!(seconds(UTC_TIME, "700101000000"), Some(0));
        assert_eq!(
            seconds(GENERALIZED_TIME, "20000229120000"),
            Some(951_825_600)
        );
        assert_eq!(seconds(UTC_TIME, "361118000000"), Some(2_110_579_200));
        assert_eq!(
            seconds(GENERALIZED_TIME, "21000301000000"),
            Some(4_107_542_400)
        );
        for wrong in ["", "7001", "7001010000xx", "ééé"] {
            assert_eq!(seconds(UTC_TIME, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn bytes_that_are_not_a_certificate_are_ignored() {
        for wrong in [
            &b""[..],
            b"\x30",
            b"\x30\x82",
            b"\x30\x03\x30\x01\x00",
            &[0x30; 40],
        ] {
            assert!(!is_signed_by(wrong, wrong));
            assert_eq!(over_at_s(wrong), None);
        }
    }
}
