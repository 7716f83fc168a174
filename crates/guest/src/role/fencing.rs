//! Carries out, for the guest role, the fencing of other nodes, and feeds the watchdog of this
//! node, which resets the machine unless it is fed.

use super::GuestRole;
use super::carrier::PORT;
use super::machine::GuestMachine;
use super::report::FENCING;
use crate::agreement::{Fenced, GuestDecision};
use crate::clock::{boottime_ms, boottime_ns};
use crate::fence::nodes::Nodes;
use crate::fence::silence::SilentNodes;
use crate::fence::watchdog::{LocalGuestState, Watchdog};
use crate::life::{DesiredState, GuestStatus};
use part::control::LeaseRecord;
use part::power::control::PowerControl;
use part::report::{Grade, NumberRow, Subject};
use part::status::GuestNodeState;
use part::voice::write_error;
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(super) struct Fencing {
    pub(super) nodes: Nodes,
    silence: SilentNodes,
    wanted: BTreeMap<String, Vec<PowerControl>>,
    watchdog: Watchdog,
    here: LocalGuestState,
}

impl GuestRole {
    pub(super) fn fence(&mut self, now: u64) {
        let now_ns = boottime_ns();
        for (name, is_there) in self.agreement.nodes(&self.guests, now_ns) {
            if is_there {
                self.fencing.nodes.forget(&name, now);
            }
        }
        let mut wanted = self.agreement.to_fence(&self.guests, now_ns);
        let Fencing { nodes, silence, .. } = &mut self.fencing;
        silence.retain(|name| wanted.contains_key(name));
        let carrier = self.moves.carrier.as_ref();
        wanted.retain(|name, _| {
            let at = carrier.map(|one| one.addresses(name)).unwrap_or_default();
            let since = self.agreement.gone_since(name).unwrap_or(now);
            nodes.runs(name) || silence.allows(name, since, &at, PORT, now)
        });
        self.fencing.wanted = wanted;
        self.fencing.nodes.fence(&self.fencing.wanted, now);
        self.pass_over();
        for (node, fenced) in self.fencing.nodes.turn(now) {
            self.agreement.set_fenced(&node, fenced);
        }
        for note in self.fencing.nodes.notes() {
            write_error(&format!("evenkeel: guests: {note}\n"));
        }
    }

    /// Skips the fencing of a node that fails again within 5 minutes. Its guests do not wait for
    /// the fencing, except those with disks on external storage.
    fn pass_over(&mut self) {
        let Fencing { nodes, wanted, .. } = &self.fencing;
        let rests = |name: &&String| {
            nodes.was_fenced_recently(name) && !self.agreement.may_have_open(&self.guests, name)
        };
        let all: Vec<String> = wanted.keys().filter(rests).cloned().collect();
        for name in all {
            write_error(&format!(
                "evenkeel: guests: node {name} is gone again: it is {NOT_AGAIN}, and its guests start when its \
                 leases have ended\n"
            ));
            self.agreement.set_fenced(&name, Fenced::Failed);
        }
    }

    pub(super) fn feed(&mut self) {
        let node = self.guests.nodes.get(&self.guests.me);
        let path = node.and_then(|node| node.watchdog.as_deref());
        self.fencing.watchdog.set(path);
        self.fencing.here = self.here();
        let here = &self.fencing.here;
        self.fencing.watchdog.turn(here, boottime_ms());
        let is_armed = self.fencing.watchdog.is_armed();
        self.agreement.set_watched(is_armed);
    }

    fn here(&self) -> LocalGuestState {
        let there = self
            .machines
            .iter()
            .filter(|(_, machine)| machine.life.is_there());
        let mut here = LocalGuestState::default();
        for (name, machine) in there {
            here.any = true;
            if !may_be_here(machine, self.decided.get(name)) {
                here.unsafe_guest = Some(name.clone());
            }
        }
        // Counts guests whose QEMU has ended but whose disks are on external storage, where a write
        // may still arrive.
        let unfed = self
            .agreement
            .unprotected_guest(&self.guests, boottime_ns());
        here.any |= unfed.is_some() || self.agreement.has_open_disks(&self.guests);
        here.unsafe_guest = here.unsafe_guest.or(unfed);
        here
    }

    pub(super) fn fencing_due(&self) -> impl Iterator<Item = u64> {
        let nodes = self.fencing.nodes.deadline(&self.fencing.wanted);
        let watchdog = self.fencing.watchdog.deadline(&self.fencing.here);
        let silence = self.fencing.silence.deadline(boottime_ms());
        nodes.into_iter().chain(watchdog).chain(silence)
    }

