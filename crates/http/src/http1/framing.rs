//! Decides which Connection header a forwarded message gets, and whether the connection stays
//! open after it. The results are those that were observed with HAProxy in its three connection
//! modes, except that an HTTP/1.0 client never gets a chunked body.

use super::{BodyLength, Parsed};
use crate::message::{HttpMessage, HttpVersion, MessageEditError};

/// Connection mode: `option http-keep-alive` (the default), `http-server-close`, `httpclose`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum ConnectionMode {
    #[default]
    KeepAlive,
    /// The server side closes after each response.
    ServerClose,
    Close,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConnectionHeader {
    /// Absent: the default of the version applies.
    Absent,
    Close,
    KeepAlive,
}

impl ConnectionHeader {
    /// Adds the header at the end of a message.
    ///
    /// # Errors
    /// `Full` if the header does not fit into the message.
    pub fn add_to(self, message: &mut HttpMessage) -> Result<(), MessageEditError> {
        match self {
            ConnectionHeader::Absent => Ok(()),
            ConnectionHeader::Close => message.add(b"connection", b"close"),
            ConnectionHeader::KeepAlive => message.add(b"connection", b"keep-alive"),
        }
    }
}

/// Returns the header of a request to a server. An upgrade already has its Connection header, and
/// the connection is not closed.
pub fn to_server(request: &HttpMessage, parsed: &Parsed, mode: ConnectionMode) -> ConnectionHeader {
    let old = request.version() == HttpVersion::Http10;
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

/// Space for the headers of framing, bytes.
const ROOM_BYTES: usize = 64;

/// Framing of a response to a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClientFraming {
    pub connection: ConnectionHeader,
    pub keep_alive: bool,
    /// True if a chunked body is forwarded without chunks and ended by the close, because the
    /// client uses HTTP/1.0.
    pub unchunk: bool,
    /// True if a body without a length is forwarded in chunks, because it arrives over HTTP/2.
    pub chunk: bool,
}

impl ClientFraming {
    /// Changes the head of a response to this framing.
    ///
    /// # Errors
    /// `Full` if the head with the new headers would exceed [`crate::message::MESSAGE_BYTES_MAX`].
    pub fn apply(&self, response: &mut HttpMessage) -> Result<(), MessageEditError> {
        if self.unchunk {
            response.remove(b"transfer-encoding");
            response.remove(b"trailer");
        }
        // Makes space in a head that rules have filled, because the framing must not be missing.
        if response.fields().free_bytes() < ROOM_BYTES {
            response.set_limit(response.wire_len() + ROOM_BYTES);
        }
        self.connection.add_to(response)?;
        if self.chunk {
            response.add(b"transfer-encoding", b"chunked")
        } else {
            Ok(())
        }
    }
}

