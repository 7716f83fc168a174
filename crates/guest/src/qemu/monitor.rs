//! The connection to QEMU's monitor ([`crate::qmp`]): it never waits. Commands that are sent before
//! the greeting wait for it.

use crate::life::Status;
use crate::qmp::{Qmp, QmpError, Said};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Commands without a reply.
const COMMANDS_MAX: usize = 64;
/// Bytes that are read at a time.
const PIECE_BYTES: usize = 16 << 10;
/// Pieces that are read in one turn: a QEMU that never ends to speak has to wait for its turn.
const PIECES_MAX: usize = 16;

/// Why the connection is of no use any more.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    /// The other side is no QEMU.
    #[error(transparent)]
    Qmp(#[from] QmpError),
    /// The connection.
    #[error("connection to the monitor of QEMU: {0}")]
    Io(#[from] io::Error),
    /// QEMU has closed it.
    #[error("QEMU has closed its monitor")]
    Closed,
    /// QEMU replies to nothing.
    #[error("QEMU has not replied to {COMMANDS_MAX} commands")]
    Silent,
}

/// What a command was sent for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum About {
    /// The first one.
    Greeting,
    /// How the guest is.
    Status,
    /// One of the life's orders.
    Life(&'static str),
    /// A command of a migration.
    Move(&'static str),
    /// Something else, by its name.
    Other(String),
}

/// What came.
#[derive(Clone, PartialEq, Debug)]
pub enum News {
    /// The reply to a command: its value, or QEMU's words.
    Reply(About, Result<Value, String>),
    /// How the guest is now.
    Status(Status),
    /// Another event.
    Event(String, Map<String, Value>),
}

/// The connection.
#[derive(Debug)]
pub struct Monitor {
    socket: UnixStream,
    qmp: Qmp,
    open: BTreeMap<u64, About>,
    /// Commands for the time after the greeting.
    waiting: Vec<(About, &'static str, Map<String, Value>)>,
    is_ready: bool,
    unsent: VecDeque<u8>,
}

impl Monitor {
    /// Connects.
    ///
    /// # Errors
    /// The system's: QEMU does not listen yet.
    pub fn connect(path: &Path) -> io::Result<Monitor> {
        let socket = UnixStream::connect(path)?;
        socket.set_nonblocking(true)?;
        Ok(Monitor {
            socket,
            qmp: Qmp::default(),
            open: BTreeMap::new(),
            waiting: Vec::new(),
            is_ready: false,
            unsent: VecDeque::new(),
        })
    }

    /// Whether QEMU has greeted.
    pub fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// What is waited for.
    pub fn events(&self) -> PollFlags {
        match self.unsent.is_empty() {
            true => PollFlags::IN,
            false => PollFlags::IN | PollFlags::OUT,
        }
    }

    /// As one of the descriptors of a poll.
    pub fn poll(&self) -> PollFd<'_> {
        PollFd::from_borrowed_fd(self.as_fd(), self.events())
    }

    /// Sends a command.
    ///
    /// # Errors
    /// The connection is of no use any more.
    pub fn send(
        &mut self,
        about: About,
        command: &'static str,
        arguments: Map<String, Value>,
    ) -> Result<(), MonitorError> {
        if self.open.len() + self.waiting.len() >= COMMANDS_MAX {
            return Err(MonitorError::Silent);
        }
        if !self.is_ready && about != About::Greeting {
            self.waiting.push((about, command, arguments));
            return Ok(());
        }
        let (id, bytes) = self.qmp.command(command, arguments);
        self.open.insert(id, about);
        self.unsent.extend(bytes);
        self.flush()
    }

    /// Whether a command for this has no reply yet.
    pub fn waits_for(&self, about: &About) -> bool {
        let mut waiting = self.waiting.iter();
        self.open.values().any(|open| open == about) || waiting.any(|(one, ..)| one == about)
    }

    /// Sends what waits.
    ///
    /// # Errors
    /// The connection is of no use any more.
    pub fn flush(&mut self) -> Result<(), MonitorError> {
        while !self.unsent.is_empty() {
            let (first, _) = self.unsent.as_slices();
            match self.socket.write(first) {
                Ok(0) => return Err(MonitorError::Closed),
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads what came.
    ///
    /// # Errors
    /// The connection is of no use any more.
    pub fn read(&mut self) -> Result<Vec<News>, MonitorError> {
        self.flush()?;
        let mut news = Vec::new();
        let mut piece = vec![0; PIECE_BYTES];
        for _ in 0..PIECES_MAX {
            let count = match self.socket.read(&mut piece) {
                Ok(0) if news.is_empty() => return Err(MonitorError::Closed),
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            for said in self.qmp.take(piece.get(..count).unwrap_or_default())? {
                news.extend(self.hear(said)?);
            }
        }
        Ok(news)
    }

    fn hear(&mut self, said: Said) -> Result<Option<News>, MonitorError> {
        let (about, reply) = match said {
            Said::Greeting { .. } => {
                self.send(About::Greeting, "qmp_capabilities", Map::new())?;
                return Ok(None);
            }
            Said::Event { name, data } => {
                return Ok(Some(match status_of_event(&name, &data) {
                    Some(status) => News::Status(status),
                    None => News::Event(name, data),
                }));
            }
            Said::Done { id, value } => (self.open.remove(&id), Ok(value)),
            Said::Refused { id, words, .. } => {
                let about = id.and_then(|id| self.open.remove(&id));
                (about, Err(words))
            }
        };
        Ok(match (about, reply) {
            (Some(About::Greeting), _) => {
                self.is_ready = true;
                for (about, command, arguments) in std::mem::take(&mut self.waiting) {
                    self.send(about, command, arguments)?;
                }
                None
            }
            (Some(About::Status), Ok(value)) => status_of(&value).map(News::Status),
            (Some(about), reply) => Some(News::Reply(about, reply)),
            (None, _) => None,
        })
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What an event says of the guest. Others say nothing of it: a `RESUME` while a migration ends
/// stands for what `query-status` has then.
fn status_of_event(name: &str, _: &Map<String, Value>) -> Option<Status> {
    Some(match name {
        "RESUME" => Status::Running,
        "GUEST_PANICKED" => Status::Panicked,
        _ => return None,
    })
}

/// What `query-status` says (QEMU QMP reference, `RunState`).
pub fn status_of(value: &Value) -> Option<Status> {
    Some(match value.get("status")?.as_str()? {
        "running" | "suspended" => Status::Running,
        "paused" | "prelaunch" | "debug" => Status::Paused,
        "io-error" => Status::DiskError,
        "shutdown" => Status::ShutDown,
        "guest-panicked" => Status::Panicked,
        "internal-error" | "watchdog" => Status::Broken,
        "inmigrate" => Status::Arriving,
        "finish-migrate" | "save-vm" | "restore-vm" | "colo" => Status::Moving,
        "postmigrate" => Status::Moved,
        _ => return None,
    })
}

/// Whether the path of a socket is one that the kernel takes.
///
/// # Errors
/// It is too long.
pub fn fits(path: &Path) -> Result<(), Errno> {
    match path.as_os_str().len() < 108 {
        true => Ok(()),
        false => Err(Errno::NAMETOOLONG),
    }
}
