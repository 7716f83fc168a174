//! Sessions that have ended before their time, for all processes that accept their tokens.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Sessions that are named.
const ENDED_MAX: usize = 4_096;
/// Sessions of one user that are named.
const OF_USER_MAX: usize = 16;

/// What distinguishes a session, or a user all of whose sessions have ended.
pub type Id = [u8; 16];

/// The sessions that have ended before their time. With too many of a user, the user's sessions that would
/// last no longer than the first of these count as ended, and with too many of all users those of everybody: so
/// none is ever accepted again. Two processes that hear of the same ends know the same, in whichever order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ended {
    named: BTreeMap<Id, End>,
    /// Sessions that last no longer have ended.
    before: u64,
    last: u64,
}

/// The end of a session, or of all sessions of a user.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct End {
    /// Until when it would have lasted, seconds since 1970.
    until: u64,
    /// The number of its end here.
    number: u64,
    /// The user of a session.
    of: Option<Id>,
}

/// Ends of sessions for another process.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Ends {
    /// Sessions and users, and until when they would have lasted, seconds since 1970.
    pub named: Vec<(Id, u64)>,
    /// The users of the sessions among them.
    #[serde(default)]
    pub users: BTreeMap<Id, Id>,
    /// Sessions that last no longer have ended.
    pub before: u64,
}

impl Ended {
    /// With what a former process kept.
    pub(crate) fn kept(ends: &Ends) -> Ended {
        let mut ended = Ended::default();
        ended.take(ends, 0);
        ended
    }

    /// All that have ended, by their names.
    pub(crate) fn to_keep(&self) -> Ends {
        self.ends(self.named.iter())
    }

    fn ends<'e>(&self, which: impl Iterator<Item = (&'e Id, &'e End)>) -> Ends {
        let mut ends = Ends {
            before: self.before,
            ..Ends::default()
        };
        for (id, end) in which {
            ends.named.push((*id, end.until));
            ends.users.extend(end.of.map(|of| (*id, of)));
        }
        ends
    }

    /// Ends all sessions of a user that would last no longer.
    pub(crate) fn end(&mut self, user: Id, until: u64, now: u64) {
        self.end_of((user, None), until, now);
    }

    /// Ends a session of a user that would have lasted until then.
    pub(crate) fn end_of(&mut self, (id, of): (Id, Option<Id>), until: u64, now: u64) {
        let has_ended = of.is_some_and(|user| self.has(&user, until)) || self.has(&id, until);
        if until <= now || has_ended {
            return;
        }
        // Those of a user all of whose sessions have ended need not be named.
        self.named
            .retain(|_, end| end.until > now && (end.of != Some(id) || end.until > until));
        self.last += 1;
        let number = self.last;
        self.named.insert(id, End { until, number, of });
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

    /// Whether a session that would last until then has ended, or all of a user that would last no longer.
    pub(crate) fn has(&self, id: &Id, until: u64) -> bool {
        until <= self.last_of(id)
    }

    /// Until when sessions with this name would have lasted that have ended; zero: none has.
    pub(crate) fn last_of(&self, id: &Id) -> u64 {
        let named = self.named.get(id).map(|end| end.until);
        named.unwrap_or_default().max(self.before)
    }

    /// Takes in what another process knows.
    pub fn take(&mut self, ends: &Ends, now: u64) {
        self.raise(ends.before);
        for (id, until) in &ends.named {
            let user = ends.users.get(id).copied();
            self.end_of((*id, user), *until, now);
        }
    }

    /// The number of the last change here.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// What came after the change with this number, `max` sessions at most, and the number up to which it is.
    pub fn after(&self, told: u64, max: usize) -> (Ends, u64) {
        let mut news: Vec<_> = { self.named.iter() }
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
    fn with_too_many_ends_none_is_accepted_again() {
        let mut ended = Ended::default();
        for number in 0..ENDED_MAX + 100 {
            ended.end(id(number), 1_000 + number as u64, 10);
        }
        assert!(ended.named.len() <= ENDED_MAX);
        assert!((0..ENDED_MAX + 100).all(|one| ended.has(&id(one), 1_000 + one as u64)));
        // Whose session began after the first of these stays.
        assert!(!ended.has(&id(9_999_999), 1_100));
        // What is over needs no room.
        ended.end(id(0), 90_000, 80_000);
        assert_eq!(ended.named.len(), 1);
        let next = Ended::kept(&ended.to_keep());
        assert!(next.has(&id(0), 90_000) && next.has(&id(1), 1_001) && !next.has(&id(1), 1_100));
    }

    #[test]
    fn another_process_gets_each_end_once_in_pieces() {
        let (mut one, mut two) = (Ended::default(), Ended::default());
        (0..10).for_each(|number| one.end(id(number), 100, 10));
        one.raise(50);
        let mut told = 0;
        let mut pieces = 0;
        while told < one.last() {
            let (ends, upto) = one.after(told, 4);
            assert!(ends.named.len() <= 4 && upto > told);
            two.take(&ends, 10);
            (told, pieces) = (upto, pieces + 1);
        }
        assert_eq!((pieces, two.to_keep()), (3, one.to_keep()));
        // What it knows changes nothing.
        let last = two.last();
        two.take(&one.after(0, 100).0, 10);
        assert_eq!(two.last(), last);
    }

    #[test]
    fn too_many_ends_of_a_user_end_sessions_of_this_user_only() {
        let mut ended = Ended::default();
        let (user, other) = (id(0), id(1));
        ended.end_of((id(2), Some(other)), 900, 10);
        for number in 0..2 * ENDED_MAX {
            ended.end_of((id(number + 3), Some(user)), 1_000 + number as u64, 10);
        }
        assert_eq!((ended.before, ended.named.len()), (0, OF_USER_MAX + 2));
        assert!((0..2 * ENDED_MAX).all(|one| {
            let until = 1_000 + one as u64;
            ended.has(&id(one + 3), until) || ended.has(&user, until)
        }));
        assert!(!ended.has(&other, 900) && !ended.has(&user, 999 + 2 * ENDED_MAX as u64));
        // What ends all sessions of a user names none.
        ended.end(user, 90_000, 10);
        assert_eq!(ended.named.len(), 2);
    }

    #[test]
    fn processes_know_the_same_in_whichever_order_they_hear_of_ends() {
        let sorted = |mut ends: Ends| {
            ends.named.sort_unstable();
            ends
        };
        for seed in 0..200_u64 {
            let mut number = seed;
            let mut random = |max: u64| {
                number = { number.wrapping_mul(6_364_136_223_846_793_005) }
                    .wrapping_add(1_442_695_040_888_963_407);
                (number >> 33) % max
            };
            let mut nodes = [Ended::default(), Ended::default(), Ended::default()];
            let mut all = Ended::default();
            for session in 10..160 {
                let (user, until) = (id(random(3) as usize), 100 + random(60));
                let which = match random(40) {
                    0 => (user, None),
                    _ => (id(session), Some(user)),
                };
                all.end_of(which, until, 1);
                nodes[random(3) as usize].end_of(which, until, 1);
                if random(20) == 0 {
                    let (from, to) = (random(3) as usize, random(3) as usize);
                    let ends = nodes[from].after(0, 1_000).0;
                    nodes[to].take(&ends, 1);
                }
            }
            for (from, to) in [(2, 0), (1, 0), (0, 2), (0, 1)] {
                let ends = nodes[from].after(0, 1_000).0;
                nodes[to].take(&ends, 1);
            }
            for node in &nodes {
                assert_eq!(sorted(node.to_keep()), sorted(all.to_keep()), "seed {seed}");
            }
        }
    }
}
