//! Sends AppendEntries messages to one member, a few of them outstanding at once, so that new
//! entries need not wait until the member has learned the latest commit index.
//!
//! A message that only carries the commit index is delayed and merged with the next
//! entries, if those come soon. They do while a client writes one item after another.
//!
//! A member processes messages in the order of arrival. If that differs from the order
//! of sending, it refuses the message that arrived too early, and the engine retries
//! that message.
//!
//! A response is reported to openraft only if everything that openraft concludes from
//! it is true. openraft notes when it handed over each message. It takes a response
//! that confirms the log up to some entry as a response to every message that ends
//! there or earlier, and uses the time of the newest one. A message that only carries
//! the commit index ends at the same entry as the entries before it. So while such a
//! message is outstanding, the response to those entries is withheld. The member may
//! have sent that response before the message existed, and it would then confirm the
//! leader for too late a time. The response to the last message counts for all of them.
//!
//! Nothing is withheld forever: a response comes or fails within its timeout, and no
//! message that ends at the same entry follows one with more entries. For the same
//! reason a commit-index message waits for entries only while nothing is outstanding:
//! merged with later entries, it has no response of its own that could count for the
//! earlier ones.
//!
//! While entries are outstanding and the log contains no further ones, openraft is not asked for
//! messages. Such messages could only carry the commit index, which the member learns
//! soon enough. So the slowest member costs the others nothing. The log wakes the
//! pipeline when it has more entries.

use crate::log::{LogId, Types};
use crate::member::MemberId;
use crate::raft::message::{RaftReply, Request};
use crate::raft::network::{answer, decode, nonsense};
use crate::raft::transport::Calls;
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, Stream, StreamExt};
use openraft::errors::{NetworkError, RPCError};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, StreamAppendResult};
use openraft::{AsyncRuntime, Instant};
use part::codec;
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

const FLIGHT_MAX: usize = 4;
/// After a message of more bytes, nothing is sent until its response: it takes long, and
/// small messages overtake it.
const LARGE_BYTES: usize = 8 << 10;

/// Time within which entries must follow a commit to carry the commit index. If the
/// last entries did, the commit index waits this long for the next ones.
const SOON: Duration = Duration::from_millis(1);

/// A member refused entries because it lacks earlier ones.
#[derive(Debug, thiserror::Error)]
#[error("the predecessor entry is missing")]
struct TooEarly;

/// The result of one message for openraft.
pub(super) type AppendReply<R> = Result<StreamAppendResult<Types<R>>, RPCError<Types<R>>>;

type PendingAppend<R> = Pin<Box<dyn Future<Output = AppendReply<R>> + Send>>;

/// Callback that returns whether the log has entries after a position. If it has none, the waker is
/// called once it has.
pub(super) type HasBehind = Box<dyn Fn(Option<LogId>, &Waker) -> bool + Send>;

/// A delayed message, and its deadline.
type HeldMessage<R> = (
    AppendEntriesRequest<Types<R>>,
    Pin<Box<<R as AsyncRuntime>::Sleep>>,
);

pub(super) struct Pipeline<R: AsyncRuntime, S> {
    input: S,
    to: MemberId,
    calls: Calls,
    limit: Duration,
    flight: FuturesOrdered<PendingAppend<R>>,
    has_behind: HasBehind,
    /// Last entry of each outstanding message, or the entry that the message follows.
    ends: VecDeque<Option<LogId>>,
    /// A message that only carries the commit index, and the time until which it waits
    /// for entries. None while a response is outstanding.
    held: Option<HeldMessage<R>>,
    /// Time at which the last message without entries was sent.
    told_at: Option<R::Instant>,
    /// True if entries came soon after the last message that only carried the commit index.
    more_comes: bool,
    large: bool,
    drained: bool,
    /// True if a response failed or was negative: nothing more is sent.
    broken: bool,
}

