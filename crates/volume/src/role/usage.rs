//! Tracks which roles of this node use which volumes, and notifies those roles when the readiness
//! of a volume changes. This module changes no volume; [`crate::mirror`] implements a use.

use super::worker::Worker;
use super::{VolumeRole, lease_of};
use crate::config::{Spec, Volumes};
use crate::export::{Grant, VolumeUser, user_words};
use crate::mirror::MirrorStatus;
use crate::replica::OtherState;
use crate::report::USED_BY;
use crate::status::VolumeStatus;
use part::codec;
use part::report::{StatusReport, Subject};
use part::role::{UsedVolume, UsedVolumes, VolumeNews, VolumeState, VolumeUse};
use part::status::VolumeServiceState;
use part::voice::write_error;
use std::collections::BTreeMap;
use std::time::Instant;

const PARTS_MAX: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Usage {
    parts: BTreeMap<String, Vec<UsedVolume>>,
    /// Volumes that keep their old configuration while it is in use, each with the reason, and the
    /// new configuration that waits.
    held: (BTreeMap<String, String>, Vec<u8>),
    told: BTreeMap<String, VolumeNews>,
}

impl Usage {
    pub(super) fn resend_notifications(&mut self) {
        self.told.clear();
    }

    /// Returns the use of a volume; with several roles, the most demanding use.
    pub(super) fn of(&self, name: &str) -> Option<VolumeUse> {
        let all = self.parts.values().flatten();
        let uses = all.filter(|used| used.name == name).map(|used| used.r#use);
        uses.max_by_key(|one| match one {
            VolumeUse::Reads => 0,
            VolumeUse::Alone => 1,
            VolumeUse::HandsOver => 2,
        })
    }

    /// Returns the user that may open a volume next: the first one that does not only read.
    pub(super) fn grant(&self, name: &str) -> Option<Grant> {
        let mut all = self.parts.values().flatten();
        let is_meant = |used: &&UsedVolume| {
            used.name == name && used.r#use != VolumeUse::Reads && !used.user.is_empty()
        };
        all.find(is_meant).map(|used| Grant {
            user: used.user.clone(),
            is_open: used.is_open,
            is_unnamed: used.is_unnamed,
        })
    }

    /// Returns the user of a role that does more than read the volume, as text.
    fn writer(&self, name: &str) -> Option<String> {
        let is_written = |used: &UsedVolume| used.name == name && used.r#use != VolumeUse::Reads;
        self.parts.iter().find_map(|(part, volumes)| {
            let used = volumes.iter().find(|used| is_written(used))?;
            let user = Some(&used.user).filter(|user| !user.is_empty());
            Some(user.unwrap_or(part).clone())
        })
    }

    pub(super) fn add_to(
        &self,
        report: &mut StatusReport,
        is_ready: impl Fn(&str, VolumeUse) -> Option<Result<(), String>>,
    ) {
        let subjects = std::mem::take(&mut report.subjects).into_iter();
        let with = |subject: Subject| match self.words(&subject.name, &is_ready) {
            Some(words) => subject.fact(USED_BY, words),
            None => subject,
        };
        report.subjects = subjects.map(with).collect();
    }

    fn words(
        &self,
        name: &str,
        is_ready: impl Fn(&str, VolumeUse) -> Option<Result<(), String>>,
    ) -> Option<String> {
        let of_part = |(part, volumes): (&String, &Vec<UsedVolume>)| {
            let used = volumes.iter().find(|used| used.name == name)?.r#use;
            let what = match used {
                VolumeUse::Reads => "reads",
                VolumeUse::Alone => "alone",
                VolumeUse::HandsOver => "hands over",
            };
            Some(match is_ready(name, used)? {
                Ok(()) => format!("{part}, {what}"),
                Err(why) => format!("{part}, {what}, not ready: {why}"),
            })
        };
        let words: Vec<String> = self.parts.iter().filter_map(of_part).collect();
        (!words.is_empty()).then(|| words.join("; "))
    }
}

impl VolumeRole {
    pub fn uses(&mut self, used: UsedVolumes) {
        let UsedVolumes { part, volumes } = used;
        let usage = &mut self.usage;
        if usage.parts.len() < PARTS_MAX || usage.parts.contains_key(&part) {
            // Notifies the role even if nothing has changed.
            usage.told.remove(&part);
            usage.parts.insert(part, volumes);
            self.reports_until = Instant::now();
            self.tell_uses();
            self.apply_pending_configuration();
        }
    }

