//! The slot of a role: its running process, the time of the next start, and the time when the
//! process is killed. All roles share this code; their rows describe the differences ([`RoleRow`]),
//! and the supervisor handles their messages.

use crate::backoff::Backoff;
use crate::crashes::Crashes;
use crate::directory::Entry as Place;
use crate::handed::number;
use crate::state_file::Keep;
use crate::turn::Turn;
use nix::sys::signal::Signal;
use part::Shared;
use part::channel::Channel;
use part::role::{HandedRole, Manner, Message, PartPlan};
use part::row::{self, Life, RoleRow};
use part::spawn::Started;
use part::voice::Voice;
use rustix::event::PollFd;
use std::iter;
use std::ops::{Index, IndexMut};
use std::time::{Duration, Instant};

/// The configuration of a sidecar role in a version.
#[derive(Clone)]
pub struct Given {
    /// Number of the version.
    pub version: u64,
    /// Payload, which only the role can decode.
    pub payload: Shared,
    /// The supervisor's view of the part.
    pub plan: PartPlan,
    /// True if the version has no proxy.
    pub without_proxy: bool,
}

/// A running role.
pub struct Running {
    /// The process of the role.
    pub process: Started,
    /// Start time of the process.
    pub born: Instant,
    /// True if the role is ready.
    pub ready: bool,
    /// True if the role was killed; its end is expected soon.
    pub killed: bool,
    /// True if another supervisor or image started the process.
    pub adopted: bool,
    /// Signal by which the role reported that it ends.
    pub obeys: Option<Signal>,
    /// Time at which the last helper was started.
    pub helper_at: Option<Instant>,
    /// Helper processes, which run programs of external checks.
    pub helpers: Vec<Started>,
    /// Time at which the role is killed after it was asked to leave.
    pub leaves_until: Option<Instant>,
    /// True if the role keeps addresses that no other machine takes over, until the proxy has
    /// ended.
    pub stays: bool,
    /// Shutdown reason that the role reported.
    pub last_words: String,
    /// The list of missing roles with clients that was sent to this role; None if unknown.
    pub missing: Option<String>,
}

impl Running {
    /// Creates the value for a process that was started just now.
    pub fn begun(process: Started) -> Running {
        Running {
            ready: false,
            adopted: false,
            missing: Some(String::new()),
            ..Running::adopted(process)
        }
    }

    /// Creates the value for a process that is ready already.
    pub fn adopted(process: Started) -> Running {
        Running {
            process,
            born: Instant::now(),
            ready: true,
            killed: false,
            adopted: true,
            obeys: None,
            helper_at: None,
            helpers: Vec::new(),
            leaves_until: None,
            stays: false,
            last_words: String::new(),
            missing: None,
        }
    }

    /// Creates the value for a process that does not support our messages and waits to be ended.
    pub fn foreign(process: Started) -> Running {
        let mut running = Running::adopted(process);
        running.process.silent = true;
        running
    }

    /// Returns when a role that is not ready counts as failed.
    pub fn deadline(&self, limit: Option<Duration>) -> Option<Instant> {
        let waits = !self.ready && !self.killed;
        limit.filter(|_| waits).map(|limit| self.born + limit)
    }

    /// Returns when a leaving role is killed.
    fn leave_deadline(&self) -> Option<Instant> {
        self.leaves_until.filter(|_| !self.killed)
    }

    /// Sends a message without descriptors. Returns whether the message can arrive; if not, the end
    /// of the process is usually noticed soon.
    pub fn say(&mut self, message: &Message) -> bool {
        self.process.say(message, &[])
    }

    /// Tells the role to end and to leave everything to its successor.
    pub fn leave(&mut self, until: Instant) {
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
            process: number(&self.process.end()),
            channel: number(&self.process.channel),
            age_ms: ms(self.born.elapsed()),
            left_ms: left.map(ms),
        }
    }

    /// Kills a role that took too long. The main loop notices its end.
    pub fn give_up(&mut self) {
        self.process.kill();
        self.killed = true;
    }
}

/// The slot of a role.
pub struct Slot {
    /// The properties of the role.
    pub row: &'static RoleRow,
    /// The current process.
    pub running: Option<Running>,
    /// The predecessor: it works until the current process is ready, and is listed until it has
    /// ended.
    pub before: Option<Running>,
    /// Restart delay.
    pub backoff: Backoff,
    /// Unexpected ends of the role's processes.
    pub crashes: Crashes,
    /// Time of the next start.
    pub restart_at: Option<Instant>,
    /// Time at which a stopping role is killed.
    pub stop_until: Option<Instant>,
    /// True if a process of the role was ready at least once.
    pub served: bool,
    /// Entry and socket on which another supervisor would adopt the role.
    pub guard: Option<(Place, Shared)>,
    /// Configuration that the role should run; None if the version has nothing for it.
    pub wanted: Option<Given>,
    /// Configuration that the role is applying.
    pub taking: Option<Given>,
    /// State file of the role.
    pub keep: Option<Keep>,
}

