//! Creates and verifies links that sign the administrator of the machine in to the console. Each is
//! valid once.

use ::access::random::random;
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use std::collections::BTreeMap;

pub const LINK_S: u64 = 600;
const LINKS_MAX: usize = 16;

/// Links of this console that were not used yet.
#[derive(Debug, Default)]
pub struct Links {
    /// Expiry time of each link, by the SHA-256 of its secret.
    until: BTreeMap<[u8; 32], u64>,
}

fn digest_of(secret: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, secret.as_bytes()).as_ref());
    out
}

impl Links {
    /// Creates a link that signs in once, and returns its secret.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn make(&mut self, now: u64) -> Result<String, String> {
        let secret = BASE64.encode(random::<24>()?);
        self.until.retain(|_, until| *until > now);
        if self.until.len() >= LINKS_MAX {
            // Removes the link that expires first if there are too many.
            let first = self.until.iter().min_by_key(|(_, until)| **until);
            let first = first.map(|(link, _)| *link);
            first.map(|link| self.until.remove(&link));
        }
        self.until
            .insert(digest_of(&secret), now.saturating_add(LINK_S));
        Ok(secret)
    }

    /// Returns whether a link is known, unused and not expired.
    pub fn has(&self, secret: &str, now: u64) -> bool {
        let until = self.until.get(&digest_of(secret));
        until.is_some_and(|until| *until > now)
    }

    /// Consumes a link. Returns false if the link is unknown, expired or already used.
    pub fn take(&mut self, secret: &str, now: u64) -> bool {
        let until = self.until.remove(&digest_of(secret));
        until.is_some_and(|until| until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_signs_in_once_and_within_its_time() {
        let mut links = Links::default();
        let link = links.make(100).unwrap();
        assert!(links.has(&link, 101));
        assert!(links.take(&link, 101));
        assert!(!links.take(&link, 101));
        let late = links.make(100).unwrap();
        assert!(!links.take(&late, 100 + LINK_S));
        for _ in 0..100 {
            links.make(200).unwrap();
        }
        assert_eq!(links.until.len(), LINKS_MAX);
    }
}
