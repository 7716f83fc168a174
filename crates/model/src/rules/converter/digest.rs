//! Implements the converters for digests and message authentication codes: SHA-1, SHA-2, SHA-3 and
//! MD5. SHA-1 and MD5 are for existing systems only; nothing new should rely on them.

use super::{ConverterBuild, ConverterRow, rows};
use crate::rules::argument::{Argument, ArgumentKind, Arguments, bad_argument};
use crate::rules::converter::key::{self, secret};
use crate::rules::draft::ConfigDraft;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::transaction::ProxyStream;
use aws_lc_rs::digest::{self, Algorithm};
use language::Span;
use language::arguments::Built;
use md5::{Digest, Md5};
use std::borrow::Cow;

pub(super) static ROWS: &[ConverterRow] = rows! {
    "sha1", ConverterBuild::new(Type::Bin, Type::Bin, sha1), "acl known path,sha1,hex -m reg ^AB",
        "The SHA-1 digest, 20 bytes. Do not rely on it for security.";
    "sha2[(<bits>)]", ConverterBuild::new(Type::Bin, Type::Bin, sha2).takes(&[ArgumentKind::Int], 0).prepare(check_bits), "acl known hdr(x-key),sha2(256),hex -m reg ^AB",
        "The SHA-2 digest of 224, 256, 384 or 512 bits; by default 256.";
    "digest(<algorithm>)",
        ConverterBuild::new(Type::Bin, Type::Bin, |a, v, _| bytes(chosen(a)?.of(&[&v.into_bytes()?]))).takes(&[ArgumentKind::Text], 1).prepare(check_algorithm),
        "acl known path,digest(sha256),hex -m reg ^AB",
        "A digest by the name of its algorithm: `md5`, `sha1`, `sha224`, `sha256`, `sha384`, `sha512`, `sha512-256`, \
         `sha3-256`, `sha3-384` or `sha3-512`.";
    "hmac(<algorithm>,<key>)", ConverterBuild::new(Type::Bin, Type::Bin, apply_hmac).takes(&[ArgumentKind::Text, ArgumentKind::Text], 2).prepare(prepare_hmac), "acl signed path,hmac(sha256,Zm9vb2Zvb29mb29wZm9vbw==),hex -m found",
        "An HMAC of the value with a key, and an algorithm of `digest`. The key is in Base64, or a variable with \
         Base64.";
};

/// Digest algorithm. The cryptographic library does not provide MD5.
#[derive(Clone, Copy)]
enum Hash {
    Md5,
    Of(&'static Algorithm),
}

/// Algorithm names, as in OpenSSL.
static NAMES: &[(&str, Hash)] = &[
    ("md5", Hash::Md5),
    ("sha1", Hash::Of(&digest::SHA1_FOR_LEGACY_USE_ONLY)),
    ("sha224", Hash::Of(&digest::SHA224)),
    ("sha256", Hash::Of(&digest::SHA256)),
    ("sha384", Hash::Of(&digest::SHA384)),
    ("sha512", Hash::Of(&digest::SHA512)),
    ("sha512-256", Hash::Of(&digest::SHA512_256)),
    ("sha3-256", Hash::Of(&digest::SHA3_256)),
    ("sha3-384", Hash::Of(&digest::SHA3_384)),
    ("sha3-512", Hash::Of(&digest::SHA3_512)),
];

fn named(name: &[u8]) -> Option<usize> {
    let same = |known: &str| {
        known.as_bytes().eq_ignore_ascii_case(name)
            || (known.starts_with("sha") && !known.contains('-') && {
                // Compares the digits only, because OpenSSL accepts `sha2-256` and `sha-256` for
                // `sha256`.
                let bits = known.trim_start_matches("sha").as_bytes();
                let rest = name.get(3..).unwrap_or(b"");
                let rest = rest.strip_prefix(b"2").unwrap_or(rest);
                name.get(..3)
                    .is_some_and(|n| n.eq_ignore_ascii_case(b"sha"))
                    && rest.strip_prefix(b"-").is_some_and(|rest| rest == bits)
            })
    };
    NAMES.iter().position(|(known, _)| same(known))
}

/// Block size of MD5, to which `hmac` pads keys, in bytes.
const MD5_BLOCK_BYTES: usize = 64;

impl Hash {
    fn block_bytes(self) -> usize {
        match self {
            Hash::Md5 => MD5_BLOCK_BYTES,
            Hash::Of(algorithm) => algorithm.block_len(),
        }
    }

