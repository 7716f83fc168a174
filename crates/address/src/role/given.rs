//! The inputs of the role, and its messages to and from the process around it.

use crate::config::Config;
use part::report::{Event, Report};
use part::role::MemberNews;
pub use part::voice::keepalived::Level;
use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

/// Where lines go. Called on the role's thread: it must not wait.
pub type Log = Box<dyn FnMut(Level, &str)>;

/// The kinds of keepalived's dumps.
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

/// A request to the role.
#[derive(Debug)]
pub enum Order {
    /// Install this configuration. An address in both configurations does not move. The
    /// reply is [`Notification::Taken`] or [`Notification::Refused`].
    Take(Box<Config>),
    /// Read the proxy's heartbeats from this memory from now on.
    Vitals(Option<OwnedFd>),
    /// Which roles that clients come to, other than the proxy, do not run, in words.
    Missing(String),
    /// End. `release`: a planned stop, the addresses are removed, then the advert of
    /// priority zero is sent. Without it a successor takes over: all is left in place.
    Stop {
        /// Whether addresses are given up.
        release: bool,
        /// Addresses that no other node takes stay until the next order: the proxy finishes
        /// its connections. The reply is [`Notification::Stays`], or the end.
        stays: bool,
    },
    /// Hand over the addresses of this instance (or of all, without a name) to another
    /// machine, and do not take them back at once. For a `virtual-ip` section the other
    /// machine gets new connections at once, and existing ones may finish here. The reply
    /// is [`Notification::HandOver`].
    HandOver {
        /// The instance's name.
        name: Option<String>,
        /// How long they may finish; none is its `handover-drain`.
        drain: Option<Duration>,
    },
    /// What the control role reports about this machine as a member of its cluster.
    Member(MemberNews),
    /// The leases held from now on; all others are released.
    Hold(Vec<super::Lease>),
    /// Another machine could use this lease better.
    HandOverLease(String),
    /// The reply is [`Notification::Report`].
    Status,
    /// Write one of keepalived's dumps. The reply is [`Notification::Dumped`].
    Dump(Dump),
    /// SIGUSR2 with clearing (`SIGRTMIN+N`): reset the counters.
    ClearStatistics,
    /// The other end of the channel is closed: the role continues to serve, and asks for
    /// orders now and then until one arrives.
    Left,
}

/// A message of the role.
#[derive(Debug)]
pub enum Notification {
    /// The first configuration is installed; the loop starts.
    Ready,
    /// The configuration of the last [`Order::Take`] runs.
    Taken,
    /// It could not be taken; the old one runs on. Lines for people.
    Refused(Vec<String>),
    /// How everything is.
    Report(Box<Report>),
    /// A hand-over was begun for these; none where no instance of that name is master.
    HandOver(Vec<String>),
    /// No other node takes the addresses; they stay until the next [`Order::Stop`].
    Stays,
    /// The addresses are being drained: the proxy closes idle connections and asks
    /// clients to leave. The address is released after `wait`.
    Draining {
        /// The instance.
        name: String,
        /// Time until the address is released.
        wait: Duration,
    },
    /// The dump was written there.
    Dumped(PathBuf),
    /// The state of an instance changed.
    Changed {
        /// The instance.
        name: String,
        /// The transition.
        event: Box<Event>,
    },
    /// The leases that this node could use now, to which addresses are bound. Sent with
    /// [`Notification::Ready`], after each change, and empty at the end.
    WantsLeases(Vec<super::WantedLease>),
    /// The role ends.
    Stopped,
}

/// The other end: a supervisor, or a test. The role polls [`Orders::as_fd`] and calls
/// [`Orders::next`] until there is nothing more; neither may wait.
pub trait Orders {
    /// Returns the descriptor that is readable when an order is waiting.
    fn as_fd(&self) -> BorrowedFd<'_>;
    /// The next order, if one has arrived whole.
    fn next(&mut self) -> Option<Order>;
    /// Sends a message; if it cannot be sent at once, it may be dropped or queued,
    /// bounded.
    fn tell(&mut self, told: Notification);
}

/// The inputs of the role.
pub struct RoleInputs {
    /// The source of orders.
    pub orders: Box<dyn Orders>,
    /// The log.
    pub log: Log,
    /// The stored state of the previous role ([`super::KeptState`]), if any.
    pub kept: Option<Vec<u8>>,
    /// A file (a memory file, usually) which always holds the kept state: it is
    /// rewritten at each transition, its length in the first eight bytes (little
    /// endian), then the JSON. None keeps nothing. [`super::KeptState::read`] reads it.
    pub keep: Option<OwnedFd>,
    /// The memory of the proxy's heartbeats, if there is a proxy.
    pub vitals: Option<OwnedFd>,
    /// Directory of dumps unless the configuration names one; `/tmp` for keepalived.
    pub dump_directory: PathBuf,
}

impl fmt::Debug for RoleInputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoleInputs")
            .field("kept", &self.kept.is_some())
            .field("keep", &self.keep)
            .field("vitals", &self.vitals)
            .finish_non_exhaustive()
    }
}

/// How the role ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// It was asked to stop, and released its addresses.
    Released,
    /// It was asked to stop, and left everything in place for a successor.
    Left,
}

/// Why the role cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    /// The kernel refused a socket or a descriptor of the loop.
    #[error("{what}: {error}")]
    System {
        /// The operation that failed.
        what: &'static str,
        /// The system error.
        #[source]
        error: io::Error,
    },
    /// More of something than the role has room for.
    #[error("more than {at_most} {what}")]
    TooMany {
        /// The kind of objects.
        what: &'static str,
        /// The most there may be.
        at_most: usize,
    },
    /// `net_namespace` cannot be entered.
    #[error("cannot enter the network namespace {name}: {error}")]
    Namespace {
        /// The instance.
        name: String,
        /// Why.
        #[source]
        error: io::Error,
    },
}
