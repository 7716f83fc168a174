//! The life of a guest on its node, as a value: what is wanted and what is seen of its QEMU lead to
//! the next order. It starts nothing and reads no clock.
//!
//! - At most one QEMU: a new one is started only when the one before it is known to have ended.
//! - Processors run only while [`Wish::Run`] holds. QEMU begins paused, so a guest that was started
//!   for a lease that has ended meanwhile never runs.
//! - A guest that is to stand still is paused at once. QEMU confirms that only when its requests to
//!   the disks have ended, and without a majority they do not: after [`HALT_AFTER_MS`] its process is
//!   stopped by a signal, and goes on when the guest may run. It is killed if it is not seen to stand
//!   still within [`PAUSE_MAX_MS`]. A process that somebody else has stopped goes on as soon as nothing
//!   justifies that, and one that is to stand still and was continued is stopped again.
//! - A QEMU that ends by itself is started again after a pause that grows; after
//!   [`FAILURES_MAX`] failures in a row the guest is left stopped, with the reason.
//! - A guest that does not work ([`Input::Unwell`]) is shut down and started again. That is a failure,
//!   too; one that never worked for long does not forget the failures before.

pub mod defect;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub use defect::Defect;

use std::fmt;

/// How long it may take until a guest is known to stand still. A lease may be granted to another node
/// 1.25 s after its end here, so this is less.
pub const PAUSE_MAX_MS: u64 = 500;
/// How long QEMU may take to confirm that a guest is paused, before its process is stopped.
pub const HALT_AFTER_MS: u64 = 300;
/// How long it may take until no thread of a process that is stopped runs.
const HALT_MAX_MS: u64 = PAUSE_MAX_MS - HALT_AFTER_MS;
/// How long QEMU may take until its monitor responds.
pub const START_MAX_MS: u64 = 60_000;
/// How long QEMU may take to end by itself when it is told to.
pub const QUIT_MAX_MS: u64 = 10_000;
/// How often QEMU may fail in a row.
pub const FAILURES_MAX: u32 = 3;
/// A guest that ran for so long has started well: earlier failures do not count any more.
pub const WELL_AFTER_MS: u64 = 600_000;
/// The pause before the next start, after the first failure. It doubles with each further one.
const PAUSE_FIRST_MS: u64 = 1_000;
/// How soon a guest whose disk failed is continued again.
const DISK_AGAIN_MS: u64 = 1_000;
/// How often a guest that shuts down is told so again: some look away during their boot.
const POWER_AGAIN_MS: u64 = 10_000;

/// What is wanted of a guest here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// It runs.
    Run,
    /// It is not started now; if it is there, it goes on as it is.
    Hold,
    /// It comes from another node: QEMU is started and waits for it.
    Arrive,
    /// It stands still: whether it may run here is not known.
    Freeze,
    /// It stands still for a snapshot, as soon as QEMU has ended its requests to the disks; it is not
    /// killed for being slow.
    Stand,
    /// It shuts down, and is ended after this time.
    ShutDown {
        /// When, milliseconds.
        within_ms: u64,
    },
    /// It is not here, at once.
    Kill,
}

/// What QEMU says of a guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// Its processors run.
    Running,
    /// They do not: it was not started yet, or is paused.
    Paused,
    /// They do not, since a disk had an error.
    DiskError,
    /// It has shut down.
    ShutDown,
    /// Its kernel has given up.
    Panicked,
    /// QEMU cannot go on with it.
    Broken,
    /// It comes from another node: QEMU waits for it.
    Arriving,
    /// It is paused for its move to another node: nothing is to be done here.
    Moving,
    /// It has gone to another node.
    Moved,
}

