//! Creates and finds the API tokens by which programs authenticate. A token is random and shown
//! once, when it is created; the configuration file has only its SHA-256.

use crate::config::{Config, Token};
use ::access::random::random;
use aws_lc_rs::{constant_time, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

/// Prefix of every token, so that scanners for leaked secrets find it.
const PREFIX: &str = "evk_";
/// Maximum length of the text that a program presents as its token, bytes. Longer texts are not
/// hashed.
const TEXT_MAX: usize = 128;

/// Creates a random token of 256 bits.
///
/// # Errors
/// The system has no random numbers.
pub fn make() -> Result<String, String> {
    Ok(format!("{PREFIX}{}", BASE64.encode(random::<32>()?)))
}

/// Returns the hash of a token's text. A token has 256 random bits, so it needs no slow hash.
pub fn hash(text: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    out
}

pub fn write(hash: &[u8; 32]) -> String {
    data_encoding::HEXLOWER.encode(hash)
}

/// Reads a hash from the configuration. None if the text is not a SHA-256 in hexadecimal digits.
pub fn read(text: &str) -> Option<[u8; 32]> {
    let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes());
    bytes.ok()?.try_into().ok()
}

pub fn find<'c>(config: &'c Config, text: &str) -> Option<&'c Token> {
    if text.len() > TEXT_MAX {
        return None;
    }
    let hash = hash(text);
    // Compares all tokens, so that the duration does not reveal which one matched.
    config.tokens.iter().fold(None, |found, one| {
        let same = constant_time::verify_slices_are_equal(&one.hash, &hash).is_ok();
        if same { Some(one) } else { found }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::Scope;

    #[test]
    fn a_token_is_found_by_its_hash_only() {
        let (one, other) = (make().unwrap(), make().unwrap());
        assert!(one.starts_with(PREFIX) && one.len() == 47 && one != other);
        let token = |name: &str, text: &str| Token {
            name: name.to_owned(),
            user: "anna".to_owned(),
            scope: Scope::Read,
            until_s: None,
            hash: hash(text),
        };
        let config = Config {
            tokens: vec![token("one", &one), token("other", &other)],
            ..Config::default()
        };
        let found = |text: &str| find(&config, text).map(|token| token.name.as_str());
        assert_eq!(found(&one), Some("one"));
        assert_eq!(found(&other), Some("other"));
        for text in ["", PREFIX, &one[1..], &one.repeat(1_000), "\u{fffd}"] {
            assert_eq!(found(text), None, "{text:.60}");
        }
        assert_eq!(find(&Config::default(), ""), None);
    }

    #[test]
    fn a_hash_is_hexadecimal() {
        let hash = hash("abc");
        assert!(write(&hash).starts_with("ba7816bf"));
        assert_eq!(read(&write(&hash)), Some(hash));
        assert_eq!(read(&write(&hash).to_uppercase()), Some(hash));
        for text in ["", "ba", &"g".repeat(64), &"0".repeat(66), &"0".repeat(63)] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
