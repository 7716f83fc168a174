//! Selects what a machine boots now, from its configuration line, the orders of operators and the
//! record of which machines have had their single boot (`once`). Also keeps this record. No I/O.

use crate::config::{Image, LanConfig, UnknownMachinePolicy};
use crate::mac::Mac;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const TURNS_MAX: usize = 65_536;

/// Record of the single boots of all machines, and of the boots that operators ordered.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct SingleBootProgress {
    /// Image of a machine's line with `once`, if the machine has fetched that image completely.
    done: BTreeMap<Mac, String>,
    /// Image that a machine boots next, by an operator's order.
    next: BTreeMap<Mac, String>,
    /// Number of times that the file was written, over all starts of the role: an older copy of the
    /// file has a smaller number.
    #[serde(rename = "g")]
    pub generation: u32,
    /// True if it is not known which machines had their single boot, or if that cannot be stored. A
    /// line with `once` then boots the local disk, which does the least harm.
    #[serde(skip)]
    pub is_uncertain: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BootTarget<'l> {
    Image(&'l str, &'l Image),
    Menu,
    /// The machine boots nothing until the configuration has a line for it.
    Enlist,
    Nothing(&'static str),
}

impl SingleBootProgress {
    /// Adds the single boots of another record, for machines that have none in this one.
    pub fn add_done(&mut self, other: SingleBootProgress) {
        for (mac, image) in other.done {
            if self.done.len() < TURNS_MAX {
                self.done.entry(mac).or_insert(image);
            }
        }
    }

    /// Records that a machine has fetched all of an image: this ends an order for the image, or is
    /// the single boot of its line. Returns whether the record has changed.
    pub fn fetched(&mut self, lan: &LanConfig, mac: Mac, image: &str) -> bool {
        if self.next.get(&mac).is_some_and(|next| next == image) {
            self.next.remove(&mac);
            return true;
        }
        let is_once = lan
            .machines
            .get(&mac)
            .is_some_and(|machine| machine.once && machine.image == image);
        let has_room = self.done.len() < TURNS_MAX || self.done.contains_key(&mac);
        if !is_once || !has_room {
            return false;
        }
        self.done.insert(mac, image.to_owned()).as_deref() != Some(image)
    }

    /// Orders the image that a machine boots next; once the machine has fetched this image, its
    /// line applies again. Without an image, ends the order and lets the machine repeat the single
    /// boot of its line.
    ///
    /// # Errors
    ///
    /// The section has no such image, or too many machines have an order.
    pub fn order(&mut self, lan: &LanConfig, mac: Mac, image: Option<&str>) -> Result<(), String> {
        match image {
            None => {
                // Ends the order, and lets the machine repeat the single boot of its line.
                self.next.remove(&mac);
                self.done.remove(&mac);
            }
            Some(image) if lan.images.contains_key(image) => {
                if self.next.len() >= TURNS_MAX && !self.next.contains_key(&mac) {
                    return Err("too many machines have an order".to_owned());
                }
                self.next.insert(mac, image.to_owned());
            }
            Some(image) => {
                let names: Vec<&str> = lan.images.keys().map(String::as_str).collect();
                return Err(format!(
                    "there is no image '{image}' in this section; there are: {}",
                    names.join(", ")
                ));
            }
        }
        Ok(())
    }

    pub fn orders(&self) -> impl Iterator<Item = Mac> {
        self.next.keys().copied()
    }

    pub fn mark_all_done(&mut self, lan: &LanConfig) {
        let once = lan.machines.iter().filter(|(_, machine)| machine.once);
        for (mac, machine) in once.take(TURNS_MAX) {
            self.done.insert(*mac, machine.image.clone());
        }
    }

    pub fn ordered(&self, mac: Mac) -> Option<&str> {
        self.next.get(&mac).map(String::as_str)
    }

    pub fn is_done(&self, mac: Mac, image: &str) -> bool {
        self.done.get(&mac).is_some_and(|done| done == image)
    }

    /// Returns whether this record equals the record that was stored on disk.
    pub fn is_as_kept(&self, kept: &SingleBootProgress) -> bool {
        (&self.done, &self.next, self.generation) == (&kept.done, &kept.next, kept.generation)
    }

    /// Forgets single boots of lines that were removed or changed, and orders of removed images.
    pub fn keep(&mut self, lan: &LanConfig) {
        self.done.retain(|mac, image| {
            let machine = lan.machines.get(mac);
            machine.is_some_and(|machine| machine.once && machine.image == *image)
        });
        self.next.retain(|_, image| lan.images.contains_key(image));
    }
}

pub fn assigned<'l>(lan: &'l LanConfig, turns: &SingleBootProgress, mac: Mac) -> BootTarget<'l> {
    let image = |name: &str| match lan.images.get_key_value(name) {
        Some((name, image)) => BootTarget::Image(name, image),
        // Boots nothing if the image is missing: no valid configuration is like that, but a role
        // may have such a state for a moment.
        None => BootTarget::Nothing("its image is not in the file"),
    };
    if let Some(next) = turns.next.get(&mac) {
        return image(next);
    }
    match (lan.machines.get(&mac), &lan.unknown) {
        (Some(machine), _) if machine.once && turns.is_uncertain => BootTarget::Nothing(
            "whether it has booted its image once is not known or cannot be kept here, so it boots its disk",
        ),
        (Some(machine), _) if machine.once && turns.is_done(mac, &machine.image) => {
            BootTarget::Nothing("it has booted its image once, and boots its disk from then on")
        }
        (Some(machine), _) => image(&machine.image),
        (None, UnknownMachinePolicy::Menu) => BootTarget::Menu,
        (None, UnknownMachinePolicy::Enlist) => BootTarget::Enlist,
        (None, UnknownMachinePolicy::Image(name)) => image(name),
        (None, UnknownMachinePolicy::Ignore) => {
            BootTarget::Nothing("the file does not name it, and `unknown` is `ignore`")
        }
    }
}

/// Returns whether a machine gets a response: the configuration names the machine or has a policy
/// other than `ignore`, or an operator ordered its next boot.
pub fn is_answered(lan: &LanConfig, turns: &SingleBootProgress, mac: Mac) -> bool {
    lan.unknown != UnknownMachinePolicy::Ignore
        || lan.machines.contains_key(&mac)
        || turns.next.contains_key(&mac)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MachineConfig;

    #[test]
    fn a_machine_boots_something_once_only_where_its_turns_are_known() {
        let mut lan = LanConfig::plain("br0");
        let mac = Mac([2, 0, 0, 0, 0, 1]);
        let machine = MachineConfig {
            name: "node8".to_owned(),
            address: None,
            image: "disk".to_owned(),
            once: true,
            power: None,
        };
        lan.machines.insert(mac, machine);
        let mut turns = SingleBootProgress::default();
        let boots = |turns: &SingleBootProgress| {
            matches!(assigned(&lan, turns, mac), BootTarget::Image(..))
        };
        assert!(boots(&turns));
        turns.is_uncertain = true;
        assert!(!boots(&turns));
        turns.is_uncertain = false;
        assert!(turns.fetched(&lan, mac, "disk") && !boots(&turns));
        turns.order(&lan, mac, None).expect("its line begins again");
        assert!(boots(&turns));
    }
}
