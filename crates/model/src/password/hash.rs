//! Verifies a password against a hash in the format of crypt(3). A verification can take seconds,
//! so no thread that serves clients may call it.

use super::{des, md5};
use configuration::outside::Secret;
use password_hash::PasswordVerifier;
use std::hint::black_box;
use zeroize::Zeroize;

/// Maximum length of a hash, bytes.
const TEXT_MAX: usize = 256;
/// Maximum length of a password, bytes: that of libxcrypt.
pub const PASSWORD_MAX: usize = 512;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum HashKind {
    Des,
    /// MD5 crypt, prefix `$1$`.
    Md5,
    /// SHA-256 and SHA-512 crypt, prefixes `$5$` and `$6$`.
    Sha,
    /// bcrypt, prefixes `$2a$`, `$2b$` and `$2y$`.
    Bcrypt,
    /// yescrypt, with the prefix `$y$`.
    Yescrypt,
}

#[derive(Clone, Debug)]
pub struct Hash {
    kind: HashKind,
    text: Secret,
}

impl Hash {
    /// Parses a hash. Returns None if its kind is not supported or it is malformed.
    pub fn read(text: &[u8]) -> Option<Hash> {
        let kind = match text {
            _ if text.len() > TEXT_MAX || !text.is_ascii() => return None,
            [b'$', b'1', b'$', ..] => HashKind::Md5,
            [b'$', b'5' | b'6', b'$', ..] => HashKind::Sha,
            [b'$', b'2', b'a' | b'b' | b'y', b'$', ..] => HashKind::Bcrypt,
            [b'$', b'y', b'$', ..] => HashKind::Yescrypt,
            _ => HashKind::Des,
        };
        let digits = |bytes: &[u8]| bytes.iter().all(|b| md5::ALPHABET.contains(b));
        let well_formed = match kind {
            HashKind::Des => text.len() == des::LENGTH && digits(text),
            HashKind::Md5 => {
                md5::parts(text).is_some_and(|(_, rest)| rest.len() == 22 && digits(rest))
            }
            HashKind::Sha => {
                let last = text.rsplit(|b| *b == b'$').next().unwrap_or_default();
                let length = if text[1] == b'5' { 43 } else { 86 };
                last.len() == length && digits(last)
            }
            HashKind::Bcrypt => text.len() == 60 && text[6] == b'$' && digits(&text[7..]),
            HashKind::Yescrypt => text.iter().filter(|b| **b == b'$').count() == 4,
        };
        let text = Secret::copy(text);
        well_formed.then_some(Hash { kind, text })
    }

    pub fn bytes(&self) -> &[u8] {
        self.text.bytes()
    }

    /// Returns whether a password matches. Takes milliseconds or even seconds.
    pub fn is_of(&self, password: &[u8]) -> bool {
        if password.len() > PASSWORD_MAX {
            return false;
        }
        let text = self.text.bytes();
        let Ok(written) = std::str::from_utf8(text) else {
            return false;
        };
        match self.kind {
            HashKind::Des => des::crypt(password, text).is_some_and(|mut made| {
                let found = same(text, &made);
                made.zeroize();
                found
            }),
            HashKind::Md5 => md5::parts(text)
                .is_some_and(|(salt, result)| same(result, &md5::crypt(password, salt))),
            HashKind::Sha => sha_crypt::ShaCrypt::SHA512
                .verify_password(password, written)
                .is_ok(),
            HashKind::Bcrypt => bcrypt::verify(password, written).unwrap_or(false),
            HashKind::Yescrypt => yescrypt::Yescrypt::default()
                .verify_password(password, written)
                .is_ok(),
        }
    }
}

