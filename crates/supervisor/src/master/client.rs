//! One session at the master's socket. Nothing waits for it: what it sends and
//! what it does not fetch is bounded, and while it does not fetch, what it
//! asked goes no further. A command for a worker goes over a pair of sockets of
//! its own, of which the worker gets one end.

use super::command::{self, Asked, Own, Target};
use super::processes::View;
use part::role::Level;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, recv, send, shutdown,
    socketpair,
};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::Instant;

/// Longest line, bytes; also what is read ahead.
const LINE_MAX: usize = 16 * 1024;
/// Commands in one line.
const COMMANDS_MAX: usize = 1_024;
/// Bytes that may wait to be fetched before a session goes on.
const OUTPUT_MAX: usize = 64 * 1024;
/// Bytes of a payload that wait for a worker.
const OUTGOING_MAX: usize = 64 * 1024;
/// Steps of one session before the others have their turn.
const STEPS_MAX: usize = 64;
/// Bytes that are read at one time.
const READ_BYTES: usize = 16 * 1024;
/// The last word of a line that has a payload.
const PAYLOAD_MARK: &str = "<<";
const DENIED: &str = "Permission denied\n\n";
/// HAProxy ends the session with this.
const DENIED_LEVEL: &str = "Permission denied!\n";

/// What the supervisor is to do.
#[derive(Debug)]
pub enum Wish {
    /// Change, and tell this session.
    Reload(u64),
    /// Have a worker serve a connection.
    Operate {
        /// Which worker.
        pid: i32,
        /// What may be done there.
        level: Level,
        /// The worker's end.
        socket: OwnedFd,
    },
}

/// What is known while a session has its turn.
pub struct Turn<'t> {
    /// The processes.
    pub view: &'t View,
    /// The answer to `show cli sockets`.
    pub sockets: &'t str,
    /// What is to be done.
    pub wishes: &'t mut Vec<Wish>,
}

/// A session.
pub struct Client {
    /// Which one.
    pub id: u64,
    /// When it did something last.
    pub heard: Instant,
    socket: OwnedFd,
    level: Level,
    prompt: bool,
    target: Target,
    input: Vec<u8>,
    /// It sends no more.
    ended: bool,
    /// Commands of its line that are still to be done.
    commands: VecDeque<String>,
    /// The last of them has a payload.
    payload: bool,
    output: Vec<u8>,
    state: State,
    /// There was more to do than one turn allows.
    busy: bool,
}

/// A session in which nothing is half done.
pub struct Kept<'c> {
    /// Its connection.
    pub socket: &'c OwnedFd,
    /// What may be done there.
    pub level: Level,
    /// Who is asked is shown.
    pub prompt: bool,
    /// It waits for a change.
    pub waits: bool,
    /// The worker that is asked; None for the master.
    pub worker: Option<i32>,
    /// What it sent and is not a line yet.
    pub input: &'c [u8],
}

enum State {
    Reading,
    /// A change runs, whose end it is told.
    Waiting,
    Forwarding(Forward),
    /// It goes when it has fetched everything.
    Leaving,
}

/// A command that a worker answers.
struct Forward {
    socket: OwnedFd,
    pid: i32,
    outgoing: Vec<u8>,
    /// Lines of the payload are still to come.
    payload: bool,
    /// The worker knows that nothing comes any more.
    shut: bool,
}

/// A line, if there is one.
enum Taken {
    Line(Vec<u8>),
    Nothing,
    TooLong,
}

impl Client {
    /// One that was accepted.
    pub fn new(id: u64, socket: OwnedFd, level: Level, now: Instant) -> Client {
        Client {
            id,
            heard: now,
            socket,
            level,
            prompt: false,
            target: Target::Master,
            input: Vec::new(),
            ended: false,
            commands: VecDeque::new(),
            payload: false,
            output: Vec::new(),
            state: State::Reading,
            busy: false,
        }
    }

    /// Whether it waits for a change or for a worker.
    pub fn waits(&self) -> bool {
        matches!(self.state, State::Waiting | State::Forwarding(_))
    }

