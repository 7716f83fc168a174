//! Starts and observes the QEMU process of a guest. The process has a session of its own and
//! survives the guest role. The next role process finds it by its lock ([`super::home`]).

use super::command;
use super::filter;
use super::home::{GuestDirectory, LOCK, Lock};
use part::spawn::watch_child;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, WaitId, WaitIdOptions, pidfd_open,
    pidfd_send_signal, setrlimit, waitid,
};
use rustix::thread::{CapabilitySet, CapabilitySets};
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Creates a Landlock ruleset that lets QEMU access its directory, read these files, and use what
/// every process needs. None if the kernel has no Landlock.
pub type Confine = fn(home: &Path, files: &[&Path]) -> io::Result<Option<OwnedFd>>;

#[derive(Debug, Default)]
pub struct ProcessRights {
    /// Landlock ruleset; None: files are not restricted.
    pub files: Option<OwnedFd>,
    /// True if QEMU changes its user by itself, and keeps the capabilities for that until then.
    pub changes_user: bool,
    /// Maximum size of a file that QEMU may write, bytes; None: unlimited. QEMU's own output and
    /// the guest's serial output are in memory, and must not exhaust the machine's memory.
    pub file_bytes_max: Option<u64>,
    /// True if QEMU uses the network of this machine, because its disks are on network storage.
    /// Otherwise QEMU runs in an empty network namespace.
    pub has_network: bool,
    /// Open file of the control group that QEMU enters ([`super::group::GuestGroup::open`]); None:
    /// QEMU stays in the group of this process.
    pub group: Option<OwnedFd>,
}

const END_MAX: Duration = Duration::from_secs(2);
/// Highest number of a capability that any kernel may have.
const LAST_CAPABILITY: libc::c_ulong = 63;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QemuExit {
    Exit(i32),
    Signal(i32),
    /// QEMU was not a child of this process, so its exit status is unknown.
    Unknown,
}

impl fmt::Display for QemuExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QemuExit::Exit(code) => write!(f, "QEMU ended with exit code {code}"),
            QemuExit::Signal(signal) => write!(f, "QEMU was ended by signal {signal}"),
            QemuExit::Unknown => f.write_str("QEMU ended"),
        }
    }
}

/// QEMU process that runs or has ended.
#[derive(Debug)]
pub struct QemuProcess {
    pid: Pid,
    pidfd: OwnedFd,
    /// True if QEMU has accepted an order to quit and was not killed since.
    pub quits: bool,
    /// True if QEMU names its guest as the user when it opens volumes, unlike QEMU processes that
    /// earlier releases started.
    pub names_user: bool,
}

