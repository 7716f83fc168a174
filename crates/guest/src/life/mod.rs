//! Decides the next order for the QEMU process of a guest from the desired state and from QEMU's
//! events, as a pure state machine: the module starts no process and reads no clock.
//!
//! - At most one QEMU process: a new one is started only after its predecessor is known to have
//!   ended.
//! - The virtual CPUs run only while [`DesiredState::Run`] holds. QEMU starts paused, so a guest
//!   that was started for a lease that has ended meanwhile never runs.
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

mod defect;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use crate::defect::InjectedDefect;
use defect::LifecycleDefect;
use std::fmt;

/// Time within which a guest is known to be paused or stopped after its lease has ended here,
/// milliseconds. Shorter than the 1.25 s after which another node may be granted the lease.
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
pub enum DesiredState {
    Run,
    /// The guest is not started now. A process that exists is left as it is.
    Hold,
    /// The guest migrates to this node: QEMU is started and waits for the incoming migration.
    Arrive,
    /// The guest is paused at once, because this node does not know whether the guest may run on
    /// it.
    Freeze,
    /// The guest is paused for a snapshot, as soon as QEMU has ended its disk requests. If the
    /// pause takes long, the process is not killed.
    Stand,
    /// The guest shuts down; its process is ended when the time has passed.
    ShutDown {
        within_ms: u64,
    },
    Kill,
}

/// State of a guest as QEMU reports it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QemuStatus {
    Running,
    /// The virtual CPUs are stopped: the guest was not started yet, or is paused.
    Paused,
    /// The virtual CPUs are stopped because of a disk I/O error.
    DiskError,
    ShutDown,
    Panicked,
    /// QEMU reported an internal error and cannot continue the guest.
    Broken,
    Arriving,
    /// The guest is paused for its migration to another node. No order is needed.
    Moving,
    Moved,
}

/// Event of the guest's QEMU process, or request of an operator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// A QEMU process that a previous role process started was found running.
    Found,
    Started,
    NotStarted(String),
    Says(QemuStatus),
    /// QEMU has executed or refused [`QemuOrder::Continue`] or [`QemuOrder::Pause`], or the process
    /// was seen to be stopped ([`QemuOrder::Halt`]).
    Obeyed(QemuOrder),
    /// View of the kernel: true if the process is stopped (state T).
    IsHalted(bool),
    Ended(String),
    /// An operator restarts the guest after failures, which no longer count.
    Forgive,
    /// The guest runs but is unhealthy, and has to be restarted.
    Unwell {
        why: String,
        /// Time for which the guest was healthy before, milliseconds; zero: it was never healthy.
        well_ms: u64,
        within_ms: u64,
    },
}

/// Order to be carried out on the QEMU process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QemuOrder {
    /// Start QEMU, with the guest paused.
    Start,
    Continue,
    Pause,
    /// Stop the QEMU process by a signal.
    Halt,
    /// Continue the stopped QEMU process by a signal.
    Resume,
    /// Press the power button (ACPI).
    PowerDown,
    Quit,
    Kill,
}

/// Status of a guest as shown to operators and other nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GuestStatus {
    Down,
    /// The guest failed and is restarted at this time, milliseconds.
    Waits(u64),
    Starting,
    Running,
    Paused(PauseReason),
    /// The guest shuts down; the process is ended at this time, milliseconds.
    ShuttingDown(u64),
    Ending,
    /// The guest shut down by itself, and stays down until an operator starts it.
    Off,
    /// The guest failed [`FAILURES_MAX`] times in a row.
    Failed,
}

/// Reason for which a guest is paused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PauseReason {
    /// The desired state does not permit the guest to run.
    Wished,
    Disk,
    Moving,
    Snapshot,
    /// A signal that this role has not sent has stopped the process.
    Stopped,
}

