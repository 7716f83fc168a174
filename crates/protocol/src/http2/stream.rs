//! Holds the state of HTTP/2 streams: the table of open streams, and a bounded memory of closed
//! ones.

use std::collections::VecDeque;

/// Number of remembered streams that this side reset before the peer had ended them: frames that
/// the peer sent before it knew are ignored.
const RESETS_REMEMBERED: usize = 1024;
/// Number of remembered streams that ended in another way.
const ENDED_REMEMBERED: usize = 32;
const TABLE_PLACES_MIN: usize = 16;
/// Value of `expected` for a body without a declared length.
pub(super) const ANY_LENGTH: u64 = u64::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u32);

impl std::fmt::Display for StreamId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A stream that is open, or half closed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Http2Stream {
    /// Number of the stream; 0: a free slot of the table.
    pub(super) id: u32,
    /// The final head of the peer has arrived. On a server, a stream begins with it.
    pub(super) head_received: bool,
    pub(super) peer_ended: bool,
    pub(super) head_sent: bool,
    pub(super) we_ended: bool,
    /// Send window in bytes; negative after the peer reduced its initial window.
    pub(super) send_window: i32,
    pub(super) receive_window: i32,
    /// Number of consumed bytes that no WINDOW_UPDATE has returned to the peer yet.
    pub(super) unreturned: u32,
    /// Declared length of the body in bytes.
    pub(super) expected: u64,
    pub(super) received: u64,
}

impl Http2Stream {
    pub(super) fn new(id: u32, send_window: i32, receive_window: i32) -> Http2Stream {
        Http2Stream {
            id,
            head_received: false,
            peer_ended: false,
            head_sent: false,
            we_ended: false,
            send_window,
            receive_window,
            unreturned: 0,
            expected: ANY_LENGTH,
            received: 0,
        }
    }

    /// Returns whether `more` bytes, with or without the end, fit the declared length.
    pub(super) fn fits(&self, more: u64, end: bool) -> bool {
        let total = self.received.saturating_add(more);
        self.expected == ANY_LENGTH || total == self.expected || (!end && total < self.expected)
    }

    /// Returns the number of bytes that the peer has announced and not sent; None if it has not
    /// announced a length.
    pub(super) fn rest(&self) -> Option<u64> {
        (self.expected != ANY_LENGTH).then(|| self.expected.saturating_sub(self.received))
    }
}

/// Table of open streams, a hash table with open addressing. Stream numbers are sequential, so a
/// multiplication distributes them well. If a peer selects numbers that collide, a search takes at
/// most as many steps as the peer has streams open.
#[derive(Debug, Default)]
pub(super) struct Streams {
    places: Vec<Http2Stream>,
    live: usize,
    /// 32 minus the logarithm of the number of slots.
    shift: u32,
}

