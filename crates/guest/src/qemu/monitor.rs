//! Sends commands to the monitor socket of a guest's QEMU process, and returns replies and events
//! ([`crate::qmp`]). The connection never blocks. Commands sent before QEMU's greeting are queued
//! until it arrives.

use crate::life::QemuStatus;
use crate::qmp::{Qmp, QmpError, QmpMessage};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

const COMMANDS_MAX: usize = 64;
const PIECE_BYTES: usize = 16 << 10;
/// Maximum number of reads in one turn, so that a QEMU that sends endlessly does not starve the
/// other guests.
const PIECES_MAX: usize = 16;

/// Reason why the connection is no longer usable.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    #[error(transparent)]
    Qmp(#[from] QmpError),
    #[error("connection to the monitor of QEMU: {0}")]
    Io(#[from] io::Error),
    #[error("QEMU has closed its monitor")]
    Closed,
    #[error("QEMU has not replied to {COMMANDS_MAX} commands")]
    Silent,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum CommandPurpose {
    Greeting,
    Status,
    Life(&'static str),
    Move(&'static str),
    Other(String),
}

/// Message of the monitor to the role.
#[derive(Clone, PartialEq, Debug)]
pub enum MonitorEvent {
    /// Reply to a command: the returned value, or the error message of QEMU.
    Reply(CommandPurpose, Result<Value, String>),
    Status(QemuStatus),
    Event(String, Map<String, Value>),
}

/// Connection to the monitor of one QEMU process.
#[derive(Debug)]
pub struct Monitor {
    socket: UnixStream,
    qmp: Qmp,
    open: BTreeMap<u64, CommandPurpose>,
    waiting: Vec<(CommandPurpose, &'static str, Map<String, Value>)>,
    is_ready: bool,
    unsent: VecDeque<u8>,
}

impl Monitor {
    /// Connects to the monitor socket.
    ///
    /// # Errors
    /// QEMU does not listen yet, or another system call fails.
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

    /// Returns whether the capabilities are negotiated, so commands can be sent.
    pub fn is_ready(&self) -> bool {
        self.is_ready
    }

    pub fn events(&self) -> PollFlags {
        if self.unsent.is_empty() {
            PollFlags::IN
        } else {
            PollFlags::IN | PollFlags::OUT
        }
    }

    pub fn poll(&self) -> PollFd<'_> {
        PollFd::from_borrowed_fd(self.as_fd(), self.events())
    }

    /// Sends a command, or queues it until the greeting has arrived.
    ///
    /// # Errors
    /// The connection is no longer usable.
    pub fn send(
        &mut self,
        about: CommandPurpose,
        command: &'static str,
        arguments: Map<String, Value>,
    ) -> Result<(), MonitorError> {
        if self.open.len() + self.waiting.len() >= COMMANDS_MAX {
            return Err(MonitorError::Silent);
        }
        if !self.is_ready && about != CommandPurpose::Greeting {
            self.waiting.push((about, command, arguments));
            return Ok(());
        }
        let (id, bytes) = self.qmp.command(command, arguments);
        self.open.insert(id, about);
        self.unsent.extend(bytes);
        self.flush()
    }

    pub fn waits_for(&self, about: &CommandPurpose) -> bool {
        let mut waiting = self.waiting.iter();
        self.open.values().any(|open| open == about) || waiting.any(|(one, ..)| one == about)
    }

    /// Sends buffered bytes.
    ///
    /// # Errors
    /// The connection is no longer usable.
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

    /// Reads and decodes messages.
    ///
    /// # Errors
    /// The connection is no longer usable.
    pub fn read(&mut self) -> Result<Vec<MonitorEvent>, MonitorError> {
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
                news.extend(self.handle_message(said)?);
            }
        }
        Ok(news)
    }

    fn handle_message(&mut self, said: QmpMessage) -> Result<Option<MonitorEvent>, MonitorError> {
        let (about, reply) = match said {
            QmpMessage::Greeting { .. } => {
                self.send(CommandPurpose::Greeting, "qmp_capabilities", Map::new())?;
                return Ok(None);
            }
            QmpMessage::Event { name, data } => {
                return Ok(Some(match status_of_event(&name, &data) {
                    Some(status) => MonitorEvent::Status(status),
                    None => MonitorEvent::Event(name, data),
                }));
            }
            QmpMessage::Done { id, value } => (self.open.remove(&id), Ok(value)),
            QmpMessage::Refused { id, words, .. } => {
                let about = id.and_then(|id| self.open.remove(&id));
                (about, Err(words))
            }
        };
        Ok(match (about, reply) {
            (Some(CommandPurpose::Greeting), _) => {
                self.is_ready = true;
                for (about, command, arguments) in std::mem::take(&mut self.waiting) {
                    self.send(about, command, arguments)?;
                }
                None
            }
            (Some(CommandPurpose::Status), Ok(value)) => {
                status_of(&value).map(MonitorEvent::Status)
            }
            (Some(about), reply) => Some(MonitorEvent::Reply(about, reply)),
            (None, _) => None,
        })
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Returns the guest's state according to an event; None: the event reports no state. A `RESUME` at
/// the end of a migration corresponds to the result of `query-status` at that time.
fn status_of_event(name: &str, _: &Map<String, Value>) -> Option<QemuStatus> {
    Some(match name {
        "RESUME" => QemuStatus::Running,
        "GUEST_PANICKED" => QemuStatus::Panicked,
        _ => return None,
    })
}

/// Converts the result of `query-status` (QEMU QMP reference, `RunState`).
pub fn status_of(value: &Value) -> Option<QemuStatus> {
    Some(match value.get("status")?.as_str()? {
        "running" | "suspended" => QemuStatus::Running,
        "paused" | "prelaunch" | "debug" => QemuStatus::Paused,
        "io-error" => QemuStatus::DiskError,
        "shutdown" => QemuStatus::ShutDown,
        "guest-panicked" => QemuStatus::Panicked,
        "internal-error" | "watchdog" => QemuStatus::Broken,
        "inmigrate" => QemuStatus::Arriving,
        "finish-migrate" | "save-vm" | "restore-vm" | "colo" => QemuStatus::Moving,
        "postmigrate" => QemuStatus::Moved,
        _ => return None,
    })
}

/// Checks that the path of a socket fits into a socket address (`sun_path`).
///
/// # Errors
/// The path is longer than 107 bytes.
pub fn fits(path: &Path) -> Result<(), Errno> {
    if path.as_os_str().len() < 108 {
        Ok(())
    } else {
        Err(Errno::NAMETOOLONG)
    }
}
