//! Parses one HTTP response: accepts bytes, and returns whether the response is complete, or a
//! fault.
//!
//! The parser accepts exactly what the origin sends and refuses everything else, so that a proxy
//! that fails requests cannot look fast. It never allocates and does no IO.

use std::fmt;

use super::coded::Coded;

/// Longest head of a response that is accepted.
pub const HEAD_BYTES_MAX: usize = 512;

#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    pub body: &'a [u8],
    /// The bytes of the body are compared, not only counted. Status and length are always verified.
    pub compare: bool,
    /// The body is compressed, in chunks.
    pub gzip: bool,
}

/// Difference between a response and the required one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The head does not end within [`HEAD_BYTES_MAX`].
    LongHead,
    NotHttp,
    Status([u8; 3]),
    NoLength,
    /// A Content-Length, but not that of the origin.
    Length {
        got: u64,
        expected: u64,
    },
    /// The bytes of the body differ within the block that begins here.
    Body {
        offset: usize,
    },
    /// Bytes after the end of the response.
    Excess {
        bytes: usize,
    },
    Chunk,
    /// The body is not valid gzip, or is truncated.
    NotGzip,
    /// The connection ended before the response did.
    Truncated,
    /// The proxy closed a connection which should be kept.
    ClosedIdle,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LongHead => write!(f, "its head is longer than {HEAD_BYTES_MAX} bytes"),
            Self::NotHttp => write!(f, "it is not HTTP/1"),
            Self::Status(code) => write!(f, "status {}", code.escape_ascii()),
            Self::NoLength => write!(f, "it has no Content-Length"),
            Self::Length { got, expected } => {
                write!(f, "Content-Length is {got}, expected {expected}")
            }
            Self::Body { offset } => write!(f, "its body differs near byte {offset}"),
            Self::Excess { bytes } => write!(f, "{bytes} bytes follow it"),
            Self::Chunk => write!(f, "its chunks are broken"),
            Self::NotGzip => write!(f, "it is not compressed with gzip"),
            Self::Truncated => write!(f, "the connection ended before it did"),
            Self::ClosedIdle => write!(f, "the proxy closed the kept-alive connection"),
        }
    }
}

/// Parser state of one response.
#[derive(Debug)]
pub struct Reader {
    head: [u8; HEAD_BYTES_MAX],
    head_bytes: usize,
    body_bytes: Option<usize>,
    coded: Option<Box<Coded>>,
}

impl Reader {
    /// Creates a reader at the start of a response.
    pub const fn new() -> Self {
        Self {
            head: [0; HEAD_BYTES_MAX],
            head_bytes: 0,
            body_bytes: None,
            coded: None,
        }
    }

    pub fn reset(&mut self) {
        self.head_bytes = 0;
        self.body_bytes = None;
        if let Some(coded) = &mut self.coded {
            coded.reset();
        }
    }

    /// Returns the number of body bytes, as they were sent.
    pub fn body_bytes(&self) -> usize {
        let counted = self.body_bytes.unwrap_or(0);
        self.coded.as_ref().map_or(counted, |coded| coded.bytes)
    }

    /// Processes received bytes. Returns true when the response is complete.
    pub fn take(&mut self, bytes: &[u8], expected: Expected<'_>) -> Result<bool, Fault> {
        let body = match self.body_bytes {
            Some(_) => bytes,
            None => match self.take_head(bytes, expected)? {
                Some(body) => body,
                None => return Ok(false),
            },
        };
        if expected.gzip {
            let coded = self.coded.get_or_insert_with(|| Box::new(Coded::new()));
            return coded.take(body, expected.body, expected.compare);
        }
        let offset = self.body_bytes.unwrap_or(0);
        let end = offset + body.len();
        let Some(same) = expected.body.get(offset..end) else {
            return Err(Fault::Excess {
                bytes: end - expected.body.len(),
            });
        };
        if expected.compare && same != body {
            return Err(Fault::Body { offset });
        }
        self.body_bytes = Some(end);
        Ok(end == expected.body.len())
    }

