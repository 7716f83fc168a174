//! Runs consensus on a member: starts openraft on the member's store, founds a cluster, handles the
//! requests of other members, and reports the status.

use crate::command::{CommandBody, CommandResult, VersionId};
use crate::log::{Signer, Types, Vote};
use crate::member::{ClusterMember, Digest, MemberId, MemberKind};
use crate::raft::election::Election;
use crate::raft::error::EngineError;
use crate::raft::message::{Failure, Lost, RaftReply, Request};
use crate::raft::network::Links;
use crate::raft::propose::Tickets;
use crate::raft::receive::Receiver;
use crate::raft::rejoin::Probation;
use crate::raft::replica::{Replica, ReplicaState, Sealing, SnapshotSeal};
use crate::raft::send;
use crate::raft::settings::Settings;
use crate::raft::silent::REFUSED_LIMIT;
use crate::raft::store_io::{Log, ask};
use crate::raft::transport::{Calls, MemberTransport};
use crate::state::ClusterState;
use crate::store::{Store, StoreError};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{InitializeError, RaftError};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest};
use openraft::type_config::alias::WatchReceiverOf;
use openraft::{AsyncRuntime, Instant, Raft, RaftMetrics};
use part::codec;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const FORWARDED_LIMIT: Duration = Duration::from_secs(2);

/// Notifier of applied entries: the index of the last one.
pub type Changes<R> = WatchReceiverOf<Types<R>, u64>;

/// Progress of a member's log, as indexes of entries. None: no entry yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogStatus {
    pub last: Option<u64>,
    pub committed: Option<u64>,
    pub applied: Option<u64>,
}

/// Status of consensus, as this member sees it.
#[derive(Clone, Debug, Default)]
pub struct RaftStatus {
    pub leader: Option<MemberId>,
    pub leading: bool,
    /// True on a leader whose state contains all entries committed in earlier terms. A leader that
    /// was restarted may have a state from before its voters became members.
    pub is_settled: bool,
    pub term: u64,
    pub log: LogStatus,
    /// On the leader: age of the latest call that a majority answered.
    pub quorum_acked_ago: Option<Duration>,
    /// On the leader: the last entry that each member is known to have.
    pub matched: BTreeMap<MemberId, Option<u64>>,
    /// Voters, including those whose admission is not committed yet.
    pub voters: Vec<MemberId>,
    /// Members without a vote that are becoming voters.
    pub learners: Vec<MemberId>,
    /// Reason why consensus has stopped on this member; None: it has not.
    pub halted: Option<EngineError>,
    /// Reason why the disk refuses writes. The member acknowledges nothing until the disk
    /// accepts them, and then continues by itself.
    pub refused: Option<EngineError>,
    /// The last sender of a message that this release of evenkeel does not understand: a member
    /// with a newer release.
    pub misunderstood: Option<MemberId>,
    /// Number of commands that were committed without a valid signature and had no
    /// effect, and the author that the last one names. Such commands come from a hostile
    /// leader.
    pub forged: Option<(u64, MemberId)>,
    /// Reason why the member's store was lost. The member does not vote until the others
    /// have admitted it again.
    pub lost: Option<String>,
}

pub(super) struct EngineInner<R: AsyncRuntime> {
    pub(super) me: MemberId,
    pub(super) kind: MemberKind,
    pub(super) settings: Arc<Settings>,
    pub(super) signer: Arc<dyn Signer>,
    pub(super) store: Store,
    pub(super) calls: Calls,
    pub(super) shared: Arc<ReplicaState<R>>,
    pub(super) election: Arc<Election<R>>,
    pub(super) raft: Raft<Types<R>, Replica<R>>,
    pub(super) config: Arc<openraft::Config>,
    pub(super) start: AtomicU64,
    pub(super) probation: Probation,
    pub(super) tickets: Tickets,
    pub(super) receiver: Receiver,
    pub(super) stopped: AtomicBool,
}

/// A member's consensus engine on its store. Clones share it.
///
/// Any member may propose and read: the engine sends both to the leader. The owner passes the calls
/// of other members to [`Engine::handle`], and ends the engine with [`Engine::stop`].
pub struct Engine<R: AsyncRuntime> {
    pub(super) inner: Arc<EngineInner<R>>,
}

impl<R: AsyncRuntime> Clone for Engine<R> {
    fn clone(&self) -> Self {
        Engine {
            inner: self.inner.clone(),
        }
    }
}

