//! Requests of clients, here and at the other node: which are under way, where they are, and
//! which wait for an owner.

use super::Data;
use super::admission::Admission;
use super::used::{OpenUser, Used};
use crate::disk::{ACCOUNT_BYTES_MIN, Token};
use crate::link::frame::BLOCKS_MAX;
use crate::replica::{BLOCK_BYTES, Blocks, Body, Request, RequestId};
use std::collections::{HashMap, VecDeque};
use std::time::Instant;

/// Blocks that are set to zero at once. Longer ranges are done one after the other.
const ZERO_BLOCKS_MAX: u64 = 8192;
/// Requests of the other node's clients under way: it sends no more.
pub(super) const FOREIGN_MAX: usize = 1024;

/// Bytes of requests at the other node, beyond the first: it has room for them.
const ABROAD_BYTES_MAX: usize = ACCOUNT_BYTES_MIN;

/// The tag of a request at the other node.
pub(super) fn tag(RequestId(id): RequestId) -> u32 {
    id as u32
}

/// Who sent a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    /// A client of this node; the export knows it by the token.
    Here(Token),
    /// A client of the other node, which knows it by the tag.
    There(u32),
}

/// Where a request is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// With the replica.
    Replica,
    /// At the other node.
    Other,
    /// Nowhere: neither node is known to serve.
    Waiting,
}

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) origin: Origin,
    pub(super) request: Request<Data>,
    pub(super) place: Place,
    /// Blocks of a range that follow.
    rest: Option<(u64, u64)>,
}

/// All requests under way.
#[derive(Debug, Default)]
pub(super) struct Clients {
    open: HashMap<u64, Asked>,
    last: u64,
    waiting: VecDeque<u64>,
    /// Rests of ranges that are to be given to the replica.
    ready: VecDeque<RequestId>,
    /// Those at the other node, by the tag that it returns.
    abroad: HashMap<u32, u64>,
    abroad_bytes: usize,
    /// Requests of the other node's clients.
    foreign: usize,
    /// Whose may write.
    pub(super) admission: Admission,
    /// How a part of this node uses the volume.
    pub(super) used: Used,
    /// The user whose process has the volume open here.
    pub(super) open_user: OpenUser,
    /// Since when neither node is known to serve.
    pub(super) unowned_since: Option<Instant>,
}

/// Why the other node is not sane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TooMany;

impl Clients {
    /// `user`: the user that was connected to the volume role before this one.
    pub(super) fn after_restart(user: Option<String>) -> Clients {
        Clients {
            open_user: OpenUser::after_restart(user),
            ..Clients::default()
        }
    }

    /// Takes a request of this node's client.
    pub(super) fn open_here(&mut self, token: Token, request: Request<Data>) -> RequestId {
        self.open(Origin::Here(token), request, None)
    }

    /// Takes a range that is set to zero or given up.
    pub(super) fn open_range(
        &mut self,
        token: Token,
        first: u64,
        end: u64,
        body: Body<Data>,
    ) -> RequestId {
        let count = (end - first).min(ZERO_BLOCKS_MAX);
        let next = first + count;
        let count = count as u32;
        let blocks = Blocks { first, count };
        let fua = false;
        let request = Request::Write { blocks, body, fua };
        let rest = (next < end).then_some((next, end));
        self.open(Origin::Here(token), request, rest)
    }

    /// Takes a request of the other node's client.
    pub(super) fn open_there(
        &mut self,
        tag: u32,
        request: Request<Data>,
    ) -> Result<RequestId, TooMany> {
        if self.foreign >= FOREIGN_MAX {
            return Err(TooMany);
        }
        self.foreign += 1;
        Ok(self.open(Origin::There(tag), request, None))
    }

    fn open(
        &mut self,
        origin: Origin,
        request: Request<Data>,
        rest: Option<(u64, u64)>,
    ) -> RequestId {
        self.last += 1;
        let asked = Asked {
            origin,
            request,
            place: Place::Replica,
            rest,
        };
        self.open.insert(self.last, asked);
        RequestId(self.last)
    }

    pub(super) fn get(&self, RequestId(id): RequestId) -> Option<&Asked> {
        self.open.get(&id)
    }

