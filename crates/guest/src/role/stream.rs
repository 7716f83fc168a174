//! Relays the commands of operators between this node and others ([`crate::remote`]): those of this
//! node's operators run on another node, those of other nodes' operators run here. Their bytes are
//! sent on connections of [`super::carrier`].

use super::GuestRole;
use super::carrier::OutgoingConnection;
use super::machine::GuestMachine;
use crate::clock::boottime_ms;
use crate::config::Console;
use crate::console;
use crate::display::Displays;
use crate::migration::{ConnectionPurpose, frame};
use crate::remote::{
    OpenRequest, Output, PIECE_BYTES_MAX, RemoteCommand, StreamRequest, StreamResponse,
};
use part::lock;
use part::report::Opens;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};
use std::thread;

/// Time after which a stream is closed that no command polls, milliseconds.
const KEPT_MS: u64 = 10_000;
const STREAMS_MAX: usize = 32;
const COMMANDS_MAX: usize = 16;
/// Maximum number of concurrent connections to displays and terminals: as many as the consoles of
/// two nodes may open, with four channels for each SPICE display.
const OPERATORS_MAX: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Streams {
    last: u64,
    all: BTreeMap<u64, RemoteStream>,
    commands: Arc<AtomicUsize>,
    operators: Arc<AtomicUsize>,
    displays: Arc<Displays>,
}

#[derive(Debug)]
struct RemoteStream {
    node: String,
    socket: UnixStream,
    line: OutgoingConnection,
    asked: u64,
}

impl Streams {
    pub(super) fn due(&self) -> Option<u64> {
        self.all.values().map(|one| one.asked + KEPT_MS).min()
    }

    pub(super) fn tidy(&mut self, now: u64) {
        self.all.retain(|_, one| now < one.asked + KEPT_MS);
    }
}

impl RemoteStream {
    fn pass(&mut self, bytes: &[u8]) -> StreamResponse {
        let mut passed = StreamResponse::default();
        let piece = bytes.get(..PIECE_BYTES_MAX).unwrap_or(bytes);
        // Counts a failed write as zero bytes: the end of the stream is reported after all of its
        // output.
        passed.taken = self.socket.write(piece).unwrap_or(0);
        let mut piece = vec![0; PIECE_BYTES_MAX];
        match self.socket.read(&mut piece) {
            Ok(0) => {
                passed.is_over = true;
                passed.words = match self.line.trouble() {
                    words if words.is_empty() => String::new(),
                    words => format!("node {}: {words}", self.node),
                };
            }
            Ok(count) => {
                piece.truncate(count);
                passed.bytes = piece;
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return StreamResponse::refused(format!("node {}: {error}", self.node)),
        }
        passed
    }
}

impl GuestRole {
    pub fn stream(&mut self, ask: &StreamRequest) -> StreamResponse {
        let now = boottime_ms();
        self.streams.tidy(now);
        let begun = match ask {
            StreamRequest::Begin { node, what } => self.begin_stream(node, what.clone(), now),
            StreamRequest::Pass { number, bytes } => {
                let Some(stream) = self.streams.all.get_mut(number) else {
                    return StreamResponse::refused("the guest role was restarted meanwhile");
                };
                stream.asked = now;
                let passed = stream.pass(bytes);
                if passed.is_over {
                    self.streams.all.remove(number);
                }
                Ok(StreamResponse {
                    number: *number,
                    ..passed
                })
            }
            StreamRequest::End { number } => {
                self.streams.all.remove(number);
                Ok(StreamResponse::default())
            }
        };
        begun.unwrap_or_else(StreamResponse::refused)
    }

