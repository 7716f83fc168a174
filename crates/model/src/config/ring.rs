//! Holds the settings of `ring` sections: buffers in memory for log lines, and servers that
//! receive the lines.

use crate::setting::SyslogFormat;
use language::Span;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use tls::Connector;

/// A `ring` section; also the implicit ring of a `log tcp@…` server.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Ring {
    /// Name; for the implicit ring of a server, its address.
    pub name: Box<str>,
    pub span: Span,
    pub description: Box<str>,
    /// `format`: applies to lines whose `log` line sets none.
    pub format: SyslogFormat,
    /// The section sets `format`; otherwise forwarded messages keep their original format.
    pub format_said: bool,
    /// `maxlen`: maximum length of a line, bytes.
    pub line_max: usize,
    /// `size`: bytes of all lines. The oldest lines are dropped first.
    pub size: usize,
    pub connect_ms: Option<u32>,
    /// `timeout server`: time for which a server may accept no data, milliseconds.
    pub server_ms: Option<u32>,
    pub servers: Vec<RingServer>,
}

/// A server that receives a ring's lines over TCP.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RingServer {
    pub name: Box<str>,
    pub address: SocketAddr,
    /// `log-proto octet-count`: each line is preceded by its length (RFC 6587); otherwise it ends
    /// with a newline.
    pub counted: bool,
    pub tls: RingTls,
}

/// TLS settings of a ring's server; None is plain TCP. Two values are equal if they were made from
/// the same settings.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct RingTls(pub Option<Arc<Connector>>);

impl Eq for RingTls {}

impl Hash for RingTls {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.is_some().hash(state);
    }
}

/// Default size of a ring, bytes.
pub const RING_BYTES: usize = 16_384;
/// Default maximum length of a line of a ring, bytes.
pub const RING_LINE_BYTES: usize = 1024;

impl Ring {
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
