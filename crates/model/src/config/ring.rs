//! `ring`: a buffer in memory that log lines go to, and servers that get them.

use crate::setting::SyslogFormat;
use language::Span;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use tls::Connector;

/// One `ring` section; also a server of `log tcp@…`, as a ring of its own.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Ring {
    /// Its name; of a target that is a server itself its address.
    pub name: Box<str>,
    /// Where it stands.
    pub span: Span,
    /// `description`.
    pub description: Box<str>,
    /// `format`: of lines whose `log` says none.
    pub format: SyslogFormat,
    /// It was said; else messages of others keep theirs.
    pub format_said: bool,
    /// `maxlen`: longest line, bytes.
    pub line_max: usize,
    /// `size`: bytes of all lines. The oldest make room.
    pub size: usize,
    /// `timeout connect`, milliseconds.
    pub connect_ms: Option<u32>,
    /// `timeout server`: how long a server may take no line.
    pub server_ms: Option<u32>,
    /// `server`.
    pub servers: Vec<RingServer>,
}

/// A server that gets a ring's lines over TCP.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RingServer {
    /// Its name.
    pub name: Box<str>,
    /// Where it is.
    pub address: SocketAddr,
    /// `log-proto octet-count`: the length stands before each line (RFC 6587); else
    /// a line ends with a newline.
    pub counted: bool,
    /// How TLS is spoken with it.
    pub tls: RingTls,
}

/// The TLS of a ring's server; None is clear text. Two are equal that were made from
/// the same settings.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct RingTls(pub Option<Arc<Connector>>);

impl Eq for RingTls {}

impl Hash for RingTls {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.is_some().hash(state);
    }
}

/// Bytes of a ring that says nothing, and of its longest line.
pub const RING_BYTES: usize = 16_384;
/// See above.
pub const RING_LINE_BYTES: usize = 1024;

impl Ring {
    /// One with what holds where nothing is said.
    pub fn new(name: &str, span: Span) -> Ring {
        Ring {
            name: name.into(),
            span,
            description: name.into(),
            format: SyslogFormat::Local,
            format_said: false,
            line_max: RING_LINE_BYTES,
            size: RING_BYTES,
            connect_ms: None,
            server_ms: None,
            servers: Vec::new(),
        }
    }
}
