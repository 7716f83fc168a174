//! Runs programs for a command. Progress lines are shown as they come, the end of the output is
//! kept for errors, and a signal ends the programs.

use crate::stopped::{Stopped, signals};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use part::channel::timespec;
use part::spawn::watch_child;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal as Kill, kill_process_group};
use std::ffi::OsString;
use std::io::{Read, Write, stderr};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

const KEPT_MAX: usize = 64 << 10;
const LINES_SHOWN: usize = 12;
/// Time that a program has to end after a signal.
const END_MAX: Duration = Duration::from_secs(10);
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs programs until a signal arrives.
pub struct Runner(SignalFd);

/// Returns the path of a program in the standard directories.
pub fn find(program: &str) -> Option<PathBuf> {
    let mut all = PATH
        .split(':')
        .map(|directory| Path::new(directory).join(program));
    all.find(|path| path.is_file())
}

/// Fails if programs are missing: `PROGRAM` and its package.
///
/// # Errors
/// Lists the missing packages, with the command that installs them.
pub fn need(programs: &[(&str, &str)]) -> Result<(), String> {
    let missing = programs.iter().filter(|(program, _)| {
        if program.starts_with('/') {
            !Path::new(program).exists()
        } else {
            find(program).is_none()
        }
    });
    let mut packages: Vec<&str> = missing.map(|(_, package)| *package).collect();
    packages.sort_unstable();
    packages.dedup();
    if packages.is_empty() {
        Ok(())
    } else {
        let packages = packages.join(" ");
        Err(format!(
            "missing packages: {packages}. Install them: apt-get install {packages}"
        ))
    }
}

/// Returns a command for a program, with a fixed environment and the caller's proxy settings only.
pub fn program(name: &str) -> Command {
    let mut command = Command::new(find(name).unwrap_or_else(|| name.into()));
    command
        .env_clear()
        .env("PATH", PATH)
        .env("LC_ALL", "C.UTF-8")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null());
    for name in ["http_proxy", "https_proxy", "no_proxy"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// Returns a program and arguments that run the given program so that it is killed when this
/// process ends, even by SIGKILL, if setpriv (package util-linux) is installed.
pub fn ends_with_us(program: PathBuf, arguments: Vec<OsString>) -> (PathBuf, Vec<OsString>) {
    // Returns the program unchanged if setpriv is missing: it then survives a SIGKILL of this
    // process.
    let Some(setpriv) = find("setpriv") else {
        return (program, arguments);
    };
    let before = ["--pdeathsig", "KILL", "--"].map(OsString::from);
    let all = before.into_iter().chain([program.into_os_string()]);
    (setpriv, all.chain(arguments).collect())
}

impl Runner {
    /// Blocks the signals SIGINT, SIGTERM and SIGHUP: they end the running program, and the command
    /// ends with an error.
    ///
    /// # Errors
    /// Returns the system's error.
    pub fn new() -> Result<Runner, Stopped> {
        signals().map(Runner)
    }

    /// Runs a program to its end. Returns the end of its output, at most 64 KiB.
    ///
    /// # Errors
    /// Fails if the program cannot be started, fails, or is interrupted.
    pub fn run(&self, command: &mut Command) -> Result<String, Stopped> {
        self.shown(command, |_| None)
    }

    /// Runs a program; lines for which `show` returns a text are printed as they come.
    ///
    /// # Errors
    /// Fails as [`Runner::run`].
    pub fn shown(
        &self,
        command: &mut Command,
        show: impl Fn(&str) -> Option<String>,
    ) -> Result<String, Stopped> {
        let name = Path::new(command.get_program()).file_name();
        let name = name.unwrap_or_default().to_string_lossy().into_owned();
        let failed = |error: std::io::Error| format!("{name}: {error}");
        let (mut output, end) = std::io::pipe().map_err(failed)?;
        let errors = end.try_clone().map_err(failed)?;
        // Starts a separate process group, so that all children of the program can be ended with
        // it.
        command.stdout(end).stderr(errors).process_group(0);
        let spawned = command.spawn();
        // Closes the ends of the pipe that the command still has, so that the output can end.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = spawned.map_err(failed)?;
        let mut text = Output::default();
        let status = self.watch(&mut child, &mut output, &mut text, &show)?;
        if status.success() {
            Ok(text.kept)
        } else {
            Err(format!("{name} failed ({}){}", ending(status), text.last()).into())
        }
    }

    fn watch(
        &self,
        child: &mut Child,
        output: &mut (impl Read + AsFd),
        text: &mut Output,
        show: &impl Fn(&str) -> Option<String>,
    ) -> Result<ExitStatus, Stopped> {
        let pid = Pid::from_child(child);
        let ended = watch_child(child);
        let ended = ended.map_err(|error| format!("cannot watch a program: {error}"))?;
        let mut is_open = true;
        loop {
            let none = PollFlags::empty();
            let mut watched = [
                PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::IN),
                PollFd::new(&ended, PollFlags::IN),
                PollFd::from_borrowed_fd(
                    output.as_fd(),
                    if is_open { PollFlags::IN } else { none },
                ),
            ];
            // Ignores the result of the wait: all conditions are checked again.
            let _ = poll(&mut watched, Some(&timespec(Duration::from_secs(1))));
            let [_, has_ended, has_output] = watched.map(|one| !one.revents().is_empty());
            if let Some(signal) = self.signal() {
                end(child, pid);
                return Err(Stopped::By(signal));
            }
            // Reads while there is output, but does not wait for the end of the pipe: a background
            // process may still have it.
            if has_output && is_open {
                let mut piece = [0; 16 << 10];
                match output.read(&mut piece) {
                    Ok(0) | Err(_) => is_open = false,
                    Ok(count) => text.take(&piece[..count], show),
                }
            } else if has_ended {
                return child.wait().map_err(|error| error.to_string().into());
            }
        }
    }

    pub fn signal(&self) -> Option<Signal> {
        let signal = self.0.read_signal().ok().flatten()?;
        Signal::try_from(signal.ssi_signo as i32).ok()
    }
}

