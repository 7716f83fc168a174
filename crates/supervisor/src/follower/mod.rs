//! The sidecar roles, which run with or without the proxy. Each one starts once its dependencies
//! are ready, and gets the changes. It is replaced when it dies or when the program was upgraded,
//! and adopted if its supervisor was killed. All sidecars share this life cycle; their rows
//! describe the differences ([`SidecarProperties`]).
//!
//! A successor starts with the stored state, and its predecessor leaves everything in place. Only a
//! requested stop makes roles release what they hold: before the proxy stops, and roles that others
//! depend on last.

mod adopt;
mod keepalived;

use crate::missing::is_missing;
use crate::slot::{RunningRole, SidecarConfiguration};
use crate::state::Supervisor;
use crate::state_file::Keep;
use crate::tell;
use crate::version::LoadedVersion;
use part::SharedFd;
use part::role::{Manner, SupervisorMessage, Take};
use part::row::{self, SidecarProperties};
use part::spawn::{self, OWN_PROGRAM, ProcessExit, StartFailure, Started};
use std::path::Path;
use std::time::{Duration, Instant};

/// Time for a role to release what it holds, in addition to the time that the role requests.
const RELEASE_LIMIT: Duration = Duration::from_secs(5);
/// Time for a role to end after its successor is ready.
const LEAVE_LIMIT: Duration = Duration::from_secs(2);

impl Supervisor {
    pub(super) fn is_without_proxy(&self) -> bool {
        self.versions
            .last_good
            .as_ref()
            .is_some_and(LoadedVersion::is_without_proxy)
    }

