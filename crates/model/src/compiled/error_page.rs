//! `http-errors`: groups of pages that proxies and rules may use.

use super::Answer;
use http::http1::{self, BodyLength, Limits, ParseStatus, RequestFacts};
use http::message::Message;
use std::sync::{Arc, OnceLock};

/// What is sent in place of an answer (`errorfile`, `errorloc`).
#[derive(Clone, Debug)]
pub enum ErrorPage {
    /// A file with a whole response.
    File(Arc<ErrorFile>),
    /// An empty file: the connection closes without a response.
    Silent,
    /// 302 or 303 to a location.
    Redirect(u16, Box<[u8]>),
    /// A page that is made for each stream (`http-error`).
    Made(Arc<Answer>),
    /// The one of a group, where it has one (`errorfiles`).
    Group(HttpErrorsSlot),
    /// The one that would be there without this proxy's lines.
    Default,
}

/// A response in a file: status line, headers, an empty line, the body. Its `connection` and
/// `transfer-encoding` headers are left out: how a response is framed for its client is
/// decided when it is sent.
#[derive(Clone, Debug)]
pub struct ErrorFile {
    /// Status line and headers. With a `content-length`, that is the length of the body.
    pub head: Message,
    /// The body.
    pub body: Arc<[u8]>,
}

/// A file that was read as a response.
#[derive(Debug)]
pub struct ParsedErrorFile {
    /// The response.
    pub file: ErrorFile,
    /// The `content-length` of the file, where it is not the length of the body.
    pub wrong_length: Option<u64>,
}

impl ErrorFile {
    /// Reads a response out of the bytes of a file. The error says why it is none.
    pub fn parse(bytes: &[u8]) -> Result<ParsedErrorFile, String> {
        let mut head = Message::default();
        let limits = Limits {
            head_bytes: bytes.len(),
            message_bytes: bytes.len(),
            ..Limits::default()
        };
        let facts = RequestFacts::default();
        let parsed = match http1::parse_response(bytes, &facts, &limits, &mut head) {
            Ok(ParseStatus::Done(parsed)) => parsed,
            Ok(ParseStatus::Incomplete) => {
                return Err("its headers do not end with an empty line".to_owned());
            }
            Err(fault) => return Err(fault.to_string()),
        };
        let status = head.status();
        if status < 200 {
            return Err(format!("status {status} is not that of a final response"));
        }
        let body = bytes.get(parsed.consumed..).unwrap_or_default();
        let wrong_length = match parsed.body {
            BodyLength::Chunked => {
                return Err("a body in chunks is not supported, write it without them".to_owned());
            }
            _ if matches!(status, 204 | 304) && !body.is_empty() => {
                return Err(format!("a response with status {status} has no body"));
            }
            BodyLength::Length(length) => Some(length),
            BodyLength::None if !matches!(status, 204 | 304) => Some(0),
            _ => None,
        };
        let wrong_length = wrong_length.filter(|length| *length != body.len() as u64);
        if wrong_length.is_some() {
            let length = body.len().to_string();
            head.set_limit(head.wire_len() + length.len());
            let set = head.set(b"content-length", length.as_bytes());
            set.map_err(|_| "its headers are too long".to_owned())?;
        }
        for name in [&b"connection"[..], b"upgrade", b"transfer-encoding"] {
            head.remove(name);
        }
        // Rules may add to it.
        head.set_limit(http::message::MESSAGE_BYTES_DEFAULT.max(head.wire_len()));
        let body = body.into();
        Ok(ParsedErrorFile {
            file: ErrorFile { head, body },
            wrong_length,
        })
    }
}

/// The statuses that HAProxy itself answers with; 414 and 431 since 3.x.
pub const ERROR_STATUSES: &[u16] = &[
    200, 400, 401, 403, 404, 405, 407, 408, 410, 413, 414, 421, 422, 425, 429, 431, 500, 501, 502,
    503, 504,
];

/// A group of pages.
#[derive(Clone, Debug, Default)]
pub struct HttpErrors {
    /// Its name.
    pub name: Box<str>,
    /// Its pages by status.
    pub pages: Vec<(u16, ErrorPage)>,
}

impl HttpErrors {
    /// The page of a status.
    pub fn page(&self, status: u16) -> Option<&ErrorPage> {
        let found = self.pages.iter().find(|(other, _)| *other == status);
        found.map(|(_, page)| page)
    }
}

/// The group that a line names: filled in when the whole file is known.
pub type HttpErrorsSlot = Arc<OnceLock<Arc<HttpErrors>>>;

#[cfg(test)]
mod tests {
    use super::*;

    fn head_of(text: &str) -> String {
        let file = ErrorFile::parse(text.as_bytes()).unwrap().file;
        let mut bytes = Vec::new();
        file.head.write_http1(&mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn framing_of_error_file_is_left_to_the_sender() {
        for framing in [
            "Connection: close\r\n",
            "Connection: keep-alive, x\r\n",
            "Connection: upgrade\r\nUpgrade: h2c\r\n",
            // Written by hand, with line feeds alone.
            "Connection: close\n",
        ] {
            let text = format!("HTTP/1.0 502 Bad\r\n{framing}A: b\r\n\r\nbody");
            assert_eq!(
                head_of(&text),
                "HTTP/1.0 502 Bad\r\na: b\r\n\r\n",
                "{framing}"
            );
        }
    }

    #[test]
    fn length_of_error_file_is_that_of_its_body() {
        for (announced, body, wrong) in [
            ("Content-Length: 4\r\n", "body", None),
            ("Content-Length: 3\r\n", "body", Some(3)),
            ("Content-Length: 500\r\n", "body", Some(500)),
            ("Content-Length: 0\r\n", "body", Some(0)),
            ("Content-Length: 0\r\n", "", None),
        ] {
            let text = format!("HTTP/1.1 502 Bad\r\n{announced}\r\n{body}");
            let parsed = ErrorFile::parse(text.as_bytes()).unwrap();
            assert_eq!(parsed.wrong_length, wrong, "{announced}");
            let length = body.len().to_string();
            assert_eq!(
                parsed.file.head.get(b"content-length"),
                Some(length.as_bytes())
            );
        }
    }

    #[test]
    fn error_file_without_usable_framing_is_refused() {
        for text in [
            "",
            "<html></html>",
            "HTTP/1.1 502 Bad\r\nA: b\r\n",
            "HTTP/1.1 502 Bad\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
            "HTTP/1.0 502 Bad\r\nTransfer-Encoding: chunked\r\n\r\nbody",
            "HTTP/1.1 502 Bad\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            "HTTP/1.1 204 No\r\n\r\nbody",
            "HTTP/1.1 304 No\r\n\r\nbody",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 101 Switch\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n",
        ] {
            assert!(ErrorFile::parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
