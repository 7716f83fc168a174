//! Sends a request to a member on the best route, and again on the next best one if no response
//! comes soon. Returns the first response. The other side handles the request once.

use super::counters::count;
use super::failure::CallError;
use super::frame::{FrameKind, MESSAGE_BYTES_MAX, PIECE_BYTES_MAX};
use super::link::{CallReply, WireConnection};
use super::network::ConnectionFactory;
use super::outbox::Outgoing;
use super::path::PathKind;
use super::service::Service;
use super::shared::WireState;
use crate::member::MemberId;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const ATTEMPTS_MAX: usize = 4;
/// Factor by which the wait before another copy is longer for a large request.
const LARGE_PATIENCE: u32 = 8;

#[derive(Default)]
pub(crate) struct Tried {
    pub(crate) links: Vec<u64>,
    pub(crate) ways: Vec<PathKind>,
    /// For a request that must not be handled twice: the process of the member that got the
    /// first copy. A restarted process does not know that copy, so it gets none.
    pub(crate) run: Option<u64>,
}

/// Fate of the copies of one request.
#[derive(Default)]
struct Copies {
    sent: usize,
    refused: usize,
    /// True if the send queue of a connection had no space for a copy.
    queue_was_full: bool,
}

impl Copies {
    fn failure(&self, to: MemberId, is_member: bool) -> CallError {
        if self.sent > self.refused {
            // Reports a broken connection: the member may have handled a copy on it.
            CallError::Broken(to)
        } else if self.refused > 0 || self.queue_was_full {
            CallError::Overloaded(to)
        } else if is_member {
            CallError::Unreachable(to)
        } else {
            CallError::NoMember(to)
        }
    }
}

impl Service {
    fn repeatable(self) -> bool {
        matches!(self, Service::Raft | Service::Gossip)
    }
}

impl<N: ConnectionFactory> WireState<N> {
    pub(crate) async fn call(
        &self,
        to: MemberId,
        service: Service,
        bytes: Vec<u8>,
        limit: Duration,
    ) -> Result<Vec<u8>, CallError> {
        self.call_code(to, service.code(), service.repeatable(), bytes, limit)
            .await
    }

    /// Sends a request like [`Self::call`], to a service given by its code.
    pub(crate) async fn call_code(
        &self,
        to: MemberId,
        service: u8,
        repeatable: bool,
        bytes: Vec<u8>,
        limit: Duration,
    ) -> Result<Vec<u8>, CallError> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(CallError::TooLarge {
                bytes: bytes.len(),
                bytes_max: MESSAGE_BYTES_MAX,
            });
        }
        let message = Outgoing {
            frame: FrameKind::Ask,
            service,
            call: self.next_number(),
            bytes: Arc::new(bytes),
        };
        let asking = self.ask(to, repeatable, &message);
        match tokio::time::timeout(limit, asking).await {
            Ok(answer) => answer,
            Err(_) => Err(CallError::TimedOut(to)),
        }
    }

    async fn ask(
        &self,
        to: MemberId,
        repeatable: bool,
        message: &Outgoing,
    ) -> Result<Vec<u8>, CallError> {
        let mut tried = Tried::default();
        let mut answers = FuturesUnordered::new();
        let mut patience = self.timing().again;
        let mut copies = Copies::default();
        loop {
            let room = tried.links.len() < ATTEMPTS_MAX;
            if let Some(link) = self.choose(to, &tried).filter(|_| room) {
                tried.links.push(link.number);
                tried.ways.push(link.bearing.way);
                if !repeatable {
                    tried.run.get_or_insert(link.bearing.run);
                }
                match link.ask(message.clone()) {
                    Ok(asked) => answers.push(asked),
                    Err(_) => {
                        copies.queue_was_full = true;
                        continue;
                    }
                }
                if copies.sent > 0 {
                    count(&self.counters.sent_again);
                }
                copies.sent += 1;
                patience = self.patience(&link, message);
            } else if answers.is_empty() {
                return Err(copies.failure(to, self.knows(to)));
            }
            let waited: Vec<Arc<WireConnection>> = answers
                .iter()
                .map(|asked| Arc::clone(asked.link()))
                .collect();
            tokio::select! {
                reply = answers.next() => match reply.flatten() {
                    Some(CallReply::Answer(bytes)) => return Ok(bytes),
                    Some(CallReply::Overloaded) => copies.refused += 1,
                    // Waits for the other copies: the reply comes on another connection, or this
                    // connection ended.
                    Some(CallReply::Repeated) | None => {}
                },
                () = tokio::time::sleep(patience) => {
                    waited.iter().for_each(|link| link.probe());
                }
            }
        }
    }

    fn patience(&self, link: &WireConnection, message: &Outgoing) -> Duration {
        let small = self.timing().again.max(link.rtt().unwrap_or_default() * 3);
        if message.bytes.len() > PIECE_BYTES_MAX {
            small * LARGE_PATIENCE
        } else {
            small
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO: MemberId = MemberId(2);

    fn failure(sent: usize, refused: usize, queue_was_full: bool) -> CallError {
        let copies = Copies {
            sent,
            refused,
            queue_was_full,
        };
        copies.failure(TO, true)
    }

    #[test]
    fn copy_on_a_broken_connection_may_have_been_handled() {
        // The first copy was lost with its connection; the second one was refused.
        assert_eq!(failure(2, 1, false), CallError::Broken(TO));
        // The first copy was lost with its connection; the second one was not sent.
        assert_eq!(failure(1, 0, true), CallError::Broken(TO));
        assert_eq!(failure(1, 0, false), CallError::Broken(TO));
    }

    #[test]
    fn request_is_unprocessed_if_every_copy_was_refused() {
        assert_eq!(failure(2, 2, false), CallError::Overloaded(TO));
        assert_eq!(failure(0, 0, true), CallError::Overloaded(TO));
        assert_eq!(failure(0, 0, false), CallError::Unreachable(TO));
        let nothing_sent = Copies::default();
        assert_eq!(nothing_sent.failure(TO, false), CallError::NoMember(TO));
    }
}
