//! Defines [`RoleState`], which the tasks of the role share, and the status that a member publishes
//! about itself.

use crate::authority::{AuthorityError, MemberIdentity, disk};
use crate::command::{CommandBody, Epoch, FORMAT, VersionId};
use crate::follow::Wake;
use crate::gossip::Gossip;
use crate::machine::{Health, Observed, Parts, ServingMachine};
use crate::member::{ClusterMember, MemberId};
use crate::raft::{Changes, Engine, RaftStatus};
use crate::role::contents::Keys;
use crate::role::directory::{DirectoryError, LocalMember, StateDirectory};
use crate::role::invitations::{self, Invitations};
use crate::role::leases::Grants;
use crate::role::status::Reach;
use crate::wire::{CallError, ConnectionFactory, MemberWire, Path, PathKind, Service};
use openraft::async_runtime::watch::WatchReceiver;
use openraft_rt_tokio::TokioRuntime;
use part::codec;
use part::lock;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::Instant;

/// The gossip topic in which a member publishes its status.
pub const TOPIC: &str = "member";
const CALL_LIMIT: Duration = Duration::from_secs(5);
/// Duration of one operation after which a disk counts as stuck, not slow, and is
/// reported.
const DISK_STUCK: Duration = Duration::from_secs(2);
/// Time since the last confirmation by a majority after which the majority counts as lost.
const CONFIRMED_FOR: Duration = Duration::from_secs(2);
/// Largest number of missing things that are reported to other members.
const MISSING_MAX: usize = 16;
/// Largest number of kept events of this member alone.
const OWN_EVENTS_MAX: usize = 32;

/// Consensus engine on the Tokio runtime.
pub type Agreement = Engine<TokioRuntime>;

/// Why keys or certificates were not stored in the state directory.
#[derive(Debug, thiserror::Error)]
pub(super) enum StorageError {
    #[error("{0}")]
    Directory(#[from] DirectoryError),
    #[error("{0}")]
    Authority(#[from] AuthorityError),
}

/// Status that a member reports about itself.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MemberSelfStatus {
    pub program: String,
    pub serves: Option<VersionId>,
    pub on_trial: bool,
    /// Health of the served traffic; None where no proxy serves.
    pub health: Option<Health>,
    /// Status of the roles other than the proxy, and the member's virtual routers.
    #[serde(flatten)]
    pub parts: Parts,
    pub sees: BTreeMap<MemberId, Reach>,
    pub trouble: String,
    /// Time for which the member's disk has not responded, milliseconds; 0 if the disk responds.
    pub disk_stuck_ms: u64,
    /// Time since the member's supervisor ended, milliseconds; 0 while a supervisor runs.
    pub supervisor_gone_ms: u64,
    /// Newest configuration version that the member accepted, according to its own disk.
    pub accepted: Option<VersionId>,
    /// Reason why the member does not vote because its store was lost; empty if the store is
    /// intact.
    pub lost: String,
    pub halted: String,
    pub unkept: String,
    /// Reason why the machine was observed to serve no version; empty if it serves one.
    pub cannot_serve: String,
    /// Names of the things that are missing for the served version, with a bound.
    pub missing: Vec<String>,
    /// Members under whose identity two machines connect to this one.
    pub cloned: Vec<MemberId>,
}

/// A message from the role of one member to that of another.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum RoleMessage {
    Leaving(MemberId),
    Follow,
}

/// Served configuration version of this node, as last reported by its agent, and the observed state
/// of the machine.
#[derive(Clone, Debug, Default)]
pub struct ServingStatus {
    pub version: Option<VersionId>,
    pub on_trial: bool,
    pub health: Option<Health>,
    pub parts: Parts,
    pub trouble: String,
    pub accepted: Option<VersionId>,
    /// Reason why the accepted version cannot be saved to the disk; empty if it is saved.
    pub unkept: String,
    /// Observation of the services of the machine; None before the first one.
    pub observed: Option<Observed>,
}

impl ServingStatus {
    /// Returns the served version, unless the machine was observed to serve none.
    pub fn served(&self) -> Option<VersionId> {
        self.version.filter(|_| self.cannot_serve().is_empty())
    }

    /// Returns why the machine does not serve its version; empty if the machine serves it, has not
    /// been observed yet, or has no version.
    pub fn cannot_serve(&self) -> String {
        let observed = self.observed.as_ref().filter(|one| !one.serves);
        match (observed, self.version) {
            (Some(observed), Some(_)) if observed.why.is_empty() => "it is starting".to_owned(),
            (Some(observed), Some(_)) => observed.why.clone(),
            _ => String::new(),
        }
    }

    pub fn missing(&self) -> Vec<String> {
        let observed = self.observed.iter();
        observed
            .flat_map(|one| one.missing.clone())
            .take(MISSING_MAX)
            .collect()
    }
}

