//! Runs child processes that end with their value, even if the test is killed; signals, suspends
//! and kills them with all their descendants.
//!
//! Each process is the leader of its own process group, so that workers that it forked end with it.
//! The process is not reaped before the end, so that its ID and that of its group cannot be reused
//! before it is signalled.

use crate::error::LabError;
use crate::exit::Exit;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, WaitId, WaitIdOptions, kill_process, kill_process_group, pidfd_open,
    pidfd_send_signal, set_parent_process_death_signal, test_kill_process_group, waitid,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

pub use rustix::process::Signal;

const COMMAND_TIMEOUT: Duration = Duration::from_secs(120);

const GROUP_TIMEOUT: Duration = Duration::from_secs(2);
const TREE_ROUNDS_MAX: usize = 20;
const GROUP_POLL: Duration = Duration::from_millis(1);

/// Maximum number of bytes of a program's output that are kept.
pub const MAX_SAID_BYTES: u64 = 64 * 1024;

/// A running program. When it is dropped, its whole process group is killed.
#[derive(Debug)]
pub struct LabProcess {
    child: Child,
    pid: Pid,
    pidfd: OwnedFd,
    command: String,
    /// Leaves the process group alone: see [`run`].
    leaves_group: bool,
}

/// Makes the command start with default handlers of INT, QUIT and HUP, and with no signal blocked.
/// A shell in the background ignores some of them, and ignored or blocked signals stay so over an
/// exec.
pub fn with_default_signals(command: &mut Command) -> &mut Command {
    let defaults = || {
        for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP] {
            // SAFETY: no handler of this process is replaced: the child has its own.
            if unsafe { libc::signal(signal, libc::SIG_DFL) } == libc::SIG_ERR {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(nix::sys::signal::SigSet::empty().thread_set_mask()?)
    };
    // SAFETY: between fork and exec only system calls are made.
    unsafe { command.pre_exec(defaults) }
}

impl LabProcess {
    pub(crate) fn start(
        mut command: Command,
        network: Option<Arc<OwnedFd>>,
    ) -> Result<Self, LabError> {
        let line = command_line(&command);
        // Uses the network of the calling thread, because the spawning thread is in that of the
        // machine.
        let network = network.or_else(|| OWN_NETWORK.with_borrow(Clone::clone));
        with_default_signals(&mut command).process_group(0);
        // SAFETY: between fork and exec only system calls are made, on values that were there
        // before; nothing is allocated and no lock is taken.
        unsafe {
            command.pre_exec(move || {
                // Requests a signal that is sent when the spawning thread ends: see `spawn`.
                set_parent_process_death_signal(Some(Signal::KILL))?;
                match &network {
                    Some(network) => move_in(network),
                    None => Ok(()),
                }
            });
        }
        let failed = || LabError::io("start", &line);
        let mut child = spawn(command).map_err(failed())?;
        let opened = Pid::from_raw(child.id() as i32)
            .ok_or(Errno::SRCH)
            .and_then(|pid| Ok((pid, pidfd_open(pid, PidfdFlags::empty())?)));
        match opened {
            Ok((pid, pidfd)) => Ok(LabProcess {
                child,
                pid,
                pidfd,
                command: line,
                leaves_group: false,
            }),
            Err(errno) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(failed()(errno.into()))
            }
        }
    }

    /// Returns the process ID, which is not reused while this value lives.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    pub fn command(&self) -> &str {
        &self.command
    }

    /// Sends a signal to the process (not to its children).
    pub fn signal(&self, signal: Signal) -> Result<(), LabError> {
        pidfd_send_signal(&self.pidfd, signal)
            .map_err(|errno| LabError::io("signal", &self.command)(errno.into()))
    }

    /// Returns the process and all of its current descendants, even those that left its process
    /// group; the process itself is first.
    pub fn tree(&self) -> Vec<Pid> {
        tree(self.pid)
    }

    /// Suspends the process and all of its descendants, like a machine that is suspended or
    /// swapping, until the guard is dropped.
    pub fn freeze(&self) -> Result<Frozen<'_>, LabError> {
        let mut frozen = Frozen {
            process: self,
            pids: Vec::new(),
        };
        // Repeats the search, because processes may start others until each of them is stopped.
        for _ in 0..TREE_ROUNDS_MAX {
            let mut new = self.tree();
            new.retain(|pid| !frozen.pids.contains(pid));
            if new.is_empty() {
                break;
            }
            for pid in new {
                match kill_process(pid, Signal::STOP) {
                    Ok(()) | Err(Errno::SRCH) => frozen.pids.push(pid),
                    Err(errno) => {
                        return Err(LabError::io("freeze", &self.command)(errno.into()));
                    }
                }
            }
        }
        Ok(frozen)
    }

    /// Kills the process and all of its descendants, even those that left its process group, with
    /// SIGKILL, so that none can clean up.
    pub fn kill_tree(&self) {
        for _ in 0..TREE_ROUNDS_MAX {
            let tree = self.tree();
            let alone = tree.len() == 1;
            kill_at_once(&tree);
            if alone {
                return;
            }
        }
    }

    /// Returns how the process ended; None while it runs.
    pub fn exit(&self) -> Option<Exit> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        let status = waitid(WaitId::Pid(self.pid), options).ok()??;
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Some(Exit::Code(code)),
            (None, Some(signal)) => Some(Exit::Signal(signal)),
            (None, None) => None,
        }
    }

    pub fn wait(&self, timeout: Duration) -> Option<Exit> {
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let timeout = Timespec::try_from(timeout).ok();
        // Ignores an interruption, which only shortens the wait: the caller sees that there is no
        // exit yet. Nothing in a test installs such handlers.
        let _ = poll(&mut fds, timeout.as_ref());
        self.exit()
    }
}

