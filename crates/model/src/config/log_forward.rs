//! Holds the settings of `log-forward` sections, whose sockets receive log messages of other
//! hosts and forward them.

use super::{Bind, LogTarget, LogTargetAddress};
use language::Span;

/// Default of `maxconn`: maximum number of simultaneous connections of a section.
pub const LOG_CONNECTIONS_DEFAULT: u32 = 10;

/// Treatment of the host name in a forwarded message (`option host`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ForwardedHost {
    #[default]
    Keep,
    /// Replaces the host name by the sender's address.
    Replace,
    /// Inserts the sender's address if there is no host name.
    Fill,
    /// Appends the sender's address after a comma.
    Append,
}

#[derive(Clone, Debug, Default)]
pub struct LogForward {
    pub name: Box<str>,
    pub span: Span,
    pub binds: Vec<Bind>,
    pub connections_max: Option<u32>,
    pub backlog: Option<u32>,
    pub client_ms: Option<u32>,
    pub logs: Vec<LogTarget>,
    pub log_global: bool,
    /// Messages are forwarded without being parsed (`option dont-parse-log`).
    pub opaque: bool,
    /// `option assume-rfc6587-ntf`: every message over TCP ends with a newline; a length before
    /// the message is not recognized.
    pub newlines_only: bool,
    pub host: ForwardedHost,
}

/// Settings of a backend in `mode log`, besides its servers.
#[derive(Debug)]
pub struct LogServers {
    /// Address of each server, in their order.
    pub addresses: Vec<LogTargetAddress>,
    /// `balance sticky`: a single server receives all messages.
    pub sticky: bool,
}
