//! Maps object identifiers in certificates to OpenSSL's short names, which HAProxy's files and
//! logs use. Unlisted identifiers are displayed as numbers.

use std::borrow::Cow;
use std::fmt::Write;

static NAMES: &[(&[u8], &str)] = &[
    // 0.9.2342.19200300.100.1.1
    (
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x01],
        "UID",
    ),
    // 0.9.2342.19200300.100.1.3
    (
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x03],
        "mail",
    ),
    // 0.9.2342.19200300.100.1.25
    (
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19],
        "DC",
    ),
    // 1.2.840.10040.4.1
    (&[0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x01], "DSA"),
    // 1.2.840.10040.4.3
    (&[0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x03], "DSA-SHA1"),
    // 1.2.840.10045.2.1
    (
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01],
        "id-ecPublicKey",
    ),
    // 1.2.840.10045.4.1
    (
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01],
        "ecdsa-with-SHA1",
    ),
    // 1.2.840.10045.4.3.1
    (
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x01],
        "ecdsa-with-SHA224",
    ),
    // 1.2.840.10045.4.3.2
    (
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02],
        "ecdsa-with-SHA256",
    ),
    // 1.2.840.10045.4.3.3
    (
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03],
        "ecdsa-with-SHA384",
    ),
    // 1.2.840.10045.4.3.4
    (
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04],
        "ecdsa-with-SHA512",
    ),
    // 1.2.840.113549.1.1.1
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01],
        "rsaEncryption",
    ),
    // 1.2.840.113549.1.1.4
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04],
        "RSA-MD5",
    ),
    // 1.2.840.113549.1.1.5
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05],
        "RSA-SHA1",
    ),
    // 1.2.840.113549.1.1.10
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a],
        "RSASSA-PSS",
    ),
    // 1.2.840.113549.1.1.11
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b],
        "RSA-SHA256",
    ),
    // 1.2.840.113549.1.1.12
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c],
        "RSA-SHA384",
    ),
    // 1.2.840.113549.1.1.13
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d],
        "RSA-SHA512",
    ),
    // 1.2.840.113549.1.1.14
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0e],
        "RSA-SHA224",
    ),
    // 1.2.840.113549.1.1.15
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0f],
        "RSA-SHA512/224",
    ),
    // 1.2.840.113549.1.1.16
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x10],
        "RSA-SHA512/256",
    ),
    // 1.2.840.113549.1.9.1
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01],
        "emailAddress",
    ),
    // 1.2.840.113549.1.9.2
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x02],
        "unstructuredName",
    ),
    // 1.2.840.113549.1.9.8
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x08],
        "unstructuredAddress",
    ),
    // 1.3.6.1.4.1.311.60.2.1.1
    (
        &[
            0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x3c, 0x02, 0x01, 0x01,
        ],
        "jurisdictionL",
    ),
    // 1.3.6.1.4.1.311.60.2.1.2
    (
        &[
            0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x3c, 0x02, 0x01, 0x02,
        ],
        "jurisdictionST",
    ),
    // 1.3.6.1.4.1.311.60.2.1.3
    (
        &[
            0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x3c, 0x02, 0x01, 0x03,
        ],
        "jurisdictionC",
    ),
    // 1.3.101.112
    (&[0x2b, 0x65, 0x70], "ED25519"),
    // 1.3.101.113
    (&[0x2b, 0x65, 0x71], "ED448"),
    // 2.5.4.3
    (&[0x55, 0x04, 0x03], "CN"),
    // 2.5.4.4
    (&[0x55, 0x04, 0x04], "SN"),
    // 2.5.4.5
    (&[0x55, 0x04, 0x05], "serialNumber"),
    // 2.5.4.6
    (&[0x55, 0x04, 0x06], "C"),
    // 2.5.4.7
    (&[0x55, 0x04, 0x07], "L"),
    // 2.5.4.8
    (&[0x55, 0x04, 0x08], "ST"),
    // 2.5.4.9
    (&[0x55, 0x04, 0x09], "street"),
    // 2.5.4.10
    (&[0x55, 0x04, 0x0a], "O"),
    // 2.5.4.11
    (&[0x55, 0x04, 0x0b], "OU"),
    // 2.5.4.12
    (&[0x55, 0x04, 0x0c], "title"),
    // 2.5.4.13
    (&[0x55, 0x04, 0x0d], "description"),
    // 2.5.4.15
    (&[0x55, 0x04, 0x0f], "businessCategory"),
    // 2.5.4.16
    (&[0x55, 0x04, 0x10], "postalAddress"),
    // 2.5.4.17
    (&[0x55, 0x04, 0x11], "postalCode"),
    // 2.5.4.18
    (&[0x55, 0x04, 0x12], "postOfficeBox"),
    // 2.5.4.20
    (&[0x55, 0x04, 0x14], "telephoneNumber"),
    // 2.5.4.41
    (&[0x55, 0x04, 0x29], "name"),
    // 2.5.4.42
    (&[0x55, 0x04, 0x2a], "GN"),
    // 2.5.4.43
    (&[0x55, 0x04, 0x2b], "initials"),
    // 2.5.4.44
    (&[0x55, 0x04, 0x2c], "generationQualifier"),
    // 2.5.4.45
    (&[0x55, 0x04, 0x2d], "x500UniqueIdentifier"),
    // 2.5.4.46
    (&[0x55, 0x04, 0x2e], "dnQualifier"),
    // 2.5.4.65
    (&[0x55, 0x04, 0x41], "pseudonym"),
    // 2.5.4.72
    (&[0x55, 0x04, 0x48], "role"),
    // 2.5.4.97
    (&[0x55, 0x04, 0x61], "organizationIdentifier"),
    // 2.16.840.1.101.3.4.3.1
    (
        &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x01],
        "dsa_with_SHA224",
    ),
    // 2.16.840.1.101.3.4.3.2
    (
        &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x02],
        "dsa_with_SHA256",
    ),
    // 2.16.840.1.101.3.4.3.3
    (
        &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x03],
        "id-dsa-with-sha384",
    ),
    // 2.16.840.1.101.3.4.3.4
    (
        &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x04],
        "id-dsa-with-sha512",
    ),
];

