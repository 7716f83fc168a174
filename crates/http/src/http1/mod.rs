//! HTTP/1 as values: heads are parsed into a [`Message`], chunked bodies are
//! decoded and encoded, and it is said which `connection` header goes where.
//!
//! It does no IO, reads no clock and keeps no state between heads. Whatever
//! two recipients could read in two ways is either refused with a [`Fault`]
//! or written out in the one way in which it was understood; the haproxy that
//! was compared (2.6) is the measure of what is accepted, except where it is
//! laxer than is safe.
//!
//! One parser of our own reads heads, not httparse: faults need a position,
//! folded lines and relaxed names need a second look in any case, and two
//! parsers could differ. httparse stands in the tests, which demand that the
//! two agree.

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

pub use cache::{is_cacheable, shares_cookie};
pub use chunked::{Chunk, ChunkHead, ChunkedDecoder, LAST_CHUNK, write_last_chunk};
pub use connection::keeps_by_proxy_connection;
pub use fault::{Fault, FaultKind};
pub use framing::{ClientFraming, ConnectionHeader, ConnectionMode, to_client, to_server};
pub use page::{ErrorPage, Redirect, RedirectCode, error_page};
pub use request::{Preface, http2_preface, parse_request};
pub use response::{RequestFacts, parse_response};

// What HTTP/2 checks as HTTP/1 does.
pub(crate) use chunked::is_forbidden_trailer;
pub(crate) use head::Noted;
pub(crate) use host::{agree as hosts_agree, check as check_host, is_host_and_port};
pub(crate) use length::content_length;
pub(crate) use request::{expects_continue, is_target_byte};

use crate::message::{MESSAGE_BYTES_DEFAULT, Message};

/// Limits of a message head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of a head: `tune.bufsize` less `tune.maxrewrite`.
    pub head_bytes: usize,
    /// Bytes that the message may grow to by rules: `tune.bufsize`.
    pub message_bytes: usize,
    /// `tune.http.maxhdr`: the start line counts as one.
    pub headers: usize,
    /// `option accept-invalid-http-request` (or `-response`).
    pub accept_invalid: bool,
    /// `h1-accept-payload-with-any-method`.
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

/// How long the body behind a head is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyLength {
    /// There is none.
    None,
    /// A body of this many bytes, never 0.
    Length(u64),
    /// Chunks, see [`ChunkedDecoder`].
    Chunked,
    /// All until the server closes.
    UntilClose,
    /// All until the sender ends its stream: HTTP/2, where no length was given.
    /// HTTP/1 sends it on in chunks, or until the close to who knows none.
    Stream,
    /// No HTTP any more: a 101, or a success of CONNECT.
    Tunnel,
}

/// The facts of a parsed head, besides the message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parsed {
    /// Bytes of input that the head took, blank lines before it included.
    pub consumed: usize,
    /// The body that follows.
    pub body: BodyLength,
    /// Whether the sender lets the connection live after this message. Its
    /// framing is taken into account: what was doubtful is not reused.
    pub keep_alive: bool,
    /// A request that asks for another protocol; a response that agrees.
    pub upgrade: Option<Upgrade>,
    /// A request waits for `100 Continue` before it sends its body.
    pub expect_continue: bool,
    /// A response after which another comes for the same request.
    pub interim: bool,
}

/// The protocol that an upgrade asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Upgrade {
    /// `websocket`, with its key checked.
    WebSocket,
    /// Any other.
    Other,
}

/// The result of parsing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParseStatus {
    /// All fine so far, but the head does not end here: read more and parse
    /// again from the start.
    Incomplete,
    /// The message is filled.
    Done(Parsed),
}

/// Prepares the message that a parser fills from so many bytes.
pub(crate) fn prepare(message: &mut Message, limits: &Limits, bytes: usize) {
    message.clear();
    message.set_limit(limits.message_bytes);
    // A colon may gain a space, a bare line feed a carriage return.
    const GROWTH: usize = 64;
    message
        .fields_mut()
        .reserve(bytes.min(limits.head_bytes) + GROWTH, 16);
}

#[cfg(test)]
mod tests;
