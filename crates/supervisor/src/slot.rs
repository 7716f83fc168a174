//! Manages the slot of a role: its running process, the time of the next start, and the time when
//! the process is killed. All roles share this code; their rows describe the differences
//! ([`RoleRow`]), and the supervisor handles their messages.

use crate::backoff::Backoff;
use crate::crashes::Crashes;
use crate::directory::Entry as Place;
use crate::handed::number;
use crate::state_file::Keep;
use crate::turn::ProcessTurn;
use nix::sys::signal::Signal;
use part::SharedFd;
use part::channel::Channel;
use part::role::{HandedRole, Manner, PartPlan, SupervisorMessage};
use part::row::{self, ControllerProperties, Life, RoleRow};
use part::spawn::Started;
use part::voice::MessagePrinter;
use rustix::event::PollFd;
use std::iter;
use std::ops::{Index, IndexMut};
use std::time::{Duration, Instant};

/// The configuration of a sidecar role in a version.
#[derive(Clone)]
pub struct SidecarConfiguration {
    pub version: u64,
    /// Id of the operation that produced the version, in trace events.
    pub operation: String,
    /// Payload, which only the role can decode.
    pub payload: SharedFd,
    /// Data about the part that the supervisor itself needs.
    pub plan: PartPlan,
    pub without_proxy: bool,
}

/// A process of a role and what the supervisor knows about it, from its start or adoption until its
/// end has been handled.
pub struct RunningRole {
    pub process: Started,
    pub born: Instant,
    pub ready: bool,
    /// True if the role was killed; its end is expected soon.
    pub killed: bool,
    /// True if another supervisor or image started the process.
    pub adopted: bool,
    /// Signal by which the role reported that it ends.
    pub received_signal: Option<Signal>,
    /// Time at which the last helper was started.
    pub helper_at: Option<Instant>,
    /// Helper processes, which run programs of external checks.
    pub helpers: Vec<Started>,
    pub leaves_until: Option<Instant>,
    /// True if the role keeps addresses until the proxy has ended; no other machine takes them over
    /// meanwhile.
    pub keeps_addresses: bool,
    pub last_words: String,
    /// The list of missing roles with clients that was sent to this role; None if unknown.
    pub missing: Option<String>,
}

impl RunningRole {
    pub fn begun(process: Started) -> RunningRole {
        RunningRole {
            ready: false,
            adopted: false,
            missing: Some(String::new()),
            ..RunningRole::adopted(process)
        }
    }

    pub fn adopted(process: Started) -> RunningRole {
        RunningRole {
            process,
            born: Instant::now(),
            ready: true,
            killed: false,
            adopted: true,
            received_signal: None,
            helper_at: None,
            helpers: Vec::new(),
            leaves_until: None,
            keeps_addresses: false,
            last_words: String::new(),
            missing: None,
        }
    }

    /// Creates the value for a process that does not support our messages and waits to be ended.
    pub fn foreign(process: Started) -> RunningRole {
        let mut running = RunningRole::adopted(process);
        running.process.is_channel_closed = true;
        running
    }

    /// Returns when a role that is not ready counts as failed.
    pub fn deadline(&self, limit: Option<Duration>) -> Option<Instant> {
        let waits = !self.ready && !self.killed;
        limit.filter(|_| waits).map(|limit| self.born + limit)
    }

    fn leave_deadline(&self) -> Option<Instant> {
        self.leaves_until.filter(|_| !self.killed)
    }

    /// Sends a message without descriptors. Returns whether the message can arrive; if not, the end
    /// of the process is usually noticed soon.
    pub fn send_message(&mut self, message: &SupervisorMessage) -> bool {
        self.process.send_message(message, &[])
    }

    pub fn ask_to_leave(&mut self, until: Instant) {
        if self.leaves_until.is_none() {
            self.process
                .stop(Manner::Leave, rustix::process::Signal::TERM);
            self.leaves_until = Some(until);
        }
    }

    /// Returns the description for the next program image; `left` is the time until the role is
    /// killed.
    pub fn handed(&self, left: Option<Duration>) -> HandedRole {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        HandedRole {
            pid: self.process.number().cast_unsigned(),
            process: number(&self.process.exit_descriptor()),
            channel: number(&self.process.channel),
            age_ms: ms(self.born.elapsed()),
            left_ms: left.map(ms),
        }
    }