/// What is seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// A process that was there before: started by a former role.
    Found,
    /// It was started.
    Started,
    /// It could not be started.
    NotStarted(String),
    /// QEMU says how the guest is.
    Says(Status),
    /// QEMU has carried out [`Order::Continue`] or [`Order::Pause`], or refused it; its process was
    /// seen to be stopped ([`Order::Halt`]).
    Obeyed(Order),
    /// Its process is stopped, or is not, as the kernel says (state T).
    IsHalted(bool),
    /// The process has ended, with its last words.
    Ended(String),
    /// An operator starts it again after failures.
    Forgive,
    /// It runs and does not work: it is to be restarted.
    Unwell {
        /// Why, in words.
        why: String,
        /// How long it worked before, milliseconds; zero: never.
        well_ms: u64,
        /// How long it may take to shut down.
        within_ms: u64,
    },
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Start QEMU, with the guest paused.
    Start,
    /// Let its processors run.
    Continue,
    /// Stop them.
    Pause,
    /// Stop the process of QEMU.
    Halt,
    /// Let it go on.
    Resume,
    /// Press the power button.
    PowerDown,
    /// End QEMU.
    Quit,
    /// Kill QEMU.
    Kill,
}

/// How a guest is, for people and for other nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Shown {
    /// There is none here.
    Down,
    /// It failed, and is started again at this time, milliseconds.
    Waits(u64),
    /// QEMU starts.
    Starting,
    /// It runs.
    Running,
    /// It stands still.
    Paused(Still),
    /// It shuts down; killed at this time, milliseconds.
    ShuttingDown(u64),
    /// It is being ended.
    Ending,
    /// It shut down by itself, and stays so until an operator starts it.
    Off,
    /// It failed too often.
    Failed,
}

/// Why a guest stands still.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Still {
    /// It is to.
    Wished,
    /// A disk had an error.
    Disk,
    /// It moves between nodes.
    Moving,
    /// A snapshot of its disks is taken.
    Snapshot,
    /// Somebody has stopped its process by a signal.
    Stopped,
}

impl fmt::Display for Still {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Still::Wished => "paused: this node does not hold its lease",
            Still::Disk => "paused: a disk had an error; it is tried again each second",
            Still::Moving => "paused: it moves between two nodes",
            Still::Snapshot => "paused: a snapshot of its disks is taken",
            Still::Stopped => "paused: a signal has stopped its process (state T); it is continued",
        })
    }
}

/// What there is of QEMU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Process {
    None,
    /// It was ordered, and it is not known yet whether it is there.
    Ordered,
    /// It is there, and its monitor has said nothing yet; since, milliseconds.
    Silent(u64),
    /// It is there.
    Speaks(Status),
}

/// Whether the process of QEMU is stopped as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Halt {
    No,
    /// It was ordered, at this time, milliseconds.
    Ordered(u64),
    /// No thread of it runs.
    Done,
    /// No thread of it runs, and nobody here has ordered that.
    Foreign,
}

/// How it is ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Ending {
    /// When the power button was pressed last; None: QEMU is told to quit.
    pressed: Option<u64>,
    /// When it is killed.
    kill_at: u64,
}

/// A restart of a guest that does not work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Restart {
    well_ms: u64,
    within_ms: u64,
}

/// The life.
#[derive(Clone, Debug)]
pub struct Life {
    process: Process,
    ending: Option<Ending>,
    /// It is restarted: its end is a failure.
    restart: Option<Restart>,
    /// It was told to pause, at this time, and has not obeyed yet.
    freezing: Option<u64>,
    halt: Halt,
    /// It was told to continue, and has not obeyed yet.
    continuing: bool,
    /// When it was told to continue last.
    continued: Option<u64>,
    /// It was killed, and has not ended yet.
    killed: bool,
    failures: u32,
    /// Not started before.
    not_before: u64,
    /// Since when it runs.
    runs_since: Option<u64>,
    /// It shut down by itself.
    is_off: bool,
    /// Its power button was pressed: if it shuts down, that is not by itself.
    was_pressed: bool,
    /// The last failure.
    pub why: String,
    broken: Option<Defect>,
}

impl Default for Life {
    fn default() -> Life {
        Life::with(None)
    }
}

impl Life {
    /// With a deliberate defect.
    pub(crate) fn with(broken: Option<Defect>) -> Life {
        Life {
            process: Process::None,
            ending: None,
            restart: None,
            freezing: None,
            halt: Halt::No,
            continuing: false,
            continued: None,
            killed: false,
            failures: 0,
            not_before: 0,
            runs_since: None,
            is_off: false,
            was_pressed: false,
            why: String::new(),
            broken,
        }
    }