impl fmt::Display for PauseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PauseReason::Wished => "paused: this node does not hold its lease",
            PauseReason::Disk => "paused: a disk had an error; it is tried again each second",
            PauseReason::Moving => "paused: it is migrating between two nodes",
            PauseReason::Snapshot => "paused: a snapshot of its disks is taken",
            PauseReason::Stopped => {
                "paused: a signal has stopped its process (state T); it is continued"
            }
        })
    }
}

/// Known state of the QEMU process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ProcessState {
    None,
    /// A start was ordered and has not been confirmed or refused yet.
    Ordered,
    /// The process exists but its monitor has not responded yet. Contains the start time,
    /// milliseconds.
    Silent(u64),
    Speaks(QemuStatus),
}

/// State of the signal that stops the whole QEMU process, as far as this role knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum StopSignalState {
    No,
    Ordered(u64),
    /// No thread of the process runs.
    Done,
    /// No thread of the process runs, although this role has sent no stop signal.
    Foreign,
}

/// State of an orderly shutdown of the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct ProcessShutdown {
    /// Time of the last press of the power button, milliseconds; None: QEMU was asked to quit.
    pressed: Option<u64>,
    /// Time at which the process is ordered to quit, or killed if it was ordered before,
    /// milliseconds.
    kill_at: u64,
}

/// Restart of an unhealthy guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Restart {
    well_ms: u64,
    within_ms: u64,
}

/// Life cycle of one guest, from its desired state to orders for QEMU. The caller passes events to
/// [`Life::apply_input`]. It executes each order of [`Life::next`], and calls that function again
/// after each order, after each event, and at [`Life::deadline`]. All times are milliseconds of one
/// clock.
#[derive(Clone, Debug)]
pub struct Life {
    process: ProcessState,
    ending: Option<ProcessShutdown>,
    /// Time since which the timeout of the shutdown is suspended, because the guest is paused
    /// without its lease; milliseconds.
    ending_paused: Option<u64>,
    restart: Option<Restart>,
    freezing: Option<u64>,
    halt: StopSignalState,
    continuing: bool,
    continued: Option<u64>,
    /// The kill was ordered and the process has not ended yet.
    killed: bool,
    failures: u32,
    not_before: u64,
    runs_since: Option<u64>,
    is_off: bool,
    /// The power button was pressed, so a shutdown is not the guest's own decision.
    was_pressed: bool,
    pub why: String,
    broken: InjectedDefect<LifecycleDefect>,
}

impl Default for Life {
    fn default() -> Life {
        Life::with(InjectedDefect::default())
    }
}

