//! Sends openraft's requests to other members over the transport, and converts the replies.
//! Snapshots go through [`send`], and AppendEntries through [`Pipeline`].

use crate::log::{Types, Vote};
use crate::member::MemberId;
use crate::raft::election::Election;
use crate::raft::message::{RaftReply, Request};
use crate::raft::pipeline::{AppendReply, HasBehind, Pipeline};
use crate::raft::replica::{Picture, ReplicaState};
use crate::raft::send;
use crate::raft::settings::Settings;
use crate::raft::transport::{CallError, Calls};
use crate::store::Store;
use futures_util::Stream;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::type_config::alias::SnapshotOf;
use openraft::{AsyncRuntime, EmptyNode, Instant, OptionalSend};
use part::codec;
use std::sync::Arc;
use std::time::Duration;

/// Longest time that the response to a pre-vote may take and still be useful.
const PRE_VOTE_LIMIT: Duration = Duration::from_secs(5);

/// A member's response does not fit the request.
#[derive(Debug, thiserror::Error)]
#[error("unexpected reply")]
pub(super) struct Nonsense;

pub(super) struct Links<R: AsyncRuntime> {
    pub(super) calls: Calls,
    pub(super) settings: Arc<Settings>,
    pub(super) store: Store,
    pub(super) election: Arc<Election<R>>,
    pub(super) shared: Arc<ReplicaState<R>>,
}

pub(super) struct RaftConnection<R: AsyncRuntime> {
    to: MemberId,
    calls: Calls,
    settings: Arc<Settings>,
    store: Store,
    election: Arc<Election<R>>,
    shared: Arc<ReplicaState<R>>,
}

impl<R: AsyncRuntime> RaftNetworkFactory<Types<R>> for Links<R> {
    type Network = RaftConnection<R>;

    async fn new_client(&mut self, target: MemberId, _node: &EmptyNode) -> RaftConnection<R> {
        RaftConnection {
            to: target,
            calls: self.calls.clone(),
            settings: self.settings.clone(),
            store: self.store.clone(),
            election: self.election.clone(),
            shared: self.shared.clone(),
        }
    }
}

pub(super) async fn call<R: AsyncRuntime>(
    calls: &Calls,
    to: MemberId,
    request: &Request<R>,
    limit: Duration,
) -> Result<RaftReply<R>, CallError> {
    let bytes = calls.call(to, codec::encode(request), limit).await?;
    decode(calls, &bytes)
}

/// Decodes a reply. Refuses one with an impossible vote.
pub(super) fn decode<R: AsyncRuntime>(
    calls: &Calls,
    bytes: &[u8],
) -> Result<RaftReply<R>, CallError> {
    let reply: RaftReply<R> = codec::decode(bytes).map_err(|_| CallError::Refused)?;
    if reply.vote().is_none_or(|vote| calls.is_plausible(vote)) {
        Ok(reply)
    } else {
        Err(CallError::Refused)
    }
}

impl<R: AsyncRuntime> RaftConnection<R> {
    /// Refuses an election of a silent voter: its own vote may not be on disk.
    fn may_stand(&self) -> Result<(), RPCError<Types<R>>> {
        if self.shared.silence.is_on(&self.store) {
            Err(nonsense())
        } else {
            Ok(())
        }
    }

    async fn ask(
        &self,
        request: Request<R>,
        limit: Duration,
    ) -> Result<RaftReply<R>, RPCError<Types<R>>> {
        answer(call(&self.calls, self.to, &request, limit).await)
    }
}

pub(super) fn answer<R: AsyncRuntime>(
    said: Result<RaftReply<R>, CallError>,
) -> Result<RaftReply<R>, RPCError<Types<R>>> {
    match said {
        Ok(RaftReply::Failed(_)) | Err(CallError::Refused) => {
            Err(RPCError::Unreachable(Unreachable::new(&Nonsense)))
        }
        Ok(reply) => Ok(reply),
        // Reports a timeout as an error of the network, after which openraft repeats the request
        // without a pause: the member may have received it.
        Err(error @ CallError::Timeout) => Err(RPCError::Network(NetworkError::new(&error))),
        Err(error) => Err(RPCError::Unreachable(Unreachable::new(&error))),
    }
}

pub(super) fn nonsense<R: AsyncRuntime>() -> RPCError<Types<R>> {
    RPCError::Unreachable(Unreachable::new(&Nonsense))
}

impl<R: AsyncRuntime> RaftNetworkV2<Types<R>> for RaftConnection<R> {
    type SnapshotData = Picture;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types<R>>, RPCError<Types<R>>> {
        // Waits longer for the response to entries than for that to a heartbeat: the member
        // responds once its disk has the entries.
        let limit = if rpc.entries.is_empty() {
            option.hard_ttl()
        } else {
            self.settings.election_min.max(option.hard_ttl())
        };
        match self.ask(Request::Append(rpc), limit).await? {
            RaftReply::Append(response) => Ok(response),
            _ => Err(nonsense()),
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, AppendReply<R>>, RPCError<Types<R>>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types<R>>> + OptionalSend + Unpin + 'static,
    {
        // A message with only the commit index may follow entries, and its response waits
        // for the member's disk too.
        let limit = self.settings.election_min.max(option.hard_ttl());
        let store = self.store.clone();
        let has_behind: HasBehind = Box::new(move |end, waker| store.has_behind(end, waker));
        let sent = Pipeline::new(input, self.to, self.calls.clone(), limit, has_behind);
        Box::pin(std::future::ready(Ok(Box::pin(sent) as BoxStream<'s, _>)))
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types<R>>, RPCError<Types<R>>> {
        self.may_stand()?;
        self.election.end_arbiters_time();
        let lost = self.election.lost_leader();
        let request = Request::Vote { request: rpc, lost };
        match self.ask(request, option.hard_ttl()).await? {
            RaftReply::Vote(response) => Ok(response),
            _ => Err(nonsense()),
        }
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types<R>>, RPCError<Types<R>>> {
        self.may_stand()?;
        self.election.end_arbiters_time();
        if let Some(said) = self.election.said_late(self.to, &rpc) {
            return Ok(said);
        }
        let (calls, election, to) = (self.calls.clone(), self.election.clone(), self.to);
        // Waits for longer than openraft does: a member that saves its vote before it grants a
        // pre-vote responds only after its disk.
        let limit = PRE_VOTE_LIMIT;
        let asked = R::spawn(async move {
            let began = R::Instant::now();
            let request = Request::PreVote(rpc.clone());
            let said = answer(call(&calls, to, &request, limit).await)?;
            let RaftReply::Vote(said) = said else {
                return Err(nonsense());
            };
            // Keeps a response that came after openraft's timeout, for the next identical request.
            if said.vote_granted && began.elapsed() >= option.hard_ttl() {
                election.would_vote(to, rpc, said.clone());
            }
            Ok(said)
        });
        asked.await.unwrap_or_else(|_| Err(nonsense()))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<Types<R>, Picture>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types<R>>, StreamingError<Types<R>>> {
        let sending = send::snapshot(&self.calls, &self.store, self.to, vote, snapshot);
        match R::select2(cancel, sending).await {
            openraft::async_runtime::Select2::First(closed) => Err(StreamingError::Closed(closed)),
            openraft::async_runtime::Select2::Second(result) => result,
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types<R>>, RPCError<Types<R>>> {
        match self.ask(Request::Transfer(req), option.hard_ttl()).await? {
            RaftReply::Transfer(response) => Ok(response),
            _ => Err(nonsense()),
        }
    }
}
