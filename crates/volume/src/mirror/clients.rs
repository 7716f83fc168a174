//! Tracks the requests of the clients of both nodes: the state of each, on which node it is
//! executed, and which requests wait until a node owns the volume.

use super::Data;
use super::admission::Admission;
use super::used::{LocalUse, OpenUser};
use crate::disk::{ACCOUNT_BYTES_MIN, Token};
use crate::link::frame::BLOCKS_MAX;
use crate::replica::{BLOCK_BYTES, Blocks, Request, RequestId, WriteContent};
use std::collections::{HashMap, VecDeque};
use std::time::Instant;

/// Maximum number of blocks to zero in one step. Longer ranges are processed step by step.
const ZERO_BLOCKS_MAX: u64 = 8192;
/// Limit of requests forwarded by the other node, which itself never sends more.
pub(super) const FOREIGN_MAX: usize = 1024;

/// Limit of the bytes of forwarded requests in progress, in addition to one request. The other node
/// has memory for that.
const ABROAD_BYTES_MAX: usize = ACCOUNT_BYTES_MIN;

pub(super) fn tag(RequestId(id): RequestId) -> u32 {
    id as u32
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RequestOrigin {
    Here(Token),
    /// Client that is connected to the other node, identified by that node's tag.
    There(u32),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RequestLocation {
    Replica,
    Other,
    Waiting,
}

#[derive(Clone, Debug)]
pub(super) struct MirrorRequest {
    pub(super) origin: RequestOrigin,
    pub(super) request: Request<Data>,
    pub(super) place: RequestLocation,
    rest: Option<(u64, u64)>,
}

#[derive(Debug, Default)]
pub(super) struct Clients {
    open: HashMap<u64, MirrorRequest>,
    last: u64,
    /// Number of the last request of local clients that belongs to a discarded history.
    ended: u64,
    waiting: VecDeque<u64>,
    /// Requests whose remaining range has to be submitted to the replica.
    ready: VecDeque<RequestId>,
    abroad: HashMap<u32, u64>,
    abroad_bytes: usize,
    foreign: usize,
    pub(super) admission: Admission,
    pub(super) used: LocalUse,
    pub(super) open_user: OpenUser,
    /// Highest sequence number of an admission in the cluster's record; None before the first
    /// report.
    pub(super) admissions_known: Option<u64>,
    /// Number of the user that was connected when this process stopped, and that reconnects to the
    /// next process.
    pub(super) user_at_stop: Option<u64>,
    pub(super) unowned_since: Option<Instant>,
}

/// The other node exceeds the request limit, so it violates the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RequestLimitExceeded;

impl Clients {
    /// `user` was connected to the previous process of the volume role.
    pub(super) fn after_restart(user: Option<String>) -> Clients {
        Clients {
            open_user: OpenUser::after_restart(user),
            ..Clients::default()
        }
    }

    pub(super) fn open_here(&mut self, token: Token, request: Request<Data>) -> RequestId {
        self.open(RequestOrigin::Here(token), request, None)
    }

    pub(super) fn open_range(
        &mut self,
        token: Token,
        first: u64,
        end: u64,
        body: WriteContent<Data>,
    ) -> RequestId {
        let count = (end - first).min(ZERO_BLOCKS_MAX);
        let next = first + count;
        let count = count as u32;
        let blocks = Blocks { first, count };
        let fua = false;
        let request = Request::Write { blocks, body, fua };
        let rest = (next < end).then_some((next, end));
        self.open(RequestOrigin::Here(token), request, rest)
    }

    pub(super) fn open_there(
        &mut self,
        tag: u32,
        request: Request<Data>,
    ) -> Result<RequestId, RequestLimitExceeded> {
        if self.foreign >= FOREIGN_MAX {
            return Err(RequestLimitExceeded);
        }
        self.foreign += 1;
        Ok(self.open(RequestOrigin::There(tag), request, None))
    }

    fn open(
        &mut self,
        origin: RequestOrigin,
        request: Request<Data>,
        rest: Option<(u64, u64)>,
    ) -> RequestId {
        self.last += 1;
        let asked = MirrorRequest {
            origin,
            request,
            place: RequestLocation::Replica,
            rest,
        };
        self.open.insert(self.last, asked);
        RequestId(self.last)
    }

    /// Marks the current requests of local clients to fail instead of being executed.
    pub(super) fn end_local_requests(&mut self) {
        self.ended = self.last;
    }

    pub(super) fn has_ended(&self, id: RequestId) -> bool {
        let is_local = |asked: &MirrorRequest| matches!(asked.origin, RequestOrigin::Here(_));
        id.0 <= self.ended && self.get(id).is_some_and(is_local)
    }

    pub(super) fn get(&self, RequestId(id): RequestId) -> Option<&MirrorRequest> {
        self.open.get(&id)
    }

    pub(super) fn put(&mut self, RequestId(id): RequestId, place: RequestLocation) {
        let Some(asked) = self.open.get_mut(&id) else {
            return;
        };
        asked.place = place;
        match place {
            RequestLocation::Replica => {}
            RequestLocation::Waiting => self.waiting.push_back(id),
            RequestLocation::Other => {
                self.abroad_bytes += asked.bytes();
                self.abroad.insert(tag(RequestId(id)), id);
            }
        }
    }

    pub(super) fn has_room_abroad(&self, asked: &MirrorRequest) -> bool {
        self.abroad.is_empty() || self.abroad_bytes + asked.bytes() <= ABROAD_BYTES_MAX
    }

    pub(super) fn record_forward_response(&mut self, tag: u32) -> Option<RequestId> {
        let id = self.abroad.remove(&tag)?;
        let bytes = self.open.get(&id).map_or(0, MirrorRequest::bytes);
        self.abroad_bytes = self.abroad_bytes.saturating_sub(bytes);
        Some(RequestId(id))
    }

    pub(super) fn take_forwarded_requests(&mut self) -> Vec<RequestId> {
        self.abroad_bytes = 0;
        let mut ids: Vec<RequestId> = self.abroad.drain().map(|(_, id)| RequestId(id)).collect();
        ids.sort();
        ids
    }

    pub(super) fn close(&mut self, RequestId(id): RequestId) -> Option<MirrorRequest> {
        let asked = self.open.remove(&id)?;
        if matches!(asked.origin, RequestOrigin::There(_)) {
            self.foreign -= 1;
        }
        Some(asked)
    }

    pub(super) fn make_ready(&mut self, id: RequestId) {
        self.ready.push_back(id);
    }

    pub(super) fn next_ready(&mut self) -> Option<RequestId> {
        self.ready.pop_front()
    }

    pub(super) fn take_waiting(&mut self) -> Vec<RequestId> {
        self.waiting.drain(..).map(RequestId).collect()
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn has_abroad(&self) -> bool {
        !self.abroad.is_empty()
    }

    pub(super) fn writes_in(
        &self,
        place: RequestLocation,
    ) -> impl Iterator<Item = RequestOrigin> + '_ {
        let there = move |asked: &&MirrorRequest| asked.place == place && asked.is_write();
        self.open.values().filter(there).map(|asked| asked.origin)
    }

    pub(super) fn foreign(&self) -> Vec<RequestId> {
        let theirs = |asked: &MirrorRequest| matches!(asked.origin, RequestOrigin::There(_));
        let open = self.open.iter().filter(|(_, asked)| theirs(asked));
        open.map(|(id, _)| RequestId(*id)).collect()
    }
}

impl MirrorRequest {
    pub(super) fn is_write(&self) -> bool {
        matches!(self.request, Request::Write { .. })
    }

    fn bytes(&self) -> usize {
        match &self.request {
            Request::Read(blocks)
            | Request::Write {
                blocks,
                body: WriteContent::Data(_),
                ..
            } => blocks.count as usize * BLOCK_BYTES as usize,
            _ => 0,
        }
    }

    pub(super) fn rest(&self) -> Option<(Token, u64, u64, WriteContent<Data>)> {
        let (first, end) = self.rest?;
        match (&self.request, self.origin) {
            (Request::Write { body, .. }, RequestOrigin::Here(token)) => {
                Some((token, first, end, body.clone()))
            }
            _ => None,
        }
    }
}

/// Converts a byte range to blocks; None if it is not aligned.
pub(super) fn blocks(offset: u64, length: u64) -> Option<Blocks> {
    let whole = offset.is_multiple_of(BLOCK_BYTES) && length.is_multiple_of(BLOCK_BYTES);
    let count = u32::try_from(length / BLOCK_BYTES).ok()?;
    let first = offset / BLOCK_BYTES;
    (whole && count > 0).then_some(Blocks { first, count })
}

pub(super) fn fits_frame(blocks: Blocks) -> bool {
    blocks.count <= BLOCKS_MAX
}
