//! Tests whether a program can be run and uses the same message format: it is started once to
//! report its versions, before an upgrade to it begins.

use part::role::{HAND_OVER_VERSION, VERSION};
use part::spawn::{INTERNAL, SELF_TEST};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(10);
const WORDS_BYTES_MAX: usize = 256;
/// Poll interval for the end of a process that has closed its output.
const END_TICK: Duration = Duration::from_millis(5);

/// Returns the output of this program in a self-test.
pub fn words() -> String {
    format!("evenkeel self-test: messages {VERSION}, hand-over {HAND_OVER_VERSION}\n")
}

#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    #[error("cannot run it: {0}")]
    Start(io::Error),
    #[error("its self-test failed with {}", .0.to_string().replace(": ", " "))]
    Ended(ExitStatus),
    #[error("it cannot replace this program")]
    Words,
    #[error("it uses version {0} of the messages, this program {VERSION}")]
    Messages(u8),
    #[error("its self-test took longer than {} s", LIMIT.as_secs())]
    TooLong,
}

pub struct SelfTest {
    child: Child,
    output: Option<OwnedFd>,
    said: Vec<u8>,
    until: Instant,
}

impl SelfTest {
    pub fn begin(program: &Path) -> Result<SelfTest, SelfTestError> {
        let mut child = Command::new(program)
            .arg0("evenkeel: self-test")
            .args([INTERNAL, SELF_TEST])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(SelfTestError::Start)?;
        let output = child.stdout.take().map(OwnedFd::from);
        if let Some(output) = &output {
            let set = rustix::io::ioctl_fionbio(output, true);
            set.map_err(|errno| SelfTestError::Start(errno.into()))?;
        }
        Ok(SelfTest {
            child,
            output,
            said: Vec::new(),
            until: Instant::now() + LIMIT,
        })
    }

    pub fn watched(&self) -> Option<PollFd<'_>> {
        let output = self.output.as_ref()?;
        Some(PollFd::new(output, PollFlags::IN))
    }

    pub fn deadline(&self) -> Instant {
        match self.output {
            Some(_) => self.until,
            None => self.until.min(Instant::now() + END_TICK),
        }
    }

    pub fn look(&mut self) -> Option<Result<(), SelfTestError>> {
        self.read();
        if Instant::now() >= self.until {
            return Some(Err(SelfTestError::TooLong));
        }
        if self.output.is_some() {
            return None;
        }
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) if status.success() => Some(judge(&self.said)),
            Ok(Some(status)) => Some(Err(SelfTestError::Ended(status))),
            Err(error) => Some(Err(SelfTestError::Start(error))),
        }
    }

    fn read(&mut self) {
        let mut bytes = [0; WORDS_BYTES_MAX];
        while let Some(output) = &self.output {
            match rustix::io::read(output, &mut bytes) {
                Ok(read) if read > 0 && self.said.len() + read <= WORDS_BYTES_MAX => {
                    self.said.extend(&bytes[..read]);
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                // Closes the output at its end, after an error, or when there is more of it than
                // expected.
                Ok(_) | Err(_) => self.output = None,
            }
        }
    }
}

impl Drop for SelfTest {
    fn drop(&mut self) {
        // Also kills the processes that the program started. After its end the process id may be
        // reused.
        let lives = matches!(self.child.try_wait(), Ok(None));
        if let Some(group) = Pid::from_raw(self.child.id().cast_signed()).filter(|_| lives) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

fn judge(said: &[u8]) -> Result<(), SelfTestError> {
    let said = str::from_utf8(said).map_err(|_| SelfTestError::Words)?;
    let rest = said
        .strip_prefix("evenkeel self-test: messages ")
        .ok_or(SelfTestError::Words)?;
    // Compares only the version of the messages. With another hand-over format, the new program
    // adopts the roles instead.
    let messages = rest.split(',').next().and_then(|word| word.parse().ok());
    match messages.ok_or(SelfTestError::Words)? {
        VERSION => Ok(()),
        other => Err(SelfTestError::Messages(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_with_another_protocol_is_not_used() {
        assert!(judge(words().as_bytes()).is_ok());
        let other = "evenkeel self-test: messages 9, hand-over 7, and more\n";
        assert!(matches!(
            judge(other.as_bytes()),
            Err(SelfTestError::Messages(9))
        ));
        for words in ["", "evenkeel 1.0\n", "evenkeel self-test: messages x\n"] {
            assert!(matches!(judge(words.as_bytes()), Err(SelfTestError::Words)));
        }
    }

    fn outcome(program: &str) -> Result<(), SelfTestError> {
        let mut test = SelfTest::begin(Path::new(program))?;
        loop {
            if let Some(outcome) = test.look() {
                return outcome;
            }
            std::thread::sleep(END_TICK);
        }
    }

    #[test]
    fn program_that_fails_its_self_test_is_refused() {
        let start = outcome("/etc/hostname");
        assert!(matches!(start, Err(SelfTestError::Start(_))));
        assert!(matches!(
            outcome("/bin/false"),
            Err(SelfTestError::Ended(_))
        ));
        assert!(matches!(outcome("/bin/echo"), Err(SelfTestError::Words)));
    }

    #[test]
    fn abandoned_self_test_ends_with_its_children() {
        let directory = std::env::temp_dir();
        let name = |what: &str| directory.join(format!("evenkeel-{what}-{}", std::process::id()));
        let (program, pid) = (name("hangs"), name("hangs-pid"));
        let script = format!(
            "#!/bin/sh\nsleep 100 &\necho $! >{0}.new; mv {0}.new {0}\nwait\n",
            pid.display()
        );
        std::fs::write(&program, script).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&program, mode).unwrap();
        let test = SelfTest::begin(&program).unwrap();
        let started = loop {
            match std::fs::read_to_string(&pid) {
                Ok(text) => break text.trim().to_owned(),
                Err(_) => std::thread::sleep(END_TICK),
            }
        };
        drop(test);
        let command_line = format!("/proc/{started}/cmdline");
        while std::fs::read(&command_line).is_ok_and(|line| !line.is_empty()) {
            std::thread::sleep(END_TICK);
        }
        std::fs::remove_file(program).unwrap();
        std::fs::remove_file(pid).unwrap();
    }
}