    /// Whether there is a process, or may be one.
    pub fn is_there(&self) -> bool {
        self.process != Process::None
    }

    /// Whether its processors may run.
    pub fn may_run(&self) -> bool {
        match self.process {
            _ if self.is_halted() => false,
            Process::None | Process::Ordered | Process::Silent(_) => false,
            Process::Speaks(Status::Running) => true,
            Process::Speaks(_) => self.continuing,
        }
    }

    /// Whether its processors run.
    pub fn runs(&self) -> bool {
        self.process == Process::Speaks(Status::Running) && !self.is_halted()
    }

    /// Whether no thread of its process runs, as far as is known.
    fn is_halted(&self) -> bool {
        matches!(self.halt, Halt::Done | Halt::Foreign)
    }

    /// Whether its process is to be stopped, and was not seen to be.
    pub fn is_halting(&self) -> bool {
        matches!(self.halt, Halt::Ordered(_))
    }

    /// Whether it is being restarted, since it does not work.
    pub fn is_restarting(&self) -> bool {
        self.restart.is_some()
    }

    /// What QEMU said of the guest last.
    pub fn status(&self) -> Option<Status> {
        match self.process {
            Process::Speaks(status) => Some(status),
            _ => None,
        }
    }

    /// Whether it shut down by itself.
    pub fn is_off(&self) -> bool {
        self.is_off
    }

    /// Whether it failed too often.
    pub fn has_failed(&self) -> bool {
        self.failures >= FAILURES_MAX
    }

    fn is(&self, defect: Defect) -> bool {
        self.broken == Some(defect)
    }

    /// Takes in what is seen.
    pub fn see(&mut self, input: Input, now: u64) {
        match input {
            Input::Found | Input::Started => {
                self.process = Process::Silent(now);
                self.ending = None;
                self.restart = None;
                self.killed = false;
                self.was_pressed = false;
                self.continuing = false;
                self.continued = None;
                self.freezing = None;
                self.halt = Halt::No;
            }
            Input::NotStarted(why) => {
                self.process = Process::None;
                self.fail(why, now);
            }
            Input::Says(status) => self.says(status, now),
            Input::Obeyed(Order::Continue) => self.continuing = false,
            Input::Obeyed(Order::Pause) => self.freezing = None,
            Input::Obeyed(Order::Halt) => self.halt = Halt::Done,
            Input::Obeyed(_) => {}
            Input::IsHalted(is) => self.see_halt(is, now),
            Input::Ended(words) => self.ended(words, now),
            Input::Forgive => {
                self.failures = 0;
                self.is_off = false;
                self.not_before = now;
                self.why.clear();
            }
            Input::Unwell {
                why,
                well_ms,
                within_ms,
            } => self.be_unwell(why, Restart { well_ms, within_ms }),
        }
    }

    /// A signal of somebody else has stopped the process, or continued it.
    fn see_halt(&mut self, is_halted: bool, now: u64) {
        self.halt = match (self.halt, is_halted) {
            (Halt::No, true) if self.is_there() && !self.killed => Halt::Foreign,
            (Halt::Foreign, false) => Halt::No,
            // One that was told to pause long ago is stopped again at once.
            (Halt::Done, false) => {
                if let Process::Silent(since) = &mut self.process {
                    *since = now.saturating_sub(HALT_AFTER_MS);
                }
                Halt::No
            }
            (halt, _) => halt,
        };
    }

    fn be_unwell(&mut self, why: String, restart: Restart) {
        // One that ends anyway is not restarted.
        if self.runs() && self.ending.is_none() && self.restart.is_none() && !self.killed {
            self.why = why;
            self.restart = Some(restart);
        }
    }

    fn says(&mut self, status: Status, now: u64) {
        // What has moved never runs again, whatever QEMU says late.
        let is_final = Process::Speaks(Status::Moved);
        if matches!(self.process, Process::None | Process::Ordered) || self.process == is_final {
            return;
        }
        self.process = Process::Speaks(status);
        if status == Status::Running {
            self.continued = None;
            self.runs_since.get_or_insert(now);
        }
    }

