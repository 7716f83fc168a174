//! Collects the secrets of TLS sessions for the analysis of captured traffic (`tune.ssl.keylog`),
//! in NSS's key log format, for fetches. Nothing is ever written to a file here, and nothing is
//! collected unless the configuration requests it.

use rustls::KeyLog;
use std::cell::RefCell;
use zeroize::Zeroizing;

const SECRETS_MAX: usize = 8;

/// Secrets of one connection by the labels of the key log format.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secrets(Vec<(Box<str>, Zeroizing<Vec<u8>>)>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

impl Secrets {
    /// Returns the secret with a label, such as `CLIENT_TRAFFIC_SECRET_0`.
    pub fn get(&self, label: &str) -> Option<&[u8]> {
        let found = self.0.iter().find(|(known, _)| **known == *label);
        found.map(|(_, secret)| &secret[..])
    }

    /// Stores a secret. Secrets beyond the limit are dropped.
    pub fn store_secret(&mut self, label: &str, secret: &[u8]) {
        if self.0.len() < SECRETS_MAX {
            self.0.push((label.into(), Zeroizing::new(secret.to_vec())));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

thread_local! {
    static CURRENT: RefCell<Secrets> = RefCell::default();
}

/// Receives secrets from rustls (`key_log`) if `tune.ssl.keylog` is on. rustls does not say which
/// connection they belong to, so they are stored in the thread for [`with_secrets`].
#[derive(Debug)]
pub struct Collector;

impl KeyLog for Collector {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        CURRENT.with_borrow_mut(|current| current.store_secret(label, secret));
    }
}

/// Performs a step of a handshake and adds the secrets that it produces. Must wrap every call that
/// lets rustls process records until the handshake is complete.
pub fn with_secrets<R>(into: &mut Secrets, step: impl FnOnce() -> R) -> R {
    CURRENT.set(std::mem::take(into));
    let done = step();
    *into = CURRENT.take();
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_one_connections_steps_are_collected() {
        let (mut one, mut other) = (Secrets::default(), Secrets::default());
        with_secrets(&mut one, || {
            Collector.log("CLIENT_RANDOM", &[0; 32], &[1, 2]);
        });
        with_secrets(&mut other, || {});
        with_secrets(&mut one, || {
            Collector.log("EXPORTER_SECRET", &[0; 32], &[3]);
        });
        assert_eq!(one.get("CLIENT_RANDOM"), Some(&[1, 2][..]));
        assert_eq!(one.get("EXPORTER_SECRET"), Some(&[3][..]));
        assert!(other.is_empty() && one.get("X").is_none());
        assert_eq!(format!("{one:?}"), "Secrets(2)");
    }
}