    /// Kills a role that took too long. The main loop notices its end.
    pub fn kill_overdue(&mut self) {
        self.process.kill();
        self.killed = true;
    }
}

/// The slot of a role: its current process, a predecessor during a replacement, the configuration
/// that the role should run, and the times of its next start and of its kill. A slot exists for
/// each row of the table, also if the role does not run.
pub struct RoleSlot {
    pub row: &'static RoleRow,
    pub running: Option<RunningRole>,
    /// The predecessor: it works until the current process is ready, and is listed until it has
    /// ended.
    pub predecessor: Option<RunningRole>,
    pub backoff: Backoff,
    pub crashes: Crashes,
    pub restart_at: Option<Instant>,
    pub stop_until: Option<Instant>,
    /// True if a process of the role was ready at least once.
    pub served: bool,
    /// Entry and socket on which another supervisor would adopt the role.
    pub guard: Option<(Place, SharedFd)>,
    /// Configuration that the role should run; None if the version has nothing for it.
    pub wanted: Option<SidecarConfiguration>,
    pub taking: Option<SidecarConfiguration>,
    pub keep: Option<Keep>,
}

impl RoleSlot {
    pub fn of(row: &'static RoleRow) -> RoleSlot {
        RoleSlot {
            row,
            running: None,
            predecessor: None,
            backoff: Backoff::default(),
            crashes: Crashes::default(),
            restart_at: None,
            stop_until: None,
            served: false,
            guard: None,
            wanted: None,
            taking: None,
            keep: None,
        }
    }

    pub fn is_primary(&self) -> bool {
        matches!(self.row.life, Life::Serves(_))
    }

    /// Returns the current process and its predecessor.
    pub fn all(&self) -> impl Iterator<Item = &RunningRole> {
        self.running.iter().chain(&self.predecessor)
    }

    pub fn lives(&self) -> bool {
        self.all().next().is_some()
    }

