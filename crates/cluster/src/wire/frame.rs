//! Encodes and decodes frames, and assembles messages from them. A frame is a header of 20 bytes
//! and a piece of a message. Messages larger than a piece are sent in several frames, between which
//! smaller ones may come.

use std::collections::HashMap;

pub(crate) const HEAD_BYTES: usize = 20;
/// Maximum length of a piece, bytes: with its header it fits one TLS record.
pub(crate) const PIECE_BYTES_MAX: usize = (16 << 10) - HEAD_BYTES;
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;
pub(crate) const PARTIALS_MAX: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum FrameKind {
    Hello,
    Goodbye,
    Ask,
    Answer,
    /// The peer is overloaded and did not handle the request.
    Overloaded,
    /// The request was already handled, and its response is not sent on this connection.
    Repeated,
    Ping,
    Pong,
}

impl FrameKind {
    fn code(self) -> u8 {
        match self {
            FrameKind::Hello => 1,
            FrameKind::Goodbye => 2,
            FrameKind::Ask => 3,
            FrameKind::Answer => 4,
            FrameKind::Overloaded => 5,
            FrameKind::Repeated => 6,
            FrameKind::Ping => 7,
            FrameKind::Pong => 8,
        }
    }

    fn from_code(code: u8) -> Option<FrameKind> {
        Some(match code {
            1 => FrameKind::Hello,
            2 => FrameKind::Goodbye,
            3 => FrameKind::Ask,
            4 => FrameKind::Answer,
            5 => FrameKind::Overloaded,
            6 => FrameKind::Repeated,
            7 => FrameKind::Ping,
            8 => FrameKind::Pong,
            _ => return None,
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FrameHeader {
    pub(crate) frame: FrameKind,
    pub(crate) service: u8,
    /// Length of this piece, bytes.
    pub(crate) length: u32,
    /// Length of the whole message, bytes.
    pub(crate) total: u32,
    pub(crate) call: u64,
}

impl FrameHeader {
    pub(crate) fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut out = [0; HEAD_BYTES];
        let fields: [&[u8]; 4] = [
            &[self.frame.code(), self.service, 0, 0],
            &self.length.to_be_bytes(),
            &self.total.to_be_bytes(),
            &self.call.to_be_bytes(),
        ];
        for (to, from) in out.iter_mut().zip(fields.concat()) {
            *to = from;
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8; HEAD_BYTES]) -> Result<FrameHeader, BrokenRule> {
        let [
            kind,
            service,
            _,
            _,
            l0,
            l1,
            l2,
            l3,
            t0,
            t1,
            t2,
            t3,
            call @ ..,
        ] = *bytes;
        let head = FrameHeader {
            frame: FrameKind::from_code(kind).ok_or(BrokenRule::Kind(kind))?,
            service,
            length: u32::from_be_bytes([l0, l1, l2, l3]),
            total: u32::from_be_bytes([t0, t1, t2, t3]),
            call: u64::from_be_bytes(call),
        };
        let (length, total) = (head.length as usize, head.total as usize);
        if length > PIECE_BYTES_MAX || length > total || (length == 0 && total != 0) {
            return Err(BrokenRule::Piece { length });
        }
        if total > MESSAGE_BYTES_MAX {
            return Err(BrokenRule::Message { bytes: total });
        }
        Ok(head)
    }
}

/// Violation of the protocol by a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum BrokenRule {
    #[error("a frame of unknown type {0}")]
    Kind(u8),
    #[error("a piece of {length} bytes")]
    Piece { length: usize },
    #[error("a message of {bytes} bytes")]
    Message { bytes: usize },
    #[error("too many incomplete messages")]
    Partials,
    #[error("pieces that do not belong together")]
    Pieces,
    #[error("a frame that does not belong there")]
    Order,
    #[error("it does not read the replies")]
    Queue,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct WireMessage {
    pub(crate) frame: FrameKind,
    pub(crate) service: u8,
    pub(crate) call: u64,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Debug, Default)]
pub(crate) struct Assembler {
    partials: HashMap<(FrameKind, u64), Partial>,
    announced: usize,
}

#[derive(Debug)]
struct Partial {
    service: u8,
    total: usize,
    bytes: Vec<u8>,
}

impl Assembler {
    pub(crate) fn add_piece(
        &mut self,
        head: &FrameHeader,
        piece: &[u8],
    ) -> Result<Option<WireMessage>, BrokenRule> {
        let key = (head.frame, head.call);
        let total = head.total as usize;
        if !self.partials.contains_key(&key) {
            if piece.len() == total {
                return Ok(Some(WireMessage {
                    frame: head.frame,
                    service: head.service,
                    call: head.call,
                    bytes: piece.to_vec(),
                }));
            }
            if self.partials.len() >= PARTIALS_MAX || self.announced + total > MESSAGE_BYTES_MAX {
                return Err(BrokenRule::Partials);
            }
            self.announced += total;
        }
        // Allocates memory with the received bytes, not with the announced size.
        let partial = self.partials.entry(key).or_insert_with(|| Partial {
            service: head.service,
            total,
            bytes: Vec::new(),
        });
        if partial.total != total || partial.bytes.len() + piece.len() > total {
            return Err(BrokenRule::Pieces);
        }
        partial.bytes.extend_from_slice(piece);
        if partial.bytes.len() < total {
            return Ok(None);
        }
        self.announced -= total;
        Ok(self.partials.remove(&key).map(|partial| WireMessage {
            frame: head.frame,
            service: partial.service,
            call: head.call,
            bytes: partial.bytes,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(length: usize, total: usize, call: u64) -> FrameHeader {
        FrameHeader {
            frame: FrameKind::Ask,
            service: 1,
            length: length as u32,
            total: total as u32,
            call,
        }
    }

    #[test]
    fn a_head_is_read_as_it_was_written() {
        let written = head(5, 70_000, 0x0102_0304_0506_0708);
        assert_eq!(FrameHeader::decode(&written.encode()), Ok(written));
    }

    #[test]
    fn invalid_frame_head_names_the_rule() {
        let cases = [
            (
                head(PIECE_BYTES_MAX + 1, MESSAGE_BYTES_MAX, 1),
                "a piece of 16365 bytes",
            ),
            (head(5, 4, 1), "a piece of 5 bytes"),
            (head(0, 4, 1), "a piece of 0 bytes"),
            (
                head(5, MESSAGE_BYTES_MAX + 1, 1),
                "a message of 4194305 bytes",
            ),
        ];
        for (head, words) in cases {
            let told = FrameHeader::decode(&head.encode()).unwrap_err();
            assert_eq!(told.to_string(), words);
        }
        let mut unknown = head(1, 1, 1).encode();
        unknown[0] = 99;
        assert_eq!(FrameHeader::decode(&unknown), Err(BrokenRule::Kind(99)));
    }

    #[test]
    fn interleaved_messages_are_reassembled() {
        let mut assembler = Assembler::default();
        assert_eq!(assembler.add_piece(&head(2, 4, 1), b"on"), Ok(None));
        assert_eq!(assembler.add_piece(&head(2, 4, 2), b"tw"), Ok(None));
        let small = assembler.add_piece(&head(1, 1, 3), b"!").unwrap().unwrap();
        assert_eq!((small.call, small.bytes), (3, b"!".to_vec()));
        let one = assembler.add_piece(&head(2, 4, 1), b"es").unwrap().unwrap();
        assert_eq!((one.call, one.bytes), (1, b"ones".to_vec()));
        let two = assembler.add_piece(&head(2, 4, 2), b"os").unwrap().unwrap();
        assert_eq!((two.call, two.bytes), (2, b"twos".to_vec()));
        assert_eq!(assembler.announced, 0);
    }

    #[test]
    fn many_incomplete_messages_are_refused() {
        let mut assembler = Assembler::default();
        for call in 0..PARTIALS_MAX as u64 {
            assert_eq!(assembler.add_piece(&head(1, 2, call), b"x"), Ok(None));
        }
        let more = assembler.add_piece(&head(1, 2, 99), b"x");
        assert_eq!(more, Err(BrokenRule::Partials));

        let mut assembler = Assembler::default();
        let large = head(1, MESSAGE_BYTES_MAX, 1);
        assert_eq!(assembler.add_piece(&large, b"x"), Ok(None));
        assert_eq!(
            assembler.add_piece(&head(1, 2, 2), b"x"),
            Err(BrokenRule::Partials)
        );
    }

    #[test]
    fn pieces_that_exceed_or_change_their_message_are_refused() {
        let mut assembler = Assembler::default();
        assert_eq!(assembler.add_piece(&head(2, 3, 1), b"ab"), Ok(None));
        assert_eq!(
            assembler.add_piece(&head(2, 3, 1), b"cd"),
            Err(BrokenRule::Pieces)
        );
        let mut assembler = Assembler::default();
        assert_eq!(assembler.add_piece(&head(2, 3, 1), b"ab"), Ok(None));
        assert_eq!(
            assembler.add_piece(&head(1, 4, 1), b"c"),
            Err(BrokenRule::Pieces)
        );
    }

    proptest::proptest! {
        /// No input panics, and the memory stays bounded.
        #[test]
        fn garbage_is_an_error_or_a_message(frames in proptest::collection::vec(
            (proptest::array::uniform20(0u8..), 0usize..64), 0..200)) {
            let mut assembler = Assembler::default();
            for (bytes, size) in frames {
                if let Ok(head) = FrameHeader::decode(&bytes) {
                    let piece = vec![7; size.min(head.length as usize)];
                    if assembler.add_piece(&head, &piece).is_err() { break; }
                }
                let held: usize = assembler.partials.values().map(|partial| partial.bytes.len()).sum();
                proptest::prop_assert!(held <= MESSAGE_BYTES_MAX);
            }
        }
    }
}