impl<R: AsyncRuntime> Engine<R> {
    /// Starts the engine with the contents of the store.
    ///
    /// # Errors
    /// Fails if the settings contradict each other, if the store cannot be read or written, if its
    /// snapshot cannot be decoded, or if consensus stops while it starts.
    pub async fn open(
        me: MemberId,
        kind: MemberKind,
        settings: Settings,
        store: Store,
        signer: Arc<dyn Signer>,
        transport: impl MemberTransport,
    ) -> Result<Engine<R>, EngineError> {
        let lost = store.lost().is_some();
        let config = Arc::new(settings.config(kind, !lost)?);
        let settings = Arc::new(settings);
        let calls = Calls::of(transport, store.clone());
        let shared = ReplicaState::new();
        let election = Arc::new(Election::new(kind, settings.clone()));
        let mut start = 0;
        ask::<R, _>(|done| start = store.start(done)).await?;
        let sealing = match kind {
            MemberKind::Node => Sealing::Signs(me, signer.clone()),
            MemberKind::Arbiter => Sealing::Fetches(calls.clone()),
        };
        ask::<R, _>(|done| store.purge_replaced(done)).await?;
        let replica = Replica::open(store.clone(), shared.clone(), sealing).await?;
        let links = Links {
            calls: calls.clone(),
            settings: settings.clone(),
            store: store.clone(),
            election: election.clone(),
            shared: shared.clone(),
        };
        let log = Log::new(store.clone(), shared.clone());
        let raft = Raft::new(me, config.clone(), links, log, replica)
            .await
            .map_err(|_| shared.halted().unwrap_or(EngineError::Stopped))?;
        let engine = Engine {
            inner: Arc::new(EngineInner {
                me,
                kind,
                settings,
                signer,
                store,
                calls,
                shared,
                election,
                raft,
                config,
                start: AtomicU64::new(start),
                probation: Probation::new(lost),
                tickets: Tickets::default(),
                receiver: Receiver::default(),
                stopped: AtomicBool::new(false),
            }),
        };
        // Lets writes that the disk refuses wait from now on: once it is started, the engine can
        // continue without its disk.
        engine.inner.store.set_waits_for_disk(true);
        let _detached = R::spawn(engine.clone().duties());
        if lost {
            let _detached = R::spawn(engine.clone().rejoin());
        }
        Ok(engine)
    }

    /// Founds a cluster with this member as its first.
    ///
    /// # Errors
    /// - [`EngineError::Founded`]: this member already belongs to a cluster.
    /// - [`EngineError::Unfit`]: this member is not among the first members.
    /// - [`EngineError::NoLeader`]: this member did not become the leader in time.
    /// - [`EngineError::NoMajority`]: the first command has no result; it may have been committed.
    /// - [`EngineError::Busy`]: too many proposals are outstanding.
    /// - The reason why consensus has stopped.
    pub async fn found(
        &self,
        cluster: String,
        member: ClusterMember,
        authority: Vec<u8>,
    ) -> Result<CommandResult, EngineError> {
        let first = BTreeSet::from([self.inner.me]);
        match self.inner.raft.initialize(first).await {
            Ok(()) => {}
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {
                // Continues if the state lacks this member: power may have been lost after the
                // initialization and before the first command.
                if self.state().members.contains_key(&self.inner.me) {
                    return Err(EngineError::Founded);
                }
            }
            Err(RaftError::APIError(InitializeError::NotInMembers(_))) => {
                return Err(EngineError::Unfit(self.inner.me));
            }
            Err(RaftError::Fatal(_)) => {
                return Err(self.inner.shared.halted().unwrap_or(EngineError::Stopped));
            }
        }
        let body = CommandBody::Found {
            cluster,
            member,
            authority,
        };
        self.propose(body).await.map_err(EngineError::from)
    }

    /// Returns the state up to the last entry applied here.
    pub fn state(&self) -> Arc<ClusterState> {
        self.inner.shared.state()
    }

    pub fn changes(&self) -> Changes<R> {
        self.inner.shared.changes()
    }

    pub fn leader(&self) -> Option<MemberId> {
        self.inner.raft.metrics().borrow_watched().current_leader
    }

    pub fn raft_status(&self) -> RaftStatus {
        let receiver = self.inner.raft.metrics();
        let metrics = receiver.borrow_watched();
        let membership = metrics.membership_config.membership();
        let leading = metrics.state.is_leader();
        RaftStatus {
            leader: metrics.current_leader,
            leading,
            is_settled: leading
                && (metrics.last_applied.as_ref())
                    .is_some_and(|id| id.leader_id.term == metrics.current_term),
            term: metrics.current_term,
            log: LogStatus {
                last: metrics.last_log_index,
                committed: metrics.local_committed.map(|id| id.index),
                applied: metrics.last_applied.map(|id| id.index),
            },
            quorum_acked_ago: metrics
                .last_quorum_acked
                .as_ref()
                .filter(|_| leading)
                .map(|acked| openraft::Instant::elapsed(&**acked)),
            matched: metrics
                .replication
                .iter()
                .flatten()
                .map(|(member, matched)| (*member, matched.map(|id| id.index)))
                .collect(),
            voters: membership.voter_ids().collect(),
            learners: membership.learner_ids().collect(),
            halted: self.inner.shared.halted().or_else(|| {
                metrics
                    .running_state
                    .is_err()
                    .then_some(EngineError::Stopped)
            }),
            refused: self.inner.store.refused().map(EngineError::Store),
            misunderstood: self.inner.shared.misunderstood(),
            forged: self.inner.shared.forged(),
            lost: self.inner.store.lost(),
        }
    }