/// Returns the name of an object identifier, or its numbers separated by dots. None if the bytes
/// are malformed.
pub fn name(oid: &[u8]) -> Option<Cow<'static, str>> {
    if let Some(name) = short_name(oid) {
        return Some(Cow::Borrowed(name));
    }
    let mut text = String::new();
    let mut number: u64 = 0;
    for byte in oid {
        number = number
            .checked_mul(128)?
            .checked_add(u64::from(byte & 0x7f))?;
        if byte & 0x80 != 0 {
            continue;
        }
        // Splits the first number, in which the first two are encoded as one.
        let written = if text.is_empty() {
            let first = (number / 40).min(2);
            write!(text, "{first}.{}", number - first * 40)
        } else {
            write!(text, ".{number}")
        };
        written.ok()?;
        number = 0;
    }
    let complete = oid.last().is_some_and(|byte| byte & 0x80 == 0);
    complete.then_some(Cow::Owned(text))
}

/// Returns the name of an object identifier, if it is known here.
pub fn short_name(oid: &[u8]) -> Option<&'static str> {
    let found = NAMES.iter().find(|(known, _)| *known == oid);
    found.map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_objects_have_names_and_others_numbers() {
        let name = |oid: &[u8]| name(oid).map(Cow::into_owned);
        assert_eq!(name(&[0x55, 4, 3]).as_deref(), Some("CN"));
        let rsa = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
        assert_eq!(name(&rsa).as_deref(), Some("rsaEncryption"));
        assert_eq!(name(&[0x2a, 3, 4, 5]).as_deref(), Some("1.2.3.4.5"));
        assert_eq!(name(&[0x88, 0x37, 3]).as_deref(), Some("2.999.3"));
        assert_eq!(name(&[]), None);
        assert_eq!(name(&[0x55, 0x84]), None);
        assert_eq!(name(&[0xff; 12]), None);
    }
}