impl Slot {
    /// Creates an empty slot.
    pub fn of(row: &'static RoleRow) -> Slot {
        Slot {
            row,
            running: None,
            before: None,
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

    /// Returns whether this is the primary role.
    pub fn serves(&self) -> bool {
        matches!(self.row.life, Life::Serves(_))
    }

    /// Returns the current process and its predecessor.
    pub fn all(&self) -> impl Iterator<Item = &Running> {
        self.running.iter().chain(&self.before)
    }

    /// Returns whether a process of the role exists.
    pub fn lives(&self) -> bool {
        self.all().next().is_some()
    }

    /// Returns whether the role is ready.
    pub fn is_ready(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.ready)
    }

    /// Returns whether a process is starting.
    pub fn is_starting(&self) -> bool {
        self.running.as_ref().is_some_and(|running| !running.ready)
    }

    /// Returns whether no message and no change is in progress.
    pub fn is_quiet(&self) -> bool {
        let quiet = |running: &Running| running.ready && running.process.channel.is_quiet();
        let settled = self.before.is_none() && self.taking.is_none();
        settled && self.running.as_ref().is_none_or(quiet)
    }

    /// Returns the process if it can receive messages.
    pub fn process(&mut self) -> Option<&mut Started> {
        let says_so = self.row.ready_limit.is_some();
        let running = self.running.as_mut();
        let running = running.filter(|running| running.ready || !says_so)?;
        Some(&mut running.process)
    }

    /// Returns the process to check for signs of life, unless it is stopping, and whether its main
    /// loop must respond. A process that is starting or young is still reading its configuration.
    pub fn beating(&mut self) -> Option<(&mut Started, bool)> {
        let old = self.running.as_ref()?.born.elapsed() >= self.row.beats_after;
        let runs = old && self.process().is_some();
        let stays = self.stop_until.is_none();
        let running = self.running.as_mut().filter(|_| stays)?;
        Some((&mut running.process, runs))
    }

    /// Returns the process id, for messages and files.
    pub fn pid(&self) -> Option<i32> {
        self.running
            .as_ref()
            .map(|running| running.process.number())
    }

    /// Returns why the role does not respond, as text.
    pub fn silence(&self) -> String {
        let what = self.row.entry.what;
        match self.pid() {
            _ if self.is_starting() => format!("the {what} is starting"),
            Some(pid) => format!("the {what} (process {pid}) does not respond"),
            None => format!("the {what} does not run"),
        }
    }

    /// Returns the socket on which another supervisor would connect to the role.
    pub fn listener(&self) -> Option<&Shared> {
        self.guard.as_ref().map(|(_, listener)| listener)
    }

    /// Tells the role to continue without a supervisor, and sends the socket on which it would be
    /// adopted.
    pub fn tell_guard(&mut self) {
        let listener = self.guard.as_ref().map(|(_, listener)| listener);
        if let Some(running) = &mut self.running {
            // If the message cannot be sent, the role has ended; the main loop notices that.
            let _ = running.process.guard(listener);
        }
    }

    /// Returns when the next timer expires.
    pub fn deadline(&self) -> Option<Instant> {
        let late = self
            .running
            .as_ref()
            .and_then(|one| one.deadline(self.row.ready_limit));
        let all = [late, self.restart_at, self.stop_until];
        let leaves = self.all().filter_map(Running::leave_deadline);
        all.into_iter().flatten().chain(leaves).min()
    }

    /// Kills processes whose timeout has expired. Returns whether another process must be started
    /// now.
    pub fn look_at_clock(&mut self, now: Instant, voice: &mut Voice) -> bool {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        // The current process may be leaving, too: without overlap the successor waits for its end.
        for one in self.running.iter_mut().chain(&mut self.before) {
            if due(one.leave_deadline()) {
                one.give_up();
            }
        }
        if let Some(before) = &mut self.before {
            // Messages of the predecessor are dropped.
            while before.process.hear(voice).is_some() {}
            if before.process.ended().is_some() {
                self.before = None;
            }
        }
        let late = self
            .running
            .as_ref()
            .and_then(|one| one.deadline(self.row.ready_limit));
        if due(late) || due(self.stop_until) {
            self.stop_until = None;
            if let Some(running) = &mut self.running {
                running.give_up();
            }
        }
        self.restart_at.take_if(|at| *at <= now).is_some()
    }

    /// Ends the processes; they are killed when their stop timeout expires.
    pub fn end(&mut self) {
        let until = self.stop_until.take().unwrap_or_else(Instant::now);
        if let Some(mut running) = self.running.take() {
            running.process.wait_for_end(until);
        }
        if let Some(mut before) = self.before.take() {
            before.process.end_now();
        }
    }
}

/// The slots of all roles.
pub struct Slots {
    /// The primary role.
    pub serving: Slot,
    beside: Vec<Slot>,
    /// The control role.
    pub governing: Slot,
}

impl Default for Slots {
    fn default() -> Slots {
        let of = |life: fn(&Life) -> bool| {
            let mut rows = row::all().iter();
            rows.find(|row| life(&row.life))
                .map(|row| Slot::of(row))
                .expect("the table has such a role")
        };
        let beside = row::all().iter().filter(|row| row.beside().is_some());
        Slots {
            serving: of(|life| matches!(life, Life::Serves(_))),
            beside: beside.map(|row| Slot::of(row)).collect(),
            governing: of(|life| matches!(life, Life::Governs(_))),
        }
    }
}

impl Slots {
    /// Returns all slots in the order of the table.
    pub fn all(&self) -> impl Iterator<Item = &Slot> {
        let first = iter::once(&self.serving).chain(&self.beside);
        first.chain(iter::once(&self.governing))
    }

