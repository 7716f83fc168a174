//! What was decided, why, and how long it took: the newest logons of a farm.

use crate::user::UserId;
use part::latency::Latency;
use part::report::Moment;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Steps that are kept.
const STEPS_MAX: usize = 2_000;
/// How long the latency of a decision counts: one to two of these.
const WINDOW: Duration = Duration::from_secs(3_600);
/// Steps of one user in an answer.
const SHOWN_MAX: usize = 50;

/// One thing that a client did, and what came of it.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// When.
    pub at: Moment,
    /// Where the client is.
    pub from: String,
    /// What it did: `logon`, `token`.
    pub asked: String,
    /// What it got: `redirected to ts1`.
    pub got: String,
    /// Why.
    pub why: String,
    /// The node where it was; empty: this one.
    #[serde(default)]
    pub node: String,
}

/// A step that is kept.
#[derive(Debug)]
struct Kept {
    user: UserId,
    step: Step,
    /// Its number, if it was at this node.
    number: Option<u64>,
}

/// The newest steps of all users.
#[derive(Debug)]
pub struct History {
    steps: VecDeque<Kept>,
    last: u64,
    latency: Latency,
}

impl Default for History {
    fn default() -> History {
        History {
            steps: VecDeque::new(),
            last: 0,
            latency: Latency::new(WINDOW),
        }
    }
}

impl History {
    /// Adds a step of a user.
    pub fn add(&mut self, user: UserId, step: Step) {
        self.last += 1;
        let number = Some(self.last);
        self.push(Kept { user, step, number });
    }

    /// Adds a step at another node.
    pub fn add_far(&mut self, user: UserId, step: Step) {
        let number = None;
        self.push(Kept { user, step, number });
    }

    /// Adds how long a decision at this node took, which ended now.
    pub fn decided(&mut self, took: Duration, now: Instant) {
        self.latency.add(took, now);
    }

    /// Returns the latency, in microseconds, that this percentage of the decisions of the last one to two
    /// hours did not exceed ([`Latency::quantile`]). None: there were no decisions.
    pub fn decision_us(&mut self, percent: u64, now: Instant) -> Option<u64> {
        self.latency.quantile(percent, now)
    }

    fn push(&mut self, kept: Kept) {
        if self.steps.len() >= STEPS_MAX {
            self.steps.pop_front();
        }
        self.steps.push_back(kept);
    }

    /// Some steps at this node behind the one with this number, with theirs.
    pub fn behind(&self, number: u64, count: usize) -> Vec<(u64, UserId, Step)> {
        let own = self.steps.iter();
        let own = own.filter_map(|one| Some((one.number?, one.user, &one.step)));
        let newer = own.filter(|(own, ..)| *own > number).take(count);
        newer
            .map(|(number, user, step)| (number, user, step.clone()))
            .collect()
    }

    /// The number of the last step at this node.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The newest steps of a user, the newest last.
    pub fn of(&self, user: UserId) -> Vec<Step> {
        let own = self.steps.iter().filter(|one| one.user == user);
        let mut steps: Vec<Step> = own.map(|one| one.step.clone()).collect();
        // Those of another node come a moment later.
        steps.sort_by_key(|step| step.at.boottime_ms);
        steps.drain(..steps.len().saturating_sub(SHOWN_MAX));
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_steps_of_a_user_are_kept_in_their_order() {
        let mut history = History::default();
        let user = |number: usize| UserId([u8::try_from(number % 2).unwrap(); 16]);
        let step = |number: usize| Step {
            at: Moment::default(),
            from: String::new(),
            asked: number.to_string(),
            got: String::new(),
            why: String::new(),
            node: String::new(),
        };
        (0..STEPS_MAX + 7).for_each(|number| history.add(user(number), step(number)));
        assert_eq!(history.steps.len(), STEPS_MAX);
        let last = history.of(user(0));
        assert_eq!(last.len(), SHOWN_MAX);
        assert_eq!(last.last(), Some(&step(STEPS_MAX + 6)));
    }
}
