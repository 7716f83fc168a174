//! Life cycle of a guest on its node, as a pure state machine: the desired state and the events of
//! its QEMU process determine the next order. The module starts no process and reads no clock.
//!
//! - At most one QEMU process: a new one is started only after its predecessor is known to have
//!   ended.
//! - The virtual CPUs run only while [`Wish::Run`] holds. QEMU starts paused, so a guest that was
//!   started for a lease that has ended meanwhile never runs.
//! - A guest that must not run is paused at once. QEMU confirms a pause only after all outstanding
//!   disk requests have ended, which they do not without a majority. After [`HALT_AFTER_MS`] a
//!   signal therefore stops the process; it is continued once the guest may run. The process is
//!   killed if the guest is not seen to be paused within [`PAUSE_MAX_MS`]. A process stopped by a
//!   foreign signal is continued unless the desired state forbids it; one that must stay stopped
//!   and was continued is stopped again.
//! - A QEMU process that ends by itself is restarted after a growing delay. After [`FAILURES_MAX`]
//!   failures in a row the guest stays stopped, with the reason.
//! - An unhealthy guest ([`Input::Unwell`]) is shut down and restarted. That counts as a failure.
//!   Earlier failures are reset only if the guest was healthy for [`WELL_AFTER_MS`].

pub mod defect;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub use defect::Defect;

use std::fmt;

/// Deadline for a guest to be known as paused or stopped. Shorter than the 1.25 s after the end of
/// the lease here at which another node may be granted the lease.
pub const PAUSE_MAX_MS: u64 = 500;
/// Time that QEMU has to confirm a pause before its process is stopped by a signal.
pub const HALT_AFTER_MS: u64 = 300;
/// Time within which every thread of a process that was sent the stop signal must have stopped.
const HALT_MAX_MS: u64 = PAUSE_MAX_MS - HALT_AFTER_MS;
/// Time that QEMU has until its monitor responds.
pub const START_MAX_MS: u64 = 60_000;
/// Time that QEMU has to end after `quit`.
pub const QUIT_MAX_MS: u64 = 10_000;
/// Number of failures in a row after which the guest is not restarted.
pub const FAILURES_MAX: u32 = 3;
/// Running time after which earlier failures no longer count.
pub const WELL_AFTER_MS: u64 = 600_000;
/// Delay before the restart after the first failure. It doubles with each further failure.
const PAUSE_FIRST_MS: u64 = 1_000;
/// Interval at which a guest paused by a disk error is continued again.
const DISK_AGAIN_MS: u64 = 1_000;
/// Interval at which the power button is pressed again: some guests ignore it while they boot.
const POWER_AGAIN_MS: u64 = 10_000;

/// Desired state of a guest on this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// The guest runs.
    Run,
    /// The guest is not started now. A process that exists is left as it is.
    Hold,
    /// The guest is migrated here: QEMU is started and waits for the incoming migration.
    Arrive,
    /// The guest is paused at once, because this node does not know whether the guest may run
    /// here.
    Freeze,
    /// The guest is paused for a snapshot, as soon as QEMU has ended its disk requests. A slow
    /// pause does not get it killed.
    Stand,
    /// The guest shuts down, and is ended when the time has passed.
    ShutDown {
        /// Time to shut down, milliseconds.
        within_ms: u64,
    },
    /// The process is killed at once.
    Kill,
}

/// State of a guest as QEMU reports it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// The virtual CPUs run.
    Running,
    /// The virtual CPUs are stopped: the guest was not started yet, or is paused.
    Paused,
    /// The virtual CPUs are stopped because of a disk I/O error.
    DiskError,
    /// The guest has shut down.
    ShutDown,
    /// The kernel of the guest has panicked.
    Panicked,
    /// QEMU reported an internal error and cannot continue the guest.
    Broken,
    /// QEMU waits for an incoming migration.
    Arriving,
    /// The guest is paused for its migration to another node. No order is needed.
    Moving,
    /// The guest was migrated to another node.
    Moved,
}

