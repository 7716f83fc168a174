//! Passes the request of an NBD client to the local replica or to the other node, and its reply
//! back to the client.

use super::clients::{self, RequestLocation, RequestOrigin};
use super::{Data, Mirror, wire};
use crate::disk::{self, Completion, Extent, Failure, OperationOutput, Token};
use crate::link::Incoming;
use crate::link::frame::{BlockContent, ForwardResult, FrameHeader, FrameKind};
use crate::replica::{
    BLOCK_BYTES, Blocks, Input, Request, RequestId, RequestOutcome, WriteContent,
};
use rustix::io::Errno;
use std::rc::Rc;
use std::time::Instant;

impl Mirror {
    pub(super) fn handle_operation(
        &mut self,
        token: Token,
        operation: disk::Operation,
        now: Instant,
    ) {
        self.stopwatch.begin(token, &operation, now);
        let invalid = Err(Failure::Io(Errno::INVAL));
        let range = |offset, length: u64| clients::blocks(offset, length);
        let id = match operation {
            disk::Operation::Flush => self.clients.open_here(token, Request::Flush),
            disk::Operation::Read { offset, buffer } => {
                let Some(blocks) = range(offset, buffer.len() as u64) else {
                    return self.complete(token, invalid);
                };
                self.local.offer(blocks, buffer);
                self.clients.open_here(token, Request::Read(blocks))
            }
            disk::Operation::Write {
                offset,
                buffer,
                fua,
            } => {
                let Some(blocks) = range(offset, buffer.len() as u64) else {
                    return self.complete(token, invalid);
                };
                let body = WriteContent::Data(Data(buffer));
                let request = Request::Write { blocks, body, fua };
                self.clients.open_here(token, request)
            }
            disk::Operation::Zero { fast: true, .. } => {
                // Refuses NBD's fast zeroing, because the other copy's disk may be slow at it.
                return self.complete(token, Err(Failure::NotFast));
            }
            disk::Operation::Zero {
                offset,
                length,
                allocate,
                ..
            } => {
                let body = if allocate {
                    WriteContent::Zero
                } else {
                    WriteContent::Trim
                };
                return self.range(token, offset, length, body);
            }
            disk::Operation::Discard { offset, length } => {
                return self.range(token, offset, length, WriteContent::Trim);
            }
            disk::Operation::Extents { offset, length } => {
                if self.replica.serves().is_some() {
                    return self.local.query_extents(offset, length, token);
                }
                let is_hole = false;
                let whole = vec![Extent { length, is_hole }];
                return self.complete(token, Ok(OperationOutput::Extents(whole)));
            }
        };
        self.submit_request(id);
    }

    fn range(&mut self, token: Token, offset: u64, length: u64, body: WriteContent<Data>) {
        let whole = offset.is_multiple_of(BLOCK_BYTES) && length.is_multiple_of(BLOCK_BYTES);
        if !whole || length == 0 {
            return self.complete(token, Err(Failure::Io(Errno::INVAL)));
        }
        let (first, end) = (offset / BLOCK_BYTES, (offset + length) / BLOCK_BYTES);
        let id = self.clients.open_range(token, first, end, body);
        self.submit_request(id);
    }

    pub(super) fn submit_request(&mut self, id: RequestId) {
        if self.is_refused(id) {
            return;
        }
        if let Some(asked) = self.clients.get(id) {
            let request = asked.request.clone();
            self.clients.put(id, RequestLocation::Replica);
            self.apply_input(Input::Request(id, request));
        }
    }

    pub(super) fn submit_ready_requests(&mut self) {
        while let Some(id) = self.clients.next_ready() {
            self.submit_request(id);
        }
    }

    pub(super) fn retry(&mut self) {
        for id in self.clients.take_waiting() {
            self.submit_request(id);
        }
    }