/// State of the role, shared by its tasks.
pub struct RoleState<M: ServingMachine, N: ConnectionFactory> {
    pub(super) who: LocalMember,
    pub(super) program: String,
    pub(super) directory: StateDirectory,
    pub(super) machine: M,
    pub(super) wire: MemberWire<N>,
    pub(super) engine: Agreement,
    pub(super) keys: Keys,
    pub(super) clock: super::Clock,
    /// Start of the role: times in milliseconds count from here.
    pub(super) began: Instant,
    serving: Mutex<ServingStatus>,
    gossip: Mutex<Gossip>,
    /// Send time of the latest request that a leader with a majority answered.
    confirmed: Mutex<Option<Instant>>,
    leaving: Mutex<BTreeMap<MemberId, Instant>>,
    own_events: Mutex<Vec<String>>,
    invitations: Mutex<Invitations>,
    /// Time of the last query to the majority about a joiner whose token is unknown here.
    /// Only the holder of the lock sends the query.
    pub(super) asked_for_strangers: tokio::sync::Mutex<Option<Instant>>,
    /// True if another member reported that this member was removed, also before the start.
    removed: AtomicBool,
    /// Unreachable members at whose addresses a machine was found that does not accept this one, or
    /// that this one does not accept, with the reason. An entry ends when the member is reached
    /// again.
    distrusted: Mutex<BTreeMap<MemberId, String>>,
    /// Grants of the term in which this member leads, or led last.
    pub(super) grants: Grants<TokioRuntime>,
    pub(super) follow: Wake,
}

impl<M: ServingMachine, N: ConnectionFactory> RoleState<M, N> {
    #[allow(clippy::too_many_arguments, reason = "the parts of the role")]
    pub(super) fn new(
        who: LocalMember,
        program: String,
        directory: StateDirectory,
        machine: M,
        wire: MemberWire<N>,
        engine: Agreement,
        keys: Keys,
        clock: super::Clock,
    ) -> RoleState<M, N> {
        let mut gossip = Gossip::new(who.id, clock.incarnation());
        // Accepts gossip about the members known at the start, because a member that lost its log
        // knows no others.
        gossip.belong(who.members.iter().map(|member| member.id));
        let kept = directory.small(invitations::FILE).unwrap_or_default();
        let invitations = Mutex::new(Invitations::load(&kept, clock.unix_s()));
        let grants = Grants::new(engine.clone(), move || clock.boottime());
        let removed = AtomicBool::new(StateDirectory::is_of_a_removed_member(directory.path()));
        RoleState {
            who,
            program,
            directory,
            machine,
            wire,
            engine,
            keys,
            clock,
            began: Instant::now(),
            serving: Mutex::default(),
            gossip: Mutex::new(gossip),
            confirmed: Mutex::default(),
            leaving: Mutex::default(),
            own_events: Mutex::default(),
            invitations,
            asked_for_strangers: tokio::sync::Mutex::default(),
            removed,
            distrusted: Mutex::default(),
            grants,
            follow: Wake::default(),
        }
    }

    /// Stores the certificate and key of this member, unless its state directory was set up again
    /// meanwhile.
    pub(super) fn store_identity(&self, identity: &MemberIdentity) -> Result<(), StorageError> {
        Ok(disk::write_identity(self.directory.writable()?, identity)?)
    }

    pub fn me(&self) -> MemberId {
        self.who.id
    }

    pub fn now_ms(&self) -> u64 {
        millis(self.began.elapsed())
    }

