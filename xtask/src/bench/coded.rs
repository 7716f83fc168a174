//! Reads the body of a compressed response: gzip in chunks. During the comparison the whole body is
//! kept and decoded; later only the chunks are counted.

use std::io::Read;

use flate2::read::GzDecoder;

use super::answer::Fault;

/// Maximum number of digits in the size of a chunk.
const SIZE_DIGITS_MAX: usize = 6;
/// Longest compressed body that is kept.
const KEPT_BYTES_MAX: usize = 1 << 21;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Within a size: its value and its number of digits so far.
    Size {
        size: usize,
        digits: usize,
    },
    SizeEnd {
        size: usize,
    },
    Data {
        left: usize,
    },
    /// Within the line end after the data, or after the last chunk.
    End {
        left: usize,
        last: bool,
    },
    Done,
}

/// Parser state of one body.
#[derive(Debug)]
pub struct Coded {
    state: State,
    kept: Vec<u8>,
    /// Bytes of data so far.
    pub bytes: usize,
}

impl Coded {
    /// Creates the state at the start of a body.
    pub const fn new() -> Self {
        Self {
            state: State::Size { size: 0, digits: 0 },
            kept: Vec::new(),
            bytes: 0,
        }
    }

    /// Resets the state to the start of the next body.
    pub fn reset(&mut self) {
        self.state = State::Size { size: 0, digits: 0 };
        self.kept.clear();
        self.bytes = 0;
    }

    /// Processes received bytes. Returns true when the body is complete.
    pub fn take(&mut self, mut bytes: &[u8], body: &[u8], compare: bool) -> Result<bool, Fault> {
        while let Some((&first, rest)) = bytes.split_first() {
            bytes = rest;
            self.state = match self.state {
                State::Size { size, digits } => match (first as char).to_digit(16) {
                    Some(digit) if digits < SIZE_DIGITS_MAX => State::Size {
                        size: size * 16 + digit as usize,
                        digits: digits + 1,
                    },
                    None if first == b'\r' && digits > 0 => State::SizeEnd { size },
                    _ => return Err(Fault::Chunk),
                },
                State::SizeEnd { size } if first == b'\n' => match size {
                    0 => State::End {
                        left: 2,
                        last: true,
                    },
                    left => State::Data { left },
                },
                State::SizeEnd { .. } => return Err(Fault::Chunk),
                State::Data { left } => {
                    let more = left.min(1 + rest.len()) - 1;
                    if compare && self.kept.len() < KEPT_BYTES_MAX {
                        self.kept.push(first);
                        self.kept.extend_from_slice(&rest[..more]);
                    }
                    bytes = &rest[more..];
                    self.bytes += 1 + more;
                    match left - 1 - more {
                        0 => State::End {
                            left: 2,
                            last: false,
                        },
                        left => State::Data { left },
                    }
                }
                State::End { left: 2, last } if first == b'\r' => State::End { left: 1, last },
                State::End { left: 1, last } if first == b'\n' => {
                    if last {
                        State::Done
                    } else {
                        State::Size { size: 0, digits: 0 }
                    }
                }
                State::End { .. } => return Err(Fault::Chunk),
                State::Done => {
                    let bytes = 1 + rest.len();
                    return Err(Fault::Excess { bytes });
                }
            };
        }
        let done = self.state == State::Done;
        if done && compare {
            self.verify(body)?;
        }
        Ok(done)
    }

    fn verify(&self, body: &[u8]) -> Result<(), Fault> {
        let mut plain = Vec::with_capacity(body.len());
        let most = body.len() as u64 + 1;
        let decoded = GzDecoder::new(&self.kept[..])
            .take(most)
            .read_to_end(&mut plain);
        if decoded.is_err() {
            return Err(Fault::NotGzip);
        }
        let same = plain.iter().zip(body).take_while(|(got, sent)| got == sent);
        match same.count() {
            same if same == body.len() && plain.len() == body.len() => Ok(()),
            offset => Err(Fault::Body { offset }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn chunked(body: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(body).expect("to compress");
        let gzip = encoder.finish().expect("to end");
        let mut out = Vec::new();
        for part in gzip.chunks(17) {
            out.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
            out.extend_from_slice(part);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"0\r\n\r\n");
        out
    }

    #[test]
    fn a_body_is_complete_wherever_it_is_cut() {
        let body = b"all work and no play makes jack a dull boy; all work and no play";
        let sent = chunked(body);
        for cut in 1..sent.len() {
            let mut coded = Coded::new();
            assert_eq!(coded.take(&sent[..cut], body, true), Ok(false), "{cut}");
            assert_eq!(coded.take(&sent[cut..], body, true), Ok(true), "{cut}");
            coded.reset();
            assert_eq!(coded.take(&sent, body, true), Ok(true), "{cut}");
        }
    }

    #[test]
    fn what_is_no_such_body_has_its_fault() {
        let sent = chunked(b"abc");
        let take = |bytes: &[u8], body: &[u8]| Coded::new().take(bytes, body, true);
        assert_eq!(take(b"x\r\n", b""), Err(Fault::Chunk));
        assert_eq!(take(b"1\r\nab", b""), Err(Fault::Chunk));
        assert_eq!(take(b"1234567", b""), Err(Fault::Chunk));
        assert_eq!(take(b"1\r\na\r\n0\r\n\r\n", b"a"), Err(Fault::NotGzip));
        assert_eq!(take(&sent, b"abd"), Err(Fault::Body { offset: 2 }));
        assert_eq!(take(&sent, b"abcd"), Err(Fault::Body { offset: 3 }));
        let more = [&sent[..], b"HT"].concat();
        assert_eq!(take(&more, b"abc"), Err(Fault::Excess { bytes: 2 }));
    }
}
