//! Executes the tasks of the leader: proposes the next step of a version in progress, adds and
//! removes voters, ends expired invitations, and replaces the CA.

use crate::command::CommandBody;
use crate::machine::ServingMachine;
use crate::member::MemberId;
use crate::raft::RaftStatus;
use crate::role::certificates;
use crate::role::shared::{RoleState, millis, moved};
use crate::rollout::{Driver, Reachability};
use crate::wire::ConnectionFactory;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

const LOOK: Duration = Duration::from_millis(100);
const REST: Duration = Duration::from_secs(1);
/// Time for which a leaving member is not added again.
const LEAVING_FOR: Duration = Duration::from_secs(60);

/// State of one term of leadership.
struct Office {
    term: u64,
    driver: Driver,
    /// Next time at which the leader checks whether the CA must be replaced.
    authority: Instant,
}

pub(super) async fn run<M: ServingMachine, N: ConnectionFactory>(shared: Arc<RoleState<M, N>>) {
    let mut office: Option<Office> = None;
    let mut work: Option<JoinHandle<()>> = None;
    let mut changes = shared.engine.changes();
    let mut last = None;
    loop {
        tokio::select! {
            () = moved(&mut changes) => {}
            () = tokio::time::sleep(LOOK) => {}
        }
        let standing = shared.raft_status();
        let leader = standing.leader.map(|leader| leader.0);
        if last.replace((standing.term, leader)) != Some((standing.term, leader)) {
            tracing::info!(
                term = standing.term,
                leader,
                leading = standing.leading,
                "leader changed"
            );
        }
        // Does nothing until the state is complete: with an older one the leader would remove
        // voters that are members.
        if !standing.is_settled {
            office = None;
            continue;
        }
        if office.as_ref().is_none_or(|o| o.term != standing.term) {
            office = Some(Office {
                term: standing.term,
                driver: Driver::new(shared.now_ms()),
                authority: Instant::now(),
            });
        }
        let Some(office) = &mut office else {
            continue;
        };
        step(&shared, office).await;
        expire(&shared).await;
        if Instant::now() >= office.authority {
            office.authority = Instant::now() + certificates::lead(&shared).await;
        }
        if work.as_ref().is_none_or(JoinHandle::is_finished) {
            work = take_part(&shared, &standing);
        }
    }
}

async fn step<M: ServingMachine, N: ConnectionFactory>(
    shared: &RoleState<M, N>,
    office: &mut Office,
) {
    let state = shared.engine.state();
    let reachable = shared.reachable();
    if state.on_its_way().is_none() {
        office
            .driver
            .record_reachable(&state, &reachable, shared.now_ms());
        return;
    }
    let mut seen = Reachability {
        reachable,
        ..Reachability::default()
    };
    for node in state.nodes() {
        let stuck_ms = shared.unable_ms_of(node.id);
        seen.disk_stuck_ms.insert(node.id, stuck_ms);
    }
    let now_ms = shared.now_ms();
    if let Some(decision) = office.driver.next(&state, &seen, now_ms) {
        shared.try_to(CommandBody::Decide(decision)).await;
    }
}

async fn expire<M: ServingMachine, N: ConnectionFactory>(shared: &RoleState<M, N>) {
    let state = shared.engine.state();
    for (token, invitation) in &state.invitations {
        let age = shared.invitations().age(token);
        if millis(age) >= invitation.valid_ms {
            shared.try_to(CommandBody::Uninvite { token: *token }).await;
        }
    }
}

/// Makes every reachable member a voter that is not leaving, and removes all other voters. If this
/// member itself must go, hands over leadership instead. One change at a time, in the background: a
/// new member gets the log first.
fn take_part<M: ServingMachine, N: ConnectionFactory>(
    shared: &Arc<RoleState<M, N>>,
    standing: &RaftStatus,
) -> Option<JoinHandle<()>> {
    let state = shared.engine.state();
    let leaving: Vec<MemberId> = {
        let mut leaving = shared.leaving();
        leaving.retain(|_, since| since.elapsed() < LEAVING_FOR);
        leaving.keys().copied().collect()
    };
    let reachable = shared.reachable();
    let missing = state.members.keys().copied().find(|id| {
        !standing.voters.contains(id) && !leaving.contains(id) && reachable.contains(id)
    });
    let all = standing.voters.iter().chain(&standing.learners);
    let left = all.copied().find(|id| !state.members.contains_key(id));
    let shared = shared.clone();
    match (left, missing) {
        (Some(left), _) if left == shared.me() => Some(tokio::spawn(async move {
            if shared.engine.hand_over(None).await.is_err() {
                tokio::time::sleep(REST).await;
            }
        })),
        (Some(left), _) => Some(tokio::spawn(async move {
            if shared.engine.drop(left).await.is_err() {
                tokio::time::sleep(REST).await;
            }
        })),
        (None, Some(missing)) => Some(tokio::spawn(async move {
            if let Err(error) = shared.engine.add(missing).await {
                shared.note(format!("member {missing} is not a voter yet: {error}"));
                tokio::time::sleep(REST).await;
            }
        })),
        (None, None) => None,
    }
}
