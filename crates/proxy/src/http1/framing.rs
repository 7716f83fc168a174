//! Which Connection header a message gets on its way, and whether the
//! connection lives on behind it: what was observed with HAProxy for its three
//! modes, except that an HTTP/1.0 client is never sent chunks.

use super::{BodyLength, Parsed};
use crate::message::{Message, Refusal, Version};

/// `option http-keep-alive` (the default), `http-server-close`, `httpclose`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum ConnectionMode {
    /// Both sides live on.
    #[default]
    KeepAlive,
    /// The server side closes after each response.
    ServerClose,
    /// Both sides close.
    Close,
}

/// The Connection header to add.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConnectionHeader {
    /// None: the version's default says it.
    Absent,
    /// `connection: close`
    Close,
    /// `connection: keep-alive`
    KeepAlive,
}

impl ConnectionHeader {
    /// Adds it at the end of a message.
    pub fn add_to(self, message: &mut Message) -> Result<(), Refusal> {
        match self {
            ConnectionHeader::Absent => Ok(()),
            ConnectionHeader::Close => message.add(b"connection", b"close"),
            ConnectionHeader::KeepAlive => message.add(b"connection", b"keep-alive"),
        }
    }
}

/// The header of a request to a server. An upgrade already says what it
/// needs, and closes nothing.
pub fn to_server(request: &Message, parsed: &Parsed, mode: ConnectionMode) -> ConnectionHeader {
    let old = request.version() == Version::Http10;
    let chunked_old = old && parsed.body == BodyLength::Chunked;
    if parsed.upgrade.is_some() {
        return ConnectionHeader::Absent;
    }
    match (mode == ConnectionMode::KeepAlive && !chunked_old, old) {
        (true, false) | (false, true) => ConnectionHeader::Absent,
        (true, true) => ConnectionHeader::KeepAlive,
        (false, false) => ConnectionHeader::Close,
    }
}

/// How a response goes to its client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClientFraming {
    /// The header to add.
    pub connection: ConnectionHeader,
    /// Whether another request may follow on the connection.
    pub keep_alive: bool,
    /// The body is chunked and goes on without chunks, ended by the close:
    /// the client speaks HTTP/1.0.
    pub unchunk: bool,
}

impl ClientFraming {
    /// Makes the head of a response say so.
    pub fn apply(&self, response: &mut Message) -> Result<(), Refusal> {
        if self.unchunk {
            response.remove(b"transfer-encoding");
            response.remove(b"trailer");
        }
        self.connection.add_to(response)
    }
}

/// The framing of a response to a client whose request had this version and
/// said (see [`Parsed::keep_alive`]) whether to live on.
pub fn to_client(
    request_version: Version,
    request_keeps: bool,
    mode: ConnectionMode,
    response: &Message,
    parsed: &Parsed,
) -> ClientFraming {
    let old_client = request_version == Version::Http10;
    let old_response = response.version() == Version::Http10;
    let unchunk = old_client && parsed.body == BodyLength::Chunked;
    let ends = !matches!(parsed.body, BodyLength::UntilClose | BodyLength::Tunnel);
    if parsed.interim || parsed.body == BodyLength::Tunnel {
        return ClientFraming {
            connection: ConnectionHeader::Absent,
            keep_alive: parsed.interim,
            unchunk: false,
        };
    }
    // A length that an HTTP/1.0 response gives in chunks is given all the same
    // to a client of 1.1, but it may doubt it: close.
    let doubtful = old_response && parsed.body == BodyLength::Chunked;
    let keep_alive =
        request_keeps && mode != ConnectionMode::Close && ends && !unchunk && !doubtful;
    let connection = match (keep_alive, old_response) {
        (true, _) if old_response || old_client => ConnectionHeader::KeepAlive,
        (true, _) | (false, true) => ConnectionHeader::Absent,
        (false, false) => ConnectionHeader::Close,
    };
    ClientFraming {
        connection,
        keep_alive,
        unchunk,
    }
}
