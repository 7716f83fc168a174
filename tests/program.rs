//! Provides the programs under test: ours, built by this run, and the HAProxy with which it is
//! compared. An installed `evenkeel` is never used.

use lab::{LabError, Location, Peer, ScratchDirectory};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The serving program of a scenario that both have to pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Program {
    Evenkeel,
    Haproxy,
}

impl Program {
    pub const BOTH: [Program; 2] = [Program::Evenkeel, Program::Haproxy];

    /// Returns a command of this program that accepts haproxy's flags.
    pub fn command(self) -> Command {
        match self {
            Program::Evenkeel => {
                let mut command = Command::new(binary());
                command.arg("haproxy");
                command
            }
            Program::Haproxy => Command::new("/usr/sbin/haproxy"),
        }
    }

    /// Starts the program in the foreground with a configuration in a file, and waits until it
    /// responds.
    pub fn start(
        self,
        place: impl Into<Location>,
        config: &str,
        address: SocketAddr,
    ) -> Result<Peer, LabError> {
        match self {
            Program::Evenkeel => evenkeel(place, config, address),
            Program::Haproxy => Peer::haproxy(place, config, address),
        }
    }
}

/// Starts `evenkeel haproxy`, and waits until it responds.
pub fn evenkeel(
    place: impl Into<Location>,
    config: &str,
    address: SocketAddr,
) -> Result<Peer, LabError> {
    let binary = binary().display().to_string();
    let args = ["haproxy", "-db", "-f", "{dir}/config"];
    Peer::start(place, &binary, &args, config, address)
}

/// Returns the binary, built once per run by the cargo that runs the tests: cargo gives a test only
/// the paths of its own package's binaries.
pub fn binary() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build("evenkeel"))
}

/// Builds the binary of this name; returns its path.
pub fn build(name: &str) -> PathBuf {
    built("--bin", name)
}

/// Builds the example of this name; returns its path.
pub fn example(name: &str) -> PathBuf {
    built("--example", name)
}

/// Builds a binary or an example.
fn built(kind: &str, name: &str) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let output = Command::new(cargo)
        .current_dir(root())
        .args(["build", "--quiet", kind, name])
        // Whatever features `cargo test --workspace` gives the libraries, so that
        // nothing is built twice.
        .args(["--workspace", "--test", "scenarios"])
        .args(["--message-format", "json-render-diagnostics"])
        .args(["--profile", &profile()])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{name} does not build");
    let messages = String::from_utf8_lossy(&output.stdout);
    let built = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let of_binary = message["target"]["name"] == name;
        let executable = message["executable"].as_str()?;
        of_binary.then(|| PathBuf::from(executable))
    });
    built.expect("cargo tells where the binary is")
}

/// Returns the cargo profile of these tests, so that nothing is built twice.
fn profile() -> String {
    let own = std::env::current_exe().unwrap();
    let directory = own
        .parent()
        .and_then(Path::parent)
        .and_then(Path::file_name);
    match directory.and_then(|name| name.to_str()) {
        None | Some("debug") => "dev".to_owned(),
        Some(other) => other.to_owned(),
    }
}

/// Returns the root directory of the repository.
pub fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// Creates a link `haproxy` to the binary, which behaves as HAProxy under this name; returns the
/// path of the link.
pub fn link_named_haproxy(scratch: &ScratchDirectory) -> PathBuf {
    let link = scratch.path().join("haproxy");
    std::os::unix::fs::symlink(binary(), &link).unwrap();
    link
}