/// Compares two texts in a time that only depends on the length of `given`.
pub fn same(secret: &[u8], given: &[u8]) -> bool {
    let mut difference = usize::from(secret.len() != given.len());
    for (at, byte) in given.iter().enumerate() {
        let expected = secret.get(at % secret.len().max(1)).copied().unwrap_or(0);
        difference |= usize::from(expected ^ byte);
    }
    black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes of passwords by libxcrypt's crypt(3).
    const MADE: &[(&str, &[&str])] = &[
        (
            "",
            &[
                "abmF1QH4PEr.E",
                "$1$abcdefgh$M55TzYaaccxVGbptZWaxX/",
                "$5$saltsalt$09agN5RZ2meWdEdnEusqsq5G7RwwghB8jCKoWWADxW/",
                "$2b$04$abcdefghijklmnopqrstuubyCG3zY1GIXMyxfivm.ClDiInHzxjiq",
                "$y$j75$abcdefghijklmnop$W3jLI.KDs1Jg0xC2FrQ1TMiJW.pH0hPvINobN2Hlvw9",
            ],
        ),
        (
            "secret",
            &[
                "abNANd1rDfiNc",
                "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1",
                "$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA",
                "$5$rounds=1000$saltsalt$eKLZU9t9OoPWrqOQsoTIKG0aYkZ5rGOoOQhiIvoSWX2",
                "$6$saltstring$AIsRs/Ee56G/tC8MEHhvReZTfx8u3rXXMl6eYrjCG9ibix19DxoMBLogdTET5Ukw9Sf7eZTITsuk0Ry5qulYz.",
                "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
                "$2a$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
                "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
                "$y$j75$abcdefghijklmnop$vZlXu1XtxOBWRxjOpQqONp1WYfMO0dN.H4xeSMU2ZvC",
                "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$GmcwIgvdUC9qLWcKCi6gklUa1dM3ziD43YxYNURLKy0",
            ],
        ),
        (
            "pässword",
            &[
                "abRy4/6THFs9U",
                "$1$abcdefgh$6qENbeetgn0exf.OCTQaP0",
                "$6$saltstring$CSTM8ggie.dU5m6eoS07/LZ2D/r4hrX.jxMSo1fYZexnehwOFJu1o2u1p.BZSnrxIhERrHnuxI8ONbt/kSPvF0",
                "$2b$04$abcdefghijklmnopqrstuum174eFeoTj0DHmtuueFaS3Wde4P7wHG",
                "$y$j75$abcdefghijklmnop$NO31m2YqSdThWzu4ae1FSIXHpJT49zW0SAHq313UxI8",
            ],
        ),
        (
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            &[
                "abzDJoqKYZJww",
                "$1$abcdefgh$06aFAnVfqM7H4kDMwscRI1",
                "$5$rounds=1000$saltsalt$0w7rnDKCkp/dznELYDDyo8.0uhNKffhh9OCE4TvbeJD",
                "$6$saltstring$eKlwYdh2DQgzGVZNTRbDdwNSIU.yzEhS/nALlBafFhL/T/Kf8GRhO5otN52zAGQKa229QbUXUyFPbCMzMf2HX0",
                "$2b$04$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0i",
                "$y$j75$abcdefghijklmnop$itrYBeqCISlrdAexSKZViSAwnzkcBzegcx3zZBD9PeB",
            ],
        ),
    ];

    #[test]
    fn the_hashes_of_crypt_3_are_verified() {
        for (password, hashes) in MADE {
            for text in *hashes {
                let hash = Hash::read(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
                assert!(hash.is_of(password.as_bytes()), "{password}: {text}");
                let other = format!("y{password}");
                assert!(!hash.is_of(other.as_bytes()), "{other}: {text}");
                if password.len() > 8 && text.starts_with("ab") {
                    // DES only uses eight characters.
                    assert!(hash.is_of(&password.as_bytes()[..8]));
                }
            }
        }
    }

    #[test]
    fn what_is_no_hash_is_none() {
        for text in [
            "",
            "secret",
            "abNANd1rDfiN",
            "ab:ANd1rDfiNc",
            "$9$abc",
            "$1$abcdefghi$cHJi5PXp/ki/ktXzqlk6I1",
            "$1$abc",
            "$5$saltsalt$0Iya",
            "$6$k6y3o.eP$JlKBx9za9667qe4xHSwRv6J.C0/D7cV91",
            "$2x$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
            "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIr",
            "$y$j75$abcdefghijklmnop",
            "_J9..abcd/H6HLCcf7nw",
        ] {
            assert!(Hash::read(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn no_hash_that_is_taken_makes_verifying_panic() {
        for text in [
            "$5$rounds=0$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA",
            "$5$$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA",
            "$5$a$b$c$d$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA",
            "$6$saltsaltsaltsaltsaltsalt$AIsRs/Ee56G/tC8MEHhvReZTfx8u3rXXMl6eYrjCG9ibix19DxoMBLogdTET5Ukw9Sf7eZTITsuk0Ry5qulYz.",
            "$2b$99$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
            "$2b$xx$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
            "$y$$$",
            "$y$j$a$b",
            "$y$....$....$....",
            "$y$j75$!$vZlXu1XtxOBWRxjOpQqONp1WYfMO0dN.H4xeSMU2ZvC",
        ] {
            if let Some(hash) = Hash::read(text.as_bytes()) {
                assert!(!hash.is_of(b"secret"), "{text}");
            }
        }
    }
}