    /// Returns all slots in the order of the table.
    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        let first = iter::once(&mut self.serving).chain(&mut self.beside);
        first.chain(iter::once(&mut self.governing))
    }

    /// Returns the slots of the sidecar roles.
    pub fn beside(&self) -> impl Iterator<Item = &Slot> {
        self.beside.iter()
    }

    /// Returns the descriptors to poll.
    pub fn watched(&self) -> impl Iterator<Item = PollFd<'_>> {
        let running = self.all().flat_map(Slot::all);
        running.flat_map(|running| running.process.watched())
    }

    /// Returns the channels that are open.
    pub fn channels(&self) -> impl Iterator<Item = &Channel> {
        let running = self.all().flat_map(Slot::all);
        let audible = running.filter(|running| !running.process.silent);
        audible.map(|running| &running.process.channel)
    }

    /// Starts reading the messages of a part's role.
    pub fn turn(&mut self, part: &str) -> Option<Turn> {
        let running = self[part].running.as_mut()?;
        Some(Turn::of(&mut running.process))
    }
}

impl Index<&str> for Slots {
    type Output = Slot;

    fn index(&self, part: &str) -> &Slot {
        let slot = self.all().find(|slot| slot.row.part == part);
        slot.expect("a part of the table")
    }
}

impl IndexMut<&str> for Slots {
    fn index_mut(&mut self, part: &str) -> &mut Slot {
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

    /// A role whose successor does not overlap with it.
    static ROW: RoleRow = RoleRow::plain("test", LOADER_ENTRY, |_| ExitCode::SUCCESS, "tests");
    const LIMIT: Duration = Duration::from_secs(2);

    /// Creates a slot with a process, and the other end of its channel.
    fn slot() -> (Slot, Theirs) {
        let (process, theirs) = bed();
        let running = Some(Running::adopted(process));
        let slot = Slot {
            running,
            ..Slot::of(&ROW)
        };
        (slot, theirs)
    }

    /// Returns whether a process ends within the time.
    fn ends_within(running: &mut Option<Running>, time: Duration) -> bool {
        let process = &mut running.as_mut().expect("a process").process;
        lab::eventually(time, || process.ended().is_some())
    }

    /// Returns whether a process is killed.
    fn ends(running: &mut Option<Running>) -> bool {
        ends_within(running, Duration::from_secs(20))
    }

    /// Returns whether a process continues to run.
    fn stays(running: &mut Option<Running>) -> bool {
        !ends_within(running, Duration::from_millis(100))
    }

    #[test]
    fn a_role_that_makes_room_for_the_next_one_is_killed_when_it_takes_too_long() {
        let (mut slot, mut theirs) = slot();
        let until = Instant::now() + LIMIT;
        slot.running.as_mut().expect("a process").leave(until);
        let received = theirs.channel.wait(Some(LIMIT)).expect("a message");
        assert_eq!(received.message, Message::Stop(Manner::Leave));
        assert_eq!(slot.deadline(), Some(until));
        assert!(!slot.look_at_clock(until - Duration::from_millis(1), &mut voice()));
        assert!(stays(&mut slot.running));
        assert!(!slot.look_at_clock(until, &mut voice()));
        assert!(ends(&mut slot.running));
        // No timer is set until the end is noticed.
        assert_eq!(slot.deadline(), None);
    }

    #[test]
    fn a_role_that_was_not_told_to_leave_is_never_killed_for_its_age() {
        let (mut slot, _theirs) = slot();
        assert_eq!(slot.deadline(), None);
        assert!(!slot.look_at_clock(Instant::now() + LIMIT * 1000, &mut voice()));
        assert!(stays(&mut slot.running));
    }

    #[test]
    fn a_role_that_is_followed_leaves_in_time_and_its_successor_stays() {
        let (mut slot, _theirs) = slot();
        let (next, _its) = bed();
        slot.before = slot.running.replace(Running::adopted(next));
        let until = Instant::now() + LIMIT;
        slot.before.as_mut().expect("a process").leave(until);
        assert_eq!(slot.deadline(), Some(until));
        // The first poll kills the process and may already notice its end.
        let gone = || {
            assert!(!slot.look_at_clock(until, &mut voice()));
            slot.before.is_none()
        };
        assert!(lab::eventually(Duration::from_secs(20), gone));
        assert!(stays(&mut slot.running));
    }
}