    /// Puts a request somewhere.
    pub(super) fn put(&mut self, RequestId(id): RequestId, place: Place) {
        let Some(asked) = self.open.get_mut(&id) else {
            return;
        };
        asked.place = place;
        match place {
            Place::Replica => {}
            Place::Waiting => self.waiting.push_back(id),
            Place::Other => {
                self.abroad_bytes += asked.bytes();
                self.abroad.insert(tag(RequestId(id)), id);
            }
        }
    }

    /// Whether the other node has room for one more.
    pub(super) fn has_room_abroad(&self, asked: &Asked) -> bool {
        self.abroad.is_empty() || self.abroad_bytes + asked.bytes() <= ABROAD_BYTES_MAX
    }

    /// The other node replies to the request with this tag.
    pub(super) fn came_back(&mut self, tag: u32) -> Option<RequestId> {
        let id = self.abroad.remove(&tag)?;
        let bytes = self.open.get(&id).map_or(0, Asked::bytes);
        self.abroad_bytes = self.abroad_bytes.saturating_sub(bytes);
        Some(RequestId(id))
    }

    /// Takes out all that are at the other node, in the order of their arrival.
    pub(super) fn call_back(&mut self) -> Vec<RequestId> {
        self.abroad_bytes = 0;
        let mut ids: Vec<RequestId> = self.abroad.drain().map(|(_, id)| RequestId(id)).collect();
        ids.sort();
        ids
    }

    /// Ends a request.
    pub(super) fn close(&mut self, RequestId(id): RequestId) -> Option<Asked> {
        let asked = self.open.remove(&id)?;
        if matches!(asked.origin, Origin::There(_)) {
            self.foreign -= 1;
        }
        Some(asked)
    }

    /// A request is to be given to the replica when that has nothing else to do.
    pub(super) fn make_ready(&mut self, id: RequestId) {
        self.ready.push_back(id);
    }

    /// The next one of those.
    pub(super) fn next_ready(&mut self) -> Option<RequestId> {
        self.ready.pop_front()
    }

    /// Requests that wait, in the order of their arrival.
    pub(super) fn take_waiting(&mut self) -> Vec<RequestId> {
        self.waiting.drain(..).map(RequestId).collect()
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether the other node has some.
    pub(super) fn has_abroad(&self) -> bool {
        !self.abroad.is_empty()
    }

    /// Who sent the writes that are there.
    pub(super) fn writes_in(&self, place: Place) -> impl Iterator<Item = Origin> + '_ {
        let there = move |asked: &&Asked| asked.place == place && asked.is_write();
        self.open.values().filter(there).map(|asked| asked.origin)
    }

    /// Requests of the other node's clients.
    pub(super) fn foreign(&self) -> Vec<RequestId> {
        let theirs = |asked: &Asked| matches!(asked.origin, Origin::There(_));
        let open = self.open.iter().filter(|(_, asked)| theirs(asked));
        open.map(|(id, _)| RequestId(*id)).collect()
    }
}

impl Asked {
    /// Whether it changes the volume.
    pub(super) fn is_write(&self) -> bool {
        matches!(self.request, Request::Write { .. })
    }

    /// Bytes that it, or its reply, has.
    fn bytes(&self) -> usize {
        match &self.request {
            Request::Read(blocks)
            | Request::Write {
                blocks,
                body: Body::Data(_),
                ..
            } => blocks.count as usize * BLOCK_BYTES as usize,
            _ => 0,
        }
    }

    /// The rest of a range, which follows.
    pub(super) fn rest(&self) -> Option<(Token, u64, u64, Body<Data>)> {
        let (first, end) = self.rest?;
        match (&self.request, self.origin) {
            (Request::Write { body, .. }, Origin::Here(token)) => {
                Some((token, first, end, body.clone()))
            }
            _ => None,
        }
    }
}

/// The blocks of a range of bytes; None if it is no whole number of them.
pub(super) fn blocks(offset: u64, length: u64) -> Option<Blocks> {
    let whole = offset.is_multiple_of(BLOCK_BYTES) && length.is_multiple_of(BLOCK_BYTES);
    let count = u32::try_from(length / BLOCK_BYTES).ok()?;
    let first = offset / BLOCK_BYTES;
    (whole && count > 0).then_some(Blocks { first, count })
}

/// Whether blocks fit into a frame.
pub(super) fn fits_frame(blocks: Blocks) -> bool {
    blocks.count <= BLOCKS_MAX
}
