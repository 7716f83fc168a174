//! Child processes which end with the value that stands for them, also when
//! the test is killed.
//!
//! Each leads a process group of its own, so that workers which it forked end
//! with it. It is not reaped before the end, so neither its id nor its group's
//! can have become somebody else's when it is signalled.

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

/// How long a command that should end by itself may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(120);

/// How long the rest of a killed group may take to end.
const GROUP_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the processes that one started are looked for until none is new.
const TREE_ROUNDS_MAX: usize = 20;
const GROUP_POLL: Duration = Duration::from_millis(1);

/// How much of what a program said is kept.
pub(crate) const MAX_SAID_BYTES: u64 = 64 * 1024;

/// A running program. Dropped, it and all of its process group are killed.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pid: Pid,
    pidfd: OwnedFd,
    command: String,
    /// Its group is left alone: see [`run`].
    leaves_group: bool,
}

/// Has a program start with the signals of a terminal as they are by default, and with none
/// blocked. A shell in the background ignores some of them, and what is ignored or blocked stays
/// so over an exec.
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

impl Process {
    /// Starts a program, inside the network of a host when one is given.
    pub(crate) fn start(
        mut command: Command,
        network: Option<Arc<OwnedFd>>,
    ) -> Result<Self, LabError> {
        let line = command_line(&command);
        with_default_signals(&mut command).process_group(0);
        // SAFETY: between fork and exec only system calls are made, on values
        // that were there before; nothing is allocated and no lock is taken.
        unsafe {
            command.pre_exec(move || {
                // Goes with the thread that spawned: see `spawn`.
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
            Ok((pid, pidfd)) => Ok(Process {
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

    /// Its process id, which stays its own while this value lives.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Its command line, for messages.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// Sends a signal to it (not to its children).
    pub fn signal(&self, signal: Signal) -> Result<(), LabError> {
        pidfd_send_signal(&self.pidfd, signal)
            .map_err(|errno| LabError::io("signal", &self.command)(errno.into()))
    }

    /// It and all that it started, also what left its process group: what is
    /// there at this moment, the first one first.
    pub fn tree(&self) -> Vec<Pid> {
        tree(self.pid)
    }

    /// Stops it with all that it started, as a machine would that is suspended or
    /// swapping, until the guard is dropped.
    pub fn freeze(&self) -> Result<Frozen<'_>, LabError> {
        let mut frozen = Frozen {
            process: self,
            pids: Vec::new(),
        };
        // They may be starting others until each of them is stopped.
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

    /// Kills it with all that it started, also what left its process group, by
    /// SIGKILL: nobody gets to tidy up.
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

    /// How it ended, if it did.
    pub fn exit(&self) -> Option<Exit> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        let status = waitid(WaitId::Pid(self.pid), options).ok()??;
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Some(Exit::Code(code)),
            (None, Some(signal)) => Some(Exit::Signal(signal)),
            (None, None) => None,
        }
    }

    /// Waits for its end.
    pub fn wait(&self, timeout: Duration) -> Option<Exit> {
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let timeout = Timespec::try_from(timeout).ok();
        // An interrupted wait is a short one: the caller sees that there is no
        // exit yet. Nothing in a test installs handlers that would.
        let _ = poll(&mut fds, timeout.as_ref());
        self.exit()
    }
}

/// Kills processes as if it were at one moment: each is stopped first, since one
/// that sees another one die may tidy up or start it again.
pub(crate) fn kill_at_once(pids: &[Pid]) {
    for signal in [Signal::STOP, Signal::KILL] {
        for pid in pids {
            // It may have ended by itself.
            let _ = kill_process(*pid, signal);
        }
    }
}

/// Processes that are stopped until this is dropped.
#[derive(Debug)]
#[must_use = "a process that goes on at once was not frozen"]
pub struct Frozen<'a> {
    process: &'a Process,
    pids: Vec<Pid>,
}

impl Frozen<'_> {
    /// Lets them go on.
    pub fn thaw(self) {}
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        // Only what is still its own: an id could have become somebody else's.
        let tree = self.process.tree();
        for pid in self.pids.drain(..).filter(|pid| tree.contains(pid)) {
            let _ = kill_process(pid, Signal::CONT);
        }
    }
}

/// What `/proc` says of a process: its parent and its group.
fn relations(stat: &str) -> Option<(i32, i32)> {
    // pid (name) state parent group: the name may hold anything.
    let mut words = stat.rsplit_once(") ")?.1.split(' ').skip(1);
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

/// A process, its group, and their descendants.
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

impl Drop for Process {
    fn drop(&mut self) {
        if self.leaves_group {
            let _ = self.child.wait();
            return;
        }
        let _ = kill_process_group(self.pid, Signal::KILL);
        let _ = self.child.wait();
        // Workers are somebody else's to reap; but their sockets have to be closed
        // when the next test step looks.
        let end = Instant::now() + GROUP_TIMEOUT;
        while group_runs(self.pid) && Instant::now() < end {
            thread::sleep(GROUP_POLL);
        }
    }
}

/// Whether any process of a group is more than a zombie, which a container's
/// first process may never reap.
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
        // pid (name) state parent group: the name may hold anything.
        let mut words = match stat.rsplit_once(") ") {
            Some((_, rest)) => rest.split(' '),
            None => return false,
        };
        let state = words.next().unwrap_or("Z");
        state != "Z" && words.nth(1) == Some(wanted.as_str())
    })
}

