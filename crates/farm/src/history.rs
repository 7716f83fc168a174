//! What was decided, and why: the newest logons of a farm.

use crate::user::UserId;
use part::report::Moment;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Steps that are kept.
const STEPS_MAX: usize = 2_000;
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
}

/// The newest steps of all users.
#[derive(Debug, Default)]
pub struct History(VecDeque<(UserId, Step)>);

impl History {
    /// Adds a step of a user.
    pub fn add(&mut self, user: UserId, step: Step) {
        if self.0.len() >= STEPS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((user, step));
    }

    /// The newest steps of a user, the newest last.
    pub fn of(&self, user: UserId) -> Vec<Step> {
        let newest = self.0.iter().rev().filter(|(id, _)| *id == user);
        let mut steps: Vec<Step> = newest
            .take(SHOWN_MAX)
            .map(|(_, step)| step.clone())
            .collect();
        steps.reverse();
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
        };
        (0..STEPS_MAX + 7).for_each(|number| history.add(user(number), step(number)));
        assert_eq!(history.0.len(), STEPS_MAX);
        let last = history.of(user(0));
        assert_eq!(last.len(), SHOWN_MAX);
        assert_eq!(last.last(), Some(&step(STEPS_MAX + 6)));
    }
}