/// Kills processes as if simultaneously: suspends all of them first, because a process that sees
/// another one die might clean up or restart it.
pub(crate) fn kill_at_once(pids: &[Pid]) {
    for signal in [Signal::STOP, Signal::KILL] {
        for pid in pids {
            // Ignores an error: the process may have ended by itself.
            let _ = kill_process(*pid, signal);
        }
    }
}

/// Suspended processes, which continue when this is dropped.
#[derive(Debug)]
#[must_use = "a frozen process continues when this is dropped"]
pub struct Frozen<'a> {
    process: &'a LabProcess,
    pids: Vec<Pid>,
}

impl Frozen<'_> {
    pub fn thaw(self) {}
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        // Continues only descendants, because another ID could have been reused.
        let tree = self.process.tree();
        for pid in self.pids.drain(..).filter(|pid| tree.contains(pid)) {
            let _ = kill_process(pid, Signal::CONT);
        }
    }
}

fn relations(stat: &str) -> Option<(i32, i32)> {
    // Skips the name, which may contain anything. The format is: pid (name) state parent group.
    let mut words = stat.rsplit_once(") ")?.1.split(' ').skip(1);
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

fn tree(root: Pid) -> Vec<Pid> {
    let root = root.as_raw_nonzero().get();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut others = Vec::new();
    for entry in entries {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if let (Some(pid), Some((parent, group))) = (pid, relations(&stat)) {
            others.push((pid, parent, group));
        }
    }
    let mut found: Vec<i32> = vec![root];
    loop {
        let new = |&&(pid, parent, group): &&(i32, i32, i32)| {
            (group == root || found.contains(&parent)) && !found.contains(&pid)
        };
        let more: Vec<i32> = others.iter().filter(new).map(|(pid, ..)| *pid).collect();
        if more.is_empty() {
            return found.into_iter().filter_map(Pid::from_raw).collect();
        }
        found.extend(more);
    }
}

impl Drop for LabProcess {
    fn drop(&mut self) {
        if self.leaves_group {
            let _ = self.child.wait();
            return;
        }
        let _ = kill_process_group(self.pid, Signal::KILL);
        let _ = self.child.wait();
        // Waits for the workers, which other processes reap: their sockets must be closed before
        // the next step of the test.
        let end = Instant::now() + GROUP_TIMEOUT;
        while group_runs(self.pid) && Instant::now() < end {
            thread::sleep(GROUP_POLL);
        }
    }
}

/// Returns whether any process of a group is more than a zombie, which a container's first process
/// may never reap.
fn group_runs(group: Pid) -> bool {
    if test_kill_process_group(group).is_err() {
        return false;
    }
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return false;
    };
    let wanted = group.as_raw_nonzero().to_string();
    entries.flatten().any(|entry| {
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // Skips the name, which may contain anything. The format is: pid (name) state parent group.
        let mut words = match stat.rsplit_once(") ") {
            Some((_, rest)) => rest.split(' '),
            None => return false,
        };
        let state = words.next().unwrap_or("Z");
        state != "Z" && words.nth(1) == Some(wanted.as_str())
    })
}