impl QemuProcess {
    /// Starts QEMU with these arguments in the directory of its guest. QEMU inherits the lock, the
    /// descriptors `kept` and no others.
    ///
    /// # Errors
    /// QEMU is not installed, memory is short, QEMU would share the network of the machine, or
    /// another system call fails.
    pub fn start(
        program: &Path,
        arguments: Vec<OsString>,
        home: &GuestDirectory,
        lock: &OwnedFd,
        kept: &[OwnedFd],
        rights: ProcessRights,
    ) -> io::Result<QemuProcess> {
        let words = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(home.words())?;
        words.set_len(0)?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(home.path())
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stdout(words.try_clone()?)
            .stderr(words);
        if !rights.has_network {
            check_network()?;
        }
        let filter = filter::no_vsock().map_err(io::Error::other)?;
        let lock = lock.as_raw_fd();
        let inherited: Vec<RawFd> = kept.iter().map(AsRawFd::as_raw_fd).collect();
        // SAFETY: between fork and exec only system calls are made, on values that were there
        // before; nothing is allocated and no lock of the process is taken.
        unsafe {
            command.pre_exec(move || {
                become_own(lock)?;
                inherited.iter().try_for_each(|fd| keep(*fd))?;
                drop_privileges(&rights)?;
                filter::apply(&filter)
            });
        }
        // Removes the stored process ID of a previous QEMU process, which must not be taken for the
        // new one.
        match fs::remove_file(home.process()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut child = command.spawn()?;
        let pid = Pid::from_child(&child);
        let pidfd = watch_child(&mut child)?;
        let process = QemuProcess {
            pid,
            pidfd,
            quits: false,
            names_user: true,
        };
        if let Some(born) = born(process.id()) {
            // Ignores an error: if the file cannot be written, a later role finds the process by
            // its arguments.
            let _ = fs::write(home.process(), format!("{} {born}", process.id()));
        }
        Ok(process)
    }

    /// Finds the QEMU process that a previous role process has started. None if there is none, or
    /// if it has not written its process ID yet.
    ///
    /// QEMU can write to its lock and to its own arguments. The process ID that the role stored
    /// therefore takes precedence: QEMU must not pass another process of this machine off as
    /// itself. The ID in the lock is needed if the role was killed before it could store one.
    ///
    /// # Errors
    /// A system call fails.
    pub fn find(home: &GuestDirectory) -> io::Result<Option<QemuProcess>> {
        let Lock::Held { pid: in_lock } = home.lock()? else {
            return Ok(None);
        };
        let written = fs::read_to_string(home.process()).unwrap_or_default();
        let written: Option<(i32, u64)> = written
            .split_once(' ')
            .and_then(|(number, since)| Some((number.parse().ok()?, since.parse().ok()?)));
        let is_its = |number: &i32| match written {
            Some((written, since)) if written == *number => born(*number) == Some(since),
            _ => is_marked(*number, &command::mark(home)),
        };
        let all = [written.map(|(number, _)| number), in_lock];
        let number = all.into_iter().flatten().find(is_its);
        // Searches all processes for the holder of the lock: the lock file and the file with the
        // stored process ID may both be empty, because the file system was full or because QEMU has
        // emptied its lock file.
        let number = match number {
            None => holder(home)?,
            number => number,
        };
        let Some((number, pid)) = number.and_then(|number| Some((number, Pid::from_raw(number)?)))
        else {
            return Ok(None);
        };
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(Errno::SRCH) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        // Checks the lock and the process again, which proves that the process ID was not reused
        // before the pidfd was opened.
        let again = matches!(home.lock()?, Lock::Held { .. }) && is_its(&number);
        Ok(again.then_some(QemuProcess {
            pid,
            pidfd,
            quits: false,
            names_user: home.user().exists(),
        }))
    }

    /// Finds a QEMU process of this guest whose lock file or directory was removed, so that its
    /// monitor is unreachable. Only the holder of the lock may call this.
    ///
    /// # Errors
    /// A system call fails.
    pub fn find_stray(home: &GuestDirectory) -> io::Result<Option<QemuProcess>> {
        let mark = command::mark(home);
        for number in marked(&mark)? {
            let Some(pid) = Pid::from_raw(number) else {
                continue;
            };
            match pidfd_open(pid, PidfdFlags::empty()) {
                // Checks the process again after the open, which proves that the process ID was not
                // reused.
                Ok(pidfd) if is_marked(number, &mark) => {
                    return Ok(Some(QemuProcess {
                        pid,
                        pidfd,
                        quits: false,
                        names_user: true,
                    }));
                }
                Ok(_) | Err(Errno::SRCH) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(None)
    }

    /// Kills the process and waits until it has ended.
    ///
    /// # Errors
    /// `TimedOut`: the process has not ended within [`END_MAX`]. Other errors: a system call fails.
    pub fn end(&self) -> io::Result<()> {
        self.kill();
        if self.ends_within(END_MAX)? {
            Ok(())
        } else {
            Err(io::ErrorKind::TimedOut.into())
        }
    }

    pub fn id(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    pub fn kill(&self) {
        // Ignores an error: a process that has ended already is no error.
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Stops all threads of the process (SIGSTOP), which it cannot refuse.
    pub fn halt(&self) {
        // Ignores an error: a process that has ended already is no error.
        let _ = pidfd_send_signal(&self.pidfd, Signal::STOP);
    }

    /// Continues the stopped process (SIGCONT).
    pub fn resume(&self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::CONT);
    }

    /// Returns whether the kernel shows each thread as stopped (proc(5), `/proc/pid/stat`). False
    /// for a process that has ended.
    pub fn is_halted(&self) -> bool {
        let is_halted = |thread: io::Result<fs::DirEntry>| -> Option<bool> {
            Some(stat(&thread.ok()?.path(), STATE)? == "T")
        };
        let Ok(threads) = fs::read_dir(format!("/proc/{}/task", self.id())) else {
            return false;
        };
        let mut threads = threads.map(is_halted).peekable();
        threads.peek().is_some() && threads.all(|is| is == Some(true))
    }

    /// Returns how the process has ended; None: it still runs. To be called when the descriptor is
    /// readable ([`AsFd`]).
    pub fn ended(&self) -> Option<QemuExit> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        match waitid(WaitId::PidFd(self.pidfd.as_fd()), options) {
            Ok(None) => None,
            Ok(Some(status)) => Some(match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => QemuExit::Exit(code),
                (None, Some(signal)) => QemuExit::Signal(signal),
                (None, None) => QemuExit::Unknown,
            }),
            // Reports no exit status, because the process is not a child of this role.
            Err(_) => Some(QemuExit::Unknown),
        }
    }

    /// Returns whether the process has ended, even if it is no child of this process.
    pub fn has_ended(&self) -> bool {
        self.ends_within(Duration::ZERO).unwrap_or(false)
    }

    /// Waits for the end of the process, at most for `limit`. Returns whether it has ended.
    fn ends_within(&self, limit: Duration) -> io::Result<bool> {
        let mut watched = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
        Ok(poll(&mut watched, Some(&limit))? > 0)
    }
}

impl AsFd for QemuProcess {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

fn holder(home: &GuestDirectory) -> io::Result<Option<i32>> {
    let lock = fs::metadata(home.path().join(LOCK))?;
    let is_lock = |entry: io::Result<fs::DirEntry>| {
        let open = entry.and_then(|entry| fs::metadata(entry.path()));
        open.is_ok_and(|open| (open.dev(), open.ino()) == (lock.dev(), lock.ino()))
    };
    // Skips processes that cannot be read, which may have ended.
    let has_it = |number: &i32| {
        fs::read_dir(format!("/proc/{number}/fd")).is_ok_and(|mut open| open.any(is_lock))
    };
    Ok(marked(&command::mark(home))?.into_iter().find(has_it))
}

fn marked(mark: &str) -> io::Result<Vec<i32>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let number = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        all.extend(number.filter(|number| is_marked(*number, mark)));
    }
    Ok(all)
}

fn is_marked(pid: i32, mark: &str) -> bool {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    words
        .split(|byte| *byte == 0)
        .any(|word| word == mark.as_bytes())
}

/// Returns the start time of a process in clock ticks since boot; None: no such process.
fn born(pid: i32) -> Option<u64> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    stat(&process, BEGAN)?.parse().ok()
}