    pub(super) fn handle_reply(&mut self, id: RequestId, outcome: RequestOutcome<Data>) {
        match outcome {
            RequestOutcome::Done => self.end(id, Ok(None)),
            RequestOutcome::Data(data) => self.end(id, Ok(Some(data))),
            RequestOutcome::Failed => self.end(id, Err(Errno::IO)),
            RequestOutcome::OutOfRange => self.end(id, Err(Errno::INVAL)),
            RequestOutcome::Busy => self.clients.put(id, RequestLocation::Waiting),
            RequestOutcome::NotOwner | RequestOutcome::Moved => self.handle_moved_request(id),
        }
    }

    fn handle_moved_request(&mut self, id: RequestId) {
        let Some(asked) = self.clients.get(id) else {
            return;
        };
        match asked.origin {
            RequestOrigin::There(tag) => {
                self.clients.close(id);
                self.send_forward_response(tag, ForwardResult::Moved, None);
            }
            RequestOrigin::Here(_) if self.clients.has_ended(id) => {
                self.end(id, Err(Errno::SHUTDOWN));
            }
            RequestOrigin::Here(_) => {
                let fits = self.clients.has_room_abroad(asked);
                if self.peer.serves() && fits && self.knows_served_history() {
                    self.send_abroad(id)
                } else {
                    self.clients.put(id, RequestLocation::Waiting)
                }
            }
        }
    }

    fn send_abroad(&mut self, id: RequestId) {
        let Some(request) = self.clients.get(id).map(|asked| asked.request.clone()) else {
            return;
        };
        self.clients.put(id, RequestLocation::Other);
        let head = |kind| FrameHeader::new(kind).tag(clients::tag(id));
        self.peer.send_frame(|session| match request {
            Request::Read(blocks) => session.send(&head(FrameKind::AskRead).blocks(blocks)),
            Request::Flush => session.send(&head(FrameKind::AskFlush)),
            Request::Write { blocks, body, fua } => {
                let head = FrameHeader {
                    fua,
                    ..head(FrameKind::AskWrite).blocks(blocks)
                };
                wire::send_body(session, head, body);
            }
        });
    }

    pub(super) fn handle_forwarded_request(&mut self, incoming: Incoming) {
        let (head, data) = match incoming {
            Incoming::Data(head, buffer) => (head, Some(buffer)),
            Incoming::Head(head) | Incoming::Value(head, _) => (head, None),
        };
        let blocks = head.range();
        let request = match head.kind {
            FrameKind::AskFlush => Request::Flush,
            FrameKind::AskRead if clients::fits_frame(blocks) => Request::Read(blocks),
            FrameKind::AskWrite => match wire::body(&head, data) {
                Some(body) => Request::Write {
                    blocks,
                    body,
                    fua: head.fua,
                },
                None => return self.send_forward_response(head.tag, ForwardResult::Failed, None),
            },
            _ => return self.send_forward_response(head.tag, ForwardResult::Failed, None),
        };
        match self.clients.open_there(head.tag, request) {
            Ok(id) => self.submit_request(id),
            Err(clients::RequestLimitExceeded) => {
                self.send_forward_response(head.tag, ForwardResult::Failed, None)
            }
        }
    }

    fn send_forward_response(
        &mut self,
        tag: u32,
        answer: ForwardResult,
        data: Option<(Blocks, Data)>,
    ) {
        let head = FrameHeader::new(FrameKind::Answer)
            .tag(tag)
            .number(answer as u64);
        self.peer.send_frame(|session| match data {
            Some((blocks, Data(buffer))) => {
                let head = FrameHeader {
                    content: BlockContent::Data,
                    ..head.blocks(blocks)
                };
                session.send_data(head, buffer);
            }
            None => session.send(&head),
        });
    }