/// Moves the calling thread into a network namespace. The function makes only system calls, because
/// it is used between fork and exec.
pub(crate) fn move_in(network: &OwnedFd) -> io::Result<()> {
    let kind = Some(LinkNameSpaceType::Network);
    Ok(move_into_link_name_space(network.as_fd(), kind)?)
}

pub(crate) fn run(mut command: Command, network: Option<Arc<OwnedFd>>) -> Result<String, LabError> {
    let line = command_line(&command);
    // Writes the output into files, because a command with much output would block on an unread
    // pipe.
    let (mut stdout, mut stderr) = (output_file(&line)?, output_file(&line)?);
    let shared = |file: &File| file.try_clone().map_err(LabError::io("run", &line));
    command
        .stdin(Stdio::null())
        .stdout(shared(&stdout)?)
        .stderr(shared(&stderr)?);
    let mut process = LabProcess::start(command, network)?;
    match process.wait(COMMAND_TIMEOUT) {
        Some(Exit::Code(0)) => {
            // Leaves the group alone, which a daemon may not have left yet when its command
            // returns.
            process.leaves_group = true;
            read_output(&mut stdout)
        }
        Some(exit) => Err(LabError::Command {
            command: line.clone(),
            exit,
            said: read_output(&mut stdout)? + &read_output(&mut stderr)?,
        }),
        None => Err(LabError::Hangs {
            command: line.clone(),
            waited: COMMAND_TIMEOUT,
        }),
    }
}

pub(crate) fn run_words(words: &[&str]) -> Result<String, LabError> {
    let mut command = Command::new(words.first().copied().unwrap_or_default());
    command.args(words.iter().skip(1));
    run(command, None)
}

fn output_file(line: &str) -> Result<File, LabError> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    rustix::fs::memfd_create("said", flags)
        .map(File::from)
        .map_err(|errno| LabError::io("run", line)(errno.into()))
}

pub(crate) fn read_output(file: &mut File) -> Result<String, LabError> {
    let mut said = Vec::new();
    file.rewind()
        .and_then(|()| file.take(MAX_SAID_BYTES).read_to_end(&mut said))
        .map_err(LabError::io("read", "output of the command"))?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}

fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

thread_local! {
    /// Network of the calling thread, if it has left that of the machine.
    pub(crate) static OWN_NETWORK: RefCell<Option<Arc<OwnedFd>>> = const { RefCell::new(None) };
}

pub(crate) type SpawnJob = (Command, SyncSender<io::Result<Child>>);

/// Starts a child from a thread that lives as long as this process. A child's death signal is sent
/// when the *thread* that created it ends; if a thread of a test or of `LabHost::enter` created the
/// child, it would be killed too early.
fn spawn(command: Command) -> io::Result<Child> {
    let spawner = begin_spawner();
    let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
    let (done, result) = sync_channel(1);
    spawner.send((command, done)).map_err(|_| gone())?;
    result.recv().map_err(|_| gone())?
}

