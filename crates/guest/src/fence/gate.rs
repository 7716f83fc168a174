//! Delays the start of a guest until the node on which it ran is off, as a pure state machine
//! without a clock.
//!
//! A guest that this node starts may still run on the previous holder of its lease, if that node
//! did not release the lease. If that node has a line `fence`, the guest waits until the cluster
//! has the result of its fencing, at most [`WAIT_MAX_MS`].

use crate::record::{Fenced, NodeRecord};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Maximum time for which a guest waits for fencing, milliseconds.
pub const WAIT_MAX_MS: u64 = 60_000;
/// Time for which a guest waits until the lease of its previous node ends, milliseconds: that lease
/// ends about when the lease of the guest did.
pub const SETTLE_MS: u64 = 3_000;

/// State of the lease of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NodeLeaseState {
    There,
    /// The node does not hold its lease. Contains the node's last record.
    Gone(NodeRecord),
    Unknown,
}

/// Nodes that may still run a guest, because they held its lease before and did not release it.
/// [`PreviousNodes::waits`] decides how long the guest waits until such a node is fenced. All times
/// are milliseconds of one clock.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct PreviousNodes {
    /// Previous holder of each guest's lease, if it is another node and did not release the lease.
    ran: BTreeMap<String, String>,
    gone: BTreeMap<String, u64>,
    /// Time at which this node received each guest's lease, and whether the guest was up then.
    taken: BTreeMap<String, (u64, bool)>,
}

impl PreviousNodes {
    /// Records the holder of a guest's lease; empty: the lease was released.
    pub fn record_holder(&mut self, me: &str, guest: &str, holder: &str) {
        match holder {
            "" => {
                self.ran.remove(guest);
                self.taken.remove(guest);
            }
            holder if holder != me => {
                self.ran.insert(guest.to_owned(), holder.to_owned());
                self.taken.remove(guest);
            }
            _ => {}
        }
    }

    pub fn retain(&mut self, is_guest: impl Fn(&str) -> bool, is_node: impl Fn(&str) -> bool) {
        self.ran.retain(|guest, _| is_guest(guest));
        self.taken.retain(|guest, _| is_guest(guest));
        self.gone.retain(|node, _| is_node(node));
    }

    /// Records that a guest runs on this node, so it runs on no other node.
    pub fn started(&mut self, guest: &str) {
        self.ran.remove(guest);
        self.taken.remove(guest);
    }

    pub fn record_node_availability(&mut self, node: &str, is_there: bool, now: u64) {
        if is_there {
            self.gone.remove(node);
        } else {
            self.gone.entry(node.to_owned()).or_insert(now);
        }
    }

    pub fn gone_since(&self, node: &str) -> Option<u64> {
        self.gone.get(node).copied()
    }

    pub fn had_guests(&self, node: &str) -> bool {
        self.ran.values().any(|one| one == node)
    }

    /// Returns the node on which a guest ran before, unless that node released the lease.
    pub fn ran_on(&self, guest: &str) -> Option<&str> {
        self.ran.get(guest).map(String::as_str)
    }

    /// Returns why a guest whose lease this node has does not start yet. `was_up`: the state in the
    /// guest's record when this node received the lease.
    pub fn waits(
        &mut self,
        guest: &str,
        seen: &NodeLeaseState,
        was_up: bool,
        now: u64,
    ) -> Option<String> {
        let node = self.ran.get(guest)?;
        let taken = self.taken.entry(guest.to_owned()).or_insert((now, was_up));
        let record = match seen {
            // Waits for a moment if the guest was up: either the guest has shut down on that node,
            // or the lease of the node is about to end, like that of the guest.
            NodeLeaseState::There => {
                let settles = taken.1 && now < taken.0.saturating_add(SETTLE_MS);
                return settles.then(|| {
                    format!(
                        "it ran on {node}, and the cluster has not yet decided whether {node} is gone"
                    )
                });
            }
            NodeLeaseState::Unknown => return None,
            NodeLeaseState::Gone(record) => record,
        };
        let since = *self.gone.get(node)?;
        let is_over = record.leaves || record.fenced != Fenced::No;
        let waits = !is_over && now < since.saturating_add(WAIT_MAX_MS);
        waits.then(|| {
            let left = since.saturating_add(WAIT_MAX_MS).saturating_sub(now);
            format!(
                "it ran on {node}: it starts when {node} is confirmed off, or in {} s",
                left.div_ceil(1000)
            )
        })
    }

