//! Streams of other nodes for operators of this one ([`crate::remote`]), and what this node does for
//! operators of others: their bytes go on connections of [`super::carrier`].

use super::Role;
use super::carrier::Line;
use super::machine::Machine;
use crate::clock::boottime_ms;
use crate::config::Console;
use crate::console;
use crate::display;
use crate::migration::{Hello, frame};
use crate::remote::{AskOpen, AskStream, Output, PIECE_BYTES_MAX, Passed, Remote};
use part::lock;
use part::report::Opens;
use protocol::spice::{LINK_BYTES, MAIN, channel};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long a stream stays that nobody asks about, milliseconds.
const KEPT_MS: u64 = 10_000;
/// Streams at a time.
const STREAMS_MAX: usize = 32;
/// Commands that run here for other nodes at a time.
const COMMANDS_MAX: usize = 16;
/// Connections to displays and terminals here at a time: those that the consoles of two nodes may open, with four
/// channels of a display by SPICE.
const OPERATORS_MAX: usize = 256;
/// How long an operator may take to begin a channel of SPICE.
const LINK_LIMIT: Duration = Duration::from_secs(10);
/// How long a channel waits until the same one of the session before has ended, and how often it looks.
const CHANNEL_LIMIT: Duration = Duration::from_secs(2);
const CHANNEL_PAUSE: Duration = Duration::from_millis(50);

/// The streams.
#[derive(Debug, Default)]
pub(super) struct Streams {
    last: u64,
    all: BTreeMap<u64, Stream>,
    commands: Arc<AtomicUsize>,
    operators: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Stream {
    node: String,
    socket: UnixStream,
    line: Line,
    /// When it was asked about last, milliseconds.
    asked: u64,
}

impl Streams {
    /// When [`Streams::tidy`] has something to do, milliseconds.
    pub(super) fn due(&self) -> Option<u64> {
        self.all.values().map(|one| one.asked + KEPT_MS).min()
    }

    /// Ends streams whose operator is gone.
    pub(super) fn tidy(&mut self, now: u64) {
        self.all.retain(|_, one| now < one.asked + KEPT_MS);
    }
}

impl Stream {
    /// Writes what the socket takes, and reads what is there.
    fn pass(&mut self, bytes: &[u8]) -> Passed {
        let mut passed = Passed::default();
        let piece = bytes.get(..PIECE_BYTES_MAX).unwrap_or(bytes);
        // That it is over stands behind what came.
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
            Err(error) => return Passed::refused(format!("node {}: {error}", self.node)),
        }
        passed
    }
}

impl Role {
    /// Does what an operator's process asks about a stream of another node.
    pub fn stream(&mut self, ask: &AskStream) -> Passed {
        let now = boottime_ms();
        self.streams.tidy(now);
        let begun = match ask {
            AskStream::Begin { node, what } => self.begin_stream(node, what.clone(), now),
            AskStream::Pass { number, bytes } => {
                let Some(stream) = self.streams.all.get_mut(number) else {
                    return Passed::refused("the guest role was restarted meanwhile");
                };
                stream.asked = now;
                let passed = stream.pass(bytes);
                if passed.is_over {
                    self.streams.all.remove(number);
                }
                Ok(Passed {
                    number: *number,
                    ..passed
                })
            }
            AskStream::End { number } => {
                self.streams.all.remove(number);
                Ok(Passed::default())
            }
        };
        begun.unwrap_or_else(Passed::refused)
    }

    fn begin_stream(&mut self, node: &str, what: Remote, now: u64) -> Result<Passed, String> {
        let carrier = self.moves.carrier.as_ref().filter(|one| one.is_ready());
        let carrier =
            carrier.ok_or_else(|| format!("node {node}: this node knows no way to it yet"))?;
        if self.streams.all.len() >= STREAMS_MAX {
            return Err("too many commands for other nodes are under way".to_owned());
        }
        let words = |error: io::Error| error.to_string();
        let (socket, local) = UnixStream::pair().map_err(words)?;
        socket.set_nonblocking(true).map_err(words)?;
        let line = carrier.dial(node, Hello::Remote(what), local);
        self.streams.last += 1;
        let number = self.streams.last;
        let stream = Stream {
            node: node.to_owned(),
            socket,
            line,
            asked: now,
        };
        self.streams.all.insert(number, stream);
        Ok(Passed {
            number,
            ..Passed::default()
        })
    }

