//! Tracks the requests in progress of one NBD client: the pieces that were submitted to the disk,
//! and the remaining range.

use protocol::nbd::{Errno, NbdCommand, NbdRequestHeader};

/// Maximum number of requests per client. Further requests stay in the socket.
pub const REQUESTS_MAX: usize = 128;
/// Alignment of pieces, bytes: the smallest logical sector.
pub(super) const SECTOR_BYTES: u64 = 512;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RequestSlot(pub(super) u16);

/// Request whose reply is not complete.
#[derive(Debug)]
pub(super) struct PendingRequest {
    pub(super) asked: NbdRequestHeader,
    pub(super) command: NbdCommand,
    pub(super) pieces: u32,
    /// Number of bytes that were submitted. The request is fully submitted when this number equals
    /// its length.
    pub(super) started: u32,
    pub(super) error: Option<Errno>,
    pub(super) then_flush: bool,
    pub(super) replying: bool,
    /// Length of an unfinished zero or discard operation ([`super::ranges`]), bytes.
    pub(super) range: Option<u64>,
}

impl PendingRequest {
    pub(super) fn new(asked: NbdRequestHeader, command: NbdCommand) -> PendingRequest {
        PendingRequest {
            asked,
            command,
            pieces: 0,
            started: 0,
            error: None,
            then_flush: false,
            replying: false,
            range: None,
        }
    }

    pub(super) fn left(&self) -> u32 {
        self.asked.length - self.started
    }

    pub(super) fn next_offset(&self) -> u64 {
        self.asked.offset + u64::from(self.started)
    }

    pub(super) fn start(&mut self, length: u32) {
        self.pieces += 1;
        self.started += length;
    }

    pub(super) fn is_done(&self) -> bool {
        self.pieces == 0 && self.left() == 0
    }
}

#[derive(Debug)]
pub(super) struct Requests {
    slots: Vec<Option<PendingRequest>>,
    free: Vec<u16>,
}

impl Requests {
    pub(super) fn new() -> Requests {
        Requests {
            slots: (0..REQUESTS_MAX).map(|_| None).collect(),
            free: (0..REQUESTS_MAX as u16).rev().collect(),
        }
    }

    pub(super) fn len(&self) -> usize {
        REQUESTS_MAX - self.free.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    pub(super) fn insert(&mut self, pending: PendingRequest) -> Option<RequestSlot> {
        let slot = self.free.pop()?;
        self.slots[usize::from(slot)] = Some(pending);
        Some(RequestSlot(slot))
    }

    pub(super) fn get(&mut self, slot: RequestSlot) -> Option<&mut PendingRequest> {
        self.slots.get_mut(usize::from(slot.0))?.as_mut()
    }

    pub(super) fn remove(&mut self, slot: RequestSlot) -> Option<PendingRequest> {
        let pending = self.slots.get_mut(usize::from(slot.0))?.take()?;
        self.free.push(slot.0);
        Some(pending)
    }
}

/// Client, request and piece that a disk token stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RequestPiece {
    pub(super) client: u8,
    pub(super) generation: u16,
    pub(super) slot: RequestSlot,
    pub(super) offset: u32,
}

impl RequestPiece {
    pub(super) fn encode(self) -> u64 {
        u64::from(self.client) << 56
            | u64::from(self.generation) << 40
            | u64::from(self.slot.0) << 24
            | (u64::from(self.offset) / SECTOR_BYTES)
    }

    pub(super) fn decode(token: u64) -> RequestPiece {
        RequestPiece {
            client: (token >> 56) as u8,
            generation: (token >> 40) as u16,
            slot: RequestSlot((token >> 24) as u16),
            offset: (token as u32 & 0xff_ffff).wrapping_mul(SECTOR_BYTES as u32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_which_piece_it_is_for() {
        for (client, generation, slot, offset) in [
            (0, 0, 0, 0),
            (15, 65_535, 127, 32 << 20),
            (255, 1, 65_535, 512),
        ] {
            let slot = RequestSlot(slot);
            let piece = RequestPiece {
                client,
                generation,
                slot,
                offset,
            };
            assert_eq!(RequestPiece::decode(piece.encode()), piece);
        }
    }

    #[test]
    fn slots_are_bounded_and_used_again() {
        let mut requests = Requests::new();
        let request = NbdRequestHeader::decode(&[
            0x25, 0x60, 0x95, 0x13, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0,
        ]);
        let pending = || PendingRequest::new(request.unwrap(), NbdCommand::Flush);
        let slots: Vec<RequestSlot> = std::iter::from_fn(|| requests.insert(pending())).collect();
        assert_eq!(slots.len(), REQUESTS_MAX);
        assert!(requests.is_full());
        assert!(requests.remove(slots[5]).is_some());
        assert!(requests.remove(slots[5]).is_none());
        assert_eq!(requests.insert(pending()), Some(slots[5]));
    }
}
