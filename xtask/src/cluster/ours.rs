//! Starts two nodes and an arbiter of Evenkeel, and implements a client of a member's control
//! socket.

use super::ensemble::{Client, Member, Seat, Standing};
use super::error::Error;
use cluster::request::{self, AskError, ControlReply, Request, SOCKET};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Port for connections between members.
const MEMBERS: u16 = 7443;

/// Maximum number of attempts of a command, which fails until the cluster has a leader.
const COMMAND_TRIES: usize = 100;
const COMMAND_PAUSE: Duration = Duration::from_millis(100);

/// Minimum time between a refused request and the next one.
const REFUSED_PAUSE: Duration = Duration::from_millis(2);

/// Starts the members: the first one creates the cluster, and the others join it.
pub fn start(program: &Path, seats: Vec<Seat>) -> Result<Vec<Member>, Error> {
    let mut members: Vec<Member> = Vec::new();
    for seat in seats {
        let seat = Ours { program, seat };
        let last = members.len() == 2;
        match (members.first(), last) {
            (None, _) => seat.command(&["cluster", "init", "bench"], true)?,
            (Some(first), false) => {
                let token = token(program, first, &["cluster", "invite"])?;
                seat.command(&["cluster", "join", &token], true)?
            }
            (Some(first), true) => {
                let token = token(program, first, &["cluster", "invite", "--arbiter"])?;
                seat.command(&["arbiter", "join", &token], true)?
            }
        };
        members.push(seat.run(!last)?);
    }
    Ok(members)
}

/// A host on which Evenkeel will run.
struct Ours<'p> {
    program: &'p Path,
    seat: Seat,
}

fn state(directory: &Path) -> PathBuf {
    directory.join("state")
}

/// Returns the runtime directory of a member whose files are in this directory.
pub fn runtime(directory: &Path) -> PathBuf {
    directory.join("run")
}

fn command(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("EVENKEEL_RUNTIME_DIRECTORY", runtime(directory));
    command
}

impl Ours<'_> {
    fn command(&self, words: &[&str], joins: bool) -> Result<String, Error> {
        let directory = self.seat.scratch.path();
        let mut command = command(self.program, directory);
        command
            .args(words)
            .arg("--state")
            .arg(state(directory))
            .args(["--name", self.seat.name]);
        if joins {
            let listen = SocketAddr::from((self.seat.address, MEMBERS));
            command.args(["--listen", &listen.to_string()]);
        }
        Ok(self.seat.host.run(command)?)
    }

    fn run(self, node: bool) -> Result<Member, Error> {
        let directory = self.seat.scratch.path();
        let mut command = command(self.program, directory);
        command.args(["run", "--state"]).arg(state(directory));
        Ok(Member {
            process: self.seat.spawn(command)?,
            address: SocketAddr::from((self.seat.address, MEMBERS)),
            host: self.seat.host,
            scratch: self.seat.scratch,
            node,
        })
    }
}

/// Requests a token from a member until the member can issue one.
fn token(program: &Path, member: &Member, words: &[&str]) -> Result<String, Error> {
    let directory = member.scratch.path();
    let mut tries = 0;
    loop {
        let mut command = command(program, directory);
        command.args(words);
        match member.host.run(command) {
            Ok(said) => {
                let token = said
                    .split_whitespace()
                    .find(|word| word.starts_with("EK1-"));
                return token.map(str::to_owned).ok_or(Error::NoToken(said.clone()));
            }
            Err(error) if tries == COMMAND_TRIES => return Err(error.into()),
            Err(_) => {
                tries += 1;
                std::thread::sleep(COMMAND_PAUSE);
            }
        }
    }
}

/// Configuration that both nodes serve.
const SERVED: &str = "\
defaults
    mode http
    timeout connect 2s
    timeout client 10s
    timeout server 10s
frontend www
    bind :80
    http-request return status 200 content-type text/plain string WORD
";

/// Applies a configuration with a word at both nodes.
pub fn apply(program: &Path, member: &Member, word: &str) -> Result<(), Error> {
    apply_text(program, member, &SERVED.replace("WORD", word), word)
}

/// Applies a configuration at both nodes, with a message for its history.
pub fn apply_text(program: &Path, member: &Member, text: &str, words: &str) -> Result<(), Error> {
    let directory = member.scratch.path();
    let file = member.scratch.write("site.cfg", text)?;
    let mut command = command(program, directory);
    command.args(["config", "apply"]).arg(file);
    command.arg("--state").arg(state(directory));
    command.args(["--now", "-m", words]);
    member.host.run(command)?;
    Ok(())
}

/// Runs a command at a running member.
pub fn ask(program: &Path, member: &Member, words: &[&str]) -> Result<String, Error> {
    let mut command = command(program, member.scratch.path());
    command.args(words);
    Ok(member.host.run(command)?)
}

/// A client of one member, which keeps its connection while the member responds.
#[derive(Debug)]
pub struct Asker {
    socket: PathBuf,
    connection: Option<request::Client>,
}

impl Asker {
    pub fn connect(member: &Member) -> Asker {
        let socket = runtime(member.scratch.path()).join(SOCKET);
        Asker {
            socket,
            connection: None,
        }
    }

    fn ask(&mut self, asked: &Request, limit: Duration) -> Option<ControlReply> {
        let begun = Instant::now();
        let reply = self.ask_once(asked, limit);
        if reply.is_err() {
            self.connection = None;
            std::thread::sleep(REFUSED_PAUSE.saturating_sub(begun.elapsed()));
        }
        reply.ok()
    }

    fn ask_once(&mut self, asked: &Request, limit: Duration) -> Result<ControlReply, AskError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(request::Client::connect(&self.socket)?),
        };
        connection.done(asked, limit, |_| ())
    }
}

impl Client for Asker {
    fn standing(&mut self, limit: Duration) -> Option<Standing> {
        let Some(ControlReply::Json(text)) = self.ask(&Request::Status, limit) else {
            return None;
        };
        let status: serde_json::Value = serde_json::from_str(&text).ok()?;
        Some(Standing {
            own: status["me"].as_u64()?,
            leader: status["leader"].as_u64(),
            term: status["log"]["term"].as_u64()?,
        })
    }

    fn write(&mut self, text: &str, limit: Duration) -> bool {
        let words = text.to_owned();
        matches!(
            self.ask(&Request::Note { words }, limit),
            Some(ControlReply::Done { .. })
        )
    }
}