    pub(super) fn handle_forward_response(&mut self, incoming: Incoming) {
        let (head, data) = match incoming {
            Incoming::Data(head, buffer) => (head, Some(buffer)),
            Incoming::Head(head) | Incoming::Value(head, _) => (head, None),
        };
        let Some(id) = self.clients.record_forward_response(head.tag) else {
            return;
        };
        let is_read = self
            .clients
            .get(id)
            .is_some_and(|asked| matches!(asked.request, Request::Read(_)));
        match (ForwardResult::of(head.number), data) {
            (Some(ForwardResult::Done), Some(buffer)) if is_read => {
                self.end(id, Ok(Some(Data(Rc::new(buffer)))));
            }
            (Some(ForwardResult::Done), None) if !is_read => self.end(id, Ok(None)),
            (Some(ForwardResult::Moved), None) => self.clients.put(id, RequestLocation::Waiting),
            (Some(ForwardResult::Refused), None) => self.end(id, Err(Errno::SHUTDOWN)),
            _ => self.end(id, Err(Errno::IO)),
        }
        // Submits the rest of a range here: the request did not reach the replica, so nothing else
        // does.
        self.submit_ready_requests();
        if self.clients.has_waiting() && self.peer.serves() {
            self.retry();
        }
    }

    /// Returns forwarded requests to the local queue after the connection broke. Requests that the
    /// other node has executed are executed again, before any later request of their clients.
    pub(super) fn reclaim_forwarded_requests(&mut self) {
        for id in self.clients.take_forwarded_requests() {
            self.clients.put(id, RequestLocation::Waiting);
        }
        // Drops the other node's requests: their replies cannot be delivered, and the clients
        // repeat them.
        for id in self.clients.foreign() {
            self.clients.close(id);
        }
    }

    pub(super) fn end(&mut self, id: RequestId, result: Result<Option<Data>, Errno>) {
        let has_ended = self.clients.has_ended(id);
        let Some(asked) = self.clients.close(id) else {
            return;
        };
        let token = match asked.origin {
            RequestOrigin::Here(token) => token,
            RequestOrigin::There(tag) => {
                let answer = match &result {
                    Ok(_) => ForwardResult::Done,
                    Err(Errno::SHUTDOWN) => ForwardResult::Refused,
                    Err(_) => ForwardResult::Failed,
                };
                let blocks = match &asked.request {
                    Request::Read(blocks) => *blocks,
                    _ => Blocks { first: 0, count: 0 },
                };
                let data = result.ok().flatten().map(|data| (blocks, data));
                return self.send_forward_response(tag, answer, data);
            }
        };
        if result.is_ok()
            && !has_ended
            && let Some((token, first, end, body)) = asked.rest()
        {
            let next = self.clients.open_range(token, first, end, body);
            // Defers the rest, because the replica is still processing the current input.
            return self.clients.make_ready(next);
        }
        let result = match (result, asked.request) {
            (Ok(Some(data)), Request::Read(blocks)) => self.fill(blocks, data, asked.place),
            (Ok(_), _) => Ok(OperationOutput::Done),
            (Err(errno), Request::Read(blocks)) => {
                self.local.withdraw(blocks);
                Err(Failure::Io(errno))
            }
            (Err(errno), _) => Err(Failure::Io(errno)),
        };
        self.complete(token, result);
    }

    fn fill(
        &mut self,
        blocks: Blocks,
        data: Data,
        from: RequestLocation,
    ) -> Result<OperationOutput, Failure> {
        let Data(data) = data;
        if from == RequestLocation::Replica {
            // Takes the client's buffer, into which the data was read, and which has no other owner
            // now.
            return match Rc::try_unwrap(data) {
                Ok(buffer) => Ok(OperationOutput::Data(buffer)),
                Err(_) => Err(Failure::Io(Errno::NOMEM)),
            };
        }
        // Copies the data, because a client that reads its replies slowly must not keep the link's
        // memory in use. The client's own buffer is gone if a local read had begun before.
        let own = self.local.withdraw(blocks);
        let own = own.filter(|own| own.len() == data.len());
        match (own, Rc::try_unwrap(data)) {
            (Some(mut own), Ok(data)) => {
                own.bytes_mut().copy_from_slice(data.bytes());
                Ok(OperationOutput::Data(own))
            }
            (None, Ok(data)) => Ok(OperationOutput::Data(data)),
            (_, Err(_)) => Err(Failure::Io(Errno::NOMEM)),
        }
    }

    pub(super) fn complete(&mut self, token: Token, result: Result<OperationOutput, Failure>) {
        self.completed.push(Completion { token, result });
    }
}