impl<R: AsyncRuntime, S> Pipeline<R, S>
where
    S: Stream<Item = AppendEntriesRequest<Types<R>>> + Unpin,
{
    pub(super) fn new(
        input: S,
        to: MemberId,
        calls: Calls,
        limit: Duration,
        has_behind: HasBehind,
    ) -> Pipeline<R, S> {
        Pipeline {
            input,
            to,
            calls,
            limit,
            has_behind,
            flight: FuturesOrdered::new(),
            ends: VecDeque::new(),
            held: None,
            told_at: None,
            more_comes: false,
            large: false,
            drained: false,
            broken: false,
        }
    }

    /// Returns whether a message may be sent now. If not, the caller is woken when that
    /// may have changed.
    fn has_room(&self, context: &Context<'_>) -> bool {
        !self.drained
            && match self.ends.back() {
                None => true,
                Some(end) => {
                    self.flight.len() < FLIGHT_MAX
                        && !self.large
                        && (self.has_behind)(*end, context.waker())
                }
            }
    }

    /// Accepts a message from openraft, and sends it now or merged with the next one.
    fn accept(&mut self, request: AppendEntriesRequest<Types<R>>) {
        if !request.entries.is_empty() {
            // Drops the held message: the entries carry a commit index that is at least as high.
            let held = self.held.take().is_some();
            let told_at = self.told_at.take();
            self.more_comes = held || told_at.is_some_and(|at| at.elapsed() < SOON);
            self.send(request);
        } else if let Some((held, _)) = &mut self.held {
            *held = request;
        } else if self.more_comes && self.flight.is_empty() {
            self.held = Some((request, Box::pin(R::sleep(SOON))));
        } else {
            self.told_at = Some(R::Instant::now());
            self.send(request);
        }
    }

    /// Sends the held message once its time is over, or if openraft has no more messages.
    fn let_go(&mut self, context: &mut Context<'_>) {
        let over = match &mut self.held {
            Some((_, until)) => self.drained || until.as_mut().poll(context).is_ready(),
            None => false,
        };
        if over && let Some((request, _)) = self.held.take() {
            self.more_comes = false;
            self.send(request);
        }
    }

    fn send(&mut self, request: AppendEntriesRequest<Types<R>>) {
        let prev = request.prev_log_id;
        let last = request.entries.last().map(|entry| entry.log_id).or(prev);
        let follows = !self.flight.is_empty();
        let bytes = codec::encode(&Request::<R>::Append(request));
        self.large = bytes.len() > LARGE_BYTES;
        let said = self.calls.call(self.to, bytes, self.limit);
        self.ends.push_back(last);
        let calls = self.calls.clone();
        self.flight.push_back(Box::pin(said.map(move |said| {
            let said = said.and_then(|bytes| decode(&calls, &bytes));
            match answer(said)? {
                RaftReply::Append(response) => interpret_response(response, prev, last, follows),
                _ => Err(nonsense()),
            }
        })));
    }

    fn fill(&mut self, context: &mut Context<'_>) {
        while self.has_room(context) {
            match self.input.poll_next_unpin(context) {
                Poll::Ready(Some(request)) => self.accept(request),
                Poll::Ready(None) => self.drained = true,
                Poll::Pending => break,
            }
        }
        self.let_go(context);
    }

    /// Returns whether a response is withheld because the response to an outstanding
    /// message counts for it.
    fn is_withheld(&self, said: &AppendReply<R>) -> bool {
        match said {
            Ok(Ok(matching)) => self.ends.iter().any(|end| end <= matching),
            _ => false,
        }
    }
}

/// Interprets a response. A refusal of entries that followed other entries may only mean
/// that they arrived too early, so openraft must not draw conclusions from it.
fn interpret_response<R: AsyncRuntime>(
    response: AppendEntriesResponse<Types<R>>,
    prev: Option<LogId>,
    last: Option<LogId>,
    follows: bool,
) -> AppendReply<R> {
    match response {
        AppendEntriesResponse::Conflict if follows || prev.is_none() => {
            Err(RPCError::Network(NetworkError::new(&TooEarly)))
        }
        response => Ok(response.into_stream_result(prev, last)),
    }
}