/// Ends a program and its children, with SIGKILL if SIGTERM has no effect.
fn end(child: &mut Child, pid: Pid) {
    // Ignores an error: the process may have ended already.
    let _ = kill_process_group(pid, Kill::TERM);
    let until = std::time::Instant::now() + END_MAX;
    while std::time::Instant::now() < until && matches!(child.try_wait(), Ok(None)) {
        std::thread::sleep(Duration::from_millis(20));
    }
    // Kills the whole group: the process ID is not reused before the program is reaped, and the
    // group exists as long as one member does.
    let _ = kill_process_group(pid, Kill::KILL);
    let _ = child.wait();
}

fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no status".to_owned(),
    }
}

#[derive(Default)]
struct Output {
    kept: String,
    line: String,
}

impl Output {
    fn take(&mut self, piece: &[u8], show: &impl Fn(&str) -> Option<String>) {
        let piece = String::from_utf8_lossy(piece);
        self.kept += &piece;
        if self.kept.len() > KEPT_MAX {
            let from =
                (self.kept.len() - KEPT_MAX / 2..).find(|at| self.kept.is_char_boundary(*at));
            let from = from.unwrap_or(self.kept.len());
            self.kept.drain(..from);
        }
        for sign in piece.chars() {
            match sign {
                '\n' | '\r' => {
                    if let Some(words) = show(&self.line) {
                        // Ignores an error: the program continues if the output is closed.
                        let _ = writeln!(stderr(), "  {words}");
                    }
                    self.line.clear();
                }
                sign if self.line.len() < 1024 => self.line.push(sign),
                _ => {}
            }
        }
    }

    fn last(&self) -> String {
        let lines: Vec<&str> = self
            .kept
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let from = lines.len().saturating_sub(LINES_SHOWN);
        let lines = lines[from..].iter().map(|line| format!("\n  {line}"));
        match lines.len() {
            0 => String::new(),
            _ => format!(":{}", lines.collect::<String>()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = program("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn program_returns_its_output_or_its_error() {
        let runner = Runner::new().unwrap_or_else(|error| panic!("{error}"));
        let text = runner.run(&mut shell("echo one; echo two >&2"));
        assert_eq!(text.unwrap_or_else(|error| panic!("{error}")), "one\ntwo\n");
        let failed = runner.run(&mut shell("seq 100; exit 3"));
        let words = failed
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(
            words.starts_with("sh failed (exit code 3):\n  89\n"),
            "{words}"
        );
        assert!(words.ends_with("\n  100"), "{words}");
    }

    #[test]
    fn a_program_that_leaves_another_one_behind_has_ended() {
        let runner = Runner::new().unwrap_or_else(|error| panic!("{error}"));
        // Runs a shell that ends and leaves a background process, which has the pipe until it is
        // killed below.
        let text = runner.run(&mut shell("sleep 1000 & echo $!"));
        let text = text.unwrap_or_else(|error| panic!("{error}"));
        let pid = text
            .trim()
            .parse()
            .ok()
            .and_then(Pid::from_raw)
            .expect("its number");
        rustix::process::kill_process(pid, Kill::KILL).unwrap();
    }

    #[test]
    fn packages_that_are_missing_are_named_once() {
        assert_eq!(need(&[("sh", "dash")]), Ok(()));
        let words = need(&[
            ("no-such-1", "one"),
            ("/no/such", "one"),
            ("no-such-2", "two"),
        ]);
        let words = words.unwrap_err();
        assert!(words.ends_with("apt-get install one two"), "{words}");
    }
}