    fn ended(&mut self, words: String, now: u64) {
        if self.process == Process::None {
            return;
        }
        let last = std::mem::replace(&mut self.process, Process::None);
        let restart = self.restart.take();
        let (ending, killed) = (self.ending.take(), std::mem::take(&mut self.killed));
        let ordered = ending.is_some() || killed;
        self.freezing = None;
        self.halt = Halt::No;
        self.continuing = false;
        self.continued = None;
        // One that did not arrive is at the node that it left.
        let moves = [Status::Moved, Status::Arriving].map(Process::Speaks);
        if let Some(Restart { well_ms, .. }) = restart {
            // How long it ran is of no meaning: only how long it worked is.
            self.runs_since = Some(now.saturating_sub(well_ms));
            let why = std::mem::take(&mut self.why);
            match self.is(Defect::ForgivesUnwell) {
                true => self.why = why,
                false => self.fail(why, now),
            }
        } else if !ordered && !moves.contains(&last) && !self.is_off {
            self.fail(words, now);
        }
        self.runs_since = None;
    }

    fn fail(&mut self, why: String, now: u64) {
        let ran_ms = { self.runs_since.take() }.map_or(0, |since| now.saturating_sub(since));
        if ran_ms >= WELL_AFTER_MS {
            self.failures = 0;
        }
        self.why = why;
        self.failures = self.failures.saturating_add(1);
        let pause = PAUSE_FIRST_MS << self.failures.saturating_sub(1).min(6);
        self.not_before = match self.is(Defect::RestartsAtOnce) {
            true => now,
            false => now.saturating_add(pause),
        };
    }

    /// Returns what is to be done now, one thing at a time: to be asked again after each that was
    /// done, and after each that was seen.
    pub fn next(&mut self, wish: Wish, now: u64) -> Option<Order> {
        if self.killed {
            return None;
        }
        match self.process {
            Process::None => self.start(wish, now),
            Process::Ordered => None,
            _ if self.halt != Halt::No => self.while_halted(wish, now),
            Process::Silent(since) => self.while_silent(wish, since, now),
            Process::Speaks(status) => self.while_speaking(wish, status, now),
        }
    }

    fn start(&mut self, wish: Wish, now: u64) -> Option<Order> {
        let too_often = self.has_failed() && !self.is(Defect::NeverGivesUp);
        let arrives = wish == Wish::Arrive;
        let waits = self.is_off || too_often || now < self.not_before;
        if !arrives && (wish != Wish::Run || waits) {
            return None;
        }
        if arrives {
            // It runs where it comes from, whatever it did here before.
            (self.is_off, self.failures) = (false, 0);
        }
        self.process = Process::Ordered;
        Some(Order::Start)
    }

    /// QEMU begins paused, so one that has not said anything runs nothing: unless it was found, by a
    /// role that does not know what the former one did.
    fn while_silent(&mut self, wish: Wish, since: u64, now: u64) -> Option<Order> {
        match wish {
            Wish::Kill => return self.kill(),
            Wish::Freeze => return self.halt(since, now),
            _ if now < since.saturating_add(START_MAX_MS) => return None,
            _ => {}
        }
        if matches!(wish, Wish::Run | Wish::Hold | Wish::Stand) {
            self.fail("the monitor of QEMU did not respond".to_owned(), now);
        }
        self.kill()
    }

    /// Stops the process of a QEMU that does not confirm a pause: with one that waits for its disks,
    /// no request was lost when they are back.
    fn halt(&mut self, since: u64, now: u64) -> Option<Order> {
        match self.halt {
            Halt::No if now < since.saturating_add(HALT_AFTER_MS) => None,
            Halt::No if self.is(Defect::TrustsPause) => None,
            Halt::No => {
                self.halt = Halt::Ordered(now);
                Some(Order::Halt)
            }
            Halt::Ordered(at) if now >= at.saturating_add(HALT_MAX_MS) => {
                match self.is(Defect::TrustsHalt) {
                    true => None,
                    false => self.kill(),
                }
            }
            Halt::Ordered(_) | Halt::Done | Halt::Foreign => None,
        }
    }

