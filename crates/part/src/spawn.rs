//! Starts other processes of this program with a channel to each: from the running binary, also
//! after its file was replaced, or from the binary that replaced it. Also adopts processes that
//! another supervisor started.

use crate::SharedFd;
use crate::channel::{Channel, ChannelError, Received};
use crate::heart::Heart;
use crate::role::{Manner, Personality, SupervisorMessage};
use crate::row::{self, Entry, Environment};
use crate::trace;
use crate::voice::MessagePrinter;
use nix::libc;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group, pidfd_open,
    pidfd_send_signal, waitid,
};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub const OWN_PROGRAM: &str = "/proc/self/exe";
/// First word of the command line of a process that another one starts.
pub const INTERNAL: &str = "internal";
pub const LOADER: &str = "loader";
pub const CHECKS: &str = "checks";
pub const ROUTE: &str = "route";
pub const SELF_TEST: &str = "self-test";

/// Environment variables of every role: those that the C library and this program read. Roles do
/// not get the rest of the supervisor's environment, which may contain secrets of other services.
/// Variables that the configuration files use travel with the version.
const FOR_ROLES: [&str; 12] = [
    "GLIBC_TUNABLES",
    // Device and inode of standard error, if it is the journal.
    trace::journal::STREAM_VARIABLE,
    "LANG",
    "MALLOC_ARENA_MAX",
    "PATH",
    "RUST_BACKTRACE",
    "TERM",
    "NO_COLOR",
    "COLUMNS",
    "TZ",
    "TZDIR",
    "XDG_RUNTIME_DIR",
];
/// Further variables of a role that starts the scripts of a file.
const FOR_SCRIPTS: [&str; 4] = ["HOME", "LOGNAME", "SHELL", "USER"];
/// Prefixes of variable names: the categories of a locale, and Evenkeel's own variables.
const PREFIXES: [&str; 2] = ["LC_", "EVENKEEL_"];

/// Variables through which a service manager communicates with the process that it started.
const FOR_THE_SUPERVISOR: [&str; 6] = [
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

pub const LOADER_ENTRY: Entry = Entry {
    argument: LOADER,
    process_title: "evenkeel: loader",
    display_name: "loader",
    environment: Environment::All,
};

pub const CHECKS_ENTRY: Entry = Entry {
    argument: CHECKS,
    process_title: "evenkeel: checks",
    display_name: "process of external checks",
    environment: Environment::Few,
};

pub const ROUTE_ENTRY: Entry = Entry {
    argument: ROUTE,
    process_title: "evenkeel: route",
    display_name: "process of a route",
    environment: Environment::Few,
};

pub fn failure(entry: Entry, why: Why) -> StartFailure {
    StartFailure {
        what: entry.display_name,
        why,
    }
}

/// The reason why a child process could not be started or not get its first messages.
#[derive(Debug)]
pub struct StartFailure {
    what: &'static str,
    why: Why,
}

#[derive(Debug)]
pub enum Why {
    Start(io::Error),
    Limits(rustix::io::Errno),
    Channel(ChannelError),
}

impl std::fmt::Display for StartFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = self.what;
        match &self.why {
            Why::Start(error) => write!(f, "cannot start the {what}: {error}"),
            Why::Limits(errno) => write!(f, "the limits of the {what}: {errno}"),
            Why::Channel(error) => write!(f, "the {what}: {error}"),
        }
    }
}

impl std::error::Error for StartFailure {}

/// A process of this program: a child, or one that another supervisor started.
pub struct Started {
    entry: Entry,
    pid: Pid,
    pidfd: OwnedFd,
    pub channel: Channel,
    pub is_channel_closed: bool,
    pub heart: Heart,
    /// True if a ping was sent and no message has arrived since.
    is_ping_pending: bool,
    /// Levels of trace events that the process got last; None if another program image or
    /// supervisor started it.
    log_levels: Option<String>,
}

/// Shortest interval of polling for the end of a process whose pidfd does not report it.
const END_LOOK_MIN: Duration = Duration::from_millis(1);
const END_LOOK_MAX: Duration = Duration::from_millis(100);
/// Maximum number of messages that are read from an ending process between two polls of its end.
const TAKEN_MAX: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProcessExit {
    Status(ExitStatus),
    /// The process was not a child, so its exit status is unknown.
    Unknown,
}