    /// Keeps the old configuration of volumes that the new configuration removes from this node
    /// while they are in use, on this node or on the other one. A guest still has to write while it
    /// shuts down or migrates.
    pub(super) fn hold(&mut self, payload: &[u8], volumes: &mut Volumes) {
        let mut held = BTreeMap::new();
        let former = self.former_specs.iter();
        let former = former.map(|(name, spec)| (name.clone(), spec.clone()));
        let mut all: BTreeMap<String, Spec> = former.collect();
        let workers = self.workers.iter();
        all.extend(workers.map(|(name, worker)| (name.clone(), worker.spec())));
        for (name, has) in all {
            let Some(why) = self.hold_reason(&name, &has, volumes.0.get(&name)) else {
                continue;
            };
            if !self.usage.held.0.contains_key(&name) {
                write_error(&format!(
                    "evenkeel: volume {name}: its change takes effect later: {why}\n"
                ));
            }
            volumes.0.insert(name.clone(), has);
            held.insert(name, why);
        }
        self.former_specs.retain(|name, _| held.contains_key(name));
        self.usage.held = (held, payload.to_vec());
    }

    /// Returns why a volume keeps its old configuration; None if the new one can be applied.
    fn hold_reason(&self, name: &str, has: &Spec, then: Option<&Spec>) -> Option<String> {
        let leaves = then.is_none_or(|then| {
            then.backing != has.backing
                || then.read_only != has.read_only
                || then.has_whole_blocks() && !has.has_whole_blocks()
        });
        let other = has.pair.as_ref().map(|pair| pair.other.as_str());
        let partner = then.and_then(|then| then.pair.as_ref().map(|pair| pair.other.as_str()));
        let leaves_pair = then.is_some() && other.is_some() && partner != other;
        if !leaves && !leaves_pair {
            return None;
        }
        let worker = self.workers.get(name);
        let user = worker.and_then(Worker::named_user);
        if leaves && let Some(user) = user.or_else(|| self.usage.writer(name)) {
            let user = user_words(&user);
            return Some(format!(
                "{user} uses it here: it stays unchanged until that ends"
            ));
        }
        if self.awaits_reports() && self.former_specs.contains_key(name) {
            return Some("its user has not reported since the volume role started".to_owned());
        }
        let lease = lease_of(name);
        let lease = self.leases.iter().flatten().find(|one| one.name == lease);
        // Keeps the pair while the other node serves: otherwise it could no longer write to both
        // copies, and this copy could not serve after it.
        if let Some(other) = other.filter(|_| leaves_pair)
            && lease.is_some_and(|lease| lease.holder == other)
        {
            return Some(format!(
                "{other} serves it: this copy stays unchanged until {other} has handed it over"
            ));
        }
        let filled = worker?.with_status(|status| leaves && fills_other(status));
        filled.then(|| "the copy of the other node is not complete yet".to_owned())
    }

    pub(super) fn apply_pending_configuration(&mut self) {
        let (held, payload) = &self.usage.held;
        if held.is_empty() {
            return;
        }
        let Ok(volumes) = codec::decode::<Volumes>(payload) else {
            return;
        };
        let reason = |name: &String| {
            let has = self.workers.get(name)?.spec();
            let why = self.hold_reason(name, &has, volumes.0.get(name))?;
            Some((name.clone(), why))
        };
        // Updates the reasons, which may have changed since.
        let reasons: Option<BTreeMap<String, String>> = held.keys().map(reason).collect();
        if let Some(reasons) = reasons {
            self.usage.held.0 = reasons;
            return;
        }
        let payload = payload.clone();
        if let Err(words) = self.change(&payload) {
            write_error(&format!("evenkeel: volumes: {words}\n"));
        }
    }

    pub(super) fn waiting_changes(&self) -> &BTreeMap<String, String> {
        &self.usage.held.0
    }

    pub fn forget_user(&mut self, part: &str) {
        self.usage.told.remove(part);
        if self.usage.parts.remove(part).is_some() {
            self.tell_uses();
            self.apply_pending_configuration();
        }
    }