impl Streams {
    pub(super) fn len(&self) -> usize {
        self.live
    }

    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        self.places.len()
    }

    fn home(&self, id: u32) -> usize {
        (id.wrapping_mul(0x9e37_79b9) >> self.shift) as usize
    }

    fn place_of(&self, id: u32) -> Option<usize> {
        // 0 is the connection, and marks a free slot.
        if self.live == 0 || id == 0 {
            return None;
        }
        let mask = self.places.len() - 1;
        let mut at = self.home(id);
        loop {
            let there = self.places[at].id;
            if there == id {
                return Some(at);
            }
            if there == 0 {
                return None;
            }
            at = (at + 1) & mask;
        }
    }

    pub(super) fn get(&self, id: u32) -> Option<&Http2Stream> {
        self.place_of(id).map(|at| &self.places[at])
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Http2Stream> {
        self.place_of(id).map(|at| &mut self.places[at])
    }

    pub(super) fn insert(&mut self, stream: Http2Stream) {
        // The table is at most half full, so a free slot always ends a search.
        if (self.live + 1) * 2 > self.places.len() {
            self.grow();
        }
        self.live += 1;
        let mask = self.places.len() - 1;
        let mut at = self.home(stream.id);
        while self.places[at].id != 0 {
            at = (at + 1) & mask;
        }
        self.places[at] = stream;
    }

    fn grow(&mut self) {
        let places = (self.places.len() * 2).max(TABLE_PLACES_MIN);
        let old = std::mem::replace(&mut self.places, vec![Http2Stream::new(0, 0, 0); places]);
        self.shift = 32 - places.trailing_zeros();
        self.live = 0;
        for stream in old.into_iter().filter(|stream| stream.id != 0) {
            self.insert(stream);
        }
    }

    pub(super) fn remove(&mut self, id: u32) -> Option<Http2Stream> {
        let at = self.place_of(id)?;
        let removed = self.places[at];
        self.vacate(at);
        Some(removed)
    }

    /// Frees a slot, and moves streams that were displaced from it closer to their place.
    fn vacate(&mut self, at: usize) {
        let mask = self.places.len() - 1;
        self.live -= 1;
        let mut hole = at;
        let mut next = at;
        loop {
            next = (next + 1) & mask;
            let stream = self.places[next];
            if stream.id == 0 {
                break;
            }
            let way = next.wrapping_sub(self.home(stream.id)) & mask;
            if way >= (next.wrapping_sub(hole) & mask) {
                self.places[hole] = stream;
                hole = next;
            }
        }
        self.places[hole].id = 0;
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Http2Stream> {
        self.places.iter_mut().filter(|stream| stream.id != 0)
    }

    /// Removes one stream with a number above `last`, searching from an index, which advances.
    pub(super) fn remove_above(&mut self, last: u32, from: &mut usize) -> Option<u32> {
        while let Some(stream) = self.places.get(*from) {
            let id = stream.id;
            if id > last {
                // Another stream may move to this slot: it is examined next.
                self.vacate(*from);
                return Some(id);
            }
            *from += 1;
        }
        None
    }

    pub(super) fn clear(&mut self) {
        *self = Streams::default();
    }

    pub(super) fn release_memory(&mut self) {
        if self.live == 0 {
            self.clear();
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamEnd {
    /// Both sides sent END_STREAM, or the peer did and this side reset the stream.
    Ended,
    ResetByPeer,
    /// RST_STREAM was sent by this side, and the peer may not have received it yet.
    ResetByUs,
    Unknown,
}

/// Closed streams that late frames may still name.
#[derive(Debug)]
pub(super) struct Closed {
    resets: VecDeque<u32>,
    /// Numbers of streams that ended otherwise; the highest bit marks those that the peer reset.
    others: [u32; ENDED_REMEMBERED],
    next: usize,
}

const BY_PEER: u32 = 1 << 31;

impl Closed {
    pub(super) fn new() -> Closed {
        Closed {
            resets: VecDeque::new(),
            others: [0; ENDED_REMEMBERED],
            next: 0,
        }
    }

    pub(super) fn remember(&mut self, id: u32, end: StreamEnd) {
        match end {
            StreamEnd::ResetByUs => {
                if self.resets.len() >= RESETS_REMEMBERED {
                    self.resets.pop_front();
                }
                self.resets.push_back(id);
            }
            StreamEnd::Ended => self.remember_other(id),
            StreamEnd::ResetByPeer => self.remember_other(id | BY_PEER),
            StreamEnd::Unknown => {}
        }
    }

    fn remember_other(&mut self, entry: u32) {
        self.others[self.next] = entry;
        self.next = (self.next + 1) % ENDED_REMEMBERED;
    }

    pub(super) fn find(&self, id: u32) -> StreamEnd {
        if self.others.contains(&id) {
            StreamEnd::Ended
        } else if self.others.contains(&(id | BY_PEER)) {
            StreamEnd::ResetByPeer
        } else if self.resets.contains(&id) {
            StreamEnd::ResetByUs
        } else {
            StreamEnd::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn the_table_agrees_with_a_map(steps in prop::collection::vec((0u8..3, 1u32..200), 0..400)) {
            let mut table = Streams::default();
            let mut model = BTreeMap::new();
            for (step, id) in steps {
                if step == 0 {
                    prop_assert_eq!(table.remove(id).map(|s| s.id), model.remove(&id));
                } else if model.insert(id, id).is_none() {
                    table.insert(Http2Stream::new(id, 0, 0));
                }
                prop_assert_eq!(table.len(), model.len());
            }
            for id in 0..200 {
                prop_assert_eq!(table.get(id).is_some(), model.contains_key(&id));
            }
            let (mut from, mut above) = (0, Vec::new());
            while let Some(id) = table.remove_above(100, &mut from) {
                above.push(id);
            }
            above.sort_unstable();
            prop_assert_eq!(above, model.range(101..).map(|(id, _)| *id).collect::<Vec<_>>());
            let mut left: Vec<u32> = table.iter_mut().map(|s| s.id).collect();
            left.sort_unstable();
            prop_assert_eq!(left, model.range(..=100).map(|(id, _)| *id).collect::<Vec<_>>());
        }
    }

    #[test]
    fn resets_are_remembered_up_to_a_bound() {
        let mut closed = Closed::new();
        for n in 0..3000u32 {
            closed.remember(n * 2 + 1, StreamEnd::ResetByUs);
        }
        assert_eq!(closed.resets.len(), RESETS_REMEMBERED);
        assert_eq!(closed.find(1), StreamEnd::Unknown);
        assert_eq!(closed.find(5999), StreamEnd::ResetByUs);
        closed.remember(6001, StreamEnd::ResetByPeer);
        closed.remember(6003, StreamEnd::Ended);
        assert_eq!(closed.find(6001), StreamEnd::ResetByPeer);
        assert_eq!(closed.find(6003), StreamEnd::Ended);
    }
}
