//! The serial terminal of a guest: its last output, and a connection of this terminal to it.

use super::{asked, find};
use crate::command::{print, refuse, word};
use clap::ArgMatches;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{self, IsTerminal, Read, Seek, SeekFrom, Write, stderr, stdin, stdout};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// What ends a connection: Ctrl-].
const END: u8 = 0x1d;
/// How often a followed log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What the guest printed without what would control the terminal.
fn plain(bytes: &[u8]) -> Vec<u8> {
    let kept = |byte: &&u8| matches!(byte, b'\n' | b'\r' | b'\t') || !byte.is_ascii_control();
    bytes.iter().filter(kept).copied().collect()
}

/// Where the files of a guest are that runs here.
fn files(matches: &ArgMatches) -> Result<(String, PathBuf), String> {
    let name = word(matches, "NAME");
    let (_, report) = asked(matches)?;
    let subject = find(&report, &name)?;
    match subject.words("files") {
        Some(path) => Ok((name, path.into())),
        None => {
            let on = subject.words(super::ON).unwrap_or_default();
            Err(match &*on {
                "" => format!("guest {name} does not run: it is {}", subject.state.word),
                on => format!("guest {name} is on {on}: run the command there"),
            })
        }
    }
}

pub(super) fn log(matches: &ArgMatches) -> ExitCode {
    let opened = files(matches).and_then(|(name, path)| {
        let path = path.join("serial.log");
        // QEMU can write to that directory: a link there names nothing of the guest.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::open(&path, flags, Mode::empty()).map(File::from);
        opened.map_err(|errno| {
            format!(
                "guest {name}: {}: {}",
                path.display(),
                io::Error::from(errno)
            )
        })
    });
    let mut file = match opened {
        Ok(file) => file,
        Err(words) => return refuse(words),
    };
    let mut place = 0;
    loop {
        let mut bytes = Vec::new();
        let read = Read::by_ref(&mut file)
            .take(1 << 20)
            .read_to_end(&mut bytes);
        let shown = match stdout().is_terminal() {
            true => plain(&bytes),
            false => bytes.clone(),
        };
        // Its reader has ended, or the disk of the file is gone.
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
        // It was cut.
        if file.metadata().is_ok_and(|metadata| metadata.len() < place) {
            place = 0;
            if file.seek(SeekFrom::Start(0)).is_err() {
                return ExitCode::SUCCESS;
            }
        }
    }
}

/// The terminal as it was, when this ends.
struct Raw(Option<Termios>);

impl Raw {
    fn new() -> Raw {
        let before = tcgetattr(stdin()).ok().filter(|_| stdin().is_terminal());
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.make_raw();
            // Without it keys come line by line.
            let _ = tcsetattr(stdin(), OptionalActions::Now, &raw);
        }
        Raw(before)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // The terminal is gone otherwise.
            let _ = tcsetattr(stdin(), OptionalActions::Now, before);
        }
    }
}

pub(super) fn console(matches: &ArgMatches) -> ExitCode {
    let connected = files(matches).and_then(|(name, path)| {
        let path = path.join("serial.sock");
        let socket = UnixStream::connect(&path);
        let socket = socket.map_err(|error| format!("guest {name}: {}: {error}", path.display()));
        socket.map(|socket| (name, socket))
    });
    let (name, socket) = match connected {
        Ok(connected) => connected,
        Err(words) => return refuse(words),
    };
    // What is read on the terminal is not part of the output.
    let _ = writeln!(stderr(), "connected to {name}; Ctrl-] ends it");
    let raw = Raw::new();
    let ended = relay(socket);
    drop(raw);
    match ended {
        Ok(words) => print(&format!("\n{words}\n")),
        Err(error) => refuse(format!("guest {name}: {error}")),
    }
}

fn relay(mut socket: UnixStream) -> io::Result<&'static str> {
    let mut bytes = [0; 4096];
    let mut listens = true;
    loop {
        let (from_guest, from_terminal) = {
            let keys = stdin();
            let mut watched = vec![PollFd::new(&socket, PollFlags::IN)];
            if listens {
                watched.push(PollFd::from_borrowed_fd(keys.as_fd(), PollFlags::IN));
            }
            // Interrupted or not: both are looked at.
            let _ = poll(&mut watched, None);
            let ready =
                |at: usize| { watched.get(at) }.is_some_and(|one| !one.revents().is_empty());
            (ready(0), ready(1))
        };
        if from_guest {
            match socket.read(&mut bytes)? {
                0 => return Ok("the guest has ended, or another console took its place"),
                count => {
                    stdout().write_all(bytes.get(..count).unwrap_or_default())?;
                    stdout().flush()?;
                }
            }
        }
        if from_terminal {
            let count = rustix::io::read(stdin(), &mut bytes)?;
            let keys = bytes.get(..count).unwrap_or_default();
            match keys.iter().position(|key| *key == END) {
                Some(at) => {
                    socket.write_all(keys.get(..at).unwrap_or_default())?;
                    return Ok("the console has ended; the guest goes on");
                }
                None if count == 0 => listens = false,
                None => socket.write_all(keys)?,
            }
        }
    }
}
