//! Implements `evenkeel guest log`, which prints the recorded output of a guest's serial terminal,
//! and `evenkeel guest console`, which connects the operator's terminal to it, directly or through
//! the guest role of another node.

use super::far::{self, REST_MAX, REST_MIN};
use super::screen::Screen;
use super::{find, load_guest_report, order};
use clap::ArgMatches;
use command::{print, refuse, word};
use guest::console;
use guest::qemu::home::GuestDirectory;
use guest::remote::RemoteCommand;
use guest::role::report;
use part::report::{StatusReport, span};
use part::status::GuestReport;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{self, IsTerminal, Read, Seek, SeekFrom, Write, stderr, stdin, stdout};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};
use supervisor::directory::{self, Instance};

/// Key that ends a connection: Ctrl-].
const END: u8 = 0x1d;
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Removes the control characters that could affect the terminal from a guest's output. They are
/// those of ASCII and those of ISO 6429, as one byte or as a UTF-8 character (U+0080 to U+009F).
pub(super) fn plain(bytes: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        let letters = chunk.valid().chars();
        let text = letters.filter(|one| matches!(one, '\n' | '\r' | '\t') || !one.is_control());
        let mut buffer = [0; 4];
        text.for_each(|one| kept.extend_from_slice(one.encode_utf8(&mut buffer).as_bytes()));
        // Keeps the bytes of a UTF-8 character that is truncated at the end of a read.
        let rest = chunk.invalid().iter();
        kept.extend(rest.filter(|byte| !(0x80..=0x9f).contains(*byte)));
    }
    kept
}

pub(super) fn log_of(name: &str) -> PathBuf {
    GuestDirectory::new(&directory::path(), name).log()
}

fn opened(matches: &ArgMatches) -> Result<File, String> {
    let name = word(matches, "NAME");
    let (_, report) = load_guest_report(matches)?;
    let subject = find(&report, &name)?;
    let path = log_of(&name);
    // Follows no links, because QEMU can write to that directory.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::open(&path, flags, Mode::empty()).map(File::from);
    let is_there = !GuestReport::of(subject).files.is_empty();
    let state = || report::words_of(subject);
    let file = match opened {
        Ok(file) => file,
        Err(Errno::NOENT) if !is_there => {
            return Err(format!(
                "{}. It has not run on this node, so this node has no output",
                state()
            ));
        }
        Err(errno) => {
            let error = io::Error::from(errno);
            return Err(format!("guest {name}: {}: {error}", path.display()));
        }
    };
    if !is_there {
        let since = file.metadata().and_then(|metadata| metadata.modified());
        let ago = since
            .ok()
            .and_then(|since| SystemTime::now().duration_since(since).ok());
        let ago = ago.map_or(0, |ago| u64::try_from(ago.as_millis()).unwrap_or(u64::MAX));
        // Writes to standard error, because standard output has only the guest's output.
        let _ = writeln!(
            stderr(),
            "{}. The output of its last run on this node, which ended {} ago:",
            state(),
            span(ago)
        );
    }
    Ok(file)
}

pub(super) fn log(matches: &ArgMatches) -> ExitCode {
    let mut file = match opened(matches) {
        Ok(file) => file,
        Err(words) => return refuse(words),
    };
    let mut place = 0;
    loop {
        let mut bytes = Vec::new();
        let read = Read::by_ref(&mut file)
            .take(1 << 20)
            .read_to_end(&mut bytes);
        let shown = if stdout().is_terminal() {
            plain(&bytes)
        } else {
            bytes.clone()
        };
        // Ends the command: the reader of standard output has ended, or the disk of the file is
        // gone.
        if read.is_err()
            || stdout()
                .write_all(&shown)
                .and_then(|()| stdout().flush())
                .is_err()
        {
            return ExitCode::SUCCESS;
        }
        place += bytes.len() as u64;
        if !bytes.is_empty() {
            continue;
        }
        if !matches.get_flag("follow") {
            return ExitCode::SUCCESS;
        }
        std::thread::sleep(LOOK_EVERY);
        // Starts again from the beginning, because the role has truncated the file.
        if file.metadata().is_ok_and(|metadata| metadata.len() < place) {
            place = 0;
            if file.seek(SeekFrom::Start(0)).is_err() {
                return ExitCode::SUCCESS;
            }
        }
    }
}

/// Original settings of the terminal, restored on drop.
struct Raw(Option<Termios>);

impl Raw {
    fn new() -> Raw {
        let before = tcgetattr(stdin()).ok().filter(|_| stdin().is_terminal());
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.make_raw();
            // Ignores an error: without raw mode, keys arrive line by line.
            let _ = tcsetattr(stdin(), OptionalActions::Now, &raw);
        }
        Raw(before)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // Ignores an error, which means that the terminal is gone.
            let _ = tcsetattr(stdin(), OptionalActions::Now, before);
        }
    }
}

