//! Starting another process of ours, with a channel to it: of the binary that
//! runs, also when the file was replaced meanwhile, or of the one that replaced
//! it. Processes that another supervisor started are taken over here, too.

use crate::Shared;
use crate::channel::{Channel, ChannelError, Received};
use crate::heart::Heart;
use crate::role::{Manner, Message, Personality};
use crate::row::{self, Entry, Environment};
use crate::voice::Voice;
use nix::libc;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_open, pidfd_send_signal,
    waitid,
};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The binary that runs.
pub const OWN_PROGRAM: &str = "/proc/self/exe";
/// The first word of the command line of a process that another one starts.
pub const INTERNAL: &str = "internal";
/// The loader's second word.
pub const LOADER: &str = "loader";
/// The second word of the process that runs the programs of external checks.
pub const CHECKS: &str = "checks";
/// The second word of a process that shows where a request would go.
pub const ROUTE: &str = "route";
/// The second word of a process that only says which messages it speaks.
pub const SELF_TEST: &str = "self-test";

/// Variables that every role gets: what the C library and our own code read. Whatever
/// else the supervisor was started with (keys of other services, say) is none of a
/// role's business; what the files name of it travels with the version.
const FOR_ROLES: [&str; 11] = [
    "GLIBC_TUNABLES",
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
/// Variables besides these for the role that starts the scripts of a file.
const FOR_SCRIPTS: [&str; 4] = ["HOME", "LOGNAME", "SHELL", "USER"];
/// Prefixes of names: the categories of a locale, and Evenkeel's own variables.
const PREFIXES: [&str; 2] = ["LC_", "EVENKEEL_"];

/// Variables by which a service manager says something to the process that it
/// started.
const FOR_THE_SUPERVISOR: [&str; 6] = [
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// The loader.
pub const LOADER_ENTRY: Entry = Entry {
    word: LOADER,
    shown: "evenkeel: loader",
    what: "loader",
    environment: Environment::All,
};

/// The process that runs the programs of external checks.
pub const CHECKS_ENTRY: Entry = Entry {
    word: CHECKS,
    shown: "evenkeel: checks",
    what: "process of external checks",
    environment: Environment::Few,
};

/// A process that shows where a request would go.
pub const ROUTE_ENTRY: Entry = Entry {
    word: ROUTE,
    shown: "evenkeel: route",
    what: "process of a route",
    environment: Environment::Few,
};

/// An error about such a process.
pub fn failure(entry: Entry, why: Why) -> StartFailure {
    StartFailure {
        what: entry.what,
        why,
    }
}

/// Why a process of ours could not be started, or not be sent what it is to do.
#[derive(Debug)]
pub struct StartFailure {
    what: &'static str,
    why: Why,
}

/// The step that failed.
#[derive(Debug)]
pub enum Why {
    /// Starting the process.
    Start(io::Error),
    /// Setting its limits.
    Limits(rustix::io::Errno),
    /// The channel to it.
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

/// A process of ours: a child, or one that another supervisor started.
pub struct Started {
    entry: Entry,
    pid: Pid,
    pidfd: OwnedFd,
    /// The channel to it.
    pub channel: Channel,
    /// The channel was closed.
    pub silent: bool,
    /// Whether its main loop shows life.
    pub heart: Heart,
    /// It was asked for a sign of life, and has said nothing since.
    asked: bool,
}

/// How soon and how late it is looked again whether a process has ended, should nobody tell.
const END_LOOK_MIN: Duration = Duration::from_millis(1);
const END_LOOK_MAX: Duration = Duration::from_millis(100);
/// Messages that are taken from one that is to end before that is looked at again.
const TAKEN_MAX: usize = 64;

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// As a parent is told.
    Status(ExitStatus),
    /// It was not a child, and nobody tells.
    Unknown,
}

/// Starts a process of a program and sends it its first messages. Where these fail the
/// process is ended.
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
            process.end_now();
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
    command.arg0(entry.shown).args([
        INTERNAL,
        entry.word,
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
    if entry.word != LOADER {
        // The loader may be asked to read a file from there.
        command.stdin(Stdio::null());
    }
    // SAFETY: the child calls fcntl(2) only, which may be called between fork
    // and exec; the descriptor is open until the child exists.
    unsafe {
        command.pre_exec(move || {
            let theirs = BorrowedFd::borrow_raw(number);
            rustix::io::fcntl_setfd(theirs, rustix::io::FdFlags::empty())?;
            Ok(())
        });
    }
    let child = command.spawn()?;
    drop(theirs);
    let pid = Pid::from_child(&child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    Ok(Started::running(entry, pid, pidfd, channel))
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
    /// Creates it for a process that runs already.
    pub fn running(entry: Entry, pid: Pid, pidfd: OwnedFd, channel: Channel) -> Started {
        Started {
            entry,
            pid,
            pidfd,
            channel,
            silent: false,
            heart: Heart::default(),
            asked: false,
        }
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Returns the process id, for messages.
    pub fn number(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Readable once it has ended.
    pub fn end(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Returns the descriptors to poll: the channel and the end of the process.
    pub fn watched(&self) -> impl Iterator<Item = PollFd<'_>> {
        // A channel that the other end has left is always ready: then only the
        // end of the process is waited for.
        let channel = (!self.silent).then(|| PollFd::new(&self.channel, self.channel.interest()));
        let end = PollFd::from_borrowed_fd(self.end(), PollFlags::IN);
        channel.into_iter().chain(std::iter::once(end))
    }

    /// The next message. A process whose words cannot be understood is ended.
    pub fn hear(&mut self, voice: &mut Voice) -> Option<Received> {
        if self.silent {
            return None;
        }
        match self.channel.flush().and_then(|()| self.channel.receive()) {
            Ok(received) => {
                if received.is_some() {
                    self.asked = false;
                    self.heart.beats();
                }
                received
            }
            Err(error) => {
                self.silent = true;
                if !matches!(error, ChannelError::Closed) {
                    self.kill();
                    voice.alert(self.failure(Why::Channel(error)));
                }
                None
            }
        }
    }

    /// Returns how it ended, if it has.
    pub fn ended(&mut self) -> Option<Ending> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        match waitid(WaitId::PidFd(self.pidfd.as_fd()), options) {
            Ok(status) => status.map(|status| Ending::Status(exit_status(&status))),
            // Somebody else's child: only that it ended can be seen.
            Err(_) => has_ended(&self.pidfd).then_some(Ending::Unknown),
        }
    }

    /// An error about this process.
    pub fn failure(&self, why: Why) -> StartFailure {
        failure(self.entry, why)
    }

    /// Sends what the process must have. That it left the channel is no error: the
    /// supervisor sees its end like any other.
    ///
    /// # Errors
    /// The channel fails otherwise.
    pub fn send(&mut self, message: &Message, descriptors: &[Shared]) -> Result<(), StartFailure> {
        match self.channel.send(message, descriptors) {
            Ok(()) | Err(ChannelError::Closed) => Ok(()),
            Err(error) => Err(self.failure(Why::Channel(error))),
        }
    }

    /// Makes it serve on when its supervisor goes, and says where the next one would come.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn guard(&mut self, listener: Option<&Shared>) -> Result<(), StartFailure> {
        let uid = rustix::process::geteuid().as_raw();
        let listener: Vec<Shared> = listener.into_iter().cloned().collect();
        self.send(&Message::Guard { uid }, &listener)
    }

    /// Sends a message. Returns whether it can arrive; if not, the process has usually
    /// ended.
    pub fn say(&mut self, message: &Message, descriptors: &[Shared]) -> bool {
        self.say_numbered(0, message, descriptors)
    }

    /// As [`Self::say`], for a numbered request or response.
    pub fn say_numbered(&mut self, ask: u64, message: &Message, descriptors: &[Shared]) -> bool {
        !self.silent && (self.channel.send_numbered(ask, message, descriptors)).is_ok()
    }

    /// Asks for a sign of life: whatever it says next is one. Returns whether that can
    /// arrive; from then on it has time.
    pub fn ask(&mut self, message: &Message) -> bool {
        self.asked = self.say(message, &[]);
        if self.asked {
            self.heart.beats();
        }
        self.asked
    }

    /// Gives it the heartbeat memory: the proxy writes it from now on, the address role
    /// reads it. A proxy without one counts as serving nothing; an address role without one
    /// knows of no proxy.
    pub fn share(&mut self, memory: Option<&Shared>) {
        // One that cannot be told is about to be seen as ended.
        let _ = self.say(&Message::Shared, memory.map_or(&[], std::slice::from_ref));
    }

    /// Stops it. If the channel is closed, by a signal.
    pub fn stop(&mut self, manner: Manner, signal: Signal) {
        if !self.say(&Message::Stop(manner), &[]) {
            self.signal(signal);
        }
    }

    /// Returns whether a ping has no response yet.
    pub fn is_asked(&self) -> bool {
        self.asked
    }

    /// Sends it a signal; one that has ended is no error.
    pub fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.pidfd, signal);
    }

    /// Ends it by force, some time soon.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Ends it by force and waits for that.
    pub fn end_now(&mut self) {
        self.wait_for_end(Instant::now());
    }

    /// Waits until it has ended; from this moment on by force.
    pub fn wait_for_end(&mut self, until: Instant) {
        while self.ended().is_none() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.kill();
            }
            self.take_some();
            let wait = left.clamp(END_LOOK_MIN, END_LOOK_MAX);
            let wait = Timespec {
                tv_sec: 0,
                tv_nsec: wait.subsec_nanos().into(),
            };
            let mut watched: Vec<PollFd<'_>> = self.watched().collect();
            // Interrupted or not: it is looked again.
            let _ = poll(&mut watched, Some(&wait));
        }
    }

    /// Takes what it says, so that it waits for nobody.
    fn take_some(&mut self) {
        for _ in 0..TAKEN_MAX {
            if self.silent {
                return;
            }
            match self.channel.flush().and_then(|()| self.channel.receive()) {
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(_) => self.silent = true,
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

/// As wait(2) has it, from waitid(2).
fn exit_status(status: &WaitIdStatus) -> ExitStatus {
    ExitStatus::from_raw(match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => (code & 0xff) << 8,
        (None, Some(signal)) => signal & 0x7f,
        (None, None) => 0,
    })
}

/// Why a process that was started as one of ours is none.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// The command line is not one that a supervisor writes.
    #[error("only the supervisor runs `evenkeel internal`; start one with `evenkeel run -f FILE`")]
    ByHand,
    /// There is no channel.
    #[error("the channel to the supervisor: {0}")]
    Channel(io::Error),
}

/// How a process of ours was started.
pub struct Entered {
    /// As what, one of the words above.
    pub word: &'static str,
    /// The channel to the supervisor.
    pub channel: Channel,
}

/// Reads the words behind [`INTERNAL`]: what it is, the channel's descriptor,
/// the name of the process.
///
/// # Errors
/// These are not the words that a supervisor writes, or there is no channel.
pub fn enter(words: &[std::ffi::OsString]) -> Result<Entered, EntryError> {
    let [word, number, name] = words else {
        return Err(EntryError::ByHand);
    };
    let roles = row::all().iter().map(|row| row.entry.word);
    let word = { roles.chain([LOADER, CHECKS, ROUTE]) }
        .find(|known| word == known)
        .ok_or(EntryError::ByHand)?;
    let number: i32 = number
        .to_str()
        .and_then(|text| text.parse().ok())
        .filter(|number| *number > 2)
        .ok_or(EntryError::ByHand)?;
    let name = match name.to_str() {
        Some("haproxy") => c"haproxy",
        Some("evenkeel") => c"evenkeel",
        Some("keepalived") => c"keepalived",
        _ => return Err(EntryError::ByHand),
    };
    // SAFETY: only asked for its type; a number that is not open gives EBADF.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    let kind = rustix::net::sockopt::socket_type(borrowed).map_err(|_| EntryError::ByHand)?;
    if kind != rustix::net::SocketType::SEQPACKET {
        return Err(EntryError::ByHand);
    }
    // The process was started by the path of this binary under /proc, of which
    // the system would show the last part.
    let _ = rustix::thread::set_name(name);
    if word != LOADER {
        close_all_but(number);
    }
    // SAFETY: the supervisor opened it for this process, and nothing else of
    // this process knows the number.
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    let channel = Channel::new(socket).map_err(EntryError::Channel)?;
    Ok(Entered { word, channel })
}

/// Closes the descriptors that the supervisor inherited: an open directory among them would
/// be a way out of a chroot. A loader keeps them, for addresses such as `fd@3`.
fn close_all_but(number: RawFd) {
    /// Where the system cannot close a range, as before Linux 5.9.
    const ONE_BY_ONE_MAX: RawFd = 65_536;
    for (first, last) in [(3, number - 1), (number + 1, RawFd::MAX)] {
        if first > last {
            continue;
        }
        // SAFETY: the process has just begun and owns no descriptor but the
        // streams and the one of the number.
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