    /// Does for another node what its operator wants.
    pub(super) fn serve_stream(
        &mut self,
        what: &Remote,
        from: &str,
        give: &SyncSender<UnixStream>,
    ) {
        match what {
            Remote::Console { name, who } => {
                return self.serve_console(name, (who, from), give);
            }
            Remote::Display { name, who } => {
                return self.serve_display(name, (who, from), give);
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

impl Role {
    /// Connects an operator with the display or the terminal of a guest, wherever that is. `who`: the user, and
    /// where that user is signed in.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn open(
        &mut self,
        ask: &AskOpen,
        who: &str,
        operator: UnixStream,
    ) -> Result<String, String> {
        let name = &ask.name;
        let holder = self.agreement.holder(name);
        if holder.is_empty() || holder == self.guests.me {
            match ask.what {
                Opens::Display | Opens::Spice => {
                    let (display, begins) = self.display(name, who)?;
                    self.connect(operator, display, begins)?;
                }
                Opens::Terminal => {
                    let (terminal, taken) = self.terminal(name, who)?;
                    self.connect(operator, terminal, Begins::Has(taken))?;
                }
            }
            return Ok(String::new());
        }
        let carrier = self.moves.carrier.as_ref().filter(|one| one.is_ready());
        let carrier =
            carrier.ok_or_else(|| format!("node {holder}: this node knows no way to it yet"))?;
        let name = name.clone();
        let who = who.to_owned();
        let what = match ask.what {
            Opens::Display | Opens::Spice => Remote::Display { name, who },
            Opens::Terminal => Remote::Console { name, who },
        };
        carrier.dial(holder, Hello::Remote(what), operator);
        Ok(format!("on {holder}"))
    }

    /// A guest that runs here.
    fn running(&self, name: &str) -> Result<&Machine, String> {
        let machine = { self.machines.get(name) }.filter(|machine| machine.life.is_there());
        machine.ok_or_else(|| format!("guest {name} does not run"))
    }

    /// The terminal of a guest that runs here, and what holds it for this operator.
    fn terminal(&self, name: &str, who: &str) -> Result<(UnixStream, File), String> {
        let home = &self.running(name)?.home;
        let taken = console::take(home.path(), &console::TERMINAL, who)?;
        let socket = UnixStream::connect(home.serial());
        let socket = socket.map_err(|error| format!("the terminal of guest {name}: {error}"));
        Ok((socket?, taken))
    }

    /// The display of a guest that runs here, and how an operator begins with it.
    fn display(&self, name: &str, who: &str) -> Result<(UnixStream, Begins), String> {
        let home = &self.running(name)?.home;
        let begins = match self.guests.guests.get(name).map(|guest| guest.console) {
            Some(Console::Vnc) => Begins::AtOnce,
            Some(Console::Spice) => Begins::Spice(home.path().to_owned(), who.to_owned()),
            _ => return Err(format!("guest {name} has no display: see `console`")),
        };
        let socket = UnixStream::connect(home.display());
        let socket = socket.map_err(|error| format!("the display of guest {name}: {error}"));
        Ok((socket?, begins))
    }

    /// Passes bytes between an operator and a guest, on threads of their own.
    fn connect(
        &self,
        operator: UnixStream,
        guest: UnixStream,
        begins: Begins,
    ) -> Result<(), String> {
        let running = Arc::clone(&self.streams.operators);
        if running.fetch_add(1, Ordering::Relaxed) >= OPERATORS_MAX {
            running.fetch_sub(1, Ordering::Relaxed);
            return Err(format!(
                "{OPERATORS_MAX} displays and terminals are in use on this node"
            ));
        }
        let counted = Arc::clone(&running);
        let spawned = thread::Builder::new()
            .name("guest/operator".to_owned())
            .spawn(move || {
                match begins.take(&operator, &guest) {
                    Ok((taken, link)) => {
                        match link {
                            Some(link) => display::pass(&operator, &guest, &link),
                            None => console::pass(&operator, &guest),
                        }
                        drop(taken);
                    }
                    // The operator may be gone.
                    Err(words) => drop((&operator).write_all(&refused(&words))),
                }
                counted.fetch_sub(1, Ordering::Relaxed);
            });
        spawned.map(drop).map_err(|error| {
            running.fetch_sub(1, Ordering::Relaxed);
            error.to_string()
        })
    }

    /// Connects an operator of another node with the display of a guest, on threads of their own.
    fn serve_display(&self, name: &str, operator: (&str, &str), give: &SyncSender<UnixStream>) {
        let console = self.guests.guests.get(name).map(|guest| guest.console);
        let refused = match console {
            Some(Console::Spice) => refused,
            _ => refused_display,
        };
        let who = of_node(operator);
        serve_operator(give, refused, |operator| {
            let (display, begins) = self.display(name, &who)?;
            self.connect(operator, display, begins)
        });
    }

    /// Connects an operator of another node with the terminal of a guest, on threads of their own.
    fn serve_console(&self, name: &str, operator: (&str, &str), give: &SyncSender<UnixStream>) {
        let who = of_node(operator);
        serve_operator(give, refused, |operator| {
            let (terminal, taken) = self.terminal(name, &who)?;
            self.connect(operator, terminal, Begins::Has(taken))
        });
    }
}

/// What an operator has who has begun: see [`Begins::take`].
type Begun = (Option<File>, Option<[u8; LINK_BYTES]>);

/// How an operator begins with a display or a terminal.
enum Begins {
    /// Whatever others do.
    AtOnce,
    /// With this, which keeps others out.
    Has(File),
    /// By SPICE, in this directory of the guest and by this name: as [`Begins::spice`] says.
    Spice(PathBuf, String),
}

impl Begins {
    /// What keeps others out until it is dropped, if something does; and how a channel of SPICE began.
    fn take(self, operator: &UnixStream, guest: &UnixStream) -> Result<Begun, String> {
        match self {
            Begins::AtOnce => Ok((None, None)),
            Begins::Has(taken) => Ok((Some(taken), None)),
            Begins::Spice(directory, who) => Begins::spice(operator, guest, (&directory, &who)),
        }
    }

    /// The display is taken by the main channel, the first one of a session. QEMU knows to which session another
    /// channel belongs, and refuses one of none. A second one of the same kind can end QEMU.
    fn spice(
        mut operator: &UnixStream,
        mut guest: &UnixStream,
        (directory, who): (&Path, &str),
    ) -> Result<Begun, String> {
        let words = |error: io::Error| format!("the channel did not begin: {error}");
        let mut link = [0; LINK_BYTES];
        operator.set_read_timeout(Some(LINK_LIMIT)).map_err(words)?;
        operator.read_exact(&mut link).map_err(words)?;
        operator.set_read_timeout(None).map_err(words)?;
        let channel = channel(&link).ok_or("the channel did not begin as SPICE does")?;
        let taken = match channel {
            MAIN => console::take(directory, &console::DISPLAY, who)?,
            channel => take_channel(directory, &console::Only::channel(channel), who)?,
        };
        guest.write_all(&link).map_err(words)?;
        Ok((Some(taken), Some(link)))
    }
}

/// Takes a channel of a display. QEMU ends those of a session in a moment when its main channel ends.
fn take_channel(directory: &Path, channel: &console::Only, who: &str) -> Result<File, String> {
    let until = Instant::now() + CHANNEL_LIMIT;
    loop {
        match console::take(directory, channel, who) {
            Err(_) if Instant::now() < until => thread::sleep(CHANNEL_PAUSE),
            taken => return taken,
        }
    }
}

/// Who somebody at another node is.
fn of_node((who, from): (&str, &str)) -> String {
    match who {
        "" => format!("an operator of node {from}"),
        who => format!("{who} of node {from}"),
    }
}

/// What a terminal shows of why there is none, and the page of a display by SPICE.
fn refused(words: &str) -> Vec<u8> {
    format!("{words}\r\n").into_bytes()
}

/// Gives an operator of another node an end of what `connect` connects; `refused` says why not, as what
/// reads there understands it.
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
    let connected = { own.try_clone() }.map_err(|error| error.to_string());
    if let Err(words) = connected.and_then(connect) {
        // The operator may be gone.
        let _ = (&own).write_all(&refused(&words));
    }
}

/// What a VNC server sends that refuses a client: its version, no kind of security, and the reason
/// (RFC 6143, section 7.1.2).
fn refused_display(words: &str) -> Vec<u8> {
    let length = u32::try_from(words.len()).unwrap_or_default();
    let mut bytes = b"RFB 003.008\n\0".to_vec();
    bytes.extend(length.to_be_bytes());
    bytes.extend(words.bytes());
    bytes
}

/// Says how a command ended; `Err`: why it did not run.
fn ended(mut to: &UnixStream, done: Result<u8, String>) {
    let code = done.unwrap_or_else(|words| {
        // The reader may be gone.
        let _ = to.write_all(&frame(&Output::Err(format!("{words}\n").into_bytes())));
        1
    });
    let _ = to.write_all(&frame(&Output::Ended(code)));
    let _ = to.shutdown(Shutdown::Write);
}

/// Runs a command, and sends its output. What changes disks goes on without a reader.
fn run(program: &Path, what: &Remote, to: &UnixStream) -> Result<u8, String> {
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
                // It has ended already.
                let _ = lock(&child).kill();
            });
        }
        let reader = errors.map(|errors| scope.spawn(|| forward(errors, Output::Err, &writer)));
        if let Some(out) = out {
            forward(out, Output::Out, &writer);
        }
        // Its threads do not panic.
        let _ = reader.map(|reader| reader.join());
        let status = lock(&child).wait();
        // The one that waits for the end of the connection.
        let _ = to.shutdown(Shutdown::Read);
        status
    });
    let code = status.map_err(words)?.code().unwrap_or(1);
    Ok(u8::try_from(code).unwrap_or(1))
}