    fn tell_uses(&mut self) {
        for (name, worker) in &self.workers {
            worker.set_use(self.usage.of(name), self.usage.grant(name));
        }
        for (name, one) in &mut self.elsewhere {
            one.set_use(self.usage.of(name));
        }
        self.rank_elsewhere();
    }

    /// Returns whether a volume is ready for a use, or the reason why it is not. None: this node
    /// has no such volume.
    pub(super) fn is_ready(&self, name: &str, used: VolumeUse) -> Option<Result<(), String>> {
        let worker = self.workers.get(name);
        let elsewhere = || Some(self.elsewhere.get(name)?.is_ready(used));
        worker
            .map(|worker| worker.with_status(|status| is_ready(status, used)))
            .or_else(elsewhere)
    }

    pub fn news(&mut self) -> Vec<(String, VolumeNews)> {
        let mut all = Vec::new();
        for (part, volumes) in &self.usage.parts {
            let news = VolumeNews {
                volumes: volumes.iter().map(|used| self.state_of(used)).collect(),
            };
            if self.usage.told.get(part) != Some(&news) {
                self.usage.told.insert(part.clone(), news.clone());
                all.push((part.clone(), news));
            }
        }
        all
    }

    fn state_of(&self, used: &UsedVolume) -> VolumeState {
        let UsedVolume { name, r#use, .. } = used;
        let worker = self.workers.get(name);
        let seen = worker
            .map(|worker| {
                worker.with_status(|status| {
                    let is_ready = is_ready(status, *r#use).and_then(|()| is_free(status, used));
                    (is_ready, can_move(status))
                })
            })
            // Looks among the volumes in external storage, which have no worker.
            .or_else(|| Some((self.elsewhere.get(name)?.is_ready(*r#use), Ok(()))));
        let (is_ready, can_move) = seen.unwrap_or_else(|| {
            let words = format!("the served configuration has no volume '{name}' on this node");
            (Err(words), Ok(()))
        });
        let ready = is_ready.is_ok();
        let is_asked = ready && *r#use == VolumeUse::Alone;
        let moves = if is_asked { can_move } else { Ok(()) };
        VolumeState {
            name: name.clone(),
            r#use: *r#use,
            ready,
            stays: moves.is_err(),
            gone: !ready && self.is_gone(name),
            is_superseded: worker.is_some_and(|worker| worker.with_status(is_superseded)),
            why: is_ready.and(moves).err().unwrap_or_default(),
        }
    }

    /// Returns whether this node cannot serve a volume because it has no usable replica, while the
    /// other node serves the volume.
    fn is_gone(&self, name: &str) -> bool {
        let worker = self.workers.get(name);
        let other = worker.and_then(|worker| worker.with_status(other_of_gone));
        let lease = lease_of(name);
        let lease = self.leases.iter().flatten().find(|one| one.name == lease);
        other.is_some_and(|other| lease.is_some_and(|lease| lease.holder == other))
    }
}

/// Returns the other node of a volume, if the local replica cannot be opened, does not belong to
/// the volume, or lacks data.
fn other_of_gone(status: &VolumeStatus) -> Option<String> {
    let is_gone = matches!(
        status.state,
        VolumeServiceState::NotCreated
            | VolumeServiceState::Failed
            | VolumeServiceState::Refused
            | VolumeServiceState::Filling
            | VolumeServiceState::Frozen
    );
    let pair = status.spec.pair.as_ref().filter(|_| is_gone)?;
    Some(pair.other.clone())
}

fn can_move(status: &VolumeStatus) -> Result<(), String> {
    let shown = of_pair(status)?;
    match shown.report.other {
        OtherState::InSync => Ok(()),
        other => Err(match (&*status.why, other) {
            ("", OtherState::Away) => format!("{} is not connected", shown.other),
            ("", _) => format!("the copy at {} is not complete yet", shown.other),
            (why, _) => why.to_owned(),
        }),
    }
}

fn of_pair(status: &VolumeStatus) -> Result<&MirrorStatus, String> {
    let pair = status
        .mirror
        .as_ref()
        .filter(|shown| !shown.other.is_empty());
    pair.ok_or_else(|| match status.spec.pair {
        Some(_) => why(status),
        None => "it has one copy, on this node: it cannot move to another one".to_owned(),
    })
}

fn is_ready(status: &VolumeStatus, used: VolumeUse) -> Result<(), String> {
    match used {
        VolumeUse::Reads if is_readable(status.state) => Ok(()),
        VolumeUse::Reads => Err(why(status)),
        VolumeUse::Alone => is_alone(status),
        VolumeUse::HandsOver => is_handed_over(status),
    }
}

fn is_superseded(status: &VolumeStatus) -> bool {
    status
        .mirror
        .as_ref()
        .is_some_and(|shown| shown.admission.is_superseded)
}

fn waits_for_user(status: &VolumeStatus, shown: &MirrorStatus) -> bool {
    let own = status.meter.tenure.granted();
    let there = own.zip(shown.users);
    there.is_some_and(|(own, users)| users.has_other(&own.user))
}

fn fills_other(status: &VolumeStatus) -> bool {
    let filled = |shown: &MirrorStatus| {
        let is_done = matches!(shown.report.other, OtherState::InSync | OtherState::Away);
        shown.report.serves && shown.link.is_ok() && !is_done
    };
    status.mirror.as_ref().is_some_and(filled)
}

fn used_elsewhere(status: &VolumeStatus, other: &str) -> String {
    format!(
        "another user has it open at {other} (`evenkeel volume show {}` there names it), and only one user \
         at a time is possible",
        status.name
    )
}

/// Checks for an exclusive use that the volume is complete, and that no other user has it open on
/// this node. The error names that user.
fn is_free(status: &VolumeStatus, used: &UsedVolume) -> Result<(), String> {
    let holder = status.meter.tenure.holder();
    if used.r#use == VolumeUse::Alone
        && let Some(overwrite) = status.overwrite()
    {
        let refusal = overwrite.refusal(&status.name);
        return Err(format!("it is incomplete: {refusal}"));
    }
    match holder {
        _ if used.r#use != VolumeUse::Alone || used.user.is_empty() => Ok(()),
        None => Ok(()),
        Some(VolumeUser::User { name, .. }) if name == used.user => Ok(()),
        Some(other) => Err(format!(
            "{other} has it open, and only one user at a time is possible"
        )),
    }
}

fn is_readable(state: VolumeServiceState) -> bool {
    state.is_served()
        || matches!(
            state,
            VolumeServiceState::Following | VolumeServiceState::Filling
        )
}

/// Returns the reason of a state, or the state's name without one.
fn why(status: &VolumeStatus) -> String {
    match &*status.why {
        "" => format!("it is {}", crate::status::state_words(status.state).0),
        why => why.to_owned(),
    }
}

fn is_alone(status: &VolumeStatus) -> Result<(), String> {
    let Some(shown) = &status.mirror else {
        return if status.state.is_served() {
            Ok(())
        } else {
            Err(why(status))
        };
    };
    let other = &shown.other;
    match status.state {
        _ if shown.admission.is_superseded => Err(format!(
            "another user has used it on {other} since this one opened it: the process here must end"
        )),
        VolumeServiceState::Following | VolumeServiceState::Filling
            if waits_for_user(status, shown) =>
        {
            Err(used_elsewhere(status, other))
        }
        VolumeServiceState::Following => Err(format!(
            "{other} serves it, and has not handed it over to this node yet"
        )),
        VolumeServiceState::Filling => Err(format!(
            "{other} serves it, and this copy is not complete yet"
        )),
        state if !state.is_served() => Err(why(status)),
        _ if !shown.report.serves || shown.report.frozen => Err(why(status)),
        _ => {
            let spec = &status.spec;
            let me = spec.pair.clone().or_else(|| spec.single());
            if me.is_some_and(|pair| shown.admission.only == Some(pair.me)) {
                Ok(())
            } else if waits_for_user(status, shown) {
                Err(used_elsewhere(status, other))
            } else {
                Err(
                    "the cluster has not recorded yet that only clients of this node may write"
                        .to_owned(),
                )
            }
        }
    }
}

fn is_handed_over(status: &VolumeStatus) -> Result<(), String> {
    let shown = of_pair(status)?;
    let other = &shown.other;
    match (shown.report.serves, &status.why) {
        (false, _) if shown.owner == *other => Ok(()),
        (true, why) if why.is_empty() => Err(format!("it is being handed over to {other}")),
        _ => Err(why(status)),
    }
}

#[cfg(test)]
mod tests;
