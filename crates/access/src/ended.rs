//! Remembers the sessions that ended before their expiry (a sign-out, a removed user), so that no
//! process accepts their tokens again. All processes that accept the tokens share the list.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const ENDED_MAX: usize = 4_096;
const OF_USER_MAX: usize = 16;

/// Identifier of a session; or of a user, which stands for all sessions of that user.
pub type Id = [u8; 16];

/// Sessions that have ended before their expiry. The list is bounded. If a user has too many
/// entries, all sessions of the user that expire no later than the earliest of these entries count
/// as ended; if there are too many entries in total, the same applies to all users. So an ended
/// session is never accepted again. Two processes that receive the same ends reach the same state,
/// in any order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EndedSessions {
    named: BTreeMap<Id, SessionEnd>,
    /// All sessions that expire no later than this have ended.
    before: u64,
    last: u64,
}

/// Early end of a session, or of all sessions of a user.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct SessionEnd {
    /// Original expiry, seconds since 1970.
    until: u64,
    /// Sequence number of this end in this process.
    number: u64,
    /// User of the session; None if the entry stands for all sessions of a user.
    of: Option<Id>,
}

/// Ends of sessions, to be sent to another process.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SessionEndBatch {
    /// Sessions and users with their original expiry, seconds since 1970.
    pub named: Vec<(Id, u64)>,
    #[serde(default)]
    pub users: BTreeMap<Id, Id>,
    pub before: u64,
}

impl EndedSessions {
    /// Restores the ends that another process saved.
    pub(crate) fn from_saved(ends: &SessionEndBatch) -> EndedSessions {
        let mut ended = EndedSessions::default();
        ended.merge_ends(ends, 0);
        ended
    }

    pub(crate) fn to_saved(&self) -> SessionEndBatch {
        self.ends(self.named.iter())
    }