/// Connection to a guest's serial terminal: on this node, or by the guest role through another
/// node.
enum Terminal<'i> {
    /// The guest runs on this node. This process has the terminal to itself until the file is
    /// closed.
    Here(UnixStream, File),
    There(far::RemoteOutputStream<'i>),
}

fn connected<'i>(
    (instance, report): &'i (Instance, StatusReport),
    name: &str,
) -> Result<Terminal<'i>, String> {
    let subject = find(report, name)?;
    if let Some(node) = order::elsewhere(report, name) {
        let name = name.to_owned();
        let who = String::new();
        let stream =
            far::RemoteOutputStream::begin(instance, &node, RemoteCommand::Console { name, who })?;
        return Ok(Terminal::There(stream));
    }
    let files = GuestReport::of(subject).files;
    if files.is_empty() {
        return Err(format!(
            "{}: it has a terminal only while it runs",
            report::words_of(subject)
        ));
    }
    let who = format!("process {} on this node", std::process::id());
    let taken = console::take(Path::new(&files), &who);
    let taken = taken.map_err(|words| format!("guest {name}: {words}"))?;
    let path = PathBuf::from(files).join("serial.sock");
    let socket = UnixStream::connect(&path);
    let socket = socket.map_err(|error| format!("guest {name}: {}: {error}", path.display()));
    Ok(Terminal::Here(socket?, taken))
}

pub(super) fn console(matches: &ArgMatches) -> ExitCode {
    let name = word(matches, "NAME");
    let asked = match load_guest_report(matches) {
        Ok(asked) => asked,
        Err(words) => return refuse(words),
    };
    let terminal = match connected(&asked, &name) {
        Ok(terminal) => terminal,
        Err(words) => return refuse(words),
    };
    // Writes the message to standard error, since it is not part of the guest's output.
    let _ = writeln!(stderr(), "connected to {name}; Ctrl-] ends it");
    let raw = Raw::new();
    let ended = match terminal {
        Terminal::Here(socket, _taken) => relay(socket, stdin(), Screen::new(stdout())),
        Terminal::There(stream) => relay_far(&stream, Screen::new(stdout())),
    };
    drop(raw);
    match ended {
        Ok(words) => print(&format!("\n{words}\n")),
        Err(words) => refuse(format!("guest {name}: {words}")),
    }
}

const GUEST_ENDED: &str = "the connection ended: the guest stopped or moved. Run the command again";
const CONSOLE_ENDED: &str = "the console ended; the guest continues";

/// Reads typed bytes. Returns the number of bytes before the end key, and whether that key was
/// pressed; None at the end of input.
fn keys(from: impl AsFd, bytes: &mut [u8]) -> io::Result<Option<(usize, bool)>> {
    let count = rustix::io::read(from, &mut *bytes)?;
    let keys = bytes.get(..count).unwrap_or_default();
    Ok(match keys.iter().position(|key| *key == END) {
        Some(at) => Some((at, true)),
        None => (count > 0).then_some((count, false)),
    })
}

fn has_keys(limit: Duration) -> bool {
    let keys = stdin();
    let mut watched = [PollFd::from_borrowed_fd(keys.as_fd(), PollFlags::IN)];
    let limit = Timespec {
        tv_sec: 0,
        tv_nsec: limit.subsec_nanos().into(),
    };
    // Ignores the result, because the condition is checked again in any case.
    let _ = poll(&mut watched, Some(&limit));
    watched.iter().any(|one| !one.revents().is_empty())
}

fn relay_far(
    stream: &far::RemoteOutputStream<'_>,
    mut screen: Screen,
) -> Result<&'static str, String> {
    let words = |error: io::Error| error.to_string();
    let mut bytes = [0; 4096];
    let mut typed: Vec<u8> = Vec::new();
    let (mut listens, mut ends) = (true, false);
    let mut rest = REST_MIN;
    loop {
        let passed = stream.pass(&typed)?;
        typed.drain(..passed.taken.min(typed.len()));
        if !passed.bytes.is_empty() {
            screen.show(&passed.bytes).map_err(words)?;
            rest = Duration::ZERO;
        }
        match (passed.is_over, ends && typed.is_empty()) {
            (true, _) if passed.words.is_empty() => return Ok(GUEST_ENDED),
            (true, _) => return Err(passed.words),
            (false, true) => return Ok(CONSOLE_ENDED),
            (false, false) => {}
        }
        // Reads no further keys until the guest has accepted the input that is queued.
        let reads = listens && !ends && typed.is_empty();
        if reads && has_keys(rest) {
            rest = REST_MIN;
            match keys(stdin(), &mut bytes).map_err(words)? {
                None => listens = false,
                Some((count, is_end)) => {
                    typed.extend_from_slice(bytes.get(..count).unwrap_or_default());
                    ends = is_end;
                }
            }
        } else {
            if !reads {
                std::thread::sleep(rest);
            }
            rest = (rest * 2).clamp(REST_MIN, REST_MAX);
        }
    }
}

