//! Caches the results of password verifications, so that a second login is fast, and a repeated
//! wrong password costs nothing more.
//!
//! The key of an entry is a keyed hash of the stored hash, the user and the password, under a
//! secret of this process that is never shown. So a change of the userlist changes the key, and
//! no password is stored here.

use crate::password::Key;
use aws_lc_rs::{hmac, rand};
use std::collections::{HashMap, VecDeque};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

/// Number of shards, each with its own lock.
const SHARDS: usize = 16;
/// Maximum number of correct credentials in a shard.
const ACCEPTED_MAX: usize = 512;
/// Maximum number of wrong credentials in a shard. They are limited separately because anyone can
/// send some.
const REFUSED_MAX: usize = 128;

static SECRET: LazyLock<hmac::Key> = LazyLock::new(|| {
    let random = rand::SystemRandom::new();
    hmac::Key::generate(hmac::HMAC_SHA256, &random).unwrap_or_else(|_| {
        // Falls back to the time if the system provides no randomness. The time is not published
        // either.
        let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        hmac::Key::new(hmac::HMAC_SHA256, &since.as_nanos().to_be_bytes())
    })
});

impl Key {
    /// Computes the key of a user's stored hash and the password that was sent.
    pub fn of(hash: &[u8], user: &[u8], password: &[u8]) -> Key {
        let mut context = hmac::Context::with_key(&SECRET);
        for part in [hash, user, password] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut key = [0; 32];
        for (place, byte) in key.iter_mut().zip(context.sign().as_ref()) {
            *place = *byte;
        }
        Key(key)
    }

    fn shard(&self) -> MutexGuard<'static, Shard> {
        let at = usize::from(self.0[0]) % SHARDS;
        SHARDS_OF[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Shard {
    /// Keys of correct credentials, each with the time of the last use, counted in uses of this
    /// shard.
    accepted: HashMap<Key, u64>,
    refused: VecDeque<Key>,
    uses: u64,
}

static SHARDS_OF: LazyLock<[Mutex<Shard>; SHARDS]> = LazyLock::new(Default::default);

/// Returns the cached result for credentials.
pub fn known(key: &Key) -> Option<bool> {
    key.shard().known(key)
}

pub fn keep(key: Key, right: bool) {
    key.shard().keep(key, right);
}

impl Shard {
    fn known(&mut self, key: &Key) -> Option<bool> {
        self.uses += 1;
        if let Some(used) = self.accepted.get_mut(key) {
            *used = self.uses;
            return Some(true);
        }
        self.refused.contains(key).then_some(false)
    }

    fn keep(&mut self, key: Key, right: bool) {
        if right {
            self.uses += 1;
            self.accepted.insert(key, self.uses);
            if self.accepted.len() > ACCEPTED_MAX {
                let oldest = self.accepted.iter().min_by_key(|(_, used)| **used);
                if let Some(oldest) = oldest.map(|(key, _)| *key) {
                    self.accepted.remove(&oldest);
                }
            }
        } else if !self.refused.contains(&key) {
            self.refused.push_back(key);
            if self.refused.len() > REFUSED_MAX {
                self.refused.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> Key {
        Key::of(b"hash", b"user", format!("password {n}").as_bytes())
    }

    #[test]
    fn a_key_is_of_hash_user_and_password() {
        assert_eq!(key(1), key(1));
        assert_ne!(key(1), key(2));
        assert_ne!(Key::of(b"ab", b"c", b"d"), Key::of(b"a", b"bc", b"d"));
        assert_ne!(Key::of(b"ab", b"c", b""), Key::of(b"ab", b"", b"c"));
    }

    #[test]
    fn wrong_credentials_never_push_right_ones_out() {
        let mut shard = Shard::default();
        shard.keep(key(0), true);
        for n in 1..=10 * REFUSED_MAX {
            shard.keep(key(n), false);
        }
        assert_eq!(shard.known(&key(0)), Some(true));
        assert_eq!(shard.known(&key(10 * REFUSED_MAX)), Some(false));
        assert_eq!(shard.known(&key(1)), None);
        assert_eq!(shard.refused.len(), REFUSED_MAX);
    }

    #[test]
    fn of_right_ones_those_that_are_used_stay() {
        let mut shard = Shard::default();
        for n in 0..3 * ACCEPTED_MAX {
            shard.keep(key(n), true);
            assert_eq!(shard.known(&key(0)), Some(true), "{n}");
        }
        assert_eq!(shard.accepted.len(), ACCEPTED_MAX);
        assert_eq!(shard.known(&key(1)), None);
    }
}