/// Returns the framing of a response for a client whose request had this version, and
/// `request_keeps` (see [`Parsed::keep_alive`]) for persistence.
pub fn to_client(
    request_version: HttpVersion,
    request_keeps: bool,
    mode: ConnectionMode,
    response: &HttpMessage,
    parsed: &Parsed,
) -> ClientFraming {
    let old_client = request_version == HttpVersion::Http10;
    let old_response = response.version() == HttpVersion::Http10;
    let unchunk = old_client && parsed.body == BodyLength::Chunked;
    let chunk = !old_client && parsed.body == BodyLength::Stream;
    let ends = match parsed.body {
        BodyLength::UntilClose | BodyLength::Tunnel => false,
        BodyLength::Stream => chunk,
        _ => true,
    };
    if parsed.interim || parsed.body == BodyLength::Tunnel {
        return ClientFraming {
            connection: ConnectionHeader::Absent,
            keep_alive: parsed.interim,
            unchunk: false,
            chunk: false,
        };
    }
    // Closes the connection after the chunked body of an HTTP/1.0 response. A client of HTTP/1.1
    // gets the body with chunks, but its length is doubtful.
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
        chunk,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, ParseStatus, RequestFacts, parse_request, parse_response};
    use super::*;

    fn parsed_request(head: &str) -> (HttpMessage, Parsed) {
        let mut m = HttpMessage::new();
        match parse_request(head.as_bytes(), &Limits::default(), &mut m) {
            Ok(ParseStatus::Done(parsed)) => (m, parsed),
            other => panic!("{other:?}"),
        }
    }

    fn written(message: &HttpMessage) -> String {
        let mut out = Vec::new();
        message.write_http1(&mut out);
        String::from_utf8(out).unwrap()
    }

    const MODES: [ConnectionMode; 3] = [
        ConnectionMode::KeepAlive,
        ConnectionMode::ServerClose,
        ConnectionMode::Close,
    ];

    #[test]
    fn request_framing_equals_haproxys() {
        // Request, and the Connection headers in the three modes.
        let table = [
            ("1.1\r\n", ["", "close", "close"]),
            ("1.1\r\nConnection: close\r\n", ["", "close", "close"]),
            (
                "1.1\r\nConnection: keep-alive, X-Foo, close\r\n",
                ["X-Foo", "X-Foo+close", "X-Foo+close"],
            ),
            ("1.0\r\n", ["keep-alive", "", ""]),
            ("1.0\r\nConnection: keep-alive\r\n", ["keep-alive", "", ""]),
            (
                "1.1\r\nConnection: upgrade, keep-alive\r\nUpgrade: foo\r\n",
                ["upgrade", "upgrade", "upgrade"],
            ),
            ("1.1\r\nUpgrade: foo\r\n", ["", "close", "close"]),
        ];
        for (head, expected) in table {
            for (mode, expected) in MODES.into_iter().zip(expected) {
                let (mut m, parsed) = parsed_request(&format!("GET / HTTP/{head}\r\n"));
                to_server(&m, &parsed, mode).add_to(&mut m).unwrap();
                let all: Vec<&[u8]> = m.fields().get_all(b"connection").collect();
                let all = String::from_utf8(all.join(&b'+')).unwrap();
                assert_eq!(all, expected, "{head:?} {mode:?}");
            }
        }
    }

    #[test]
    fn full_head_still_declares_the_body_length() {
        let mut head = HttpMessage::new();
        head.begin_response(HttpVersion::Http11, 200, b"OK")
            .unwrap();
        head.set_limit(head.wire_len());
        let framing = ClientFraming {
            connection: ConnectionHeader::Close,
            keep_alive: false,
            unchunk: false,
            chunk: true,
        };
        framing.apply(&mut head).unwrap();
        assert_eq!(head.get(b"transfer-encoding"), Some(&b"chunked"[..]));
        assert_eq!(head.get(b"connection"), Some(&b"close"[..]));
    }

    #[test]
    fn response_framing_equals_haproxys() {
        let (c, k, n) = ("close", "keep-alive", "");
        let fixed = "200 OK\r\nContent-Length: 2\r\n";
        let chunked = "200 OK\r\nTransfer-Encoding: chunked\r\n";
        // Version of the request and whether it keeps the connection open, version of the response,
        // the rest of its head, and the header in the three modes.
        let table = [
            ("1.1", true, "1.1", fixed, [n, n, c]),
            ("1.1", false, "1.1", fixed, [c, c, c]),
            ("1.0", true, "1.1", fixed, [k, k, c]),
            ("1.0", false, "1.1", fixed, [c, c, c]),
            ("1.1", true, "1.0", fixed, [k, k, n]),
            ("1.1", false, "1.0", fixed, [n, n, n]),
            ("1.0", true, "1.0", fixed, [k, k, n]),
            ("1.1", true, "1.1", chunked, [n, n, c]),
            ("1.1", true, "1.1", "304 Not\r\n", [n, n, c]),
            ("1.0", true, "1.1", "304 Not\r\n", [k, k, c]),
            ("1.1", true, "1.1", "200 OK\r\n", [c, c, c]),
            ("1.0", true, "1.1", "200 OK\r\n", [c, c, c]),
            ("1.1", true, "1.0", "200 OK\r\n", [n, n, n]),
            ("1.1", true, "1.1", "100 Continue\r\n", [n, n, n]),
            // HAProxy sends chunks and keep-alive here, but HTTP/1.0 has no chunks.
            ("1.0", true, "1.1", chunked, [c, c, c]),
        ];
        for (request, keeps, version, rest, expected) in table {
            for (mode, expected) in MODES.into_iter().zip(expected) {
                let head = format!("HTTP/{version} {rest}\r\n");
                let mut m = HttpMessage::new();
                let facts = RequestFacts::default();
                let result = parse_response(head.as_bytes(), &facts, &Limits::default(), &mut m);
                let Ok(ParseStatus::Done(parsed)) = result else {
                    panic!("{result:?}");
                };
                let spoken = match request {
                    "1.0" => HttpVersion::Http10,
                    _ => HttpVersion::Http11,
                };
                let framing = to_client(spoken, keeps, mode, &m, &parsed);
                framing.apply(&mut m).unwrap();
                let got = m.get(b"connection").unwrap_or(b"").to_vec();
                assert_eq!(
                    got,
                    expected.as_bytes(),
                    "{request} {keeps} {head:?} {mode:?}"
                );
                let alive = keeps && mode != ConnectionMode::Close && expected != "close";
                if rest != "200 OK\r\n" && !rest.starts_with("100") {
                    assert_eq!(framing.keep_alive, alive, "{head:?} {mode:?}");
                }
                let unchunk = request == "1.0" && rest == chunked;
                assert_eq!(framing.unchunk, unchunk);
                assert_eq!(written(&m).contains("chunked"), rest == chunked && !unchunk);
            }
        }
    }
}
