//! Runs the programs of external health checks in a process of its own, since the proxy role may
//! start none. The process starts with the initial privileges and drops them (root directory,
//! groups, user, every capability). Afterwards it runs only the programs that the supervisor named
//! at the start, each as the leader of its own process group ([`address::role::runner`]). Files and
//! system calls are not restricted, because the programs would inherit that.
//!
//! The proxy role requests runs over a connection. When the connection closes, this process and all
//! running programs end. The requests are validated, since the proxy role may be compromised.

use address::role::runner::{JobResult, ProgramJob, Runner};
use confinement::ConfinementError;
use part::channel::{Channel, ChannelError, Received, timespec};
use part::codec;
use part::entry;
use part::role::{
    DecodeError, EXTERNAL_RUNNING_MAX, ExternalCheck, ExternalEnd, ExternalResult, RunPrograms,
    SupervisorMessage, external_frame,
};
use proxy_role::process::{self, StartError};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::CapabilitySet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

const READ_BYTES: usize = 16 * 1024;
const RUN_MAX: Duration = Duration::from_secs(24 * 3600);
/// Prefix of the environment variables that the proxy role may set: the role must not choose PATH.
const VARIABLE_PREFIX: &[u8] = b"HAPROXY_";

#[derive(Debug, thiserror::Error)]
enum RunnerError {
    #[error("the supervisor: {0}")]
    Channel(ChannelError),
    #[error(transparent)]
    Rights(#[from] StartError),
    #[error(transparent)]
    Confinement(#[from] ConfinementError),
    #[error(transparent)]
    System(#[from] io::Error),
    #[error("the proxy: {0}")]
    Request(DecodeError),
}

pub fn main(channel: Channel) -> ExitCode {
    entry::exit("the process of external checks", serve(channel))
}

fn first(received: Received) -> Option<(RunPrograms, UnixStream)> {
    let SupervisorMessage::Take(take) = received.message else {
        return None;
    };
    let connection = take.sort(received.descriptors)?.payload;
    Some((
        codec::decode(&take.options).ok()?,
        UnixStream::from(connection),
    ))
}

fn serve(mut channel: Channel) -> Result<(), RunnerError> {
    let first = entry::first(&mut channel, first);
    let (run, connection) = first.map_err(RunnerError::Channel)?;
    drop(channel);
    let null = File::options().read(true).write(true).open("/dev/null");
    let null = null?;
    give_up(&run)?;
    let runner = Runner::with(null, true)?;
    let mut programs = Programs {
        run,
        connection,
        runner,
        input: Vec::new(),
        running: 0,
    };
    let ended = programs.obey();
    programs.runner.kill_all();
    ended
}

fn give_up(run: &RunPrograms) -> Result<(), RunnerError> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let files = Rlimit {
        current: Some(maximum.map_or(run.files_soft, |most| most.min(run.files_soft))),
        maximum,
    };
    // Ignores a failure: the programs then keep a higher limit of open files.
    let _ = setrlimit(Resource::Nofile, files);
    let root = run.rights.chroot.as_deref();
    let root = root.map(|path| Path::new(OsStr::from_bytes(path)));
    process::drop_rights(root, run.rights.gid, run.rights.uid)?;
    confinement::keep_only(CapabilitySet::empty(), false)?;
    rustix::thread::set_no_new_privs(true).map_err(|errno| RunnerError::System(errno.into()))
}

struct Programs {
    run: RunPrograms,
    connection: UnixStream,
    runner: Runner<u64>,
    input: Vec<u8>,
    running: usize,
}

impl Programs {
    fn obey(&mut self) -> Result<(), RunnerError> {
        let system = |errno: Errno| RunnerError::System(errno.into());
        loop {
            let mut watched = [
                PollFd::new(&self.connection, PollFlags::IN),
                PollFd::from_borrowed_fd(self.runner.as_fd(), PollFlags::IN),
            ];
            match poll(&mut watched, Some(&timespec(RUN_MAX))) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(system(errno)),
            }
            let asked = !watched[0].revents().is_empty();
            for (id, outcome) in self.runner.ended() {
                self.running = self.running.saturating_sub(1);
                self.report_check_end(id, end(&outcome))?;
            }
            if asked && !self.read()? {
                return Ok(());
            }
        }
    }

    fn read(&mut self) -> Result<bool, RunnerError> {
        let mut bytes = [0; READ_BYTES];
        match self.connection.read(&mut bytes) {
            Ok(0) => return Ok(false),
            Ok(count) => self.input.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(RunnerError::System(error)),
        }
        while let Some((body, taken)) = external_frame(&self.input).map_err(RunnerError::Request)? {
            let check = ExternalCheck::decode(body).map_err(RunnerError::Request)?;
            self.input.drain(..taken);
            self.begin(check)?;
        }
        Ok(true)
    }

    fn begin(&mut self, check: ExternalCheck) -> Result<(), RunnerError> {
        let named = |(name, _): &(Vec<u8>, Vec<u8>)| name.starts_with(VARIABLE_PREFIX);
        let whole = |word: &Vec<u8>| !word.contains(&0);
        let allowed = self.run.programs.contains(&check.program)
            && check.variables.iter().all(named)
            && check.arguments.iter().all(whole)
            && (check.variables.iter()).all(|(name, value)| whole(name) && whole(value));
        if !allowed {
            return self.report_check_end(check.id, ExternalEnd::NotAllowed);
        }
        if self.running >= EXTERNAL_RUNNING_MAX || !self.runner.submit(job(check.clone())) {
            return self.report_check_end(check.id, ExternalEnd::Busy);
        }
        self.running += 1;
        Ok(())
    }

    fn report_check_end(&mut self, id: u64, end: ExternalEnd) -> Result<(), RunnerError> {
        let frame = ExternalResult { id, end }.frame();
        self.connection
            .write_all(&frame)
            .map_err(RunnerError::System)
    }
}

fn job(check: ExternalCheck) -> ProgramJob<u64> {
    let word = OsString::from_vec;
    let mut words = vec![word(check.program.command)];
    words.extend(check.arguments.into_iter().map(word));
    let mut environment = vec![("PATH".into(), word(check.program.path))];
    let variables = check.variables.into_iter();
    environment.extend(variables.map(|(name, value)| (word(name), word(value))));
    let timeout = Duration::from_millis(check.timeout_ms.into());
    ProgramJob {
        token: check.id,
        words,
        environment: Some(environment),
        account: None,
        timeout: Some(timeout.min(RUN_MAX)),
        queue: None,
        stays: false,
    }
}

fn end(outcome: &JobResult) -> ExternalEnd {
    match outcome {
        JobResult::Exited(code) => ExternalEnd::Exited(*code),
        JobResult::Signalled(number) => ExternalEnd::Killed(*number),
        JobResult::TimedOut => ExternalEnd::TimedOut,
        JobResult::NotStarted(error) => {
            let errno = error.raw_os_error().unwrap_or(Errno::INVAL.raw_os_error());
            ExternalEnd::NotStarted(errno)
        }
        JobResult::TooMany => ExternalEnd::Busy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use part::role::CheckProgram;

    const LATEST: Duration = Duration::from_secs(20);

    fn program(command: &str) -> CheckProgram {
        CheckProgram {
            command: command.into(),
            path: b"/usr/bin:/bin".to_vec(),
        }
    }

    /// Runs the check runner on a thread that keeps its privileges, and returns the proxy role's
    /// end of the connection.
    fn begin(commands: &[&str]) -> (UnixStream, std::thread::JoinHandle<bool>) {
        let (role, connection) = UnixStream::pair().unwrap();
        role.set_read_timeout(Some(LATEST)).unwrap();
        let run = RunPrograms {
            programs: commands.iter().map(|command| program(command)).collect(),
            ..RunPrograms::default()
        };
        let thread = std::thread::spawn(move || {
            let mut programs = Programs {
                run,
                connection,
                runner: Runner::start().unwrap(),
                input: Vec::new(),
                running: 0,
            };
            let ended = programs.obey().is_ok();
            programs.runner.kill_all();
            ended
        });
        (role, thread)
    }

    fn ask(role: &mut UnixStream, id: u64, command: &str, arguments: &[&str], variable: &str) {
        let check = ExternalCheck {
            id,
            timeout_ms: 10_000,
            program: program(command),
            arguments: arguments
                .iter()
                .map(|word| word.as_bytes().to_vec())
                .collect(),
            variables: vec![(variable.into(), b"7".to_vec())],
        };
        role.write_all(&check.frame().unwrap()).unwrap();
    }

    fn hear(role: &mut UnixStream) -> ExternalResult {
        let mut bytes = Vec::new();
        loop {
            let mut byte = [0];
            role.read_exact(&mut byte).unwrap();
            bytes.extend_from_slice(&byte);
            if let Some((body, _)) = external_frame(&bytes).unwrap() {
                return ExternalResult::decode(body).unwrap();
            }
        }
    }

    #[test]
    fn check_runner_runs_only_its_configured_programs() {
        let (mut role, thread) = begin(&["sh", "/nonexistent"]);
        let script = "exit $HAPROXY_SERVER_ID";
        for (command, variable, want) in [
            ("sh", "HAPROXY_SERVER_ID", ExternalEnd::Exited(7)),
            ("/nonexistent", "HAPROXY_A", ExternalEnd::NotStarted(2)),
            ("/bin/sh", "HAPROXY_A", ExternalEnd::NotAllowed),
            ("sh", "LD_PRELOAD", ExternalEnd::NotAllowed),
        ] {
            ask(&mut role, 5, command, &["-c", script], variable);
            let result = ExternalResult { id: 5, end: want };
            assert_eq!(hear(&mut role), result, "{command} {variable}");
        }
        drop(role);
        assert!(thread.join().unwrap());
    }

    #[test]
    fn check_programs_end_with_the_connection() {
        let scratch = lab::ScratchDirectory::new().unwrap();
        let file = scratch.path().join("pid");
        let (mut role, thread) = begin(&["sh"]);
        let script = format!(
            "echo $$ > {0}.part; mv {0}.part {0}; sleep 600",
            file.display()
        );
        ask(&mut role, 1, "sh", &["-c", &script], "HAPROXY_A");
        assert!(lab::eventually(LATEST, || file.exists()));
        let pid = std::fs::read_to_string(&file).unwrap();
        role.write_all(&[0xff; 64]).unwrap();
        assert!(!thread.join().unwrap());
        let gone = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
            stat.map_or(true, |stat| stat.contains(") Z "))
        };
        assert!(lab::eventually(LATEST, gone));
    }
}
