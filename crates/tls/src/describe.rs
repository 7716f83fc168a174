//! Describes certificates and CRLs as text for operators (`show ssl cert`, `show ssl ca-file`,
//! `show ssl crl-file`).

use super::certificate::Certificate;
use super::certified::{DNS_NAME, alternative_names};
use super::der::{Der, OID, SEQUENCE};
use super::objects;
use aws_lc_rs::digest;
use rustls::NamedGroup;
use std::fmt::Write;

const SET: u8 = 0x31;

const ATTRIBUTES: &[(&[u8], &str)] = &[
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 4], "SN"),
    (&[0x55, 4, 5], "serialNumber"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "street"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 12], "title"),
    (&[0x55, 4, 42], "GN"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01", "emailAddress"),
    (b"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19", "DC"),
    (b"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x01", "UID"),
];

pub fn hex(bytes: &[u8], upper: bool) -> String {
    let digits = if upper {
        b"0123456789ABCDEF"
    } else {
        b"0123456789abcdef"
    };
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(char::from(digits[usize::from(byte >> 4)]));
        text.push(char::from(digits[usize::from(byte & 15)]));
    }
    text
}

/// Formats a distinguished name on one line, such as `/C=FR/CN=example.com`. The argument is the
/// content of the name.
pub fn name(content: &[u8]) -> String {
    let mut text = String::new();
    let mut relative = Der(content);
    while let Some(set) = relative.take(SET) {
        let mut set = set.inside();
        while let Some(pair) = set.take(SEQUENCE) {
            let mut pair = pair.inside();
            let (Some(oid), Some(value)) = (pair.take(OID), pair.next()) else {
                continue;
            };
            let known = ATTRIBUTES.iter().find(|(known, _)| *known == oid.content);
            let value = String::from_utf8_lossy(value.content);
            let value: String = value.chars().map(printable).collect();
            let _ = match known {
                Some((_, short)) => write!(text, "/{short}={value}"),
                None => write!(text, "/{}={value}", dotted(oid.content)),
            };
        }
    }
    text
}

/// Replaces control characters. A line break within a value would break programs that read lines.
fn printable(character: char) -> char {
    if character.is_control() {
        '.'
    } else {
        character
    }
}

fn dotted(oid: &[u8]) -> String {
    let mut numbers = Vec::new();
    let mut number = 0_u64;
    for byte in oid {
        number = number.saturating_mul(128) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            numbers.push(std::mem::take(&mut number));
        }
    }
    let Some(first) = numbers.first_mut() else {
        return String::new();
    };
    let root = (*first / 40).min(2);
    *first -= root * 40;
    let rest: Vec<String> = numbers.iter().map(u64::to_string).collect();
    format!("{root}.{}", rest.join("."))
}

/// Formats a time as OpenSSL does: `Sep 13 21:20:24 2019 GMT`.
pub fn time(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    let time = time.to_zoned(jiff::tz::TimeZone::UTC);
    time.strftime("%b %e %H:%M:%S %Y GMT").to_string()
}

/// Returns the key type of a certificate, such as `RSA2048` or `EC256`.
pub fn key(der: &[u8]) -> Option<String> {
    Some(algorithm(&Certificate::parse(der)?)).filter(|name| !name.is_empty())
}

const EC: &[u8] = b"\x2a\x86\x48\xce\x3d\x02\x01";
const CURVES: &[(&[u8], u32, NamedGroup)] = &[
    (
        b"\x2a\x86\x48\xce\x3d\x03\x01\x07",
        256,
        NamedGroup::secp256r1,
    ),
    (b"\x2b\x81\x04\x00\x22", 384, NamedGroup::secp384r1),
    (b"\x2b\x81\x04\x00\x23", 521, NamedGroup::secp521r1),
];