    /// Whether nothing of it is half done.
    pub fn is_quiet(&self) -> bool {
        let rests = matches!(self.state, State::Reading | State::Waiting);
        rests && !self.busy && self.output.is_empty() && self.commands.is_empty()
    }

    /// What the next image of this program needs to go on with it.
    pub fn kept(&self) -> Option<Kept<'_>> {
        self.is_quiet().then_some(Kept {
            socket: &self.socket,
            level: self.level,
            prompt: self.prompt,
            waits: matches!(self.state, State::Waiting),
            worker: match self.target {
                Target::Master => None,
                Target::Worker(pid) => Some(pid),
            },
            input: &self.input,
        })
    }

    /// Goes on with one of an image before.
    pub fn resume(
        mut self,
        prompt: bool,
        waits: bool,
        worker: Option<i32>,
        input: &[u8],
    ) -> Client {
        self.prompt = prompt;
        self.target = worker.map_or(Target::Master, Target::Worker);
        self.input
            .extend_from_slice(&input[..input.len().min(LINE_MAX)]);
        if waits {
            self.state = State::Waiting;
        }
        // There may be a line already.
        self.busy = !waits;
        self
    }

    /// What is to be watched. What would do nothing is not: a descriptor whose
    /// other end has gone is always ready.
    pub fn watched(&self) -> impl Iterator<Item = PollFd<'_>> {
        let mut own = PollFlags::empty();
        if self.reads() {
            own |= PollFlags::IN;
        }
        if !self.output.is_empty() || self.busy {
            own |= PollFlags::OUT;
        }
        let mut workers = PollFlags::empty();
        let worker = match &self.state {
            State::Forwarding(forward) => Some(forward),
            _ => None,
        };
        if let Some(forward) = worker {
            if self.output.len() < OUTPUT_MAX {
                workers |= PollFlags::IN;
            }
            if !forward.outgoing.is_empty() {
                workers |= PollFlags::OUT;
            }
        }
        let own = (!own.is_empty()).then(|| PollFd::new(&self.socket, own));
        let worker = worker
            .filter(|_| !workers.is_empty())
            .map(|forward| PollFd::new(&forward.socket, workers));
        own.into_iter().chain(worker)
    }

    fn reads(&self) -> bool {
        let wants = match &self.state {
            State::Reading => true,
            State::Forwarding(forward) => forward.payload,
            State::Waiting | State::Leaving => false,
        };
        wants && !self.ended && self.input.len() <= LINE_MAX
    }

    /// Does what can be done now; false when the session is over.
    pub fn turn(&mut self, turn: &mut Turn<'_>) -> bool {
        if self.read(turn.view.now).is_err() || self.flush().is_err() {
            return false;
        }
        self.busy = true;
        for _ in 0..STEPS_MAX {
            let full = self.output.len() >= OUTPUT_MAX;
            let went_on = match &self.state {
                _ if full => break,
                State::Reading => self.next(turn),
                State::Forwarding(_) => self.relay(turn.view),
                State::Waiting | State::Leaving => false,
            };
            if !went_on {
                self.busy = false;
                break;
            }
        }
        let left = matches!(self.state, State::Leaving);
        self.flush().is_ok() && !(left && self.output.is_empty())
    }

    /// A change that it asked for is over.
    pub fn tell(&mut self, success: bool, text: &str) {
        if matches!(self.state, State::Waiting) {
            self.say(&format!("Success={}\n--\n{text}\n", u8::from(success)));
            self.state = State::Leaving;
        }
    }

    /// Sends what is taken at once.
    pub fn end(&mut self) {
        // A client that has disconnected or does not read misses it.
        let _ = self.flush();
    }

    fn say(&mut self, text: &str) {
        self.output.extend_from_slice(text.as_bytes());
    }

    fn leave(&mut self, text: &str) {
        self.say(text);
        self.state = State::Leaving;
    }

    fn read(&mut self, now: Instant) -> Result<(), Errno> {
        if !self.reads() {
            return Ok(());
        }
        let mut bytes = [0; READ_BYTES];
        match recv(&self.socket, &mut bytes[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => self.ended = true,
            Ok((length, _)) => {
                self.heard = now;
                self.input.extend_from_slice(&bytes[..length]);
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Errno> {
        flush(&self.socket, &mut self.output)
    }

    fn take_line(&mut self) -> Taken {
        let end = self.input.iter().position(|byte| *byte == b'\n');
        match end {
            Some(at) if at <= LINE_MAX => {
                let rest = self.input.split_off(at + 1);
                Taken::Line(std::mem::replace(&mut self.input, rest))
            }
            None if self.input.len() <= LINE_MAX => {
                // A last line without its end is one all the same.
                match self.ended && !self.input.is_empty() {
                    true => Taken::Line(std::mem::take(&mut self.input)),
                    false => Taken::Nothing,
                }
            }
            _ => Taken::TooLong,
        }
    }

    fn too_long(&mut self) {
        self.leave(&format!("The line is longer than {LINE_MAX} bytes.\n\n"));
    }

    /// Does the next command; false when there is none.
    fn next(&mut self, turn: &mut Turn<'_>) -> bool {
        if let Some(command) = self.commands.pop_front() {
            let payload = self.payload && self.commands.is_empty();
            self.run(&command, payload, turn);
            return true;
        }
        match self.take_line() {
            Taken::Line(line) => self.begin_line(&String::from_utf8_lossy(&line)),
            Taken::TooLong => self.too_long(),
            Taken::Nothing if self.ended => self.state = State::Leaving,
            Taken::Nothing => return false,
        }
        true
    }

    fn begin_line(&mut self, line: &str) {
        let line = line.trim_end();
        let before = line.strip_suffix(PAYLOAD_MARK);
        let before = before.filter(|before| before.ends_with(char::is_whitespace));
        self.payload = before.is_some();
        let commands = command::split(before.unwrap_or(line));
        if commands.len() > COMMANDS_MAX {
            return self.leave(&format!(
                "The line has more than {COMMANDS_MAX} commands.\n\n"
            ));
        }
        self.commands = commands.into_iter().map(str::to_owned).collect();
    }

    fn run(&mut self, command: &str, payload: bool, turn: &mut Turn<'_>) {
        if let Some(prefixed) = command::prefixed(command, turn.view) {
            let Some(target) = prefixed.target else {
                return self.leave(&command::no_such_process(prefixed.word));
            };
            if !prefixed.rest.is_empty() {
                return self.run_at(target, prefixed.rest, payload, turn);
            }
            self.target = target;
            return self.prompt(turn.view);
        }
        match command::own(command) {
            None => self.run_at(self.target, command, payload, turn),
            Some(Own::Quit) => {
                self.prompt(turn.view);
                self.state = State::Leaving;
            }
            Some(Own::Prompt) => {
                self.prompt = !self.prompt;
                self.prompt(turn.view);
            }
            Some(Own::Lower(level)) if level > self.level => self.leave(DENIED_LEVEL),
            Some(Own::Lower(level)) => {
                self.level = level;
                self.prompt(turn.view);
            }
        }
    }

    /// Who is asked for the next command, where that is wanted.
    fn prompt(&mut self, view: &View) {
        if !self.prompt {
            return;
        }
        let prompt = match self.target {
            Target::Master if view.failed > 0 => "master[ReloadFailed]> ".to_owned(),
            Target::Master => "master> ".to_owned(),
            Target::Worker(pid) => format!("{pid}> "),
        };
        self.say(&prompt);
    }

    fn run_at(&mut self, target: Target, command: &str, payload: bool, turn: &mut Turn<'_>) {
        let pid = match target {
            Target::Master => return self.run_here(command, turn),
            Target::Worker(pid) => pid,
        };
        if !turn.view.knows(pid) {
            return self.leave(&command::no_such_process(&format!("@!{pid}")));
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        match socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None) {
            Ok((ours, theirs)) => {
                let mark = if payload { " <<" } else { "" };
                turn.wishes.push(Wish::Operate {
                    pid,
                    level: self.level,
                    socket: theirs,
                });
                self.state = State::Forwarding(Forward {
                    socket: ours,
                    pid,
                    outgoing: format!("{}{mark}\n", command.trim()).into_bytes(),
                    payload,
                    shut: false,
                });
            }
            Err(errno) => {
                self.leave(&format!("The process {pid} cannot be asked: {errno}\n\n"));
            }
        }
    }

    fn run_here(&mut self, command: &str, turn: &mut Turn<'_>) {
        match command::asked(command, turn.view) {
            Asked::Text(text) => self.say(&text),
            Asked::Sockets => self.say(turn.sockets),
            Asked::Level => self.say(&format!("{}\n\n", command::level(self.level))),
            Asked::Reload if self.level < Level::Operator => self.say(DENIED),
            Asked::Reload => {
                turn.wishes.push(Wish::Reload(self.id));
                self.state = State::Waiting;
                return;
            }
        }
        self.prompt(turn.view);
    }

    /// Moves what there is between the session and a worker; false when there
    /// is nothing to move.
    fn relay(&mut self, view: &View) -> bool {
        // Taken out while the session's own buffers are worked on.
        let State::Forwarding(mut forward) = std::mem::replace(&mut self.state, State::Reading)
        else {
            return false;
        };
        if !self.take_payload(&mut forward) {
            self.too_long();
            return true;
        }
        forward.send();
        let room = forward.payload && forward.outgoing.len() < OUTGOING_MAX;
        let more = room && (self.ended || self.input.contains(&b'\n'));
        let mut bytes = [0; READ_BYTES];
        match recv(&forward.socket, &mut bytes[..], RecvFlags::DONTWAIT) {
            Ok((length, _)) if length > 0 => {
                self.heard = view.now;
                self.output.extend_from_slice(&bytes[..length]);
                self.state = State::Forwarding(forward);
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => {
                self.state = State::Forwarding(forward);
                more
            }
            // The end of the answer, or of the worker.
            Ok(_) | Err(_) => {
                let pid = forward.pid;
                if !view.knows(pid) {
                    self.say(&format!("The process {pid} ended before it answered.\n\n"));
                }
                match forward.payload {
                    // What follows is not a command.
                    true => self.state = State::Leaving,
                    false => self.prompt(view),
                }
                true
            }
        }
    }

    /// Passes lines of a payload on, as far as there is room; false for one
    /// that is too long.
    fn take_payload(&mut self, forward: &mut Forward) -> bool {
        while forward.payload && forward.outgoing.len() < OUTGOING_MAX {
            match self.take_line() {
                Taken::Line(line) => {
                    forward.payload = !line.trim_ascii_end().is_empty();
                    forward.outgoing.extend_from_slice(&line);
                }
                Taken::Nothing if self.ended => forward.payload = false,
                Taken::Nothing => break,
                Taken::TooLong => return false,
            }
        }
        true
    }
}

impl Forward {
    fn send(&mut self) {
        if flush(&self.socket, &mut self.outgoing).is_err() {
            // It reads no more; what it answers is still to be fetched.
            self.outgoing.clear();
        }
        if self.outgoing.is_empty() && !self.payload && !self.shut {
            self.shut = true;
            // A worker that has gone is seen by what it does not answer.
            let _ = shutdown(&self.socket, Shutdown::Write);
        }
    }
}

/// Sends as much as is taken now.
fn flush(socket: &OwnedFd, bytes: &mut Vec<u8>) -> Result<(), Errno> {
    let mut sent = 0;
    while sent < bytes.len() {
        match send(
            socket,
            &bytes[sent..],
            SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
        ) {
            Ok(length) => sent += length,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => break,
            Err(errno) => return Err(errno),
        }
    }
    bytes.drain(..sent);
    Ok(())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