/// Event of the guest's QEMU process, or request of an operator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// A process of a previous role was found running.
    Found,
    /// The process was started.
    Started,
    /// The process could not be started, with the reason.
    NotStarted(String),
    /// QEMU reports the state of the guest.
    Says(Status),
    /// [`Order::Continue`] or [`Order::Pause`] was carried out or refused by QEMU, or the process
    /// was seen to be stopped ([`Order::Halt`]).
    Obeyed(Order),
    /// Kernel's view of the process: stopped (state T) or not.
    IsHalted(bool),
    /// The process has ended, with its last output.
    Ended(String),
    /// An operator restarts the guest after failures.
    Forgive,
    /// The guest runs but is unhealthy, and has to be restarted.
    Unwell {
        /// Reason of the failed check.
        why: String,
        /// Time for which the guest was healthy before, milliseconds; zero: never.
        well_ms: u64,
        /// Time to shut down, milliseconds.
        within_ms: u64,
    },
}

/// Order to be carried out on the QEMU process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Start QEMU, with the guest paused.
    Start,
    /// Let the virtual CPUs run.
    Continue,
    /// Stop the virtual CPUs.
    Pause,
    /// Stop the QEMU process by a signal.
    Halt,
    /// Continue the stopped QEMU process by a signal.
    Resume,
    /// Press the power button (ACPI).
    PowerDown,
    /// Tell QEMU to quit.
    Quit,
    /// Kill the QEMU process.
    Kill,
}

/// Status of a guest as shown to operators and other nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Shown {
    /// No QEMU process exists here.
    Down,
    /// The guest failed and is restarted at this time, milliseconds.
    Waits(u64),
    /// The QEMU process starts.
    Starting,
    /// The virtual CPUs run.
    Running,
    /// The guest is paused, with the reason.
    Paused(Still),
    /// The guest shuts down; the process is ended at this time, milliseconds.
    ShuttingDown(u64),
    /// The QEMU process is being ended.
    Ending,
    /// The guest shut down by itself, and stays down until an operator starts it.
    Off,
    /// The guest failed [`FAILURES_MAX`] times in a row.
    Failed,
}

/// Reason for which a guest is paused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Still {
    /// The desired state does not let the guest run.
    Wished,
    /// A disk had an error.
    Disk,
    /// The guest is being migrated.
    Moving,
    /// A snapshot of its disks is being taken.
    Snapshot,
    /// A foreign signal has stopped the process.
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

/// Known state of the QEMU process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Process {
    None,
    /// A start was ordered and has not been confirmed or refused yet.
    Ordered,
    /// The process exists but its monitor has not responded yet; start time, milliseconds.
    Silent(u64),
    /// The process exists and its monitor has reported this state.
    Speaks(Status),
}

/// Known state of the stop signal to the whole QEMU process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Halt {
    No,
    /// The stop signal was ordered at this time, milliseconds.
    Ordered(u64),
    /// No thread of the process runs.
    Done,
    /// No thread of the process runs, and this role has not ordered that.
    Foreign,
}

/// Orderly end of a process in progress.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Ending {
    /// Time of the last press of the power button, milliseconds; None: QEMU was asked to quit.
    pressed: Option<u64>,
    /// Time at which the process is told to quit, or killed if it was told already, milliseconds.
    kill_at: u64,
}

/// Restart of an unhealthy guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Restart {
    well_ms: u64,
    within_ms: u64,
}

/// Life cycle of one guest: events go in by [`Life::see`], orders come out of [`Life::next`].
#[derive(Clone, Debug)]
pub struct Life {
    process: Process,
    ending: Option<Ending>,
    /// Pending restart of an unhealthy guest: its end counts as a failure.
    restart: Option<Restart>,
    /// Time of a pause order that QEMU has not confirmed yet, milliseconds.
    freezing: Option<u64>,
    halt: Halt,
    /// A continue order is pending and not confirmed yet.
    continuing: bool,
    /// Time of the last continue order, milliseconds.
    continued: Option<u64>,
    /// The kill was ordered and the process has not ended yet.
    killed: bool,
    failures: u32,
    /// Earliest time of the next start, milliseconds.
    not_before: u64,
    /// Time since which the virtual CPUs run, milliseconds.
    runs_since: Option<u64>,
    /// The guest shut down by itself.
    is_off: bool,
    /// The power button was pressed, so a shutdown is not the guest's own decision.
    was_pressed: bool,
    /// Reason of the last failure.
    pub why: String,
    broken: Option<Defect>,
}

impl Default for Life {
    fn default() -> Life {
        Life::with(None)
    }
}

impl Life {
    /// Creates a life cycle with a deliberate defect.
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

    /// Returns whether a QEMU process exists or may exist.
    pub fn is_there(&self) -> bool {
        self.process != Process::None
    }