    fn while_halted(&mut self, wish: Wish, now: u64) -> Option<Order> {
        match wish {
            Wish::Kill => return self.kill(),
            Wish::Freeze if self.halt == Halt::Foreign => {
                // It stands still already.
                self.halt = Halt::Done;
                return None;
            }
            Wish::Freeze => return self.halt(now, now),
            Wish::Hold | Wish::Arrive if self.halt == Halt::Foreign => {}
            // It goes on as it is.
            Wish::Hold | Wish::Arrive => return None,
            Wish::Run | Wish::Stand | Wish::ShutDown { .. } => {}
        }
        if self.is(Defect::StaysHalted) {
            return None;
        }
        self.halt = Halt::No;
        if let Process::Silent(since) = &mut self.process {
            *since = now;
        }
        Some(Order::Resume)
    }

    fn kill(&mut self) -> Option<Order> {
        self.killed = true;
        Some(Order::Kill)
    }

    fn while_speaking(&mut self, wish: Wish, status: Status, now: u64) -> Option<Order> {
        if wish == Wish::Kill {
            return self.kill();
        }
        if wish == Wish::Freeze && (self.may_run() || self.freezing.is_some()) {
            // The power button is pressed again when it may go on.
            self.ending = self.ending.filter(|ending| ending.pressed.is_none());
            return self.freeze(now);
        }
        if let Some(ending) = self.ending {
            return self.while_ending(ending, status, now);
        }
        if wish == Wish::Stand && status == Status::Running && self.freezing.is_none() {
            return self.freeze(now);
        }
        match status {
            Status::ShutDown => {
                // Of itself: nobody told it to.
                let is_told = matches!(wish, Wish::ShutDown { .. }) || self.was_pressed;
                self.is_off = !is_told && self.restart.is_none();
                return self.quit(now);
            }
            Status::Panicked | Status::Broken => {
                let words = match status {
                    Status::Panicked => "the kernel of the guest has given up (panic)",
                    _ => "QEMU reported an internal error",
                };
                if !matches!(wish, Wish::ShutDown { .. }) && self.restart.is_none() {
                    self.fail(words.to_owned(), now);
                }
                return self.quit(now);
            }
            Status::Moved => return self.quit(now),
            Status::Moving | Status::Arriving => return None,
            Status::Running | Status::Paused | Status::DiskError => {}
        }
        match (wish, self.restart) {
            (Wish::Run, Some(restart)) => self.shut_down(status, restart.within_ms, now),
            (Wish::Run, None) => self.go_on(status, now),
            (Wish::Hold | Wish::Arrive | Wish::Freeze | Wish::Stand | Wish::Kill, _) => None,
            (Wish::ShutDown { within_ms }, _) => self.shut_down(status, within_ms, now),
        }
    }

    fn go_on(&mut self, status: Status, now: u64) -> Option<Order> {
        let again = match status {
            Status::DiskError => DISK_AGAIN_MS,
            Status::Paused => PAUSE_MAX_MS,
            _ => return None,
        };
        if self
            .continued
            .is_some_and(|at| now < at.saturating_add(again))
        {
            return None;
        }
        self.tell_to_continue(now)
    }

    fn tell_to_continue(&mut self, now: u64) -> Option<Order> {
        if self.continuing || self.freezing.is_some() {
            return None;
        }
        self.continuing = true;
        self.continued = Some(now);
        Some(Order::Continue)
    }

    fn freeze(&mut self, now: u64) -> Option<Order> {
        match self.freezing {
            None if self.is(Defect::RunsWithoutLease) => None,
            None => {
                self.freezing = Some(now);
                Some(Order::Pause)
            }
            // It was to end anyway.
            Some(since) if self.ending.is_some() => {
                let is_late = now >= since.saturating_add(PAUSE_MAX_MS);
                is_late.then(|| self.kill()).flatten()
            }
            Some(since) => self.halt(since, now),
        }
    }

    fn shut_down(&mut self, status: Status, within_ms: u64, now: u64) -> Option<Order> {
        if within_ms == 0 {
            return self.quit(now);
        }
        let kill_at = now.saturating_add(within_ms);
        if status != Status::Running {
            // It hears the power button only while it runs.
            return match status {
                Status::DiskError => self.quit(now),
                _ => self.tell_to_continue(now),
            };
        }
        let pressed = Some(now);
        self.was_pressed = true;
        self.ending = Some(Ending { pressed, kill_at });
        Some(Order::PowerDown)
    }

