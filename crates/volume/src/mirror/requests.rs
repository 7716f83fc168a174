//! Path of a request from a client to the replica or to the other node, and back.

use super::clients::{self, Origin, Place};
use super::{Data, Mirror, wire};
use crate::disk::{self, Completion, Extent, Failure, Output, Token};
use crate::link::Incoming;
use crate::link::frame::{Answer, Content, Head, Kind};
use crate::replica::{BLOCK_BYTES, Blocks, Body, Input, Outcome, Request, RequestId};
use rustix::io::Errno;
use std::rc::Rc;
use std::time::Instant;

impl Mirror {
    /// Processes an operation of the export.
    pub(super) fn asked(&mut self, token: Token, operation: disk::Operation, now: Instant) {
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
                let body = Body::Data(Data(buffer));
                let request = Request::Write { blocks, body, fua };
                self.clients.open_here(token, request)
            }
            disk::Operation::Zero { fast: true, .. } => {
                // Refuses fast zeroing, because the other copy's disk may be slow at it.
                return self.complete(token, Err(Failure::NotFast));
            }
            disk::Operation::Zero {
                offset,
                length,
                allocate,
                ..
            } => {
                let body = if allocate { Body::Zero } else { Body::Trim };
                return self.range(token, offset, length, body);
            }
            disk::Operation::Discard { offset, length } => {
                return self.range(token, offset, length, Body::Trim);
            }
            disk::Operation::Extents { offset, length } => {
                if self.replica.serves().is_some() {
                    return self.local.look(offset, length, token);
                }
                let is_hole = false;
                let whole = vec![Extent { length, is_hole }];
                return self.complete(token, Ok(Output::Extents(whole)));
            }
        };
        self.place(id);
    }

    fn range(&mut self, token: Token, offset: u64, length: u64, body: Body<Data>) {
        let whole = offset.is_multiple_of(BLOCK_BYTES) && length.is_multiple_of(BLOCK_BYTES);
        if !whole || length == 0 {
            return self.complete(token, Err(Failure::Io(Errno::INVAL)));
        }
        let (first, end) = (offset / BLOCK_BYTES, (offset + length) / BLOCK_BYTES);
        let id = self.clients.open_range(token, first, end, body);
        self.place(id);
    }

    /// Submits a request to the replica.
    pub(super) fn place(&mut self, id: RequestId) {
        if self.is_refused(id) {
            return;
        }
        if let Some(asked) = self.clients.get(id) {
            let request = asked.request.clone();
            self.clients.put(id, Place::Replica);
            self.feed(Input::Request(id, request));
        }
    }

    /// Submits the remaining parts of ranges to the replica.
    pub(super) fn place_ready(&mut self) {
        while let Some(id) = self.clients.next_ready() {
            self.place(id);
        }
    }

    /// Retries the requests that wait for an owner.
    pub(super) fn retry(&mut self) {
        for id in self.clients.take_waiting() {
            self.place(id);
        }
    }

    /// Handles a reply of the replica.
    pub(super) fn replied(&mut self, id: RequestId, outcome: Outcome<Data>) {
        match outcome {
            Outcome::Done => self.end(id, Ok(None)),
            Outcome::Data(data) => self.end(id, Ok(Some(data))),
            Outcome::Failed => self.end(id, Err(Errno::IO)),
            Outcome::OutOfRange => self.end(id, Err(Errno::INVAL)),
            Outcome::Busy => self.clients.put(id, Place::Waiting),
            Outcome::NotOwner | Outcome::Moved => self.moved(id),
        }
    }

    /// Handles a request that this node cannot execute, because it is not the owner.
    fn moved(&mut self, id: RequestId) {
        let Some(asked) = self.clients.get(id) else {
            return;
        };
        match asked.origin {
            Origin::There(tag) => {
                self.clients.close(id);
                self.answer(tag, Answer::Moved, None);
            }
            Origin::Here(_) => {
                let fits = self.clients.has_room_abroad(asked);
                match self.peer.serves() && fits {
                    true => self.send_abroad(id),
                    false => self.clients.put(id, Place::Waiting),
                }
            }
        }
    }

    /// Forwards a request to the other node.
    fn send_abroad(&mut self, id: RequestId) {
        let Some(request) = self.clients.get(id).map(|asked| asked.request.clone()) else {
            return;
        };
        self.clients.put(id, Place::Other);
        let head = |kind| Head::new(kind).tag(clients::tag(id));
        self.peer.say(|session| match request {
            Request::Read(blocks) => session.send(&head(Kind::AskRead).blocks(blocks)),
            Request::Flush => session.send(&head(Kind::AskFlush)),
            Request::Write { blocks, body, fua } => {
                let head = Head {
                    fua,
                    ..head(Kind::AskWrite).blocks(blocks)
                };
                wire::send_body(session, head, body);
            }
        });
    }

    /// Handles a request that the other node forwarded.
    pub(super) fn asked_there(&mut self, incoming: Incoming) {
        let (head, data) = match incoming {
            Incoming::Data(head, buffer) => (head, Some(buffer)),
            Incoming::Head(head) | Incoming::Value(head, _) => (head, None),
        };
        let blocks = head.range();
        let request = match head.kind {
            Kind::AskFlush => Request::Flush,
            Kind::AskRead if clients::fits_frame(blocks) => Request::Read(blocks),
            Kind::AskWrite => match wire::body(&head, data) {
                Some(body) => Request::Write {
                    blocks,
                    body,
                    fua: head.fua,
                },
                None => return self.answer(head.tag, Answer::Failed, None),
            },
            _ => return self.answer(head.tag, Answer::Failed, None),
        };
        match self.clients.open_there(head.tag, request) {
            Ok(id) => self.place(id),
            Err(clients::TooMany) => self.answer(head.tag, Answer::Failed, None),
        }
    }

    fn answer(&mut self, tag: u32, answer: Answer, data: Option<(Blocks, Data)>) {
        let head = Head::new(Kind::Answer).tag(tag).number(answer as u64);
        self.peer.say(|session| match data {
            Some((blocks, Data(buffer))) => {
                let head = Head {
                    content: Content::Data,
                    ..head.blocks(blocks)
                };
                session.send_data(head, buffer);
            }
            None => session.send(&head),
        });
    }

    /// Handles the other node's response to a forwarded request.
    pub(super) fn answered(&mut self, incoming: Incoming) {
        let (head, data) = match incoming {
            Incoming::Data(head, buffer) => (head, Some(buffer)),
            Incoming::Head(head) | Incoming::Value(head, _) => (head, None),
        };
        let Some(id) = self.clients.came_back(head.tag) else {
            return;
        };
        let is_read =
            { self.clients.get(id) }.is_some_and(|asked| matches!(asked.request, Request::Read(_)));
        match (Answer::of(head.number), data) {
            (Some(Answer::Done), Some(buffer)) if is_read => {
                self.end(id, Ok(Some(Data(Rc::new(buffer)))));
            }
            (Some(Answer::Done), None) if !is_read => self.end(id, Ok(None)),
            (Some(Answer::Moved), None) => self.clients.put(id, Place::Waiting),
            (Some(Answer::Refused), None) => self.end(id, Err(Errno::SHUTDOWN)),
            _ => self.end(id, Err(Errno::IO)),
        }
        // The replica was not involved, so nothing else continues a range.
        self.place_ready();
        if self.clients.has_waiting() && self.peer.serves() {
            self.retry();
        }
    }

    /// Takes forwarded requests back after the connection broke. Requests that the other node has
    /// executed are executed again, before any later request of their clients.
    pub(super) fn call_back(&mut self) {
        for id in self.clients.call_back() {
            self.clients.put(id, Place::Waiting);
        }
        // Their replies cannot be delivered; the clients repeat the requests.
        for id in self.clients.foreign() {
            self.clients.close(id);
        }
    }

    pub(super) fn end(&mut self, id: RequestId, result: Result<Option<Data>, Errno>) {
        let Some(asked) = self.clients.close(id) else {
            return;
        };
        let token = match asked.origin {
            Origin::Here(token) => token,
            Origin::There(tag) => {
                let answer = match &result {
                    Ok(_) => Answer::Done,
                    Err(Errno::SHUTDOWN) => Answer::Refused,
                    Err(_) => Answer::Failed,
                };
                let blocks = match &asked.request {
                    Request::Read(blocks) => *blocks,
                    _ => Blocks { first: 0, count: 0 },
                };
                let data = result.ok().flatten().map(|data| (blocks, data));
                return self.answer(tag, answer, data);
            }
        };
        if result.is_ok()
            && let Some((token, first, end, body)) = asked.rest()
        {
            let next = self.clients.open_range(token, first, end, body);
            // Deferred, because the replica is still processing the current input.
            return self.clients.make_ready(next);
        }
        let result = match (result, asked.request) {
            (Ok(Some(data)), Request::Read(blocks)) => self.fill(blocks, data, asked.place),
            (Ok(_), _) => Ok(Output::Done),
            (Err(errno), Request::Read(blocks)) => {
                self.local.withdraw(blocks);
                Err(Failure::Io(errno))
            }
            (Err(errno), _) => Err(Failure::Io(errno)),
        };
        self.complete(token, result);
    }

    /// Puts the data of a read into a buffer that belongs to the client.
    fn fill(&mut self, blocks: Blocks, data: Data, from: Place) -> Result<Output, Failure> {
        let Data(data) = data;
        if from == Place::Replica {
            // The data was read into the client's buffer, which has no other owner now.
            return match Rc::try_unwrap(data) {
                Ok(buffer) => Ok(Output::Data(buffer)),
                Err(_) => Err(Failure::Io(Errno::NOMEM)),
            };
        }
        // Copies the data, because a client that is slow to take replies must not hold the link's
        // memory. The client's own buffer is gone if a local read had begun before.
        let own = self.local.withdraw(blocks);
        let own = own.filter(|own| own.len() == data.len());
        match (own, Rc::try_unwrap(data)) {
            (Some(mut own), Ok(data)) => {
                own.bytes_mut().copy_from_slice(data.bytes());
                Ok(Output::Data(own))
            }
            (None, Ok(data)) => Ok(Output::Data(data)),
            (_, Err(_)) => Err(Failure::Io(Errno::NOMEM)),
        }
    }

    /// Completes an operation of the export.
    pub(super) fn complete(&mut self, token: Token, result: Result<Output, Failure>) {
        self.completed.push(Completion { token, result });
    }
}