    pub fn is_ready(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.ready)
    }

    pub fn is_starting(&self) -> bool {
        self.running.as_ref().is_some_and(|running| !running.ready)
    }

    /// Returns whether no message and no change is in progress, and the process, if there is one,
    /// is ready.
    pub fn is_quiet(&self) -> bool {
        let quiet = |running: &RunningRole| running.ready && running.process.channel.is_quiet();
        let settled = self.predecessor.is_none() && self.taking.is_none();
        settled && self.running.as_ref().is_none_or(quiet)
    }

    pub fn process(&mut self) -> Option<&mut Started> {
        let says_so = self.row.ready_limit.is_some();
        let running = self.running.as_mut();
        let running = running.filter(|running| running.ready || !says_so)?;
        Some(&mut running.process)
    }

    /// Returns the process to check for signs of life, unless it is stopping, and whether its main
    /// loop must respond. A process that is starting or young is still reading its configuration.
    pub fn beating(&mut self) -> Option<(&mut Started, bool)> {
        let old = self.running.as_ref()?.born.elapsed() >= self.row.heartbeat_grace;
        let runs = old && self.process().is_some();
        let stays = self.stop_until.is_none();
        let running = self.running.as_mut().filter(|_| stays)?;
        Some((&mut running.process, runs))
    }

    pub fn pid(&self) -> Option<i32> {
        self.running
            .as_ref()
            .map(|running| running.process.number())
    }

    pub fn silence(&self) -> String {
        let what = self.row.entry.display_name;
        match self.pid() {
            _ if self.is_starting() => format!("the {what} is starting"),
            Some(pid) => format!("the {what} (process {pid}) does not respond"),
            None => format!("the {what} does not run"),
        }
    }

    pub fn listener(&self) -> Option<&SharedFd> {
        self.guard.as_ref().map(|(_, listener)| listener)
    }

    /// Notifies the role that it must continue if it loses its supervisor, and sends the socket at
    /// which another one can adopt it.
    pub fn send_adoption_socket(&mut self) {
        let listener = self.guard.as_ref().map(|(_, listener)| listener);
        if let Some(running) = &mut self.running {
            // Ignored: if the message cannot be sent, the role has ended, which the main loop
            // notices.
            let _ = running.process.set_survives_supervisor(listener);
        }
    }

    /// Sends the role the final counters of a previous process, which the role adds to its own.
    pub fn add_state(&mut self, counts: SharedFd) {
        if let Some(running) = &mut self.running {
            // The error is ignored, because only the last counts are lost.
            let channel = &mut running.process.channel;
            let _ = channel.send(&SupervisorMessage::AddState, &[counts]);
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        let late = self
            .running
            .as_ref()
            .and_then(|one| one.deadline(self.row.ready_limit));
        let all = [late, self.restart_at, self.stop_until];
        let leaves = self.all().filter_map(RunningRole::leave_deadline);
        all.into_iter().flatten().chain(leaves).min()
    }

    /// Kills the process of the role and its predecessor if their timeout has expired, and removes
    /// a predecessor that has ended. Returns whether another process must be started now.
    pub fn check_timeouts(&mut self, now: Instant, voice: &mut MessagePrinter) -> bool {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        // Checks the current process, too, which may be leaving: without overlap the successor
        // waits for its end.
        for one in self.running.iter_mut().chain(&mut self.predecessor) {
            if due(one.leave_deadline()) {
                one.kill_overdue();
            }
        }
        if let Some(before) = &mut self.predecessor {
            // Reads and drops the messages of the predecessor.
            while before.process.receive_message(voice).is_some() {}
            if before.process.process_exit().is_some() {
                self.predecessor = None;
            }
        }
        let late = self
            .running
            .as_ref()
            .and_then(|one| one.deadline(self.row.ready_limit));
        if due(late) || due(self.stop_until) {
            self.stop_until = None;
            if let Some(running) = &mut self.running {
                running.kill_overdue();
            }
        }
        self.restart_at.take_if(|at| *at <= now).is_some()
    }

    /// Waits for the end of the process until its stop timeout, or not at all without one, and then
    /// kills it. The predecessor is killed at once.
    pub fn end(&mut self) {
        let until = self.stop_until.take().unwrap_or_else(Instant::now);
        if let Some(mut running) = self.running.take() {
            running.process.wait_for_end(until);
        }
        if let Some(mut before) = self.predecessor.take() {
            before.process.kill_and_wait();
        }
    }
}

pub struct Slots {
    pub serving: RoleSlot,
    sidecar_slots: Vec<RoleSlot>,
    pub governing: RoleSlot,
}

impl Default for Slots {
    fn default() -> Slots {
        let of = |life: fn(&Life) -> bool| {
            let mut rows = row::all().iter();
            rows.find(|row| life(&row.life))
                .map(|row| RoleSlot::of(row))
                .expect("the table has such a role")
        };
        let beside = row::all().iter().filter(|row| row.sidecar().is_some());
        Slots {
            serving: of(|life| matches!(life, Life::Serves(_))),
            sidecar_slots: beside.map(|row| RoleSlot::of(row)).collect(),
            governing: of(|life| matches!(life, Life::Governs(_))),
        }
    }
}

impl Slots {
    /// Creates slots whose primary and control roles never run.
    #[cfg(test)]
    pub fn of_test(sidecar_slots: Vec<RoleSlot>) -> Slots {
        static OTHER: RoleRow = RoleRow::plain(
            "other",
            part::spawn::LOADER_ENTRY,
            |_| std::process::ExitCode::SUCCESS,
            "tests",
        );
        Slots {
            serving: RoleSlot::of(&OTHER),
            sidecar_slots,
            governing: RoleSlot::of(&OTHER),
        }
    }

    pub fn all(&self) -> impl Iterator<Item = &RoleSlot> {
        let first = iter::once(&self.serving).chain(&self.sidecar_slots);
        first.chain(iter::once(&self.governing))
    }

    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut RoleSlot> {
        let first = iter::once(&mut self.serving).chain(&mut self.sidecar_slots);
        first.chain(iter::once(&mut self.governing))
    }

    pub fn sidecars(&self) -> impl Iterator<Item = &RoleSlot> {
        self.sidecar_slots.iter()
    }

    pub fn controller(&self) -> ControllerProperties {
        match self.governing.row.life {
            Life::Governs(governs) => governs,
            _ => unreachable!("the control role has a slot"),
        }
    }

