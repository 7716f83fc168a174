//! Records the requests of each machine and the responses to them, for `evenkeel boot why` and
//! `evenkeel boot watch`. The record is bounded: the oldest entries are dropped first.

use crate::mac::Mac;
use part::report::Moment;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, VecDeque};

const MACHINES_MAX: usize = 4_096;
const STEPS_MAX: usize = 64;
/// Limit of remembered requests of all machines together, for an operator who watches.
const RECENT_MAX: usize = 1_024;

/// Request of a machine, with its response.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct BootHistoryEntry {
    /// Time of the newest of the equal requests that are one entry.
    pub at: Moment,
    /// Request, as text: `DISCOVER by PXE`.
    pub asked: String,
    /// Response, as text: `OFFER 10.20.0.107`; empty: none.
    pub answered: String,
    pub why: String,
    /// Number of equal requests in a row, the first one included.
    pub times: u32,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct LastBoot {
    /// Name of the image, or `its disk`.
    pub image: String,
    /// Time at which the machine got the script for the image.
    pub at: Moment,
    /// Node that served the machine; empty: outside of a cluster.
    #[serde(default)]
    pub node: String,
}

#[derive(Clone, Debug, Default)]
struct MachineHistory {
    steps: VecDeque<BootHistoryEntry>,
    booted: Option<(String, Moment)>,
    /// Number of the machine's last request, counted over all machines. The machines with the
    /// lowest numbers are forgotten first.
    last: u64,
}

/// Last requests of all machines with their responses. Bounded: the oldest entry is dropped first.
#[derive(Clone, Debug, Default)]
pub struct History {
    machines: HashMap<Mac, MachineHistory>,
    /// Newest requests of all machines, with every repetition, the newest last.
    recent: VecDeque<(Mac, BootHistoryEntry)>,
    /// Number of the newest request of all machines.
    number: u64,
}

