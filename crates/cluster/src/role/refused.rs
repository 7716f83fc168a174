//! Reacts to a disk of this member that refuses writes: reports it in an event of the cluster, and
//! hands leadership over to a node whose disk works. Reports again when the disk works. The member
//! is a silent voter meanwhile (`raft/silent.rs`).

use crate::command::CommandBody;
use crate::machine::ServingMachine;
use crate::member::{MemberId, MemberKind};
use crate::role::shared::RoleState;
use crate::wire::ConnectionFactory;
use std::sync::Arc;
use std::time::Duration;

const LOOK: Duration = Duration::from_millis(500);
const REST: Duration = Duration::from_secs(5);

pub(super) async fn run<M: ServingMachine, N: ConnectionFactory>(shared: Arc<RoleState<M, N>>) {
    loop {
        let Some(why) = shared.raft_status().refused else {
            tokio::time::sleep(LOOK).await;
            continue;
        };
        let name = shared.who.name.clone();
        shared.note(format!("cannot write its log: {why}"));
        let words = format!(
            "the disk of {name} fails: {why}. {name} is not a voter until the disk takes writes; leases that it holds are renewed"
        );
        let mut told = shared
            .try_to(CommandBody::Event {
                words: words.clone(),
            })
            .await;
        while shared.raft_status().refused.is_some() {
            if !told {
                told = shared
                    .try_to(CommandBody::Event {
                        words: words.clone(),
                    })
                    .await;
            }
            hand_over(&shared).await;
            tokio::time::sleep(LOOK).await;
        }
        let words = format!("the disk of {name} works again: {name} is a voter again");
        while !shared
            .try_to(CommandBody::Event {
                words: words.clone(),
            })
            .await
        {
            tokio::time::sleep(LOOK).await;
        }
    }
}

async fn hand_over<M: ServingMachine, N: ConnectionFactory>(shared: &RoleState<M, N>) {
    if shared.raft_status().leading
        && let Some(node) = successor(shared)
        && shared.engine.hand_over(Some(node)).await.is_err()
    {
        tokio::time::sleep(REST).await;
    }
}

/// Returns a reachable node whose disk works and whose log is the newest. None if the members whose
/// disks work are no majority: they must elect the node.
fn successor<M: ServingMachine, N: ConnectionFactory>(
    shared: &RoleState<M, N>,
) -> Option<MemberId> {
    let standing = shared.raft_status();
    let reachable = shared.reachable();
    let works = |member: &MemberId| {
        let tale = shared.status_of_member(*member).unwrap_or_default();
        let stores = tale.halted.is_empty() && tale.lost.is_empty() && tale.disk_stuck_ms == 0;
        *member != shared.me() && reachable.contains(member) && stores
    };
    let working: Vec<MemberId> = standing.voters.iter().copied().filter(works).collect();
    if working.len() <= standing.voters.len() / 2 {
        return None;
    }
    let state = shared.engine.state();
    let is_node = |member: &MemberId| {
        state
            .member(*member)
            .is_some_and(|it| it.kind == MemberKind::Node)
    };
    working
        .into_iter()
        .filter(is_node)
        .max_by_key(|member| standing.matched.get(member).copied())
}
