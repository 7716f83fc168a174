//! Encodes and decodes the frames of a copy. Received data is validated: a frame has a known kind,
//! a length within the limits of its kind, and no trailing bytes.

use super::chunk::{CHUNK_BYTES, OFFER_CHUNKS_MAX, Sum};
use language::truncated;
use std::io::{self, Read};

/// Length of a header, bytes: kind, flag, two zeroes, and length of the content.
const HEAD_BYTES: usize = 8;
const WORDS_BYTES_MAX: usize = 1024;
const CONTENT_BYTES_MAX: usize = CHUNK_BYTES + 8;

/// Frame of the copy protocol.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CopyFrame {
    Begin {
        size: u64,
        /// First chunk to be copied; all earlier ones are on the target's stable storage.
        from: u64,
        overwrites: bool,
    },
    Ready {
        size: u64,
        /// Length of the target's allocated space, which may contain data, bytes.
        held: u64,
        /// Offers are only compared and nothing is written, because the target contains data that
        /// must not be overwritten.
        compares: bool,
    },
    Offer {
        first: u64,
        sums: Vec<Sum>,
    },
    Zeroes {
        first: u64,
        count: u64,
    },
    /// Chunks of an offer that the receiver needs.
    Want {
        first: u64,
        /// Bit mask of the chunks; the lowest bit is the first one.
        mask: u64,
    },
    Data {
        chunk: u64,
        is_packed: bool,
        bytes: Vec<u8>,
    },
    End(Sum),
    /// Chunks before this one are on stable storage.
    Stable(u64),
    /// Number of chunks that the receiver has read again for the final check.
    Checked(u64),
    Done(Sum),
    Refused {
        again: bool,
        words: String,
    },
    Alive,
}

/// Reason why a frame cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("a frame of an unknown kind or with a wrong length")]
    Malformed,
}

fn pair(content: &[u8]) -> Option<(u64, u64)> {
    let (first, rest) = content.split_first_chunk()?;
    let second = <[u8; 8]>::try_from(rest).ok()?;
    Some((u64::from_le_bytes(*first), u64::from_le_bytes(second)))
}

fn number(content: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(content.try_into().ok()?))
}

fn sum(content: &[u8]) -> Option<Sum> {
    Some(Sum(content.try_into().ok()?))
}

impl CopyFrame {
    pub fn encode(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&[0; HEAD_BYTES]);
        let (kind, flag) = match self {
            CopyFrame::Begin {
                size,
                from,
                overwrites,
            } => (1, put(out, *size, *from, *overwrites)),
            CopyFrame::Ready {
                size,
                held,
                compares,
            } => (2, put(out, *size, *held, *compares)),
            CopyFrame::Offer { first, sums } => {
                out.extend_from_slice(&first.to_le_bytes());
                sums.iter().for_each(|sum| out.extend_from_slice(&sum.0));
                (3, false)
            }
            CopyFrame::Zeroes { first, count } => (4, put(out, *first, *count, false)),
            CopyFrame::Want { first, mask } => (5, put(out, *first, *mask, false)),
            CopyFrame::Data {
                chunk,
                is_packed,
                bytes,
            } => {
                out.extend_from_slice(&chunk.to_le_bytes());
                out.extend_from_slice(bytes);
                (6, *is_packed)
            }
            CopyFrame::End(sum) => {
                out.extend_from_slice(&sum.0);
                (7, false)
            }
            CopyFrame::Stable(chunk) => {
                out.extend_from_slice(&chunk.to_le_bytes());
                (8, false)
            }
            CopyFrame::Checked(chunk) => {
                out.extend_from_slice(&chunk.to_le_bytes());
                (9, false)
            }
            CopyFrame::Done(sum) => {
                out.extend_from_slice(&sum.0);
                (10, false)
            }
            CopyFrame::Refused { again, words } => {
                out.extend_from_slice(truncated(words, WORDS_BYTES_MAX).as_bytes());
                (11, *again)
            }
            CopyFrame::Alive => (12, false),
        };
        let length = (out.len() - begin - HEAD_BYTES) as u32;
        out[begin] = kind;
        out[begin + 1] = u8::from(flag);
        out[begin + 4..begin + HEAD_BYTES].copy_from_slice(&length.to_le_bytes());
    }

    /// Reads exactly one frame, and no byte after it.
    ///
    /// # Errors
    /// The connection fails, or the data is not a frame.
    pub fn read(from: &mut impl Read) -> Result<CopyFrame, FrameError> {
        let mut head = [0; HEAD_BYTES];
        from.read_exact(&mut head)?;
        let [kind, flag, 0, 0, length @ ..] = head else {
            return Err(FrameError::Malformed);
        };
        let length = u32::from_le_bytes(length) as usize;
        if flag > 1 || !is_length(kind, length) {
            return Err(FrameError::Malformed);
        }
        let mut content = vec![0; length];
        from.read_exact(&mut content)?;
        CopyFrame::decode(kind, flag == 1, content).ok_or(FrameError::Malformed)
    }

    fn decode(kind: u8, flag: bool, mut content: Vec<u8>) -> Option<CopyFrame> {
        let frame = match kind {
            1 => pair(&content).map(|(size, from)| CopyFrame::Begin {
                size,
                from,
                overwrites: flag,
            }),
            2 => pair(&content).map(|(size, held)| CopyFrame::Ready {
                size,
                held,
                compares: flag,
            }),
            3 => {
                let (first, sums) = content.split_first_chunk()?;
                let (sums, _) = sums.as_chunks::<32>();
                Some(CopyFrame::Offer {
                    first: u64::from_le_bytes(*first),
                    sums: sums.iter().map(|sum| Sum(*sum)).collect(),
                })
            }
            4 => pair(&content).map(|(first, count)| CopyFrame::Zeroes { first, count }),
            5 => pair(&content).map(|(first, mask)| CopyFrame::Want { first, mask }),
            6 => {
                let (chunk, _) = content.split_first_chunk()?;
                let chunk = u64::from_le_bytes(*chunk);
                content.drain(..8);
                Some(CopyFrame::Data {
                    chunk,
                    is_packed: flag,
                    bytes: content,
                })
            }
            7 => sum(&content).map(CopyFrame::End),
            8 => number(&content).map(CopyFrame::Stable),
            9 => number(&content).map(CopyFrame::Checked),
            10 => sum(&content).map(CopyFrame::Done),
            11 => Some(CopyFrame::Refused {
                again: flag,
                words: String::from_utf8(content).ok()?,
            }),
            12 => Some(CopyFrame::Alive),
            _ => None,
        }?;
        let has_flag = matches!(kind, 1 | 2 | 6 | 11);
        (has_flag || !flag).then_some(frame)
    }
}

