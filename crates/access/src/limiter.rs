//! Limits the rate of attempts at a password, a code or a token: a few at once, then at a fixed
//! rate, in bounded memory.

pub use crate::key::Key;

use crate::peers::{AttemptChange, Peers};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

/// Number of attempts that a key allows in immediate succession.
const TRIES: u64 = 5;
const ENTRIES_MAX: usize = 4_096;

/// Limits the failed attempts of each key: several in immediate succession, then one more after
/// each recovery time of the key. An attempt that counts for several keys needs an attempt left for
/// all of them. In a flood of keys, those whose failures are forgotten first are dropped.
#[derive(Debug, Default)]
pub struct Limiter {
    /// Time at which all attempts of a key are available again, milliseconds. Keys without failures
    /// have no entry.
    until: HashMap<Key, u64>,
    /// Connection to the other nodes. None on a node without a cluster.
    peers: Option<Arc<dyn Peers>>,
}

impl Limiter {
    pub fn report_changes_to(&mut self, peers: Arc<dyn Peers>) {
        self.peers = Some(peers);
    }

    pub(crate) fn peers(&self) -> Option<Arc<dyn Peers>> {
        self.peers.clone()
    }

    /// Returns the time until all of these keys have an attempt left, milliseconds. None if they do
    /// now.
    pub fn wait(&self, keys: &[Key], now: u64) -> Option<u64> {
        let wait = |key: &Key| {
            let until = self.until.get(key).copied().unwrap_or_default();
            let free = (TRIES - 1) * key.recovery_ms();
            until.saturating_sub(now).saturating_sub(free)
        };
        let wait = keys.iter().map(wait).max().unwrap_or_default();
        (wait > 0).then_some(wait)
    }

    /// Returns whether all of these keys would have an attempt left if `count` of their failures
    /// were undone.
    pub(crate) fn has_without(&self, keys: &[Key], count: u64, now: u64) -> bool {
        let has = |key: &Key| {
            let until = self.until.get(key).copied().unwrap_or_default();
            let free = (TRIES - 1 + count) * key.recovery_ms();
            until.saturating_sub(now) <= free
        };
        count > 0 && keys.iter().all(has)
    }

    pub fn count(&mut self, keys: &[Key], now: u64) {
        self.change(keys, AttemptChange::Failed, now);
    }

    pub fn undo_attempt(&mut self, keys: &[Key], now: u64) {
        self.change(keys, AttemptChange::Returned, now);
    }

    /// Undoes an attempt that was counted as failed and has succeeded. Also resets the failures of
    /// the user, including those for this user among the failures of the address. Other failures of
    /// the address stay: otherwise everybody with an account could guess the passwords of others
    /// without limit.
    pub fn record_success(&mut self, keys: &[Key], now: u64) {
        self.undo_attempt(keys, now);
        self.reset(keys, now);
    }

    /// Resets the failures of users who have authenticated by other means, which do not count as
    /// attempts.
    pub fn reset(&mut self, keys: &[Key], now: u64) {
        let own: Vec<Key> = keys
            .iter()
            .filter(|key| key.is_of_one_user())
            .cloned()
            .collect();
        self.change(&own, AttemptChange::Reset, now);
    }

    fn change(&mut self, keys: &[Key], change: fn(Key) -> AttemptChange, now: u64) {
        let changes: Vec<AttemptChange> = keys.iter().cloned().map(change).collect();
        for change in &changes {
            self.apply(change, now);
        }
        let Some(peers) = &self.peers else {
            return;
        };
        let shared: Vec<AttemptChange> = changes
            .into_iter()
            .filter(|change| !change.is_change_local_to_node())
            .collect();
        if !shared.is_empty() {
            peers.changed(&shared);
        }
    }

