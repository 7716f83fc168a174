//! Stops a guest's writes for snapshots ([`crate::standstill`]), with QEMU and the guest agent. A
//! file in the guest's directory marks that file systems may be frozen. It is written before they
//! are, so that the successor of a killed role process thaws them.

use super::GuestRole;
use super::machine::GuestMachine;
use crate::check::agent::AgentCommand;
use crate::check::attempt::Attempt;
use crate::clock::{boottime_ms, boottime_ns};
use crate::life::{DesiredState, QemuStatus};
use crate::message::{Stand, StandstillProgress, StandstillRequest, StandstillStatus};
use crate::standstill::{GuestRunState, Standstill, StandstillOutcome};
use rustix::event::epoll::EventFlags;
use std::fs;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// Timeout for the agent to thaw file systems, milliseconds.
const THAW_MAX_MS: u64 = 5_000;
/// Interval at which the request to thaw file systems is repeated, milliseconds.
const THAW_AGAIN_MS: u64 = 1_000;
/// Maximum time for which an ending role waits for file systems to be thawed.
const END_MAX: Duration = Duration::from_secs(2);
/// Poll interval of an ending role that waits for file systems to be thawed.
const END_LOOK: Duration = Duration::from_millis(20);

/// Standstill with its connection to the guest agent.
#[derive(Debug)]
pub(super) struct ActiveStandstill {
    value: Standstill,
    talk: Option<(AgentCommand, Attempt)>,
    /// Deadline of the running request to the agent, or time at which the next one starts.
    due: u64,
    is_kept: bool,
}

impl ActiveStandstill {
    fn new(value: Standstill, is_kept: bool) -> ActiveStandstill {
        ActiveStandstill {
            value,
            talk: None,
            due: 0,
            is_kept,
        }
    }

    pub(super) fn holds(&self) -> bool {
        self.value.must_pause()
    }

    fn is_over(&self) -> bool {
        self.value.is_over() && !self.is_kept
    }

    fn standstill_response(&self) -> StandstillStatus {
        let value = &self.value;
        let (state, words) = match value.outcome() {
            StandstillOutcome::Begins => (StandstillProgress::Begins, ""),
            StandstillOutcome::Stands => (StandstillProgress::Stands, ""),
            StandstillOutcome::GoesOn => (StandstillProgress::GoesOn, ""),
            StandstillOutcome::Over => (StandstillProgress::Over, ""),
            StandstillOutcome::Broken(why) => (StandstillProgress::Refused, why),
        };
        let (stood_ms, frozen_ms) = value.lasted();
        StandstillStatus {
            state,
            words: words.to_owned(),
            is_down: value.is_down(),
            not_frozen: value.not_frozen().map(str::to_owned),
            stood_ms,
            frozen_ms,
        }
    }
}

impl GuestMachine {
    fn here(&self) -> GuestRunState {
        match self.life.status() {
            _ if !self.life.is_there() => GuestRunState::Down,
            Some(QemuStatus::Running) => GuestRunState::Runs,
            Some(QemuStatus::Paused) if !self.life.may_run() => GuestRunState::Paused,
            _ => GuestRunState::Other,
        }
    }

    /// Continues after a role process that was killed during a standstill: thaws the file systems.
    pub(super) fn resume_standing(&mut self, now: u64) {
        if self.home.frozen().exists() {
            self.note("its file systems may be frozen: thawing them");
            self.standing = Some(ActiveStandstill::new(Standstill::left(now), true));
        }
    }

    /// Advances the standstill. `no`: reason why the guest must not be paused on this node.
    pub(super) fn stand(&mut self, no: Option<&str>, now: u64) {
        let here = self.here();
        let Some(mut standing) = self.standing.take() else {
            return;
        };
        standing.value.turn(here, no, now);
        self.talk(&mut standing, here, now);
        standing.value.turn(here, no, now);
        if standing.is_kept && !standing.value.may_be_frozen() {
            let removed = fs::remove_file(self.home.frozen());
            // Only reports a failure: the next role process would thaw file systems that are not
            // frozen, which the agent ignores.
            if let Err(error) = removed {
                self.note(&format!("cannot remove the file `frozen`: {error}"));
            }
            standing.is_kept = false;
        }
        self.standing = Some(standing);
    }