    /// Returns the voters of the committed membership; during a change, those that are in both the
    /// old and the new one. Without a leader, entries in the log count as committed.
    pub fn agreed_voters(&self) -> Vec<MemberId> {
        let receiver = self.inner.raft.metrics();
        agreed_voters(&receiver.borrow_watched())
    }

    pub fn disk_busy_for(&self) -> Duration {
        self.inner.store.busy_for()
    }

    /// Promises that this node accepted a version. The promise is on disk on return.
    ///
    /// # Errors
    /// Fails if the promise file cannot be written.
    pub fn accepts(&self, version: VersionId) -> Result<(), StoreError> {
        self.inner.store.accepts(version)
    }

    pub fn accepted_before(&self) -> Option<VersionId> {
        self.inner.store.accepted_before()
    }

    /// Reads a chunk of a content; None if it is not stored.
    ///
    /// # Errors
    /// Fails if the store cannot be read, if the chunk is damaged, or if the store was closed.
    pub async fn chunk(&self, digest: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        ask::<R, _>(|done| self.inner.store.chunk(digest, done)).await
    }

    pub async fn handle(&self, from: MemberId, bytes: Vec<u8>) -> Vec<u8> {
        let reply = match codec::decode::<Request<R>>(&bytes) {
            Ok(request) => self.withhold(self.answer(from, request).await),
            Err(_) => {
                self.inner.shared.misunderstand(from);
                RaftReply::Failed(Failure::Malformed)
            }
        };
        codec::encode(&reply)
    }

    async fn answer(&self, from: MemberId, request: Request<R>) -> RaftReply<R> {
        if !request.is_well_formed() {
            return RaftReply::Failed(Failure::Malformed);
        }
        if let Some(refused) = self.inner.probation.refuses(from, &request) {
            return refused;
        }
        if let Some(refused) = self.refuses_silently(&request) {
            return refused;
        }
        if let Some(refused) = self.refuse_without_right(from, &request).await {
            return refused;
        }
        let raft = &self.inner.raft;
        match request {
            Request::Append(request) => self.append(from, request).await,
            Request::Vote { request, lost } => self.vote(from, request, lost).await,
            Request::PreVote(request) => self.pre_vote(from, request).await,
            Request::Lost(lost) => RaftReply::Lost(self.would_vote(&lost)),
            Request::Transfer(request) => {
                if request.from_leader().leader_id.voted_for != from {
                    return RaftReply::Failed(Failure::Malformed);
                }
                match raft.handle_transfer_leader(request).await {
                    Ok(response) => RaftReply::Transfer(response),
                    Err(_) => RaftReply::Failed(Failure::Stopped),
                }
            }
            Request::Snapshot(part) => {
                let cluster = self.state().cluster.clone();
                let may_install = |seal: Option<&SnapshotSeal>| self.may_install(from, seal);
                let receiver = &self.inner.receiver;
                receiver
                    .receive_part(raft, &self.inner.store, from, part, &cluster, &may_install)
                    .await
            }
            Request::Propose(proposed) => self.propose_here(*proposed, FORWARDED_LIMIT).await,
            Request::Fetch { of, offset } => send::piece(&self.inner.store, of, offset).await,
            Request::Confirm => self.confirm_here(FORWARDED_LIMIT).await,
            Request::Change(change) => self.change_here(change).await,
        }
    }

    async fn append(
        &self,
        from: MemberId,
        mut request: AppendEntriesRequest<Types<R>>,
    ) -> RaftReply<R> {
        if request.vote.leader_id.voted_for != from {
            return RaftReply::Failed(Failure::Malformed);
        }
        if !self.is_node(from) {
            limit_commit(&mut request);
        }
        let own = self.inner.store.vote();
        if own.is_none_or(|own| own <= request.vote) {
            self.inner.election.record_leader_message(from);
            if self.is_node(from) {
                self.inner.election.end_arbiters_time();
            }
        }
        let appended = self.inner.raft.append_entries(request);
        let response = if self.is_silent() {
            // Waits for at most [`REFUSED_LIMIT`] if this member is silent: its disk takes some
            // time to refuse the entries, and the leader need not wait for that.
            match R::timeout(REFUSED_LIMIT, appended).await {
                Ok(response) => response,
                Err(_) => return RaftReply::Failed(Failure::Stopped),
            }
        } else {
            appended.await
        };
        match response {
            Ok(AppendEntriesResponse::HigherVote(vote)) if is_own(&vote, from) => {
                RaftReply::Failed(Failure::Outdated)
            }
            Ok(response) => RaftReply::Append(response),
            Err(_) => RaftReply::Failed(Failure::Stopped),
        }
    }

