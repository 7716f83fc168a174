//! When the nodes of a cluster have changed.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::watch;
use wire::Trusted;

/// What the cluster says of its nodes, as it changes. None: nothing yet.
pub type Known = watch::Receiver<Option<Arc<Trusted>>>;

/// Where the nodes are, as a role last had it.
#[derive(Debug, Default)]
pub struct Places {
    before: Option<(String, BTreeMap<String, Vec<IpAddr>>)>,
}

impl Places {
    /// Waits until the nodes are others than before, or elsewhere. Another certificate alone is for the next
    /// connection. None: nobody will say anything any more.
    pub async fn next(&mut self, known: &mut Known) -> Option<Arc<Trusted>> {
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