    fn talk(&mut self, standing: &mut ActiveStandstill, here: GuestRunState, now: u64) {
        let asks = standing.value.next_agent_command(here);
        if standing.talk.as_ref().map(|(command, _)| *command) != asks {
            standing.talk = None;
        }
        let Some(command) = asks else {
            return;
        };
        if standing.talk.is_none() {
            if now < standing.due {
                return;
            }
            self.ask(standing, command, now);
        }
        let Some((_, attempt)) = &mut standing.talk else {
            return;
        };
        let result = attempt.poll_result();
        if attempt.is_synced() && command == AgentCommand::Freeze {
            standing.value.record_agent_response(now);
        }
        // Applies this timeout only to thawing: the standstill itself has the timeout of a freeze.
        let is_late = command == AgentCommand::Thaw && now >= standing.due;
        if result.is_some() || is_late {
            standing.talk = None;
            standing.due = now.saturating_add(THAW_AGAIN_MS);
        }
        if let Some(result) = result {
            if let (AgentCommand::Thaw, Err(words)) = (command, &result) {
                self.note(&format!("its file systems could not be thawed: {words}"));
            }
            standing.value.record_command_result(command, result, now);
        }
    }

    fn ask(&mut self, standing: &mut ActiveStandstill, command: AgentCommand, now: u64) {
        if command == AgentCommand::Freeze && !standing.is_kept {
            if let Err(error) = fs::write(self.home.frozen(), []) {
                let words = format!("{}: {error}", self.home.frozen().display());
                return standing
                    .value
                    .record_command_result(command, Err(words), now);
            }
            standing.is_kept = true;
        }
        match Attempt::agent(&self.home.agent(), command, boottime_ns()) {
            Ok(attempt) => {
                standing.talk = Some((command, attempt));
                standing.due = now.saturating_add(THAW_MAX_MS);
            }
            Err(words) => {
                standing.due = now.saturating_add(THAW_AGAIN_MS);
                standing
                    .value
                    .record_command_result(command, Err(words), now);
            }
        }
    }

    pub(super) fn standing_due(&self) -> Option<u64> {
        let standing = self.standing.as_ref()?;
        let talks = standing
            .value
            .next_agent_command(self.here())
            .map(|_| standing.due);
        let talks = talks.filter(|_| {
            let freezes = standing.talk.as_ref().map(|(command, _)| *command);
            freezes != Some(AgentCommand::Freeze)
        });
        talks.into_iter().chain(standing.value.deadline()).min()
    }

    pub(super) fn standing_watched(&self) -> Option<(BorrowedFd<'_>, EventFlags)> {
        let (_, attempt) = self.standing.as_ref()?.talk.as_ref()?;
        Some(attempt.watched())
    }

    /// Returns whether the file systems have stayed frozen for longer than an agent needs to thaw
    /// them.
    pub(super) fn stays_frozen(&self, now: u64) -> bool {
        let since = self
            .standing
            .as_ref()
            .and_then(|one| one.value.thaws_since());
        since.is_some_and(|since| now >= since.saturating_add(THAW_MAX_MS))
    }

    pub(super) fn stands(&self) -> bool {
        self.standing.as_ref().is_some_and(|one| !one.is_over())
    }
}

impl GuestRole {
    pub(super) fn wish(&self, name: &str) -> DesiredState {
        let wish = self.moving_wish(name);
        let machine = self.machines.get(name);
        let holds = machine
            .and_then(|one| one.standing.as_ref())
            .is_some_and(ActiveStandstill::holds);
        match wish {
            DesiredState::Run if holds => DesiredState::Stand,
            wish => wish,
        }
    }

    pub(super) fn advance_standstills(&mut self, now: u64) {
        let names: Vec<String> = self
            .machines
            .iter()
            .filter(|(_, machine)| machine.stands())
            .map(|(name, _)| name.clone())
            .collect();
        for name in names {
            let no = self.may_not_stand(&name);
            if let Some(machine) = self.machines.get_mut(&name) {
                machine.stand(no.as_deref(), now);
            }
        }
    }