    /// Returns the part of `bytes` after the head, or None while the head is incomplete.
    fn take_head<'b>(
        &mut self,
        bytes: &'b [u8],
        expected: Expected<'_>,
    ) -> Result<Option<&'b [u8]>, Fault> {
        if self.head_bytes == 0
            && let Some(end) = head_end(&bytes[..bytes.len().min(HEAD_BYTES_MAX)])
        {
            verify_head(&bytes[..end], expected)?;
            self.body_bytes = Some(0);
            return Ok(Some(&bytes[end..]));
        }
        // Collects a head that arrives in pieces, which is rare, so that the copy costs little.
        let before = self.head_bytes;
        let room = (HEAD_BYTES_MAX - before).min(bytes.len());
        self.head[before..before + room].copy_from_slice(&bytes[..room]);
        self.head_bytes += room;
        match head_end(&self.head[..self.head_bytes]) {
            Some(end) => {
                verify_head(&self.head[..end], expected)?;
                self.body_bytes = Some(0);
                Ok(Some(&bytes[end - before..]))
            }
            None if self.head_bytes == HEAD_BYTES_MAX => Err(Fault::LongHead),
            None => Ok(None),
        }
    }
}

/// Returns the end of the head at the front of `bytes`, including its empty line.
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map(|at| at + 4)
}

/// Returns the value of a header, found by a linear search that ignores case.
pub fn header<'h>(head: &'h [u8], name: &[u8]) -> Option<&'h [u8]> {
    head.split(|&byte| byte == b'\n').skip(1).find_map(|line| {
        let (found, rest) = line.split_at_checked(name.len())?;
        let value = rest.strip_prefix(b":")?;
        found.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
    })
}

/// Parses a decimal number that consists of all `digits`.
pub fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn verify_head(head: &[u8], expected: Expected<'_>) -> Result<(), Fault> {
    if !head.starts_with(b"HTTP/1.") {
        return Err(Fault::NotHttp);
    }
    match head
        .get(9..12)
        .and_then(|code| <[u8; 3]>::try_from(code).ok())
    {
        Some(code) if &code == b"200" => {}
        Some(code) => return Err(Fault::Status(code)),
        None => return Err(Fault::NotHttp),
    }
    if expected.gzip {
        return match header(head, b"content-encoding") {
            Some(b"gzip") => Ok(()),
            _ => Err(Fault::NotGzip),
        };
    }
    let got = header(head, b"content-length")
        .and_then(number)
        .ok_or(Fault::NoLength)?;
    let expected = expected.body.len() as u64;
    if got == expected {
        Ok(())
    } else {
        Err(Fault::Length { got, expected })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: Expected<'_> = Expected {
        body: b"0123456789",
        compare: true,
        gzip: false,
    };
    const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\nA: b\r\ncontent-LENGTH: 10\r\n\r\n0123456789";

    #[test]
    fn an_answer_is_complete_wherever_it_is_cut() {
        for cut in 1..GOOD.len() {
            let mut reader = Reader::new();
            assert_eq!(reader.take(&GOOD[..cut], BODY), Ok(false), "cut at {cut}");
            assert_eq!(reader.take(&GOOD[cut..], BODY), Ok(true), "cut at {cut}");
            reader.reset();
            assert_eq!(
                reader.take(GOOD, BODY),
                Ok(true),
                "again after cut at {cut}"
            );
        }
    }

    #[test]
    fn an_answer_is_complete_byte_by_byte() {
        let mut reader = Reader::new();
        let done: Vec<_> = GOOD
            .iter()
            .map(|byte| reader.take(&[*byte], BODY))
            .collect();
        assert!(done[..GOOD.len() - 1].iter().all(|done| *done == Ok(false)));
        assert_eq!(done[GOOD.len() - 1], Ok(true));
    }

    #[test]
    fn every_wrong_answer_has_its_fault() {
        let table: &[(&[u8], Fault)] = &[
            (b"HTTP/1.1 503 No\r\n\r\n", Fault::Status(*b"503")),
            (b"SSH-2.0-x\r\n\r\n", Fault::NotHttp),
            (b"HTTP/1.1 200 OK\r\n\r\n0123456789", Fault::NoLength),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n012345678",
                Fault::Length {
                    got: 9,
                    expected: 10,
                },
            ),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234x6789",
                Fault::Body { offset: 0 },
            ),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789HT",
                Fault::Excess { bytes: 2 },
            ),
            (&[b'h'; HEAD_BYTES_MAX], Fault::LongHead),
        ];
        for (bytes, fault) in table {
            assert_eq!(Reader::new().take(bytes, BODY).as_ref(), Err(fault));
        }
    }

    #[test]
    fn a_body_is_only_counted_when_it_is_not_compared() {
        let counted = Expected {
            compare: false,
            ..BODY
        };
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nxxxxxxxxxx";
        assert_eq!(Reader::new().take(bytes, counted), Ok(true));
    }
}
