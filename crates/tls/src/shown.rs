//! Computes the values of fetches about a certificate, from its bytes and in HAProxy's format.
//! Nothing is verified here: the fetches also return values of unverified certificates.

use super::der::{Der, Element, GENERALIZED_TIME, INTEGER, SEQUENCE, UTC_TIME};
use super::objects;
use std::borrow::Cow;

const SET: u8 = 0x31;
const UTF8_STRING: u8 = 0x0c;
const NUMERIC_STRING: u8 = 0x12;
const PRINTABLE_STRING: u8 = 0x13;
const T61_STRING: u8 = 0x14;
const IA5_STRING: u8 = 0x16;
const VISIBLE_STRING: u8 = 0x1a;
const UNIVERSAL_STRING: u8 = 0x1c;
const BMP_STRING: u8 = 0x1e;
/// Tag of the version, which is absent in version 1.
const VERSION: u8 = 0xa0;

/// A certificate split into its fields, which are not parsed yet.
#[derive(Clone, Copy, Debug)]
pub struct CertificateFields<'c> {
    version: Option<Element<'c>>,
    serial: Element<'c>,
    signature: Element<'c>,
    pub issuer: CertificateName<'c>,
    validity: Element<'c>,
    pub subject: CertificateName<'c>,
    key: Element<'c>,
}

impl<'c> CertificateFields<'c> {
    pub fn parse(der: &'c [u8]) -> Option<CertificateFields<'c>> {
        let mut fields = Der(der).take(SEQUENCE)?.inside().take(SEQUENCE)?.inside();
        Some(CertificateFields {
            version: fields.take(VERSION),
            serial: fields.take(INTEGER)?,
            signature: fields.take(SEQUENCE)?,
            issuer: CertificateName(fields.take(SEQUENCE)?.inside()),
            validity: fields.take(SEQUENCE)?,
            subject: CertificateName(fields.take(SEQUENCE)?.inside()),
            key: fields.take(SEQUENCE)?,
        })
    }

    /// Returns the version: 1, 2 or 3.
    pub fn version(&self) -> u32 {
        let number = self.version.and_then(|v| v.inside().take(INTEGER)?.small());
        number.map_or(1, |number| number.saturating_add(1))
    }

    /// Returns the serial number without the leading zero byte that keeps it positive.
    pub fn serial(&self) -> &'c [u8] {
        match self.serial.content {
            [0, rest @ ..] if !rest.is_empty() => rest,
            all => all,
        }
    }

    /// Returns the algorithm of the public key, such as `id-ecPublicKey`.
    pub fn key_algorithm(&self) -> Option<Cow<'static, str>> {
        algorithm(self.key.inside().take(SEQUENCE)?)
    }

    /// Returns the signature algorithm, such as `RSA-SHA256`.
    pub fn signature_algorithm(&self) -> Option<Cow<'static, str>> {
        algorithm(self.signature)
    }

    /// Returns the beginning of the validity, `YYMMDDhhmmssZ`.
    pub fn not_before(&self) -> Option<&'c [u8]> {
        short_time(self.validity.inside().next()?)
    }

    /// Returns the end of the validity in the same format. None in another century, which two
    /// digits cannot express.
    pub fn not_after(&self) -> Option<&'c [u8]> {
        let mut times = self.validity.inside();
        times.next()?;
        short_time(times.next()?)
    }
}

fn algorithm(identifier: Element<'_>) -> Option<Cow<'static, str>> {
    objects::name(identifier.inside().take(super::der::OID)?.content)
}

fn short_time<'c>(time: Element<'c>) -> Option<&'c [u8]> {
    let text = match time.tag {
        UTC_TIME => time.content,
        // Accepts this century only, because two digits can express no other.
        GENERALIZED_TIME => time.content.strip_prefix(b"20")?,
        _ => return None,
    };
    let (zone, digits) = text.split_last()?;
    let good = *zone == b'Z' && digits.len() == 12 && digits.iter().all(u8::is_ascii_digit);
    good.then_some(text)
}

/// A distinguished name: entries in groups, nearly all of which have one entry.
#[derive(Clone, Copy, Debug)]
pub struct CertificateName<'c>(Der<'c>);

#[derive(Clone, Copy, Debug)]
struct Entry<'c> {
    oid: &'c [u8],
    value: Element<'c>,
    /// True if the entry belongs to the group of the preceding one.
    joined: bool,
}

impl<'c> CertificateName<'c> {
    fn entries(&self) -> impl Iterator<Item = Entry<'c>> + use<'c> {
        let mut groups = self.0;
        let mut group = Der(&[]);
        let mut joined = true;
        std::iter::from_fn(move || {
            while group.is_empty() {
                group = groups.take(SET)?.inside();
                joined = false;
            }
            let mut pair = group.take(SEQUENCE)?.inside();
            let entry = Entry {
                oid: pair.take(super::der::OID)?.content,
                value: pair.next()?,
                joined,
            };
            joined = true;
            Some(entry)
        })
    }

