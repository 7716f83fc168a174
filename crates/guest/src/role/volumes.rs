//! Tracks the state of the volumes of this node's guests, as the volume role reports it, and lists
//! the volumes that guests use, for the volume role.

use super::GuestRole;
use super::machine::GuestMachine;
use crate::clock::boottime_ms;
use crate::config::{Disk, Guest, Mac, user_of};
use part::role::{UsedVolume, VolumeNews, VolumeState, VolumeUse};
use std::collections::BTreeMap;

/// Time for which a copy may be missing or incomplete without consequences, milliseconds: its disk
/// may be mounted late, the volume role may restart, or little data may be missing.
const GONE_MS: u64 = 10_000;

/// Last report of the volume role.
#[derive(Debug, Default)]
pub(super) struct Volumes {
    states: BTreeMap<String, VolumeState>,
    /// Volumes without a usable copy on this node while the other node serves them, and the time
    /// since which that is so, milliseconds.
    gone: BTreeMap<String, u64>,
}

/// State of the disks of a guest.
#[derive(Debug, Default)]
pub(super) struct Disks {
    pub(super) are_there: bool,
    pub(super) have_both_copies: bool,
    pub(super) without_copy: Option<String>,
    pub(super) superseded: Option<String>,
}

impl Volumes {
    fn hear(&mut self, news: VolumeNews, now: u64) {
        let named = news.volumes.into_iter();
        self.states = named.map(|one| (one.name.clone(), one)).collect();
        let states = &self.states;
        let is_gone = |name: &String| states.get(name).is_some_and(|state| state.gone);
        self.gone.retain(|name, _| is_gone(name));
        for name in states.keys().filter(|name| is_gone(name)) {
            self.gone.entry(name.clone()).or_insert(now);
        }
    }

    fn is_ready(&self, used: &UsedVolume) -> bool {
        let state = self.states.get(&used.name);
        state.is_some_and(|state| state.ready && state.r#use == used.r#use)
    }

    fn has_been_gone(&self, name: &str, now: u64) -> bool {
        let since = self.gone.get(name);
        since.is_some_and(|since| now >= since.saturating_add(GONE_MS))
    }

    /// Returns the next time at which a copy has been missing for too long, milliseconds; None: no
    /// copy is missing.
    pub(super) fn due(&self, now: u64) -> Option<u64> {
        let at = self
            .gone
            .values()
            .map(|since| since.saturating_add(GONE_MS));
        at.filter(|at| *at > now).min()
    }
}

impl GuestRole {
    pub fn apply_volume_news(&mut self, news: VolumeNews) {
        self.volumes.hear(news, boottime_ms());
        self.turn();
    }