    fn quit(&mut self, now: u64) -> Option<Order> {
        self.ending = Some(Ending {
            pressed: None,
            kill_at: now.saturating_add(QUIT_MAX_MS),
        });
        Some(Order::Quit)
    }

    fn while_ending(&mut self, ending: Ending, status: Status, now: u64) -> Option<Order> {
        let is_over = now >= ending.kill_at;
        let pressed = match ending.pressed {
            None if is_over => return self.kill(),
            None => return None,
            // QEMU closes the disks in order, if it can.
            Some(_) if is_over => return self.quit(now),
            Some(pressed) => pressed,
        };
        if matches!(status, Status::ShutDown | Status::Panicked | Status::Broken) {
            return self.quit(now);
        }
        if now >= pressed.saturating_add(POWER_AGAIN_MS) {
            let pressed = Some(now);
            self.ending = Some(Ending { pressed, ..ending });
            return Some(Order::PowerDown);
        }
        None
    }

    /// When [`Life::next`] may have something new to do, milliseconds.
    pub fn deadline(&self, wish: Wish) -> Option<u64> {
        if self.killed {
            return None;
        }
        match self.process {
            Process::None => {
                let waits = wish == Wish::Run && !self.has_failed() && !self.is_off;
                waits.then_some(self.not_before)
            }
            Process::Ordered => None,
            // With another wish it goes on at once, or stays as it is.
            _ if self.halt != Halt::No => self.halt_due(0).filter(|_| wish == Wish::Freeze),
            Process::Silent(since) if wish == Wish::Freeze => self.halt_due(since),
            Process::Silent(since) => Some(since.saturating_add(START_MAX_MS)),
            Process::Speaks(_) => match (self.ending, self.freezing, self.continued) {
                (Some(_), Some(since), _) if wish == Wish::Freeze => {
                    Some(since.saturating_add(PAUSE_MAX_MS))
                }
                (None, Some(since), _) if wish == Wish::Freeze => self.halt_due(since),
                (Some(Ending { pressed, kill_at }), ..) => {
                    let again = pressed.map(|at| at.saturating_add(POWER_AGAIN_MS));
                    Some(again.map_or(kill_at, |again| again.min(kill_at)))
                }
                (None, _, Some(at)) => Some(at.saturating_add(PAUSE_MAX_MS)),
                (None, _, None) => None,
            },
        }
    }

    /// When the process of one that was told to pause at this time is stopped, or killed.
    fn halt_due(&self, since: u64) -> Option<u64> {
        match self.halt {
            Halt::No => Some(since.saturating_add(HALT_AFTER_MS)),
            Halt::Ordered(at) => Some(at.saturating_add(HALT_MAX_MS)),
            Halt::Done | Halt::Foreign => None,
        }
    }

    /// Returns how the guest is, for people.
    pub fn shown(&self, now: u64) -> Shown {
        match self.process {
            Process::None if self.is_off => Shown::Off,
            Process::None if self.has_failed() => Shown::Failed,
            Process::None if self.failures > 0 && now < self.not_before => {
                Shown::Waits(self.not_before)
            }
            Process::None => Shown::Down,
            _ if self.killed => Shown::Ending,
            _ if self.halt == Halt::Done => Shown::Paused(Still::Wished),
            _ if self.halt == Halt::Foreign => Shown::Paused(Still::Stopped),
            Process::Ordered | Process::Silent(_) => Shown::Starting,
            Process::Speaks(status) => match (self.ending, status) {
                (
                    Some(Ending {
                        pressed: Some(_),
                        kill_at,
                    }),
                    _,
                ) => Shown::ShuttingDown(kill_at),
                (Some(_), _) => Shown::Ending,
                (None, Status::Running) => Shown::Running,
                (None, Status::DiskError) => Shown::Paused(Still::Disk),
                (None, Status::Moving | Status::Arriving | Status::Moved) => {
                    Shown::Paused(Still::Moving)
                }
                (None, Status::Paused) if self.continuing => Shown::Starting,
                (None, _) => Shown::Paused(Still::Wished),
            },
        }
    }
}
