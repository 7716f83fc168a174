//! Simulates life cycles of a guest whose QEMU process fails, hangs and ends. `GUEST_SEED=n`
//! replays one seed.

use super::{
    DesiredState, FAILURES_MAX, GuestStatus, Input, Life, LifecycleDefect, PAUSE_MAX_MS,
    QUIT_MAX_MS, QemuOrder, QemuStatus, START_MAX_MS, WELL_AFTER_MS,
};
use crate::defect::InjectedDefect;
use lab::Random;
use lab::sim::{assert_found, run_seeds};

const SEEDS: u64 = 3_000;
const STEPS: u64 = 400;
/// Time that an unhealthy guest may take to shut down.
const UNWELL_MS: u64 = 20_000;

#[derive(Debug, Default)]
struct Qemu {
    is_there: bool,
    status: Option<QemuStatus>,
    /// QEMU hangs and reacts only to a kill.
    hangs: bool,
    /// Orders that QEMU has not executed yet.
    orders: Vec<QemuOrder>,
    /// The stop signal was sent to the process; false: a thread still runs in the kernel.
    halted: Option<bool>,
    /// QEMU was asked to quit.
    ends: bool,
    /// The kernel of the guest has given up.
    panicked: bool,
    /// The process was started for an incoming migration.
    arrives: bool,
}

struct LifecycleSimulation {
    random: Random,
    life: Life,
    qemu: Qemu,
    wish: DesiredState,
    now: u64,
    /// Time since which the guest should be paused.
    frozen_since: Option<u64>,
    /// Number of failed starts in a row, and the time of the last one.
    failed: u32,
    failed_at: Option<u64>,
    runs_since: Option<u64>,
    /// Time for which the unhealthy guest was healthy before; None: no restart is pending.
    unwell: Option<u64>,
    /// Time since which the guest is unhealthy, and may run.
    unwell_since: Option<u64>,
    trace: Vec<String>,
}

impl LifecycleSimulation {
    fn new(seed: u64, defect: Option<LifecycleDefect>) -> LifecycleSimulation {
        LifecycleSimulation {
            random: Random::new(seed),
            life: Life::with(InjectedDefect::new(defect)),
            qemu: Qemu::default(),
            wish: DesiredState::Run,
            now: 0,
            frozen_since: None,
            failed: 0,
            failed_at: None,
            runs_since: None,
            unwell: None,
            unwell_since: None,
            trace: Vec::new(),
        }
    }

    fn note(&mut self, words: String) {
        self.trace.push(format!("{}: {words}", self.now));
    }

    fn settle(&mut self) -> Result<(), String> {
        for _ in 0..20 {
            let Some(order) = self.life.next(self.wish, self.now) else {
                return Ok(());
            };
            self.note(format!("{order:?} for {:?}", self.wish));
            self.obey(order)?;
        }
        Err("orders without end".to_owned())
    }

    fn obey(&mut self, order: QemuOrder) -> Result<(), String> {
        match order {
            QemuOrder::Start => {
                if self.qemu.is_there {
                    return Err("a second QEMU".to_owned());
                }
                if !matches!(self.wish, DesiredState::Run | DesiredState::Arrive) {
                    return Err(format!("started although {:?}", self.wish));
                }
                let since = self.failed_at.map(|at| self.now - at);
                if self.wish == DesiredState::Arrive {
                    if self.failed > 0 {
                        return Err("started again for a migration that failed".to_owned());
                    }
                } else if self.failed >= FAILURES_MAX {
                    return Err("started after too many failures".to_owned());
                } else if since.is_some_and(|since| since < 500) {
                    return Err("started again without a pause".to_owned());
                }
                if self.random.percent(15) {
                    self.failure();
                    self.see(Input::NotStarted("no memory".to_owned()));
                } else {
                    self.qemu = Qemu {
                        is_there: true,
                        status: None,
                        hangs: self.random.percent(5),
                        arrives: self.wish == DesiredState::Arrive,
                        ..Qemu::default()
                    };
                    self.see(Input::Started);
                }
            }
            QemuOrder::Kill => self.end(),
            QemuOrder::Quit | QemuOrder::PowerDown => {
                let ordered = self.qemu.ends || matches!(self.wish, DesiredState::ShutDown { .. });
                let ordered = ordered || self.unwell.is_some();
                if std::mem::take(&mut self.qemu.panicked) && !ordered {
                    self.failure();
                }
                self.qemu.ends = true;
                self.qemu.orders.push(order);
            }
            QemuOrder::Halt => {
                let stands = self.random.percent(80);
                self.qemu.halted = Some(stands);
                if stands {
                    self.see(Input::Obeyed(QemuOrder::Halt));
                }
            }
            QemuOrder::Resume => self.qemu.halted = None,
            order if !self.qemu.hangs => self.qemu.orders.push(order),
            _ => {}
        }
        Ok(())
    }

