//! Type of the benchmark's cases. The cases are in `cases`, and `round` runs a round of one.

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

/// The program whose number ours is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Against {
    Haproxy,
    /// The better of haproxy's and nginx's, where nginx is measured.
    TheBetter,
    /// With one: ours is a ratio by itself.
    One,
}

/// A row of the table.
#[derive(Debug)]
pub struct Metric {
    /// Name in the table.
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
    /// The same for a text that has to be compressed.
    Compressed(Traffic),
    /// Lookups in the map of the file, and in a small one.
    Map(Lookup, Traffic),
    /// Idle connections; a metric for each number.
    Idle(&'static [usize]),
    Check,
    /// A well-behaved client during an attack, with so many requests; for attacks with chunks, the
    /// cost of a thousand of them.
    Attack(Attack, usize),
    /// Memory after traffic of all kinds, when its clients have disconnected.
    Memory,
    /// Traffic over TLS, for nginx too.
    Secure(Secure),
    /// As many idle connections over TLS, for nginx too.
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
    /// TLS 1.2, not 1.3.
    pub(super) old: bool,
}