    fn begin_stream(
        &mut self,
        node: &str,
        what: RemoteCommand,
        now: u64,
    ) -> Result<StreamResponse, String> {
        let carrier = self.moves.carrier.as_ref().filter(|one| one.is_ready());
        let carrier =
            carrier.ok_or_else(|| format!("node {node}: not connected to this node yet"))?;
        if self.streams.all.len() >= STREAMS_MAX {
            return Err("too many commands for other nodes are pending".to_owned());
        }
        let words = |error: io::Error| error.to_string();
        let (socket, local) = UnixStream::pair().map_err(words)?;
        socket.set_nonblocking(true).map_err(words)?;
        let line = carrier.dial(node, ConnectionPurpose::Remote(what), local);
        self.streams.last += 1;
        let number = self.streams.last;
        let stream = RemoteStream {
            node: node.to_owned(),
            socket,
            line,
            asked: now,
        };
        self.streams.all.insert(number, stream);
        Ok(StreamResponse {
            number,
            ..StreamResponse::default()
        })
    }

    pub(super) fn serve_stream(
        &mut self,
        what: &RemoteCommand,
        from: &str,
        give: &SyncSender<UnixStream>,
    ) {
        match what {
            RemoteCommand::Console { name, who } => {
                return self.serve_console(name, &of_node(who, from), give);
            }
            RemoteCommand::Display { name, who, what } => {
                return self.serve_display(name, *what, &of_node(who, from), give);
            }
            _ => {}
        }
        let Ok((own, local)) = UnixStream::pair() else {
            return;
        };
        if give.send(local).is_err() {
            return;
        }
        let running = Arc::clone(&self.streams.commands);
        if running.fetch_add(1, Ordering::Relaxed) >= COMMANDS_MAX {
            running.fetch_sub(1, Ordering::Relaxed);
            return ended(
                &own,
                Err("too many commands of other nodes are running".to_owned()),
            );
        }
        let (program, what) = (self.place.commands.clone(), what.clone());
        let counted = Arc::clone(&running);
        let spawned = thread::Builder::new()
            .name("guest/command".to_owned())
            .spawn(move || {
                let done = run(&program, &what, &own);
                ended(&own, done);
                counted.fetch_sub(1, Ordering::Relaxed);
            });
        if spawned.is_err() {
            running.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl GuestRole {
    /// Connects an operator with the display or terminal of a guest on any node. `who`: the user,
    /// and where that user is signed in.
    ///
    /// # Errors
    /// The guest does not run, its display or terminal is in use or cannot be reached, or its node
    /// is not connected.
    pub fn open(
        &mut self,
        ask: &OpenRequest,
        who: &str,
        operator: UnixStream,
    ) -> Result<String, String> {
        let name = &ask.name;
        let holder = self.agreement.holder(name);
        if holder.is_empty() || holder == self.guests.me {
            match ask.what {
                Opens::Display | Opens::Spice => {
                    let (display, begins) = self.display(name, Some(ask.what), who)?;
                    self.connect(operator, display, begins)?;
                }
                Opens::Terminal => {
                    let (terminal, taken) = self.terminal(name, who)?;
                    self.connect(operator, terminal, OperatorConnection::Has(taken))?;
                }
            }
            return Ok(String::new());
        }
        let carrier = self.moves.carrier.as_ref().filter(|one| one.is_ready());
        let carrier =
            carrier.ok_or_else(|| format!("node {holder}: not connected to this node yet"))?;
        let name = name.clone();
        let who = who.to_owned();
        let what = match ask.what {
            what @ (Opens::Display | Opens::Spice) => {
                let what = Some(what);
                RemoteCommand::Display { name, who, what }
            }
            Opens::Terminal => RemoteCommand::Console { name, who },
        };
        carrier.dial(holder, ConnectionPurpose::Remote(what), operator);
        Ok(format!("on {holder}"))
    }

    fn running(&self, name: &str) -> Result<&GuestMachine, String> {
        let machine = self
            .machines
            .get(name)
            .filter(|machine| machine.life.is_there());
        machine.ok_or_else(|| format!("guest {name} does not run"))
    }

    /// Connects to the terminal of a guest that runs on this node. The returned file is the
    /// operator's lock on the terminal.
    fn terminal(&self, name: &str, who: &str) -> Result<(UnixStream, File), String> {
        let home = &self.running(name)?.home;
        let taken = console::take(home.path(), who)?;
        let socket = UnixStream::connect(home.serial());
        let socket = socket.map_err(|error| format!("the terminal of guest {name}: {error}"));
        Ok((socket?, taken))
    }

    /// Connects to the display of a guest that runs here. `what`: the protocol that the operator's
    /// page speaks; `None`: any. Also returns how the operator's connection starts.
    fn display(
        &self,
        name: &str,
        what: Option<Opens>,
        who: &str,
    ) -> Result<(UnixStream, OperatorConnection), String> {
        let home = &self.running(name)?.home;
        let begins = match self.screen(name) {
            Some(has) if what.is_some_and(|what| what != has) => {
                return Err(other_display(name, has));
            }
            Some(Opens::Spice) => OperatorConnection::Spice(name.to_owned(), who.to_owned()),
            Some(_) => OperatorConnection::AtOnce,
            None => return Err(format!("guest {name} has no display: see `console`")),
        };
        let socket = UnixStream::connect(home.display());
        let socket = socket.map_err(|error| format!("the display of guest {name}: {error}"));
        Ok((socket?, begins))
    }

    /// Returns the protocol of a guest's display, if it has one. For a running guest, the settings
    /// at its start count.
    pub(super) fn screen(&self, name: &str) -> Option<Opens> {
        let machine = self
            .machines
            .get(name)
            .filter(|machine| machine.life.is_there());
        let started_as = machine.and_then(|machine| machine.started_as.as_ref());
        match started_as.or_else(|| self.guests.guests.get(name))?.console {
            Console::Vnc => Some(Opens::Display),
            Console::Spice => Some(Opens::Spice),
            Console::Serial => None,
        }
    }

    fn connect(
        &self,
        operator: UnixStream,
        guest: UnixStream,
        begins: OperatorConnection,
    ) -> Result<(), String> {
        let running = Arc::clone(&self.streams.operators);
        if running.fetch_add(1, Ordering::Relaxed) >= OPERATORS_MAX {
            running.fetch_sub(1, Ordering::Relaxed);
            return Err(format!(
                "{OPERATORS_MAX} displays and terminals are in use on this node"
            ));
        }
        let counted = Arc::clone(&running);
        let displays = Arc::clone(&self.streams.displays);
        let spawned = thread::Builder::new()
            .name("guest/operator".to_owned())
            .spawn(move || {
                match begins {
                    OperatorConnection::AtOnce => console::pass(&operator, &guest),
                    OperatorConnection::Has(taken) => {
                        console::pass(&operator, &guest);
                        drop(taken);
                    }
                    OperatorConnection::Spice(name, who) => {
                        displays.pass(&name, &who, operator, &guest)
                    }
                }
                counted.fetch_sub(1, Ordering::Relaxed);
            });
        spawned.map(drop).map_err(|error| {
            running.fetch_sub(1, Ordering::Relaxed);
            error.to_string()
        })
    }

    fn serve_display(
        &self,
        name: &str,
        what: Option<Opens>,
        who: &str,
        give: &SyncSender<UnixStream>,
    ) {
        let refused = match what.or_else(|| self.screen(name)) {
            Some(Opens::Spice) => refused,
            _ => refused_display,
        };
        serve_operator(give, refused, |operator| {
            let (display, begins) = self.display(name, what, who)?;
            self.connect(operator, display, begins)
        });
    }

    fn serve_console(&self, name: &str, who: &str, give: &SyncSender<UnixStream>) {
        serve_operator(give, refused, |operator| {
            let (terminal, taken) = self.terminal(name, who)?;
            self.connect(operator, terminal, OperatorConnection::Has(taken))
        });
    }
}

/// Start of an operator's connection to a display or terminal.
enum OperatorConnection {
    AtOnce,
    /// The connection holds this lock, which excludes other operators.
    Has(File),
    /// The connection is a SPICE channel. Contains the name of the guest, and the user.
    Spice(String, String),
}

fn other_display(name: &str, has: Opens) -> String {
    let word = match has {
        Opens::Spice => "spice",
        _ => "vnc",
    };
    format!(
        "guest {name} was started with `console {word}`: restart it, because the configuration has changed"
    )
}

fn of_node(who: &str, from: &str) -> String {
    match who {
        "" => format!("an operator of node {from}"),
        who => format!("{who} of node {from}"),
    }
}

fn refused(words: &str) -> Vec<u8> {
    format!("{words}\r\n").into_bytes()
}

/// Connects an operator of another node by `connect`. `refused` encodes the reason of a refusal
/// for the peer.
fn serve_operator(
    give: &SyncSender<UnixStream>,
    refused: impl FnOnce(&str) -> Vec<u8>,
    connect: impl FnOnce(UnixStream) -> Result<(), String>,
) {
    let Ok((own, local)) = UnixStream::pair() else {
        return;
    };
    if give.send(local).is_err() {
        return;
    }
    let connected = own.try_clone().map_err(|error| error.to_string());
    if let Err(words) = connected.and_then(connect) {
        // Ignores an error: the operator may be gone.
        let _ = (&own).write_all(&refused(&words));
    }
}

/// Returns the bytes of a VNC server that refuses a client: its version, zero security types, and
/// the reason (RFC 6143, section 7.1.2).
fn refused_display(words: &str) -> Vec<u8> {
    let length = u32::try_from(words.len()).unwrap_or_default();
    let mut bytes = b"RFB 003.008\n\0".to_vec();
    bytes.extend(length.to_be_bytes());
    bytes.extend(words.bytes());
    bytes
}

fn ended(mut to: &UnixStream, done: Result<u8, String>) {
    let code = done.unwrap_or_else(|words| {
        // Ignores an error: the reader may be gone.
        let _ = to.write_all(&frame(&Output::Err(format!("{words}\n").into_bytes())));
        1
    });
    let _ = to.write_all(&frame(&Output::Ended(code)));
    let _ = to.shutdown(Shutdown::Write);
}

/// Runs a command and sends its output. A command that changes disks continues even if
/// the output is unread.
fn run(program: &Path, what: &RemoteCommand, to: &UnixStream) -> Result<u8, String> {
    let words = |error: io::Error| format!("{}: {error}", program.display());
    let mut child = Command::new(program)
        .args(what.arguments())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(words)?;
    let (out, errors) = (child.stdout.take(), child.stderr.take());
    let child = Mutex::new(child);
    let writer = Mutex::new(to);
    let status = thread::scope(|scope| {
        if what.ends_with_its_reader() {
            scope.spawn(|| {
                wait_for_the_end_of(to);
                // Ignores an error: the command may have ended already.
                let _ = lock(&child).kill();
            });
        }
        let reader = errors.map(|errors| scope.spawn(|| forward(errors, Output::Err, &writer)));
        if let Some(out) = out {
            forward(out, Output::Out, &writer);
        }
        // Ignores the result, because the reader thread does not panic.
        let _ = reader.map(|reader| reader.join());
        let status = lock(&child).wait();
        // Wakes the thread that waits for the end of the connection.
        let _ = to.shutdown(Shutdown::Read);
        status
    });
    let code = status.map_err(words)?.code().unwrap_or(1);
    Ok(u8::try_from(code).unwrap_or(1))
}

fn wait_for_the_end_of(mut from: &UnixStream) {
    let mut piece = [0; 256];
    while from.read(&mut piece).is_ok_and(|count| count > 0) {}
}

/// Sends the output of a command. Unread output is dropped.
fn forward(mut from: impl Read, output: fn(Vec<u8>) -> Output, to: &Mutex<&UnixStream>) {
    let mut piece = vec![0; PIECE_BYTES_MAX];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return,
            Ok(count) => {
                let bytes = piece.get(..count).unwrap_or_default().to_vec();
                let _ = lock(to).write_all(&frame(&output(bytes)));
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_display_says_why_as_a_vnc_server_does() {
        let expected = b"RFB 003.008\n\0\0\0\0\x04full";
        assert_eq!(refused_display("full"), expected);
    }

    #[test]
    fn a_page_of_another_display_kind_is_refused() {
        let words = other_display("mail", Opens::Spice);
        assert!(
            words.contains("started with `console spice`: restart it"),
            "{words}"
        );
        assert!(other_display("mail", Opens::Display).contains("`console vnc`"));
    }
}