    fn failure(&mut self) {
        let ran_ms = self.runs_since.take().map_or(0, |since| self.now - since);
        if ran_ms >= WELL_AFTER_MS {
            self.failed = 0;
        }
        self.failed += 1;
        self.failed_at = Some(self.now);
    }

    fn see(&mut self, input: Input) {
        self.note(format!("{input:?}"));
        self.life.apply_input(input, self.now);
    }

    fn end(&mut self) {
        self.unwell_since = None;
        if let Some(well_ms) = self.unwell.take() {
            // Only the time counts for which the guest was healthy, not all of the time for which
            // it ran.
            self.runs_since = Some(self.now.saturating_sub(well_ms));
            self.failure();
        }
        self.runs_since = None;
        if std::mem::take(&mut self.qemu).is_there {
            self.see(Input::Ended("it ended".to_owned()));
        }
    }

    fn says(&mut self, status: QemuStatus) {
        self.qemu.status = Some(status);
        if status == QemuStatus::Running {
            self.runs_since.get_or_insert(self.now);
        }
        self.see(Input::Says(status));
    }

    fn step(&mut self) {
        self.now += match self.random.below(4) {
            0 => 1,
            1 => self.random.below(100),
            2 => self.random.below(1_000),
            _ => self.random.below(15_000),
        };
        // Time passes in steps at which a role would wake up.
        match self.random.below(13) {
            0..=5 => self.qemu_obeys(),
            6 => self.wishes(),
            7 if self.qemu.is_there && self.random.percent(20) => {
                let arrives = self.qemu.status == Some(QemuStatus::Arriving);
                if !self.qemu.ends && self.unwell.is_none() && !arrives {
                    self.failure();
                }
                self.end();
            }
            8 if self.qemu.status == Some(QemuStatus::Running)
                && !self.qemu.hangs
                && self.qemu.halted.is_none() =>
            {
                match self.random.below(8) {
                    0 => self.says(QemuStatus::ShutDown),
                    1 => {
                        self.qemu.panicked = true;
                        self.says(QemuStatus::Panicked);
                    }
                    _ => self.says(QemuStatus::DiskError),
                }
            }
            9 if self.random.percent(10) => self.qemu.hangs = true,
            10 if self.random.percent(5) => {
                self.failed = 0;
                self.failed_at = None;
                self.see(Input::Forgive);
            }
            11 if self.qemu.status == Some(QemuStatus::Running) && self.random.percent(30) => {
                self.is_unwell();
            }
            _ => {}
        }
    }

    /// Makes the health check of the guest fail.
    fn is_unwell(&mut self) {
        let well_ms = self.random.below(self.now.min(2 * WELL_AFTER_MS));
        self.see(Input::Unwell {
            why: "connection refused".to_owned(),
            well_ms,
            within_ms: UNWELL_MS,
        });
        // A guest that is shutting down anyway is not restarted.
        if self.life.is_restarting() && self.unwell.is_none() {
            self.unwell = Some(well_ms);
        }
    }

    fn qemu_obeys(&mut self) {
        if !self.qemu.is_there || self.qemu.hangs || self.qemu.halted.is_some() {
            return;
        }
        if self.qemu.status.is_none() {
            return self.says(if self.qemu.arrives {
                QemuStatus::Arriving
            } else {
                QemuStatus::Paused
            });
        }
        if self.qemu.status == Some(QemuStatus::Arriving) && self.random.percent(30) {
            return self.says(QemuStatus::Paused);
        }
        if self.qemu.orders.is_empty() {
            return;
        }
        let running = self.qemu.status == Some(QemuStatus::Running);
        let stands = matches!(
            self.qemu.status,
            Some(QemuStatus::Paused | QemuStatus::DiskError)
        );
        let order = self.qemu.orders.remove(0);
        // The reply comes before or after the event.
        let early = self.random.percent(50);
        if early {
            self.see(Input::Obeyed(order));
        }
        match order {
            QemuOrder::Continue if stands => self.says(QemuStatus::Running),
            QemuOrder::Pause if running => self.says(QemuStatus::Paused),
            QemuOrder::PowerDown if running && self.random.percent(60) => {
                self.says(QemuStatus::ShutDown)
            }
            QemuOrder::Quit => return self.end(),
            _ => {}
        }
        if !early {
            self.see(Input::Obeyed(order));
        }
    }

