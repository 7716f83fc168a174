//! Records recent logons of a farm: which host was decided, why, and how long that took.

use crate::user::UserId;
use part::latency::Latency;
use part::report::{Moment, span};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

const STEPS_MAX: usize = 2_000;
/// Window of the latency statistics. A decision is counted until the end of the window after its
/// own.
const WINDOW: Duration = Duration::from_secs(3_600);
const SHOWN_MAX: usize = 50;
/// Limit of similar steps. Older ones are merged into one step with a count, so that a client that
/// repeats an action displaces no other steps.
const ALIKE_MAX: usize = 8;

/// An action of a client, and its result.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct HistoryStep {
    pub at: Moment,
    pub from: String,
    /// Type of the action, such as `logon` or `token`.
    pub asked: String,
    pub got: String,
    pub why: String,
    /// Node of the action; empty: this node.
    #[serde(default)]
    pub node: String,
}

#[derive(Debug)]
struct HistoryEntry {
    user: UserId,
    step: HistoryStep,
    /// Sequence number, if the step happened at this node.
    number: Option<u64>,
    /// Number of merged steps.
    times: u64,
    first: Moment,
}

impl HistoryEntry {
    fn is_like(&self, step: &HistoryStep) -> bool {
        fn what(one: &HistoryStep) -> [&str; 5] {
            [&one.from, &one.asked, &one.got, &one.why, &one.node]
        }
        what(&self.step) == what(step)
    }

    fn shown(&self) -> HistoryStep {
        let mut step = self.step.clone();
        if self.times > 1 {
            let before = step.at.boottime_ms.saturating_sub(self.first.boottime_ms);
            let space = if step.why.is_empty() { "" } else { " " };
            let often = format!("{space}({} times in {})", self.times, span(before));
            step.why.push_str(&often);
        }
        step
    }
}

/// Recent steps of all users.
#[derive(Debug)]
pub struct History {
    steps: VecDeque<HistoryEntry>,
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
    pub fn add(&mut self, user: UserId, step: HistoryStep) {
        tracing::debug!(
            user = ?user,
            client = step.from,
            action = step.asked,
            result = step.got,
            reason = step.why,
            "action of a client"
        );
        self.last += 1;
        self.push(user, step, Some(self.last));
    }

    pub fn add_far(&mut self, user: UserId, step: HistoryStep) {
        self.push(user, step, None);
    }

    /// Adds the duration of a decision at this node, which ended at `now`.
    pub fn decided(&mut self, took: Duration, now: Instant) {
        self.latency.add(took, now);
    }

    /// Returns the latency, in microseconds, that this percentage of the decisions of the last one
    /// to two hours did not exceed ([`Latency::quantile`]). None: there were no decisions.
    pub fn decision_us(&mut self, percent: u64, now: Instant) -> Option<u64> {
        self.latency.quantile(percent, now)
    }

    fn push(&mut self, user: UserId, step: HistoryStep, number: Option<u64>) {
        let own = self.steps.iter().enumerate().rev();
        let own = own.filter(|(_, one)| one.user == user).take(SHOWN_MAX);
        let alike = own.filter(|(_, one)| one.is_like(&step));
        let alike: Vec<usize> = alike.map(|(at, _)| at).take(ALIKE_MAX).collect();
        if let [.., second, first] = alike[..]
            && alike.len() == ALIKE_MAX
            && let Some(before) = self.steps.remove(first)
            // Subtracts one, because the removal above has shifted the step by one.
            && let Some(second) = self.steps.get_mut(second.saturating_sub(1))
        {
            second.times = second.times.saturating_add(before.times);
            second.first = before.first;
        }
        let kept = HistoryEntry {
            user,
            number,
            times: 1,
            first: step.at,
            step,
        };
        if self.steps.len() >= STEPS_MAX {
            self.steps.pop_front();
        }
        self.steps.push_back(kept);
    }

    pub fn knows(&self, user: UserId) -> bool {
        self.steps.iter().any(|one| one.user == user)
    }

    /// Returns up to `count` steps of this node after the step with this number, with their
    /// numbers.
    pub fn behind(&self, number: u64, count: usize) -> Vec<(u64, UserId, HistoryStep)> {
        let own = self.steps.iter();
        let own = own.filter_map(|one| Some((one.number?, one.user, &one.step)));
        let newer = own.filter(|(own, ..)| *own > number).take(count);
        newer
            .map(|(number, user, step)| (number, user, step.clone()))
            .collect()
    }

    pub fn last(&self) -> u64 {
        self.last
    }

    /// Returns the recent steps of a user, the newest last.
    pub fn of(&self, user: UserId) -> Vec<HistoryStep> {
        let own = self.steps.iter().filter(|one| one.user == user);
        let mut steps: Vec<HistoryStep> = own.map(HistoryEntry::shown).collect();
        // Sorts the steps, because those of other nodes arrive a moment later.
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
        let step = |number: usize| HistoryStep {
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

    #[test]
    fn repeated_steps_are_counted_and_evict_nothing() {
        let mut history = History::default();
        let user = UserId([1; 16]);
        let step = |why: &str, at_ms: u64| HistoryStep {
            at: Moment {
                boottime_ms: at_ms,
                ..Moment::default()
            },
            from: String::new(),
            asked: String::new(),
            got: String::new(),
            why: why.to_owned(),
            node: String::new(),
        };
        history.add(user, step("first", 0));
        for number in 0..3_000 {
            history.add(user, step("one", number * 20));
            history.add(user, step("other", number * 20));
        }
        let why: Vec<String> = history.of(user).into_iter().map(|one| one.why).collect();
        // The newest steps of each kind in their order, and the older ones merged into one line.
        assert_eq!(why.len(), 1 + 2 * ALIKE_MAX);
        assert_eq!(why[0], "first");
        assert_eq!(why[1], "one (2993 times in 59 s)");
        assert_eq!(why[2], "other (2993 times in 59 s)");
        assert_eq!(why[3..5], ["one", "other"]);
        // The other nodes receive the newest of them.
        let told: Vec<u64> = history.behind(0, 3).iter().map(|(at, ..)| *at).collect();
        assert_eq!(told, [1, 5_986, 5_987]);
        assert!(history.knows(user) && !history.knows(UserId([2; 16])));
    }
}