    /// Prepares an orderly stop of the role: a node without guests is not fenced and needs no
    /// watchdog.
    pub(super) fn leave(&mut self) -> Option<LeaseRecord> {
        let here = self.here();
        self.fencing.watchdog.stop(&here);
        if here.any {
            None
        } else {
            self.agreement.leave(boottime_ns())
        }
    }

    pub(super) fn fencing_of(
        &self,
        mut subject: Subject,
        is_there: bool,
        state: &mut GuestNodeState,
    ) -> Subject {
        let name = subject.name.clone();
        let mut number = 0;
        if name == self.guests.me {
            if let Some((words, good)) = self.fencing.watchdog.words() {
                if !good {
                    subject.state.grade = Grade::Bad;
                    subject.why = format!("watchdog {words}");
                }
                subject = subject.fact("watchdog", words);
            }
        } else if !is_there {
            let (words, fenced, runs) = self.fencing_words(&name);
            if fenced == Fenced::Off {
                *state = GuestNodeState::Fenced;
                subject = subject.state("fenced", Grade::Bad);
            }
            number = match fenced {
                Fenced::No => u64::from(runs),
                Fenced::Off => 2,
                Fenced::Failed => 3,
            };
            if let Some(words) = words {
                subject = subject.fact(FENCING, words);
            }
        }
        subject.number(FENCING, number)
    }

    /// Returns the state of a node that is gone as text, the result of its fencing, and whether it
    /// is being fenced now.
    fn fencing_words(&self, name: &str) -> (Option<String>, Fenced, bool) {
        const SAFE: &str = "Its guests start elsewhere in any case: its leases have ended, and volumes refuse their \
             old epoch. Only those with disks of a storage system wait until it is confirmed off";
        let node = self.guests.nodes.get(name);
        let has_method = node.is_some_and(|node| !node.fences.is_empty());
        if let Some((words, ended)) = self.fencing.nodes.words(name, boottime_ms()) {
            let fenced = self
                .agreement
                .fate(name)
                .map_or(Fenced::No, |one| one.fenced);
            let words = match (ended, fenced) {
                (Some(Fenced::Failed), Fenced::Off) => {
                    return (
                        Some("off confirmed by an operator".to_owned()),
                        fenced,
                        false,
                    );
                }
                (Some(Fenced::Failed), _) => format!("{words}. {SAFE}"),
                _ => words,
            };
            return (Some(words), ended.unwrap_or_default(), ended.is_none());
        }
        let Some(record) = self.agreement.fate(name) else {
            return (None, Fenced::No, false);
        };
        let words = match record.fenced {
            Fenced::Off => "off confirmed by an operator, by another node, or earlier".to_owned(),
            Fenced::Failed if self.fencing.nodes.was_fenced_recently(name) => {
                format!("{NOT_AGAIN}. {SAFE}")
            }
            Fenced::Failed => format!("failed at another node, or earlier. {SAFE}"),
            Fenced::No if record.leaves => "not needed: it stopped cleanly".to_owned(),
            Fenced::No if !has_method => format!("none: it has no line `fence`. {SAFE}"),
            Fenced::No if self.fencing.wanted.contains_key(name) => {
                "not now: it was fenced less than 5 minutes ago".to_owned()
            }
            Fenced::No if self.fencing.silence.has_responded(name) => {
                "not yet: its machine responds. It is fenced when the leases of its guests end"
                    .to_owned()
            }
            Fenced::No => "not by this node".to_owned(),
        };
        (Some(words), record.fenced, false)
    }
}

fn may_be_here(machine: &GuestMachine, decided: Option<&GuestDecision>) -> bool {
    let has_lease = decided.is_some_and(|decided| match decided.wish {
        DesiredState::Kill | DesiredState::Freeze => false,
        DesiredState::ShutDown { .. } => true,
        DesiredState::Run | DesiredState::Stand | DesiredState::Hold | DesiredState::Arrive => {
            decided.epoch.is_some()
        }
    });
    let stands = matches!(machine.shown, Some((GuestStatus::Paused(_), _)));
    has_lease || (stands && !machine.life.may_run())
}

const NOT_AGAIN: &str = "not fenced again, since it was fenced less than 5 minutes ago";

pub(super) fn row() -> NumberRow {
    NumberRow::new(
        FENCING,
        "evenkeel_guest_node_fencing",
        "Fencing of a node that is gone: 0 none, 1 in progress, 2 off confirmed, 3 failed.",
    )
}