    fn wishes(&mut self) {
        self.wish = match self.random.below(10) {
            0 | 1 => DesiredState::Freeze,
            2 => DesiredState::Hold,
            3 => DesiredState::ShutDown { within_ms: 30_000 },
            4 => DesiredState::Kill,
            5 => DesiredState::Arrive,
            6 => DesiredState::Stand,
            _ => DesiredState::Run,
        };
        if self.wish == DesiredState::Arrive {
            // Failures from before the migration do not count.
            self.failed = 0;
            self.see(Input::Forgive);
        }
        self.note(format!("wish {:?}", self.wish));
    }

    fn check(&mut self) -> Result<(), String> {
        let frozen = matches!(self.wish, DesiredState::Freeze | DesiredState::Kill);
        if !frozen {
            self.frozen_since = None;
        } else {
            self.frozen_since.get_or_insert(self.now);
        }
        let stands = self.qemu.halted == Some(true);
        let runs = self.qemu.is_there && self.qemu.status == Some(QemuStatus::Running) && !stands;
        if stands
            && matches!(
                self.wish,
                DesiredState::Run | DesiredState::Stand | DesiredState::ShutDown { .. }
            )
        {
            return Err("its process does not go on".to_owned());
        }
        let since = self.frozen_since.map_or(0, |since| self.now - since);
        if runs && since > PAUSE_MAX_MS {
            return Err(format!("runs {since} ms after it was to stand still"));
        }
        let ends = self.unwell.is_some() && self.wish == DesiredState::Run && !self.qemu.hangs;
        let since = if ends {
            *self.unwell_since.get_or_insert(self.now)
        } else {
            self.unwell_since = None;
            self.now
        };
        if self.now - since > UNWELL_MS + QUIT_MAX_MS + START_MAX_MS {
            return Err("a guest that does not work is not restarted".to_owned());
        }
        if self.life.is_there() != self.qemu.is_there {
            return Err("the process is not what is believed".to_owned());
        }
        let starts =
            self.wish == DesiredState::Run && !self.life.is_off() && !self.life.has_failed();
        let waits = self
            .life
            .deadline(self.wish)
            .is_some_and(|at| at > self.now);
        if starts && !self.qemu.is_there && !waits {
            return Err("a guest that is to run is not started".to_owned());
        }
        let shown = self.life.shown(self.now);
        if runs && shown == GuestStatus::Down {
            return Err("shown as down while it runs".to_owned());
        }
        Ok(())
    }

    /// Lets the time pass, and stops at each time before `until` at which something is due.
    fn wake(&mut self, until: u64) -> Result<(), String> {
        let end = self.now.max(until);
        while let Some(due) = self.life.deadline(self.wish).filter(|due| *due < end) {
            if due <= self.now {
                break;
            }
            self.now = due;
            self.settle()?;
            self.check()?;
        }
        self.now = end;
        Ok(())
    }
}

fn history(seed: u64, defect: Option<LifecycleDefect>) -> Result<(), String> {
    let mut world = LifecycleSimulation::new(seed, defect);
    let run = |world: &mut LifecycleSimulation| {
        for _ in 0..STEPS {
            world.settle()?;
            world.check()?;
            let before = world.now;
            world.step();
            let then = std::mem::replace(&mut world.now, before);
            world.wake(then)?;
        }
        Ok(())
    };
    run(&mut world).map_err(|error: String| {
        let from = world.trace.len().saturating_sub(25);
        format!("seed {seed}: {error}\n{}", world.trace[from..].join("\n"))
    })
}

#[test]
fn a_guest_never_runs_twice_or_on_a_forbidden_node() {
    run_seeds("GUEST", SEEDS, |seed| history(seed, None));
}

#[test]
fn deliberate_defects_are_found() {
    let defects = [
        LifecycleDefect::RunsWithoutLease,
        LifecycleDefect::TrustsPause,
        LifecycleDefect::TrustsHalt,
        LifecycleDefect::StaysHalted,
        LifecycleDefect::RestartsAtOnce,
        LifecycleDefect::NeverGivesUp,
        LifecycleDefect::ForgivesUnwell,
    ];
    assert_found(&defects, SEEDS, |seed, defect| history(seed, Some(defect)));
}

#[test]
fn a_moved_guest_is_killed_whatever_qemu_reports() {
    let mut life = Life::default();
    assert_eq!(life.next(DesiredState::Run, 0), Some(QemuOrder::Start));
    life.apply_input(Input::Started, 0);
    life.apply_input(Input::Says(QemuStatus::Moving), 1);
    life.apply_input(Input::Says(QemuStatus::Moved), 2);
    life.apply_input(Input::Says(QemuStatus::Moving), 2);
    assert_eq!(life.status(), Some(QemuStatus::Moved));
    assert_eq!(life.next(DesiredState::Freeze, 2), Some(QemuOrder::Quit));
    assert_eq!(
        life.next(DesiredState::Freeze, 2 + QUIT_MAX_MS),
        Some(QemuOrder::Kill)
    );
}

