//! Defines the type of the benchmark's cases. The cases are in `cases`, and `round` runs a round of
//! one.

use super::attack::Attack;
use super::configuration::File;
use super::map::Lookup;
use super::secure::Talk;

/// Unit of a metric's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// CPU time of one request, or of one handshake.
    MicrosecondsPerRequest,
    BytesPerConnection,
    Milliseconds,
    Mebibytes,
    Bytes,
    /// A cost as a multiple of another one.
    Times,
}

/// Reference of a row: the number with which Evenkeel's is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Against {
    Haproxy,
    /// The better number of HAProxy and nginx, if nginx is measured.
    TheBetter,
    /// The number one, because Evenkeel's number is a ratio already.
    One,
}

/// A row of the table.
#[derive(Debug)]
pub struct Metric {
    pub about: &'static str,
    pub unit: Unit,
    /// Required ratio: HAProxy's number divided by ours.
    pub target: f64,
    /// Ratio that is desired beyond the target; None without one.
    pub stretch: Option<f64>,
    pub against: Against,
}

#[derive(Debug)]
pub struct Case {
    pub name: &'static str,
    /// Rows of the case in the table.
    pub metrics: &'static [Metric],
    pub(super) file: File,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Traffic(Traffic),
    /// Requests of a text that the proxy must compress.
    Compressed(Traffic),
    /// Requests with a lookup in the map of the file, and in a small map.
    Map(Lookup, Traffic),
    /// Memory of these numbers of idle connections, a metric each.
    Idle(&'static [usize]),
    Check,
    /// A well-behaved client with this number of requests during an attack; for attacks with
    /// chunks, also the cost of a chunk.
    Attack(Attack, usize),
    /// Memory after traffic of all kinds, when its clients have disconnected.
    Memory,
    /// Traffic over TLS, which is measured for nginx, too.
    Secure(Secure),
    /// Memory of this number of idle connections over TLS, which is measured for nginx, too.
    SecureIdle(usize),
}

#[derive(Debug)]
pub(super) struct Traffic {
    pub(super) connections: usize,
    pub(super) body_bytes: usize,
    pub(super) keep_alive: bool,
    /// Further lines of a request's head.
    pub(super) lines: &'static str,
    pub(super) requests: u64,
}

#[derive(Debug)]
pub(super) struct Secure {
    pub(super) connections: usize,
    /// Body size of a request that reaches the origin. Handshakes request a few bytes from the
    /// proxy itself, so that their numbers contain nothing else.
    pub(super) body_bytes: usize,
    pub(super) requests: u64,
    pub(super) talk: Talk,
    /// True for TLS 1.2, false for TLS 1.3.
    pub(super) old: bool,
}
