//! `log-forward`: sockets that take log messages of others, and where they go.

use super::{Bind, LogTarget, LogTargetAddress};
use language::Span;

/// Connections that a section takes at one time where it says nothing.
pub const LOG_CONNECTIONS_DEFAULT: u32 = 10;

/// What becomes of the host's name in a message that is passed on (`option host`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ForwardedHost {
    /// It stays.
    #[default]
    Keep,
    /// It becomes the sender's address.
    Replace,
    /// It becomes the sender's address where there is none.
    Fill,
    /// The sender's address is added behind a comma.
    Append,
}

/// One `log-forward` section.
#[derive(Clone, Debug, Default)]
pub struct LogForward {
    /// Its name.
    pub name: Box<str>,
    /// Where that stands.
    pub span: Span,
    /// `bind` and `dgram-bind`.
    pub binds: Vec<Bind>,
    /// `maxconn`.
    pub connections_max: Option<u32>,
    /// `backlog`.
    pub backlog: Option<u32>,
    /// `timeout client`, milliseconds.
    pub client_ms: Option<u32>,
    /// `log`.
    pub logs: Vec<LogTarget>,
    /// `log global` was said.
    pub log_global: bool,
    /// `option dont-parse-log`.
    pub opaque: bool,
    /// `option assume-rfc6587-ntf`: messages over TCP end with a newline, whatever
    /// they begin with.
    pub newlines_only: bool,
    /// `option host`.
    pub host: ForwardedHost,
}

/// What a backend in `mode log` has besides its servers.
#[derive(Debug)]
pub struct LogServers {
    /// Where each server is, in their order.
    pub addresses: Vec<LogTargetAddress>,
    /// `balance sticky`: one of them gets all messages.
    pub sticky: bool,
}
