//! Runs a member of the demo's cluster: a process tree of this program in a lab host, with its
//! state and its runtime directory below the directory of the demo.

use super::ends::DemoInput;
use super::error::PlatformError;
use namespace::{LabError, LabHost, LabProcess};
use part::spawn::OWN_PROGRAM;
use serde_json::Value;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

pub const STEP_TIMEOUT: Duration = Duration::from_secs(60);
const CLUSTER_PORT: u16 = 7443;
pub const CONSOLE_PORT: u16 = 8600;
const OUTPUT_LINES: usize = 8;

#[derive(Debug)]
pub struct PlatformMember {
    process: Option<LabProcess>,
    pub host: LabHost,
    number: u8,
    directory: PathBuf,
}

impl PlatformMember {
    /// Creates the directory of a host that is no member yet. The host's addresses end in `number`.
    ///
    /// # Errors
    /// Fails if its directory cannot be created.
    pub fn new(host: LabHost, number: u8, below: &Path) -> Result<PlatformMember, PlatformError> {
        let directory = below.join(host.name());
        fs::create_dir(&directory).map_err(PlatformError::system("create a directory"))?;
        Ok(PlatformMember {
            process: None,
            host,
            number,
            directory,
        })
    }

    pub fn name(&self) -> &str {
        self.host.name()
    }

    pub fn console() -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, CONSOLE_PORT))
    }

    fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(OWN_PROGRAM);
        command
            .arg0("evenkeel")
            .args(words)
            .env("EVENKEEL_RUNTIME_DIRECTORY", self.directory.join("run"))
            .stdin(Stdio::null());
        command
    }

    /// Runs a command of this program to its end.
    ///
    /// # Errors
    /// Fails if the command fails.
    pub fn run(&self, words: &[&str]) -> Result<String, LabError> {
        self.host.run(self.command(words))
    }

    /// Creates a cluster or joins one: `words` as in `cluster init shop`.
    ///
    /// # Errors
    /// Fails if the command fails.
    pub fn become_member(&self, words: &[&str]) -> Result<(), LabError> {
        let listen = SocketAddr::from(([10, 61, 0, self.number], CLUSTER_PORT)).to_string();
        let mut command = self.command(words);
        command.args(["--name", self.name(), "--listen", &listen]);
        command.arg("--state").arg(self.state());
        self.host.run(command).map(drop)
    }

    /// Starts the member, which runs until it is killed or dropped.
    ///
    /// # Errors
    /// Returns the system's error.
    pub fn start(&mut self) -> Result<(), PlatformError> {
        let failed = || PlatformError::system("write the output of a member");
        let mut options = File::options();
        options.create(true).append(true);
        let output = options.open(self.log()).map_err(failed())?;
        let errors = output.try_clone().map_err(failed())?;
        let mut command = self.command(&["run"]);
        command.arg("--state").arg(self.state());
        command.stdout(output).stderr(errors);
        self.process = Some(self.host.spawn(command)?);
        Ok(())
    }

    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill_tree();
        }
    }

    pub fn runs(&self) -> bool {
        self.process
            .as_ref()
            .is_some_and(|process| process.exit().is_none())
    }

    /// Runs a command until it succeeds: the member may still be starting, or elect a leader.
    ///
    /// # Errors
    /// Fails if the demo is ended, or after [`STEP_TIMEOUT`].
    pub fn retry(&self, ends: &DemoInput, words: &[&str]) -> Result<String, PlatformError> {
        let (mut printed, mut refusal) = (String::new(), String::new());
        let good = || match self.run(words) {
            Ok(text) => {
                printed = text;
                true
            }
            Err(error) => {
                refusal = error.to_string();
                false
            }
        };
        let done = ends.until(STEP_TIMEOUT, good, || self.late("a command"));
        match done {
            Err(PlatformError::Late { output, within, .. }) => Err(PlatformError::Late {
                what: format!(
                    "a success of evenkeel {} on {}",
                    words.join(" "),
                    self.name()
                ),
                within,
                output: format!("{refusal}\n{output}"),
            }),
            Err(error) => Err(error),
            Ok(()) => Ok(printed),
        }
    }

    /// Creates an invitation by a command, and returns its token.
    ///
    /// # Errors
    /// Fails if the demo is ended, after [`STEP_TIMEOUT`], or if no token is printed.
    pub fn invite(&self, ends: &DemoInput, words: &[&str]) -> Result<String, PlatformError> {
        let printed = self.retry(ends, words)?;
        let token = printed
            .split_whitespace()
            .find(|word| word.starts_with("EK1-"));
        let token = token.map(str::to_owned);
        token.ok_or_else(|| PlatformError::Output {
            command: "evenkeel cluster invite",
            wanted: "token",
            output: printed,
        })
    }

    /// Applies a configuration without judging it as a candidate (`--now`).
    ///
    /// # Errors
    /// Fails if the command fails.
    pub fn apply(&self, file: &Path) -> Result<(), LabError> {
        let mut command = self.command(&["config", "apply"]);
        command.arg(file).arg("--state").arg(self.state());
        command.args(["--now", "-m", "the platform of the demo"]);
        self.host.run(command).map(drop)
    }

    pub fn status(&self) -> Option<Value> {
        let printed = self.run(&["cluster", "status", "--json"]).ok()?;
        serde_json::from_str(&printed).ok()
    }

    pub fn late(&self, what: &str) -> PlatformError {
        PlatformError::Late {
            what: format!("{what} ({})", self.name()),
            within: STEP_TIMEOUT,
            output: self.output(),
        }
    }

    pub fn output(&self) -> String {
        let bytes = fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let first = lines.len().saturating_sub(OUTPUT_LINES);
        let last = lines.iter().skip(first);
        last.map(|line| format!("  {}: {line}\n", self.name()))
            .collect()
    }

    fn log(&self) -> PathBuf {
        self.directory.join("output")
    }
}

/// Creates a file that only its owner can read, because it contains the hash of a password.
///
/// # Errors
/// Returns the system's error.
pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = File::options();
    options.write(true).create_new(true).mode(0o600);
    options.open(path)?.write_all(text.as_bytes())
}
