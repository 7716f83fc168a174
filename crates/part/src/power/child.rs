//! Runs a command that switches power, as a process of its own. A role need not wait for it: its
//! end and its output are readable descriptors. Dropping the value kills the process with its whole
//! group.

use super::control::{CommandExit, Invocation, PATH};
use crate::spawn::watch_child;
use nix::libc;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child as StdChild, Command, Stdio};
use std::time::{Duration, Instant};

const OUTPUT_KEPT_MAX: usize = 4096;
/// Maximum number of output bytes that are read in one call, so that a command with much output
/// does not block other work.
const OUTPUT_TURN_MAX: usize = 64 << 10;
/// Maximum size of the input in bytes: it fits into a pipe, so writing it never blocks.
const INPUT_MAX: usize = 60 << 10;

#[derive(Debug)]
pub struct Child {
    pid: Pid,
    pidfd: OwnedFd,
    /// Standard output and error; None once every process that had them open has closed them.
    output: Option<OwnedFd>,
    kept: Vec<u8>,
    /// True if the process is not reaped yet.
    is_there: bool,
}

impl Child {
    /// Starts the command in its own process group. The kernel kills the command when the thread
    /// that called this ends.
    ///
    /// # Errors
    /// The input is longer than 60 KiB, the program is missing, or the system refuses.
    pub fn start(invocation: &Invocation) -> io::Result<Child> {
        if invocation.input.len() > INPUT_MAX {
            let words = format!("its options have more than {INPUT_MAX} bytes");
            return Err(io::Error::other(words));
        }
        let (input, input_end) = pipe_with(PipeFlags::CLOEXEC)?;
        let (output, output_end) = pipe_with(PipeFlags::CLOEXEC)?;
        set_nonblocking(&input_end)?;
        set_nonblocking(&output)?;
        let mut command = Command::new(&invocation.program);
        command
            .args(&invocation.arguments)
            .current_dir("/")
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C")
            .process_group(0)
            .stdin(input)
            .stdout(Stdio::from(output_end.try_clone()?))
            .stderr(output_end);
        // SAFETY: the child only makes a system call without pointers between fork and exec.
        unsafe {
            command.pre_exec(|| {
                // Kills the command when its parent thread ends: no fencing command may be left
                // behind.
                match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                    0 => Ok(()),
                    _ => Err(io::Error::last_os_error()),
                }
            });
        }
        let mut child = command.spawn()?;
        let child = Child::of(&mut child, output)?;
        // Writes the whole input at once, for which the pipe has room. A program that reads no
        // input closes the pipe.
        match rustix::io::write(&input_end, &invocation.input) {
            Ok(count) if count == invocation.input.len() => {}
            Err(Errno::PIPE) => {}
            Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
            Err(errno) => return Err(errno.into()),
        }
        Ok(child)
    }

    fn of(child: &mut StdChild, output: OwnedFd) -> io::Result<Child> {
        let pid = Pid::from_child(child);
        let pidfd = watch_child(child)?;
        Ok(Child {
            pid,
            pidfd,
            output: Some(output),
            kept: Vec::new(),
            is_there: true,
        })
    }

    /// Returns the descriptors that are readable when `Child::poll_exit` has something to do.
    pub fn watched(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let output = self.output.as_ref().map(AsFd::as_fd);
        std::iter::once(self.pidfd.as_fd()).chain(output)
    }

    /// Reads the available output without blocking. Returns how the command ended, once it has
    /// ended.
    pub fn poll_exit(&mut self) -> Option<CommandExit> {
        self.read();
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = match waitid(WaitId::PidFd(self.pidfd.as_fd()), options) {
            Ok(None) | Err(Errno::INTR) => return None,
            Ok(Some(status)) => status.exit_status(),
            Err(_) => None,
        };
        // Reads again, because the command may have written its last output after the first read.
        self.read();
        self.kill_group();
        Some(CommandExit {
            code: status,
            output: String::from_utf8_lossy(&self.kept).into_owned(),
        })
    }

    fn read(&mut self) {
        let mut bytes = [0; 4096];
        let mut left = OUTPUT_TURN_MAX;
        while let Some(output) = self.output.as_ref().filter(|_| left > 0) {
            match rustix::io::read(output, &mut bytes) {
                Ok(0) => self.output = None,
                Ok(count) => {
                    left = left.saturating_sub(count);
                    let room = OUTPUT_KEPT_MAX.saturating_sub(self.kept.len());
                    let read = bytes.get(..count.min(room)).unwrap_or_default();
                    self.kept.extend_from_slice(read);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => self.output = None,
            }
        }
    }

    /// Kills the whole process group. The group id cannot be reused before the first process is
    /// reaped.
    fn kill_group(&mut self) {
        if std::mem::take(&mut self.is_there) {
            // Ignores failures: the group may have ended already.
            let _ = kill_process_group(self.pid, Signal::KILL);
            let _ = waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED);
        }
    }

    /// Waits for the end of the command, for commands of an operator. After the timeout kills its
    /// process group and returns None.
    pub fn wait(mut self, timeout: Duration) -> Option<CommandExit> {
        let until = Instant::now() + timeout;
        loop {
            if let Some(ended) = self.poll_exit() {
                return Some(ended);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let watched = self.watched();
            let mut watched: Vec<PollFd<'_>> = watched
                .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
                .collect();
            // Ignores the result: the loop polls the command again, also after an interruption.
            let _ = poll(&mut watched, Timespec::try_from(left).ok().as_ref());
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill_group();
    }
}

fn set_nonblocking(fd: &OwnedFd) -> io::Result<()> {
    let flags = fcntl_getfl(fd)?;
    Ok(fcntl_setfl(fd, flags | OFlags::NONBLOCK)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::test_kill_process;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn shell(script: &str, input: &str) -> Child {
        let invocation = Invocation {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            input: input.as_bytes().to_vec(),
        };
        Child::start(&invocation).unwrap()
    }

    #[test]
    fn a_command_gets_its_input_and_returns_its_output_and_code() {
        let child = shell("cat; echo error >&2; exit 2", "action=off\nip=a\n");
        let ended = child.wait(PATIENCE).unwrap();
        assert_eq!(ended.code, Some(2));
        assert_eq!(ended.output, "action=off\nip=a\nerror\n");
    }

    #[test]
    fn a_command_that_reads_no_input_and_one_that_a_signal_ends_are_no_error() {
        let long = "x".repeat(INPUT_MAX);
        let ended = shell("exec <&-; kill -9 $$", &long).wait(PATIENCE).unwrap();
        assert_eq!(ended.code, None);
    }

    #[test]
    fn the_output_that_is_kept_is_bounded() {
        let child = shell("head -c 300000 /dev/zero | tr '\\0' x", "");
        let ended = child.wait(PATIENCE).unwrap();
        assert_eq!((ended.code, ended.output.len()), (Some(0), OUTPUT_KEPT_MAX));
    }

    #[test]
    fn input_that_would_block_is_refused() {
        let invocation = Invocation {
            program: "/bin/cat".into(),
            arguments: Vec::new(),
            input: vec![b'x'; INPUT_MAX + 1],
        };
        assert!(Child::start(&invocation).is_err());
    }

    #[test]
    fn a_program_that_is_missing_is_an_error() {
        let invocation = Invocation {
            program: "/nowhere/fence".into(),
            arguments: Vec::new(),
            input: Vec::new(),
        };
        let error = Child::start(&invocation).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn the_whole_group_of_a_command_is_killed_when_its_timeout_passes() {
        // The shell waits for its child, which sleeps for 1000 s, so neither of them ends by
        // itself.
        let mut child = shell("sleep 1000 & echo $!; wait", "");
        let pid = loop {
            assert_eq!(child.poll_exit(), None);
            let text = String::from_utf8(child.kept.clone()).unwrap();
            if let Some(number) = text.strip_suffix('\n') {
                break Pid::from_raw(number.parse().unwrap()).unwrap();
            }
        };
        assert!(child.wait(Duration::ZERO).is_none());
        let is_gone = || {
            let path = format!("/proc/{}/stat", pid.as_raw_nonzero());
            let stat = std::fs::read_to_string(path).unwrap_or_default();
            test_kill_process(pid).is_err() || stat.contains(") Z ")
        };
        assert!(lab::eventually(PATIENCE, is_gone));
    }

    #[test]
    fn output_that_a_process_in_the_background_keeps_open_does_not_delay_the_end() {
        let ended = shell("sleep 1000 & echo done", "").wait(PATIENCE).unwrap();
        assert_eq!((ended.code, &*ended.output), (Some(0), "done\n"));
    }
}