/// Starts a process of a program and sends its first messages. If a message cannot be sent, the
/// process is killed.
///
/// # Errors
/// The process cannot be started, or a message not be sent.
pub fn start(
    program: &Path,
    entry: Entry,
    personality: Personality,
    variables: &[(&str, &OsStr)],
    first: impl FnOnce(&mut Started) -> Result<(), StartFailure>,
) -> Result<Started, StartFailure> {
    let mut process = execute(program, entry, personality, variables)
        .map_err(|error| failure(entry, Why::Start(error)))?;
    match first(&mut process) {
        Ok(()) => Ok(process),
        Err(failure) => {
            process.kill_and_wait();
            Err(failure)
        }
    }
}

fn execute(
    program: &Path,
    entry: Entry,
    personality: Personality,
    variables: &[(&str, &OsStr)],
) -> io::Result<Started> {
    let (channel, theirs) = Channel::pair()?;
    let number = theirs.as_raw_fd();
    let mut command = Command::new(program);
    command.arg0(entry.process_title).args([
        INTERNAL,
        entry.argument,
        &number.to_string(),
        personality.program(),
    ]);
    match entry.environment {
        Environment::All => remove(&mut command, &FOR_THE_SUPERVISOR),
        Environment::Scripts if personality == Personality::Keepalived => {
            remove(&mut command, &FOR_THE_SUPERVISOR);
        }
        Environment::Scripts | Environment::Few => {
            let scripts = entry.environment == Environment::Scripts;
            let kept = std::env::vars_os().filter(|(name, _)| is_for_role(name, scripts));
            command.env_clear().envs(kept);
        }
    }
    command.envs(variables.iter().copied());
    let role = traced_role(entry.argument);
    let (ring, levels) = {
        let mut control = trace::control();
        (control.ring_of(role), control.levels_of(role).to_string())
    };
    let ring_number = ring.as_ref().map(|ring| ring.as_raw_fd());
    if let Some(number) = ring_number {
        command.env(trace::RING_VARIABLE, number.to_string());
    }
    command.env(trace::LEVELS_VARIABLE, &levels);
    if entry.argument != LOADER {
        // Closes standard input, except for the loader, which may have to read a file from there.
        command.stdin(Stdio::null());
    }
    // SAFETY: the child only calls fcntl(2), which is allowed between fork and exec; both descriptors
    // stay open until the child exists.
    unsafe {
        command.pre_exec(move || {
            let theirs = BorrowedFd::borrow_raw(number);
            rustix::io::fcntl_setfd(theirs, rustix::io::FdFlags::empty())?;
            if let Some(number) = ring_number {
                let ring = BorrowedFd::borrow_raw(number);
                rustix::io::fcntl_setfd(ring, rustix::io::FdFlags::empty())?;
            }
            Ok(())
        });
    }
    let mut child = command.spawn()?;
    drop(theirs);
    let pid = Pid::from_child(&child);
    let pidfd = watch_child(&mut child)?;
    let mut process = Started::running(entry, pid, pidfd, channel);
    process.log_levels = Some(levels);
    Ok(process)
}

/// Opens a descriptor that is readable when a child has ended. If that fails, the child is killed
/// with its process group and reaped: nobody could observe its end.
///
/// # Errors
/// No descriptor is left.
pub fn watch_child(child: &mut Child) -> io::Result<OwnedFd> {
    watch_or_kill(child, |pid| pidfd_open(pid, PidfdFlags::empty()))
}

fn watch_or_kill(
    child: &mut Child,
    open: impl FnOnce(Pid) -> Result<OwnedFd, Errno>,
) -> io::Result<OwnedFd> {
    let pid = Pid::from_child(child);
    open(pid).map_err(|errno| {
        // Ignores errors: the child may have no group of its own, or may have ended. Its ID is not
        // reused before it is reaped.
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = child.kill();
        let _ = child.wait();
        errno.into()
    })
}