impl Life {
    pub(crate) fn with(broken: InjectedDefect<LifecycleDefect>) -> Life {
        Life {
            process: ProcessState::None,
            ending: None,
            ending_paused: None,
            restart: None,
            freezing: None,
            halt: StopSignalState::No,
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

    pub fn is_there(&self) -> bool {
        self.process != ProcessState::None
    }

    pub fn may_run(&self) -> bool {
        match self.process {
            _ if self.is_halted() => false,
            ProcessState::None | ProcessState::Ordered | ProcessState::Silent(_) => false,
            ProcessState::Speaks(QemuStatus::Running) => true,
            ProcessState::Speaks(_) => self.continuing,
        }
    }

    pub fn runs(&self) -> bool {
        self.process == ProcessState::Speaks(QemuStatus::Running) && !self.is_halted()
    }

    fn is_halted(&self) -> bool {
        matches!(self.halt, StopSignalState::Done | StopSignalState::Foreign)
    }

    /// Returns whether a stop signal was ordered and has not been seen to take effect yet.
    pub fn is_halting(&self) -> bool {
        matches!(self.halt, StopSignalState::Ordered(_))
    }

    pub fn is_restarting(&self) -> bool {
        self.restart.is_some()
    }

    pub fn status(&self) -> Option<QemuStatus> {
        match self.process {
            ProcessState::Speaks(status) => Some(status),
            _ => None,
        }
    }

    pub fn is_off(&self) -> bool {
        self.is_off
    }

    pub fn has_failed(&self) -> bool {
        self.failures >= FAILURES_MAX
    }

    pub fn failure(&self) -> Option<&str> {
        (self.process == ProcessState::None && self.failures > 0).then_some(self.why.as_str())
    }

    fn is(&self, defect: LifecycleDefect) -> bool {
        self.broken.is(&defect)
    }

    pub fn apply_input(&mut self, input: Input, now: u64) {
        match input {
            Input::Found | Input::Started => {
                self.process = ProcessState::Silent(now);
                (self.ending, self.ending_paused) = (None, None);
                self.restart = None;
                self.killed = false;
                self.was_pressed = false;
                self.continuing = false;
                self.continued = None;
                self.freezing = None;
                self.halt = StopSignalState::No;
            }
            Input::NotStarted(why) => {
                self.process = ProcessState::None;
                self.fail(why, now);
            }
            Input::Says(status) => self.apply_status(status, now),
            Input::Obeyed(QemuOrder::Continue) => self.continuing = false,
            Input::Obeyed(QemuOrder::Pause) => self.freezing = None,
            Input::Obeyed(QemuOrder::Halt) => self.halt = StopSignalState::Done,
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
            } => self.mark_unhealthy(why, Restart { well_ms, within_ms }),
        }
    }

    fn see_halt(&mut self, is_halted: bool, now: u64) {
        self.halt = match (self.halt, is_halted) {
            (StopSignalState::No, true) if self.is_there() && !self.killed => {
                StopSignalState::Foreign
            }
            (StopSignalState::Foreign, false) => StopSignalState::No,
            // A process that must stay stopped is stopped again at once: the time for QEMU to
            // confirm a pause counts as over.
            (StopSignalState::Done, false) => {
                if let ProcessState::Silent(since) = &mut self.process {
                    *since = now.saturating_sub(HALT_AFTER_MS);
                }
                StopSignalState::No
            }
            (halt, _) => halt,
        };
    }

    fn mark_unhealthy(&mut self, why: String, restart: Restart) {
        // Restarts no guest that is shutting down anyway.
        if self.runs() && self.ending.is_none() && self.restart.is_none() && !self.killed {
            self.why = why;
            self.restart = Some(restart);
        }
    }

    fn apply_status(&mut self, status: QemuStatus, now: u64) {
        // Keeps the final state of a migrated guest, which never runs again here, even if QEMU
        // reports something late.
        let is_final = ProcessState::Speaks(QemuStatus::Moved);
        if matches!(self.process, ProcessState::None | ProcessState::Ordered)
            || self.process == is_final
        {
            return;
        }
        self.process = ProcessState::Speaks(status);
        if status == QemuStatus::Running {
            self.continued = None;
            self.runs_since.get_or_insert(now);
        }
    }

    fn ended(&mut self, words: String, now: u64) {
        if self.process == ProcessState::None {
            return;
        }
        let last = std::mem::replace(&mut self.process, ProcessState::None);
        let restart = self.restart.take();
        let (ending, killed) = (self.ending.take(), std::mem::take(&mut self.killed));
        self.ending_paused = None;
        let ordered = ending.is_some() || killed;
        self.freezing = None;
        self.halt = StopSignalState::No;
        self.continuing = false;
        self.continued = None;
        // Counts no failure if the incoming migration failed: the guest still runs on its source
        // node.
        let moves = [QemuStatus::Moved, QemuStatus::Arriving].map(ProcessState::Speaks);
        if let Some(Restart { well_ms, .. }) = restart {
            // Counts only the time for which the guest was healthy, not all of the time for which
            // it ran.
            self.runs_since = Some(now.saturating_sub(well_ms));
            let why = std::mem::take(&mut self.why);
            if self.is(LifecycleDefect::ForgivesUnwell) {
                self.why = why
            } else {
                self.fail(why, now)
            }
        } else if !ordered && !moves.contains(&last) && !self.is_off {
            self.fail(words, now);
        }
        self.runs_since = None;
    }

    fn fail(&mut self, why: String, now: u64) {
        let ran_ms = self
            .runs_since
            .take()
            .map_or(0, |since| now.saturating_sub(since));
        if ran_ms >= WELL_AFTER_MS {
            self.failures = 0;
        }
        self.why = why;
        self.failures = self.failures.saturating_add(1);
        let pause = PAUSE_FIRST_MS << self.failures.saturating_sub(1).min(6);
        self.not_before = if self.is(LifecycleDefect::RestartsAtOnce) {
            now
        } else {
            now.saturating_add(pause)
        };
    }

    /// Returns the next order for the process, one at a time. To be called again after each order
    /// was executed and after each event.
    pub fn next(&mut self, wish: DesiredState, now: u64) -> Option<QemuOrder> {
        if self.killed {
            return None;
        }
        self.pause_time_limit(wish, now);
        match self.process {
            ProcessState::None => self.start(wish, now),
            ProcessState::Ordered => None,
            _ if self.halt != StopSignalState::No => self.while_halted(wish, now),
            ProcessState::Silent(since) => self.while_silent(wish, since, now),
            ProcessState::Speaks(status) => self.while_speaking(wish, status, now),
        }
    }

    fn start(&mut self, wish: DesiredState, now: u64) -> Option<QemuOrder> {
        let may_start = match wish {
            DesiredState::Run => {
                let too_often = self.has_failed() && !self.is(LifecycleDefect::NeverGivesUp);
                !self.is_off && !too_often && now >= self.not_before
            }
            // Starts an arriving guest only if no start has failed here. Otherwise the source node,
            // on which the guest continues to run, receives an error and tries again later.
            DesiredState::Arrive => self.failures == 0,
            _ => false,
        };
        if !may_start {
            return None;
        }
        // Only an arriving guest starts although it has shut down here: it runs on the source node.
        self.is_off = false;
        self.process = ProcessState::Ordered;
        Some(QemuOrder::Start)
    }

    /// Returns the next order while the monitor has not responded yet. QEMU starts paused, so such
    /// a guest does not run, unless a role process found it that does not know the orders of its
    /// predecessor.
    fn while_silent(&mut self, wish: DesiredState, since: u64, now: u64) -> Option<QemuOrder> {
        match wish {
            DesiredState::Kill => return self.kill(),
            DesiredState::Freeze => return self.halt(since, now),
            _ if now < since.saturating_add(START_MAX_MS) => return None,
            _ => {}
        }
        if matches!(
            wish,
            DesiredState::Run | DesiredState::Hold | DesiredState::Stand
        ) {
            self.fail("the monitor of QEMU did not respond".to_owned(), now);
        }
        self.kill()
    }

    /// Stops the process of a QEMU that does not confirm a pause. A process that waits for its
    /// disks is not killed: it loses no request and continues when the disks are back.
    fn halt(&mut self, since: u64, now: u64) -> Option<QemuOrder> {
        match self.halt {
            StopSignalState::No if now < since.saturating_add(HALT_AFTER_MS) => None,
            StopSignalState::No if self.is(LifecycleDefect::TrustsPause) => None,
            StopSignalState::No => {
                self.halt = StopSignalState::Ordered(now);
                Some(QemuOrder::Halt)
            }
            StopSignalState::Ordered(at) if now >= at.saturating_add(HALT_MAX_MS) => {
                if self.is(LifecycleDefect::TrustsHalt) {
                    None
                } else {
                    self.kill()
                }
            }
            StopSignalState::Ordered(_) | StopSignalState::Done | StopSignalState::Foreign => None,
        }
    }

    fn while_halted(&mut self, wish: DesiredState, now: u64) -> Option<QemuOrder> {
        match wish {
            DesiredState::Kill => return self.kill(),
            DesiredState::Freeze if self.halt == StopSignalState::Foreign => {
                // Sends no second signal, because a foreign signal has stopped the process already.
                self.halt = StopSignalState::Done;
                return None;
            }
            DesiredState::Freeze => return self.halt(now, now),
            DesiredState::Hold | DesiredState::Arrive if self.halt == StopSignalState::Foreign => {}
            // Returns no order, so the process stays stopped.
            DesiredState::Hold | DesiredState::Arrive => return None,
            DesiredState::Run | DesiredState::Stand | DesiredState::ShutDown { .. } => {}
        }
        if self.is(LifecycleDefect::StaysHalted) {
            return None;
        }
        self.halt = StopSignalState::No;
        if let ProcessState::Silent(since) = &mut self.process {
            *since = now;
        }
        Some(QemuOrder::Resume)
    }

    fn kill(&mut self) -> Option<QemuOrder> {
        self.killed = true;
        Some(QemuOrder::Kill)
    }

    fn while_speaking(
        &mut self,
        wish: DesiredState,
        status: QemuStatus,
        now: u64,
    ) -> Option<QemuOrder> {
        if wish == DesiredState::Kill {
            return self.kill();
        }
        if wish == DesiredState::Freeze && (self.may_run() || self.freezing.is_some()) {
            // The power button is pressed again when the guest may run again.
            return self.freeze(now);
        }
        if let Some(ending) = self.ending {
            return self.while_ending(ending, wish, status, now);
        }
        if wish == DesiredState::Stand && status == QemuStatus::Running && self.freezing.is_none() {
            return self.freeze(now);
        }
        match status {
            QemuStatus::ShutDown => {
                // The guest shut down by itself, unless the shutdown was ordered.
                let is_told = matches!(wish, DesiredState::ShutDown { .. }) || self.was_pressed;
                self.is_off = !is_told && self.restart.is_none();
                return self.quit(now);
            }
            QemuStatus::Panicked | QemuStatus::Broken => {
                let words = match status {
                    QemuStatus::Panicked => "the kernel of the guest panicked",
                    _ => "QEMU reported an internal error",
                };
                if !matches!(wish, DesiredState::ShutDown { .. }) && self.restart.is_none() {
                    self.fail(words.to_owned(), now);
                }
                return self.quit(now);
            }
            QemuStatus::Moved => return self.quit(now),
            QemuStatus::Moving | QemuStatus::Arriving => return None,
            QemuStatus::Running | QemuStatus::Paused | QemuStatus::DiskError => {}
        }
        match (wish, self.restart) {
            (DesiredState::Run, Some(restart)) => self.shut_down(status, restart.within_ms, now),
            (DesiredState::Run, None) => self.continue_guest(status, now),
            (
                DesiredState::Hold
                | DesiredState::Arrive
                | DesiredState::Freeze
                | DesiredState::Stand
                | DesiredState::Kill,
                _,
            ) => None,
            (DesiredState::ShutDown { within_ms }, _) => self.shut_down(status, within_ms, now),
        }
    }

    /// Suspends the timeout of a shutdown while the guest may not run: the guest cannot react to
    /// the power button, nor write its data.
    fn pause_time_limit(&mut self, wish: DesiredState, now: u64) {
        if self.awaits_lease(wish) {
            self.ending_paused.get_or_insert(now);
        } else if let Some(since) = self.ending_paused.take()
            && let Some(ending) = &mut self.ending
        {
            let paused_ms = now.saturating_sub(since);
            ending.kill_at = ending.kill_at.saturating_add(paused_ms);
        }
    }

    fn awaits_lease(&self, wish: DesiredState) -> bool {
        let is_pressed = self.ending.is_some_and(|ending| ending.pressed.is_some());
        is_pressed
            && match wish {
                DesiredState::Freeze => true,
                DesiredState::Hold | DesiredState::Arrive | DesiredState::Stand => !self.may_run(),
                DesiredState::Run | DesiredState::ShutDown { .. } | DesiredState::Kill => false,
            }
    }

    fn continue_guest(&mut self, status: QemuStatus, now: u64) -> Option<QemuOrder> {
        let is_early = self.continue_due(status).is_some_and(|at| now < at);
        let is_paused = matches!(status, QemuStatus::Paused | QemuStatus::DiskError);
        if !is_paused || is_early {
            return None;
        }
        self.order_continue(now)
    }

    /// Returns the earliest time of the next continue order, milliseconds; None: there was none.
    fn continue_due(&self, status: QemuStatus) -> Option<u64> {
        let again = match status {
            QemuStatus::DiskError => DISK_AGAIN_MS,
            _ => PAUSE_MAX_MS,
        };
        Some(self.continued?.saturating_add(again))
    }

    fn continue_deadline(&self, wish: DesiredState, status: QemuStatus) -> Option<u64> {
        let is_wanted = matches!(wish, DesiredState::Run | DesiredState::ShutDown { .. });
        let is_paused = matches!(status, QemuStatus::Paused | QemuStatus::DiskError);
        let is_free = !self.continuing && self.freezing.is_none();
        let due = self.continue_due(status);
        due.filter(|_| is_wanted && is_paused && is_free)
    }

    fn order_continue(&mut self, now: u64) -> Option<QemuOrder> {
        if self.continuing || self.freezing.is_some() {
            return None;
        }
        self.continuing = true;
        self.continued = Some(now);
        Some(QemuOrder::Continue)
    }

    fn freeze(&mut self, now: u64) -> Option<QemuOrder> {
        match self.freezing {
            None if self.is(LifecycleDefect::RunsWithoutLease) => None,
            None => {
                self.freezing = Some(now);
                Some(QemuOrder::Pause)
            }
            // A guest that was shutting down anyway is killed instead of stopped by a signal.
            Some(since) if self.ending.is_some_and(|ending| ending.pressed.is_none()) => {
                let is_late = now >= since.saturating_add(PAUSE_MAX_MS);
                is_late.then(|| self.kill()).flatten()
            }
            Some(since) => self.halt(since, now),
        }
    }

    fn shut_down(&mut self, status: QemuStatus, within_ms: u64, now: u64) -> Option<QemuOrder> {
        if within_ms == 0 {
            return self.quit(now);
        }
        let kill_at = now.saturating_add(within_ms);
        if status != QemuStatus::Running {
            // Continues a paused guest first, because the guest notices the power button only while
            // it runs.
            return match status {
                QemuStatus::DiskError => self.quit(now),
                _ => self.continue_guest(status, now),
            };
        }
        let pressed = Some(now);
        self.was_pressed = true;
        self.ending = Some(ProcessShutdown { pressed, kill_at });
        Some(QemuOrder::PowerDown)
    }

    fn quit(&mut self, now: u64) -> Option<QemuOrder> {
        self.ending = Some(ProcessShutdown {
            pressed: None,
            kill_at: now.saturating_add(QUIT_MAX_MS),
        });
        Some(QemuOrder::Quit)
    }

    fn while_ending(
        &mut self,
        ending: ProcessShutdown,
        wish: DesiredState,
        status: QemuStatus,
        now: u64,
    ) -> Option<QemuOrder> {
        let is_paused = self.ending_paused.is_some();
        let is_over = now >= ending.kill_at && !is_paused;
        let pressed = match ending.pressed {
            None if is_over => return self.kill(),
            None => return None,
            // Lets QEMU quit before it is killed, because a process that quits closes the disk
            // images properly.
            Some(_) if is_over => return self.quit(now),
            Some(pressed) => pressed,
        };
        if matches!(
            status,
            QemuStatus::ShutDown | QemuStatus::Panicked | QemuStatus::Broken
        ) {
            return self.quit(now);
        }
        // A pause that was ordered before the shutdown can take effect after it. The guest notices
        // the power button and writes its data only while it runs.
        if matches!(wish, DesiredState::Run | DesiredState::ShutDown { .. })
            && let Some(order) = self.continue_guest(status, now)
        {
            return Some(order);
        }
        if now >= pressed.saturating_add(POWER_AGAIN_MS) && !is_paused {
            let pressed = Some(now);
            self.ending = Some(ProcessShutdown { pressed, ..ending });
            return Some(QemuOrder::PowerDown);
        }
        None
    }

    pub fn deadline(&self, wish: DesiredState) -> Option<u64> {
        if self.killed {
            return None;
        }
        match self.process {
            ProcessState::None => {
                let waits = wish == DesiredState::Run && !self.has_failed() && !self.is_off;
                waits.then_some(self.not_before)
            }
            ProcessState::Ordered => None,
            // With any other desired state the process is continued at once or left as it is.
            _ if self.halt != StopSignalState::No => {
                self.halt_due(0).filter(|_| wish == DesiredState::Freeze)
            }
            ProcessState::Silent(since) if wish == DesiredState::Freeze => self.halt_due(since),
            ProcessState::Silent(since) => Some(since.saturating_add(START_MAX_MS)),
            ProcessState::Speaks(status) => match (self.ending, self.freezing) {
                (Some(ProcessShutdown { pressed: None, .. }), Some(since))
                    if wish == DesiredState::Freeze =>
                {
                    Some(since.saturating_add(PAUSE_MAX_MS))
                }
                (_, Some(since)) if wish == DesiredState::Freeze => self.halt_due(since),
                (Some(_), _) if self.awaits_lease(wish) => None,
                (Some(ProcessShutdown { pressed, kill_at }), _) => {
                    let again = pressed.map(|at| at.saturating_add(POWER_AGAIN_MS));
                    let continues = self.continue_deadline(wish, status);
                    let continues = continues.filter(|_| pressed.is_some());
                    let all = [Some(kill_at), again, continues];
                    all.into_iter().flatten().min()
                }
                (None, _) => self.continue_deadline(wish, status),
            },
        }
    }

    fn halt_due(&self, since: u64) -> Option<u64> {
        match self.halt {
            StopSignalState::No => Some(since.saturating_add(HALT_AFTER_MS)),
            StopSignalState::Ordered(at) => Some(at.saturating_add(HALT_MAX_MS)),
            StopSignalState::Done | StopSignalState::Foreign => None,
        }
    }

    pub fn shown(&self, now: u64) -> GuestStatus {
        match self.process {
            ProcessState::None if self.is_off => GuestStatus::Off,
            ProcessState::None if self.has_failed() => GuestStatus::Failed,
            ProcessState::None if self.failures > 0 && now < self.not_before => {
                GuestStatus::Waits(self.not_before)
            }
            ProcessState::None => GuestStatus::Down,
            _ if self.killed => GuestStatus::Ending,
            _ if self.halt == StopSignalState::Done => GuestStatus::Paused(PauseReason::Wished),
            _ if self.halt == StopSignalState::Foreign => GuestStatus::Paused(PauseReason::Stopped),
            ProcessState::Ordered | ProcessState::Silent(_) => GuestStatus::Starting,
            ProcessState::Speaks(status) => match (self.ending, status) {
                (Some(_), QemuStatus::Paused) if self.ending_paused.is_some() => {
                    GuestStatus::Paused(PauseReason::Wished)
                }
                (
                    Some(ProcessShutdown {
                        pressed: Some(_),
                        kill_at,
                    }),
                    _,
                ) => GuestStatus::ShuttingDown(kill_at),
                (Some(_), _) => GuestStatus::Ending,
                (None, QemuStatus::Running) => GuestStatus::Running,
                (None, QemuStatus::DiskError) => GuestStatus::Paused(PauseReason::Disk),
                (None, QemuStatus::Moving | QemuStatus::Arriving | QemuStatus::Moved) => {
                    GuestStatus::Paused(PauseReason::Moving)
                }
                (None, QemuStatus::Paused) if self.continuing => GuestStatus::Starting,
                (None, _) => GuestStatus::Paused(PauseReason::Wished),
            },
        }
    }
}
