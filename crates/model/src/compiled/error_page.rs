//! Holds the error pages of proxies and rules, and the groups of them (`http-errors` sections).

use super::ResponseTemplate;
use http::http1::{self, BodyLength, Limits, ParseStatus, RequestFacts};
use http::message::HttpMessage;
use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

/// Replacement for an error response (`errorfile`, `errorloc`).
#[derive(Clone, Debug)]
pub enum ErrorPage {
    File(Arc<ErrorFile>),
    /// Empty file: the connection closes without a response.
    Silent,
    /// Redirect with status 302 or 303, and its location.
    Redirect(u16, Box<[u8]>),
    /// Page that is formatted for each stream (`http-error`).
    Made(Arc<ResponseTemplate>),
    /// Page of an `http-errors` section, if the section has one (`errorfiles`).
    Group(HttpErrorsSlot),
    /// Built-in page, as if the proxy had no line for this status.
    Default,
}

/// Response in a file: status line, headers, an empty line, the body. Headers `connection`,
/// `upgrade` and `transfer-encoding` are removed, because the framing of a response is decided when
/// it is sent to its client.
#[derive(Clone, Debug)]
pub struct ErrorFile {
    /// Status line and headers. A `content-length` equals the length of the body.
    pub head: HttpMessage,
    pub body: Arc<[u8]>,
}

#[derive(Debug)]
pub struct ParsedErrorFile {
    pub file: ErrorFile,
    /// Value of `content-length` in the file if it differs from the length of the body.
    pub wrong_length: Option<u64>,
}

impl ErrorFile {
    /// Parses the bytes of a file as a response.
    ///
    /// # Errors
    /// Returns a message for the operator if the head is incomplete, malformed or too long, if the
    /// status is that of an interim response, if the body is in chunks, or if the status allows no
    /// body.
    pub fn parse(bytes: &[u8]) -> Result<ParsedErrorFile, String> {
        let mut head = HttpMessage::default();
        let limits = Limits {
            head_bytes: bytes.len(),
            message_bytes: bytes.len(),
            ..Limits::default()
        };
        let facts = RequestFacts::default();
        let bytes = &*as_http1(bytes);
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
        // Leaves room for headers that rules add.
        head.set_limit(http::message::MESSAGE_BYTES_DEFAULT.max(head.wire_len()));
        let body = body.into();
        Ok(ParsedErrorFile {
            file: ErrorFile { head, body },
            wrong_length,
        })
    }
}

/// Replaces the HTTP version of a status line, as HAProxy does: 0.x becomes 1.0, and 2.x to 9.x
/// become 1.1. Any `HTTP/<digit>.<digit>` is valid in an error file, because the version of a
/// response is that of its client.
fn as_http1(bytes: &[u8]) -> Cow<'_, [u8]> {
    let minor = match bytes {
        [
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            b'0',
            b'.',
            b'0'..=b'9',
            b' ',
            ..,
        ] => b'0',
        [
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            b'2'..=b'9',
            b'.',
            b'0'..=b'9',
            b' ',
            ..,
        ] => b'1',
        _ => return bytes.into(),
    };
    let mut bytes = bytes.to_vec();
    (bytes[5], bytes[7]) = (b'1', minor);
    bytes.into()
}

/// Statuses of the responses that HAProxy generates itself; 414 and 431 since 3.x.
pub const ERROR_STATUSES: &[u16] = &[
    200, 400, 401, 403, 404, 405, 407, 408, 410, 413, 414, 421, 422, 425, 429, 431, 500, 501, 502,
    503, 504,
];

/// Section `http-errors`: a group of error pages.
#[derive(Clone, Debug, Default)]
pub struct HttpErrors {
    pub name: Box<str>,
    pub pages: Vec<(u16, ErrorPage)>,
}

impl HttpErrors {
    pub fn page(&self, status: u16) -> Option<&ErrorPage> {
        let found = self.pages.iter().find(|(other, _)| *other == status);
        found.map(|(_, page)| page)
    }
}

/// Reference of a line to an `http-errors` section; set when the whole file is loaded.
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
    fn every_version_of_an_error_file_is_sent_as_http1() {
        for (version, sent) in [
            ("HTTP/2.0", "HTTP/1.1"),
            ("HTTP/3.9", "HTTP/1.1"),
            ("HTTP/1.2", "HTTP/1.1"),
            ("HTTP/1.1", "HTTP/1.1"),
            ("HTTP/1.0", "HTTP/1.0"),
            ("HTTP/0.9", "HTTP/1.0"),
        ] {
            let head = head_of(&format!("{version} 503 Busy\r\nA: b\r\n\r\nlater"));
            assert!(head.starts_with(&format!("{sent} 503 Busy\r\n")), "{head}");
        }
        for version in ["HTTP/2", "HTTP/10.0", "HTTP/2.00", "HTTQ/2.0", "HTTP/x.0"] {
            let text = format!("{version} 503 Busy\r\n\r\n");
            assert!(ErrorFile::parse(text.as_bytes()).is_err(), "{version}");
        }
    }

    #[test]
    fn framing_of_error_file_is_left_to_the_sender() {
        for framing in [
            "Connection: close\r\n",
            "Connection: keep-alive, x\r\n",
            "Connection: upgrade\r\nUpgrade: h2c\r\n",
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
