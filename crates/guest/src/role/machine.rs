//! Runs one guest on this node: its life cycle, its QEMU process and its monitor connection. This
//! module carries out the orders of [`crate::life`].

use crate::agreement::LocalState;
use crate::announce::{self, AnnouncementSchedule};
use crate::check::attempt::CheckTarget;
use crate::check::{CheckResult, Checker};
use crate::clock;
use crate::config::{Guest, user_of};
use crate::life::{DesiredState, GuestStatus, Input, Life, PauseReason, QemuOrder, QemuStatus};
use crate::migration::Progress;
use crate::qemu::command::{self, StartParameters};
use crate::qemu::external;
use crate::qemu::group::{self, GuestGroup};
use crate::qemu::home::{GuestDirectory, Lock, give};
use crate::qemu::monitor::{CommandPurpose, Monitor, MonitorEvent};
use crate::qemu::process::{ProcessRights, QemuExit, QemuProcess};
use crate::qemu::tap::{self, TapError};
use crate::qemu::user::QemuUser;
use crate::qemu::volume::{SocketError, Sockets};
use crate::role::RoleEnvironment;
use crate::role::moved::{MigrationEvent, progress};
use crate::role::silence::PollTimes;
use crate::role::standing::ActiveStandstill;
use crate::role::volumes::Disks;
use part::report::{Event, Moment};
use part::voice::write_error;
use serde_json::{Map, Value};
use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Interval at which the connection to a monitor that does not listen yet is tried again,
/// milliseconds.
const MONITOR_AGAIN_MS: u64 = 10;
/// Maximum size of a file that QEMU may write, bytes. Far more than the UEFI variables and than
/// the serial output until it is truncated.
const FILE_BYTES_MAX: u64 = 64 << 20;
const LOG_LOOK_MS: u64 = 2_000;
const HALT_LOOK_MS: u64 = 5;
pub(super) const EVENTS_MAX: usize = 20;
/// Maximum number of orders in one turn: more orders would be a bug of the life cycle.
const ORDERS_MAX: usize = 16;

