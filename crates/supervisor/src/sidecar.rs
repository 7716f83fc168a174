//! Carries out the steps in the life of a sidecar role that concern only its slot: start, change,
//! stop and hand-over. Also decides which sidecars may start or stop next.

use crate::command::StartParameters;
use crate::handed::socket;
use crate::resumed::{ResumeError, Resumed};
use crate::slot::{RoleSlot, RunningRole, SidecarConfiguration, Slots};
use crate::state_file::Keep;
use crate::version::LoadedVersion;
use part::SharedFd;
use part::role::{HandedPart, Manner, SupervisorMessage, Take};
use part::row::SidecarProperties;
use part::spawn::{self, OWN_PROGRAM, StartFailure, Started};
use rustix::process::Signal;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time for a role to release what it holds, in addition to the time that the role requests.
const RELEASE_LIMIT: Duration = Duration::from_secs(5);
/// Time for a role to end after it was asked to leave for a successor.
const LEAVE_LIMIT: Duration = Duration::from_secs(2);

impl RoleSlot {
    /// Returns the sidecar properties of the role; those of a plain sidecar if the table has none
    /// for it.
    pub fn properties(&self) -> SidecarProperties {
        let properties = self.row.sidecar().copied();
        properties.unwrap_or(SidecarProperties::plain(""))
    }

    /// Starts a process of the role with the state that the state file of the role contains.
    /// `memory` is the heartbeat memory of the proxy.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn start_sidecar(
        &self,
        command: &StartParameters,
        given: &SidecarConfiguration,
        memory: Option<&SharedFd>,
    ) -> Result<RunningRole, StartFailure> {
        let shares = self.properties().shares_heartbeats && !given.without_proxy;
        let parcel = Parcel {
            options: command.options_of(self.row.part),
            keep: self.keep.as_ref().map(Keep::file),
            shared: memory.filter(|_| shares),
        };
        let (mut take, descriptors) = parcel.take(given);
        take.personality = command.personality;
        let first = |process: &mut Started| {
            if let Some(listener) = self.listener() {
                process.set_survives_supervisor(Some(listener))?;
            }
            process.send(&SupervisorMessage::Take(Box::new(take)), &descriptors)
        };
        let (program, entry) = (Path::new(OWN_PROGRAM), self.row.entry);
        let process = spawn::start(program, entry, command.personality, &[], first)?;
        Ok(RunningRole::begun(process))
    }

    /// Sends the role the configuration of a version, which the role applies or refuses later. Does
    /// nothing if the role does not run.
    ///
    /// # Errors
    /// The version cannot be sent, such as over a closed channel.
    pub fn change_sidecar(
        &mut self,
        command: &StartParameters,
        given: &SidecarConfiguration,
    ) -> Result<(), StartFailure> {
        let parcel = Parcel {
            options: command.options_of(self.row.part),
            keep: None,
            shared: None,
        };
        let (take, descriptors) = parcel.take(given);
        if let Some(role) = &mut self.running {
            let message = SupervisorMessage::Take(Box::new(take));
            role.process.send(&message, &descriptors)?;
            self.taking = Some(given.clone());
        }
        Ok(())
    }

    /// Records that the role has applied a version. Returns whether the role's use of the heartbeat
    /// memory changes with that: the version has the first listener, or the last one is gone. None
    /// for another version than the role was given.
    pub fn note_applied(&mut self, version: u64) -> Option<bool> {
        let taken = self.taking.take_if(|taking| taking.version == version)?;
        let without_proxy = taken.without_proxy;
        let before = self.wanted.replace(taken);
        // Counts as a change for an adopted role, whose previous version is unknown.
        let differs = before.is_none_or(|before| before.without_proxy != without_proxy);
        Some(differs && self.properties().shares_heartbeats)
    }

    /// Makes the role end for its successor, and leave everything in place.
    pub fn leave(&mut self) {
        let until = Instant::now() + LEAVE_LIMIT;
        if let Some(role) = &mut self.running {
            role.ask_to_leave(until);
        }
    }

    /// Makes the predecessor process of a role end, because its successor works, or because no
    /// process of the role must work any longer.
    pub fn leave_predecessor(&mut self) {
        let until = Instant::now() + LEAVE_LIMIT;
        if let Some(before) = &mut self.predecessor {
            before.ask_to_leave(until);
        }
    }

    /// Asks the role to end, and to release what it holds. A later call repeats the request with
    /// the same timeout.
    pub fn release(&mut self, manner: Manner) {
        self.leave_predecessor();
        let Some(role) = &mut self.running else {
            return;
        };
        role.process.stop(manner, Signal::TERM);
        let longest = self.wanted.as_ref().map_or(0, |given| given.plan.stop_ms);
        let limit = RELEASE_LIMIT.saturating_add(Duration::from_millis(longest));
        let until = Instant::now().checked_add(limit);
        self.stop_until = self.stop_until.or(until);
    }

    /// Closes the state file of a role that has ended. If the role released what it held
    /// (`releases`), also removes the file, unless its state survives a stop and is not empty.
    pub fn forget_state(&mut self, releases: bool) {
        let remembers = self.properties().state_survives_stop;
        if let Some(keep) = self.keep.take()
            && releases
            && (!remembers || keep.is_empty())
        {
            keep.forget();
        }
    }

    /// Returns whether the role keeps addresses until the proxy has finished.
    pub fn keeps_addresses(&self) -> bool {
        let running = self.running.as_ref();
        running.is_some_and(|role| role.keeps_addresses)
    }
}