/// Returns the name under which the events of a process are shown: its part, or the second word of
/// its command line.
fn traced_role(argument: &'static str) -> &'static str {
    let row = row::all().iter().find(|row| row.entry.argument == argument);
    row.map_or(argument, |row| row.part)
}

fn remove(command: &mut Command, names: &[&str]) {
    for name in names {
        command.env_remove(name);
    }
}

fn is_for_role(name: &OsStr, scripts: bool) -> bool {
    let name = name.to_str().unwrap_or_default();
    FOR_ROLES.contains(&name)
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || (scripts && FOR_SCRIPTS.contains(&name))
}

impl Started {
    pub fn running(entry: Entry, pid: Pid, pidfd: OwnedFd, channel: Channel) -> Started {
        Started {
            entry,
            pid,
            pidfd,
            channel,
            is_channel_closed: false,
            heart: Heart::default(),
            is_ping_pending: false,
            log_levels: None,
        }
    }

    /// Sends the current levels of trace events, if they have changed. A process that this one did
    /// not start also gets a ring.
    pub fn update_log_levels(&mut self) {
        let role = traced_role(self.entry.argument);
        let (ring, levels) = {
            let mut control = trace::control();
            let levels = control.levels_of(role).to_string();
            if self.log_levels.as_ref() == Some(&levels) {
                return;
            }
            let ring = self.log_levels.is_none().then(|| control.ring_of(role));
            (ring.flatten(), levels)
        };
        let message = SupervisorMessage::SetLogLevels {
            levels: levels.clone(),
        };
        let ring: Vec<SharedFd> = ring.into_iter().collect();
        // Ignores a failure and does not repeat the message: the process has ended, or is too busy.
        let _ = self.send_message(&message, &ring);
        self.log_levels = Some(levels);
    }

    pub fn pid(&self) -> Pid {
        self.pid
    }

    pub fn number(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Returns a descriptor that is readable once the process has ended.
    pub fn exit_descriptor(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    pub fn watched(&self) -> impl Iterator<Item = PollFd<'_>> {
        // Polls only the end of the process once the peer has closed the channel, which is always
        // ready then.
        let channel =
            (!self.is_channel_closed).then(|| PollFd::new(&self.channel, self.channel.interest()));
        let end = PollFd::from_borrowed_fd(self.exit_descriptor(), PollFlags::IN);
        channel.into_iter().chain(std::iter::once(end))
    }

    /// Returns the next message. A process that sends invalid messages is killed.
    pub fn receive_message(&mut self, voice: &mut MessagePrinter) -> Option<Received> {
        if self.is_channel_closed {
            return None;
        }
        match self.channel.flush().and_then(|()| self.channel.receive()) {
            Ok(received) => {
                if received.is_some() {
                    self.is_ping_pending = false;
                    self.heart.beats();
                }
                received
            }
            Err(error) => {
                self.is_channel_closed = true;
                if !matches!(error, ChannelError::Closed) {
                    self.kill();
                    voice.alert(self.failure(Why::Channel(error)));
                }
                None
            }
        }
    }

    pub fn process_exit(&mut self) -> Option<ProcessExit> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        match waitid(WaitId::PidFd(self.pidfd.as_fd()), options) {
            Ok(status) => status.map(|status| ProcessExit::Status(exit_status(&status))),
            // Reports only the end: the process is not a child of this one, so its exit status is
            // not visible.
            Err(_) => has_ended(&self.pidfd).then_some(ProcessExit::Unknown),
        }
    }

    pub fn failure(&self, why: Why) -> StartFailure {
        failure(self.entry, why)
    }

    /// Sends a message that the process must receive. A closed channel is no error: the supervisor
    /// notices the end of the process.
    ///
    /// # Errors
    /// The channel fails otherwise.
    pub fn send(
        &mut self,
        message: &SupervisorMessage,
        descriptors: &[SharedFd],
    ) -> Result<(), StartFailure> {
        match self.channel.send(message, descriptors) {
            Ok(()) | Err(ChannelError::Closed) => Ok(()),
            Err(error) => Err(self.failure(Why::Channel(error))),
        }
    }

    /// Makes the process serve on when its supervisor dies, and sends the socket on which the next
    /// supervisor connects.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn set_survives_supervisor(
        &mut self,
        listener: Option<&SharedFd>,
    ) -> Result<(), StartFailure> {
        let uid = rustix::process::geteuid().as_raw();
        let listener: Vec<SharedFd> = listener.into_iter().cloned().collect();
        self.send(&SupervisorMessage::Guard { uid }, &listener)
    }

    /// Sends a message. Returns false if the message cannot arrive; the process has usually ended
    /// then.
    pub fn send_message(&mut self, message: &SupervisorMessage, descriptors: &[SharedFd]) -> bool {
        self.send_numbered(0, message, descriptors)
    }

    /// As [`Started::send_message`], for a numbered request or response.
    pub fn send_numbered(
        &mut self,
        ask: u64,
        message: &SupervisorMessage,
        descriptors: &[SharedFd],
    ) -> bool {
        !self.is_channel_closed && (self.channel.send_numbered(ask, message, descriptors)).is_ok()
    }

    /// Sends a ping; any later message counts as the response. Returns whether the ping can arrive.
    /// The timeout starts now.
    pub fn send_ping(&mut self, message: &SupervisorMessage) -> bool {
        self.is_ping_pending = self.send_message(message, &[]);
        if self.is_ping_pending {
            self.heart.beats();
        }
        self.is_ping_pending
    }

    /// Sends the heartbeat memory to the process: the proxy writes it from now on, the address role
    /// reads it. A proxy without the memory counts as serving nothing; an address role without the
    /// memory knows of no proxy.
    pub fn share(&mut self, memory: Option<&SharedFd>) {
        // Ignores a failure: the end of the process is about to be noticed.
        let _ = self.send_message(
            &SupervisorMessage::Shared,
            memory.map_or(&[], std::slice::from_ref),
        );
    }

    /// Stops the process; by a signal if the channel is closed.
    pub fn stop(&mut self, manner: Manner, signal: Signal) {
        if !self.send_message(&SupervisorMessage::Stop(manner), &[]) {
            self.signal(signal);
        }
    }

    pub fn is_asked(&self) -> bool {
        self.is_ping_pending
    }

    /// Sends a signal to the process; no error if it has ended.
    pub fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.pidfd, signal);
    }

    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    pub fn kill_and_wait(&mut self) {
        self.wait_for_end(Instant::now());
    }

    /// Waits until the process has ended; kills it after `until`.
    pub fn wait_for_end(&mut self, until: Instant) {
        while self.process_exit().is_none() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.kill();
            }
            self.drop_messages();
            let wait = left.clamp(END_LOOK_MIN, END_LOOK_MAX);
            let wait = Timespec {
                tv_sec: 0,
                tv_nsec: wait.subsec_nanos().into(),
            };
            let mut watched: Vec<PollFd<'_>> = self.watched().collect();
            // Ignores the result: the loop polls the process again, also after an interruption.
            let _ = poll(&mut watched, Some(&wait));
        }
    }

    /// Reads and drops some messages, so that the process does not block on a full channel.
    fn drop_messages(&mut self) {
        for _ in 0..TAKEN_MAX {
            if self.is_channel_closed {
                return;
            }
            match self.channel.flush().and_then(|()| self.channel.receive()) {
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(_) => self.is_channel_closed = true,
            }
        }
    }
}

