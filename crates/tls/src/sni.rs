//! The certificates of a listener by name, and the choice of one that a client supports.
//! Names are bytes in lower case; internationalized names are in ASCII (Punycode), as in
//! certificates.

use super::certified::{Certified, KeyKind};
use rustls::{CipherSuite, ServerConfig, SignatureScheme};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// The fields of a ClientHello that select a certificate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Offer<'a> {
    /// The name that it asks for, in any case.
    pub server_name: Option<&'a [u8]>,
    /// The signature schemes that it supports.
    pub schemes: &'a [SignatureScheme],
    /// Its suites.
    pub suites: &'a [CipherSuite],
    /// Whether it supports TLS 1.3.
    pub tls13: bool,
}

/// A filter of a line of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter {
    /// The name, or `*.` and the rest of one, in lower case.
    pub name: Box<[u8]>,
    /// `!`: not this one, though a wildcard of the line matches it.
    pub negative: bool,
}

impl Filter {
    /// As a list has it.
    pub fn parse(text: &[u8]) -> Filter {
        let (name, negative) = match text.strip_prefix(b"!") {
            Some(name) => (name, true),
            None => (text, false),
        };
        Filter {
            name: name.to_ascii_lowercase().into(),
            negative,
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = if self.negative { "!" } else { "" };
        write!(f, "{not}{}", String::from_utf8_lossy(&self.name))
    }
}

/// A certificate of a listener with what handshakes under it are made from.
#[derive(Clone)]
pub struct Entry {
    /// Its name in the store.
    pub name: Box<str>,
    /// The certificate.
    pub certified: Arc<Certified>,
    /// rustls' configuration, which shows this certificate.
    pub config: Arc<ServerConfig>,
    /// Names that are not served by it though a wildcard matches.
    excluded: Vec<Box<[u8]>>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({})", self.name)
    }
}

/// All certificates of a listener.
#[derive(Debug, Default)]
pub struct Index {
    entries: Vec<Entry>,
    exact: HashMap<Box<[u8]>, Vec<u32>>,
    /// By what follows the star, with its dot.
    wild: HashMap<Box<[u8]>, Vec<u32>>,
    /// Shown to whom nothing matches.
    default: Vec<u32>,
}

impl Index {
    /// Adds a certificate under the filters of its line, or under its own names
    /// where there are none.
    pub fn add(
        &mut self,
        name: &str,
        certified: &Arc<Certified>,
        config: Arc<ServerConfig>,
        filters: &[Filter],
    ) -> u32 {
        let at = self.entries.len() as u32;
        let negative = filters.iter().filter(|filter| filter.negative);
        let excluded = negative.map(|filter| filter.name.clone()).collect();
        if filters.is_empty() {
            for name in &certified.names {
                self.enter(name, at);
            }
        }
        for filter in filters.iter().filter(|filter| !filter.negative) {
            self.enter(&filter.name, at);
        }
        self.entries.push(Entry {
            name: name.into(),
            certified: Arc::clone(certified),
            config,
            excluded,
        });
        at
    }

    fn enter(&mut self, name: &[u8], at: u32) {
        let (names, name) = match name.strip_prefix(b"*") {
            Some(rest) => (&mut self.wild, rest),
            None => (&mut self.exact, name),
        };
        match names.get_mut(name) {
            Some(all) if all.contains(&at) => {}
            Some(all) => all.push(at),
            None => {
                names.insert(name.into(), vec![at]);
            }
        }
    }

    /// Makes a certificate one of those that are shown when nothing matches.
    pub fn add_default(&mut self, at: u32) {
        if !self.default.contains(&at) {
            self.default.push(at);
        }
    }

    /// Whether any is shown when nothing matches.
    pub fn has_default(&self) -> bool {
        !self.default.is_empty()
    }

    /// All certificates, in the order of the file.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The certificate for a client; None where nothing matches its name and
    /// there is no default, or none may be taken.
    pub fn choose(&self, offer: &Offer<'_>, with_default: bool) -> Option<&Entry> {
        let named = offer.server_name.and_then(|name| self.named(name, offer));
        named.or_else(|| {
            let default = self.default.iter().filter(|_| with_default);
            best(default.filter_map(|at| self.entry(*at)), offer)
        })
    }

    fn entry(&self, at: u32) -> Option<&Entry> {
        self.entries.get(at as usize)
    }

    fn named(&self, name: &[u8], offer: &Offer<'_>) -> Option<&Entry> {
        let name = name.to_ascii_lowercase();
        let exact = self.exact.get(&name[..]).into_iter().flatten();
        let exact = best(exact.filter_map(|at| self.entry(*at)), offer);
        if exact.is_some() {
            return exact;
        }
        let dot = memchr::memchr(b'.', &name)?;
        let wild = self.wild.get(&name[dot..])?;
        let not_excluded = |entry: &&Entry| !entry.excluded.iter().any(|not| **not == *name);
        best(
            wild.iter()
                .filter_map(|at| self.entry(*at))
                .filter(not_excluded),
            offer,
        )
    }
}

/// The best of some certificates for a client: one that it can verify, with an
/// elliptic curve before the others, and the first of a kind. Where it can
/// verify none the first, so that the handshake fails with a reason.
fn best<'e>(entries: impl Iterator<Item = &'e Entry>, offer: &Offer<'_>) -> Option<&'e Entry> {
    let mut entries = entries.peekable();
    let first = entries.next()?;
    // Most names have one certificate, for which nothing has to be tried.
    if entries.peek().is_none() {
        return Some(first);
    }
    let usable = |entry: &&Entry| usable(&entry.certified, offer);
    std::iter::once(first)
        .chain(entries)
        .filter(usable)
        .min_by_key(|entry| entry.certified.kind)
        .or(Some(first))
}

fn usable(certified: &Certified, offer: &Offer<'_>) -> bool {
    let signs = certified.key().choose_scheme(offer.schemes).is_some();
    signs
        && (offer.tls13
            || offer
                .suites
                .iter()
                .any(|suite| fits(*suite, certified.kind)))
}

/// Whether a suite of TLS 1.2 authenticates with such a key.
fn fits(suite: CipherSuite, kind: KeyKind) -> bool {
    match suite {
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => kind != KeyKind::Rsa,
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
        | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => kind == KeyKind::Rsa,
        _ => false,
    }
}