impl History {
    pub fn add(&mut self, mac: Mac, step: BootHistoryEntry) {
        self.number += 1;
        if self.recent.len() >= RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back((mac, step.clone()));
        if self.machines.len() >= MACHINES_MAX && !self.machines.contains_key(&mac) {
            self.forget();
        }
        let machine = self.machines.entry(mac).or_default();
        machine.last = self.number;
        // Counts a repetition in the machine's last entry, and sets the time of that entry.
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

    /// Records which image a machine boots. Does nothing for a machine without a recorded request.
    pub fn boots(&mut self, mac: Mac, image: &str, at: Moment) {
        if let Some(machine) = self.machines.get_mut(&mac) {
            machine.booted = Some((image.to_owned(), at));
        }
    }

    pub fn booted(&self, mac: Mac) -> Option<(&str, Moment)> {
        let booted = self.machines.get(&mac)?.booted.as_ref();
        booted.map(|(image, at)| (image.as_str(), *at))
    }

    /// Returns at most `most` machines whose last request has a higher number than `number`,
    /// ordered by that request. The returned number is that of the last request of the last of
    /// these machines; without any, that of the newest request of all.
    pub fn changed(&self, number: u64, most: usize) -> (u64, Vec<Mac>) {
        if number >= self.number {
            return (self.number, Vec::new());
        }
        let changed = self.machines.iter();
        let changed = changed.filter(|(_, machine)| machine.last > number);
        let mut changed: Vec<(u64, Mac)> =
            changed.map(|(mac, machine)| (machine.last, *mac)).collect();
        changed.sort_unstable();
        changed.truncate(most);
        let last = changed.last().map_or(self.number, |(last, _)| *last);
        (last, changed.into_iter().map(|(_, mac)| mac).collect())
    }

    /// Forgets the quarter of the machines that has been silent longest. So many are forgotten at
    /// once so that a flood of new machines costs little for each packet.
    fn forget(&mut self) {
        let mut lasts: Vec<u64> = self.machines.values().map(|machine| machine.last).collect();
        lasts.sort_unstable();
        let limit = lasts.get(lasts.len() / 4).copied().unwrap_or(u64::MAX);
        self.machines.retain(|_, machine| machine.last > limit);
    }

    /// Returns the requests of a machine, the newest last.
    pub fn of(&self, mac: Mac) -> Vec<BootHistoryEntry> {
        let machine = self.machines.get(&mac);
        machine.map_or_else(Vec::new, |machine| machine.steps.iter().cloned().collect())
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    /// Returns the requests of all machines with a higher number than `number`, the newest last,
    /// and how many of such requests are forgotten. A number beyond the newest request comes from
    /// another process, and counts as 0.
    pub fn since(&self, number: u64) -> (u64, impl Iterator<Item = &(Mac, BootHistoryEntry)>) {
        let number = if number > self.number { 0 } else { number };
        let new = usize::try_from(self.number - number).unwrap_or(usize::MAX);
        let missed = new.saturating_sub(self.recent.len());
        let known = self.recent.len().saturating_sub(new);
        (missed as u64, self.recent.iter().skip(known))
    }

    pub fn last(&self) -> impl Iterator<Item = (Mac, &BootHistoryEntry)> {
        self.machines
            .iter()
            .filter_map(|(mac, machine)| Some((*mac, machine.steps.back()?)))
    }

    pub fn last_of(&self, mac: Mac) -> Option<&BootHistoryEntry> {
        self.machines.get(&mac)?.steps.back()
    }

    pub fn answered_of(&self, mac: Mac) -> Option<&BootHistoryEntry> {
        let steps = self.machines.get(&mac)?.steps.iter();
        steps.rev().find(|step| !step.answered.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(asked: &str) -> BootHistoryEntry {
        BootHistoryEntry {
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
    fn what_is_not_answered_hides_no_answer() {
        let mut history = History::default();
        history.add(mac(1), step("a"));
        assert_eq!(history.answered_of(mac(1)), None);
        let answered = BootHistoryEntry {
            answered: "OFFER".to_owned(),
            ..step("b")
        };
        history.add(mac(1), answered.clone());
        // For example, another DHCP server answers the next packet.
        history.add(mac(1), step("c"));
        assert_eq!(history.answered_of(mac(1)), Some(&answered));
    }

    #[test]
    fn changed_machines_come_once_and_the_oldest_first() {
        let mut history = History::default();
        for number in [1, 2, 3, 1] {
            history.add(mac(number), step("a"));
        }
        assert_eq!(history.changed(0, 2), (3, vec![mac(2), mac(3)]));
        assert_eq!(history.changed(3, 2), (4, vec![mac(1)]));
        assert_eq!(history.changed(4, 2), (4, vec![]));
        history.boots(mac(1), "rescue", Moment::default());
        let booted = history.booted(mac(1)).map(|(image, _)| image);
        assert_eq!((booted, history.booted(mac(2))), (Some("rescue"), None));
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
    fn who_watches_gets_each_step_once_and_knows_how_many_are_missing() {
        let mut history = History::default();
        let asked = |history: &History, number| {
            let (missed, steps) = history.since(number);
            let steps = steps
                .map(|(_, step)| step.asked.clone())
                .collect::<Vec<_>>();
            (missed, steps.concat())
        };
        assert_eq!(asked(&history, 0), (0, String::new()));
        for word in ["a", "a", "b"] {
            history.add(mac(1), step(word));
        }
        assert_eq!(asked(&history, 0), (0, "aab".to_owned()));
        assert_eq!(asked(&history, 2), (0, "b".to_owned()));
        assert_eq!(asked(&history, 3), (0, String::new()));
        assert_eq!(
            asked(&history, 4),
            (0, "aab".to_owned()),
            "the role has begun again"
        );
        for number in 0..2_000 {
            history.add(mac(number), step("c"));
        }
        let (missed, steps) = asked(&history, 3);
        assert_eq!((missed, steps.len()), (976, RECENT_MAX));
        assert_eq!(asked(&history, history.number() - 2), (0, "cc".to_owned()));
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
