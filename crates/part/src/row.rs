//! How the roles differ: a row each. What they have in common is the supervisor's.

use crate::channel::Channel;
use crate::role::{Level, PartMessage};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;

/// The process to start.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The second word of its command line.
    pub word: &'static str,
    /// The title in `ps`.
    pub shown: &'static str,
    /// Its name in messages.
    pub what: &'static str,
    /// The inherited environment variables.
    pub environment: Environment,
}

/// The environment variables that a process inherits from the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Environment {
    /// Those that the C library and our own code read.
    Few,
    /// Also what scripts expect; all of it under keepalived's name, whose scripts inherit
    /// what it was started with.
    Scripts,
    /// All of it: it reads what the files ask for, and ends.
    All,
}

/// How one role differs from others.
pub struct RoleRow {
    /// The part whose role it is.
    pub part: &'static str,
    /// How its process is started.
    pub entry: Entry,
    /// Its life, in that process.
    pub main: fn(Channel) -> ExitCode,
    /// How long it may take until it says that it runs; None for one that never does.
    pub ready_limit: Option<Duration>,
    /// How old it is at least when its main loop has to run: what it reads first may take
    /// its time.
    pub beats_after: Duration,
    /// The parts to which its own may say something. One that may be taken over by those
    /// whom it serves says nothing.
    pub says_to: &'static [&'static str],
    /// It may ask every part for its report.
    pub reads_reports: bool,
    /// It gets a certificate of the cluster's CA, for its own connections to other nodes.
    pub certified: bool,
    /// When it is run.
    pub life: Life,
}

/// When a role is run, and what its end means.
#[derive(Clone, Copy)]
pub enum Life {
    /// It serves a version that has listeners; the program ends with it.
    Serves(Serves),
    /// It runs what a version has of its part.
    Beside(Beside),
    /// It says which version is served, on a machine of a cluster.
    Governs(Governs),
}

/// A role that serves a version.
#[derive(Clone, Copy)]
pub struct Serves {
    /// The message by which it serves an operator's connection.
    pub operate: fn(Level) -> PartMessage,
}

/// A role that says which version is served.
#[derive(Clone, Copy)]
pub struct Governs {
    /// The name of its socket in the runtime directory.
    pub socket: &'static str,
    /// What it is told at its start: its state directory, and its socket.
    pub payload: fn(&Path, &Path) -> Vec<u8>,
    /// The file of the version that was accepted last, in its state directory.
    pub accepted: &'static str,
    /// Reads that version from a state directory.
    pub read_accepted: fn(&Path) -> io::Result<AcceptedFile>,
    /// Reads from a state directory what holds for the parts until the role reports otherwise.
    pub read_first_messages: fn(&Path) -> FirstMessages,
}

/// Messages for parts that hold from the start on, also if the role that governs cannot start.
#[derive(Default)]
pub struct FirstMessages {
    /// The reason, for the operator; empty without messages.
    pub words: &'static str,
    /// The messages.
    pub messages: Vec<PartMessage>,
}

/// A version that was read again; nobody has looked at it.
pub struct AcceptedFile {
    /// A memory file with it.
    pub file: OwnedFd,
    /// What is wrong with the first of its two copies.
    pub damage: Option<&'static str>,
}

/// A role that runs beside the one that serves, or without it.
#[derive(Clone, Copy)]
pub struct Beside {
    /// The things in a file that need this part, for messages: `virtual addresses`.
    pub things: &'static str,
    /// The parts whose roles are ready before it begins, where a version has them. It ends
    /// before they do.
    pub needs: &'static [&'static str],
    /// Whether it has a state file, with which its successor starts.
    pub keeps: bool,
    /// Whether what it keeps counts again when the program is started after it was stopped: who has signed out,
    /// for instance.
    pub remembers: bool,
    /// Whether it gets the heartbeat memory of the proxy, and hears which roles that clients come
    /// to do not run.
    pub shares: bool,
    /// Whether clients come to it at addresses of this machine, which are of no use while it does
    /// not run.
    pub answers: bool,
    /// Two of them may run for a moment, so that nothing is interrupted when one follows
    /// another.
    pub overlaps: bool,
    /// What it has goes on when the program stops: its leases are not given up, and end by
    /// themselves unless the program starts again before.
    pub outlives: bool,
}

impl Beside {
    /// A role that nothing depends on and that shares nothing.
    pub const fn plain(things: &'static str) -> Beside {
        Beside {
            things,
            needs: &[],
            keeps: true,
            remembers: false,
            shares: false,
            answers: false,
            overlaps: false,
            outlives: false,
        }
    }
}

impl RoleRow {
    /// A role that runs beside the proxy, on which nothing depends.
    pub const fn plain(
        part: &'static str,
        entry: Entry,
        main: fn(Channel) -> ExitCode,
        things: &'static str,
    ) -> RoleRow {
        RoleRow {
            part,
            entry,
            main,
            ready_limit: Some(Duration::from_secs(30)),
            beats_after: Duration::ZERO,
            says_to: &[],
            reads_reports: false,
            certified: false,
            life: Life::Beside(Beside::plain(things)),
        }
    }

    /// Returns how it runs beside the proxy; None if it does not.
    pub fn beside(&self) -> Option<&Beside> {
        match &self.life {
            Life::Beside(beside) => Some(beside),
            Life::Serves(_) | Life::Governs(_) => None,
        }
    }
}

static ROWS: OnceLock<Vec<&'static RoleRow>> = OnceLock::new();

/// Sets the table of roles, once at the start of the process. Their order: the role that
/// serves, those beside it, the one that governs.
pub fn set(mut rows: Vec<&'static RoleRow>) {
    rows.sort_by_key(|row| match row.life {
        Life::Serves(_) => 0,
        Life::Beside(_) => 1,
        Life::Governs(_) => 2,
    });
    // A second time changes nothing.
    let _ = ROWS.set(rows);
}

/// All roles.
pub fn all() -> &'static [&'static RoleRow] {
    ROWS.get().map_or(&[], Vec::as_slice)
}

/// Whether the role of this part is the one that serves.
pub fn serves(part: &str) -> bool {
    let mut rows = all().iter();
    rows.any(|row| row.part == part && matches!(row.life, Life::Serves(_)))
}

/// The parts of the roles that run beside the one that serves.
pub fn beside() -> impl Iterator<Item = &'static str> {
    let beside = all().iter().filter(|row| row.beside().is_some());
    beside.map(|row| row.part)
}