fn has_ended(pidfd: &OwnedFd) -> bool {
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut watched = [PollFd::new(pidfd, PollFlags::IN)];
    poll(&mut watched, Some(&at_once)).is_ok_and(|ready| ready > 0)
}

fn exit_status(status: &WaitIdStatus) -> ExitStatus {
    ExitStatus::from_raw(match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => (code & 0xff) << 8,
        (None, Some(signal)) => signal & 0x7f,
        (None, None) => 0,
    })
}

/// The reason why this process was not started by a supervisor.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// The command line does not have the form that a supervisor writes.
    #[error("only the supervisor runs `evenkeel internal`; start one with `evenkeel run -f FILE`")]
    ByHand,
    #[error("the channel to the supervisor: {0}")]
    Channel(io::Error),
}

pub struct Entered {
    /// Word of the process's task: [`LOADER`], [`CHECKS`], [`ROUTE`], or the word of a role.
    pub word: &'static str,
    pub channel: Channel,
}

/// Reads the words after [`INTERNAL`]: the role, the descriptor number of the channel, and the name
/// of the process.
///
/// # Errors
/// The words do not have the form that a supervisor writes, or there is no channel.
pub fn enter(words: &[std::ffi::OsString]) -> Result<Entered, EntryError> {
    let [word, number, name] = words else {
        return Err(EntryError::ByHand);
    };
    let roles = row::all().iter().map(|row| row.entry.argument);
    let word = roles
        .chain([LOADER, CHECKS, ROUTE])
        .find(|known| word == known)
        .ok_or(EntryError::ByHand)?;
    let number: i32 = number
        .to_str()
        .and_then(|text| text.parse().ok())
        .filter(|number| *number > 2)
        .ok_or(EntryError::ByHand)?;
    let (name, personality) = match name.to_str() {
        Some("haproxy") => (c"haproxy", Personality::Haproxy),
        Some("evenkeel") => (c"evenkeel", Personality::Own),
        Some("keepalived") => (c"keepalived", Personality::Keepalived),
        _ => return Err(EntryError::ByHand),
    };
    // SAFETY: the descriptor is only used to query the socket type; a number that is not open gives
    // EBADF.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    let kind = rustix::net::sockopt::socket_type(borrowed).map_err(|_| EntryError::ByHand)?;
    if kind != rustix::net::SocketType::SEQPACKET {
        return Err(EntryError::ByHand);
    }
    // Names the process, which was started through /proc/self/exe: the system would otherwise show
    // `exe`.
    let _ = rustix::thread::set_name(name);
    let (ring, levels) = trace::take_inherited(number);
    if word != LOADER {
        close_all_but(number);
    }
    trace::begin(
        traced_role(word),
        crate::voice::event_printer(personality),
        ring,
        levels,
    );
    // SAFETY: the supervisor opened the descriptor for this process, and no other code of the
    // process knows its number.
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    let channel = Channel::to_supervisor(socket).map_err(EntryError::Channel)?;
    Ok(Entered { word, channel })
}