    /// Returns the value of an entry by its name, in any case, or by its numbers. `occurrence`
    /// selects among several: 1 is the first, -1 the last. There is no occurrence 0.
    pub fn entry(&self, name: &[u8], occurrence: i64) -> Option<&'c [u8]> {
        let nth = usize::try_from(occurrence.unsigned_abs().checked_sub(1)?).ok()?;
        let matching = |entry: &Entry<'_>| {
            let found = objects::name(entry.oid);
            found.is_some_and(|found| found.as_bytes().eq_ignore_ascii_case(name))
        };
        let mut all = self.entries().filter(matching);
        let found = if occurrence > 0 {
            all.nth(nth)
        } else {
            let found: Vec<Entry<'c>> = all.collect();
            found.into_iter().rev().nth(nth)
        };
        found.map(|entry| entry.value.content)
    }

    /// Formats the name as `/C=DE/O=Example/CN=example.com`. None if it is empty.
    pub fn one_line(&self) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        for entry in self.entries() {
            line.push(b'/');
            line.extend_from_slice(objects::name(entry.oid)?.as_bytes());
            line.push(b'=');
            line.extend_from_slice(entry.value.content);
        }
        (!line.is_empty()).then_some(line)
    }

    /// Formats the name as in RFC 2253: the last entry first, special characters escaped.
    pub fn rfc2253(&self) -> Option<Vec<u8>> {
        let entries: Vec<Entry<'c>> = self.entries().collect();
        let mut line = Vec::new();
        for (at, entry) in entries.iter().enumerate().rev() {
            let before = entries.get(at + 1);
            if let Some(before) = before {
                line.push(if before.joined { b'+' } else { b',' });
            }
            line.extend_from_slice(objects::name(entry.oid)?.as_bytes());
            line.push(b'=');
            let known = objects::short_name(entry.oid).is_some();
            match characters(entry.value).filter(|_| known) {
                Some(text) => escape(&text, &mut line),
                None => dump(entry.value.whole, &mut line),
            }
        }
        (!line.is_empty()).then_some(line)
    }
}

/// Returns the text of a value in UTF-8. None if it is not text.
fn characters(value: Element<'_>) -> Option<Vec<u8>> {
    let bytes = value.content;
    let wide = |size: usize| -> Option<Vec<u8>> {
        let mut text = String::new();
        if !bytes.len().is_multiple_of(size) {
            return None;
        }
        for character in bytes.chunks(size) {
            let number = character.iter().fold(0, |n, b| n << 8 | u32::from(*b));
            text.push(char::from_u32(number)?);
        }
        Some(text.into_bytes())
    };
    match value.tag {
        UTF8_STRING | NUMERIC_STRING | PRINTABLE_STRING | IA5_STRING | VISIBLE_STRING => {
            Some(bytes.to_vec())
        }
        // Decodes TeletexString as Latin-1, as is common practice.
        T61_STRING => wide(1),
        BMP_STRING => wide(2),
        UNIVERSAL_STRING => wide(4),
        _ => None,
    }
}

fn escape(text: &[u8], line: &mut Vec<u8>) {
    let last = text.len().saturating_sub(1);
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => line.extend([b'\\', byte]),
            b'#' if at == 0 => line.extend([b'\\', byte]),
            b' ' if at == 0 || at == last => line.extend([b'\\', byte]),
            0x20..=0x7e => line.push(byte),
            _ => {
                line.push(b'\\');
                hex(byte, line);
            }
        }
    }
}

fn dump(bytes: &[u8], line: &mut Vec<u8>) {
    line.push(b'#');
    for &byte in bytes {
        hex(byte, line);
    }
}

