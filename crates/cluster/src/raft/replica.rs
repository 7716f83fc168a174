//! Applies committed entries to the state in memory (the state machine, the tickets of proposals,
//! the membership), and builds and installs snapshots. Decides nothing.

use crate::command::{CommandBody, CommandRefusal, CommandResult};
use crate::log::{Entry, LogId, Membership, SnapshotMeta, Types};
use crate::log::{MemberSignature, Proposed, Sessions, Signer, TicketState};
use crate::member::{MemberId, MemberKind, digest};
use crate::raft::error::EngineError;
use crate::raft::send;
use crate::raft::silent::Silence;
use crate::raft::store_io::{ask, to_io};
use crate::raft::transport::Calls;
use crate::state::ClusterState;
use crate::store::{Store, StoreError};
use futures_util::{Stream, StreamExt};
use openraft::async_runtime::watch::{Watch, WatchSender};
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::type_config::alias::{SnapshotOf, WatchReceiverOf, WatchSenderOf};
use openraft::{AsyncRuntime, EntryPayload, OptionalSend, Snapshot};
use part::codec;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Number of applied entries after which waiting proposers are notified.
const TELL_ENTRIES_MAX: usize = 64;
/// Largest number of rounds in which an arbiter asks every node for a newer snapshot, when one is
/// due.
const FETCHES_MAX: usize = 10;
const FETCH_PAUSE: Duration = Duration::from_millis(200);
/// Bytes of the log from which on an arbiter builds a snapshot itself, without the signature of a
/// node.
const KEPT_BYTES_MAX: u64 = 256 << 20;
/// Largest snapshot without its pieces, bytes.
pub(super) const IMAGE_BYTES_MAX: u64 = 64 << 20;

/// A snapshot without the chunks of contents, which are in the store.
#[derive(Clone)]
pub struct Picture(pub(super) Arc<Vec<u8>>);

const SNAPSHOT_CONTEXT: &[u8] = b"evenkeel snapshot 1\0";

#[derive(Serialize, Deserialize)]
pub(super) struct Image {
    #[serde(with = "serde_bytes")]
    state: Vec<u8>,
    sessions: Sessions,
    /// Signature of the node that built the snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seal: Option<StoredSeal>,
}

#[derive(Serialize, Deserialize)]
struct StoredSeal {
    by: MemberId,
    signature: MemberSignature,
}

/// Signature of a node that had this state at this position of the log. An arbiter
/// builds no state that others trust: it stores and sends a snapshot that a node
/// signed.
pub(super) struct SnapshotSeal {
    pub(super) by: MemberId,
    pub(super) signature: MemberSignature,
    pub(super) message: Vec<u8>,
}

/// Way in which this member gets a snapshot that other members trust: a node signs its own one, and
/// an arbiter, whose state they do not trust, fetches one from a node.
#[derive(Clone)]
pub(super) enum Sealing {
    Signs(MemberId, Arc<dyn Signer>),
    Fetches(Calls),
}

impl Image {
    fn decode(bytes: &[u8]) -> Result<(ClusterState, Sessions), io::Error> {
        let image: Image = codec::decode(bytes).map_err(io::Error::other)?;
        let state = ClusterState::decode(&image.state).map_err(io::Error::other)?;
        Ok((state, image.sessions))
    }

    #[cfg(test)]
    pub(super) fn forged(
        state: &ClusterState,
        meta: &SnapshotMeta,
        by: MemberId,
        signer: &dyn Signer,
    ) -> Vec<u8> {
        let mut image = Image {
            state: state.encode(),
            sessions: Sessions::default(),
            seal: None,
        };
        let message = image.message(meta, &state.cluster);
        let signature = signer.sign(&message).expect("the key signs");
        image.seal = Some(StoredSeal { by, signature });
        codec::encode(&image)
    }