/// Closes the inherited descriptors: an open directory among them would allow to leave a chroot. A
/// loader keeps them for addresses such as `fd@3`.
fn close_all_but(number: RawFd) {
    /// Highest descriptor that is closed one by one if the system cannot close a range (before
    /// Linux 5.9).
    const ONE_BY_ONE_MAX: RawFd = 65_536;
    for (first, last) in [(3, number - 1), (number + 1, RawFd::MAX)] {
        if first > last {
            continue;
        }
        // SAFETY: the process has just started and owns no descriptors other than the standard
        // streams and the channel.
        unsafe {
            if libc::syscall(libc::SYS_close_range, first, last, 0) != 0 {
                for other in first..=last.min(ONE_BY_ONE_MAX) {
                    libc::close(other);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn child_that_cannot_be_watched_is_killed_and_reaped() {
        for group in [false, true] {
            let mut command = Command::new("sleep");
            command.arg("600");
            if group {
                command.process_group(0);
            }
            let mut child = command.spawn().unwrap();
            let pid = Pid::from_child(&child);
            let error = watch_or_kill(&mut child, |_| Err(Errno::MFILE)).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
            assert_eq!(rustix::process::test_kill_process(pid), Err(Errno::SRCH));
        }
        let mut child = Command::new("true").spawn().unwrap();
        let ended = watch_child(&mut child).unwrap();
        poll(&mut [PollFd::new(&ended, PollFlags::IN)], None).unwrap();
        assert!(child.wait().unwrap().success());
    }

    #[test]
    fn a_command_line_that_no_supervisor_writes_is_refused() {
        for line in [
            "",
            "loader",
            "loader 1 evenkeel",
            "loader x evenkeel",
            "nobody 5 evenkeel",
            "loader 9999 evenkeel",
            "loader 5 sh",
        ] {
            let words: Vec<std::ffi::OsString> = line.split_whitespace().map(Into::into).collect();
            assert!(matches!(enter(&words), Err(EntryError::ByHand)), "{line}");
        }
    }
}