    async fn pre_vote(&self, from: MemberId, request: VoteRequest<Types<R>>) -> RaftReply<R> {
        if request.vote.leader_id.voted_for != from {
            return RaftReply::Failed(Failure::Malformed);
        }
        let vote = request.vote;
        let Ok(response) = self.inner.raft.pre_vote(request).await else {
            return RaftReply::Failed(Failure::Stopped);
        };
        if is_own(&response.vote, from) && !response.vote_granted {
            return RaftReply::Failed(Failure::Outdated);
        }
        let store = &self.inner.store;
        let slow = self.inner.election.saves_slowly();
        if response.vote_granted && slow && !store.has_written(vote) {
            // Restarts this member's wait for a leader, because the candidate may soon lead.
            self.inner.election.voted();
            let began = R::Instant::now();
            if ask::<R, _>(|done| store.prepare_vote(vote, done))
                .await
                .is_err()
            {
                return RaftReply::Failed(Failure::Stopped);
            }
            self.inner.election.saved_within(began.elapsed());
        }
        RaftReply::Vote(response)
    }

    async fn vote(
        &self,
        from: MemberId,
        mut request: VoteRequest<Types<R>>,
        lost: Option<MemberId>,
    ) -> RaftReply<R> {
        if request.vote.leader_id.voted_for != from {
            return RaftReply::Failed(Failure::Malformed);
        }
        // Ignores the mark of a hand-over from an arbiter: a leader hands over to nodes only.
        request.leadership_transfer &= self.is_node(from);
        // Votes in spite of the leader's lease if the leader itself requested the candidate to
        // stand, or if this member saw its own connection to that leader die.
        if let Some(lost) = lost {
            request.leadership_transfer |=
                self.inner.election.lost_leader() == Some(lost) && self.leader() == Some(lost);
        }
        let is_saved = self.inner.store.has_written(request.vote);
        let began = R::Instant::now();
        match self.inner.raft.vote(request).await {
            Ok(response) => {
                if response.vote_granted {
                    self.inner.election.voted();
                    if !is_saved {
                        self.inner.election.saved_within(began.elapsed());
                    }
                }
                if is_own(&response.vote, from) && !response.vote_granted {
                    RaftReply::Failed(Failure::Outdated)
                } else {
                    RaftReply::Vote(response)
                }
            }
            Err(_) => RaftReply::Failed(Failure::Stopped),
        }
    }

    /// Returns whether this member has lost the leader, too, and the candidate's term and log are
    /// not behind its own.
    fn would_vote(&self, lost: &Lost) -> bool {
        let standing = self.raft_status();
        self.inner.election.lost_leader() == Some(lost.leader)
            && standing.leader == Some(lost.leader)
            && standing.term <= lost.term
            && self.inner.store.ends().1 <= lost.last
    }

    /// Stops the engine and flushes the store. A failure of the flush is ignored.
    pub async fn stop(&self) {
        self.inner.stopped.store(true, Ordering::Relaxed);
        let store = &self.inner.store;
        // Lets writes to a full disk fail at once: the shutdown must not wait for them.
        store.set_waits_for_disk(false);
        let _ = self.inner.raft.shutdown().await;
        let _ = ask::<R, _>(|done| store.sync(done)).await;
    }

    pub(super) fn over(&self) -> bool {
        self.inner.stopped.load(Ordering::Relaxed)
    }
}

/// Lowers a commit index to the last entry that the message proves to be in the log.
fn limit_commit<R: AsyncRuntime>(request: &mut AppendEntriesRequest<Types<R>>) {
    let last = request.entries.last().map(|entry| entry.log_id);
    request.leader_commit = request.leader_commit.min(last.or(request.prev_log_id));
}

/// Returns whether a vote is not committed and is for this member.
fn is_own(vote: &Vote, member: MemberId) -> bool {
    !vote.committed && vote.leader_id.voted_for == member
}

fn agreed_voters<R: AsyncRuntime>(metrics: &RaftMetrics<Types<R>>) -> Vec<MemberId> {
    let last = &metrics.membership_config;
    let is_open = metrics.current_leader.is_some() && *last.log_id() > metrics.local_committed;
    let agreed = if is_open {
        &metrics.committed_membership_config
    } else {
        last
    };
    let parts = agreed.membership().get_joint_config();
    let voters = agreed.membership().voter_ids();
    voters
        .filter(|voter| parts.iter().all(|part| part.contains(voter)))
        .collect()
}
