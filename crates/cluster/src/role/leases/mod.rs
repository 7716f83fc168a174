//! Holds the leases that the roles of this machine want ([`Holders`]), and while this member leads,
//! replies to the lease requests of all members ([`Grants`]). The rules for both are in
//! [`crate::lease`]; this module connects them with the engine, the machine and the wire.

mod grants;
mod holders;

pub(crate) use grants::Grants;
pub(crate) use holders::{Holders, ask as ask_leader};

use crate::command::{CommandBody, CommandResult, Epoch, FREES_FORMAT, LeaseRecord};
use crate::lease::{HolderRequest, LeaseRequest, Renewal};
use crate::machine::ServingMachine;
use crate::message::{HEARTBEAT_VALID, Recorded};
use crate::raft::ProposeError;
use crate::role::shared::{RoleState, moved};
use crate::wire::{ConnectionFactory, Service};
use part::role::{KnownLease, WantedLease};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// Default validity of a renewal, in milliseconds.
const VALID_MS: u64 = 5000;
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
const OPEN_MAX: usize = 64;
const LOOK: Duration = Duration::from_millis(100);

/// A holder's request to the leader.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum LeaderLeaseRequest {
    Want(LeaseRequest),
    Renew(Renewal),
    Release { name: String, epoch: Epoch },
}

#[derive(Debug)]
pub(super) enum LeaseDemand {
    /// All leases that the role wants to hold or to watch.
    Wants {
        part: String,
        leases: Vec<WantedLease>,
    },
    Heartbeat {
        part: String,
    },
    /// A role has a new channel, and may have missed earlier reports.
    Connected,
}

#[derive(Debug, Default)]
struct Heartbeats {
    at: BTreeMap<String, Instant>,
}

impl Heartbeats {
    fn receive(&mut self, part: String, now: Instant) {
        self.at.insert(part, now);
    }

    /// Forgets the heartbeats of a role that has sent an empty list of leases. The next process of
    /// that role may send no heartbeats, and its leases are then renewed without them.
    fn end(&mut self, part: &str) {
        self.at.remove(part);
    }

    /// Returns whether a lease may be extended: the last heartbeat of its role is recent, or the
    /// role has sent none.
    fn allow(&self, lease: &str, now: Instant) -> bool {
        self.at
            .get(part_of(lease))
            .is_none_or(|at| now.saturating_duration_since(*at) <= HEARTBEAT_VALID)
    }
}

fn part_of(lease: &str) -> &str {
    lease.split_once('/').map_or(lease, |(part, _)| part)
}

/// Returns the name of the lease that a request would take or extend; None for a release.
fn lease_of(request: &HolderRequest) -> Option<&str> {
    match request {
        HolderRequest::Want(want) => Some(&want.name),
        HolderRequest::Renew(renewal) => Some(&renewal.name),
        HolderRequest::Release(_) => None,
    }
}

/// The leader's reply to a renewal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum RenewalReply {
    Renewed,
    /// The lease is renewed, and a node with a better rank waits for it.
    BetterWaits,
    OldEpoch,
    /// The renewal had no result; the holder sends it again.
    Later,
}