/// Moves the calling thread into a network. Only system calls: it is used between fork
/// and exec.
pub(crate) fn move_in(network: &OwnedFd) -> io::Result<()> {
    let kind = Some(LinkNameSpaceType::Network);
    Ok(move_into_link_name_space(network.as_fd(), kind)?)
}

/// Runs a command to its end and gives what it wrote to standard output.
pub(crate) fn run(mut command: Command, network: Option<Arc<OwnedFd>>) -> Result<String, LabError> {
    let line = command_line(&command);
    // Into files: an unread pipe would block a command with much output.
    let (mut stdout, mut stderr) = (said_file(&line)?, said_file(&line)?);
    let shared = |file: &File| file.try_clone().map_err(LabError::io("run", &line));
    command
        .stdin(Stdio::null())
        .stdout(shared(&stdout)?)
        .stderr(shared(&stderr)?);
    let mut process = Process::start(command, network)?;
    match process.wait(COMMAND_TIMEOUT) {
        Some(Exit::Code(0)) => {
            // A daemon may not have left the group yet when its command returns.
            process.leaves_group = true;
            read_said(&mut stdout)
        }
        Some(exit) => Err(LabError::Command {
            command: line.clone(),
            exit,
            said: read_said(&mut stderr)?,
        }),
        None => Err(LabError::Hangs {
            command: line.clone(),
            waited: COMMAND_TIMEOUT,
        }),
    }
}

/// Runs a command made of words, as `ip link show`.
pub(crate) fn run_words(words: &[&str]) -> Result<String, LabError> {
    let mut command = Command::new(words.first().copied().unwrap_or_default());
    command.args(words.iter().skip(1));
    run(command, None)
}

/// A file without a name, in memory.
fn said_file(line: &str) -> Result<File, LabError> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    rustix::fs::memfd_create("said", flags)
        .map(File::from)
        .map_err(|errno| LabError::io("run", line)(errno.into()))
}

pub(crate) fn read_said(file: &mut File) -> Result<String, LabError> {
    let mut said = Vec::new();
    file.rewind()
        .and_then(|()| file.take(MAX_SAID_BYTES).read_to_end(&mut said))
        .map_err(LabError::io("read", "what a command said"))?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}

fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

type Job = (Command, SyncSender<io::Result<Child>>);

/// Spawns on a thread that lives as long as this process. A child's death
/// signal comes when the *thread* which made it ends; made by the thread of a
/// test or of `clean::Host::enter`, it would be killed too early.
fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Sender<Job>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, todo) = channel::<Job>();
        thread::spawn(move || {
            for (mut command, done) in todo {
                let _ = done.send(command.spawn());
            }
        });
        jobs
    });
    let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
    let (done, result) = sync_channel(1);
    spawner.send((command, done)).map_err(|_| gone())?;
    result.recv().map_err(|_| gone())?
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
    fn a_command_gives_what_it_said() {
        assert_eq!(run(shell("echo hello"), None).unwrap(), "hello\n");
    }

    #[test]
    fn a_daemon_that_has_not_left_the_group_when_its_command_returns_lives() {
        // With its own output: a pipe to the shell would be no business of a daemon.
        let said = run(shell("sleep 60 >/dev/null 2>&1 & echo $!"), None).unwrap();
        let pid: i32 = said.trim().parse().unwrap();
        assert!(runs(pid));
        let pid = Pid::from_raw(pid).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
    }

    #[test]
    fn a_command_that_fails_tells_how_and_what_it_said() {
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
    fn a_dropped_process_takes_its_children_with_it() {
        let mut said = said_file("test").unwrap();
        let mut command = shell("sleep 60 & echo $!; wait");
        command.stdout(said.try_clone().unwrap());
        let process = Process::start(command, None).unwrap();
        let mut child = 0;
        assert!(eventually(Duration::from_secs(5), || {
            child = read_said(&mut said).unwrap().trim().parse().unwrap_or(0);
            child != 0
        }));
        let leader = process.pid();
        assert!(runs(leader) && runs(child));
        drop(process);
        assert!(!runs(leader));
        // Its parent is gone: whoever reaps it needs a moment.
        assert!(eventually(Duration::from_secs(5), || !runs(child) || is_zombie(child)));
    }

    /// A shell that starts one which leaves its group, and says its id.
    fn with_a_runaway() -> (Process, i32) {
        let mut said = said_file("test").unwrap();
        let mut command = shell("setsid sh -c 'echo $$; sleep 60 & wait' & wait");
        command.stdout(said.try_clone().unwrap());
        let process = Process::start(command, None).unwrap();
        let mut child = 0;
        assert!(eventually(Duration::from_secs(5), || {
            child = read_said(&mut said).unwrap().trim().parse().unwrap_or(0);
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
    fn a_frozen_process_stands_still_with_all_that_it_started_and_goes_on_after() {
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
    fn a_killed_tree_leaves_nothing_of_what_it_started() {
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
        let started = thread::spawn(|| Process::start(shell("sleep 60"), None).unwrap());
        let process = started.join().unwrap();
        assert_eq!(process.wait(Duration::from_millis(50)), None);
        process.signal(Signal::TERM).unwrap();
        let exit = process.wait(Duration::from_secs(5));
        assert_eq!(exit, Some(Exit::Signal(Signal::TERM.as_raw())));
        assert_eq!(process.exit(), exit, "asking twice is fine");
    }
}