/// Reads what an operator sends, which nobody wants, until the connection ends.
fn wait_for_the_end_of(mut from: &UnixStream) {
    let mut piece = [0; 256];
    while from.read(&mut piece).is_ok_and(|count| count > 0) {}
}

/// Sends what a command prints. Without a reader it is dropped.
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

    /// A channel of a display by SPICE that an operator begins: what comes of it.
    fn begins(directory: &Path, who: &str, link: &[u8]) -> Result<Option<File>, String> {
        let (mut own, operator) = UnixStream::pair().unwrap();
        let (guest, mut end) = UnixStream::pair().unwrap();
        own.write_all(link).unwrap();
        drop(own);
        let begins = Begins::Spice(directory.to_owned(), who.to_owned());
        let taken = begins.take(&operator, &guest).map(|(taken, link)| {
            assert!(link.is_some());
            taken
        });
        drop(guest);
        let mut came = Vec::new();
        end.read_to_end(&mut came).unwrap();
        let is_there = link.get(..LINK_BYTES).is_some_and(|begun| begun == came);
        assert_eq!(taken.is_ok(), is_there, "{taken:?} {came:?}");
        taken
    }

    #[test]
    fn a_display_by_spice_has_one_operator_with_several_channels() {
        let scratch = lab::Scratch::new().unwrap();
        let channel = |kind: u8| {
            let mut link = b"REDQ\x02\0\0\0\x02\0\0\0\x1a\0\0\0\x07\0\0\0".to_vec();
            link.push(kind);
            link
        };
        let first = begins(scratch.path(), "anna", &channel(1)).unwrap();
        assert!(first.is_some());
        let channels =
            [2, 3, 4].map(|kind| begins(scratch.path(), "anna", &channel(kind)).unwrap());
        assert!(channels.iter().all(Option::is_some));
        // Two of a kind can end QEMU.
        let second = begins(scratch.path(), "anna", &channel(3)).unwrap_err();
        assert!(second.contains("has its display (anna)"), "{second}");
        drop(channels);
        begins(scratch.path(), "anna", &channel(3)).unwrap();
        let refused = begins(scratch.path(), "bert", &channel(1)).unwrap_err();
        assert!(refused.contains("has its display (anna)"), "{refused}");
        drop(first);
        assert!(
            begins(scratch.path(), "bert", &channel(1))
                .unwrap()
                .is_some()
        );
        // What is no SPICE does not get to the guest.
        for other in [&b"RFB 003.008\n         "[..], b"REDQ", b""] {
            begins(scratch.path(), "anna", other).unwrap_err();
        }
    }
}