    pub fn deadline(&self, now: u64) -> Option<u64> {
        let settled = self.taken.values().map(|(at, _)| at + SETTLE_MS);
        let nodes = self.ran.values().filter_map(|node| self.gone.get(node));
        let over = nodes.map(|since| since + WAIT_MAX_MS);
        settled.chain(over).filter(|at| *at > now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(fenced: Fenced) -> NodeLeaseState {
        NodeLeaseState::Gone(NodeRecord {
            fenced,
            ..NodeRecord::default()
        })
    }

    /// Creates the state after a guest ran on beta, and alpha received its lease when beta was
    /// gone.
    fn lost() -> PreviousNodes {
        let mut gate = PreviousNodes::default();
        gate.record_holder("alpha", "mail", "beta");
        gate.record_holder("alpha", "mail", "alpha");
        gate.record_node_availability("beta", false, 1000);
        gate
    }

    #[test]
    fn a_guest_waits_for_the_result_of_fencing_and_no_longer_than_its_limit() {
        let mut gate = lost();
        let why = gate.waits("mail", &gone(Fenced::No), true, 1500).unwrap();
        assert_eq!(
            why,
            "it ran on beta: it starts when beta is confirmed off, or in 60 s"
        );
        assert_eq!(gate.waits("mail", &gone(Fenced::Off), true, 1600), None);
        assert_eq!(gate.waits("mail", &gone(Fenced::Failed), true, 1600), None);
        let last = 1000 + WAIT_MAX_MS;
        assert!(
            gate.waits("mail", &gone(Fenced::No), true, last - 1)
                .is_some()
        );
        assert_eq!(gate.deadline(5000), Some(last));
        assert_eq!(gate.waits("mail", &gone(Fenced::No), true, last), None);
    }

    #[test]
    fn a_guest_that_ran_nowhere_else_does_not_wait() {
        let mut gate = lost();
        gate.record_holder("alpha", "mail", "");
        assert_eq!(gate.waits("mail", &gone(Fenced::No), true, 1500), None);
        assert_eq!(gate.waits("web", &gone(Fenced::No), true, 1500), None);
        assert!(!gate.had_guests("beta"));
    }

    #[test]
    fn a_guest_of_a_cleanly_stopped_node_does_not_wait() {
        let record = NodeRecord {
            leaves: true,
            ..NodeRecord::default()
        };
        assert_eq!(
            lost().waits("mail", &NodeLeaseState::Gone(record), true, 1500),
            None
        );
        assert_eq!(
            lost().waits("mail", &NodeLeaseState::Unknown, true, 1500),
            None
        );
    }

    #[test]
    fn an_early_lease_end_does_not_bypass_fencing() {
        let mut gate = lost();
        gate.record_node_availability("beta", true, 0);
        assert!(
            gate.waits("mail", &NodeLeaseState::There, true, 1000)
                .is_some()
        );
        // In between, the record has changed: the guest is down.
        assert!(
            gate.waits("mail", &NodeLeaseState::There, false, 2000)
                .is_some()
        );
        gate.record_node_availability("beta", false, 2500);
        assert!(gate.waits("mail", &gone(Fenced::No), false, 9000).is_some());
    }

    #[test]
    fn a_cleanly_moved_guest_starts_at_once() {
        let mut gate = lost();
        assert_eq!(
            gate.waits("mail", &NodeLeaseState::There, false, 1000),
            None
        );
        gate.started("mail");
        assert_eq!(gate.waits("mail", &gone(Fenced::No), true, 9000), None);
        assert_eq!(gate.deadline(0), None);
    }

    #[test]
    fn guests_and_nodes_without_a_section_are_forgotten() {
        let mut gate = lost();
        gate.retain(|_| false, |_| false);
        assert_eq!(gate, PreviousNodes::default());
    }
}