/// Index of the process state in `/proc/pid/stat` (proc(5): field 3), counted from the field after
/// the program's name.
const STATE: usize = 0;
/// Index of the start time in `/proc/pid/stat` (proc(5): field 22), counted from the field after
/// the program's name.
const BEGAN: usize = 19;

fn stat(directory: &Path, field: usize) -> Option<String> {
    let stat = fs::read(directory.join("stat")).ok()?;
    let text = String::from_utf8_lossy(&stat);
    // Splits after the name of the program, which may contain spaces and parentheses.
    let (_, fields) = text.rsplit_once(") ")?;
    fields.split(' ').nth(field).map(str::to_owned)
}

/// Starts a session and writes the process ID into the lock file, in the child process.
fn become_own(lock: RawFd) -> io::Result<()> {
    rustix::process::setsid()?;
    // Unblocks all signals, because a role ignores and blocks some that QEMU must receive.
    // SAFETY: an empty set is valid, and the child has one thread.
    unsafe {
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        if libc::pthread_sigmask(libc::SIG_SETMASK, &none, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    keep(lock)?;
    let mut text = [b' '; 12];
    let mut left = rustix::process::getpid()
        .as_raw_nonzero()
        .get()
        .unsigned_abs();
    text[11] = b'\n';
    for digit in text[..11].iter_mut().rev() {
        *digit = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    // SAFETY: the descriptor is open as long as the child has it.
    let lock = unsafe { BorrowedFd::borrow_raw(lock) };
    match rustix::io::pwrite(lock, &text, 0) {
        Ok(12) => Ok(()),
        Ok(_) => Err(io::ErrorKind::WriteZero.into()),
        Err(errno) => Err(errno.into()),
    }
}

/// Moves this thread into an empty network namespace. A process that is not root may not do that,
/// so QEMU then keeps the network of its user.
fn leave_network() -> io::Result<()> {
    // SAFETY: it takes flags only.
    match unsafe { libc::unshare(libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ if !rustix::process::geteuid().is_root() => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Checks that QEMU can be started in an empty network namespace, on a thread that ends at once.
/// The child process itself could report only the number of an error.
fn check_network() -> io::Result<()> {
    let refused = |error: &dyn fmt::Display| {
        io::Error::other(format!(
            "no separate network namespace for QEMU ({error}), and guests do not start in the network of \
             the machine: the service needs the capability SYS_ADMIN and network namespaces \
             (CapabilityBoundingSet, RestrictNamespaces)"
        ))
    };
    let thread = std::thread::Builder::new().spawn(leave_network)?;
    match thread.join() {
        Ok(left) => left.map_err(|error| refused(&error)),
        Err(_) => Err(refused(&"unknown")),
    }
}

/// Enters the control group of QEMU, gives up the network, the access to files and the capabilities
/// that QEMU does not need, and limits the size of files, in the child process.
fn drop_privileges(rights: &ProcessRights) -> io::Result<()> {
    if let Some(group) = &rights.group {
        // The process itself (cgroups(7), "cgroup.procs").
        rustix::io::write(group, b"0")?;
    }
    if !rights.has_network {
        leave_network()?;
    }
    if let Some(bytes) = rights.file_bytes_max {
        let limit = Rlimit {
            current: Some(bytes),
            maximum: Some(bytes),
        };
        setrlimit(Resource::Fsize, limit)?;
        // Ignores the signal of the limit, so that a write beyond it fails instead of killing the
        // process (setrlimit(2)).
        // SAFETY: SIG_IGN is no handler.
        unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    }
    rustix::thread::set_no_new_privs(true)?;
    if let Some(ruleset) = &rights.files {
        // SAFETY: it takes a descriptor and flags, and touches no memory.
        let done =
            unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    // Keeps the two capabilities that a change of the user needs. The change itself clears them
    // (capabilities(7), "Effect of user ID changes").
    let left = if rights.changes_user {
        CapabilitySet::SETUID | CapabilitySet::SETGID
    } else {
        CapabilitySet::empty()
    };
    // Drops the other capabilities from the bounding set, which limits what root would get at exec.
    // Errors are ignored: without the right to drop capabilities, there are none to drop.
    for number in (0..=LAST_CAPABILITY).filter(|number| left.bits() >> number & 1 == 0) {
        // SAFETY: it takes numbers only.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) };
    }
    let left = CapabilitySets {
        effective: left,
        permitted: left,
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, left)?;
    Ok(())
}

/// Keeps a descriptor open across exec, in the child process.
fn keep(fd: RawFd) -> io::Result<()> {
    // SAFETY: the descriptor is open as long as the child has it.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::{ScratchDirectory, eventually};
    use std::time::Duration;

    fn lock_of(home: &GuestDirectory) -> OwnedFd {
        home.make().unwrap();
        let Ok(Lock::Free(lock)) = home.lock() else {
            panic!("nobody has it");
        };
        lock
    }

    fn start(home: &GuestDirectory, seconds: &str) -> QemuProcess {
        let lock = lock_of(home);
        let arguments = vec![seconds.into()];
        let rights = ProcessRights {
            file_bytes_max: Some(1 << 20),
            ..ProcessRights::default()
        };
        QemuProcess::start(Path::new("/bin/sleep"), arguments, home, &lock, &[], rights).unwrap()
    }

    #[test]
    fn guest_is_refused_without_a_network_of_its_own() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let scratch = ScratchDirectory::new().unwrap();
        let home = GuestDirectory::new(scratch.path(), "mail");
        let start_with = |has_network| {
            let lock = lock_of(&home);
            let rights = ProcessRights {
                has_network,
                ..ProcessRights::default()
            };
            let arguments = vec!["60".into()];
            QemuProcess::start(
                Path::new("/bin/sleep"),
                arguments,
                &home,
                &lock,
                &[],
                rights,
            )
        };
        let network = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).unwrap();
        let own = start_with(false).unwrap();
        assert_ne!(network(&own.id().to_string()), network("self"));
        own.end().unwrap();
        // Runs without the capability, as under a systemd unit that removes it.
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let had = rustix::thread::capabilities(None).unwrap();
                let less = CapabilitySets {
                    effective: had.effective - CapabilitySet::SYS_ADMIN,
                    permitted: had.permitted - CapabilitySet::SYS_ADMIN,
                    inheritable: had.inheritable,
                };
                rustix::thread::set_capabilities(None, less).unwrap();
                let refused = start_with(false).unwrap_err().to_string();
                assert!(refused.contains("RestrictNamespaces"), "{refused}");
                // A disk on network storage needs the network of the machine.
                start_with(true).unwrap().end().unwrap();
            });
            thread.join().unwrap();
        });
    }

    #[test]
    fn the_content_of_a_lock_claims_no_other_process() {
        let scratch = ScratchDirectory::new().unwrap();
        let home = GuestDirectory::new(scratch.path(), "mail");
        let started = start(&home, "1000");
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", started.id())).unwrap();
        let line = limits
            .lines()
            .find(|line| line.starts_with("Max file size"));
        assert!(line.is_some_and(|line| line.matches("1048576").count() == 2));
        let lies = std::process::id().to_string();
        std::fs::write(home.path().join("lock"), &lies).unwrap();
        let found = QemuProcess::find(&home).unwrap().unwrap();
        assert_eq!(found.id(), started.id());
        // The role was killed before it stored the process ID. This process is not a QEMU that it
        // started.
        std::fs::remove_file(home.process()).unwrap();
        assert!(QemuProcess::find(&home).unwrap().is_none());
        // A process that now has the ID of a previous QEMU process is no QEMU, either.
        std::fs::write(home.process(), format!("{lies} 1")).unwrap();
        assert!(QemuProcess::find(&home).unwrap().is_none());
        started.kill();
    }

    #[test]
    fn a_process_whose_files_are_empty_is_found_by_the_lock_that_it_has_open() {
        let scratch = ScratchDirectory::new().unwrap();
        let home = GuestDirectory::new(scratch.path(), "mail");
        let lock = lock_of(&home);
        let sleep = || {
            vec![
                "-e".into(),
                "sleep 1000".into(),
                command::mark(&home).into(),
            ]
        };
        let perl = Path::new("/usr/bin/perl");
        let started =
            QemuProcess::start(perl, sleep(), &home, &lock, &[], ProcessRights::default()).unwrap();
        drop(lock);
        // Another process has the same argument, but another lock.
        let other = GuestDirectory::new(scratch.path(), "other");
        let lock = lock_of(&other);
        let liar = QemuProcess::start(perl, sleep(), &other, &lock, &[], ProcessRights::default())
            .unwrap();
        for file in [home.path().join(LOCK), home.process()] {
            std::fs::write(file, "").unwrap();
        }
        let found = QemuProcess::find(&home).unwrap().unwrap();
        assert_eq!(found.id(), started.id());
        started.kill();
        assert!(eventually(Duration::from_secs(60), || started.has_ended()));
        assert!(QemuProcess::find(&home).unwrap().is_none());
        liar.kill();
    }

    #[test]
    fn sockets_of_the_machine_are_refused_and_others_are_not() {
        let scratch = ScratchDirectory::new().unwrap();
        let home = GuestDirectory::new(scratch.path(), "mail");
        let lock = lock_of(&home);
        let vsock = "exit(!socket(my $s, 40, 1, 0) && $! == 1 && socket(my $u, 1, 1, 0) ? 0 : 7)";
        let started = QemuProcess::start(
            Path::new("/usr/bin/perl"),
            vec!["-e".into(), vsock.into()],
            &home,
            &lock,
            &[],
            ProcessRights::default(),
        )
        .unwrap();
        assert!(eventually(Duration::from_secs(60), || started.has_ended()));
        assert_eq!(started.ended(), Some(QemuExit::Exit(0)));
    }

    #[test]
    fn a_process_is_found_again_by_its_lock_and_only_while_it_lives() {
        let scratch = ScratchDirectory::new().unwrap();
        let home = GuestDirectory::new(scratch.path(), "mail");
        let started = start(&home, "1000");
        let found = QemuProcess::find(&home).unwrap().unwrap();
        assert_eq!(found.id(), started.id());
        assert!(!found.has_ended());
        found.kill();
        let ended = || found.has_ended();
        assert!(eventually(Duration::from_secs(60), ended));
        let words = started.ended().unwrap().to_string();
        assert_eq!(words, "QEMU was ended by signal 9");
        assert!(QemuProcess::find(&home).unwrap().is_none());
        assert!(matches!(home.lock(), Ok(Lock::Free(_))));
    }

    #[test]
    fn a_process_is_stopped_goes_on_and_can_be_killed_while_it_is_stopped() {
        let scratch = ScratchDirectory::new().unwrap();
        let home = GuestDirectory::new(scratch.path(), "mail");
        let started = start(&home, "1000");
        let soon = Duration::from_secs(60);
        assert!(!started.is_halted());
        started.halt();
        assert!(eventually(soon, || started.is_halted()));
        // A role that has adopted the process can do the same.
        let found = QemuProcess::find(&home).unwrap().unwrap();
        assert!(found.is_halted() && !found.has_ended());
        found.resume();
        assert!(eventually(soon, || !started.is_halted()));
        found.halt();
        assert!(eventually(soon, || started.is_halted()));
        found.kill();
        assert!(eventually(soon, || started.ended().is_some()));
        assert!(!found.is_halted());
    }

    #[test]
    fn a_stale_process_id_is_nobody() {
        let scratch = ScratchDirectory::new().unwrap();
        let home = GuestDirectory::new(scratch.path(), "mail");
        home.make().unwrap();
        // The test process runs, but does not hold the lock.
        std::fs::write(home.path().join("lock"), std::process::id().to_string()).unwrap();
        assert!(QemuProcess::find(&home).unwrap().is_none());
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error_and_leaves_no_lock() {
        let scratch = ScratchDirectory::new().unwrap();
        let home = GuestDirectory::new(scratch.path(), "mail");
        let lock = lock_of(&home);
        let program = Path::new("/nowhere/qemu");
        let error = QemuProcess::start(
            program,
            Vec::new(),
            &home,
            &lock,
            &[],
            ProcessRights::default(),
        )
        .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        drop(lock);
        assert!(matches!(home.lock(), Ok(Lock::Free(_))));
    }
}
