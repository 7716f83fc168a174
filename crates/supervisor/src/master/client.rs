//! Serves one session at the master socket. Sessions never block the supervisor: input and unsent
//! output are bounded, and a session that does not read its output is not processed further. A
//! command for a worker uses a socket pair of its own; the worker gets one end.

use super::command::{self, CommandTarget, MasterCommand, SessionCommand};
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

const LINE_MAX: usize = 16 * 1024;
const COMMANDS_MAX: usize = 1_024;
/// Size of unsent output, in bytes, from which a session is not processed further.
const OUTPUT_MAX: usize = 64 * 1024;
/// Maximum size of a payload that waits for a worker, in bytes.
const OUTGOING_MAX: usize = 64 * 1024;
/// Maximum number of steps of one session before the others are served.
const STEPS_MAX: usize = 64;
const READ_BYTES: usize = 16 * 1024;
const PAYLOAD_MARK: &str = "<<";
const DENIED: &str = "Permission denied\n\n";
/// Message with which a session ends whose client requests a higher level than the session has, as
/// in HAProxy.
const DENIED_LEVEL: &str = "Permission denied!\n";

#[derive(Debug)]
pub enum SupervisorRequest {
    Reload(u64),
    Operate {
        /// Process id of the worker that the command is sent to.
        pid: i32,
        level: Level,
        socket: OwnedFd,
    },
}

/// Data that a session needs while it is served.
pub struct SessionContext<'t> {
    pub view: &'t View,
    pub sockets: &'t str,
    /// Requests of the sessions to the supervisor, collected here.
    pub wishes: &'t mut Vec<SupervisorRequest>,
}

pub struct Client {
    pub id: u64,
    pub heard: Instant,
    socket: OwnedFd,
    level: Level,
    prompt: bool,
    target: CommandTarget,
    input: Vec<u8>,
    /// True if the client has closed its sending side.
    ended: bool,
    /// Commands of the line that were not executed yet.
    commands: VecDeque<String>,
    /// True if the last of the remaining commands has a payload.
    payload: bool,
    output: Vec<u8>,
    state: MasterClientState,
    /// True if the session had more to do than one turn allows.
    busy: bool,
}

/// The state of an idle session, for the next program image.
pub struct SavedSession<'c> {
    pub socket: &'c OwnedFd,
    pub level: Level,
    pub prompt: bool,
    /// True if the session waits for the result of a reload.
    pub waits: bool,
    /// Selected worker; None for the master.
    pub worker: Option<i32>,
    /// Input that is not a complete line yet.
    pub input: &'c [u8],
}

enum MasterClientState {
    Reading,
    Waiting,
    Forwarding(Forward),
    /// Ends once the client has read all output.
    Leaving,
}

/// Command that was sent to a worker, and its connection.
struct Forward {
    socket: OwnedFd,
    pid: i32,
    outgoing: Vec<u8>,
    payload: bool,
    /// True if the sending side to the worker was shut down.
    shut: bool,
}

enum LineRead {
    Line(Vec<u8>),
    Nothing,
    TooLong,
}

impl Client {
    pub fn new(id: u64, socket: OwnedFd, level: Level, now: Instant) -> Client {
        Client {
            id,
            heard: now,
            socket,
            level,
            prompt: false,
            target: CommandTarget::Master,
            input: Vec::new(),
            ended: false,
            commands: VecDeque::new(),
            payload: false,
            output: Vec::new(),
            state: MasterClientState::Reading,
            busy: false,
        }
    }

    /// Returns whether the session waits for a reload or for a worker.
    pub fn waits(&self) -> bool {
        matches!(
            self.state,
            MasterClientState::Waiting | MasterClientState::Forwarding(_)
        )
    }

    /// Returns whether the session has no unfinished command and no unsent output; it may wait for
    /// a reload. The next program image can continue such a session.
    pub fn is_quiet(&self) -> bool {
        let rests = matches!(
            self.state,
            MasterClientState::Reading | MasterClientState::Waiting
        );
        rests && !self.busy && self.output.is_empty() && self.commands.is_empty()
    }