    /// Applies a change of this or of another node. Changes of used codes do not concern the
    /// limiter.
    pub(crate) fn apply(&mut self, change: &AttemptChange, now: u64) {
        match change {
            AttemptChange::Failed(key) => {
                let until = self.entry(key, now);
                *until = (*until).max(now).saturating_add(key.recovery_ms());
            }
            AttemptChange::Returned(key) => {
                if let Some(until) = self.until.get_mut(key) {
                    *until = until.saturating_sub(key.recovery_ms());
                }
            }
            AttemptChange::Reset(key) => {
                let until = self.until.remove(key).unwrap_or_default();
                if let Key::At(address, _) = key
                    && let Some(of_address) = self.until.get_mut(&Key::From(*address))
                {
                    *of_address = of_address.saturating_sub(until.saturating_sub(now));
                }
            }
            AttemptChange::Left(key, left_ms) => {
                // Limits the time, because no key can have used more than all of its attempts.
                let left_ms = (*left_ms).min(TRIES * key.recovery_ms());
                let until = self.entry(key, now);
                *until = (*until).max(now.saturating_add(left_ms));
            }
            AttemptChange::Code(..) => {}
        }
    }

    /// Returns the time at which all attempts of a key are available, and makes room for a new key.
    fn entry(&mut self, key: &Key, now: u64) -> &mut u64 {
        if !self.until.contains_key(key) {
            if self.until.len() >= ENTRIES_MAX {
                self.until.retain(|_, until| *until > now);
            }
            // Drops the half of the keys whose attempts are all available first, in a flood from
            // many addresses: the keys with the latest or the most failures stay.
            if self.until.len() >= ENTRIES_MAX {
                let mut all: Vec<u64> = self.until.values().copied().collect();
                let half = all.len() / 2;
                let (_, middle, later) = all.select_nth_unstable(half);
                let middle = *middle;
                // Of the keys with the middle time, as many stay as the half needs: in a flood that
                // failed in one moment, all have that time.
                let mut room = 1 + later.iter().filter(|until| **until == middle).count();
                self.until.retain(|_, until| match (*until).cmp(&middle) {
                    Ordering::Less => false,
                    Ordering::Greater => true,
                    Ordering::Equal if room == 0 => false,
                    Ordering::Equal => {
                        room -= 1;
                        true
                    }
                });
            }
        }
        self.until.entry(key.clone()).or_insert(now)
    }

