//! How often somebody may try a password, a code or a token: few times at once, then seldom, in memory
//! that is bounded.

use crate::device;
use std::collections::HashMap;
use std::net::IpAddr;

/// Tries that are free, and how long one takes to come back, milliseconds.
const TRIES: u64 = 5;
const BACK_MS: u64 = 10_000;
/// The same for codes, of which there are few: guessing one takes years, for somebody who has the password.
const CODE_BACK_MS: u64 = 300_000;
/// Addresses and names that are remembered.
const ENTRIES_MAX: usize = 4_096;

/// Who tries.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Key {
    /// Somebody at an address; of IPv6 its network of 64 bits.
    From([u8; 8]),
    /// Somebody for a user, from wherever.
    For(String),
    /// A browser in which the user has signed in before.
    Device(device::Id),
    /// Somebody who has the password of a user, and needs a code.
    Code(String),
    /// The same in a browser that is known.
    CodeOf(device::Id),
    /// A program at an address, with tokens.
    Token([u8; 8]),
}

impl Key {
    /// Of an address.
    pub fn of(address: IpAddr) -> Key {
        Key::From(network(address))
    }

    /// Of a program at an address. Its wrong tokens keep nobody there from a password.
    pub fn of_token(address: IpAddr) -> Key {
        Key::Token(network(address))
    }

    /// How long a try takes to come back, milliseconds.
    fn back_ms(&self) -> u64 {
        match self {
            Key::Code(_) | Key::CodeOf(_) => CODE_BACK_MS,
            Key::From(_) | Key::For(_) | Key::Device(_) | Key::Token(_) => BACK_MS,
        }
    }
}

fn network(address: IpAddr) -> [u8; 8] {
    let mut bytes = [0; 8];
    match address.to_canonical() {
        IpAddr::V4(address) => bytes[4..].copy_from_slice(&address.octets()),
        IpAddr::V6(address) => bytes.copy_from_slice(&address.octets()[..8]),
    }
    bytes
}

/// Who has failed: until when all of their tries are back, milliseconds.
#[derive(Debug, Default)]
pub struct Limiter {
    until: HashMap<Key, u64>,
}

impl Limiter {
    /// For how long one of these has no try left, milliseconds; None: all have one.
    pub fn wait(&self, keys: &[Key], now: u64) -> Option<u64> {
        let wait = |key: &Key| {
            let until = self.until.get(key).copied().unwrap_or_default();
            let free = (TRIES - 1) * key.back_ms();
            until.saturating_sub(now).saturating_sub(free)
        };
        let wait = keys.iter().map(wait).max().unwrap_or_default();
        (wait > 0).then_some(wait)
    }

    /// A try of all of these has failed.
    pub fn count(&mut self, keys: &[Key], now: u64) {
        if self.until.len() + keys.len() > ENTRIES_MAX {
            self.until.retain(|_, until| *until > now);
        }
        // A flood from everywhere: those stay that failed last or most.
        if self.until.len() + keys.len() > ENTRIES_MAX {
            let mut all: Vec<u64> = self.until.values().copied().collect();
            let middle = all.len() / 2;
            let (_, middle, _) = all.select_nth_unstable(middle);
            let middle = *middle;
            self.until.retain(|_, until| *until > middle);
        }
        for key in keys {
            let until = self.until.entry(key.clone()).or_insert(now);
            *until = (*until).max(now).saturating_add(key.back_ms());
        }
    }

    /// A try that has counted was none: it is back.
    pub fn uncount(&mut self, keys: &[Key]) {
        for key in keys {
            if let Some(until) = self.until.get_mut(key) {
                *until = until.saturating_sub(key.back_ms());
            }
        }
    }

    /// Somebody has proved who they are: their tries are back.
    pub fn forgive(&mut self, keys: &[Key]) {
        for key in keys {
            self.until.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tries, and fails unless there is none left.
    fn fail(limiter: &mut Limiter, keys: &[Key], now: u64) -> Option<u64> {
        let wait = limiter.wait(keys, now);
        if wait.is_none() {
            limiter.count(keys, now);
        }
        wait
    }

    #[test]
    fn few_tries_are_free_and_one_comes_back_at_a_time() {
        let mut limiter = Limiter::default();
        let anna = [Key::of([192, 0, 2, 1].into()), Key::For("anna".to_owned())];
        for _ in 0..TRIES {
            assert_eq!(fail(&mut limiter, &anna, 1_000), None);
        }
        assert_eq!(fail(&mut limiter, &anna, 1_000), Some(BACK_MS));
        // From elsewhere, for the same user.
        let elsewhere = [Key::of([192, 0, 2, 2].into()), anna[1].clone()];
        assert_eq!(fail(&mut limiter, &elsewhere, 6_000), Some(BACK_MS - 5_000));
        assert_eq!(fail(&mut limiter, &anna, 1_000 + BACK_MS), None);
        assert!(fail(&mut limiter, &anna, 1_000 + BACK_MS).is_some());
        limiter.uncount(&anna);
        assert_eq!(fail(&mut limiter, &anna, 1_000 + BACK_MS), None);
        assert!(fail(&mut limiter, &anna, 1_000 + BACK_MS).is_some());
        limiter.forgive(&anna);
        assert_eq!(limiter.wait(&anna, 1_000 + BACK_MS), None);
    }

    #[test]
    fn a_browser_that_is_known_a_code_and_a_token_have_limits_of_their_own() {
        let mut limiter = Limiter::default();
        let home: IpAddr = [192, 0, 2, 1].into();
        let strangers = [Key::of(home), Key::For("anna".to_owned())];
        while fail(&mut limiter, &strangers, 1_000).is_none() {}
        for key in [
            Key::Device([1; 16]),
            Key::CodeOf([1; 16]),
            Key::Code("anna".to_owned()),
            Key::of_token(home),
        ] {
            let keys = std::slice::from_ref(&key);
            for _ in 0..TRIES {
                assert_eq!(fail(&mut limiter, keys, 1_000), None, "{key:?}");
            }
            let wait = limiter.wait(keys, 1_000);
            assert_eq!(wait, Some(key.back_ms()), "{key:?}");
        }
        assert_eq!(limiter.wait(&[Key::Device([2; 16])], 1_000), None);
        // Three codes of a million fit at a time: a day of tries finds one in a thousand times.
        const { assert!(86_400_000 / CODE_BACK_MS * 3 < 1_000) };
    }

    #[test]
    fn it_is_bounded_and_a_network_of_64_bits_is_one() {
        let mut limiter = Limiter::default();
        for number in 0..100_000_u32 {
            limiter.count(&[Key::of(number.to_be_bytes().into())], u64::from(number));
            assert!(limiter.until.len() <= ENTRIES_MAX);
        }
        let one: IpAddr = "2001:db8::1".parse().unwrap();
        let two: IpAddr = "2001:db8::ffff:2".parse().unwrap();
        assert_eq!(Key::of(one), Key::of(two));
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        assert_eq!(Key::of(mapped), Key::of([192, 0, 2, 1].into()));
    }
}
