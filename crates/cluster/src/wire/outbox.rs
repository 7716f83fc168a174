//! Queues the messages of a connection and cuts them into frames: small messages overtake the
//! pieces of large ones, so that a heartbeat never waits for a snapshot.

use super::frame::{
    BrokenRule, FrameHeader, FrameKind, HEAD_BYTES, MESSAGE_BYTES_MAX, PIECE_BYTES_MAX,
};
use std::collections::VecDeque;
use std::sync::Arc;

pub(crate) const QUEUE_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX;
pub(crate) const QUEUE_MESSAGES_MAX: usize = 4096;

#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) frame: FrameKind,
    pub(crate) service: u8,
    pub(crate) call: u64,
    pub(crate) bytes: Arc<Vec<u8>>,
}

impl Outgoing {
    pub(crate) fn new(frame: FrameKind, call: u64, bytes: Vec<u8>) -> Outgoing {
        Outgoing {
            frame,
            service: 0,
            call,
            bytes: Arc::new(bytes),
        }
    }

    fn is_small(&self) -> bool {
        self.bytes.len() <= PIECE_BYTES_MAX
    }

    fn cost(&self) -> usize {
        HEAD_BYTES + self.bytes.len()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    small: VecDeque<Outgoing>,
    large: VecDeque<(Outgoing, usize)>,
    waiting_bytes: usize,
}

impl Outbox {
    /// Queues a message behind those of its class, small or large.
    pub(crate) fn push(&mut self, message: Outgoing) -> Result<(), BrokenRule> {
        let count = self.small.len() + self.large.len();
        let bytes = self.waiting_bytes + message.cost();
        if bytes > QUEUE_BYTES_MAX || count >= QUEUE_MESSAGES_MAX {
            return Err(BrokenRule::Queue);
        }
        self.waiting_bytes = bytes;
        if message.is_small() {
            self.small.push_back(message);
        } else {
            self.large.push_back((message, 0));
        }
        Ok(())
    }

    /// Appends the next frame to the buffer; returns false if there is none.
    pub(crate) fn next(&mut self, out: &mut Vec<u8>) -> bool {
        if let Some(message) = self.small.pop_front() {
            self.waiting_bytes -= message.cost();
            write(out, &message, &message.bytes);
            return true;
        }
        let Some((message, at)) = self.large.front_mut() else {
            return false;
        };
        let rest = message.bytes.get(*at..).unwrap_or_default();
        let piece = rest.get(..PIECE_BYTES_MAX).unwrap_or(rest);
        write(out, message, piece);
        *at += piece.len();
        if *at >= message.bytes.len() {
            self.waiting_bytes -= message.cost();
            self.large.pop_front();
        }
        true
    }

    #[cfg(test)]
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }
}

fn write(out: &mut Vec<u8>, message: &Outgoing, piece: &[u8]) {
    let head = FrameHeader {
        frame: message.frame,
        service: message.service,
        // Both are bounded by MESSAGE_BYTES_MAX.
        length: piece.len() as u32,
        total: message.bytes.len() as u32,
        call: message.call,
    };
    out.extend(head.encode());
    out.extend_from_slice(piece);
}

#[cfg(test)]
mod tests {
    use super::super::frame::Assembler;
    use super::*;

    fn read(frame: &[u8]) -> (FrameHeader, &[u8]) {
        let (head, piece) = frame.split_first_chunk::<HEAD_BYTES>().unwrap();
        (FrameHeader::decode(head).unwrap(), piece)
    }

    #[test]
    fn a_heartbeat_overtakes_a_chunk_that_has_begun() {
        let mut outbox = Outbox::default();
        let large = vec![1; PIECE_BYTES_MAX * 2 + 1];
        outbox
            .push(Outgoing::new(FrameKind::Ask, 1, large.clone()))
            .unwrap();
        let mut frames = Vec::new();
        let mut assembler = Assembler::default();
        let mut ended = Vec::new();
        for turn in 0.. {
            if turn == 1 {
                outbox
                    .push(Outgoing::new(FrameKind::Ask, 2, vec![2]))
                    .unwrap();
            }
            frames.clear();
            if !outbox.next(&mut frames) {
                break;
            }
            let (head, piece) = read(&frames);
            ended.extend(assembler.add_piece(&head, piece).unwrap());
        }
        assert_eq!(
            ended.iter().map(|message| message.call).collect::<Vec<_>>(),
            [2, 1]
        );
        assert_eq!(ended[1].bytes, large);
        assert_eq!(outbox.waiting_bytes(), 0);
    }

    #[test]
    fn outbox_is_bounded_in_bytes_and_messages() {
        let mut outbox = Outbox::default();
        let large = || Outgoing::new(FrameKind::Answer, 1, vec![0; MESSAGE_BYTES_MAX]);
        outbox.push(large()).unwrap();
        assert_eq!(outbox.push(large()).unwrap_err(), BrokenRule::Queue);
        let mut outbox = Outbox::default();
        for call in 0..QUEUE_MESSAGES_MAX as u64 {
            outbox
                .push(Outgoing::new(FrameKind::Ping, call, Vec::new()))
                .unwrap();
        }
        let more = outbox.push(Outgoing::new(FrameKind::Ping, 0, Vec::new()));
        assert_eq!(more.unwrap_err(), BrokenRule::Queue);
    }
}
