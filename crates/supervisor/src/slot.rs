//! The place of a role: the process that is in it, when another one is started, when it is
//! ended by force. It is the same for every role; how the roles differ is a row each
//! ([`RoleRow`]), and what they say is obeyed by the supervisor.

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

/// What a version has for a role beside the proxy.
#[derive(Clone)]
pub struct Given {
    /// The version.
    pub version: u64,
    /// What the role runs, as only that reads it.
    pub payload: Shared,
    /// What is known of it.
    pub plan: PartPlan,
    /// The version has no proxy.
    pub without_proxy: bool,
}

/// A role that runs.
pub struct Running {
    /// The process.
    pub process: Started,
    /// When it was started.
    pub born: Instant,
    /// It does what it is to do.
    pub ready: bool,
    /// It was not ready in time, and is about to end.
    pub killed: bool,
    /// It was not started by this image of the supervisor.
    pub adopted: bool,
    /// It said that it ends by this signal.
    pub obeys: Option<Signal>,
    /// When it was last given its helper.
    pub helper_at: Option<Instant>,
    /// The processes that run programs of its checks.
    pub helpers: Vec<Started>,
    /// It was told to leave; when it is ended by force.
    pub leaves_until: Option<Instant>,
    /// It keeps what no other machine takes until the proxy has ended.
    pub stays: bool,
    /// What it said at last: why it ends.
    pub last_words: String,
    /// Which roles that clients come to do not run, as it was told; None: it is not known.
    pub missing: Option<String>,
}

impl Running {
    /// One that was started just now.
    pub fn begun(process: Started) -> Running {
        Running {
            ready: false,
            adopted: false,
            missing: Some(String::new()),
            ..Running::adopted(process)
        }
    }

    /// One that does already what it is to do.
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

    /// One that does not understand what it is told, and waits to be ended.
    pub fn foreign(process: Started) -> Running {
        let mut running = Running::adopted(process);
        running.process.silent = true;
        running
    }

    /// When it is taken for one that never runs.
    pub fn deadline(&self, limit: Option<Duration>) -> Option<Instant> {
        let waits = !self.ready && !self.killed;
        limit.filter(|_| waits).map(|limit| self.born + limit)
    }

    /// When one that leaves is ended by force.
    fn leave_deadline(&self) -> Option<Instant> {
        self.leaves_until.filter(|_| !self.killed)
    }

    /// Says something without descriptors; whether that can arrive. Mostly who cannot be
    /// told is about to be seen as ended.
    pub fn say(&mut self, message: &Message) -> bool {
        self.process.say(message, &[])
    }

    /// Tells it to leave everything to the one that followed it.
    pub fn leave(&mut self, until: Instant) {
        if self.leaves_until.is_none() {
            self.process
                .stop(Manner::Leave, rustix::process::Signal::TERM);
            self.leaves_until = Some(until);
        }
    }

    /// As the next image of this process knows it; with how long it may take to finish.
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

    /// Ends it, since it took too long. Its end is seen in the next turn.
    pub fn give_up(&mut self) {
        self.process.kill();
        self.killed = true;
    }
}

/// The place of a role.
pub struct Slot {
    /// Which role.
    pub row: &'static RoleRow,
    /// The one that is in it.
    pub running: Option<Running>,
    /// The one that it follows, until it is ready; then until that has ended.
    pub before: Option<Running>,
    /// How long the next one waits.
    pub backoff: Backoff,
    /// How its processes ended without an order.
    pub crashes: Crashes,
    /// When another one is started.
    pub restart_at: Option<Instant>,
    /// It was told to end; when that is done by force.
    pub stop_until: Option<Instant>,
    /// One was ready at least once.
    pub served: bool,
    /// Where another supervisor would find the role.
    pub guard: Option<(Place, Shared)>,
    /// What it is to run, beside the proxy; None where the version has nothing of it.
    pub wanted: Option<Given>,
    /// What it was told to change to.
    pub taking: Option<Given>,
    /// The file of its state.
    pub keep: Option<Keep>,
}

impl Slot {
    /// Nothing runs in it yet.
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

    /// Whether its role is the one that serves.
    pub fn serves(&self) -> bool {
        matches!(self.row.life, Life::Serves(_))
    }

    /// All that run.
    pub fn all(&self) -> impl Iterator<Item = &Running> {
        self.running.iter().chain(&self.before)
    }

    /// Whether there is a process still.
    pub fn lives(&self) -> bool {
        self.all().next().is_some()
    }

