//! Parses cipher lists in OpenSSL's notation: for TLS 1.2 a list with operators and keywords for
//! groups (`ciphers`), for TLS 1.3 plain names (`ciphersuites`). OpenSSL's rules are applied to
//! the suites that rustls supports; all others are reported as known or unknown names.

use super::names::{RETIRED_CIPHERS, RETIRED_WORDS};
use rustls::crypto::aws_lc_rs::cipher_suite as rs;
use rustls::{CipherSuite, SupportedCipherSuite};

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Translation<T> {
    /// The supported entries, the preferred first.
    pub supported: Vec<T>,
    /// Names that OpenSSL knows and rustls does not support.
    pub lacking: Vec<Box<str>>,
    pub unknown: Vec<Box<str>>,
}

impl<T> Translation<T> {
    pub fn new() -> Self {
        Translation {
            supported: Vec::new(),
            lacking: Vec::new(),
            unknown: Vec::new(),
        }
    }
}

impl<T> Default for Translation<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Auth {
    Ecdsa,
    Rsa,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cipher {
    Aes128,
    Aes256,
    ChaCha20,
}

#[derive(Debug)]
struct Suite {
    name: &'static str,
    standard: &'static str,
    auth: Auth,
    cipher: Cipher,
    rustls: &'static SupportedCipherSuite,
}

/// Suites of TLS 1.2 in OpenSSL's default order.
static TLS12: [Suite; 6] = [
    Suite {
        name: "ECDHE-ECDSA-AES256-GCM-SHA384",
        standard: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        auth: Auth::Ecdsa,
        cipher: Cipher::Aes256,
        rustls: &rs::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    },
    Suite {
        name: "ECDHE-RSA-AES256-GCM-SHA384",
        standard: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        auth: Auth::Rsa,
        cipher: Cipher::Aes256,
        rustls: &rs::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    },
    Suite {
        name: "ECDHE-ECDSA-CHACHA20-POLY1305",
        standard: "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        auth: Auth::Ecdsa,
        cipher: Cipher::ChaCha20,
        rustls: &rs::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    },
    Suite {
        name: "ECDHE-RSA-CHACHA20-POLY1305",
        standard: "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        auth: Auth::Rsa,
        cipher: Cipher::ChaCha20,
        rustls: &rs::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    },
    Suite {
        name: "ECDHE-ECDSA-AES128-GCM-SHA256",
        standard: "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        auth: Auth::Ecdsa,
        cipher: Cipher::Aes128,
        rustls: &rs::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    },
    Suite {
        name: "ECDHE-RSA-AES128-GCM-SHA256",
        standard: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        auth: Auth::Rsa,
        cipher: Cipher::Aes128,
        rustls: &rs::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    },
];

/// Suites of TLS 1.3 in OpenSSL's default order.
static TLS13: [(&str, &SupportedCipherSuite); 3] = [
    ("TLS_AES_256_GCM_SHA384", &rs::TLS13_AES_256_GCM_SHA384),
    (
        "TLS_CHACHA20_POLY1305_SHA256",
        &rs::TLS13_CHACHA20_POLY1305_SHA256,
    ),
    ("TLS_AES_128_GCM_SHA256", &rs::TLS13_AES_128_GCM_SHA256),
];

/// Known suites of TLS 1.3 that rustls does not have.
const TLS13_LACKING: [&str; 2] = ["TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"];

impl Suite {
    /// Returns whether the suite belongs to the group of a keyword. None if there is no such
    /// keyword.
    fn is_of(&self, word: &str) -> Option<bool> {
        Some(match word {
            "ALL" | "DEFAULT" | "HIGH" | "ECDHE" | "EECDH" | "kEECDH" | "kECDHE" | "ECDH"
            | "TLSv1.2" => true,
            "AES" | "AESGCM" | "FIPS" => self.cipher != Cipher::ChaCha20,
            "AES128" => self.cipher == Cipher::Aes128,
            "AES256" => self.cipher == Cipher::Aes256,
            "CHACHA20" => self.cipher == Cipher::ChaCha20,
            "aRSA" => self.auth == Auth::Rsa,
            "aECDSA" | "ECDSA" => self.auth == Auth::Ecdsa,
            "SUITEB128" | "SUITEB128C2" => {
                self.auth == Auth::Ecdsa && self.cipher != Cipher::ChaCha20
            }
            "SUITEB128ONLY" => self.auth == Auth::Ecdsa && self.cipher == Cipher::Aes128,
            "SUITEB192" => self.auth == Auth::Ecdsa && self.cipher == Cipher::Aes256,
            name if name == self.name || name == self.standard => true,
            name if TLS12.iter().any(|s| s.name == name || s.standard == name) => false,
            word if RETIRED_WORDS.contains(&word) || RETIRED_CIPHERS.contains(&word) => false,
            _ => return None,
        })
    }

    fn bits(&self) -> u32 {
        match self.cipher {
            Cipher::Aes128 => 128,
            Cipher::Aes256 | Cipher::ChaCha20 => 256,
        }
    }
}

pub fn cipher_names() -> impl Iterator<Item = &'static str> {
    let words = [
        "ALL", "DEFAULT", "HIGH", "ECDHE", "EECDH", "kEECDH", "AES", "AESGCM", "AES128", "AES256",
        "CHACHA20", "aRSA", "aECDSA", "ECDSA",
    ];
    let names = TLS12.iter().map(|suite| suite.name);
    names
        .chain(words)
        .chain(RETIRED_WORDS.iter().copied())
        .chain(RETIRED_CIPHERS.iter().copied())
}

pub fn ciphersuite_names() -> impl Iterator<Item = &'static str> {
    TLS13.iter().map(|(name, _)| *name).chain(TLS13_LACKING)
}