    fn ends<'e>(&self, which: impl Iterator<Item = (&'e Id, &'e SessionEnd)>) -> SessionEndBatch {
        let mut ends = SessionEndBatch {
            before: self.before,
            ..SessionEndBatch::default()
        };
        for (id, end) in which {
            ends.named.push((*id, end.until));
            ends.users.extend(end.of.map(|of| (*id, of)));
        }
        ends
    }

    /// Ends all sessions of a user that expire no later than `until`.
    pub(crate) fn end(&mut self, user: Id, until: u64, now: u64) {
        self.end_of(user, None, until, now);
    }

    /// Ends a session of a user that would expire at `until`.
    pub(crate) fn end_of(&mut self, id: Id, of: Option<Id>, until: u64, now: u64) {
        let has_ended =
            of.is_some_and(|user| self.has_ended(&user, until)) || self.has_ended(&id, until);
        if until <= now || has_ended {
            return;
        }
        // Removes the entries of single sessions that the new entry of their user includes, and
        // those that have expired.
        self.named
            .retain(|_, end| end.until > now && (end.of != Some(id) || end.until > until));
        self.last += 1;
        let number = self.last;
        self.named.insert(id, SessionEnd { until, number, of });
        if let Some(user) = of {
            let own = self.named.values().filter(|end| end.of == of);
            let own: Vec<u64> = own.map(|end| end.until).collect();
            if own.len() > OF_USER_MAX
                && let Some(first) = own.into_iter().min()
            {
                self.end(user, first, now);
            }
        }
        if self.named.len() > ENDED_MAX
            && let Some(first) = self.named.values().map(|end| end.until).min()
        {
            self.raise(first);
        }
    }

    fn raise(&mut self, before: u64) {
        if before > self.before {
            self.before = before;
            self.last += 1;
            self.named.retain(|_, end| end.until > before);
        }
    }

    /// Returns whether the session with this expiry has ended, or all sessions of the user that
    /// expire no later.
    pub(crate) fn has_ended(&self, id: &Id, until: u64) -> bool {
        until <= self.last_of(id)
    }

    /// Returns the latest expiry of the ended sessions with this identifier. Zero if none has
    /// ended.
    pub(crate) fn last_of(&self, id: &Id) -> u64 {
        let named = self.named.get(id).map(|end| end.until);
        named.unwrap_or_default().max(self.before)
    }

    /// Merges the ends that another process knows.
    pub fn merge_ends(&mut self, ends: &SessionEndBatch, now: u64) {
        self.raise(ends.before);
        for (id, until) in &ends.named {
            let user = ends.users.get(id).copied();
            self.end_of(*id, user, *until, now);
        }
    }

    pub fn last(&self) -> u64 {
        self.last
    }

    /// Returns at most `max` ends after the change with the number `told`, and the number of the
    /// last change that they include.
    pub fn after(&self, told: u64, max: usize) -> (SessionEndBatch, u64) {
        let mut news: Vec<_> = self
            .named
            .iter()
            .filter(|(_, end)| end.number > told)
            .collect();
        news.sort_unstable_by_key(|(_, end)| end.number);
        let is_whole = news.len() <= max;
        news.truncate(max);
        let upto = match news.last() {
            Some((_, end)) if !is_whole => end.number,
            _ => self.last,
        };
        (self.ends(news.into_iter()), upto)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> Id {
        (number as u128).to_le_bytes()
    }

    #[test]
    fn ended_sessions_stay_ended_when_the_list_is_full() {
        let mut ended = EndedSessions::default();
        for number in 0..ENDED_MAX + 100 {
            ended.end(id(number), 1_000 + number as u64, 10);
        }
        assert!(ended.named.len() <= ENDED_MAX);
        assert!((0..ENDED_MAX + 100).all(|one| ended.has_ended(&id(one), 1_000 + one as u64)));
        // A session that was not ended stays valid although too many others of other users have
        // ended, because it expires later than the earliest of those.
        assert!(!ended.has_ended(&id(9_999_999), 1_100));
        ended.end(id(0), 90_000, 80_000);
        assert_eq!(ended.named.len(), 1);
        let next = EndedSessions::from_saved(&ended.to_saved());
        assert!(
            next.has_ended(&id(0), 90_000)
                && next.has_ended(&id(1), 1_001)
                && !next.has_ended(&id(1), 1_100)
        );
    }

    #[test]
    fn another_process_gets_each_ended_session_once() {
        let (mut one, mut two) = (EndedSessions::default(), EndedSessions::default());
        (0..10).for_each(|number| one.end(id(number), 100, 10));
        one.raise(50);
        let mut told = 0;
        let mut pieces = 0;
        while told < one.last() {
            let (ends, upto) = one.after(told, 4);
            assert!(ends.named.len() <= 4 && upto > told);
            two.merge_ends(&ends, 10);
            (told, pieces) = (upto, pieces + 1);
        }
        assert_eq!((pieces, two.to_saved()), (3, one.to_saved()));
        // Merging ends that are already known changes nothing.
        let last = two.last();
        two.merge_ends(&one.after(0, 100).0, 10);
        assert_eq!(two.last(), last);
    }

    #[test]
    fn too_many_sign_outs_end_sessions_of_this_user_only() {
        let mut ended = EndedSessions::default();
        let (user, other) = (id(0), id(1));
        ended.end_of(id(2), Some(other), 900, 10);
        for number in 0..2 * ENDED_MAX {
            ended.end_of(id(number + 3), Some(user), 1_000 + number as u64, 10);
        }
        assert_eq!((ended.before, ended.named.len()), (0, OF_USER_MAX + 2));
        assert!((0..2 * ENDED_MAX).all(|one| {
            let until = 1_000 + one as u64;
            ended.has_ended(&id(one + 3), until) || ended.has_ended(&user, until)
        }));
        assert!(
            !ended.has_ended(&other, 900) && !ended.has_ended(&user, 999 + 2 * ENDED_MAX as u64)
        );
        // The end of all sessions of a user removes the entries of its sessions.
        ended.end(user, 90_000, 10);
        assert_eq!(ended.named.len(), 2);
    }

    #[test]
    fn processes_agree_in_any_order_of_ended_sessions() {
        let sorted = |mut ends: SessionEndBatch| {
            ends.named.sort_unstable();
            ends
        };
        for seed in 0..200_u64 {
            let mut number = seed;
            let mut random = |max: u64| {
                number = number
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (number >> 33) % max
            };
            let mut nodes = [
                EndedSessions::default(),
                EndedSessions::default(),
                EndedSessions::default(),
            ];
            let mut all = EndedSessions::default();
            for session in 10..160 {
                let (user, until) = (id(random(3) as usize), 100 + random(60));
                let (ended, of) = match random(40) {
                    0 => (user, None),
                    _ => (id(session), Some(user)),
                };
                all.end_of(ended, of, until, 1);
                nodes[random(3) as usize].end_of(ended, of, until, 1);
                if random(20) == 0 {
                    let (from, to) = (random(3) as usize, random(3) as usize);
                    let ends = nodes[from].after(0, 1_000).0;
                    nodes[to].merge_ends(&ends, 1);
                }
            }
            for (from, to) in [(2, 0), (1, 0), (0, 2), (0, 1)] {
                let ends = nodes[from].after(0, 1_000).0;
                nodes[to].merge_ends(&ends, 1);
            }
            for node in &nodes {
                assert_eq!(
                    sorted(node.to_saved()),
                    sorted(all.to_saved()),
                    "seed {seed}"
                );
            }
        }
    }
}
