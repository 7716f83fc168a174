//! Reads HTTP/1 messages for tests, over TCP or TLS, with a size limit and a deadline, framed as
//! their head says. This code is lenient where a proxy is strict, and is never used by the product.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const MAX_HEAD_BYTES: usize = 256 * 1024;
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;
const READ_BYTES: usize = 64 * 1024;

/// Reason why a message is malformed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MalformedMessage {
    /// The first line is invalid.
    StartLine,
    /// A header without a colon.
    Header,
    Length,
    Chunk,
    /// The head is longer than [`MAX_HEAD_BYTES`].
    HeadTooLong,
    /// The body is longer than [`MAX_BODY_BYTES`].
    BodyTooLong,
}

/// Reason why no message could be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReadError {
    /// The other side closed the connection before the first byte.
    Closed,
    /// The other side closed the connection within the message.
    BrokenOff,
    TimedOut,
    Malformed(MalformedMessage),
    Io(ErrorKind),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpResponse {
    pub status: u16,
    pub start_line: String,
    /// Headers in order, with names as they were written.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl HttpResponse {
    /// Returns the first header with this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// Returns the body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// First line and headers of a message.
#[derive(Debug)]
pub(crate) struct MessageHead {
    pub(crate) text: String,
    pub(crate) start_line: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl MessageHead {
    fn read(text: String) -> Result<Self, MalformedMessage> {
        let mut lines = text.split("\r\n").take_while(|line| !line.is_empty());
        let start_line = lines.next().ok_or(MalformedMessage::StartLine)?.to_owned();
        let headers: Option<Vec<_>> = lines
            .map(|line| line.split_once(':'))
            .map(|found| found.map(|(name, value)| (name.to_owned(), value.trim().to_owned())))
            .collect();
        let headers = headers.ok_or(MalformedMessage::Header)?;
        Ok(MessageHead {
            text,
            start_line,
            headers,
        })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    fn has_token(&self, name: &str, token: &str) -> bool {
        let value = self.header(name).unwrap_or_default();
        value
            .split(',')
            .any(|t| t.trim().eq_ignore_ascii_case(token))
    }

    /// Returns whether the connection continues after the message.
    pub(crate) fn keeps_alive(&self) -> bool {
        if self.start_line.contains("HTTP/1.0") {
            self.has_token("connection", "keep-alive")
        } else {
            !self.has_token("connection", "close")
        }
    }

    /// Returns the framing of the body, if the head specifies it.
    pub(crate) fn length(&self) -> Result<Option<Length>, MalformedMessage> {
        if self.has_token("transfer-encoding", "chunked") {
            return Ok(Some(Length::Chunked));
        }
        let Some(value) = self.header("content-length") else {
            return Ok(None);
        };
        let bytes = value.parse().map_err(|_| MalformedMessage::Length)?;
        Ok(Some(Length::Bytes(bytes)))
    }

    /// Parses the status of a response.
    pub(crate) fn status(&self) -> Result<u16, MalformedMessage> {
        let mut words = self.start_line.split(' ');
        let version = words.next().unwrap_or_default();
        let status = words.next().and_then(|word| word.parse().ok());
        status
            .filter(|_| version.starts_with("HTTP/1."))
            .ok_or(MalformedMessage::StartLine)
    }
}

fn find<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    let found = headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Length {
    Bytes(usize),
    Chunked,
    UntilClose,
}

/// Transport of messages: a connection, or TLS on one.
pub(crate) trait Carrier: Read + Write {
    /// Sets the time after which a read fails.
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;
}

impl Carrier for TcpStream {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        TcpStream::set_read_timeout(self, timeout)
    }
}

/// A connection with the bytes that were read from it but not yet used.
#[derive(Debug)]
pub(crate) struct BufferedConnection<S = TcpStream> {
    pub(crate) stream: S,
    ahead: Vec<u8>,
    deadline: Option<Instant>,
}

impl<S: Carrier> BufferedConnection<S> {
    pub(crate) fn new(stream: S) -> Self {
        BufferedConnection {
            stream,
            ahead: Vec::new(),
            deadline: None,
        }
    }

    /// Sets the deadline of the following reads.
    pub(crate) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
    }

    /// Returns whether all received bytes have been used.
    pub(crate) fn is_clean(&self) -> bool {
        self.ahead.is_empty()
    }

    /// Reads more bytes; returns zero at the end.
    fn fill(&mut self) -> Result<usize, ReadError> {
        if let Some(deadline) = self.deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            if left < Duration::from_micros(1) {
                return Err(ReadError::TimedOut);
            }
            let _ = self.stream.set_read_timeout(Some(left));
        }
        let before = self.ahead.len();
        self.ahead.resize(before + READ_BYTES, 0);
        let result = self.stream.read(&mut self.ahead[before..]);
        let read = *result.as_ref().unwrap_or(&0);
        self.ahead.truncate(before + read);
        result.map_err(read_error)
    }

    pub(crate) fn read_head(&mut self) -> Result<MessageHead, ReadError> {
        let mut looked = 0;
        loop {
            let end = self.ahead[looked..]
                .windows(4)
                .position(|w| w == b"\r\n\r\n");
            if let Some(end) = end {
                let rest = self.ahead.split_off(looked + end + 4);
                let head = std::mem::replace(&mut self.ahead, rest);
                let text = String::from_utf8_lossy(&head).into_owned();
                return MessageHead::read(text).map_err(ReadError::Malformed);
            }
            if self.ahead.len() > MAX_HEAD_BYTES {
                return Err(ReadError::Malformed(MalformedMessage::HeadTooLong));
            }
            looked = self.ahead.len().saturating_sub(3);
            match self.fill() {
                Ok(0) if self.ahead.is_empty() => return Err(ReadError::Closed),
                Ok(0) => return Err(ReadError::BrokenOff),
                Ok(_) => {}
                // Counts a connection that was reset before its first byte as closed.
                Err(ReadError::BrokenOff) if self.ahead.is_empty() => {
                    return Err(ReadError::Closed);
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn read_body(&mut self, length: Length) -> Result<Vec<u8>, ReadError> {
        match length {
            Length::Bytes(bytes) => self.read_exact_bytes(bytes),
            Length::Chunked => self.read_chunks(),
            Length::UntilClose => loop {
                if self.ahead.len() > MAX_BODY_BYTES {
                    return Err(ReadError::Malformed(MalformedMessage::BodyTooLong));
                }
                if self.fill()? == 0 {
                    return Ok(std::mem::take(&mut self.ahead));
                }
            },
        }
    }

    fn read_chunks(&mut self) -> Result<Vec<u8>, ReadError> {
        let malformed = || ReadError::Malformed(MalformedMessage::Chunk);
        let mut body = Vec::new();
        loop {
            let line = self.read_line()?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| malformed())?;
            if size > MAX_BODY_BYTES - body.len() {
                return Err(ReadError::Malformed(MalformedMessage::BodyTooLong));
            }
            if size == 0 {
                // Limits the trailers to the maximum size of the head.
                let mut trailer_bytes = 0;
                loop {
                    let line = self.read_line()?;
                    trailer_bytes += line.len();
                    if line.is_empty() {
                        return Ok(body);
                    }
                    if trailer_bytes > MAX_HEAD_BYTES {
                        return Err(ReadError::Malformed(MalformedMessage::HeadTooLong));
                    }
                }
            }
            body.extend(self.read_exact_bytes(size)?);
            if self.read_exact_bytes(2)? != b"\r\n" {
                return Err(malformed());
            }
        }
    }

    fn read_exact_bytes(&mut self, bytes: usize) -> Result<Vec<u8>, ReadError> {
        if bytes > MAX_BODY_BYTES {
            return Err(ReadError::Malformed(MalformedMessage::BodyTooLong));
        }
        while self.ahead.len() < bytes {
            if self.fill()? == 0 {
                return Err(ReadError::BrokenOff);
            }
        }
        let rest = self.ahead.split_off(bytes);
        Ok(std::mem::replace(&mut self.ahead, rest))
    }

    fn read_line(&mut self) -> Result<String, ReadError> {
        loop {
            if let Some(end) = self.ahead.windows(2).position(|w| w == b"\r\n") {
                let mut line = self.read_exact_bytes(end + 2)?;
                line.truncate(end);
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            if self.ahead.len() > MAX_HEAD_BYTES {
                return Err(ReadError::Malformed(MalformedMessage::Chunk));
            }
            if self.fill()? == 0 {
                return Err(ReadError::BrokenOff);
            }
        }
    }
}

fn read_error(error: io::Error) -> ReadError {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => ReadError::TimedOut,
        // Counts `UnexpectedEof`, too, by which rustls reports a connection that ended without
        // close_notify.
        ErrorKind::ConnectionReset
        | ErrorKind::BrokenPipe
        | ErrorKind::ConnectionAborted
        | ErrorKind::UnexpectedEof => ReadError::BrokenOff,
        kind => ReadError::Io(kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Returns a connection on which these bytes have arrived, followed by the end.
    fn wire(bytes: &[u8]) -> BufferedConnection {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        sender.write_all(bytes).unwrap();
        BufferedConnection::new(listener.accept().unwrap().0)
    }

    #[test]
    fn bodies_end_as_their_head_declares() {
        for (message, body, rest) in [
            ("a: b\r\ncontent-length: 3\r\n\r\nabcde", "abc", "de"),
            (
                "Transfer-Encoding: gzip, Chunked\r\n\r\n3;x=y\r\nabc\r\n1\r\nd\r\n0\r\nt: u\r\n\r\nde",
                "abcd",
                "de",
            ),
        ] {
            let mut wire = wire(format!("HTTP/1.1 200 OK\r\n{message}").as_bytes());
            let head = wire.read_head().unwrap();
            assert_eq!(head.status(), Ok(200));
            let length = head.length().unwrap().unwrap();
            assert_eq!(wire.read_body(length).unwrap(), body.as_bytes());
            assert_eq!(wire.ahead, rest.as_bytes());
        }
    }

    #[test]
    fn end_of_a_connection_is_classified_by_position() {
        assert_eq!(wire(b"").read_head().unwrap_err(), ReadError::Closed);
        let cut = wire(b"HTTP/1.1 200 OK\r\n").read_head();
        assert_eq!(cut.unwrap_err(), ReadError::BrokenOff);
        let cut = wire(b"ab").read_body(Length::Bytes(3));
        assert_eq!(cut, Err(ReadError::BrokenOff));
        let whole = wire(b"ab").read_body(Length::UntilClose);
        assert_eq!(whole, Ok(b"ab".to_vec()));
        let bad = wire(b"xyz\r\n").read_body(Length::Chunked);
        assert_eq!(bad, Err(ReadError::Malformed(MalformedMessage::Chunk)));
    }
}
