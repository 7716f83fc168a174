//! Permits one node at a time to replace its program: the node holds the lease [`LEASE`] meanwhile.
//!
//! The lease is granted and never renewed. Because the leader grants it to no other node before
//! [`VALID_MS`] have passed, and neither does a later leader, the node keeps it while its own control
//! role is replaced. Afterwards the new process of the role releases it. If nobody does, the lease
//! ends by itself.
//!
//! An arbiter cannot hold a lease. Its upgrade is refused while a node has the permission.

use crate::command::{Epoch, LeaseCommand};
use crate::lease::{HolderRequest, Lease, LeaseRequest};
use crate::machine::ServingMachine;
use crate::member::{MemberId, MemberKind};
use crate::role::leases::send_to_leader;
use crate::role::requests::{RequestResult, done};
use crate::role::shared::RoleState;
use crate::wire::ConnectionFactory;
use std::time::Duration;
use tokio::time::Instant;

/// Name of the lease. Those of the parts begin with the name of a part and a slash.
pub const LEASE: &str = "upgrade";
/// Time after which a permission that was not returned no longer keeps other nodes from an upgrade.
pub const VALID_MS: u64 = 600_000;
const GRANT_LIMIT: Duration = Duration::from_secs(5);
/// Time for which a leader remembers a refused request, and may grant it: see
/// [`crate::lease::Grantor`].
const LATE_GRANT: Duration = Duration::from_secs(3);
const RELEASE_LIMIT: Duration = Duration::from_secs(10);
const REPEAT: Duration = Duration::from_millis(200);

/// Returns whether a member holds the lease by a later grant than `seen`.
fn is_granted(lease: Option<&Lease>, member: MemberId, seen: Epoch) -> bool {
    lease.is_some_and(|lease| lease.holder == Some(member) && lease.epoch > seen)
}

impl<M: ServingMachine, N: ConnectionFactory> RoleState<M, N> {
    /// Requests the permission for this member. A node that has it from an earlier process of the
    /// role gets it again.
    pub(super) async fn begin_upgrade(&self) -> RequestResult {
        let confirmed = self.engine.confirm().await;
        confirmed.map_err(|error| error.to_string())?;
        if self.who.kind == MemberKind::Arbiter {
            return match self.upgrading() {
                Some(node) => Err(upgrading_words(&node)),
                None => done("no node is being upgraded"),
            };
        }
        let seen = self.engine.state().lease(LEASE).map(|lease| lease.epoch);
        let seen = seen.unwrap_or_default();
        let granted = || is_granted(self.engine.state().lease(LEASE), self.me(), seen);
        let asks_until = Instant::now() + GRANT_LIMIT;
        // Waits somewhat longer than it asks: a grant to a request that is already refused would
        // block the other nodes without need.
        while !granted() && Instant::now() < asks_until + LATE_GRANT {
            if Instant::now() < asks_until {
                let request = LeaseRequest {
                    name: LEASE.to_owned(),
                    valid_ms: VALID_MS,
                    seen,
                    rank: 0,
                    sent_ns: self.clock.boottime().0,
                };
                send_to_leader(self, HolderRequest::Want(request)).await;
            }
            if !granted() {
                tokio::time::sleep(REPEAT).await;
            }
        }
        if granted() {
            tracing::info!("upgrade of this member permitted");
            return done("this member may be upgraded");
        }
        Err(match self.upgrading() {
            Some(node) => upgrading_words(&node),
            None => "the leader did not permit the upgrade in time: try again".to_owned(),
        })
    }

    /// Returns the permission of this member, if it has it.
    pub(super) async fn end_upgrade(&self) -> RequestResult {
        let confirmed = self.engine.confirm().await;
        confirmed.map_err(|error| error.to_string())?;
        let deadline = Instant::now() + RELEASE_LIMIT;
        loop {
            let state = self.engine.state();
            let held = state.lease(LEASE).copied();
            let Some(lease) = held.filter(|lease| lease.holder == Some(self.me())) else {
                tracing::info!("upgrade of this member ended");
                return done("no upgrade of this member is in progress");
            };
            if Instant::now() >= deadline {
                return Err(format!(
                    "the cluster did not note the end of the upgrade in time; until {} minutes after its begin, other \
                     nodes wait",
                    VALID_MS / 60_000
                ));
            }
            let release = LeaseCommand::Release {
                name: LEASE.to_owned(),
                epoch: lease.epoch,
            };
            send_to_leader(self, HolderRequest::Release(release)).await;
            tokio::time::sleep(REPEAT).await;
        }
    }

    /// Returns the name of the node that was permitted to replace its program, and has not returned the
    /// permission.
    fn upgrading(&self) -> Option<String> {
        let state = self.engine.state();
        let holder = state.lease(LEASE)?.holder?;
        Some(state.name_of(holder))
    }
}

fn upgrading_words(node: &str) -> String {
    format!(
        "{node} is being upgraded. If its upgrade was interrupted, run `evenkeel cluster upgrade` there again, or wait: \
         its permission ends {} minutes after the begin",
        VALID_MS / 60_000
    )
}
