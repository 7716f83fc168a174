//! Counts the age of each open invitation. Every member counts from the time when it learned of the
//! invitation, and keeps the ages on disk. So neither another leader nor a restart extends the
//! validity of a token.
//!
//! While the member did not run, the wall clock counts. A clock that was set back adds nothing. One
//! that was set forward ends a token early, and `cluster invite` prints another one.

use crate::member::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

pub(super) const FILE: &str = "invitations";
const SAVE_EVERY: Duration = Duration::from_secs(5);

#[derive(Default, Serialize, Deserialize)]
struct StoredAges {
    at_s: i64,
    /// Age of each invitation, milliseconds, by the SHA-256 of its token.
    ages_ms: BTreeMap<String, u64>,
}

#[derive(Debug, Default)]
pub(super) struct Invitations {
    ages: BTreeMap<Digest, (Duration, Instant)>,
    saved: Option<Instant>,
}

impl Invitations {
    /// Loads the ages from a file; an invalid file counts as missing.
    pub(super) fn load(bytes: &[u8], now_s: i64) -> Invitations {
        let kept: StoredAges = serde_json::from_slice(bytes).unwrap_or_default();
        let away = u64::try_from(now_s.saturating_sub(kept.at_s)).unwrap_or(0);
        let now = Instant::now();
        let ages = kept.ages_ms.iter().filter_map(|(token, ms)| {
            let age = Duration::from_millis(*ms).saturating_add(Duration::from_secs(away));
            Some((Digest::from_hex(token)?, (age, now)))
        });
        Invitations {
            ages: ages.collect(),
            saved: None,
        }
    }

    /// Sets the open invitations. Returns the content of the file if it must be written.
    pub(super) fn follow<'t>(
        &mut self,
        open: impl Iterator<Item = &'t Digest> + Clone,
        now_s: i64,
    ) -> Option<Vec<u8>> {
        let before: Vec<Digest> = self.ages.keys().copied().collect();
        let now = Instant::now();
        for token in open.clone() {
            self.ages.entry(*token).or_insert((Duration::ZERO, now));
        }
        self.ages
            .retain(|token, _| open.clone().any(|open| open == token));
        let changed = !before.iter().eq(self.ages.keys());
        let due =
            !self.ages.is_empty() && self.saved.is_none_or(|saved| saved.elapsed() >= SAVE_EVERY);
        if !changed && !due {
            return None;
        }
        self.saved = Some(now);
        let ages_ms = self.ages.keys().map(|token| {
            let ms = u64::try_from(self.age(token).as_millis()).unwrap_or(u64::MAX);
            (token.to_string(), ms)
        });
        let kept = StoredAges {
            at_s: now_s,
            ages_ms: ages_ms.collect(),
        };
        serde_json::to_vec(&kept).ok()
    }

    /// Returns the age of an invitation; zero if it is unknown.
    pub(super) fn age(&self, token: &Digest) -> Duration {
        let known = self.ages.get(token);
        known.map_or(Duration::ZERO, |(age, at)| age.saturating_add(at.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: Digest = Digest([7; 32]);
    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn age_includes_the_time_of_a_restart() {
        let mut first = Invitations::default();
        let kept = first.follow([TOKEN].iter(), 1_000).unwrap();
        assert!(
            first.follow([TOKEN].iter(), 1_000).is_none(),
            "just written"
        );
        tokio::time::advance(MINUTE).await;
        assert_eq!(first.age(&TOKEN), MINUTE);
        assert!(Invitations::load(&kept, 1_000).age(&TOKEN) < MINUTE);
        let kept = first.follow([TOKEN].iter(), 1_060).unwrap();
        assert_eq!(
            Invitations::load(&kept, 1_070).age(&TOKEN),
            MINUTE + Duration::from_secs(10)
        );
        // A clock that was set back adds nothing.
        assert_eq!(Invitations::load(&kept, 5).age(&TOKEN), MINUTE);
        assert_eq!(Invitations::load(b"{]", 5).age(&TOKEN), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_was_used_is_forgotten() {
        let mut invitations = Invitations::default();
        invitations.follow([TOKEN].iter(), 0);
        tokio::time::advance(MINUTE).await;
        assert!(invitations.follow([].iter(), 60).is_some());
        invitations.follow([TOKEN].iter(), 60);
        assert_eq!(invitations.age(&TOKEN), Duration::ZERO);
    }
}
