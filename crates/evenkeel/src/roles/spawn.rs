//! Starting another process of the same binary, with a channel to it. It is
//! the binary that runs, also when the file was replaced meanwhile.

use super::channel::Channel;
use nix::libc;
use protocol::role::Personality;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};

/// The first word of the command line of a process that another one starts.
pub const INTERNAL: &str = "internal";
/// The loader's second word.
pub const LOADER: &str = "loader";
/// The proxy role's second word.
pub const PROXY_ROLE: &str = "proxy-role";

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

/// What to start.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The second word of its command line.
    pub word: &'static str,
    /// What `ps` shows.
    pub shown: &'static str,
}

/// The loader.
pub const LOADER_ENTRY: Entry = Entry {
    word: LOADER,
    shown: "evenkeel: loader",
};

/// The proxy role.
pub const PROXY_ENTRY: Entry = Entry {
    word: PROXY_ROLE,
    shown: "evenkeel: proxy",
};

/// A process that this one started.
pub struct Started {
    child: Child,
    pidfd: OwnedFd,
    /// The channel to it.
    pub channel: Channel,
    /// It has left the channel.
    pub silent: bool,
}

/// Starts a process.
pub fn start(
    entry: Entry,
    personality: Personality,
    variables: &[(&str, &OsStr)],
) -> io::Result<Started> {
    let (channel, theirs) = Channel::pair()?;
    let number = theirs.as_raw_fd();
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0(entry.shown)
        .args([INTERNAL, entry.word, &number.to_string(), name(personality)])
        .envs(variables.iter().copied());
    if entry.word == PROXY_ROLE {
        // The loader may be asked to read a file from there.
        command.stdin(Stdio::null());
        // Whom they name is spoken to by the supervisor.
        for name in FOR_THE_SUPERVISOR {
            command.env_remove(name);
        }
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
    let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
    Ok(Started {
        child,
        pidfd,
        channel,
        silent: false,
    })
}

fn name(personality: Personality) -> &'static str {
    match personality {
        Personality::Own => "evenkeel",
        Personality::Haproxy => "haproxy",
    }
}

impl Started {
    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Readable once it has ended.
    pub fn end(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Its status, once it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends it a signal; one that has ended is no error.
    pub fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.pidfd, signal);
    }
}

/// Why a process that was started as one of ours is none.
#[derive(Debug)]
pub enum EntryError {
    /// The command line is not one that a supervisor writes.
    ByHand,
    /// There is no channel.
    Channel(io::Error),
}

impl std::fmt::Display for EntryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            EntryError::ByHand => f.write_str(
                "`evenkeel internal` is started by the supervisor only; `evenkeel run -f FILE` starts one",
            ),
            EntryError::Channel(error) => write!(f, "the channel to the supervisor: {error}"),
        }
    }
}

impl std::error::Error for EntryError {}

/// How a process of ours was started.
pub struct Entered {
    /// As what, one of the words above.
    pub word: &'static str,
    /// The channel to the supervisor.
    pub channel: Channel,
}

/// Reads the words behind [`INTERNAL`]: what it is, the channel's descriptor,
/// the name of the process.
pub fn enter(words: &[std::ffi::OsString]) -> Result<Entered, EntryError> {
    let [word, number, name] = words else {
        return Err(EntryError::ByHand);
    };
    let word = [LOADER, PROXY_ROLE]
        .into_iter()
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
    if word == PROXY_ROLE {
        close_all_but(number);
    }
    // SAFETY: the supervisor opened it for this process, and nothing else of
    // this process knows the number.
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    let channel = Channel::new(socket).map_err(EntryError::Channel)?;
    Ok(Entered { word, channel })
}

/// Closes what whoever started the supervisor left open for it: a directory
/// among that would lead out of every other root. A loader may need it (`fd@3`).
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
