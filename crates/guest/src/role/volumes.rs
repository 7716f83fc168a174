//! The volumes that guests of this node use, as the volume role reports them.

use super::Role;
use super::machine::Machine;
use crate::clock::boottime_ms;
use crate::config::Guest;
use part::role::{UsedVolume, VolumeNews, VolumeState, VolumeUse};
use std::collections::BTreeMap;

/// How long a copy may be missing or lack data, milliseconds: its disk may be mounted late, its role
/// restarted, or little be missing.
const GONE_MS: u64 = 10_000;

/// What was reported last.
#[derive(Debug, Default)]
pub(super) struct Volumes {
    states: BTreeMap<String, VolumeState>,
    /// Those without a usable copy here while the other node serves them, and since when, milliseconds.
    gone: BTreeMap<String, u64>,
}

/// How the disks of a guest are.
#[derive(Debug, Default)]
pub(super) struct Disks {
    /// They are there for it, and for no guest elsewhere.
    pub(super) are_there: bool,
    /// All of them could be handed over to the other node now.
    pub(super) have_both_copies: bool,
    /// The volume of which this node has no copy, for too long.
    pub(super) without_copy: Option<String>,
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

    /// When one has been gone for too long, milliseconds; None: none will.
    pub(super) fn due(&self, now: u64) -> Option<u64> {
        let at = self
            .gone
            .values()
            .map(|since| since.saturating_add(GONE_MS));
        at.filter(|at| *at > now).min()
    }
}

impl Role {
    /// The volume role tells how volumes are.
    pub fn hear_volumes(&mut self, news: VolumeNews) {
        self.volumes.hear(news, boottime_ms());
        self.turn();
    }

    /// A guest by its section; by what it was started as where it has none any longer.
    pub(super) fn described<'r>(&'r self, name: &str, machine: &'r Machine) -> Option<&'r Guest> {
        let by_section = self.guests.guests.get(name);
        by_section.or(machine.started_as.as_ref())
    }

    /// How the disks of a guest are.
    pub(super) fn disks(&self, name: &str, machine: &Machine, now: u64) -> Disks {
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
        let gone = { guest.into_iter().flat_map(uses) }
            .find(|one| self.volumes.has_been_gone(&one.name, now));
        Disks {
            are_there: self.has_volumes(name, machine),
            have_both_copies: has_some && written.all(can_move),
            without_copy: gone.map(|one| one.name),
        }
    }

    /// Whether the disks of a guest are there for it, and for no guest elsewhere.
    pub(super) fn has_volumes(&self, name: &str, machine: &Machine) -> bool {
        let mut used = { self.described(name, machine) }.into_iter().flat_map(uses);
        used.all(|used| self.volumes.is_ready(&used))
    }

    /// Why they are not, in words.
    pub(super) fn volume_words(&self, guest: &Guest) -> Option<String> {
        uses(guest).find_map(|used| match self.volumes.states.get(&used.name) {
            None => Some(format!(
                "volume {}: the volume role has not reported it yet",
                used.name
            )),
            Some(state) if !state.ready => Some(format!("volume {}: {}", used.name, state.why)),
            Some(_) => None,
        })
    }

    /// Why one of its volumes could not be handed over to the other node now, in words.
    pub(super) fn volume_stays(&self, guest: &Guest) -> Option<String> {
        uses(guest).find_map(|used| {
            let state = self.volumes.states.get(&used.name)?;
            let stays = state.stays && state.r#use == used.r#use;
            stays.then(|| format!("volume {}: {}", used.name, state.why))
        })
    }
}

/// How a guest uses its volumes.
pub(super) fn uses(guest: &Guest) -> impl Iterator<Item = UsedVolume> {
    guest.disks.iter().map(|disk| UsedVolume {
        name: disk.volume.clone(),
        r#use: match disk.read_only {
            true => VolumeUse::Reads,
            false => VolumeUse::Alone,
        },
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
    fn a_copy_is_missing_when_it_has_been_without_a_break() {
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
        // It is used by nobody here any longer.
        volumes.hear(VolumeNews::default(), 23_000);
        assert!(!volumes.has_been_gone("mail", 30_000));
    }
}