    pub fn watched(&self) -> impl Iterator<Item = PollFd<'_>> {
        let running = self.all().flat_map(RoleSlot::all);
        running.flat_map(|running| running.process.watched())
    }

    pub fn channels(&self) -> impl Iterator<Item = &Channel> {
        let running = self.all().flat_map(RoleSlot::all);
        let audible = running.filter(|running| !running.process.is_channel_closed);
        audible.map(|running| &running.process.channel)
    }

    /// Starts reading the messages of a part's role.
    pub fn begin_reading(&mut self, part: &str) -> Option<ProcessTurn> {
        let running = self[part].running.as_mut()?;
        Some(ProcessTurn::of(&mut running.process))
    }
}

impl Index<&str> for Slots {
    type Output = RoleSlot;

    fn index(&self, part: &str) -> &RoleSlot {
        let slot = self.all().find(|slot| slot.row.part == part);
        slot.expect("a part of the table")
    }
}

impl IndexMut<&str> for Slots {
    fn index_mut(&mut self, part: &str) -> &mut RoleSlot {
        let slot = self.all_mut().find(|slot| slot.row.part == part);
        slot.expect("a part of the table")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bed::{Theirs, bed, voice};
    use part::spawn::LOADER_ENTRY;
    use std::process::ExitCode;

    /// Row of a role of which two processes must not run at the same time.
    static ROW: RoleRow = RoleRow::plain("test", LOADER_ENTRY, |_| ExitCode::SUCCESS, "tests");
    const LIMIT: Duration = Duration::from_secs(2);

    fn slot() -> (RoleSlot, Theirs) {
        let (process, theirs) = bed();
        let running = Some(RunningRole::adopted(process));
        let slot = RoleSlot {
            running,
            ..RoleSlot::of(&ROW)
        };
        (slot, theirs)
    }

    fn ends_within(running: &mut Option<RunningRole>, time: Duration) -> bool {
        let process = &mut running.as_mut().expect("a process").process;
        lab::eventually(time, || process.process_exit().is_some())
    }

    fn ends(running: &mut Option<RunningRole>) -> bool {
        ends_within(running, Duration::from_secs(20))
    }

    fn stays(running: &mut Option<RunningRole>) -> bool {
        !ends_within(running, Duration::from_millis(100))
    }

    #[test]
    fn slow_predecessor_is_killed() {
        let (mut slot, mut theirs) = slot();
        let until = Instant::now() + LIMIT;
        slot.running
            .as_mut()
            .expect("a process")
            .ask_to_leave(until);
        let received = theirs.channel.wait(Some(LIMIT)).expect("a message");
        assert_eq!(received.message, SupervisorMessage::Stop(Manner::Leave));
        assert_eq!(slot.deadline(), Some(until));
        assert!(!slot.check_timeouts(until - Duration::from_millis(1), &mut voice()));
        assert!(stays(&mut slot.running));
        assert!(!slot.check_timeouts(until, &mut voice()));
        assert!(ends(&mut slot.running));
        // After the kill no timeout is pending: only the end of the process is awaited.
        assert_eq!(slot.deadline(), None);
    }

    #[test]
    fn role_without_a_stop_request_is_never_killed() {
        let (mut slot, _theirs) = slot();
        assert_eq!(slot.deadline(), None);
        assert!(!slot.check_timeouts(Instant::now() + LIMIT * 1000, &mut voice()));
        assert!(stays(&mut slot.running));
    }

    #[test]
    fn predecessor_ends_in_time_and_successor_stays() {
        let (mut slot, _theirs) = slot();
        let (next, _its) = bed();
        slot.predecessor = slot.running.replace(RunningRole::adopted(next));
        let until = Instant::now() + LIMIT;
        slot.predecessor
            .as_mut()
            .expect("a process")
            .ask_to_leave(until);
        assert_eq!(slot.deadline(), Some(until));
        // The first poll kills the process and may already notice its end.
        let gone = || {
            assert!(!slot.check_timeouts(until, &mut voice()));
            slot.predecessor.is_none()
        };
        assert!(lab::eventually(Duration::from_secs(20), gone));
        assert!(stays(&mut slot.running));
    }
}
