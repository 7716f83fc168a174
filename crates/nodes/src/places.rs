//! Detects when the nodes of the cluster or their addresses change, for a role that has connections
//! to them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::watch;
use wire::TrustedNodes;

/// The cluster's current description of its nodes; `None` before the first one.
pub type TrustedNodesReceiver = watch::Receiver<Option<Arc<TrustedNodes>>>;

/// The addresses of the nodes as a role last received them.
#[derive(Debug, Default)]
pub struct NodeChangeDetector {
    before: Option<(String, BTreeMap<String, Vec<IpAddr>>)>,
}

impl NodeChangeDetector {
    /// Waits until the set of nodes or their addresses change. A new certificate alone only affects
    /// the next connection. Returns `None` when no further description can follow.
    pub async fn wait_for_change(
        &mut self,
        known: &mut TrustedNodesReceiver,
    ) -> Option<Arc<TrustedNodes>> {
        loop {
            let now = known.borrow_and_update().clone();
            if let Some(now) = now {
                let places = Some((now.me.clone(), now.addresses.clone()));
                if places != self.before {
                    self.before = places;
                    return Some(now);
                }
            }
            known.changed().await.ok()?;
        }
    }
}