pub(crate) fn begin_spawner() -> &'static Sender<SpawnJob> {
    static SPAWNER: OnceLock<Sender<SpawnJob>> = OnceLock::new();
    SPAWNER.get_or_init(|| {
        let (jobs, todo) = channel::<SpawnJob>();
        thread::spawn(move || {
            for (mut command, done) in todo {
                let _ = done.send(command.spawn());
            }
        });
        jobs
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eventually;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn runs(pid: i32) -> bool {
        Pid::from_raw(pid).is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
    }

    #[test]
    fn command_returns_its_output() {
        assert_eq!(run(shell("echo hello"), None).unwrap(), "hello\n");
    }

    #[test]
    fn a_daemon_that_has_not_left_the_group_when_its_command_returns_lives() {
        // The daemon has its own output, because it must not hold the shell's pipe.
        let said = run(shell("sleep 60 >/dev/null 2>&1 & echo $!"), None).unwrap();
        let pid: i32 = said.trim().parse().unwrap();
        assert!(runs(pid));
        let pid = Pid::from_raw(pid).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
    }

    #[test]
    fn failed_command_reports_status_and_output() {
        match run(shell("echo oh >&2; exit 3"), None) {
            Err(LabError::Command { exit, said, .. }) => {
                assert_eq!((exit, said.as_str()), (Exit::Code(3), "oh\n"));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_program_that_does_not_exist_is_named() {
        match run(Command::new("no-such-program"), None) {
            Err(LabError::Io { on, .. }) => assert_eq!(on, "no-such-program"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn dropped_process_ends_with_its_children() {
        let mut said = output_file("test").unwrap();
        let mut command = shell("sleep 60 & echo $!; wait");
        command.stdout(said.try_clone().unwrap());
        let process = LabProcess::start(command, None).unwrap();
        let mut child = 0;
        assert!(eventually(Duration::from_secs(5), || {
            child = read_output(&mut said).unwrap().trim().parse().unwrap_or(0);
            child != 0
        }));
        let leader = process.pid();
        assert!(runs(leader) && runs(child));
        drop(process);
        assert!(!runs(leader));
        // The parent is gone, so the reaper needs a moment.
        assert!(eventually(Duration::from_secs(5), || !runs(child) || is_zombie(child)));
    }

    /// Starts a shell that starts a process in another group, and returns the shell and the ID of
    /// that process.
    fn with_a_runaway() -> (LabProcess, i32) {
        let mut said = output_file("test").unwrap();
        let mut command = shell("setsid sh -c 'echo $$; sleep 60 & wait' & wait");
        command.stdout(said.try_clone().unwrap());
        let process = LabProcess::start(command, None).unwrap();
        let mut child = 0;
        assert!(eventually(Duration::from_secs(5), || {
            child = read_output(&mut said).unwrap().trim().parse().unwrap_or(0);
            process.tree().len() >= 3 && child != 0
        }));
        (process, child)
    }

    fn state(pid: i32) -> String {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.split(' ').next());
        state.unwrap_or("gone").to_owned()
    }

    #[test]
    fn frozen_process_stops_with_its_children_and_continues() {
        let (process, child) = with_a_runaway();
        let frozen = process.freeze().unwrap();
        let all = |wanted: &str| {
            let tree = process.tree();
            tree.iter()
                .all(|pid| state(pid.as_raw_nonzero().get()) == wanted)
        };
        assert!(eventually(Duration::from_secs(5), || all("T")));
        assert!(process.tree().len() >= 3 && state(child) == "T");
        frozen.thaw();
        assert!(eventually(Duration::from_secs(5), || all("S")));
    }

    #[test]
    fn killed_process_tree_leaves_no_children() {
        let (process, child) = with_a_runaway();
        let tree = process.tree();
        process.kill_tree();
        let dead = |pid: i32| ["gone", "Z"].contains(&state(pid).as_str());
        assert!(eventually(Duration::from_secs(5), || {
            tree.iter().all(|pid| dead(pid.as_raw_nonzero().get())) && dead(child)
        }));
    }

    fn is_zombie(pid: i32) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
    }

    #[test]
    fn a_process_outlives_the_thread_that_started_it() {
        let started = thread::spawn(|| LabProcess::start(shell("sleep 60"), None).unwrap());
        let process = started.join().unwrap();
        assert_eq!(process.wait(Duration::from_millis(50)), None);
        process.signal(Signal::TERM).unwrap();
        let exit = process.wait(Duration::from_secs(5));
        assert_eq!(exit, Some(Exit::Signal(Signal::TERM.as_raw())));
        assert_eq!(process.exit(), exit, "asking twice is fine");
    }
}
