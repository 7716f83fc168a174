//! Manages the sidecar roles, which run with or without the proxy. Each one starts once its
//! dependencies are ready, and gets the changes. It is replaced when it dies or when the program
//! was upgraded, and adopted if its supervisor was killed. All sidecars share this life cycle;
//! their rows describe the differences ([`row::SidecarProperties`]).
//!
//! A successor starts with the stored state, and its predecessor leaves everything in place. Only a
//! requested stop makes roles release what they hold: before the proxy stops, and roles that others
//! depend on last.

mod adopt;
mod keepalived;

use crate::ended::{SidecarEnd, SidecarNext};
use crate::missing::is_missing;
use crate::slot::RunningRole;
use crate::state::Supervisor;
use crate::state_file::Keep;
use crate::tell;
use crate::trace_levels::trace_end;
use crate::version::{LoadedVersion, decider};
use part::role::{Manner, SupervisorMessage};
use part::row;
use part::spawn::ProcessExit;
use std::time::Instant;

impl Supervisor {
    /// Applies the version in service to the sidecars: each one gets it, is started, or is stopped
    /// if the version has nothing for it.
    pub(super) fn follow_version(&mut self) {
        let is_held_back = self.cluster.holds_sidecars_back(self.service.served);
        if self.service.stop.is_some()
            || self.changing.upgrade.is_some()
            || (is_held_back && !self.versions.is_without_proxy())
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
            // Without a known payload, a running role stays if the version has the part at all.
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
        if slot.running.is_none() {
            slot.wanted = Some(given);
            if self.slots.may_start(part, self.versions.last_good.as_ref()) {
                self.start_part(part);
            }
        } else if slot.stop_until.is_some() {
            // Only records the configuration while the role is ending; another role starts after
            // that.
            slot.wanted = Some(given);
        } else if let Err(error) = slot.change_sidecar(&self.command, &given) {
            self.part_refused(part, &error.to_string());
        }
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
        let slot = &self.slots[part];
        match slot.start_sidecar(&self.command, &wanted, self.pulses.file()) {
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

    /// Prepares the optional resources of a role before its start; if one cannot be prepared, the
    /// role starts without it.
    fn prepare_part(&mut self, part: &'static str) {
        let program = self.voice.form().program();
        let paths = &self.command.paths;
        let what = self.slots[part].row.entry.display_name;
        if self.slots[part].keep.is_none() && self.slots[part].properties().has_state_file {
            self.slots[part].keep = Keep::open(part, program, paths)
                .map_err(|error| {
                    self.voice.warning(format_args!(
                        "cannot store the state of the {what} ({error}): after a restart it starts from scratch"
                    ));
                })
                .ok();
        }
        if self.slots[part].guard.is_none() {
            // Errors are ignored: without a guard socket no supervisor can adopt the role.
            let _ = self.open_guard(part);
        }
        if self.slots[part].properties().shares_heartbeats && self.pulses.file().is_none() {
            self.pulses
                .share_with(self.slots.serving.running.as_mut(), &mut self.voice);
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
                if self.versions.decides_change(part) {
                    self.change_taken(version, &words);
                }
            }
            SupervisorMessage::Refused { version, words } => {
                let slot = &mut self.slots[part];
                slot.taking.take_if(|taking| taking.version == version);
                if self.versions.decides_change(part) {
                    self.change_failed(Some(version), &words)
                } else {
                    self.part_refused(part, &words)
                }
            }
            // Replaces a role of an older program, which cannot change the heartbeat memory that it
            // started with.
            SupervisorMessage::Unknown { kind } if kind == SupervisorMessage::Shared.kind() => {
                self.replace_part(part);
            }
            SupervisorMessage::Stopping => self.part_stays(part),
            // Ignores that a role of an older program does not know the list of missing roles.
            SupervisorMessage::Unknown { kind } if is_missing(kind) => {}
            // Only stores the shutdown reason; the end of the process is noticed separately.
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
        let Some(changes_memory) = slot.note_applied(version) else {
            return;
        };
        let Some(taken) = &slot.wanted else {
            return;
        };
        tracing::info!(op = %taken.operation, role = part, version, "version applied by a role");
        let without_proxy = taken.without_proxy;
        if changes_memory {
            self.pulses
                .share_with(self.slots.serving.running.as_mut(), &mut self.voice);
            let memory = self.pulses.file().filter(|_| !without_proxy);
            if let Some(role) = &mut self.slots[part].running {
                role.process.share(memory);
            }
        }
    }

    fn part_refused(&mut self, part: &str, words: &str) {
        tracing::info!(role = part, reason = words, "version refused by a role");
        let things = self.slots[part].properties().configured_noun;
        self.voice
            .warning(format_args!("{things} were not changed: {words}"));
    }

    fn part_ready(&mut self, part: &'static str, words: &str) {
        if !words.is_empty() {
            self.voice.notice(words);
        }
        self.slots[part].served = true;
        tracing::info!(role = part, process = self.slots[part].pid(), "role ready");
        self.between.stored.send_to(&mut self.slots[part]);
        self.slots[part].leave_predecessor();
        let candidate = self.versions.candidate.as_ref();
        let candidate = candidate.map(|candidate| candidate.version.take.version);
        if self.versions.decides_change(part)
            && let Some(given) = &self.slots[part].wanted
            && candidate == Some(given.version)
        {
            // Ends the change for which the role was started: it is applied now.
            return self.change_taken(given.version, words);
        }
        if self.versions.decides(part) {
            self.proxy_ready()
        } else {
            // Starts roles that waited for this one.
            self.follow_version()
        }
    }

    pub(super) fn part_ended(
        &mut self,
        part: &'static str,
        role: &RunningRole,
        ending: ProcessExit,
    ) {
        let is_stopping = self.service.stop.is_some();
        trace_end(part, role, ending, is_stopping);
        self.obey_signals();
        let slot = &mut self.slots[part];
        let taking = slot.taking.take();
        if self.process.exit.is_some() {
            return;
        }
        let end = SidecarEnd {
            was_asked_to_end: self.service.stop.is_some() || slot.stop_until.take().is_some(),
            leaves: role.leaves_until.is_some(),
            has_predecessor: slot.predecessor.is_some(),
            served: slot.served,
            decides: self.versions.decides(part),
            once: self.command.once,
        };
        let next = end.next();
        let what = slot.row.entry.display_name;
        if !matches!(next, SidecarNext::Released | SidecarNext::Replaced) {
            tell::role_ended(&mut self.voice, what, role, ending);
        }
        match next {
            SidecarNext::Released => return self.part_released(part),
            SidecarNext::Replaced => return self.start_part(part),
            SidecarNext::PredecessorContinues => {
                slot.running = slot.predecessor.take();
                // Sends the predecessor the messages that were stored while the successor started.
                self.between.stored.send_to(slot);
                return self.part_refused(part, &format!("the new {what} ended"));
            }
            SidecarNext::Exits | SidecarNext::Restarts => {}
        }
        if self.versions.decides_change(part) {
            let words = format!("the {what} died while it loaded the change");
            self.change_failed(None, &words);
            // The last good version decides again whether the role runs at all, because it was
            // started for the change that failed.
            let kept = self.versions.last_good.as_ref();
            self.slots[part].wanted = kept.and_then(|kept| kept.given(part));
            if self.slots[part].wanted.is_none() {
                return;
            }
        } else if taking.is_some() {
            // The successor starts with the version that this role was applying.
            self.slots[part].wanted = taking;
        }
        if next == SidecarNext::Exits {
            self.process.exit = Some(tell::exit_of_role(ending));
            return;
        }
        self.note_crash(part, role, ending);
        self.restart_later(part, role.born, role.ready);
    }

    /// Handles the end of a role that was asked to release what it holds.
    fn part_released(&mut self, part: &'static str) {
        self.slots[part].forget_state(self.command.releases);
        self.slots[part].served = false;
        self.report_part_gone(part);
        if self.service.stop.is_some() {
            if !self.release_parts(false) || self.slots.all_keep_addresses() {
                self.stop_without_parts();
            }
            return;
        }
        self.follow_version();
        if self.versions.decides_change(part) {
            // Starts the role of the change, which waited for the end of the old role.
            let candidate = self.versions.candidate.as_ref();
            let given = candidate.and_then(|candidate| candidate.version.given(part));
            self.slots[part].wanted = given;
            self.start_part(part);
        }
    }

    /// Records during a soft stop that a role keeps addresses which no other machine takes over,
    /// without a time limit. If all running sidecars do, stops the control role and the proxy; the
    /// addresses are released when the proxy has finished.
    fn part_stays(&mut self, part: &'static str) {
        // Ignores the report in a hard stop: the role has received a second message by now.
        if !self.service.stop.is_some_and(|stop| stop.is_soft()) {
            return;
        }
        let slot = &mut self.slots[part];
        if let Some(role) = &mut slot.running {
            (role.keeps_addresses, slot.stop_until) = (true, None);
        }
        if self.slots.all_keep_addresses() {
            self.stop_without_parts();
        }
    }

    pub(super) fn release_what_stayed(&mut self) {
        for part in row::sidecar_parts() {
            let running = self.slots[part].running.as_mut();
            if running.is_some_and(|role| std::mem::take(&mut role.keeps_addresses)) {
                self.release_part(part);
            }
        }
    }

    /// Makes the running sidecars that no other running sidecar needs release what they hold; the
    /// others follow when these have ended. Returns whether a sidecar still runs. With `again`,
    /// roles that have the order receive it again and then do not wait for other machines.
    pub(super) fn release_parts(&mut self, again: bool) -> bool {
        for part in row::sidecar_parts() {
            self.slots[part].restart_at = None;
        }
        let last = self.slots.independent_sidecars();
        for part in &last {
            let slot = &self.slots[*part];
            if again || (slot.stop_until.is_none() && !slot.keeps_addresses()) {
                self.release_part(part);
            }
        }
        !last.is_empty()
    }

    fn release_part(&mut self, part: &'static str) {
        let finishes = self.service.stop.is_some_and(|stop| stop.is_soft());
        let waits = finishes && self.slots.serving.lives();
        let slot = &mut self.slots[part];
        slot.release(if !self.command.releases {
            Manner::Leave
        } else if waits && slot.properties().shares_heartbeats {
            Manner::Yield
        } else {
            Manner::Soft
        });
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
                    slot.forget_state(self.command.releases);
                }
            }
        }
        for part in row::sidecar_parts() {
            self.slots[part].end();
        }
    }

    /// Hands a version without a proxy to the role that decides on it. The other sidecars follow
    /// later.
    pub(super) fn try_parts(&mut self, version: &LoadedVersion) -> Result<(), String> {
        let part = decider(Some(version));
        let Some(given) = version.given(part) else {
            return Err("the version has nothing to run".to_owned());
        };
        let slot = &mut self.slots[part];
        if slot.running.is_some() {
            // Waits if the role is ending: another one starts after that.
            return match slot.stop_until {
                Some(_) => Ok(()),
                None => {
                    (slot.change_sidecar(&self.command, &given)).map_err(|error| error.to_string())
                }
            };
        }
        self.prepare_part(part);
        let slot = &mut self.slots[part];
        let role = slot.start_sidecar(&self.command, &given, self.pulses.file());
        let role = role.map_err(|error| error.to_string())?;
        tell::role_started(&mut self.voice, role.process.number());
        (slot.running, slot.wanted, slot.restart_at) = (Some(role), Some(given), None);
        self.write_role_pid(part);
        Ok(())
    }
}