    /// Returns the state for the next program image; None if the session is not idle.
    pub fn kept(&self) -> Option<SavedSession<'_>> {
        self.is_quiet().then_some(SavedSession {
            socket: &self.socket,
            level: self.level,
            prompt: self.prompt,
            waits: matches!(self.state, MasterClientState::Waiting),
            worker: match self.target {
                CommandTarget::Master => None,
                CommandTarget::Worker(pid) => Some(pid),
            },
            input: &self.input,
        })
    }

    pub fn resume(
        mut self,
        prompt: bool,
        waits: bool,
        worker: Option<i32>,
        input: &[u8],
    ) -> Client {
        self.prompt = prompt;
        self.target = worker.map_or(CommandTarget::Master, CommandTarget::Worker);
        self.input
            .extend_from_slice(&input[..input.len().min(LINE_MAX)]);
        if waits {
            self.state = MasterClientState::Waiting;
        }
        // Marks the session as busy, because the restored input may already contain a line.
        self.busy = !waits;
        self
    }

    /// Returns the descriptors to poll. A descriptor that cannot make progress is left out, because
    /// one whose peer has closed is always ready.
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
            MasterClientState::Forwarding(forward) => Some(forward),
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
            MasterClientState::Reading => true,
            MasterClientState::Forwarding(forward) => forward.payload,
            MasterClientState::Waiting | MasterClientState::Leaving => false,
        };
        wants && !self.ended && self.input.len() <= LINE_MAX
    }

    pub fn make_progress(&mut self, turn: &mut SessionContext<'_>) -> bool {
        if self.read(turn.view.now).is_err() || self.flush().is_err() {
            return false;
        }
        self.busy = true;
        for _ in 0..STEPS_MAX {
            let full = self.output.len() >= OUTPUT_MAX;
            let went_on = match &self.state {
                _ if full => break,
                MasterClientState::Reading => self.next(turn),
                MasterClientState::Forwarding(_) => self.relay(turn.view),
                MasterClientState::Waiting | MasterClientState::Leaving => false,
            };
            if !went_on {
                self.busy = false;
                break;
            }
        }
        let left = matches!(self.state, MasterClientState::Leaving);
        self.flush().is_ok() && !(left && self.output.is_empty())
    }

    pub fn report_reload_result(&mut self, success: bool, text: &str) {
        if matches!(self.state, MasterClientState::Waiting) {
            self.say(&format!("Success={}\n--\n{text}\n", u8::from(success)));
            self.state = MasterClientState::Leaving;
        }
    }

    /// Sends as much output as the client accepts at once.
    pub fn end(&mut self) {
        // The error is ignored: a client that has disconnected or does not read misses the output.
        let _ = self.flush();
    }

    fn say(&mut self, text: &str) {
        self.output.extend_from_slice(text.as_bytes());
    }

    fn leave(&mut self, text: &str) {
        self.say(text);
        self.state = MasterClientState::Leaving;
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

    fn take_line(&mut self) -> LineRead {
        let end = self.input.iter().position(|byte| *byte == b'\n');
        match end {
            Some(at) if at <= LINE_MAX => {
                let rest = self.input.split_off(at + 1);
                LineRead::Line(std::mem::replace(&mut self.input, rest))
            }
            None if self.input.len() <= LINE_MAX => {
                // At the end of the input, takes the rest as a line: the last one may lack its line
                // end.
                if self.ended && !self.input.is_empty() {
                    LineRead::Line(std::mem::take(&mut self.input))
                } else {
                    LineRead::Nothing
                }
            }
            _ => LineRead::TooLong,
        }
    }

    fn too_long(&mut self) {
        self.leave(&format!("The line is longer than {LINE_MAX} bytes.\n\n"));
    }

    /// Runs the next command. Returns false if there is none.
    fn next(&mut self, turn: &mut SessionContext<'_>) -> bool {
        if let Some(command) = self.commands.pop_front() {
            let payload = self.payload && self.commands.is_empty();
            self.run(&command, payload, turn);
            return true;
        }
        match self.take_line() {
            LineRead::Line(line) => self.begin_line(&String::from_utf8_lossy(&line)),
            LineRead::TooLong => self.too_long(),
            LineRead::Nothing if self.ended => self.state = MasterClientState::Leaving,
            LineRead::Nothing => return false,
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

    fn run(&mut self, command: &str, payload: bool, turn: &mut SessionContext<'_>) {
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
            Some(SessionCommand::Quit) => {
                self.prompt(turn.view);
                self.state = MasterClientState::Leaving;
            }
            Some(SessionCommand::Prompt) => {
                self.prompt = !self.prompt;
                self.prompt(turn.view);
            }
            Some(SessionCommand::Lower(level)) if level > self.level => self.leave(DENIED_LEVEL),
            Some(SessionCommand::Lower(level)) => {
                self.level = level;
                self.prompt(turn.view);
            }
        }
    }

    fn prompt(&mut self, view: &View) {
        if !self.prompt {
            return;
        }
        let prompt = match self.target {
            CommandTarget::Master if view.failed > 0 => "master[ReloadFailed]> ".to_owned(),
            CommandTarget::Master => "master> ".to_owned(),
            CommandTarget::Worker(pid) => format!("{pid}> "),
        };
        self.say(&prompt);
    }

    fn run_at(
        &mut self,
        target: CommandTarget,
        command: &str,
        payload: bool,
        turn: &mut SessionContext<'_>,
    ) {
        let pid = match target {
            CommandTarget::Master => return self.run_here(command, turn),
            CommandTarget::Worker(pid) => pid,
        };
        if !turn.view.knows(pid) {
            return self.leave(&command::no_such_process(&format!("@!{pid}")));
        }
        let (line, payload) = self.line_for_worker(target, command, payload, turn.view);
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        match socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None) {
            Ok((ours, theirs)) => {
                let mark = if payload { " <<" } else { "" };
                turn.wishes.push(SupervisorRequest::Operate {
                    pid,
                    level: self.level,
                    socket: theirs,
                });
                self.state = MasterClientState::Forwarding(Forward {
                    socket: ours,
                    pid,
                    outgoing: format!("{line}{mark}\n").into_bytes(),
                    payload,
                    shut: false,
                });
            }
            Err(errno) => {
                self.leave(&format!("The process {pid} cannot be asked: {errno}\n\n"));
            }
        }
    }

    /// Returns the line for a worker, and whether a payload follows: a command, and the commands
    /// after it for the same worker. They share a session of the worker: `expert-mode on` holds for
    /// the rest.
    fn line_for_worker(
        &mut self,
        target: CommandTarget,
        command: &str,
        mut payload: bool,
        view: &View,
    ) -> (String, bool) {
        let mut line = command.trim().to_owned();
        // Sends each command alone if the session has a prompt, because a prompt follows each
        // command.
        while target == self.target
            && !self.prompt
            && let Some(next) = self.commands.pop_front()
        {
            if command::prefixed(&next, view).is_some() || command::own(&next).is_some() {
                self.commands.push_front(next);
                break;
            }
            line.push(';');
            line.push_str(next.trim());
            payload = self.payload && self.commands.is_empty();
        }
        (line, payload)
    }

    fn run_here(&mut self, command: &str, turn: &mut SessionContext<'_>) {
        match command::asked(command, turn.view) {
            MasterCommand::Text(text) => self.say(&text),
            MasterCommand::Sockets => self.say(turn.sockets),
            MasterCommand::Level => self.say(&format!("{}\n\n", command::level(self.level))),
            MasterCommand::Reload if self.level < Level::Operator => self.say(DENIED),
            MasterCommand::Reload => {
                turn.wishes.push(SupervisorRequest::Reload(self.id));
                self.state = MasterClientState::Waiting;
                return;
            }
        }
        self.prompt(turn.view);
    }

    /// Moves data between the session and a worker. Returns false if there is nothing to move.
    fn relay(&mut self, view: &View) -> bool {
        // The state is moved out, so that the session's buffers can be changed.
        let MasterClientState::Forwarding(mut forward) =
            std::mem::replace(&mut self.state, MasterClientState::Reading)
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
                self.state = MasterClientState::Forwarding(forward);
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => {
                self.state = MasterClientState::Forwarding(forward);
                more
            }
            // Ends the command at the end of the response or of the worker.
            Ok(_) | Err(_) => {
                let pid = forward.pid;
                if !view.knows(pid) {
                    self.say(&format!("The process {pid} ended before it answered.\n\n"));
                }
                if forward.payload {
                    // Ends the session in the middle of a payload, because the rest of the input is
                    // not a command.
                    self.state = MasterClientState::Leaving
                } else {
                    self.prompt(view)
                }
                true
            }
        }
    }

    /// Forwards complete payload lines as far as there is room. Returns false for a line that is
    /// too long.
    fn take_payload(&mut self, forward: &mut Forward) -> bool {
        while forward.payload && forward.outgoing.len() < OUTGOING_MAX {
            match self.take_line() {
                LineRead::Line(line) => {
                    forward.payload = !line.trim_ascii_end().is_empty();
                    forward.outgoing.extend_from_slice(&line);
                }
                LineRead::Nothing if self.ended => forward.payload = false,
                LineRead::Nothing => break,
                LineRead::TooLong => return false,
            }
        }
        true
    }
}

impl Forward {
    fn send(&mut self) {
        if flush(&self.socket, &mut self.outgoing).is_err() {
            // Drops the input, of which the worker reads no more; its response must still be read.
            self.outgoing.clear();
        }
        if self.outgoing.is_empty() && !self.payload && !self.shut {
            self.shut = true;
            // Ignored: a worker that has ended is noticed by its missing response.
            let _ = shutdown(&self.socket, Shutdown::Write);
        }
    }
}

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