    /// Returns the part whose role decides whether a version can be served: the proxy, if the
    /// version has one.
    pub(super) fn decider(&self, version: Option<&LoadedVersion>) -> &'static str {
        let mut beside = row::sidecar_parts();
        let alone = version.filter(|version| version.is_without_proxy());
        let first = alone.and_then(|version| beside.find(|part| version.has(part)));
        first.unwrap_or(self.slots.serving.row.part)
    }

    fn decides(&self, part: &str) -> bool {
        self.decider(self.versions.last_good.as_ref()) == part
    }

    fn decides_change(&self, part: &str) -> bool {
        let candidate = self.versions.candidate.as_ref();
        candidate.is_some_and(|candidate| self.decider(Some(&candidate.version)) == part)
    }

    fn beside(&self, part: &str) -> SidecarProperties {
        let beside = self.slots[part].row.sidecar().copied();
        beside.unwrap_or(SidecarProperties::plain(""))
    }

    /// Applies the version in service to the sidecars: each one gets it, is started, or is stopped
    /// if the version has nothing for it.
    pub(super) fn follow_version(&mut self) {
        if self.service.stop.is_some() || self.changing.upgrade.is_some() || self.holds_parts_back()
        {
            return;
        }
        for part in row::sidecar_parts() {
            self.follow_with(part);
        }
    }

    fn follow_with(&mut self, part: &'static str) {
        let Some(kept) = &self.versions.last_good else {
            return;
        };
        let Some(given) = kept.given(part) else {
            // A version whose sidecar payloads are unknown changes nothing.
            let stays = kept.has(part);
            if !self.slots[part].served && !self.slots[part].lives() {
                if stays {
                    self.prepare_part(part);
                }
                self.adopt_part(part, None);
            }
            if !stays {
                self.end_sidecar(part);
            }
            return;
        };
        let slot = &mut self.slots[part];
        let version = slot.wanted.as_ref().map(|wanted| wanted.version);
        if version == Some(given.version) && slot.lives() {
            return;
        }
        match &mut slot.running {
            Some(role) if slot.stop_until.is_none() => {
                match send_sidecar_version(role, &given, self.command.options_of(part)) {
                    Ok(()) => slot.taking = Some(given),
                    Err(error) => self.part_refused(part, &error.to_string()),
                }
            }
            // The role is ending; another one starts after that.
            Some(_) => slot.wanted = Some(given),
            None => {
                slot.wanted = Some(given);
                if self.may_start(part) {
                    self.start_part(part);
                }
            }
        }
    }

    fn may_start(&self, part: &str) -> bool {
        let is_there = |need: &&&str| {
            self.versions
                .last_good
                .as_ref()
                .is_some_and(|kept| kept.has(need))
        };
        let mut needs = self.beside(part).dependencies.iter().filter(is_there);
        needs.all(|need| self.slots[*need].is_ready())
    }

    /// Starts a role, or adopts one whose supervisor was killed.
    pub(super) fn start_part(&mut self, part: &'static str) {
        self.slots[part].restart_at = None;
        let Some(wanted) = self.slots[part].wanted.clone() else {
            return;
        };
        self.prepare_part(part);
        if !self.slots[part].served && self.adopt_part(part, Some(&wanted)) {
            return;
        }
        match self.new_role(part, &wanted) {
            Ok(role) => {
                tracing::info!(
                    op = %wanted.operation,
                    role = part,
                    process = role.process.number(),
                    version = wanted.version,
                    "role started"
                );
                tell::role_started(&mut self.voice, role.process.number());
                self.slots[part].running = Some(role);
                self.write_role_pid(part);
            }
            Err(error) if self.service.served || self.slots[part].served => {
                self.voice.alert(error);
                self.restart_later(part, Instant::now(), false);
            }
            Err(error) => self.fail(error),
        }
    }

    fn new_role(
        &self,
        part: &str,
        given: &SidecarConfiguration,
    ) -> Result<RunningRole, StartFailure> {
        let slot = &self.slots[part];
        let shares = self.beside(part).shares_heartbeats && !given.without_proxy;
        let parcel = Parcel {
            options: self.command.options_of(part),
            keep: slot.keep.as_ref().map(Keep::file),
            shared: self.pulses.file().filter(|_| shares),
        };
        let personality = self.command.personality;
        let (mut take, descriptors) = parcel.take(given);
        take.personality = personality;
        let first = |process: &mut Started| {
            let listener = slot.listener();
            listener.map_or(Ok(()), |listener| {
                process.set_survives_supervisor(Some(listener))
            })?;
            process.send(&SupervisorMessage::Take(Box::new(take)), &descriptors)
        };
        let program = Path::new(OWN_PROGRAM);
        let process = spawn::start(program, slot.row.entry, personality, &[], first)?;
        Ok(RunningRole::begun(process))
    }

    /// Prepares the optional resources of a role; without them the role does less.
    fn prepare_part(&mut self, part: &'static str) {
        let program = self.voice.form().program();
        let paths = &self.command.paths;
        let what = self.slots[part].row.entry.display_name;
        if self.slots[part].keep.is_none() && self.beside(part).has_state_file {
            self.slots[part].keep = Keep::open(part, program, paths)
                .map_err(|error| {
                    self.voice.warning(format_args!(
                        "cannot store the state of the {what} ({error}): after a restart it starts from scratch"
                    ));
                })
                .ok();
        }
        if self.slots[part].guard.is_none() {
            // Without a guard socket no supervisor can adopt the role.
            let _ = self.open_guard(part);
        }
        if self.beside(part).shares_heartbeats && self.pulses.file().is_none() {
            self.send_heartbeat_memory();
        }
    }

    pub(super) fn handle_sidecar_message(
        &mut self,
        part: &'static str,
        message: SupervisorMessage,
    ) {
        match message {
            SupervisorMessage::Ready { words, .. } => self.part_ready(part, &words),
            SupervisorMessage::Taken { version, words } => {
                self.part_taken(part, version);
                if self.decides_change(part) {
                    self.change_taken(version, &words);
                }
            }
            SupervisorMessage::Refused { version, words } => {
                let slot = &mut self.slots[part];
                slot.taking.take_if(|taking| taking.version == version);
                if self.decides_change(part) {
                    self.change_failed(Some(version), &words)
                } else {
                    self.part_refused(part, &words)
                }
            }
            // A role of an older program keeps the memory that it started with, so it is replaced.
            SupervisorMessage::Unknown { kind } if kind == SupervisorMessage::Shared.kind() => {
                self.replace_part(part);
            }
            SupervisorMessage::Stopping => self.part_stays(part),
            // A role of an older program does not use this message.
            SupervisorMessage::Unknown { kind } if is_missing(kind) => {}
            // The end of the process is noticed separately.
            SupervisorMessage::Ended { words } => {
                if let Some(running) = &mut self.slots[part].running {
                    running.last_words = words;
                }
            }
            other => self.not_understood(part, &other),
        }
    }

    /// Handles the report of a role that it applied a version. With the first listener the role
    /// gets the proxy's heartbeat memory; with the last one the memory is withdrawn.
    fn part_taken(&mut self, part: &'static str, version: u64) {
        let slot = &mut self.slots[part];
        let Some(taken) = slot.taking.take_if(|taking| taking.version == version) else {
            return;
        };
        tracing::info!(op = %taken.operation, role = part, version, "version applied by a role");
        let without_proxy = taken.without_proxy;
        let before = slot.wanted.replace(taken);
        // The previous version of an adopted role is unknown.
        let differs = before.is_none_or(|before| before.without_proxy != without_proxy);
        if differs && self.beside(part).shares_heartbeats {
            self.send_heartbeat_memory();
            let memory = self.pulses.file().filter(|_| !without_proxy).cloned();
            if let Some(role) = &mut self.slots[part].running {
                role.process.share(memory.as_ref());
            }
        }
    }

    fn part_refused(&mut self, part: &str, words: &str) {
        tracing::info!(role = part, reason = words, "version refused by a role");
        let things = self.beside(part).configured_noun;
        self.voice
            .warning(format_args!("{things} were not changed: {words}"));
    }

    fn part_ready(&mut self, part: &'static str, words: &str) {
        if !words.is_empty() {
            self.voice.notice(words);
        }
        self.slots[part].served = true;
        tracing::info!(role = part, process = self.slots[part].pid(), "role ready");
        self.send_stored_messages(part);
        if let Some(before) = &mut self.slots[part].predecessor {
            before.ask_to_leave(Instant::now() + LEAVE_LIMIT);
        }
        let candidate = self.versions.candidate.as_ref();
        let candidate = candidate.map(|candidate| candidate.version.take.version);
        if self.decides_change(part)
            && let Some(given) = &self.slots[part].wanted
            && candidate == Some(given.version)
        {
            // The role was started for a change, which is applied with this.
            return self.change_taken(given.version, words);
        }
        if self.decides(part) {
            self.proxy_ready()
        } else {
            // Other roles may depend on this one.
            self.follow_version()
        }
    }

    pub(super) fn part_ended(
        &mut self,
        part: &'static str,
        role: &RunningRole,
        ending: ProcessExit,
    ) {
        self.trace_end(part, role, ending);
        self.obey_signals();
        let taking = self.slots[part].taking.take();
        if self.process.exit.is_some() {
            return;
        }
        if self.service.stop.is_some() || self.slots[part].stop_until.take().is_some() {
            self.forget_state(part);
            self.slots[part].served = false;
            self.part_released(part);
            if self.service.stop.is_none() && self.decides_change(part) {
                // The change waited for the end of the old role.
                let candidate = self.versions.candidate.as_ref();
                let given = candidate.and_then(|candidate| candidate.version.given(part));
                self.slots[part].wanted = given;
                self.start_part(part);
            }
            return;
        }
        if role.leaves_until.is_some() {
            // The role ended to make room for one of the new program.
            return self.start_part(part);
        }
        let what = self.slots[part].row.entry.display_name;
        tell::role_ended(&mut self.voice, what, role, ending);
        if let Some(before) = self.slots[part].predecessor.take() {
            // The successor failed; the predecessor still works and continues.
            self.slots[part].running = Some(before);
            // Messages were stored for the successor while it started.
            self.send_stored_messages(part);
            return self.part_refused(part, &format!("the new {what} ended"));
        }
        if self.decides_change(part) {
            let words = format!("the {what} died while it loaded the change");
            self.change_failed(None, &words);
            // The role was started for the change that failed, so the kept version decides whether
            // it runs at all.
            self.slots[part].wanted = self
                .versions
                .last_good
                .as_ref()
                .and_then(|kept| kept.given(part));
            if self.slots[part].wanted.is_none() {
                return;
            }
        } else if taking.is_some() {
            // The successor starts with the version that this role was applying.
            self.slots[part].wanted = taking;
        }
        if (!self.slots[part].served && self.decides(part)) || self.command.once {
            // `--dont-respawn`, or there is no previous version to continue with.
            self.process.exit = Some(tell::exit_of_role(ending));
            return;
        }
        self.note_crash(part, role, ending);
        self.restart_later(part, role.born, role.ready);
    }

    /// Handles the end of a role that was told to release what it holds.
    fn part_released(&mut self, part: &'static str) {
        self.report_part_gone(part);
        if self.service.stop.is_none() {
            self.follow_version();
        } else if !self.release_parts(false) || self.all_stay() {
            self.stop_without_parts();
        }
    }

    /// Handles a role that keeps addresses which no other machine takes over, until the proxy has
    /// finished.
    fn part_stays(&mut self, part: &'static str) {
        // If the stop has become a hard one, the role has received a second message by now.
        if !self.service.stop.is_some_and(|stop| stop.is_soft()) {
            return;
        }
        let slot = &mut self.slots[part];
        if let Some(role) = &mut slot.running {
            (role.keeps_addresses, slot.stop_until) = (true, None);
        }
        if self.all_stay() {
            self.stop_without_parts();
        }
    }

    fn all_stay(&self) -> bool {
        let running = row::sidecar_parts().filter_map(|part| self.slots[part].running.as_ref());
        running.into_iter().all(|role| role.keeps_addresses)
    }

    pub(super) fn release_what_stayed(&mut self) {
        for part in row::sidecar_parts() {
            let running = self.slots[part].running.as_mut();
            if running.is_some_and(|role| std::mem::take(&mut role.keeps_addresses)) {
                self.release_part(part);
            }
        }
    }

    /// Makes the roles release what they hold, those first that no other role needs. Returns
    /// whether a role still runs. With `again`, roles that have the message receive it again and then
    /// do not wait for other machines.
    pub(super) fn release_parts(&mut self, again: bool) -> bool {
        let running = |part: &&str| self.slots[*part].running.is_some();
        let living: Vec<&'static str> = row::sidecar_parts().filter(running).collect();
        let needed = |part: &str| {
            let mut others = living.iter();
            others.any(|other| self.beside(other).dependencies.contains(&part))
        };
        let last: Vec<&'static str> = living.iter().copied().filter(|one| !needed(one)).collect();
        for part in row::sidecar_parts() {
            self.slots[part].restart_at = None;
        }
        for part in last {
            let slot = &mut self.slots[part];
            let stays = slot
                .running
                .as_ref()
                .is_some_and(|role| role.keeps_addresses);
            if again || (slot.stop_until.is_none() && !stays) {
                self.release_part(part);
            }
        }
        !living.is_empty()
    }

    fn release_part(&mut self, part: &'static str) {
        let finishes = self.service.stop.is_some_and(|stop| stop.is_soft());
        let waits = finishes && self.beside(part).shares_heartbeats && self.slots.serving.lives();
        let slot = &mut self.slots[part];
        if let Some(before) = &mut slot.predecessor {
            before.ask_to_leave(Instant::now() + LEAVE_LIMIT);
        }
        let Some(role) = &mut slot.running else {
            return;
        };
        let manner = if self.command.releases {
            if waits { Manner::Yield } else { Manner::Soft }
        } else {
            Manner::Leave
        };
        role.process.stop(manner, rustix::process::Signal::TERM);
        let longest = slot.wanted.as_ref().map_or(0, |given| given.plan.stop_ms);
        let limit = RELEASE_LIMIT.saturating_add(Duration::from_millis(longest));
        let until = Instant::now().checked_add(limit);
        slot.stop_until = slot.stop_until.or(until);
    }

    fn end_sidecar(&mut self, part: &'static str) {
        self.slots[part].wanted = None;
        self.slots[part].restart_at = None;
        if self.slots[part].lives() && self.slots[part].stop_until.is_none() {
            self.release_part(part);
        }
    }

    pub(super) fn give_parts_up(&mut self) {
        for part in row::sidecar_parts() {
            self.end_sidecar(part);
        }
    }

    /// Ends all sidecars before this process ends, after they have released what they hold; those
    /// first that no other role needs.
    pub(super) fn end_parts(&mut self) {
        while self.release_parts(true) {
            for part in row::sidecar_parts() {
                let slot = &mut self.slots[part];
                if slot.running.is_some() && slot.stop_until.is_some() {
                    slot.end();
                    self.forget_state(part);
                }
            }
        }
        for part in row::sidecar_parts() {
            self.slots[part].end();
        }
    }

    /// Discards the stored state of a role that has released what it held, because the state is no
    /// longer valid. A role whose state survives a stop may have left none.
    fn forget_state(&mut self, part: &str) {
        let remembers = self.beside(part).state_survives_stop;
        if let Some(keep) = self.slots[part].keep.take()
            && self.command.releases
            && (!remembers || keep.is_empty())
        {
            keep.forget();
        }
    }

    /// Hands a version without a proxy to the role that decides on it. The other sidecars follow
    /// later.
    pub(super) fn try_parts(&mut self, version: &LoadedVersion) -> Result<(), String> {
        let part = self.decider(Some(version));
        let Some(given) = version.given(part) else {
            return Err("the version has nothing to run".to_owned());
        };
        let options = self.command.options_of(part);
        let slot = &mut self.slots[part];
        if slot.running.is_some() && slot.stop_until.is_some() {
            // The role is ending; another one starts after that.
            return Ok(());
        }
        if let Some(role) = &mut slot.running {
            send_sidecar_version(role, &given, options).map_err(|error| error.to_string())?;
            slot.taking = Some(given);
            return Ok(());
        }
        self.prepare_part(part);
        let role = self.new_role(part, &given);
        let role = role.map_err(|error| error.to_string())?;
        tell::role_started(&mut self.voice, role.process.number());
        let slot = &mut self.slots[part];
        (slot.running, slot.wanted, slot.restart_at) = (Some(role), Some(given), None);
        self.write_role_pid(part);
        Ok(())
    }
}

fn send_sidecar_version(
    role: &mut RunningRole,
    given: &SidecarConfiguration,
    options: &[u8],
) -> Result<(), StartFailure> {
    let parcel = Parcel {
        options,
        keep: None,
        shared: None,
    };
    let (take, descriptors) = parcel.take(given);
    role.process
        .send(&SupervisorMessage::Take(Box::new(take)), &descriptors)
}

/// Options and descriptors that accompany the payload of a role.
struct Parcel<'s> {
    options: &'s [u8],
    keep: Option<&'s SharedFd>,
    shared: Option<&'s SharedFd>,
}

impl Parcel<'_> {
    fn take(&self, given: &SidecarConfiguration) -> (Take, Vec<SharedFd>) {
        let take = Take {
            version: given.version,
            operation: given.operation.clone(),
            options: self.options.to_vec(),
            keep: self.keep.is_some(),
            shared: self.shared.is_some(),
            ..Take::default()
        };
        let beside = self.keep.into_iter().chain(self.shared);
        let descriptors = std::iter::once(&given.payload).chain(beside);
        (take, descriptors.cloned().collect())
    }
}