    fn may_not_stand(&self, name: &str) -> Option<String> {
        let machine = self.machines.get(name)?;
        let holder = self.agreement.holder(name);
        if self.moves.departures.contains_key(name) || self.has_incoming_migration(name) {
            return Some("it moves between two nodes".to_owned());
        }
        if !machine.life.is_there() {
            let is_elsewhere = !holder.is_empty() && holder != self.guests.me;
            return is_elsewhere.then(|| format!("it is on {holder}: run the command there"));
        }
        let wish = self.moving_wish(name);
        if wish == DesiredState::Run && !machine.life.is_restarting() {
            return None;
        }
        Some(match wish {
            DesiredState::Freeze => "this node does not hold its lease".to_owned(),
            DesiredState::ShutDown { .. } | DesiredState::Kill => "it is being stopped".to_owned(),
            _ => "it is about to be started or restarted".to_owned(),
        })
    }

    pub fn stand(&mut self, ask: &StandstillRequest) -> StandstillStatus {
        let done = match ask.step {
            Stand::Begin => self.begin_standing(ask),
            Stand::Look => Ok(()),
            Stand::End => self.end_standing(ask),
        };
        self.turn();
        let machine = self.machines.get(&ask.name);
        let standing = machine.and_then(|machine| machine.standing.as_ref());
        let own = standing.filter(|one| one.value.number() == ask.number);
        match (done, own) {
            (Err(words), _) => StandstillStatus::refused(words),
            (Ok(()), Some(own)) => own.standstill_response(),
            (Ok(()), None) => {
                StandstillStatus::refused("the guest role was restarted meanwhile".to_owned())
            }
        }
    }

    fn begin_standing(&mut self, ask: &StandstillRequest) -> Result<(), String> {
        let name = &ask.name;
        let no = self.may_not_stand(name);
        let has_section = self.guests.guests.contains_key(name);
        let machine = self.machines.get_mut(name).filter(|_| has_section);
        let machine =
            machine.ok_or_else(|| format!("the served configuration has no guest '{name}'"))?;
        if machine.stands() {
            return Err("another snapshot of it is being taken".to_owned());
        }
        if let Some(no) = no {
            return Err(no);
        }
        let is_down = match machine.here() {
            GuestRunState::Runs => false,
            GuestRunState::Down => true,
            GuestRunState::Paused | GuestRunState::Other => {
                let shown = machine.shown.as_ref();
                let words = shown.map(|(shown, _)| super::report::state_words(shown));
                let words = words.unwrap_or("starting");
                return Err(format!("it is {words}: it neither runs nor is down"));
            }
        };
        let value = Standstill::begin(ask.number, is_down, boottime_ms());
        machine.standing = Some(ActiveStandstill::new(value, false));
        Ok(())
    }

    fn end_standing(&mut self, ask: &StandstillRequest) -> Result<(), String> {
        let standing = self
            .machines
            .get_mut(&ask.name)
            .and_then(|one| one.standing.as_mut());
        match standing.filter(|one| one.value.number() == ask.number) {
            Some(standing) => {
                standing.value.end();
                Ok(())
            }
            None => Err("the guest role was restarted meanwhile".to_owned()),
        }
    }

    /// Ends all standstills before the role ends: guests resume, and their file systems are
    /// thawed.
    pub(super) fn end_standings(&mut self) {
        if !self.machines.values().any(GuestMachine::stands) {
            return;
        }
        for machine in self.machines.values_mut() {
            if let Some(standing) = &mut machine.standing {
                standing
                    .value
                    .abort_standstill("the guest role was stopped");
            }
        }
        let until = Instant::now() + END_MAX;
        loop {
            self.turn();
            let stands = self.machines.values().any(GuestMachine::stands);
            if !stands || Instant::now() >= until {
                break;
            }
            std::thread::sleep(END_LOOK);
        }
    }
}