impl Slots {
    /// Returns whether the roles that a part depends on are ready, if the version has them.
    pub fn may_start(&self, part: &str, version: Option<&LoadedVersion>) -> bool {
        let is_there = |need: &&&str| version.is_some_and(|version| version.has(need));
        let properties = self[part].properties();
        let mut needs = properties.dependencies.iter().filter(is_there);
        needs.all(|need| self[*need].is_ready())
    }

    /// Returns the running sidecars on which no other running sidecar depends.
    pub fn independent_sidecars(&self) -> Vec<&'static str> {
        let running = || self.sidecars().filter(|slot| slot.running.is_some());
        let is_needed = |part: &str| {
            let mut others = running();
            others.any(|other| other.properties().dependencies.contains(&part))
        };
        let parts = running().map(|slot| slot.row.part);
        parts.filter(|part| !is_needed(part)).collect()
    }

    /// Returns whether all running sidecars keep addresses until the proxy has finished.
    pub fn all_keep_addresses(&self) -> bool {
        let mut running = self.sidecars().filter(|slot| slot.running.is_some());
        running.all(RoleSlot::keeps_addresses)
    }

    /// Returns the descriptions of the sidecars for the next program image.
    pub fn hand_sidecars_over(&self) -> Vec<HandedPart> {
        let handed = self.sidecars().map(|slot| HandedPart {
            part: slot.row.part.to_owned(),
            role: slot.running.as_ref().map(|role| role.handed(None)),
            guard: (slot.guard.as_ref()).map(|(entry, fd)| socket(&**fd, entry.socket())),
            keep: (slot.keep.as_ref()).map(|keep| socket(&**keep.file(), keep.path())),
        });
        handed.collect()
    }

    /// Restores a sidecar that the previous program image handed over. A part that this program
    /// does not have is ignored.
    ///
    /// # Errors
    /// A descriptor is missing; what was restored until then stays.
    pub fn resume_sidecar(
        &mut self,
        handed: &HandedPart,
        left: &mut Resumed,
    ) -> Result<(), ResumeError> {
        let mut sidecars = self.all_mut().filter(|slot| slot.row.sidecar().is_some());
        let Some(slot) = sidecars.find(|slot| slot.row.part == handed.part) else {
            return Ok(());
        };
        if let Some(role) = &handed.role {
            slot.running = Some(left.role(role, slot.row.entry)?);
            slot.served = true;
        }
        if let Some(guard) = &handed.guard {
            let (entry, listener) = left.socket(guard)?;
            slot.guard = Some((entry, Arc::new(listener)));
        }
        if let Some(keep) = &handed.keep {
            slot.keep = Some(Keep::kept(keep.path(), left.take(keep.descriptor)?));
        }
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bed::{Theirs, bed};
    use part::memory;
    use part::role::PartPlan;
    use part::row::{Life, RoleRow};
    use part::spawn::LOADER_ENTRY;
    use std::process::ExitCode;

    const fn row(part: &'static str, properties: SidecarProperties) -> RoleRow {
        let row = RoleRow::plain(part, LOADER_ENTRY, |_| ExitCode::SUCCESS, "tests");
        RoleRow {
            life: Life::Beside(properties),
            ..row
        }
    }

    static ADDRESS: RoleRow = row(
        "address",
        SidecarProperties {
            shares_heartbeats: true,
            ..SidecarProperties::plain("addresses")
        },
    );
    static VOLUME: RoleRow = row("volume", SidecarProperties::plain("volumes"));
    static GUEST: RoleRow = row(
        "guest",
        SidecarProperties {
            dependencies: &["volume"],
            ..SidecarProperties::plain("guests")
        },
    );

    fn given(version: u64, without_proxy: bool) -> SidecarConfiguration {
        SidecarConfiguration {
            version,
            operation: String::new(),
            payload: Arc::new(memory::create("test", b"payload").expect("memory")),
            plan: PartPlan::default(),
            without_proxy,
        }
    }

    fn slot(row: &'static RoleRow) -> (RoleSlot, Theirs) {
        let (process, theirs) = bed();
        let mut slot = RoleSlot::of(row);
        slot.running = Some(RunningRole::adopted(process));
        (slot, theirs)
    }

    fn slots() -> (Slots, Vec<Theirs>) {
        let (sidecars, theirs): (Vec<_>, Vec<_>) =
            [&ADDRESS, &VOLUME, &GUEST].map(slot).into_iter().unzip();
        (Slots::of_test(sidecars), theirs)
    }

    #[test]
    fn applied_version_is_the_wanted_one() {
        let command = StartParameters::default();
        let (mut slot, mut theirs) = slot(&ADDRESS);
        assert_eq!(slot.note_applied(1), None, "nothing was given");
        for (version, without_proxy, changes_memory) in [
            (1, false, true),
            (2, false, false),
            (3, true, true),
            (4, true, false),
        ] {
            let given = given(version, without_proxy);
            slot.change_sidecar(&command, &given).expect("sent");
            let received = theirs.channel.wait(None).expect("a message");
            assert!(matches!(received.message, SupervisorMessage::Take(_)));
            assert_eq!(slot.note_applied(version + 1), None);
            assert_eq!(slot.note_applied(version), Some(changes_memory));
            assert_eq!(slot.note_applied(version), None, "twice");
            assert_eq!(slot.wanted.as_ref().map(|one| one.version), Some(version));
        }
        slot.running = None;
        slot.change_sidecar(&command, &given(5, true))
            .expect("nothing");
        assert!(slot.taking.is_none());
    }

    #[test]
    fn second_release_repeats_the_request_with_the_same_timeout() {
        let (mut slot, mut theirs) = slot(&ADDRESS);
        slot.release(Manner::Yield);
        let until = slot.stop_until;
        assert!(until.is_some());
        slot.release(Manner::Soft);
        assert_eq!(slot.stop_until, until);
        for manner in [Manner::Yield, Manner::Soft] {
            let received = theirs.channel.wait(None).expect("a message");
            assert_eq!(received.message, SupervisorMessage::Stop(manner));
        }
        slot.running = None;
        slot.stop_until = None;
        slot.release(Manner::Soft);
        assert_eq!(slot.stop_until, None, "nothing runs");
    }

    #[test]
    fn dependent_sidecars_start_last_and_stop_first() {
        let (mut slots, _theirs) = slots();
        let mut take = Take::default();
        take.plan.without_proxy = true;
        take.plan.parts = ["volume", "guest"].map(plan_of).to_vec();
        let bundle = memory::create("test", b"a bundle").expect("memory");
        let version = LoadedVersion::of(take, bundle, Vec::new());
        assert!(slots.may_start("guest", Some(&version)));
        assert_eq!(slots.independent_sidecars(), ["address", "guest"]);
        let volume = &mut slots["volume"].running;
        volume.as_mut().expect("a role").ready = false;
        assert!(!slots.may_start("guest", Some(&version)));
        assert!(slots.may_start("volume", Some(&version)));
        assert!(slots.may_start("guest", None), "nobody needs volumes");
        slots["guest"].running = None;
        assert_eq!(slots.independent_sidecars(), ["address", "volume"]);
        slots["volume"].running = None;
        slots["address"].running = None;
        assert!(slots.independent_sidecars().is_empty());
    }

    fn plan_of(part: &str) -> PartPlan {
        PartPlan {
            part: part.to_owned(),
            ..PartPlan::default()
        }
    }

    #[test]
    fn addresses_stay_only_if_no_other_sidecar_runs() {
        let (mut slots, _theirs) = slots();
        let address = slots["address"].running.as_mut();
        address.expect("a role").keeps_addresses = true;
        assert!(!slots.all_keep_addresses());
        slots["volume"].running = None;
        slots["guest"].running = None;
        assert!(slots.all_keep_addresses());
        slots["address"].running = None;
        assert!(slots.all_keep_addresses());
    }
}