    /// Whether the role does what it is to do.
    pub fn is_ready(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.ready)
    }

    /// Whether there is a process that has yet to do what it is to do.
    pub fn is_starting(&self) -> bool {
        self.running.as_ref().is_some_and(|running| !running.ready)
    }

    /// Whether nothing is half said or half done.
    pub fn is_quiet(&self) -> bool {
        let quiet = |running: &Running| running.ready && running.process.channel.is_quiet();
        let settled = self.before.is_none() && self.taking.is_none();
        settled && self.running.as_ref().is_none_or(quiet)
    }

    /// The role's process, where it can be told something.
    pub fn process(&mut self) -> Option<&mut Started> {
        let says_so = self.row.ready_limit.is_some();
        let running = self.running.as_mut();
        let running = running.filter(|running| running.ready || !says_so)?;
        Some(&mut running.process)
    }

    /// The process whose signs of life are looked for: one that is not to end; and whether
    /// its main loop has to run. One that is not ready yet, or young, reads what it needs.
    pub fn beating(&mut self) -> Option<(&mut Started, bool)> {
        let old = self.running.as_ref()?.born.elapsed() >= self.row.beats_after;
        let runs = old && self.process().is_some();
        let stays = self.stop_until.is_none();
        let running = self.running.as_mut().filter(|_| stays)?;
        Some((&mut running.process, runs))
    }

    /// The number of the process, for messages and files.
    pub fn pid(&self) -> Option<i32> {
        self.running
            .as_ref()
            .map(|running| running.process.number())
    }

    /// Why the role does not reply, in words.
    pub fn silence(&self) -> String {
        let what = self.row.entry.what;
        match self.pid() {
            _ if self.is_starting() => format!("the {what} is starting"),
            Some(pid) => format!("the {what} (process {pid}) does not respond"),
            None => format!("the {what} does not run"),
        }
    }

    /// Where another supervisor would come, as the role is told.
    pub fn listener(&self) -> Option<&Shared> {
        self.guard.as_ref().map(|(_, listener)| listener)
    }

    /// Tells the role that it is the one to serve on, and where it would be found.
    pub fn tell_guard(&mut self) {
        let listener = self.guard.as_ref().map(|(_, listener)| listener);
        if let Some(running) = &mut self.running {
            // If the message cannot be sent, the role has ended; the main loop notices that.
            let _ = running.process.guard(listener);
        }
    }

    /// When something is due by itself.
    pub fn deadline(&self) -> Option<Instant> {
        let late = self
            .running
            .as_ref()
            .and_then(|one| one.deadline(self.row.ready_limit));
        let all = [late, self.restart_at, self.stop_until];
        let leaves = self.all().filter_map(Running::leave_deadline);
        all.into_iter().flatten().chain(leaves).min()
    }

    /// Ends what takes too long; whether another one is to be started now.
    pub fn look_at_clock(&mut self, now: Instant, voice: &mut Voice) -> bool {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        // Also the one that runs: where two may not at once, the next one waits for its end.
        for one in self.running.iter_mut().chain(&mut self.before) {
            if due(one.leave_deadline()) {
                one.give_up();
            }
        }
        if let Some(before) = &mut self.before {
            // What it still says is of no interest.
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

    /// The last of it: what is in it is ended, from the given moment on by force.
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

/// The places of all roles.
pub struct Slots {
    /// The role that serves.
    pub serving: Slot,
    /// The roles beside it.
    beside: Vec<Slot>,
    /// The role that says which version is served.
    pub governing: Slot,
}

impl Default for Slots {
    /// Nothing runs yet.
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
    /// All of them, in the order of the table.
    pub fn all(&self) -> impl Iterator<Item = &Slot> {
        let first = iter::once(&self.serving).chain(&self.beside);
        first.chain(iter::once(&self.governing))
    }

    /// All of them, in the order of the table.
    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        let first = iter::once(&mut self.serving).chain(&mut self.beside);
        first.chain(iter::once(&mut self.governing))
    }

    /// Those that run beside the role that serves.
    pub fn beside(&self) -> impl Iterator<Item = &Slot> {
        self.beside.iter()
    }

    /// What is to be watched.
    pub fn watched(&self) -> impl Iterator<Item = PollFd<'_>> {
        let running = self.all().flat_map(Slot::all);
        running.flat_map(|running| running.process.watched())
    }

    /// The channels to those that listen.
    pub fn channels(&self) -> impl Iterator<Item = &Channel> {
        let running = self.all().flat_map(Slot::all);
        let audible = running.filter(|running| !running.process.silent);
        audible.map(|running| &running.process.channel)
    }

    /// Begins a look at the role of a part.
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

    /// A role that the next one does not overlap.
    static ROW: RoleRow = RoleRow::plain("test", LOADER_ENTRY, |_| ExitCode::SUCCESS, "tests");
    const LIMIT: Duration = Duration::from_secs(2);

    /// A slot with a process, and its other end.
    fn slot() -> (Slot, Theirs) {
        let (process, theirs) = bed();
        let running = Some(Running::adopted(process));
        let slot = Slot {
            running,
            ..Slot::of(&ROW)
        };
        (slot, theirs)
    }

    /// Whether a process ends within a time.
    fn ends_within(running: &mut Option<Running>, time: Duration) -> bool {
        let process = &mut running.as_mut().expect("a process").process;
        lab::eventually(time, || process.ended().is_some())
    }

    /// Whether a process was killed.
    fn ends(running: &mut Option<Running>) -> bool {
        ends_within(running, Duration::from_secs(20))
    }

    /// Whether a process goes on.
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
        // Nothing is due until its end is seen.
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
        // It is killed by the first look, which may see its end as well.
        let gone = || {
            assert!(!slot.look_at_clock(until, &mut voice()));
            slot.before.is_none()
        };
        assert!(lab::eventually(Duration::from_secs(20), gone));
        assert!(stays(&mut slot.running));
    }
}