#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("cannot prepare {0}: {1}")]
    Home(String, io::Error),
    #[error(transparent)]
    Tap(#[from] TapError),
    #[error(transparent)]
    Disk(#[from] external::DiskError),
    #[error(transparent)]
    Volume(#[from] SocketError),
    #[error("no OVMF firmware is installed (package ovmf)")]
    NoFirmware,
    #[error("its previous QEMU process does not end: {0}")]
    Stray(io::Error),
    #[error("{program} is not installed (package qemu-system-x86)")]
    NoProgram { program: String },
    #[error("cannot start QEMU: {0}")]
    Spawn(io::Error),
    #[error("{path} cannot be read on this node: {error}")]
    File { path: String, error: io::Error },
}

/// A guest with its QEMU process.
#[derive(Debug)]
pub struct GuestMachine {
    pub(super) name: String,
    pub(super) home: GuestDirectory,
    pub(super) life: Life,
    process: Option<QemuProcess>,
    /// Control group of the process; None: the process is in the group of the role.
    pub(super) group: Option<GuestGroup>,
    pub(super) monitor: Option<Monitor>,
    pub(super) due: PollTimes,
    pub(super) checker: Option<Checker>,
    rounds: AnnouncementSchedule,
    /// Settings with which the running guest was started; None: the stored settings cannot be read.
    pub(super) started_as: Option<Guest>,
    pub(super) epoch: Option<u64>,
    pub(super) shown: Option<(GuestStatus, Moment)>,
    pub(super) events: VecDeque<Event>,
    pub(super) arrives: bool,
    pub(super) moved: VecDeque<MigrationEvent>,
    pub(super) standing: Option<ActiveStandstill>,
}

impl GuestMachine {
    /// Creates the state of a guest. A running QEMU process of the guest is adopted.
    pub(super) fn find(name: &str, place: &RoleEnvironment) -> GuestMachine {
        let home = GuestDirectory::new(&place.runtime, name);
        let mut machine = GuestMachine {
            name: name.to_owned(),
            life: Life::default(),
            process: None,
            group: None,
            monitor: None,
            due: PollTimes::default(),
            checker: None,
            rounds: AnnouncementSchedule::default(),
            started_as: None,
            epoch: None,
            shown: None,
            events: VecDeque::new(),
            arrives: false,
            moved: VecDeque::new(),
            standing: None,
            home,
        };
        let is_found = machine.home.path().exists() && machine.take_over();
        // Counts a missing directory as a lock that nobody holds.
        let is_held = |home: &GuestDirectory| matches!(home.lock(), Ok(Lock::Held { .. }));
        if !is_found
            && !is_held(&machine.home)
            && let Err(error) = machine.end_stray()
        {
            machine.note(&format!("its previous QEMU process does not end: {error}"));
        }
        if !is_found && !is_held(&machine.home) {
            machine.remove_group();
        }
        machine
    }

    fn take_over(&mut self) -> bool {
        let found = QemuProcess::find(&self.home);
        let Ok(Some(process)) = found else {
            return false;
        };
        let read = |name: &str| fs::read(self.home.path().join(name)).ok();
        self.started_as = read("spec").and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let epoch = read("epoch").and_then(|bytes| String::from_utf8(bytes).ok());
        self.epoch = epoch.and_then(|text| text.trim().parse().ok());
        self.note(&format!(
            "its QEMU already runs, as process {}",
            process.id()
        ));
        let is_halted = process.is_halted();
        self.process = Some(process);
        self.group = GuestGroup::find(&self.home);
        self.life.apply_input(Input::Found, clock::boottime_ms());
        if is_halted {
            let halted = Input::Obeyed(QemuOrder::Halt);
            self.life.apply_input(halted, clock::boottime_ms());
        }
        self.resume_standing(clock::boottime_ms());
        true
    }

    pub(super) fn process(&self) -> Option<&QemuProcess> {
        self.process.as_ref()
    }

    pub(super) fn monitor(&self) -> Option<&Monitor> {
        self.monitor.as_ref()
    }

    pub(super) fn note(&mut self, words: &str) {
        write_error(&format!("evenkeel: guest {}: {words}\n", self.name));
        if self.events.len() >= EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(Event {
            at: Moment::now(),
            to: words.to_owned(),
            ..Event::default()
        });
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.shown, Some((GuestStatus::Running, _)))
    }

    pub(super) fn is_left(&self) -> bool {
        self.life.is_there() && !matches!(self.shown, Some((GuestStatus::Ending, _)))
    }

    pub(super) fn is_up(&self) -> bool {
        self.is_running() && self.checker.as_ref().is_none_or(Checker::is_up)
    }

    pub(super) fn local(&self, disks: Disks) -> LocalState {
        LocalState {
            is_there: self.life.is_there(),
            may_run: self.life.may_run(),
            epoch: self.epoch,
            is_up: self.is_up(),
            is_off: self.life.is_off(),
            failed: self.life.has_failed().then(|| self.life.why.clone()),
            has_volumes: disks.are_there,
            has_both_copies: disks.have_both_copies,
            without_copy: disks.without_copy,
            superseded: disks.superseded,
            has_moved: self.life.status() == Some(QemuStatus::Moved),
            left_open: self.left_open(),
            stop_ms: self.started_as.as_ref().map(|guest| guest.stop_ms),
        }
    }

    fn left_open(&self) -> bool {
        self.process.is_none() && self.home.open().exists()
    }

    /// Removes the directory of a guest that has no section and no process. If its disks were not
    /// closed, the file that says so is kept.
    pub(super) fn forget(&mut self) {
        self.remove_group();
        if !self.left_open() {
            self.home.remove();
        }
    }

    /// Removes the control group of a QEMU process that has ended.
    fn remove_group(&mut self) {
        self.group = None;
        if let Some(group) = GuestGroup::find(&self.home) {
            group.remove(&self.home);
        }
    }

    /// Creates the control group of a QEMU process that is about to start. Without one, the guest
    /// runs all the same.
    fn create_group(&mut self, guest: &Guest, place: &RoleEnvironment) -> Option<OwnedFd> {
        self.remove_group();
        let limit = group::limit_bytes(guest.memory_bytes, place.has_kvm);
        let group = place.groups.as_ref()?.create(&self.name, &self.home, limit);
        let opened = group.map_err(|error| error.to_string()).and_then(|group| {
            let opened = group.open().map_err(|error| error.to_string())?;
            Ok((group, opened))
        });
        match opened {
            Ok((group, opened)) => {
                self.group = Some(group);
                Some(opened)
            }
            Err(error) => {
                self.note(&format!("its memory is not limited: {error}"));
                None
            }
        }
    }

    pub(super) fn allow(&mut self, epoch: Option<u64>) {
        if epoch.is_some() && self.epoch != epoch {
            self.epoch = epoch;
            if self.life.is_there() {
                self.keep_epoch();
            }
        }
    }

    fn keep_epoch(&mut self) {
        let path = self.home.path().join("epoch");
        let kept = match self.epoch {
            Some(epoch) => fs::write(path, epoch.to_string()),
            // Removes the stored epoch of a guest whose migration is not complete: a later role
            // process must not continue the guest.
            None => fs::remove_file(path).or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            }),
        };
        // If the epoch is not stored, the next role process ends the guest and starts it again.
        if let Err(error) = kept {
            self.note(&format!("cannot write its epoch: {error}"));
        }
    }

    pub(super) fn poll_process(&mut self, now: u64) {
        self.connect(now);
        self.listen(now);
        if self.process.as_ref().is_some_and(QemuProcess::has_ended) {
            let process = self.process.take();
            let quits = process.as_ref().is_some_and(|process| process.quits);
            let end = process.and_then(|process| process.ended());
            let end = end.unwrap_or(QemuExit::Unknown);
            // Counts an unknown exit code as success if QEMU was ordered to quit: a process that
            // another role started has no known exit code.
            if end == QemuExit::Exit(0) || (end == QemuExit::Unknown && quits) {
                // Ignores a missing file, which most guests do not have.
                let _ = fs::remove_file(self.home.open());
            }
            let killed = self.group.as_ref().and_then(GuestGroup::out_of_memory);
            let mut words = match killed {
                Some(killed) => format!("{end}: {killed}"),
                None => end.to_string(),
            };
            let last = self.home.last_output_lines();
            if !last.is_empty() {
                words = format!("{words}: {last}");
            }
            self.monitor = None;
            self.remove_group();
            self.note(&words);
            self.handle_migration_event(MigrationEvent::Is(Progress::Gone));
            self.life.apply_input(Input::Ended(words), now);
        }
        if now >= self.due.log && self.process.is_some() {
            self.due.log = now + LOG_LOOK_MS;
            // Ignores an error: without a serial log there is nothing to truncate.
            let _ = self.home.cut_log();
            self.look_at_monitor();
            self.see_halt(now);
        }
    }

    pub(super) fn run_periodic_checks(&mut self, guest: Option<&Guest>, now: u64) {
        // Applies a changed shutdown time immediately; it stays after the section is gone.
        if let (Some(guest), Some(before)) = (guest, &mut self.started_as) {
            before.stop_ms = guest.stop_ms;
        }
        self.check(guest, now);
        let nics = guest
            .or(self.started_as.as_ref())
            .map(|guest| guest.nics.clone());
        if self.rounds.turn(self.life.runs(), now)
            && let Err(words) = announce::send(&nics.unwrap_or_default())
        {
            self.note(&words);
        }
    }

    fn check(&mut self, guest: Option<&Guest>, now: u64) {
        let check = guest.and_then(|guest| Some((guest, guest.check.as_ref()?)));
        let Some((guest, check)) = check else {
            self.checker = None;
            return;
        };
        let is_running = self.is_running();
        let process = self.process.as_ref().map(QemuProcess::id);
        let checker = self.checker.get_or_insert_with(|| Checker::new(check, now));
        checker.set(check, now);
        let agent = self.home.agent();
        let target = CheckTarget {
            agent: &agent,
            bridge: guest.nics.first().map_or("", |nic| &nic.bridge),
        };
        let turn = checker.turn(process.filter(|_| is_running), target, now);
        let unwell = checker.wants_restart().then(|| Input::Unwell {
            why: format!("its check failed: {}", checker.health().why()),
            well_ms: checker.health().well_ms(),
            within_ms: guest.stop_ms,
        });
        match turn {
            CheckResult::Nothing => {}
            CheckResult::Up => self.note("its check is up"),
            CheckResult::Down(why) => self.note(&format!("its check is down: {why}")),
        }
        if let Some(unwell) = unwell.filter(|_| is_running) {
            self.life.apply_input(unwell, now);
        }
    }

    fn connect(&mut self, now: u64) {
        if self.monitor.is_some() || self.process.is_none() || now < self.due.monitor {
            return;
        }
        self.due.monitor = now + MONITOR_AGAIN_MS;
        let Ok(monitor) = Monitor::connect(&self.home.monitor()) else {
            return;
        };
        self.monitor = Some(monitor);
        self.ask_status();
    }

    fn listen(&mut self, now: u64) {
        let Some(monitor) = &mut self.monitor else {
            return;
        };
        let news = match monitor.read() {
            Ok(news) => news,
            Err(error) => {
                self.lose_monitor(&error.to_string(), now);
                return;
            }
        };
        for one in news {
            self.handle_monitor_news(one, now);
        }
    }

    fn lose_monitor(&mut self, words: &str, now: u64) {
        self.monitor = None;
        self.due.monitor = now + MONITOR_AGAIN_MS * 10;
        // Reports the loss only of a QEMU process that still runs: one that ends closes its monitor
        // first.
        if !self
            .process
            .as_ref()
            .is_none_or(|process| process.quits || process.has_ended())
        {
            self.note(words);
        }
        for order in [QemuOrder::Continue, QemuOrder::Pause] {
            self.life.apply_input(Input::Obeyed(order), now);
        }
    }

    fn handle_monitor_news(&mut self, news: MonitorEvent, now: u64) {
        match news {
            MonitorEvent::Status(status) => self.life.apply_input(Input::Says(status), now),
            MonitorEvent::Reply(CommandPurpose::Life(QUIT), Ok(_)) => {
                if let Some(process) = &mut self.process {
                    process.quits = true;
                }
            }
            MonitorEvent::Reply(CommandPurpose::Life(word), reply) => {
                if let Err(words) = reply {
                    self.note(&format!("QEMU refused to {word}: {words}"));
                }
                let obeyed = match word {
                    CONTINUE => Some(QemuOrder::Continue),
                    PAUSE => Some(QemuOrder::Pause),
                    _ => None,
                };
                if let Some(order) = obeyed {
                    self.life.apply_input(Input::Obeyed(order), now);
                }
                self.ask_status();
            }
            MonitorEvent::Reply(CommandPurpose::Move(word), reply) => self.hear_reply(word, reply),
            MonitorEvent::Reply(..) => {}
            MonitorEvent::Event(name, data) => {
                match &*name {
                    "MIGRATION" => {
                        let is = progress(&Value::from(data));
                        is.into_iter()
                            .for_each(|is| self.handle_migration_event(MigrationEvent::Is(is)));
                    }
                    "MIGRATION_PASS" => {
                        let pass = data.get("pass").and_then(|pass| pass.as_u64());
                        self.handle_migration_event(MigrationEvent::Pass(pass.unwrap_or_default()));
                    }
                    "BLOCK_IO_ERROR" => self.note_disk_error(&data, now),
                    "RESET" => {
                        self.note("it restarts itself");
                        if let Some(checker) = &mut self.checker {
                            checker.restart(now);
                        }
                    }
                    _ => {}
                }
                self.ask_status();
            }
        }
    }

    pub(super) fn ask_status(&mut self) {
        if let Some(monitor) = &self.monitor
            && !monitor.waits_for(&CommandPurpose::Status)
        {
            self.send(CommandPurpose::Status, "query-status");
        }
    }

    fn send(&mut self, about: CommandPurpose, command: &'static str) {
        self.send_with(about, command, Map::new());
    }

    pub(super) fn send_with(
        &mut self,
        about: CommandPurpose,
        command: &'static str,
        with: Map<String, Value>,
    ) {
        if let Some(monitor) = &mut self.monitor
            && let Err(error) = monitor.send(about, command, with)
        {
            self.lose_monitor(&error.to_string(), clock::boottime_ms());
        }
    }

    pub(super) fn advance(
        &mut self,
        wish: DesiredState,
        guest: Option<&Guest>,
        place: &RoleEnvironment,
        now: u64,
    ) {
        for _ in 0..ORDERS_MAX {
            self.look_at_halt(now);
            let Some(order) = self.life.next(wish, now) else {
                break;
            };
            self.execute_order(order, wish, guest, place, now);
        }
        let shown = match self.life.shown(now) {
            GuestStatus::Paused(PauseReason::Wished) if self.holds() => {
                GuestStatus::Paused(PauseReason::Snapshot)
            }
            // Shows the guest as starting until QEMU has confirmed that the guest continues.
            GuestStatus::Paused(PauseReason::Wished) if wish == DesiredState::Run => {
                GuestStatus::Starting
            }
            shown => shown,
        };
        let is_new = self
            .shown
            .as_ref()
            .is_none_or(|(before, _)| *before != shown);
        if is_new {
            tracing::info!(guest = self.name, status = ?shown, "status changed");
            self.shown = Some((shown, Moment::now()));
        }
    }

    fn look_at_halt(&mut self, now: u64) {
        if self.life.is_halting() {
            self.due.halt = now + HALT_LOOK_MS;
            if self.process.as_ref().is_some_and(QemuProcess::is_halted) {
                self.life.apply_input(Input::Obeyed(QemuOrder::Halt), now);
            }
        }
    }

    fn holds(&self) -> bool {
        self.standing.as_ref().is_some_and(ActiveStandstill::holds)
    }

    fn execute_order(
        &mut self,
        order: QemuOrder,
        wish: DesiredState,
        guest: Option<&Guest>,
        place: &RoleEnvironment,
        now: u64,
    ) {
        tracing::info!(
            guest = self.name,
            ?order,
            ?wish,
            epoch = self.epoch,
            "order for QEMU"
        );
        match order {
            QemuOrder::Start => {
                let input = match guest {
                    Some(guest) => self.start(guest, place, now),
                    None => Input::NotStarted("its section is gone".to_owned()),
                };
                self.life.apply_input(input, now);
            }
            QemuOrder::Continue => self.send(CommandPurpose::Life(CONTINUE), "cont"),
            QemuOrder::Pause => {
                self.note(if self.holds() {
                    "paused for a snapshot"
                } else {
                    "paused: this node does not hold its lease"
                });
                self.send(CommandPurpose::Life(PAUSE), "stop");
            }
            QemuOrder::Halt => {
                self.note(
                    "QEMU has not paused it in time, possibly because of its disks: its process is stopped",
                );
                if let Some(process) = &self.process {
                    process.halt();
                }
            }
            QemuOrder::Resume => {
                self.note("its process continues");
                if let Some(process) = &self.process {
                    process.resume();
                }
            }
            QemuOrder::PowerDown => {
                self.note("the power button was pressed");
                self.send(
                    CommandPurpose::Life("press the power button"),
                    "system_powerdown",
                );
            }
            QemuOrder::Quit => self.send(CommandPurpose::Life(QUIT), "quit"),
            QemuOrder::Kill => {
                self.note(match wish {
                    DesiredState::Kill => "killed",
                    DesiredState::Freeze => {
                        "killed: neither QEMU nor the kernel confirms that it is stopped"
                    }
                    DesiredState::ShutDown { .. } => "killed: it did not shut down in time",
                    DesiredState::Run
                    | DesiredState::Hold
                    | DesiredState::Arrive
                    | DesiredState::Stand => "killed: QEMU did not respond",
                });
                if let Some(process) = &mut self.process {
                    process.quits = false;
                    process.kill();
                }
            }
        }
    }

    fn start(&mut self, guest: &Guest, place: &RoleEnvironment, now: u64) -> Input {
        self.due = PollTimes {
            monitor: now,
            log: now + LOG_LOOK_MS,
            halt: now,
            ..PollTimes::default()
        };
        let held = self.home.make().and_then(|()| self.home.lock());
        let path = self.home.path().display().to_string();
        let started = match held {
            Err(error) => Err(StartError::Home(path, error)),
            // Adopts the QEMU process, which a role process has started that was killed a moment
            // ago.
            Ok(Lock::Held { .. }) => {
                return if self.take_over() {
                    Input::Found
                } else {
                    Input::NotStarted("another process is starting it".to_owned())
                };
            }
            Ok(Lock::Free(lock)) => match self.end_stray() {
                Ok(()) => self.spawn(guest, place, &lock),
                Err(error) => Err(StartError::Stray(error)),
            },
        };
        match started {
            Ok(process) => {
                self.note(&format!("started, as process {}", process.id()));
                self.process = Some(process);
                self.started_as = Some(guest.clone());
                self.rounds.begin();
                Input::Started
            }
            Err(error) => {
                self.remove_group();
                let words = error.to_string();
                self.note(&words);
                Input::NotStarted(words)
            }
        }
    }

    /// Kills QEMU processes of this guest that lost their lock file but still write.
    fn end_stray(&mut self) -> io::Result<()> {
        while let Some(stray) = QemuProcess::find_stray(&self.home)? {
            self.note(&format!(
                "its QEMU, process {}, has lost its lock file: killed",
                stray.id()
            ));
            // Marks the disks as open, as after any kill. The process is also killed if the mark
            // cannot be written, since the guest may run on another node already.
            let marked = self.home.make();
            let marked = marked.and_then(|()| fs::write(self.home.open(), b""));
            stray.end()?;
            marked?;
        }
        Ok(())
    }

    fn spawn(
        &mut self,
        guest: &Guest,
        place: &RoleEnvironment,
        lock: &OwnedFd,
    ) -> Result<QemuProcess, StartError> {
        if self.arrives {
            self.epoch = None;
        }
        let own = |error| StartError::Home(self.home.own().display().to_string(), error);
        let user = QemuUser::of_guest(&self.home).map_err(own)?;
        self.home.make_own(user).map_err(own)?;
        self.prepare(guest, user)?;
        self.keep_epoch();
        let taps = guest.nics.iter().map(tap::make);
        let mut kept: Vec<OwnedFd> = taps.collect::<Result<_, _>>()?;
        let taps: Vec<_> = kept.iter().map(AsRawFd::as_raw_fd).collect();
        let sockets = Sockets::open(guest, &place.runtime)?;
        let arguments = command::arguments(&StartParameters {
            name: &self.name,
            guest,
            home: &self.home,
            volumes: &sockets,
            user: user.map(|user| user.option(&place.program)),
            taps: &taps,
            has_kvm: place.has_kvm,
            arrives: self.arrives,
        });
        let storage = guest.disks.iter().filter_map(|disk| disk.external.as_ref());
        let storage = storage.filter_map(external::files).collect::<Vec<_>>();
        let files: Vec<&Path> = guest
            .boot
            .files()
            .into_iter()
            .chain(storage.iter().map(PathBuf::as_path))
            .collect();
        let ruleset = place
            .confine
            .map(|confine| confine(self.home.path(), &files));
        let ruleset = ruleset.transpose().map_err(StartError::Spawn)?.flatten();
        let rights = ProcessRights {
            files: ruleset,
            changes_user: user.is_some(),
            file_bytes_max: Some(FILE_BYTES_MAX),
            has_network: guest.is_external(),
            group: self.create_group(guest, place),
        };
        kept.extend(sockets.into_descriptors());
        let started =
            QemuProcess::start(&place.program, arguments, &self.home, lock, &kept, rights);
        started.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StartError::NoProgram {
                program: place.program.display().to_string(),
            },
            _ => StartError::Spawn(error),
        })
    }

    fn prepare(&mut self, guest: &Guest, user: Option<QemuUser>) -> Result<(), StartError> {
        let home = &self.home;
        let sockets = [home.monitor(), home.serial(), home.agent(), home.display()];
        let left = [home.outgoing(), home.frozen()];
        for socket in sockets.into_iter().chain(left) {
            match fs::remove_file(&socket) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StartError::Home(socket.display().to_string(), error));
                }
                _ => {}
            }
        }
        for path in guest.boot.files() {
            fs::File::open(path).map_err(|error| StartError::File {
                path: path.display().to_string(),
                error,
            })?;
        }
        let write = |path: std::path::PathBuf, bytes: &[u8]| {
            let written = fs::write(&path, bytes);
            written.map_err(|error| StartError::Home(path.display().to_string(), error))
        };
        for (at, disk) in guest.disks.iter().enumerate() {
            external::prepare(at, disk, home)?;
        }
        let spec = serde_json::to_vec(guest).unwrap_or_default();
        write(home.path().join("spec"), &spec)?;
        write(home.user(), user_of(&self.name).as_bytes())?;
        if let Some(data) = &guest.user_data {
            let seed = home.seed();
            let made = fs::create_dir_all(&seed);
            made.map_err(|error| StartError::Home(seed.display().to_string(), error))?;
            write(seed.join("user-data"), data.as_bytes())?;
            let id = format!("instance-id: {0}\nlocal-hostname: {0}\n", self.name);
            write(seed.join("meta-data"), id.as_bytes())?;
        }
        if guest.firmware == crate::config::Firmware::Uefi {
            let [_, empty] = command::ovmf().ok_or(StartError::NoFirmware)?;
            let variables = home.variables();
            let failed = |error| StartError::Home(variables.display().to_string(), error);
            if !variables.exists() {
                fs::copy(&empty, &variables).map_err(failed)?;
            }
            give(&variables, user).map_err(failed)?;
        }
        if guest.is_external() {
            write(home.open(), b"")?;
        }
        Ok(())
    }

    pub(super) fn deadline(&self, wish: DesiredState) -> Option<u64> {
        let life = self.life.deadline(wish);
        let connects = self.process.is_some() && self.monitor.is_none();
        let monitor = connects.then_some(self.due.monitor);
        let log = self.process.is_some().then_some(self.due.log);
        let checker = self.checker.as_ref().filter(|_| self.is_running());
        let check = checker.map(Checker::deadline);
        let announces = self.rounds.deadline();
        let stands = self.standing_due();
        let halt = self.life.is_halting().then_some(self.due.halt);
        let all = [life, monitor, log, check, announces, stands, halt];
        all.into_iter().flatten().min()
    }
}

const CONTINUE: &str = "continue";
const PAUSE: &str = "pause";
const QUIT: &str = "end";