pub(super) fn curve(key: &[u8]) -> Option<NamedGroup> {
    let mut key = Der(key).take(SEQUENCE)?.inside();
    let mut algorithm = key.take(SEQUENCE)?.inside();
    if algorithm.take(OID)?.content != EC {
        return None;
    }
    let curve = algorithm.take(OID)?.content;
    let found = CURVES.iter().find(|(oid, ..)| *oid == curve);
    found.map(|(.., group)| *group)
}

fn algorithm(info: &Certificate) -> String {
    const RSA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
    const ED25519: &[u8] = b"\x2b\x65\x70";
    let found = (|| {
        let mut key = Der(&info.key).take(SEQUENCE)?.inside();
        let mut algorithm = key.take(SEQUENCE)?.inside();
        let kind = algorithm.take(OID)?.content;
        if kind == EC {
            let curve = algorithm.take(OID)?.content;
            let (_, bits, _) = CURVES.iter().find(|(oid, ..)| *oid == curve)?;
            return Some(format!("EC{bits}"));
        }
        if kind == ED25519 {
            return Some("ED25519".to_owned());
        }
        if kind != RSA {
            return None;
        }
        let mut numbers = Der(key.next()?.bits()?).take(SEQUENCE)?.inside();
        let modulus = numbers.next()?.content;
        let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
        let zeros = modulus.first()?.leading_zeros() as usize;
        Some(format!("RSA{}", 8 * modulus.len() - zeros))
    })();
    found.unwrap_or_default()
}

/// Formats the alternative names; those that are not host names leave an empty position,
/// as in HAProxy.
fn alternatives(der: &[u8]) -> String {
    let one = |(tag, value): (u8, &[u8])| match tag {
        DNS_NAME => {
            let text = String::from_utf8_lossy(value);
            format!("DNS:{}", text.chars().map(printable).collect::<String>())
        }
        _ => String::new(),
    };
    let all: Vec<String> = alternative_names(der).into_iter().map(one).collect();
    all.join(", ")
}

pub fn serial(number: &[u8]) -> String {
    let short = number.strip_prefix(&[0]).filter(|rest| !rest.is_empty());
    hex(short.unwrap_or(number), true)
}

/// Returns OpenSSL's long name of a signature algorithm. The argument is the content of the
/// AlgorithmIdentifier.
pub fn signature(algorithm: &[u8]) -> String {
    let Some(oid) = Der(algorithm).take(OID) else {
        return String::new();
    };
    let name = objects::name(oid.content).unwrap_or_default();
    match name.strip_prefix("RSA-") {
        Some(digest) => format!("{}WithRSAEncryption", digest.to_ascii_lowercase()),
        None if name == "RSASSA-PSS" => "rsassaPss".to_owned(),
        None => name.into_owned(),
    }
}

/// Appends the lines that describe a certificate. They contain no secrets.
pub fn certificate(der: &[u8], out: &mut String) {
    let Some(info) = Certificate::parse(der) else {
        return;
    };
    let print = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, der);
    let _ = writeln!(out, "Serial: {}", serial(&info.serial));
    let _ = writeln!(out, "notBefore: {}", time(info.not_before_s));
    let _ = writeln!(out, "notAfter: {}", time(info.not_after_s));
    let _ = writeln!(out, "Subject Alternative Name: {}", alternatives(der));
    let _ = writeln!(out, "Algorithm: {}", algorithm(&info));
    let _ = writeln!(out, "SHA1 FingerPrint: {}", hex(print.as_ref(), true));
    let _ = writeln!(out, "Subject: {}", name(&info.subject));
    let _ = writeln!(out, "Issuer: {}", name(&info.issuer));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_times_are_written_as_openssl_does() {
        let cn = b"\x31\x0b\x30\x09\x06\x03\x55\x04\x03\x0c\x02a\n";
        assert_eq!(name(cn), "/CN=a.");
        let other = b"\x31\x0a\x30\x08\x06\x03\x2a\x03\x04\x0c\x01x";
        assert_eq!(name(other), "/1.2.3.4=x");
        assert_eq!(time(0), "Jan  1 00:00:00 1970 GMT");
        assert_eq!(hex(&[1, 0xab], true), "01AB");
    }
}