    pub(super) fn serving(&self) -> MutexGuard<'_, ServingStatus> {
        lock(&self.serving)
    }

    pub(super) fn gossip(&self) -> MutexGuard<'_, Gossip> {
        lock(&self.gossip)
    }

    /// Records that a leader with a majority responded to a request sent at that time.
    pub(super) fn was_confirmed(&self, asked: Instant) {
        let mut confirmed = lock(&self.confirmed);
        *confirmed = (*confirmed).max(Some(asked));
    }

    fn silence(&self) -> Option<Duration> {
        lock(&self.confirmed).map(|at| at.elapsed())
    }

    /// Returns the send time of the latest request that a majority answered, nanoseconds
    /// of CLOCK_BOOTTIME; None if that is too long ago.
    pub(super) fn confirmed_at_ns(&self) -> Option<u64> {
        let ago = self.silence().filter(|ago| *ago < CONFIRMED_FOR)?;
        let ago_ns = u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX);
        Some(self.clock.boottime().0.saturating_sub(ago_ns))
    }

    /// Returns the silence of the leader in milliseconds; `u64::MAX` if none was heard of
    /// since the start.
    pub(super) fn silence_ms(&self) -> u64 {
        self.silence().map_or(u64::MAX, millis)
    }

    pub(super) fn has_majority(&self) -> bool {
        self.silence().is_some_and(|ago| ago < CONFIRMED_FOR)
    }

    pub(super) fn leaving(&self) -> MutexGuard<'_, BTreeMap<MemberId, Instant>> {
        lock(&self.leaving)
    }

    pub(super) fn invitations(&self) -> MutexGuard<'_, Invitations> {
        lock(&self.invitations)
    }

    pub(super) fn note(&self, words: String) {
        let mut events = lock(&self.own_events);
        if events.last() == Some(&words) {
            return;
        }
        if events.len() == OWN_EVENTS_MAX {
            events.remove(0);
        }
        events.push(words);
    }

    pub(super) fn distrusts(&self, member: MemberId, why: String) {
        lock(&self.distrusted).insert(member, why);
    }

    /// Returns why an unreachable member and this one do not trust each other.
    pub(super) fn distrust_of(&self, member: MemberId) -> Option<String> {
        lock(&self.distrusted).get(&member).cloned()
    }

    pub(super) fn trusts_again(&self, member: MemberId) {
        lock(&self.distrusted).remove(&member);
    }

    pub(super) fn was_removed(&self) {
        self.removed.store(true, Ordering::Relaxed);
    }

    /// Returns whether a majority has confirmed this member's membership; reports of its removal
    /// are then void.
    pub(super) fn is_confirmed_member(&self) -> bool {
        self.has_majority() && self.engine.state().members.contains_key(&self.me())
    }

    pub(super) fn is_marked_removed(&self) -> bool {
        StateDirectory::is_of_a_removed_member(self.directory.path())
    }

    pub(super) fn forget_removal(&self) {
        self.removed.store(false, Ordering::Relaxed);
    }

    pub(super) fn is_removed(&self) -> bool {
        let state = self.engine.state();
        let told = self.removed.load(Ordering::Relaxed) && !self.has_majority();
        // Ignores a state that has not assigned this member's number yet: it is older than the
        // admission.
        let was_one = state.last_member >= self.me();
        told || (was_one && !state.members.contains_key(&self.me()))
    }

    pub(super) fn notes(&self) -> Vec<String> {
        lock(&self.own_events).clone()
    }

    pub(super) fn status_of_member(&self, member: MemberId) -> Option<MemberSelfStatus> {
        let gossip = self.gossip();
        codec::decode(gossip.get(member, TOPIC)?).ok()
    }

    /// Returns the reachable members, including this one.
    pub(super) fn reachable(&self) -> BTreeSet<MemberId> {
        let up = self.wire.paths().into_iter().filter(|path| path.up);
        up.map(|path| path.member).chain([self.me()]).collect()
    }

    pub(super) fn member(&self) -> Option<ClusterMember> {
        let state = self.engine.state();
        let known = state.member(self.me())?;
        Some(ClusterMember {
            addresses: self.who.addresses.clone(),
            format: FORMAT,
            certificate: self.wire.identity().key().digest(),
            sealing_key: self.keys.public(),
            ..known.clone()
        })
    }

    /// Proposes a command; returns whether it took effect. Callers check the state again later, so
    /// they need not handle a failure.
    pub(super) async fn try_to(&self, body: CommandBody) -> bool {
        let answer = self.engine.propose(body).await;
        !matches!(
            answer,
            Err(_) | Ok(crate::command::CommandResult::Refused(_))
        )
    }

    /// Returns how long this member's disk has not responded, in milliseconds; 0 if it
    /// responds.
    pub(super) fn disk_stuck_ms(&self) -> u64 {
        let busy = self.engine.disk_busy_for();
        Some(busy)
            .filter(|busy| *busy >= DISK_STUCK)
            .map_or(0, millis)
    }

    /// Returns how long this machine has been unable to check, store and serve a version: its disk
    /// does not respond, or there is no supervisor.
    pub(super) fn unable_ms(&self) -> u64 {
        self.disk_stuck_ms().max(self.machine.supervisor_gone_ms())
    }

    /// Returns how long a member has been unable to check, store and serve a version, by its own
    /// report.
    pub(super) fn unable_ms_of(&self, member: MemberId) -> u64 {
        if member == self.me() {
            self.unable_ms()
        } else {
            self.status_of_member(member)
                .map_or(0, |tale| tale.disk_stuck_ms.max(tale.supervisor_gone_ms))
        }
    }

    pub(super) async fn send_role_message(
        &self,
        to: MemberId,
        wish: &RoleMessage,
    ) -> Result<(), CallError> {
        let bytes = codec::encode(wish);
        let told = self
            .wire
            .call(to, Service::Control, bytes, CALL_LIMIT)
            .await;
        told.map(|_| ())
    }

    pub(super) fn raft_status(&self) -> RaftStatus {
        self.engine.raft_status()
    }

    pub(super) fn newest_ring(&self) -> Option<Epoch> {
        self.engine.state().rings.keys().next_back().copied()
    }
}

/// Waits until the state changes. Never returns if consensus has stopped.
pub(super) async fn moved(changes: &mut Changes<TokioRuntime>) {
    if changes.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

pub(super) fn reach(path: &Path) -> Reach {
    let rtt_us = path.rtt_us;
    match path.way.filter(|_| path.up) {
        Some(PathKind::Direct) => Reach::Direct { rtt_us },
        Some(PathKind::Through(member)) => Reach::Through { member, rtt_us },
        None => Reach::Away,
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