/// Holds the leases that the machine wants, until the role ends. Then leases that are no
/// longer wanted are released, and the others expire.
pub(super) async fn run<M: ServingMachine, N: ConnectionFactory>(
    shared: Arc<RoleState<M, N>>,
    mut wanted: mpsc::Receiver<LeaseDemand>,
) {
    let (answers, mut answered) = mpsc::channel(OPEN_MAX);
    let mut holders = Holders::new(shared.me(), VALID_MS);
    let mut told: Vec<KnownLease> = Vec::new();
    let mut wishes: BTreeMap<String, Vec<WantedLease>> = BTreeMap::new();
    let mut heartbeats = Heartbeats::default();
    let mut changes = shared.engine.changes();
    // Confirms the leader in a separate task, so that renewals of held leases continue: the
    // confirmation may take long, or never come.
    let (confirms, mut confirmed) = mpsc::channel(1);
    let mut confirming = false;
    let mut ending = false;
    loop {
        let gives_up = holders.release_unwanted();
        if holders.has_new() && !std::mem::replace(&mut confirming, true) {
            tokio::spawn(confirm(shared.clone(), confirms.clone()));
        }
        let state = shared.engine.state();
        holders.update_holders(&state);
        let known = holders.known(shared.clock.boottime(), &state);
        // Reports only to the roles that have named their leases. Any other role uses the report of
        // a previous process until then.
        let parts = || wishes.keys().cloned().collect();
        if known != told || gives_up {
            shared.machine.hold(parts(), known.clone()).await;
            told = known;
        }
        for ask in holders.due(shared.clock.boottime()) {
            // Skips a request that would extend a lease of a frozen role process. That process
            // neither serves nor releases its addresses, and another node can take over when the
            // lease ends.
            let may = |lease: &str| {
                shared.machine.can_report_to(part_of(lease))
                    && heartbeats.allow(lease, Instant::now())
            };
            if lease_of(&ask).is_some_and(|lease| !may(lease)) {
                continue;
            }
            tokio::spawn(self::ask(shared.clone(), ask, answers.clone()));
        }
        if ending && !holders.releases() {
            return;
        }
        tokio::select! {
            () = moved(&mut changes) => {}
            () = tokio::time::sleep(LOOK) => {}
            Some((renewal, told)) = answered.recv() => {
                if holders.answered(&renewal, told, shared.clock.boottime()) {
                    shared.machine.hand_over(renewal.name).await;
                }
            }
            Some(good) = confirmed.recv() => {
                confirming = false;
                if good {
                    holders.begin(&shared.engine.state());
                }
            }
            new = wanted.recv(), if !ending => match new {
                Some(LeaseDemand::Connected) => {
                    // Sends nothing before the first report of this process: until then the roles
                    // use the report of a previous process.
                    if !told.is_empty() {
                        shared.machine.hold(parts(), told.clone()).await;
                    }
                }
                Some(LeaseDemand::Heartbeat { part }) => heartbeats.receive(part, Instant::now()),
                Some(LeaseDemand::Wants { part, leases }) => {
                    if leases.is_empty() {
                        heartbeats.end(&part);
                    }
                    wishes.insert(part, leases);
                    holders.want(wishes.values().flatten().cloned());
                }
                None => ending = true,
            },
        }
    }
}

pub(super) async fn record<M: ServingMachine, N: ConnectionFactory>(
    shared: Arc<RoleState<M, N>>,
    ask: u64,
    mut record: LeaseRecord,
) {
    if shared.engine.state().format() < FREES_FORMAT {
        // Drops the leases to free from the record while a member does not support this: they
        // expire instead.
        record.frees.clear();
    }
    let outcome = match shared.engine.propose(CommandBody::Record(record)).await {
        Ok(CommandResult::Refused(refusal)) => Recorded::Refused {
            words: refusal.to_string(),
        },
        Ok(_) => Recorded::Written,
        Err(error @ (ProposeError::NoLeader | ProposeError::Busy)) => Recorded::Refused {
            words: error.to_string(),
        },
        Err(error @ (ProposeError::Unknown | ProposeError::Stopped(_))) => Recorded::Unknown {
            words: error.to_string(),
        },
    };
    shared.machine.recorded(ask, outcome).await;
}

async fn confirm<M: ServingMachine, N: ConnectionFactory>(
    shared: Arc<RoleState<M, N>>,
    tell: mpsc::Sender<bool>,
) {
    let good = matches!(
        timeout(ANSWER_LIMIT, shared.engine.confirm()).await,
        Ok(Ok(_))
    );
    if !good {
        tokio::time::sleep(LOOK).await;
    }
    // Ignores an error: the receiver is gone only if the role ends.
    let _ = tell.send(good).await;
}

async fn ask<M: ServingMachine, N: ConnectionFactory>(
    shared: Arc<RoleState<M, N>>,
    ask: HolderRequest,
    answers: mpsc::Sender<(Renewal, RenewalReply)>,
) {
    if let Some(told) = send_to_leader(&shared, ask).await {
        // Ignores an error: the receiver is gone only if the role ends.
        let _ = answers.send(told).await;
    }
}

/// Sends a request to the leader, which may be this member. Returns the reply to a renewal; None
/// for another request, or without a reply in time.
pub(super) async fn send_to_leader<M: ServingMachine, N: ConnectionFactory>(
    shared: &RoleState<M, N>,
    ask: HolderRequest,
) -> Option<(Renewal, RenewalReply)> {
    let (me, asking) = (shared.me(), shared);
    let call = |leader, bytes: Vec<u8>| async move {
        if leader == me {
            let answer = asking.grants.answer(leader, &bytes);
            return timeout(ANSWER_LIMIT, answer).await.ok();
        }
        let wire = &asking.wire;
        let call = wire.call(leader, Service::Lease, bytes, ANSWER_LIMIT);
        timeout(ANSWER_LIMIT, call).await.ok()?.ok()
    };
    ask_leader(&shared.engine, ask, call).await
}