    /// Returns whether the virtual CPUs may be running.
    pub fn may_run(&self) -> bool {
        match self.process {
            _ if self.is_halted() => false,
            Process::None | Process::Ordered | Process::Silent(_) => false,
            Process::Speaks(Status::Running) => true,
            Process::Speaks(_) => self.continuing,
        }
    }

    /// Returns whether the virtual CPUs run.
    pub fn runs(&self) -> bool {
        self.process == Process::Speaks(Status::Running) && !self.is_halted()
    }

    /// Returns whether all threads of the process are stopped, as far as is known.
    fn is_halted(&self) -> bool {
        matches!(self.halt, Halt::Done | Halt::Foreign)
    }

    /// Returns whether a stop signal was ordered and has not been seen to take effect yet.
    pub fn is_halting(&self) -> bool {
        matches!(self.halt, Halt::Ordered(_))
    }

    /// Returns whether the guest is being restarted because it is unhealthy.
    pub fn is_restarting(&self) -> bool {
        self.restart.is_some()
    }

    /// Returns the state that QEMU reported last.
    pub fn status(&self) -> Option<Status> {
        match self.process {
            Process::Speaks(status) => Some(status),
            _ => None,
        }
    }

    /// Returns whether the guest shut down by itself.
    pub fn is_off(&self) -> bool {
        self.is_off
    }

    /// Returns whether the guest failed [`FAILURES_MAX`] times in a row.
    pub fn has_failed(&self) -> bool {
        self.failures >= FAILURES_MAX
    }

    fn is(&self, defect: Defect) -> bool {
        self.broken == Some(defect)
    }

    /// Applies an event.
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

    /// Records that a foreign signal has stopped or continued the process.
    fn see_halt(&mut self, is_halted: bool, now: u64) {
        self.halt = match (self.halt, is_halted) {
            (Halt::No, true) if self.is_there() && !self.killed => Halt::Foreign,
            (Halt::Foreign, false) => Halt::No,
            // A process that must stay stopped is stopped again at once: the time for QEMU to
            // confirm a pause counts as over.
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
        // A guest that is being ended anyway is not restarted.
        if self.runs() && self.ending.is_none() && self.restart.is_none() && !self.killed {
            self.why = why;
            self.restart = Some(restart);
        }
    }

    fn says(&mut self, status: Status, now: u64) {
        // A migrated guest never runs again here, whatever QEMU reports late.
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
        // A guest whose incoming migration failed still runs on its source node: no failure here.
        let moves = [Status::Moved, Status::Arriving].map(Process::Speaks);
        if let Some(Restart { well_ms, .. }) = restart {
            // The time counts for which the guest was healthy, not the time for which it ran.
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

    /// Returns the next order for the process, one at a time. To be called again after each order
    /// was carried out and after each event.
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
            // The guest runs on the source node, so an earlier shutdown or failure here is
            // obsolete.
            (self.is_off, self.failures) = (false, 0);
        }
        self.process = Process::Ordered;
        Some(Order::Start)
    }

    /// Returns the next order while the monitor has not responded yet. QEMU starts paused, so such
    /// a guest does not run, unless the process was found by a role that does not know what its
    /// predecessor ordered.
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

    /// Stops the process of a QEMU that does not confirm a pause. A process that waits for its
    /// disks is not killed: it loses no request and continues when the disks are back.
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
                // A foreign signal has stopped the process already; no second one is needed.
                self.halt = Halt::Done;
                return None;
            }
            Wish::Freeze => return self.halt(now, now),
            Wish::Hold | Wish::Arrive if self.halt == Halt::Foreign => {}
            // The process is left stopped, as it is.
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
            // The press of the power button is repeated once the guest may run again.
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
                // The guest shut down by itself, unless the shutdown was ordered.
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
            // A guest that was being ended anyway is killed instead of stopped by a signal.
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
            // The guest notices the power button only while it runs.
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
            // A quitting QEMU closes the disk images in order, unlike one that is killed.
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

    /// Returns the next time at which [`Life::next`] may have an order, milliseconds.
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
            // With any other desired state the process is continued at once or left as it is.
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

    /// Returns the time at which a process with a pause order of time `since` is stopped, or
    /// killed.
    fn halt_due(&self, since: u64) -> Option<u64> {
        match self.halt {
            Halt::No => Some(since.saturating_add(HALT_AFTER_MS)),
            Halt::Ordered(at) => Some(at.saturating_add(HALT_MAX_MS)),
            Halt::Done | Halt::Foreign => None,
        }
    }

    /// Returns the status of the guest for operators.
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