/// State of evaluating a cipher list word by word, as OpenSSL does.
struct CipherListState {
    /// Suites that are not permanently removed, each with whether it is in the list.
    suites: Vec<(&'static Suite, bool)>,
}

impl CipherListState {
    fn split(&mut self, pick: impl Fn(&Suite, bool) -> bool) -> Vec<(&'static Suite, bool)> {
        let all = std::mem::take(&mut self.suites);
        let (picked, rest) = all.into_iter().partition(|(s, on)| pick(s, *on));
        self.suites = rest;
        picked
    }

    fn apply(&mut self, operator: Option<char>, of: &impl Fn(&Suite) -> bool) {
        match operator {
            Some('!') => {
                self.split(|suite, _| of(suite));
            }
            Some('-') => {
                let mut out = self.split(|suite, on| on && of(suite));
                out.iter_mut().for_each(|(_, on)| *on = false);
                // Removed suites move to the front, so that they have their order when they are
                // added again.
                out.append(&mut self.suites);
                self.suites = out;
            }
            Some('+') => {
                let last = self.split(|suite, on| on && of(suite));
                self.suites.extend(last);
            }
            _ => {
                let new = self.split(|suite, on| !on && of(suite));
                self.suites
                    .extend(new.into_iter().map(|(suite, _)| (suite, true)));
            }
        }
    }

    fn command(&mut self, command: &str) -> bool {
        if command == "@STRENGTH" {
            self.suites
                .sort_by_key(|(suite, _)| std::cmp::Reverse(suite.bits()));
            return true;
        }
        let level = command.strip_prefix("@SECLEVEL=");
        let Some(level) = level.and_then(|text| text.parse::<u8>().ok()) else {
            return false;
        };
        // Keeps all suites up to level 3, because all supported ones satisfy it.
        let least = match level {
            0..=3 => 128,
            4 => 192,
            5 => 256,
            _ => return false,
        };
        self.suites.retain(|(suite, _)| suite.bits() >= least);
        true
    }
}

/// Parses a list of `ciphers`. If the result contains no supported suite, the caller must refuse
/// the list.
pub fn ciphers(text: &str) -> Translation<CipherSuite> {
    let mut order = CipherListState {
        suites: TLS12.iter().map(|suite| (suite, false)).collect(),
    };
    let mut made = Translation::new();
    let words = text.split([':', ',', ' ', ';']);
    for word in words.filter(|word| !word.is_empty()) {
        if word.starts_with('@') {
            if !order.command(word) {
                made.unknown.push(word.into());
            }
            continue;
        }
        let operator = word.chars().next().filter(|c| "!-+".contains(*c));
        let name = &word[operator.map_or(0, char::len_utf8)..];
        let parts: Vec<&str> = name.split('+').collect();
        if parts
            .iter()
            .any(|part| TLS12[0].is_of(part).is_none() && !is_tls13(part))
        {
            // Reports no unknown names that are removed anyway.
            if !matches!(operator, Some('!' | '-')) {
                made.unknown.push(name.into());
            }
            continue;
        }
        let of = |suite: &Suite| parts.iter().all(|part| suite.is_of(part) == Some(true));
        let adds = operator.is_none();
        if adds && !TLS12.iter().any(of) {
            made.lacking.push(name.into());
        }
        order.apply(operator, &of);
    }
    let on = order.suites.iter().filter(|(_, on)| *on);
    made.supported = on.map(|(suite, _)| suite.rustls.suite()).collect();
    made
}

fn is_tls13(name: &str) -> bool {
    ciphersuite_names().any(|known| known == name)
}

pub fn ciphersuites(text: &str) -> Translation<CipherSuite> {
    let mut made = Translation::new();
    let words = text.split([':', ',', ' ']);
    for word in words.filter(|word| !word.is_empty()) {
        let found = TLS13.iter().find(|(name, _)| *name == word);
        match found.map(|(_, suite)| suite.suite()) {
            Some(suite) if made.supported.contains(&suite) => {}
            Some(suite) => made.supported.push(suite),
            None if TLS13_LACKING.contains(&word) => made.lacking.push(word.into()),
            None => made.unknown.push(word.into()),
        }
    }
    made
}

/// Returns rustls' suites of TLS 1.2: all, or those of a list in its order.
pub fn tls12(list: Option<&[CipherSuite]>) -> Vec<SupportedCipherSuite> {
    let all = TLS12.iter().map(|suite| *suite.rustls);
    ordered(all.collect(), list)
}

/// Returns rustls' suites of TLS 1.3: all, or those of a list in its order.
pub fn tls13(list: Option<&[CipherSuite]>) -> Vec<SupportedCipherSuite> {
    ordered(TLS13.iter().map(|(_, suite)| **suite).collect(), list)
}

fn ordered(
    all: Vec<SupportedCipherSuite>,
    list: Option<&[CipherSuite]>,
) -> Vec<SupportedCipherSuite> {
    let Some(list) = list else { return all };
    let of = |wanted: &CipherSuite| all.iter().find(|suite| suite.suite() == *wanted).copied();
    list.iter().filter_map(of).collect()
}

/// Returns OpenSSL's name of a suite, the value of `ssl_fc_cipher`.
pub fn openssl_name(suite: CipherSuite) -> &'static str {
    let tls12 = TLS12.iter().find(|known| known.rustls.suite() == suite);
    let tls13 = TLS13.iter().find(|(_, known)| known.suite() == suite);
    match (tls12, tls13) {
        (Some(known), _) => known.name,
        (_, Some((name, _))) => name,
        _ => "(NONE)",
    }
}

#[cfg(test)]
mod tests;