    pub(super) fn seal(bytes: &[u8], meta: &SnapshotMeta, cluster: &str) -> Option<SnapshotSeal> {
        let image: Image = codec::decode(bytes).ok()?;
        let message = image.message(meta, cluster);
        image.seal.map(|seal| SnapshotSeal {
            by: seal.by,
            signature: seal.signature,
            message,
        })
    }

    /// Returns the message that a node signs: the position in the log, the voters there,
    /// and the state.
    fn message(&self, meta: &SnapshotMeta, cluster: &str) -> Vec<u8> {
        let place = codec::encode(&(&meta.last_log_id, &meta.last_membership));
        let parts = [
            digest(cluster.as_bytes()),
            digest(&place),
            digest(&self.state),
            digest(&codec::encode(&self.sessions)),
        ];
        let parts = parts.iter().flat_map(|digest| digest.0);
        SNAPSHOT_CONTEXT.iter().copied().chain(parts).collect()
    }

    pub(super) fn chunks(bytes: &[u8]) -> Result<BTreeSet<crate::member::Digest>, io::Error> {
        Ok(Image::decode(bytes)?.0.chunks().collect())
    }
}

/// The state, and a shared copy for readers that is made on demand.
#[derive(Default)]
struct Live {
    state: ClusterState,
    shared: Option<Arc<ClusterState>>,
    sessions: Sessions,
    halted: Option<EngineError>,
    misunderstood: Option<MemberId>,
    forged: Option<(u64, MemberId)>,
    /// Index of the entry since which signatures are required, if this process applied it.
    signed_since: Option<u64>,
}

/// Number of entries behind the one that requires signatures in which a command without one is
/// usual: its author proposed it before it had applied that entry, and repeats it with a signature.
const UNSIGNED_IN_FLIGHT: u64 = 64;

/// The first entry is not applied yet: this member knows nothing of the cluster from
/// its log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unfounded;

/// State shared by the replica and the engine.
pub(super) struct ReplicaState<R: AsyncRuntime> {
    pub(super) silence: Silence,
    live: Mutex<Live>,
    applied: WatchReceiverOf<Types<R>, u64>,
    unsealed: AtomicBool,
    /// Sends the values of `applied`. Locked only because not every runtime's sender may be shared.
    tell: Mutex<WatchSenderOf<Types<R>, u64>>,
}

impl<R: AsyncRuntime> ReplicaState<R> {
    pub(super) fn new() -> Arc<ReplicaState<R>> {
        let (tell, applied) = R::Watch::channel(0);
        Arc::new(ReplicaState {
            silence: Silence::default(),
            live: Mutex::new(Live::default()),
            applied,
            unsealed: AtomicBool::new(false),
            tell: Mutex::new(tell),
        })
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> Arc<ClusterState> {
        let mut live = self.live();
        let Live { state, shared, .. } = &mut *live;
        shared
            .get_or_insert_with(|| Arc::new(state.clone()))
            .clone()
    }

    pub(super) fn kind_of(&self, member: MemberId) -> Result<Option<MemberKind>, Unfounded> {
        let live = self.live();
        if live.state.founded() {
            Ok(live.state.member(member).map(|member| member.kind))
        } else {
            Err(Unfounded)
        }
    }

    pub(super) fn changes(&self) -> WatchReceiverOf<Types<R>, u64> {
        self.applied.clone()
    }

    pub(super) fn halted(&self) -> Option<EngineError> {
        self.live().halted.clone()
    }

    pub(super) fn start_of(&self, member: MemberId) -> u64 {
        self.live().sessions.start_of(member)
    }

    pub(super) fn misunderstood(&self) -> Option<MemberId> {
        self.live().misunderstood
    }

    pub(super) fn forged(&self) -> Option<(u64, MemberId)> {
        self.live().forged
    }

    /// Returns whether no node signed the last snapshot, so that other members refuse to install it
    /// from an arbiter.
    pub(super) fn is_unsealed(&self) -> bool {
        self.unsealed.load(Ordering::Relaxed)
    }

    pub(super) fn misunderstand(&self, member: MemberId) {
        self.live().misunderstood = Some(member);
    }

    fn halted_by(&self, error: StoreError) -> io::Error {
        self.halt(EngineError::Store(error.clone()));
        to_io(error)
    }

    /// Records why consensus stops on this member. The first reason is kept.
    pub(super) fn halt(&self, why: EngineError) {
        self.live().halted.get_or_insert(why);
    }
}

/// State machine for openraft: applies committed entries and installs snapshots.
pub struct Replica<R: AsyncRuntime> {
    store: Store,
    shared: Arc<ReplicaState<R>>,
    sealing: Sealing,
    applied: Option<LogId>,
    membership: Membership,
}

impl<R: AsyncRuntime> Replica<R> {
    /// Opens the replica with the last snapshot; openraft brings the entries behind it.
    pub(super) async fn open(
        store: Store,
        shared: Arc<ReplicaState<R>>,
        sealing: Sealing,
    ) -> Result<Replica<R>, EngineError> {
        let snapshot = ask::<R, _>(|done| store.snapshot(done)).await?;
        let mut replica = Replica {
            store,
            shared,
            sealing,
            applied: None,
            membership: Membership::default(),
        };
        if let Some((meta, image)) = snapshot {
            replica
                .install_image(&meta, &image)
                .map_err(|_| EngineError::Snapshot)?;
        }
        Ok(replica)
    }