fn put(out: &mut Vec<u8>, one: u64, other: u64, flag: bool) -> bool {
    out.extend_from_slice(&one.to_le_bytes());
    out.extend_from_slice(&other.to_le_bytes());
    flag
}

fn is_length(kind: u8, length: usize) -> bool {
    match kind {
        1 | 2 | 4 | 5 => length == 16,
        3 => length > 8 && (length - 8).is_multiple_of(32) && (length - 8) / 32 <= OFFER_CHUNKS_MAX,
        6 => length > 8 && length <= CONTENT_BYTES_MAX,
        7 | 10 => length == 32,
        8 | 9 => length == 8,
        11 => length <= WORDS_BYTES_MAX,
        12 => length == 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(frame: &CopyFrame) -> Vec<u8> {
        let mut out = Vec::new();
        frame.encode(&mut out);
        out
    }

    fn frames() -> Vec<CopyFrame> {
        let sum = Sum([7; 32]);
        vec![
            CopyFrame::Begin {
                size: 1 << 40,
                from: 3,
                overwrites: true,
            },
            CopyFrame::Ready {
                size: u64::MAX,
                held: 0,
                compares: false,
            },
            CopyFrame::Offer {
                first: 64,
                sums: vec![sum; OFFER_CHUNKS_MAX],
            },
            CopyFrame::Zeroes {
                first: 1,
                count: u64::MAX,
            },
            CopyFrame::Want {
                first: 64,
                mask: 0b101,
            },
            CopyFrame::Data {
                chunk: 9,
                is_packed: true,
                bytes: vec![1; CHUNK_BYTES],
            },
            CopyFrame::End(sum),
            CopyFrame::Stable(4),
            CopyFrame::Checked(5),
            CopyFrame::Done(sum),
            CopyFrame::Refused {
                again: true,
                words: "volume 'mail' is in use".to_owned(),
            },
            CopyFrame::Alive,
        ]
    }

    #[test]
    fn every_kind_survives_its_encoding_without_trailing_bytes() {
        for frame in frames() {
            let mut written = bytes(&frame);
            written.push(9);
            let mut from = &written[..];
            assert_eq!(CopyFrame::read(&mut from).unwrap(), frame);
            assert_eq!(from, [9]);
        }
    }

    #[test]
    fn a_frame_that_is_cut_off_is_never_one() {
        for frame in frames() {
            let written = bytes(&frame);
            for end in [0, 1, HEAD_BYTES, written.len() - 1] {
                let end = end.min(written.len() - 1);
                assert!(CopyFrame::read(&mut &written[..end]).is_err(), "{frame:?}");
            }
        }
    }

    #[test]
    fn lengths_beyond_the_bounds_are_refused_before_anything_is_allocated() {
        for frame in frames() {
            let mut head = bytes(&frame)[..HEAD_BYTES].to_vec();
            for length in [u32::MAX, CONTENT_BYTES_MAX as u32 + 1] {
                head[4..].copy_from_slice(&length.to_le_bytes());
                // Without the length check, the read would wait for content that never comes.
                let read = CopyFrame::read(&mut &head[..]);
                assert!(matches!(read, Err(FrameError::Malformed)), "{frame:?}");
            }
        }
    }

    #[test]
    fn words_are_cut_at_a_character() {
        let words = "ö".repeat(WORDS_BYTES_MAX);
        let again = false;
        let read = CopyFrame::read(&mut &bytes(&CopyFrame::Refused { again, words })[..]);
        let CopyFrame::Refused { words, .. } = read.unwrap() else {
            panic!("another kind");
        };
        assert_eq!(words, "ö".repeat(WORDS_BYTES_MAX / 2));
    }

    proptest! {
        #[test]
        fn random_bytes_are_a_frame_or_refused(
            kind in 0_u8..16, flag in 0_u8..3, content in prop::collection::vec(any::<u8>(), 0..200)
        ) {
            let mut input = vec![kind, flag, 0, 0];
            input.extend_from_slice(&(content.len() as u32).to_le_bytes());
            input.extend_from_slice(&content);
            if let Ok(frame) = CopyFrame::read(&mut &input[..]) {
                prop_assert_eq!(bytes(&frame), input);
            }
        }
    }
}
