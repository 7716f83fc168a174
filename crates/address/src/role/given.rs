//! Defines the inputs of the role (orders, stored state, log) and its notifications to the
//! supervisor.

use crate::config::Config;
use part::report::{Event, StatusReport};
use part::role::MemberNews;
pub use part::voice::keepalived::Level;
use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

/// Receiver of log lines. The role calls it on its own thread, so the receiver must not block.
pub type Log = Box<dyn FnMut(Level, &str)>;

/// Kinds of dumps that keepalived writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dump {
    /// Dump on SIGUSR1, into `/tmp/keepalived.data`.
    Data,
    /// Dump on SIGUSR2, into `/tmp/keepalived.stats`.
    Statistics,
    /// Dump on signal 36, into `/tmp/keepalived.json`.
    Json,
}

impl Dump {
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
pub enum RoleOrder {
    /// Install this configuration. An address in both configurations does not move. The response is
    /// [`Notification::Taken`] or [`Notification::Refused`].
    Take(Box<Config>),
    /// Read the proxy's heartbeats from this memory from now on; None: there is no proxy.
    Vitals(Option<OwnedFd>),
    /// Message about client-facing roles, other than the proxy, that do not run.
    Missing(String),
    /// End the role. With `release`, a planned stop: the addresses are removed, then the advert of
    /// priority zero is sent. Without it a successor takes over and everything is left in place.
    Stop {
        release: bool,
        /// True if addresses that no other node takes stay until the next order, while the proxy
        /// finishes its connections. The response is [`Notification::Stays`], or the end of the
        /// role.
        stays: bool,
    },
    /// Hand the addresses of this instance (or of all, without a name) over to another machine, and
    /// do not take them back at once. For a `virtual-ip` section the other machine gets new
    /// connections at once, and existing ones may finish here. The response is
    /// [`Notification::HandOver`].
    HandOver {
        /// Name of the instance; None: all instances.
        name: Option<String>,
        /// Time that existing connections have to finish; None: the instance's `handover-drain`.
        drain: Option<Duration>,
    },
    /// Report of the control role about this machine as a member of its cluster.
    Member(MemberNews),
    /// Leases held from now on; all others are released.
    Hold(Vec<super::Lease>),
    /// Release this lease, because another machine could use it better.
    HandOverLease(String),
    /// Report the status. The response is [`Notification::Report`].
    Status,
    /// Write one of keepalived's dumps. The response is [`Notification::Dumped`].
    Dump(Dump),
    /// Reset the counters (SIGUSR2 with clearing, `SIGRTMIN+N`).
    ClearStatistics,
    /// The other end of the channel is closed. The role continues to serve, and polls for orders
    /// until one arrives.
    Left,
}

/// A message from the role to the supervisor.
#[derive(Debug)]
pub enum Notification {
    /// The first configuration is installed; the loop starts.
    Ready,
    /// The configuration of the last [`RoleOrder::Take`] is in effect.
    Taken,
    /// The new configuration could not be installed; the old one stays in effect. Contains lines
    /// for the operator.
    Refused(Vec<String>),
    Report(Box<StatusReport>),
    /// A hand-over has started for these instances; empty if no instance of that name is master.
    HandOver(Vec<String>),
    /// No other node takes the addresses; they stay until the next [`RoleOrder::Stop`].
    Stays,
    /// The addresses are being drained: the proxy closes idle connections and asks clients to
    /// leave. The addresses are released after `wait`.
    Draining {
        name: String,
        wait: Duration,
    },
    Dumped(PathBuf),
    Changed {
        name: String,
        event: Box<Event>,
    },
    /// Leases that this node could use now, to which addresses are bound. Sent with
    /// [`Notification::Ready`], after each change, and with an empty list at the end.
    WantsLeases(Vec<super::WantedLease>),
    /// The loop runs, and requests leases.
    Heartbeat,
    Stopped,
}

/// Channel to a supervisor or a test. The role polls [`OrderChannel::as_fd`], and calls
/// [`OrderChannel::next`] until no orders are left. No function may block.
pub trait OrderChannel {
    /// Returns the descriptor that is readable when an order is waiting.
    fn as_fd(&self) -> BorrowedFd<'_>;
    /// Returns the next order, if one has arrived completely.
    fn next(&mut self) -> Option<RoleOrder>;
    /// Sends a message. If it cannot be sent at once, it may be dropped or put into a bounded
    /// queue.
    fn send_notification(&mut self, told: Notification);
}

/// Resources that the role receives at its start.
pub struct RoleInputs {
    pub orders: Box<dyn OrderChannel>,
    pub log: Log,
    /// Stored state of the previous role ([`super::KeptState`]), if any.
    pub stored_state: Option<Vec<u8>>,
    /// File (usually a memory file) that always contains the state for a successor, and that is
    /// rewritten at each transition: the length in the first eight bytes (little endian), then the
    /// JSON. None: no state is stored. [`super::KeptState::read`] reads the file.
    pub keep: Option<OwnedFd>,
    /// Shared memory of the proxy's heartbeats; None without a proxy.
    pub vitals: Option<OwnedFd>,
    /// Directory of dumps unless the configuration names one; `/tmp` for keepalived.
    pub dump_directory: PathBuf,
}

impl fmt::Debug for RoleInputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoleInputs")
            .field("kept", &self.stored_state.is_some())
            .field("keep", &self.keep)
            .field("vitals", &self.vitals)
            .finish_non_exhaustive()
    }
}

/// Result of a role that ended in an orderly way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// The role received an order to stop, and released its addresses.
    Released,
    /// The role received an order to stop, and left everything in place for a successor.
    Left,
}

/// Reason why the role cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    #[error("{what}: {error}")]
    System {
        what: &'static str,
        #[source]
        error: io::Error,
    },
    #[error("more than {at_most} {what}")]
    TooMany { what: &'static str, at_most: usize },
    #[error("cannot enter the network namespace {name}: {error}")]
    Namespace {
        name: String,
        #[source]
        error: io::Error,
    },
}