    pub(crate) fn current_failures(&self, now: u64) -> Vec<AttemptChange> {
        let all = self.until.iter().filter(|(_, until)| **until > now);
        all.map(|(key, until)| AttemptChange::Left(key.clone(), until - now))
            .filter(|change| !change.is_change_local_to_node())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{BACK_MS, CODE_BACK_MS};
    use std::net::IpAddr;

    fn fail(limiter: &mut Limiter, keys: &[Key], now: u64) -> Option<u64> {
        let wait = limiter.wait(keys, now);
        if wait.is_none() {
            limiter.count(keys, now);
        }
        wait
    }

    #[test]
    fn attempts_are_limited_and_restored_one_by_one() {
        let mut limiter = Limiter::default();
        let anna = [Key::of([192, 0, 2, 1].into()), Key::For("anna".to_owned())];
        for _ in 0..TRIES {
            assert_eq!(fail(&mut limiter, &anna, 1_000), None);
        }
        assert_eq!(fail(&mut limiter, &anna, 1_000), Some(BACK_MS));
        // Attempts for the same user count together, also from another address.
        let elsewhere = [Key::of([192, 0, 2, 2].into()), anna[1].clone()];
        assert_eq!(fail(&mut limiter, &elsewhere, 6_000), Some(BACK_MS - 5_000));
        assert_eq!(fail(&mut limiter, &anna, 1_000 + BACK_MS), None);
        assert!(fail(&mut limiter, &anna, 1_000 + BACK_MS).is_some());
        limiter.undo_attempt(&anna, 1_000 + BACK_MS);
        assert_eq!(fail(&mut limiter, &anna, 1_000 + BACK_MS), None);
        assert!(fail(&mut limiter, &anna, 1_000 + BACK_MS).is_some());
    }

    #[test]
    fn success_resets_the_user_and_never_the_address() {
        let mut limiter = Limiter::default();
        let home: IpAddr = [192, 0, 2, 1].into();
        let eve = Key::of_stranger(home, "eve");
        let mut guesses = 0;
        // Signs in with an own account after each guess at the password of another user: that must
        // not give more guesses.
        for number in 0..100 {
            let guess = Key::of_stranger(home, &format!("user{number}"));
            guesses += u64::from(fail(&mut limiter, &guess, 1_000).is_none());
            if fail(&mut limiter, &eve, 1_000).is_none() {
                limiter.record_success(&eve, 1_000);
            }
        }
        assert_eq!(guesses, TRIES);
        // A user who mistypes the password and then signs in does not block others in the same
        // office.
        let office: IpAddr = [192, 0, 2, 2].into();
        for name in ["anna", "bert", "carl"] {
            let keys = Key::of_stranger(office, name);
            for _ in 0..TRIES - 1 {
                assert_eq!(fail(&mut limiter, &keys, 1_000), None, "{name}");
            }
            limiter.count(&keys, 1_000);
            limiter.record_success(&keys, 1_000);
        }
        assert_eq!(limiter.current_failures(1_000).len(), 1 + 2 * 5);
    }

    #[derive(Debug, Default)]
    struct Reported(std::sync::Mutex<Vec<AttemptChange>>);

    impl Peers for Reported {
        fn changed(&self, changes: &[AttemptChange]) {
            part::lock(&self.0).extend_from_slice(changes);
        }

        fn claim_code<'a>(&'a self, _: &'a str, _: u64) -> crate::peers::IsNew<'a> {
            Box::pin(std::future::ready(true))
        }
    }

    #[test]
    fn attempts_are_counted_across_all_nodes() {
        let reported = Arc::new(Reported::default());
        let mut alpha = Limiter::default();
        alpha.report_changes_to(Arc::clone(&reported) as Arc<dyn Peers>);
        let (mut beta, mut late) = (Limiter::default(), Limiter::default());
        let spread = |beta: &mut Limiter| {
            let changes = std::mem::take(&mut *part::lock(&reported.0));
            changes.iter().for_each(|change| beta.apply(change, 90_000));
            changes.len()
        };
        let anna = [Key::of([192, 0, 2, 1].into()), Key::For("anna".to_owned())];
        for _ in 0..TRIES {
            alpha.count(&anna, 1_000);
        }
        assert_eq!(spread(&mut beta), 2 * 5);
        // Compares the waiting times of two nodes whose clocks differ: they are equal.
        assert_eq!(beta.wait(&anna, 90_000), alpha.wait(&anna, 1_000));
        alpha.record_success(&anna, 1_000);
        spread(&mut beta);
        for limiter in [(&alpha, 1_000), (&beta, 90_000)] {
            assert_eq!(limiter.0.wait(&anna, limiter.1), None);
        }
        // Does not share the failures of loopback addresses, which mean another machine at each
        // node.
        alpha.count(
            &[
                Key::of([127, 0, 0, 1].into()),
                Key::of("::1".parse().unwrap()),
            ],
            1_000,
        );
        assert_eq!(spread(&mut beta), 0);
        // A node that connects later gets the remaining times, each limited to the longest possible
        // one.
        let mut left = alpha.current_failures(1_000);
        assert_eq!(left, [AttemptChange::Left(anna[0].clone(), 4 * BACK_MS)]);
        left.push(AttemptChange::Left(anna[1].clone(), u64::MAX));
        left.iter().for_each(|change| late.apply(change, 5));
        assert_eq!(late.wait(&anna[1..], 5), Some(BACK_MS));
        assert_eq!(late.wait(&anna[..1], 5), None);
        late.count(&anna[..1], 5);
        assert!(late.wait(&anna[..1], 5).is_some());
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
            assert_eq!(wait, Some(key.recovery_ms()), "{key:?}");
        }
        assert_eq!(limiter.wait(&[Key::Device([2; 16])], 1_000), None);
        // Three codes of a million are valid at a time, so a day of attempts finds one with a
        // probability of one in a thousand.
        const { assert!(86_400_000 / CODE_BACK_MS * 3 < 1_000) };
    }

    #[test]
    fn a_flood_of_failures_in_one_moment_drops_half_of_the_keys() {
        let mut limiter = Limiter::default();
        let guessed = Key::of([198, 51, 100, 7].into());
        for _ in 0..TRIES {
            limiter.count(std::slice::from_ref(&guessed), 1);
        }
        for number in 0..ENTRIES_MAX as u32 {
            limiter.count(&[Key::of(number.to_be_bytes().into())], 1);
        }
        assert_eq!(limiter.until.len(), ENTRIES_MAX / 2 + 1);
        assert!(limiter.wait(&[guessed], 1).is_some());
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
