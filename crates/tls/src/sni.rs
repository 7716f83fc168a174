//! Selects the certificate of a listener by the host name in the ClientHello, among those that
//! the client supports. Names are bytes in lower case; internationalized names are in ASCII
//! (Punycode), as in certificates.

use super::certified::{Certified, KeyKind};
use rustls::{CipherSuite, ServerConfig, SignatureScheme};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// The fields of a ClientHello that select a certificate.
#[derive(Clone, Copy, Debug, Default)]
pub struct CertificateCriteria<'a> {
    /// Requested server name (SNI), in any case.
    pub server_name: Option<&'a [u8]>,
    pub schemes: &'a [SignatureScheme],
    pub suites: &'a [CipherSuite],
    pub tls13: bool,
}

/// An SNI filter of a crt-list line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SniFilter {
    /// Name, or `*.` and the parent domain, in lower case.
    pub name: Box<[u8]>,
    /// `!`: excludes this name, although a wildcard on the same line matches it.
    pub negative: bool,
}

impl SniFilter {
    pub fn parse(text: &[u8]) -> SniFilter {
        let (name, negative) = match text.strip_prefix(b"!") {
            Some(name) => (name, true),
            None => (text, false),
        };
        SniFilter {
            name: name.to_ascii_lowercase().into(),
            negative,
        }
    }
}

impl fmt::Display for SniFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = if self.negative { "!" } else { "" };
        write!(f, "{not}{}", String::from_utf8_lossy(&self.name))
    }
}

/// A certificate of a listener with its handshake settings.
#[derive(Clone)]
pub struct Entry {
    pub name: Box<str>,
    pub certified: Arc<Certified>,
    pub config: Arc<ServerConfig>,
    /// Names that are excluded although a wildcard matches.
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
    /// Wildcards by their suffix after the star, which begins with a dot.
    wild: HashMap<Box<[u8]>, Vec<u32>>,
    default: Vec<u32>,
}

impl Index {
    /// Adds a certificate: under the filters of its crt-list line or, if there are none, under its
    /// own names.
    pub fn add(
        &mut self,
        name: &str,
        certified: &Arc<Certified>,
        config: Arc<ServerConfig>,
        filters: &[SniFilter],
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

    /// Adds a certificate to those that are presented if the client's name matches none.
    pub fn add_default(&mut self, at: u32) {
        if !self.default.contains(&at) {
            self.default.push(at);
        }
    }

    pub fn has_default(&self) -> bool {
        !self.default.is_empty()
    }

    /// Returns all certificates in the order of the file.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Selects the certificate for a client. None if its name matches no certificate and there is
    /// no default, or the default is not allowed (`with_default`).
    pub fn choose(&self, offer: &CertificateCriteria<'_>, with_default: bool) -> Option<&Entry> {
        let named = offer.server_name.and_then(|name| self.named(name, offer));
        named.or_else(|| {
            let default = self.default.iter().filter(|_| with_default);
            best(default.filter_map(|at| self.entry(*at)), offer)
        })
    }

    fn entry(&self, at: u32) -> Option<&Entry> {
        self.entries.get(at as usize)
    }

    fn named(&self, name: &[u8], offer: &CertificateCriteria<'_>) -> Option<&Entry> {
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

/// Selects the best of these certificates for a client: one that the client can verify, preferably
/// with an elliptic curve, and the first of several with the same type. If the client can verify
/// none, returns the first, so that the handshake fails with a reason.
fn best<'e>(
    entries: impl Iterator<Item = &'e Entry>,
    offer: &CertificateCriteria<'_>,
) -> Option<&'e Entry> {
    let mut entries = entries.peekable();
    let first = entries.next()?;
    // Returns the only certificate without further checks; most names have one.
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

fn usable(certified: &Certified, offer: &CertificateCriteria<'_>) -> bool {
    let signs = certified.key().choose_scheme(offer.schemes).is_some();
    signs
        && (offer.tls13
            || offer
                .suites
                .iter()
                .any(|suite| fits(*suite, certified.kind)))
}

/// Returns whether a suite of TLS 1.2 authenticates with this type of key.
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
