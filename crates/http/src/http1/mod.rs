//! Parses HTTP/1 heads into an [`HttpMessage`], decodes and encodes chunked bodies, and decides
//! on the `connection` header of each direction.
//!
//! The module does no IO, reads no clock and keeps no state between heads. Input that two
//! recipients could interpret differently is either refused with an [`HttpParseError`] or rewritten
//! in a form that has only one interpretation. HAProxy 2.6 determines what is accepted, except
//! where it is less strict than is safe.
//!
//! httparse is not used, because errors need a position, folded lines and relaxed names need
//! further checks, and two parsers could disagree. The tests require agreement with httparse.

mod cache;
mod chunked;
mod connection;
mod fault;
mod framing;
mod head;
mod host;
mod length;
mod page;
mod request;
mod response;

pub use cache::Cacheability;
pub use chunked::{Chunk, ChunkHead, ChunkedDecoder, LAST_CHUNK, write_last_chunk};
pub use connection::{proxy_connection_keep_alive, take_close};
pub use fault::{FaultKind, HttpParseError};
pub use framing::{ClientFraming, ConnectionHeader, ConnectionMode, to_client, to_server};
pub use page::{ErrorPage, Redirect, RedirectCode, error_page};
pub use request::{Preface, http2_preface, parse_request};
pub use response::{RequestFacts, parse_response};

// Checks that HTTP/2 shares with HTTP/1.
pub(crate) use chunked::is_forbidden_trailer;
pub(crate) use head::Noted;
pub(crate) use host::{check as check_host, is_host_and_port, is_same_authority as hosts_agree};
pub(crate) use length::content_length;
pub(crate) use request::{expects_continue, is_target_byte};

use crate::message::{HttpMessage, MESSAGE_BYTES_DEFAULT};

/// Limits of a message head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Maximum length of a head, bytes: `tune.bufsize` minus `tune.maxrewrite`.
    pub head_bytes: usize,
    /// Maximum length to which rules may extend the message, bytes: `tune.bufsize`.
    pub message_bytes: usize,
    /// `tune.http.maxhdr`: maximum number of lines, including the start line.
    pub headers: usize,
    /// Accepts what `option accept-invalid-http-request` or `-response` allows.
    pub accept_invalid: bool,
    /// Accepts bodies with any method (`h1-accept-payload-with-any-method`).
    pub body_with_any_method: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            head_bytes: MESSAGE_BYTES_DEFAULT - 1024,
            message_bytes: MESSAGE_BYTES_DEFAULT,
            headers: 101,
            accept_invalid: false,
            body_with_any_method: false,
        }
    }
}

/// Length of the body after a head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyLength {
    None,
    /// A body of this many bytes, never 0.
    Length(u64),
    Chunked,
    UntilClose,
    /// The body ends with the stream: HTTP/2 without a length. HTTP/1 forwards it in chunks, or
    /// until the close to a recipient without chunks.
    Stream,
    /// The connection is no longer HTTP: after a 101, or a successful CONNECT.
    Tunnel,
}

/// Facts of a parsed head in addition to the message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parsed {
    /// Number of input bytes that the head took, including preceding blank lines.
    pub consumed: usize,
    pub body: BodyLength,
    /// True if the sender keeps the connection open after this message. A connection with doubtful
    /// framing is not reused.
    pub keep_alive: bool,
    pub upgrade: Option<Upgrade>,
    pub expect_continue: bool,
    /// True for a response that another one follows for the same request.
    pub interim: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Upgrade {
    /// `websocket`, with its key validated.
    WebSocket,
    Other,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParseStatus {
    /// The head is valid so far but incomplete. Read more and parse again from the start.
    Incomplete,
    Done(Parsed),
}

pub(crate) fn prepare(message: &mut HttpMessage, limits: &Limits, bytes: usize) {
    message.clear();
    message.set_limit(limits.message_bytes);
    // Reserves additional space, because a colon may gain a space, and a bare line feed a carriage
    // return.
    const GROWTH: usize = 64;
    message
        .fields_mut()
        .reserve(bytes.min(limits.head_bytes) + GROWTH, 16);
}

#[cfg(test)]
mod tests;