fn hex(byte: u8, line: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    line.extend([byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::pki::{self, Authority, KeyKind, Leaf};

    const SUBJECT: &[(&str, &str)] = &[
        ("C", "DE"),
        ("O", " Kiel, Söhne + Co"),
        ("OU", "one"),
        ("OU", "two"),
        ("CN", "#www.example.com"),
        ("emailAddress", "a@example.com"),
    ];

    fn text(bytes: Option<impl AsRef<[u8]>>) -> Option<String> {
        bytes.map(|bytes| String::from_utf8_lossy(bytes.as_ref()).into_owned())
    }

    #[test]
    fn certificate_is_printed_as_by_haproxy() {
        let authority = Authority::with_key("Root", KeyKind::Rsa2048).unwrap();
        let issued = authority
            .issue(&Leaf {
                subject: SUBJECT,
                serial: Some(&[0x80, 1]),
                not_before: Some(1_700_000_000),
                not_after: Some(2_700_000_000),
                ..Leaf::default()
            })
            .unwrap();
        let shown = CertificateFields::parse(&issued.der).unwrap();
        assert_eq!(shown.version(), 3);
        assert_eq!(shown.serial(), [0x80, 1]);
        assert_eq!(shown.key_algorithm().as_deref(), Some("id-ecPublicKey"));
        assert_eq!(shown.signature_algorithm().as_deref(), Some("RSA-SHA256"));
        assert_eq!(text(shown.not_before()).as_deref(), Some("231114221320Z"));
        assert_eq!(text(shown.not_after()).as_deref(), Some("550724000000Z"));
        assert_eq!(
            text(shown.issuer.one_line()).as_deref(),
            Some("/O=Evenkeel Lab/CN=Root")
        );
        assert_eq!(
            text(shown.subject.one_line()).as_deref(),
            Some(
                "/C=DE/O= Kiel, Söhne + Co/OU=one/OU=two/CN=#www.example.com/emailAddress=a@example.com"
            )
        );
        assert_eq!(
            text(shown.subject.rfc2253()).as_deref(),
            Some(
                r"emailAddress=a@example.com,CN=\#www.example.com,OU=two,OU=one,O=\ Kiel\, S\C3\B6hne \+ Co,C=DE"
            )
        );
    }

    #[test]
    fn entries_are_found_by_name_and_place() {
        let issued = pki::self_signed(&Leaf {
            subject: SUBJECT,
            ..Leaf::default()
        })
        .unwrap();
        let name = CertificateFields::parse(&issued.der).unwrap().subject;
        for (entry, occurrence, value) in [
            ("OU", 1, Some("one")),
            ("ou", 2, Some("two")),
            ("OU", 3, None),
            ("OU", -1, Some("two")),
            ("OU", -2, Some("one")),
            ("OU", 0, None),
            ("OU", i64::MIN, None),
            ("2.5.4.3", 1, None),
            ("CN", 1, Some("#www.example.com")),
            ("ST", 1, None),
        ] {
            let found = text(name.entry(entry.as_bytes(), occurrence));
            assert_eq!(found.as_deref(), value, "{entry} {occurrence}");
        }
    }

    #[test]
    fn years_of_another_century_have_no_short_form() {
        let issued = pki::self_signed(&Leaf {
            not_after: Some(4_200_000_000),
            ..Leaf::default()
        })
        .unwrap();
        assert_eq!(
            CertificateFields::parse(&issued.der).unwrap().not_after(),
            None
        );
    }

    #[test]
    fn joined_entries_and_unknown_ones_are_written_as_openssl_does() {
        // CN=a and OU=b in one group, then 1.2.3 with a text, then a BMPString.
        let entry = |oid: &[u8], tag: u8, value: &[u8]| {
            let oid = [&[6, oid.len() as u8], oid].concat();
            let value = [&[tag, value.len() as u8], value].concat();
            let pair = [oid, value].concat();
            [&[SEQUENCE, pair.len() as u8], &pair[..]].concat()
        };
        let group = |content: Vec<u8>| [&[SET, content.len() as u8], &content[..]].concat();
        let both = [
            entry(&[0x55, 4, 3], UTF8_STRING, b"a"),
            entry(&[0x55, 4, 11], UTF8_STRING, b"b"),
        ];
        let bytes = [
            group(both.concat()),
            group(entry(&[0x2a, 3], UTF8_STRING, b"c")),
            group(entry(&[0x55, 4, 10], BMP_STRING, &[0, b'd', 0, 0xf6])),
        ]
        .concat();
        let name = CertificateName(Der(&bytes));
        assert_eq!(
            text(name.rfc2253()).as_deref(),
            Some(r"O=d\C3\B6,1.2.3=#0C0163,OU=b+CN=a")
        );
        assert_eq!(name.entry(b"1.2.3", 1), Some(&b"c"[..]));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_break_it(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
            at in 0_usize..400,
        ) {
            let mut der = pki::self_signed(&Leaf { subject: SUBJECT, ..Leaf::default() })
                .unwrap()
                .der;
            let at = at.min(der.len() - 1);
            der[at] = bytes.first().copied().unwrap_or(0x80);
            for der in [&der[..], &bytes[..]] {
                let Some(shown) = CertificateFields::parse(der) else { continue };
                let _ = (shown.version(), shown.serial(), shown.not_before(), shown.not_after());
                let _ = (shown.key_algorithm(), shown.signature_algorithm());
                for name in [shown.subject, shown.issuer] {
                    let _ = (name.one_line(), name.rfc2253(), name.entry(b"CN", -1));
                }
            }
        }
    }
}