    /// Returns the settings of a guest: while its QEMU process exists, the settings at its start,
    /// because QEMU keeps these disks until it ends; otherwise those of its section.
    pub(super) fn described<'r>(
        &'r self,
        name: &str,
        machine: &'r GuestMachine,
    ) -> Option<&'r Guest> {
        let by_section = self.guests.guests.get(name);
        let started_as = machine.started_as.as_ref();
        if machine.life.is_there() {
            started_as.or(by_section)
        } else {
            by_section.or(started_as)
        }
    }

    /// Returns another guest of this node whose QEMU process still uses something that this guest
    /// needs, and what that is as text: an earlier configuration assigned it to the other guest.
    pub(super) fn kept_by(&self, name: &str) -> Option<(&str, String)> {
        let guest = self.guests.guests.get(name)?;
        let others = self
            .machines
            .iter()
            .filter(|(other, machine)| *other != name && machine.life.is_there());
        let mut all = others.filter_map(|(other, machine)| {
            let has = machine.started_as.as_ref()?;
            let shared = volume_of_both(guest, has).or_else(|| {
                let section = self.guests.guests.get(other);
                address_of_both(guest, has, section)
            })?;
            Some((other.as_str(), shared))
        });
        all.next()
    }

    /// Returns all volumes that the guests of this node use, each once, with the guest that uses
    /// it. A guest that has the volume open takes precedence over one that does not.
    pub(super) fn used(&self) -> Vec<UsedVolume> {
        let mut used: Vec<UsedVolume> = Vec::new();
        let is_there = |machine: &GuestMachine| machine.life.is_there();
        let first = self.machines.iter().filter(|(_, one)| is_there(one));
        let then = self.machines.iter().filter(|(_, one)| !is_there(one));
        for (name, machine) in first.chain(then) {
            let moving = self.moving_use(name);
            let is_used = self.decided.get(name).is_some_and(|one| one.uses_volumes);
            let is_used = is_used || moving == Some(VolumeUse::Alone);
            let guest = self.described(name, machine);
            for mut one in guest.filter(|_| is_used).into_iter().flat_map(uses) {
                if one.r#use == VolumeUse::Alone {
                    one.r#use = moving.unwrap_or(VolumeUse::Alone);
                    one.user = user_of(name);
                    one.is_open = is_there(machine);
                    one.is_unnamed =
                        is_there(machine) && !machine.process().is_some_and(|one| one.names_user);
                }
                match used.iter_mut().find(|other| other.name == one.name) {
                    None => used.push(one),
                    // Replaces the entry of a guest that only reads by that of a guest that writes.
                    Some(other) if other.r#use == VolumeUse::Reads => *other = one,
                    Some(_) => {}
                }
            }
        }
        used
    }

    pub(super) fn disks(&self, name: &str, machine: &GuestMachine, now: u64) -> Disks {
        let guest = self.described(name, machine);
        let written = guest.into_iter().flat_map(uses);
        let mut written = written
            .filter(|one| one.r#use == VolumeUse::Alone)
            .peekable();
        let has_some = written.peek().is_some();
        let can_move = |one: UsedVolume| {
            let state = self.volumes.states.get(&one.name);
            state.is_some_and(|state| !state.stays) && self.volumes.is_ready(&one)
        };
        let gone = guest
            .into_iter()
            .flat_map(uses)
            .find(|one| self.volumes.has_been_gone(&one.name, now));
        let superseded = guest.into_iter().flat_map(uses).find(|one| {
            let state = self.volumes.states.get(&one.name);
            one.r#use == VolumeUse::Alone && state.is_some_and(|state| state.is_superseded)
        });
        Disks {
            are_there: self.has_volumes(name, machine),
            have_both_copies: has_some && written.all(can_move),
            without_copy: gone.map(|one| one.name),
            superseded: superseded.map(|one| one.name),
        }
    }

    pub(super) fn has_volumes(&self, name: &str, machine: &GuestMachine) -> bool {
        if !machine.life.is_there() && self.kept_by(name).is_some() {
            return false;
        }
        let mut used = self.described(name, machine).into_iter().flat_map(uses);
        used.all(|used| self.volumes.is_ready(&used))
    }

    pub(super) fn volume_words(&self, name: &str, guest: &Guest) -> Option<String> {
        if let Some((other, what)) = self.kept_by(name) {
            return Some(format!(
                "guest {other} has {what} until it shuts down, because it was started with that: this guest \
                 starts then"
            ));
        }
        uses(guest).find_map(|used| match self.volumes.states.get(&used.name) {
            None => Some(format!(
                "volume {}: the volume role has not reported it yet",
                used.name
            )),
            Some(state) if !state.ready => Some(format!("volume {}: {}", used.name, state.why)),
            Some(_) => None,
        })
    }

    pub(super) fn volume_stays(&self, guest: &Guest) -> Option<String> {
        uses(guest).find_map(|used| {
            let state = self.volumes.states.get(&used.name)?;
            let stays = state.stays && state.r#use == used.r#use;
            stays.then(|| format!("volume {}: {}", used.name, state.why))
        })
    }
}

fn volume_of_both(one: &Guest, other: &Guest) -> Option<String> {
    let is_one_image = |one: &Disk, other: &Disk| {
        let both = one.external.as_ref().zip(other.external.as_ref());
        both.is_some_and(|(one, other)| one.storage.is_same_image(&other.storage))
    };
    let has = |disk: &Disk| {
        let mut written = other.disks.iter().filter(|disk| !disk.read_only);
        written.any(|other| other.volume == disk.volume || is_one_image(other, disk))
    };
    let both = one.disks.iter().find(|disk| !disk.read_only && has(disk))?;
    Some(format!("volume {} open", both.volume))
}

/// Returns a MAC address in the settings of both guests, where the other guest runs with it
/// although its section (`section`) no longer has it.
fn address_of_both(one: &Guest, other: &Guest, section: Option<&Guest>) -> Option<String> {
    let has = |guest: &Guest, mac| guest.nics.iter().any(|nic| nic.mac == mac);
    let mut macs = one.nics.iter().map(|nic| nic.mac);
    let both =
        macs.find(|mac| has(other, *mac) && !section.is_some_and(|section| has(section, *mac)))?;
    Some(format!("the address {}", Mac(both)))
}

pub(super) fn uses(guest: &Guest) -> impl Iterator<Item = UsedVolume> {
    guest.disks.iter().map(|disk| UsedVolume {
        name: disk.volume.clone(),
        r#use: if disk.read_only {
            VolumeUse::Reads
        } else {
            VolumeUse::Alone
        },
        ..UsedVolume::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(gone: bool) -> VolumeNews {
        let state = VolumeState {
            name: "mail".to_owned(),
            gone,
            ..VolumeState::default()
        };
        VolumeNews {
            volumes: vec![state],
        }
    }

    #[test]
    fn a_copy_is_missing_after_continuous_absence() {
        let mut volumes = Volumes::default();
        volumes.hear(news(true), 1_000);
        volumes.hear(news(true), 9_000);
        assert_eq!(volumes.due(9_000), Some(11_000));
        assert!(!volumes.has_been_gone("mail", 10_999));
        assert!(volumes.has_been_gone("mail", 11_000));
        assert_eq!(volumes.due(11_000), None);
        volumes.hear(news(false), 12_000);
        volumes.hear(news(true), 13_000);
        assert!(!volumes.has_been_gone("mail", 22_999));
        // No guest of this node uses the volume any longer.
        volumes.hear(VolumeNews::default(), 23_000);
        assert!(!volumes.has_been_gone("mail", 30_000));
    }
}