    fn of(self, parts: &[&[u8]]) -> Vec<u8> {
        match self {
            Hash::Md5 => {
                let start = Md5::new();
                let whole = parts.iter().fold(start, |sum, part| sum.chain_update(part));
                whole.finalize().to_vec()
            }
            Hash::Of(algorithm) => {
                let mut context = digest::Context::new(algorithm);
                parts.iter().for_each(|part| context.update(part));
                context.finish().as_ref().to_vec()
            }
        }
    }

    fn hmac(self, key: &[u8], bytes: &[u8]) -> Vec<u8> {
        let mut block = if key.len() > self.block_bytes() {
            self.of(&[key])
        } else {
            key.to_vec()
        };
        block.resize(self.block_bytes(), 0);
        let padded = |with: u8| block.iter().map(|b| b ^ with).collect::<Vec<u8>>();
        let inner = self.of(&[&padded(0x36), bytes]);
        self.of(&[&padded(0x5c), &inner])
    }
}

fn check_bits(_: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    match arguments.int(0) {
        None | Some(224 | 256 | 384 | 512) => Ok(()),
        Some(_) => Err(bad_argument(
            span,
            "sha2 has 224, 256, 384 or 512 bits".into(),
        )),
    }
}

fn check_algorithm(_: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    let name = arguments.text(0).unwrap_or(b"");
    let Some(place) = named(name) else {
        let names: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
        return Err(bad_argument(
            span,
            format!(
                "'{}' is not a supported digest; supported: {}",
                String::from_utf8_lossy(name),
                names.join(", ")
            ),
        ));
    };
    arguments.list[0] = Some(Argument::Int(place as i64));
    Ok(())
}

fn prepare_hmac(loader: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    check_algorithm(loader, arguments, span)?;
    key::prepare(arguments, 1, span)
}

fn bytes<'a>(bytes: Vec<u8>) -> Sample<'a> {
    Some(SampleValue::Bin(Cow::Owned(bytes)))
}

fn chosen(arguments: &Arguments) -> Option<Hash> {
    let place = usize::try_from(arguments.int(0)?).ok()?;
    NAMES.get(place).map(|(_, hash)| *hash)
}

fn sha1<'a>(_: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    bytes(Hash::Of(&digest::SHA1_FOR_LEGACY_USE_ONLY).of(&[&value.into_bytes()?]))
}

fn sha2<'a>(arguments: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let algorithm = match arguments.int(0) {
        Some(224) => &digest::SHA224,
        Some(384) => &digest::SHA384,
        Some(512) => &digest::SHA512,
        _ => &digest::SHA256,
    };
    bytes(Hash::Of(algorithm).of(&[&value.into_bytes()?]))
}

fn apply_hmac<'a>(
    arguments: &Arguments,
    value: SampleValue<'a>,
    stream: &ProxyStream,
) -> Sample<'a> {
    let key = secret(arguments, 1, stream)?;
    bytes(chosen(arguments)?.hmac(&key, &value.into_bytes()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_rfc_4231_and_2202() {
        let hash = |name: &str| NAMES[named(name.as_bytes()).unwrap()].1;
        let hex = |bytes: Vec<u8>| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let text = b"what do ya want for nothing?";
        assert_eq!(
            hex(hash("sha256").hmac(b"Jefe", text)),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hex(hash("MD5").hmac(b"Jefe", text)),
            "750c783e6ab0b503eaa86e310a5db738"
        );
        assert_eq!(
            hex(hash("sha1").hmac(
                &[0xaa; 80],
                b"Test Using Larger Than Block-Size Key - Hash Key First"
            )),
            "aa4ae5e15272d00e95705637ce8a3b55ed402112"
        );
    }

    #[test]
    fn md5_of_parts_is_that_of_rfc_1321() {
        let rows: [(&[&[u8]], &str); 4] = [
            (&[], "d41d8cd98f00b204e9800998ecf8427e"),
            (&[b"abc"], "900150983cd24fb0d6963f7d28e17f72"),
            (&[b"a", b"", b"bc"], "900150983cd24fb0d6963f7d28e17f72"),
            (
                &[&b"1234567890".repeat(8)],
                "57edf4a22be3c955ac49da2e2107b67a",
            ),
        ];
        for (parts, wanted) in rows {
            let digest = Hash::Md5.of(parts);
            let hex: String = digest.iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(hex, wanted, "{parts:?}");
        }
    }

    #[test]
    fn algorithms_have_several_names() {
        for name in ["sha256", "SHA256", "sha2-256", "SHA-256"] {
            assert_eq!(named(name.as_bytes()), named(b"sha256"), "{name}");
        }
        assert_eq!(named(b"sha"), None);
        assert_eq!(named(b"whirlpool"), None);
    }
}
