//! Sessions that have ended before their time, for all processes that accept their tokens.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Sessions that are named.
const ENDED_MAX: usize = 4_096;

/// What distinguishes a session, or a user all of whose sessions have ended.
pub type Id = [u8; 16];

/// The sessions that have ended before their time. With too many of them, all sessions that would last no
/// longer than the first of these count as ended, so that none is ever accepted again.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ended {
    /// Until when each would have lasted, seconds since 1970, and the number of its end here.
    named: BTreeMap<Id, (u64, u64)>,
    /// Sessions that last no longer have ended.
    before: u64,
    last: u64,
}

/// Ends of sessions for another process.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Ends {
    /// Sessions, and until when they would have lasted, seconds since 1970.
    pub named: Vec<(Id, u64)>,
    /// Sessions that last no longer have ended.
    pub before: u64,
}

impl Ended {
    /// With what a former process kept.
    pub(crate) fn kept(named: BTreeMap<Id, u64>, before: u64) -> Ended {
        let mut ended = Ended {
            before,
            ..Ended::default()
        };
        for (id, until) in named {
            ended.end(id, until, 0);
        }
        ended
    }

    /// The named ones and until when they would have lasted, and before when all have ended.
    pub(crate) fn to_keep(&self) -> (BTreeMap<Id, u64>, u64) {
        let named = { self.named.iter() }.map(|(id, (until, _))| (*id, *until));
        (named.collect(), self.before)
    }

    /// Ends a session that would have lasted until then.
    pub(crate) fn end(&mut self, id: Id, until: u64, now: u64) {
        if until <= now || self.has(&id, until) {
            return;
        }
        self.named.retain(|_, (until, _)| *until > now);
        self.last += 1;
        self.named.insert(id, (until, self.last));
        if self.named.len() > ENDED_MAX
            && let Some(first) = self.named.values().map(|(until, _)| *until).min()
        {
            self.raise(first);
        }
    }

    fn raise(&mut self, before: u64) {
        if before > self.before {
            self.before = before;
            self.last += 1;
            self.named.retain(|_, (until, _)| *until > before);
        }
    }

    /// Whether a session that would last until then has ended, or all of a user that would last no longer.
    pub(crate) fn has(&self, id: &Id, until: u64) -> bool {
        until <= self.last_of(id)
    }

    /// Until when sessions with this name would have lasted that have ended; zero: none has.
    pub(crate) fn last_of(&self, id: &Id) -> u64 {
        let named = self.named.get(id).map(|(until, _)| *until);
        named.unwrap_or_default().max(self.before)
    }

    /// Takes in what another process knows.
    pub fn take(&mut self, ends: &Ends, now: u64) {
        self.raise(ends.before);
        for (id, until) in &ends.named {
            self.end(*id, *until, now);
        }
    }

    /// The number of the last change here.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// What came after the change with this number, `max` sessions at most, and the number up to which it is.
    pub fn after(&self, told: u64, max: usize) -> (Ends, u64) {
        let mut news: Vec<_> = { self.named.iter() }
            .filter(|(_, (_, number))| *number > told)
            .collect();
        news.sort_unstable_by_key(|(_, (_, number))| *number);
        let is_whole = news.len() <= max;
        news.truncate(max);
        let upto = match news.last() {
            Some((_, (_, number))) if !is_whole => *number,
            _ => self.last,
        };
        let named = news.into_iter().map(|(id, (until, _))| (*id, *until));
        let before = self.before;
        (
            Ends {
                named: named.collect(),
                before,
            },
            upto,
        )
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
        let (named, before) = ended.to_keep();
        let next = Ended::kept(named, before);
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
}