impl<R: AsyncRuntime, S> Stream for Pipeline<R, S>
where
    S: Stream<Item = AppendEntriesRequest<Types<R>>> + Unpin,
{
    type Item = AppendReply<R>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<AppendReply<R>>> {
        if self.broken {
            return Poll::Ready(None);
        }
        loop {
            // Accepts messages before any response is reported, so that the pipeline knows all that
            // openraft has handed over.
            self.fill(context);
            match self.flight.poll_next_unpin(context) {
                Poll::Ready(Some(said)) => {
                    self.ends.pop_front();
                    if self.is_withheld(&said) {
                        continue;
                    }
                    // Messages that were sent behind a failed one are useless.
                    self.broken = !matches!(said, Ok(Ok(_)));
                    return Poll::Ready(Some(said));
                }
                Poll::Ready(None) if self.drained => return Poll::Ready(None),
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{ClusterCommand, CommandBody};
    use crate::log::{Entry, LeaderId, Vote};
    use crate::log::{Proposed, Ticket};
    use crate::raft::transport::{CallError, MemberTransport};
    use crate::store::Store;
    use openraft::EntryPayload;
    use openraft::raft::StreamAppendError;
    use openraft::vote::RaftLeaderId;
    use openraft_rt_tokio::TokioRuntime;
    use redb::backends::InMemoryBackend;
    use std::sync::{Arc, Mutex};
    use tokio::sync::oneshot;

    type Response = AppendEntriesResponse<Types<TokioRuntime>>;
    type Answering = oneshot::Sender<Result<Vec<u8>, CallError>>;

    /// A member that responds when the test allows it.
    #[derive(Clone, Default)]
    struct ScriptedMember(Arc<Mutex<VecDeque<Answering>>>);

    impl MemberTransport for ScriptedMember {
        async fn call(
            &self,
            _to: MemberId,
            _bytes: Vec<u8>,
            _limit: Duration,
        ) -> Result<Vec<u8>, CallError> {
            let (tell, told) = oneshot::channel();
            self.0.lock().unwrap().push_back(tell);
            told.await.unwrap_or(Err(CallError::Closed))
        }
    }

    impl ScriptedMember {
        fn waiting(&self) -> usize {
            self.0.lock().unwrap().len()
        }

        fn answers(&self, place: usize, response: Response) {
            let reply = RaftReply::<TokioRuntime>::Append(response);
            let tell = self.0.lock().unwrap().remove(place).unwrap();
            tell.send(Ok(codec::encode(&reply))).unwrap();
        }
    }

    fn id(index: u64) -> LogId {
        LogId::new(LeaderId::new(1, MemberId(1)).to_committed(), index)
    }

    /// Returns a message with one entry of this size, behind that index.
    fn entry(prev: u64, bytes: usize) -> AppendEntriesRequest<Types<TokioRuntime>> {
        let words = "x".repeat(bytes);
        let ticket = Ticket {
            member: MemberId(1),
            start: 1,
            number: prev,
            settled: 0,
        };
        let command = ClusterCommand::new(MemberId(1), 0, CommandBody::Event { words });
        AppendEntriesRequest {
            vote: Vote::new_committed(1, MemberId(1)),
            prev_log_id: Some(id(prev)),
            entries: vec![Entry {
                log_id: id(prev + 1),
                payload: EntryPayload::Normal(Proposed::unsigned(ticket, command)),
            }],
            leader_commit: None,
        }
    }

    fn endless() -> HasBehind {
        Box::new(|_, _| true)
    }

    type Sending = Pin<Box<dyn Stream<Item = AppendReply<TokioRuntime>> + Send>>;

    fn sending(sizes: &[usize]) -> (ScriptedMember, Sending) {
        let member = ScriptedMember::default();
        let requests = sizes.iter().zip(1..);
        let requests: Vec<_> = requests.map(|(bytes, prev)| entry(prev, *bytes)).collect();
        let input = futures_util::stream::iter(requests);
        let calls = Calls::new(member.clone());
        let limit = Duration::from_secs(60);
        (
            member,
            Box::pin(Pipeline::new(input, MemberId(2), calls, limit, endless())),
        )
    }

    fn next(sending: &mut Sending) -> Option<Option<AppendReply<TokioRuntime>>> {
        sending.next().now_or_never()
    }

    fn acknowledged(said: &Option<Option<AppendReply<TokioRuntime>>>) -> Option<u64> {
        match said {
            Some(Some(Ok(Ok(Some(last))))) => Some(last.index),
            _ => None,
        }
    }

    #[test]
    fn some_messages_are_under_way_at_once_and_their_answers_are_told_in_order() {
        let (member, mut sending) = sending(&[10; FLIGHT_MAX + 2]);
        assert!(next(&mut sending).is_none());
        assert_eq!(member.waiting(), FLIGHT_MAX);
        member.answers(1, Response::Success);
        assert!(next(&mut sending).is_none(), "the first is not answered");
        member.answers(0, Response::Success);
        assert_eq!(acknowledged(&next(&mut sending)), Some(2));
        assert_eq!(acknowledged(&next(&mut sending)), Some(3));
        assert!(next(&mut sending).is_none());
        assert_eq!(member.waiting(), FLIGHT_MAX, "the rest went out");
        for last in 4..FLIGHT_MAX as u64 + 4 {
            member.answers(0, Response::Success);
            assert_eq!(acknowledged(&next(&mut sending)), Some(last));
        }
        assert!(matches!(next(&mut sending), Some(None)));
    }

    #[test]
    fn nothing_follows_a_large_message_until_it_is_answered() {
        let (member, mut sending) = sending(&[10, LARGE_BYTES, 10]);
        assert!(next(&mut sending).is_none());
        assert_eq!(member.waiting(), 2);
        member.answers(0, Response::Success);
        assert_eq!(acknowledged(&next(&mut sending)), Some(2));
        assert!(next(&mut sending).is_none());
        assert_eq!(member.waiting(), 1, "the large one is not answered");
        member.answers(0, Response::Success);
        assert_eq!(acknowledged(&next(&mut sending)), Some(3));
        assert!(next(&mut sending).is_none());
        assert_eq!(member.waiting(), 1);
    }

    #[test]
    fn a_member_that_lacks_what_stands_before_says_so_and_that_ends_it() {
        let (member, mut sending) = sending(&[10, 10]);
        assert!(next(&mut sending).is_none());
        member.answers(0, Response::Conflict);
        let said = next(&mut sending);
        let Some(Some(Ok(Err(StreamAppendError::Conflict(at))))) = said else {
            panic!("{said:?}");
        };
        assert_eq!(at, id(1));
        assert!(matches!(next(&mut sending), Some(None)));
    }

    #[test]
    fn what_came_too_early_is_sent_anew_and_says_nothing_of_the_log() {
        let (member, mut sending) = sending(&[10, 10, 10]);
        assert!(next(&mut sending).is_none());
        member.answers(1, Response::Conflict);
        member.answers(0, Response::Success);
        assert_eq!(acknowledged(&next(&mut sending)), Some(2));
        let said = next(&mut sending);
        assert!(
            matches!(said, Some(Some(Err(RPCError::Network(_))))),
            "{said:?}"
        );
        assert!(matches!(next(&mut sending), Some(None)));
    }

    /// Returns an AppendEntries without entries that only carries the commit index.
    fn agreed(index: u64) -> AppendEntriesRequest<Types<TokioRuntime>> {
        AppendEntriesRequest {
            prev_log_id: Some(id(index)),
            entries: Vec::new(),
            leader_commit: Some(id(index)),
            ..entry(index, 0)
        }
    }

    type Giving = tokio::sync::mpsc::UnboundedSender<AppendEntriesRequest<Types<TokioRuntime>>>;

    fn giving() -> (Giving, ScriptedMember, Sending) {
        giving_of(endless())
    }

    fn giving_of(has_behind: HasBehind) -> (Giving, ScriptedMember, Sending) {
        let (give, mut given) = tokio::sync::mpsc::unbounded_channel();
        let input = futures_util::stream::poll_fn(move |context| given.poll_recv(context));
        let member = ScriptedMember::default();
        let calls = Calls::new(member.clone());
        let limit = Duration::from_secs(60);
        let sending = Pipeline::new(input, MemberId(2), calls, limit, has_behind);
        let sending = Box::pin(sending);
        (give, member, sending)
    }

    #[test]
    fn an_answer_is_withheld_while_a_later_message_that_ends_alike_is_unanswered() {
        let (give, member, mut sending) = giving();
        give.send(entry(1, 10)).unwrap();
        assert!(next(&mut sending).is_none());
        member.answers(0, Response::Success);
        // Both messages are accepted before the response is reported, and the member
        // responded before they were sent.
        give.send(agreed(2)).unwrap();
        give.send(agreed(2)).unwrap();
        assert!(next(&mut sending).is_none(), "it says nothing of the later");
        assert_eq!(member.waiting(), 2);
        member.answers(0, Response::Success);
        assert!(next(&mut sending).is_none(), "one more ends there");
        // A message with more entries has its own response, which comes later.
        give.send(entry(2, 10)).unwrap();
        assert!(next(&mut sending).is_none());
        member.answers(1, Response::Success);
        assert!(next(&mut sending).is_none());
        member.answers(0, Response::Success);
        assert_eq!(acknowledged(&next(&mut sending)), Some(2), "once for all");
        assert_eq!(acknowledged(&next(&mut sending)), Some(3));
        assert!(next(&mut sending).is_none());
        drop(give);
        assert!(matches!(next(&mut sending), Some(None)));
    }

    #[test]
    fn where_the_later_message_fails_the_answer_before_it_is_not_told() {
        let (give, member, mut sending) = giving();
        give.send(entry(1, 10)).unwrap();
        give.send(agreed(2)).unwrap();
        assert!(next(&mut sending).is_none());
        member.answers(0, Response::Success);
        assert!(next(&mut sending).is_none());
        member.0.lock().unwrap().clear();
        let said = next(&mut sending);
        assert!(
            matches!(said, Some(Some(Err(RPCError::Unreachable(_))))),
            "{said:?}"
        );
        assert!(matches!(next(&mut sending), Some(None)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_not_answered_is_told_of_more_entries_and_of_nothing_else() {
        let store = Store::with_backend(InMemoryBackend::new()).unwrap();
        let append = |request: &AppendEntriesRequest<_>| {
            store.append(request.entries.clone(), Box::new(|_| ()));
        };
        let log = store.clone();
        let (give, member, mut sending) =
            giving_of(Box::new(move |end, waker| log.has_behind(end, waker)));
        let task = tokio::spawn(async move { while sending.next().await.is_some() {} });
        let waiting = async |count: usize| {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert_eq!(member.waiting(), count);
        };
        append(&entry(1, 10));
        give.send(entry(1, 10)).unwrap();
        give.send(agreed(2)).unwrap();
        waiting(1).await;
        // The pipeline runs only when an entry or a response wakes it.
        append(&entry(2, 10));
        give.send(entry(2, 10)).unwrap();
        waiting(3).await;
        for _ in 0..3 {
            member.answers(0, Response::Success);
        }
        waiting(0).await;
        append(&entry(3, 10));
        give.send(entry(3, 10)).unwrap();
        waiting(1).await;
        give.send(agreed(4)).unwrap();
        waiting(1).await;
        member.answers(0, Response::Success);
        waiting(1).await;
        task.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_agreed_on_waits_for_no_entries_while_those_before_it_are_unanswered() {
        let (give, member, mut sending) = giving();
        // Entries follow the commit index soon: the next commit index would wait for more.
        for request in [entry(1, 10), agreed(2), entry(2, 10)] {
            give.send(request).unwrap();
            assert!(next(&mut sending).is_none());
            member.answers(0, Response::Success);
            assert!(acknowledged(&next(&mut sending)).is_some());
        }
        give.send(entry(3, 10)).unwrap();
        give.send(agreed(4)).unwrap();
        assert!(next(&mut sending).is_none());
        assert_eq!(member.waiting(), 2, "it is under way");
        give.send(entry(4, 10)).unwrap();
        assert!(next(&mut sending).is_none());
        assert_eq!(member.waiting(), 3, "and has an answer of its own");
        member.answers(0, Response::Success);
        assert!(next(&mut sending).is_none());
        member.answers(0, Response::Success);
        assert_eq!(acknowledged(&next(&mut sending)), Some(4));
        member.answers(0, Response::Success);
        assert_eq!(acknowledged(&next(&mut sending)), Some(5));
        // With nothing outstanding the message waits, and nothing is reported for it before
        // it is sent.
        give.send(agreed(5)).unwrap();
        assert!(next(&mut sending).is_none());
        assert_eq!(member.waiting(), 0);
        give.send(entry(5, 10)).unwrap();
        assert!(next(&mut sending).is_none());
        assert_eq!(member.waiting(), 1);
        member.answers(0, Response::Success);
        assert_eq!(acknowledged(&next(&mut sending)), Some(6));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_agreed_on_is_told_at_once_or_with_the_entries_that_come_soon() {
        let (give, member, mut sending) = giving();
        let sends = |request, sending: &mut Sending| {
            give.send(request).unwrap();
            while next(sending).is_some() {}
            member.waiting()
        };
        let answered = |sending: &mut Sending| {
            member.answers(0, Response::Success);
            assert!(acknowledged(&next(sending)).is_some());
        };
        assert_eq!(sends(entry(1, 10), &mut sending), 1);
        answered(&mut sending);
        assert_eq!(sends(agreed(2), &mut sending), 1, "nobody writes: at once");
        answered(&mut sending);
        assert_eq!(sends(entry(2, 10), &mut sending), 1);
        answered(&mut sending);
        assert_eq!(
            sends(agreed(3), &mut sending),
            0,
            "entries came soon: it waits"
        );
        assert_eq!(
            sends(entry(3, 10), &mut sending),
            1,
            "and goes with the next"
        );
        answered(&mut sending);
        assert_eq!(sends(agreed(4), &mut sending), 0);
        tokio::time::sleep(SOON * 2).await;
        assert!(next(&mut sending).is_none());
        assert_eq!(member.waiting(), 1, "none came: it goes by itself");
        answered(&mut sending);
        assert_eq!(sends(entry(4, 10), &mut sending), 1);
        answered(&mut sending);
        assert_eq!(sends(agreed(5), &mut sending), 1, "nobody writes any more");
    }

    #[test]
    fn a_call_that_fails_ends_it() {
        let (member, mut sending) = sending(&[10, 10]);
        assert!(next(&mut sending).is_none());
        member.0.lock().unwrap().clear();
        let said = next(&mut sending);
        assert!(
            matches!(said, Some(Some(Err(RPCError::Unreachable(_))))),
            "{said:?}"
        );
        assert!(matches!(next(&mut sending), Some(None)));
    }
}