fn relay(
    mut socket: UnixStream,
    terminal: impl AsFd,
    mut screen: Screen,
) -> Result<&'static str, String> {
    let words = |error: io::Error| error.to_string();
    let mut bytes = [0; 4096];
    let mut listens = true;
    loop {
        let (from_guest, from_terminal) = {
            let mut watched = vec![PollFd::new(&socket, PollFlags::IN)];
            if listens {
                watched.push(PollFd::from_borrowed_fd(terminal.as_fd(), PollFlags::IN));
            }
            // Ignores the result, because both sources are checked in any case.
            let _ = poll(&mut watched, None);
            let ready = |at: usize| watched.get(at).is_some_and(|one| !one.revents().is_empty());
            (ready(0), ready(1))
        };
        if from_guest {
            match socket.read(&mut bytes).map_err(words)? {
                0 => return Ok(GUEST_ENDED),
                count => {
                    let shown = bytes.get(..count).unwrap_or_default();
                    screen.show(shown).map_err(words)?;
                }
            }
        }
        if from_terminal {
            match keys(&terminal, &mut bytes).map_err(words)? {
                None => listens = false,
                Some((count, is_end)) => {
                    let typed = bytes.get(..count).unwrap_or_default();
                    socket.write_all(typed).map_err(words)?;
                    if is_end {
                        return Ok(CONSOLE_ENDED);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::screen::NOT_SHOWN;
    use super::*;
    use part::lock;
    use std::sync::mpsc::{Receiver, channel};
    use std::sync::{Arc, Mutex};

    #[test]
    fn guest_output_cannot_control_the_terminal() {
        let cases: [(&[u8], &str); 8] = [
            (b"login: \t\r\n", "login: \t\r\n"),
            (b"\x1b[2J\x07red", "[2Jred"),
            // CSI and OSC as one byte, and as a UTF-8 character.
            (b"a\x9b31mb", "a31mb"),
            (b"a\xc2\x9d52;c;eA==\xc2\x9cb", "a52;c;eA==b"),
            (
                "Gr\u{fc}\u{df}e \u{2713}".as_bytes(),
                "Gr\u{fc}\u{df}e \u{2713}",
            ),
            (b"\x7f\x00", ""),
            (b"\x80\x9f", ""),
            (b"", ""),
        ];
        for (printed, shown) in cases {
            assert_eq!(plain(printed), shown.as_bytes(), "{printed:?}");
        }
        // Keeps the first byte of a character whose rest has not been read.
        assert_eq!(plain(b"a\xc3"), b"a\xc3");
    }

    /// A terminal that accepts nothing until it is released.
    struct Stuck(Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Blocks until the sender is dropped.
            let _ = self.0.recv();
            lock(&self.1).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_blocked_terminal_does_not_stop_the_guest() {
        let (mut guest, socket) = UnixStream::pair().unwrap();
        let (keys, mut operator) = UnixStream::pair().unwrap();
        let (goes_on, stuck) = channel();
        let shown = Arc::<Mutex<Vec<u8>>>::default();
        let screen = Screen::new(Stuck(stuck, Arc::clone(&shown)));
        let relayed = std::thread::spawn(move || relay(socket, keys, screen));
        // Writes more than all buffers on the way can contain.
        for _ in 0..10_000 {
            guest.write_all(&[b'x'; 1000]).unwrap();
        }
        drop(goes_on);
        operator.write_all(b"ab").unwrap();
        let mut typed = [0; 2];
        guest.read_exact(&mut typed).unwrap();
        assert_eq!(&typed, b"ab");
        operator.write_all(b"\x1d").unwrap();
        assert_eq!(relayed.join().unwrap(), Ok(CONSOLE_ENDED));
        let shown = String::from_utf8(std::mem::take(&mut *lock(&shown))).unwrap();
        assert!(shown.starts_with("xxx") && shown.len() < 3_000_000);
        assert!(
            shown.contains(str::from_utf8(NOT_SHOWN).unwrap()),
            "{}",
            shown.len()
        );
    }

    #[test]
    fn a_closed_terminal_ends_the_console() {
        let (mut guest, socket) = UnixStream::pair().unwrap();
        let (keys, _operator) = UnixStream::pair().unwrap();
        let (terminal, there) = UnixStream::pair().unwrap();
        drop(there);
        let relayed = std::thread::spawn(move || relay(socket, keys, Screen::new(terminal)));
        while guest.write_all(b"x").is_ok() {}
        assert!(relayed.join().unwrap().is_err());
    }
}