    fn install_image(&mut self, meta: &SnapshotMeta, image: &[u8]) -> Result<(), io::Error> {
        let (state, sessions) = Image::decode(image)?;
        let sealed = Image::seal(image, meta, &state.cluster).is_some();
        self.shared.unsealed.store(!sealed, Ordering::Relaxed);
        {
            let mut live = self.shared.live();
            live.state = state;
            live.sessions = sessions;
            live.shared = None;
        }
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.send_replies(&mut Vec::new());
        Ok(())
    }

    /// Sends the results to the proposers, then notifies all others of the change. In
    /// this order, because proposers wait and the others have time.
    fn send_replies(&self, untold: &mut PendingReplies<R>) {
        for (responder, answer) in untold.drain(..) {
            responder.send(answer);
        }
        let index = self.applied.map_or(0, |id| id.index);
        let tell = self.shared.tell.lock();
        tell.unwrap_or_else(PoisonError::into_inner)
            .send_if_greater(index);
    }

    async fn apply_one(&mut self, entry: Entry) -> Result<CommandResult, io::Error> {
        let id = entry.log_id;
        // Panics at a gap: skipping an entry would make this member's state differ from the
        // others', which is worse than stopping.
        assert!(
            self.applied.map_or(0, |last| last.index + 1) == id.index,
            "entry {} does not follow the last stored entry",
            id.index
        );
        let answer = match entry.payload {
            EntryPayload::Blank => CommandResult::Done,
            EntryPayload::Membership(membership) => {
                self.membership = Membership::new(Some(id), membership);
                CommandResult::Done
            }
            EntryPayload::Normal(proposed) => self.apply_proposed(id.index, proposed).await?,
        };
        self.applied = Some(id);
        Ok(answer)
    }

