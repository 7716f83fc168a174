//! What each machine asked and was answered, for `evenkeel boot why`: bounded, the oldest goes.

use crate::mac::Mac;
use part::report::Moment;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, VecDeque};

/// Machines that are remembered.
const MACHINES_MAX: usize = 4_096;
/// Packets and fetches of a machine.
const STEPS_MAX: usize = 64;

/// One thing that a machine asked.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// When.
    pub at: Moment,
    /// What it asked: `DISCOVER by PXE`.
    pub asked: String,
    /// What it was answered: `OFFER 10.20.0.107`; empty: nothing.
    pub answered: String,
    /// Why.
    pub why: String,
    /// How often in a row.
    pub times: u32,
}

/// What is remembered of one machine.
#[derive(Clone, Debug, Default)]
struct Machine {
    steps: VecDeque<Step>,
    /// The number of the last step of all: the lowest is forgotten first.
    last: u64,
}

/// What all machines asked.
#[derive(Clone, Debug, Default)]
pub struct History {
    machines: HashMap<Mac, Machine>,
    number: u64,
}

impl History {
    /// Remembers a step.
    pub fn add(&mut self, mac: Mac, step: Step) {
        self.number += 1;
        if self.machines.len() >= MACHINES_MAX && !self.machines.contains_key(&mac) {
            self.forget();
        }
        let machine = self.machines.entry(mac).or_default();
        machine.last = self.number;
        // What a machine repeats is one step, with the time of the last.
        if let Some(before) = machine.steps.back_mut()
            && (&before.asked, &before.answered, &before.why)
                == (&step.asked, &step.answered, &step.why)
        {
            before.at = step.at;
            before.times = before.times.saturating_add(step.times);
            return;
        }
        if machine.steps.len() >= STEPS_MAX {
            machine.steps.pop_front();
        }
        machine.steps.push_back(step);
    }

    /// Forgets the quarter that was silent longest, so that a flood costs little for each packet.
    fn forget(&mut self) {
        let mut lasts: Vec<u64> = self.machines.values().map(|machine| machine.last).collect();
        lasts.sort_unstable();
        let limit = lasts.get(lasts.len() / 4).copied().unwrap_or(u64::MAX);
        self.machines.retain(|_, machine| machine.last > limit);
    }

    /// What a machine asked, the newest last.
    pub fn of(&self, mac: Mac) -> Vec<Step> {
        let machine = self.machines.get(&mac);
        machine.map_or_else(Vec::new, |machine| machine.steps.iter().cloned().collect())
    }

    /// The last step of each machine.
    pub fn last(&self) -> impl Iterator<Item = (Mac, &Step)> {
        self.machines
            .iter()
            .filter_map(|(mac, machine)| Some((*mac, machine.steps.back()?)))
    }

    /// The last step of one machine.
    pub fn last_of(&self, mac: Mac) -> Option<&Step> {
        self.machines.get(&mac)?.steps.back()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(asked: &str) -> Step {
        Step {
            at: Moment::default(),
            asked: asked.to_owned(),
            answered: String::new(),
            why: String::new(),
            times: 1,
        }
    }

    fn mac(number: u32) -> Mac {
        let [a, b, c, d] = number.to_be_bytes();
        Mac([2, 0, a, b, c, d])
    }

    #[test]
    fn a_repeated_step_is_one() {
        let mut history = History::default();
        for asked in ["a", "a", "b", "a"] {
            history.add(mac(1), step(asked));
        }
        let asked: Vec<String> = history
            .of(mac(1))
            .into_iter()
            .map(|step| step.asked)
            .collect();
        assert_eq!(asked, ["a", "b", "a"]);
        assert_eq!(history.of(mac(2)), []);
    }

    #[test]
    fn a_flood_of_machines_and_steps_is_bounded_and_the_newest_stay() {
        let mut history = History::default();
        for number in 0..20_000 {
            history.add(mac(number), step("a"));
            history.add(mac(7), step(&number.to_string()));
        }
        assert!(history.machines.len() <= MACHINES_MAX);
        assert_eq!(history.of(mac(7)).len(), STEPS_MAX);
        assert!(history.last_of(mac(19_999)).is_some() && history.last_of(mac(20)).is_none());
    }
}
