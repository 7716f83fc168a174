//! What the role is given by the process around it, and what passes between them.

use crate::config::Config;
use part::report::{Event, Report};
use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

/// How much a line of the log matters; keepalived's levels.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Something is wrong and stays so until somebody acts.
    Error,
    /// Something is not as it should be.
    Warning,
    /// What an operator wants to see: states.
    Notice,
    /// All else.
    Info,
    /// With `--log-detail` (`-D`) only.
    Detail,
}

/// Where lines go. Called on the role's thread: it must not wait.
pub type Log = Box<dyn FnMut(Level, &str)>;

/// Which of keepalived's dumps is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dump {
    /// SIGUSR1: `/tmp/keepalived.data`.
    Data,
    /// SIGUSR2: `/tmp/keepalived.stats`.
    Statistics,
    /// Signal 36: `/tmp/keepalived.json`.
    Json,
}

impl Dump {
    /// The file's name in the directory of dumps.
    pub fn file_name(self) -> &'static str {
        match self {
            Dump::Data => "keepalived.data",
            Dump::Statistics => "keepalived.stats",
            Dump::Json => "keepalived.json",
        }
    }
}

/// What the role is told to do.
#[derive(Debug)]
pub enum Order {
    /// Run this from now on. No address that is in both moves. Answered by
    /// [`Told::Taken`] or [`Told::Refused`].
    Take(Box<Config>),
    /// Read the proxy's heartbeats from this memory from now on.
    Vitals(OwnedFd),
    /// End. `release`: a planned stop, the addresses are removed, then the advert of
    /// priority zero is sent. Without it a successor takes over: all is left in place.
    Stop {
        /// Whether addresses are given up.
        release: bool,
    },
    /// Give the addresses of this instance (or of all, without a name) to another
    /// machine, and do not take them back at once. In our own dialect it has new
    /// connections at once, and older ones may finish here.
    /// Answered by [`Told::HandOver`].
    HandOver {
        /// The instance's name.
        name: Option<String>,
        /// How long they may finish; none is its `handover-drain`.
        drain: Option<Duration>,
    },
    /// These leases are held, and no others.
    Hold(Vec<super::Lease>),
    /// Another machine could use this lease better.
    HandOverLease(String),
    /// Answered by [`Told::Report`].
    Status,
    /// Write one of keepalived's dumps. Answered by [`Told::Dumped`].
    Dump(Dump),
    /// SIGUSR2 with clearing (`SIGRTMIN+N`): counters begin at zero.
    ClearStatistics,
    /// The other end of the channel is closed: the role continues to serve, and asks for
    /// orders now and then until one arrives.
    Left,
}

/// What the role tells.
#[derive(Debug)]
pub enum Told {
    /// All that the first configuration needs is there; the loop begins.
    Ready,
    /// The configuration of the last [`Order::Take`] runs.
    Taken,
    /// It could not be taken; the old one runs on. Lines for people.
    Refused(Vec<String>),
    /// How everything is.
    Report(Box<Report>),
    /// A hand-over was begun for these; none where no instance of that name is master.
    HandOver(Vec<String>),
    /// The owner of these addresses drains: the proxy should close idle connections
    /// and say so to clients; the address goes after so long.
    Draining {
        /// The instance.
        name: String,
        /// Until the address goes.
        wait: Duration,
    },
    /// The dump was written there.
    Dumped(PathBuf),
    /// The state of an instance changed; for those who follow.
    Changed {
        /// The instance.
        name: String,
        /// What happened.
        event: Box<Event>,
    },
    /// Addresses are bound to these leases, and could use them now; told with
    /// [`Told::Ready`], after each change, and empty at the end.
    WantsLeases(Vec<super::WantedLease>),
    /// The role ends.
    Stopped,
}

/// The other end: a supervisor, or a test. The role polls [`Orders::as_fd`] and calls
/// [`Orders::next`] until there is nothing more; neither may wait.
pub trait Orders {
    /// What becomes readable when an order is there.
    fn as_fd(&self) -> BorrowedFd<'_>;
    /// The next order, if one has arrived whole.
    fn next(&mut self) -> Option<Order>;
    /// Tells something; what cannot be told at once may be dropped or queued, bounded.
    fn tell(&mut self, told: Told);
}

/// What the role is given.
pub struct Given {
    /// Who tells it what to do.
    pub orders: Box<dyn Orders>,
    /// Where its log goes.
    pub log: Log,
    /// What a role before this one had kept ([`super::KeptState`]), if any.
    pub kept: Option<Vec<u8>>,
    /// A file (a memory file, usually) which always holds the kept state: it is
    /// rewritten at each transition, its length in the first eight bytes (little
    /// endian), then the JSON. None keeps nothing. [`super::KeptState::read`] reads it.
    pub keep: Option<OwnedFd>,
    /// The memory of the proxy's heartbeats, if there is a proxy.
    pub vitals: Option<OwnedFd>,
    /// Where dumps go when the configuration does not say; `/tmp` for keepalived.
    pub dump_directory: PathBuf,
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Given")
            .field("kept", &self.kept.is_some())
            .field("keep", &self.keep)
            .field("vitals", &self.vitals)
            .finish_non_exhaustive()
    }
}

/// How the role ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// It was told to stop and gave its addresses up.
    Released,
    /// It was told to stop and left all in place for a successor.
    Left,
}

/// Why the role cannot run.
#[derive(Debug)]
pub enum RoleError {
    /// The kernel refused a socket or a descriptor of the loop.
    System {
        /// What for.
        what: &'static str,
        /// Its answer.
        error: io::Error,
    },
    /// More of something than the role has room for.
    TooMany {
        /// Of what.
        what: &'static str,
        /// The most there may be.
        at_most: usize,
    },
    /// `net_namespace` cannot be entered.
    Namespace {
        /// Which.
        name: String,
        /// Why.
        error: io::Error,
    },
}

impl fmt::Display for RoleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RoleError::System { what, error } => write!(f, "{what}: {error}"),
            RoleError::TooMany { what, at_most } => {
                write!(f, "more than {at_most} {what}")
            }
            RoleError::Namespace { name, error } => {
                write!(f, "cannot enter the network namespace {name}: {error}")
            }
        }
    }
}

impl std::error::Error for RoleError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RoleError::System { error, .. } | RoleError::Namespace { error, .. } => Some(error),
            RoleError::TooMany { .. } => None,
        }
    }
}