    async fn apply_proposed(
        &mut self,
        index: u64,
        proposed: Proposed,
    ) -> Result<CommandResult, io::Error> {
        let answer = {
            let mut live = self.shared.live();
            // Refuses an entry without a valid author before anything else: neither the tickets of
            // another member nor the state may depend on a stranger's entry.
            if let Err(refusal) = live.state.check_author(&proposed) {
                let is_in_flight = live
                    .signed_since
                    .is_some_and(|since| index <= since.saturating_add(UNSIGNED_IN_FLIGHT));
                if !proposed.is_signed() && is_in_flight {
                    return Ok(CommandResult::Refused(refusal));
                }
                let count = live.forged.map_or(0, |(count, _)| count);
                live.forged = Some((count.saturating_add(1), proposed.command.from));
                return Ok(CommandResult::Refused(refusal));
            }
            let Proposed {
                ticket, command, ..
            } = &proposed;
            if live.state.must_stop(command) {
                let why = EngineError::Newer {
                    format: command.format,
                };
                live.halted.get_or_insert(why.clone());
                return Err(io::Error::other(why));
            }
            match live.sessions.ticket_state(ticket) {
                TicketState::Answered(answer) => return Ok(answer),
                TicketState::Over => return Ok(CommandResult::Refused(CommandRefusal::Unfit)),
                TicketState::New => {}
            }
            live.shared = None;
            let was_required = live.state.requires_signatures();
            let answer = live.state.apply(command);
            if !was_required && live.state.requires_signatures() {
                live.signed_since = Some(index);
            }
            live.sessions.answered(ticket, &answer);
            command.body.trace_applied(index, command.from, &answer);
            // Ignores the list of dropped chunks: with the next snapshot, the store deletes all
            // chunks that the snapshot does not name.
            drop(live.state.take_dropped());
            if matches!(command.body, CommandBody::Remove { .. }) {
                let live = &mut *live;
                let members = &live.state.members;
                live.sessions.retain(|member| members.contains_key(&member));
            }
            answer
        };
        if let (CommandBody::Chunk { digest, bytes }, false) = (
            proposed.command.body,
            matches!(answer, CommandResult::Refused(_)),
        ) {
            let store = &self.store;
            ask::<R, _>(|done| store.put_chunk(digest, bytes, index, done))
                .await
                .map_err(|error| self.shared.halted_by(error))?;
        }
        Ok(answer)
    }
}

/// Results of applied entries whose proposers are not notified yet.
type PendingReplies<R> = Vec<(ApplyResponder<Types<R>>, CommandResult)>;

impl<R: AsyncRuntime> RaftStateMachine<Types<R>> for Replica<R> {
    type SnapshotData = Picture;
    type SnapshotBuilder = Builder<R>;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Membership), io::Error> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Types<R>>, io::Error>> + Unpin + OptionalSend,
    {
        let mut untold: PendingReplies<R> = Vec::new();
        let mut taken = 0;
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let answer = self.apply_one(entry).await?;
            taken += 1;
            if let Some(responder) = responder {
                untold.push((responder, answer));
            }
            if taken >= TELL_ENTRIES_MAX {
                taken = 0;
                self.send_replies(&mut untold);
            }
        }
        self.send_replies(&mut untold);
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder<R> {
        let live = self.shared.live();
        Builder {
            store: self.store.clone(),
            shared: self.shared.clone(),
            sealing: self.sealing.clone(),
            state: live.state.clone(),
            sessions: live.sessions.clone(),
            meta: SnapshotMeta {
                last_log_id: self.applied,
                last_membership: self.membership.clone(),
            },
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Picture,
    ) -> Result<(), io::Error> {
        let keep = Image::chunks(&snapshot.0)?;
        let store = &self.store;
        ask::<R, _>(|done| {
            store.save_snapshot(meta.clone(), snapshot.0.to_vec(), keep, done);
        })
        .await
        .map_err(|error| self.shared.halted_by(error))?;
        self.install_image(meta, &snapshot.0)
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<SnapshotOf<Types<R>, Picture>>, io::Error> {
        let store = &self.store;
        let found = ask::<R, _>(|done| store.snapshot(done))
            .await
            .map_err(to_io)?;
        Ok(found.map(|(meta, image)| Snapshot {
            meta,
            snapshot: Picture(Arc::new(image)),
        }))
    }
}

pub struct Builder<R: AsyncRuntime> {
    store: Store,
    shared: Arc<ReplicaState<R>>,
    sealing: Sealing,
    state: ClusterState,
    sessions: Sessions,
    meta: SnapshotMeta,
}

impl<R: AsyncRuntime> Builder<R> {
    fn build(&self) -> Result<Vec<u8>, io::Error> {
        let mut image = Image {
            state: self.state.encode(),
            sessions: self.sessions.clone(),
            seal: None,
        };
        if let (Sealing::Signs(by, signer), true) =
            (&self.sealing, self.state.requires_signatures())
        {
            let message = image.message(&self.meta, &self.state.cluster);
            let signature = signer.sign(&message).map_err(io::Error::other)?;
            image.seal = Some(StoredSeal { by: *by, signature });
        }
        Ok(codec::encode(&image))
    }

    async fn fetch(&self) -> Option<(SnapshotMeta, Vec<u8>)> {
        let Sealing::Fetches(calls) = &self.sealing else {
            return None;
        };
        if !self.state.requires_signatures() {
            return None;
        }
        let here = self.store.snapshot_meta().and_then(|meta| meta.last_log_id);
        for _ in 0..FETCHES_MAX {
            for node in self.state.nodes() {
                let Some((meta, image)) = send::fetch::<R>(calls, node.id).await else {
                    continue;
                };
                let is_new = meta.last_log_id > here
                    || (meta.last_log_id == here && self.shared.is_unsealed());
                let is_known = meta.last_log_id <= self.meta.last_log_id;
                if is_new && is_known && self.is_sealed(&meta, &image) {
                    return Some((meta, image));
                }
            }
            R::sleep(FETCH_PAUSE).await;
        }
        None
    }

    /// Returns whether an arbiter keeps its log because no node has given it a snapshot
    /// that others install from it.
    fn waits_for_node(&self) -> bool {
        matches!(self.sealing, Sealing::Fetches(_))
            && self.state.requires_signatures()
            && self.store.grown() < KEPT_BYTES_MAX
    }

    /// Returns the existing snapshot, which is no progress to openraft, and marks it as not signed.
    async fn present(&self) -> Result<SnapshotOf<Types<R>, Picture>, io::Error> {
        self.shared.unsealed.store(true, Ordering::Relaxed);
        let store = &self.store;
        let found = ask::<R, _>(|done| store.snapshot(done))
            .await
            .map_err(|error| self.shared.halted_by(error))?;
        let (meta, image) = found.unwrap_or_default();
        Ok(Snapshot {
            meta,
            snapshot: Picture(Arc::new(image)),
        })
    }

    fn is_sealed(&self, meta: &SnapshotMeta, image: &[u8]) -> bool {
        let is_by_node = |seal: &SnapshotSeal| {
            let signer = self.state.member(seal.by);
            signer.is_some_and(|member| member.kind == MemberKind::Node)
                && self
                    .state
                    .is_signature_of(seal.by, &seal.signature, &seal.message)
        };
        Image::seal(image, meta, &self.state.cluster).is_some_and(|seal| is_by_node(&seal))
            && Image::decode(image).is_ok()
    }
}

impl<R: AsyncRuntime> RaftSnapshotBuilder<Types<R>> for Builder<R> {
    type SnapshotData = Picture;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<Types<R>, Picture>, io::Error> {
        let (meta, image) = match self.fetch().await {
            Some(fetched) => fetched,
            None if self.waits_for_node() => return self.present().await,
            None => (self.meta.clone(), self.build()?),
        };
        let keep = Image::chunks(&image)?;
        let sealed = Image::seal(&image, &meta, &self.state.cluster).is_some();
        let picture = Picture(Arc::new(image.clone()));
        let (store, saved) = (&self.store, meta.clone());
        ask::<R, _>(|done| store.save_snapshot(saved, image, keep, done))
            .await
            .map_err(|error| self.shared.halted_by(error))?;
        // Keeps the mark if the store dropped this snapshot because it has a newer one.
        let stored = self.store.snapshot_meta().and_then(|meta| meta.last_log_id);
        if meta.last_log_id >= stored {
            self.shared.unsealed.store(!sealed, Ordering::Relaxed);
        }
        Ok(Snapshot {
            meta,
            snapshot: picture,
        })
    }
}

#[cfg(test)]
mod tests;
