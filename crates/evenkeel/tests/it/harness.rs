//! Starts the binary under any name with a time limit, and returns its exit code and output.

use lab::ScratchDirectory;
use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Timeout for each command.
pub const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub struct CommandOutput {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl CommandOutput {
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Returns standard error without process and version numbers, and without the lines that
    /// introduce the program.
    pub fn messages(&self) -> Vec<String> {
        let lines = self.stderr.lines().filter(|line| {
            !line.contains("haproxy version is") && !line.contains("path to executable is")
        });
        lines.map(without_pid).collect()
    }
}

fn without_pid(line: &str) -> String {
    match (line.find('('), line.find(") : ")) {
        (Some(open), Some(close)) if line.starts_with('[') && open < close => {
            format!("{}(PID){}", &line[..open], &line[close + 1..])
        }
        _ => line.to_owned(),
    }
}

/// A directory with the binary under the name `haproxy`.
pub struct Bench {
    pub scratch: ScratchDirectory,
    pub haproxy: PathBuf,
}

impl Bench {
    pub fn new() -> Bench {
        let scratch = ScratchDirectory::new().unwrap();
        let haproxy = scratch.path().join("haproxy");
        std::os::unix::fs::symlink(evenkeel(), &haproxy).unwrap();
        Bench { scratch, haproxy }
    }

    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        self.scratch.write(name, text).unwrap()
    }

    /// Writes a configuration that listens on this port, and returns its path.
    pub fn listening(&self, port: u16, global: &str) -> PathBuf {
        self.file("listening.cfg", &listening(port, global))
    }

    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> CommandOutput {
        run(&self.haproxy, self.scratch.path(), arguments)
    }

    /// Runs the real haproxy; None if it is not installed and not required.
    pub fn oracle<A: AsRef<OsStr>>(
        &self,
        test: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Option<CommandOutput> {
        lab::may_run(test, lab::installed("haproxy"))
            .then(|| run(&oracle_path(), self.scratch.path(), arguments))
    }
}

pub fn listening(port: u16, global: &str) -> String {
    format!(
        "global\n    maxconn 50\n{global}\ndefaults\n    mode http\n    timeout client 5s\n    timeout server 5s\n    \
         timeout connect 5s\nfrontend web\n    bind 127.0.0.1:{port}\n    default_backend app\nbackend app\n    \
         server one 127.0.0.1:9\n"
    )
}

pub fn evenkeel() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_evenkeel"))
}

pub fn oracle_path() -> PathBuf {
    let found = [
        "/usr/sbin/haproxy",
        "/usr/bin/haproxy",
        "/usr/local/sbin/haproxy",
    ];
    found
        .iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
        .unwrap_or_else(|| "haproxy".into())
}

pub fn run<A: AsRef<OsStr>>(
    program: &Path,
    directory: &Path,
    arguments: impl IntoIterator<Item = A>,
) -> CommandOutput {
    finish(start(program, directory, arguments))
}

/// Runs a program with additional environment variables.
pub fn run_with<A: AsRef<OsStr>>(
    program: &Path,
    directory: &Path,
    arguments: impl IntoIterator<Item = A>,
    variables: &[(&str, &str)],
) -> CommandOutput {
    finish(start_with(program, directory, arguments, variables))
}

pub fn start<A: AsRef<OsStr>>(
    program: &Path,
    directory: &Path,
    arguments: impl IntoIterator<Item = A>,
) -> Child {
    start_with(program, directory, arguments, &[])
}

/// Starts a program with additional environment variables.
pub fn start_with<A: AsRef<OsStr>>(
    program: &Path,
    directory: &Path,
    arguments: impl IntoIterator<Item = A>,
    variables: &[(&str, &str)],
) -> Child {
    lab::with_default_signals(&mut Command::new(program))
        .args(arguments)
        .current_dir(directory)
        .env_remove("NO_COLOR")
        .env_remove("COLUMNS")
        // Isolates the runtime directory, so that supervisors of other tests are not found.
        .env("EVENKEEL_RUNTIME_DIRECTORY", directory.join("runtime"))
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits for the end of the process and of its standard streams.
pub fn finish(mut child: Child) -> CommandOutput {
    let mut streams = (child.stdout.take(), child.stderr.take());
    let reader = std::thread::spawn(move || {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        if let Some(stream) = &mut streams.0 {
            stream.read_to_string(&mut stdout).unwrap();
        }
        if let Some(stream) = &mut streams.1 {
            stream.read_to_string(&mut stderr).unwrap();
        }
        (stdout, stderr)
    });
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if began.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("the command did not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    // Fails early: a stream that a background process keeps open would block the join.
    assert!(
        lab::eventually(PATIENCE, || reader.is_finished()),
        "a standard stream stays open"
    );
    let (stdout, stderr) = reader.join().unwrap();
    CommandOutput {
        status,
        stdout,
        stderr,
    }
}