#[test]
fn a_guest_that_shuts_down_by_an_old_order_restarts() {
    let mut life = Life::default();
    let leaves = DesiredState::ShutDown { within_ms: 60_000 };
    assert_eq!(life.next(DesiredState::Run, 0), Some(QemuOrder::Start));
    life.apply_input(Input::Started, 0);
    life.apply_input(Input::Says(QemuStatus::Running), 0);
    assert_eq!(life.next(leaves, 1), Some(QemuOrder::PowerDown));
    // The lease ends before the guest has shut down; when the lease is back, the guest should stay
    // down.
    assert_eq!(life.next(DesiredState::Freeze, 2), Some(QemuOrder::Pause));
    life.apply_input(Input::Obeyed(QemuOrder::Pause), 3);
    life.apply_input(Input::Says(QemuStatus::Paused), 3);
    assert_eq!(life.next(DesiredState::Run, 4), Some(QemuOrder::Continue));
    life.apply_input(Input::Obeyed(QemuOrder::Continue), 5);
    life.apply_input(Input::Says(QemuStatus::Running), 5);
    life.apply_input(Input::Says(QemuStatus::ShutDown), 6);
    assert_eq!(life.next(DesiredState::Run, 6), Some(QemuOrder::Quit));
    life.apply_input(Input::Ended("exit code 0".to_owned()), 7);
    assert!(!life.is_off());
    assert_eq!(life.next(DesiredState::Run, 7), Some(QemuOrder::Start));
    // Without an order, the guest stays off after its own shutdown.
    life.apply_input(Input::Started, 8);
    life.apply_input(Input::Says(QemuStatus::Running), 8);
    life.apply_input(Input::Says(QemuStatus::ShutDown), 9);
    assert_eq!(life.next(DesiredState::Run, 9), Some(QemuOrder::Quit));
    assert!(life.is_off());
}

#[test]
fn a_qemu_waiting_for_disks_is_stopped_and_continued() {
    let mut life = Life::default();
    assert_eq!(life.next(DesiredState::Run, 0), Some(QemuOrder::Start));
    life.apply_input(Input::Started, 0);
    life.apply_input(Input::Says(QemuStatus::Running), 0);
    assert_eq!(life.next(DesiredState::Freeze, 10), Some(QemuOrder::Pause));
    assert_eq!(life.next(DesiredState::Freeze, 309), None);
    assert_eq!(life.deadline(DesiredState::Freeze), Some(310));
    assert_eq!(life.next(DesiredState::Freeze, 310), Some(QemuOrder::Halt));
    assert_eq!(life.deadline(DesiredState::Freeze), Some(510));
    // No order is due if the guest should stay as it is.
    assert_eq!(life.deadline(DesiredState::Hold), None);
    life.apply_input(Input::Obeyed(QemuOrder::Halt), 311);
    assert!(!life.may_run() && life.is_there());
    assert_eq!(life.next(DesiredState::Freeze, 100_000), None);
    assert_eq!(life.next(DesiredState::Hold, 100_000), None);
    // The lease is back: orders that were requested first are executed first.
    assert_eq!(
        life.next(DesiredState::Run, 100_001),
        Some(QemuOrder::Resume)
    );
    assert_eq!(life.next(DesiredState::Run, 100_001), None);
    life.apply_input(Input::Says(QemuStatus::Paused), 100_002);
    life.apply_input(Input::Obeyed(QemuOrder::Pause), 100_002);
    assert_eq!(
        life.next(DesiredState::Run, 100_002),
        Some(QemuOrder::Continue)
    );
}

#[test]
fn a_role_continues_or_kills_a_stopped_qemu() {
    let found = || {
        let mut life = Life::default();
        life.apply_input(Input::Found, 0);
        life.apply_input(Input::Obeyed(QemuOrder::Halt), 0);
        assert_eq!(life.next(DesiredState::Freeze, START_MAX_MS * 2), None);
        life
    };
    let mut life = found();
    assert_eq!(
        life.next(DesiredState::Kill, START_MAX_MS * 2),
        Some(QemuOrder::Kill)
    );
    let mut life = found();
    let now = START_MAX_MS * 2;
    assert_eq!(life.next(DesiredState::Run, now), Some(QemuOrder::Resume));
    // The timeout of the monitor restarts.
    assert_eq!(life.next(DesiredState::Run, now + START_MAX_MS - 1), None);
    life.apply_input(Input::Says(QemuStatus::Running), now + 1);
    assert_eq!(life.next(DesiredState::Run, now + 1), None);
}
