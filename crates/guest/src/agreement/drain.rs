//! Drains a node by agreement with the other nodes. If the drain could leave its guests without any
//! node to run on, the node first proposes the drain in its own record in the cluster. Once the
//! cluster has recorded the proposal, the node decides from the records of the others. The cluster
//! orders all records, so of two nodes that propose at the same time at least one sees the proposal
//! of the other.

use super::{Agreement, AgreementDefect, LeaseRecord, lease_of_node, names};
use crate::config::Guests;
use crate::placement::PlacementResult;
use crate::record::NodeRecord;

/// Drain state that this node has requested, and that the cluster has not recorded yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum DrainRequest {
    Fill,
    Propose,
    Drain,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum OtherNode {
    TakesGuests,
    Proposes,
    TakesNone,
}

impl Agreement {
    pub fn is_drained(&self) -> bool {
        self.own.drained
    }

    pub fn has_drained(&self, node: &str) -> bool {
        self.node_record(node).is_some_and(|record| record.drained)
    }

    pub fn refused_drains(&self, node: &str) -> u32 {
        self.node_record(node)
            .map_or(0, |record| record.refused_drains)
    }

    /// Drains this node of its guests. The drain takes effect once the returned record is written
    /// and, unless `shuts_down`, once this node has seen that another node takes guests.
    ///
    /// # Errors
    /// The cluster does not confirm this node's lease, or no other node takes guests and some would
    /// shut down.
    pub fn drain(
        &mut self,
        guests: &Guests,
        shuts_down: bool,
        now_ns: u64,
    ) -> Result<LeaseRecord, String> {
        let needs_others =
            !shuts_down && !self.own.drained && !self.is(AgreementDefect::DrainsAtOnce);
        if needs_others && self.others_take(guests, now_ns) == OtherNode::TakesNone {
            self.has_no_guests_to_move(guests, now_ns)?;
        }
        let request = if needs_others {
            DrainRequest::Propose
        } else {
            DrainRequest::Drain
        };
        self.request_drain(request, now_ns)
    }

    /// Lets this node accept guests again, once the returned record is written.
    ///
    /// # Errors
    /// The cluster does not confirm this node's lease, so the record cannot be written.
    pub fn fill(&mut self, now_ns: u64) -> Result<LeaseRecord, String> {
        self.request_drain(DrainRequest::Fill, now_ns)
    }

    fn request_drain(&mut self, request: DrainRequest, now_ns: u64) -> Result<LeaseRecord, String> {
        let name = lease_of_node(&self.me);
        let lease = self
            .leases
            .get(&name)
            .filter(|lease| lease.until_ns > now_ns);
        let Some(lease) = lease else {
            return Err(
                "the order cannot be recorded: this node is not connected to a majority of the cluster"
                    .to_owned(),
            );
        };
        // Writes the record again until the cluster has it.
        self.drains = Some(request);
        Ok(LeaseRecord::next(lease, self.requested_record().encode()))
    }

    pub(super) fn requested_record(&self) -> NodeRecord {
        let mut record = self.own.clone();
        match self.drains {
            Some(DrainRequest::Fill) => record.drained = false,
            Some(DrainRequest::Propose) => record.wants_drain = true,
            Some(DrainRequest::Drain) => record.drained = true,
            None => {}
        }
        record
    }

    /// Applies the record of this node as the cluster has it, so the state survives a restart of
    /// the role.
    pub(super) fn apply_drain_record(&mut self, record: &NodeRecord) {
        self.own.drained = record.drained;
        self.own.refused_drains = self.own.refused_drains.max(record.refused_drains);
        self.drains = self.drains.filter(|request| match request {
            DrainRequest::Fill => record.drained || record.wants_drain,
            DrainRequest::Propose => true,
            DrainRequest::Drain => !record.drained,
        });
    }

    pub(super) fn decide_drain(&mut self, guests: &Guests, now_ns: u64) {
        let is_proposed = self.drains == Some(DrainRequest::Propose)
            && self
                .node_record(&self.me)
                .is_some_and(|record| record.wants_drain);
        if !is_proposed {
            return;
        }
        let is_refused = match self.others_take(guests, now_ns) {
            OtherNode::TakesGuests => false,
            // Waits unless this node is the last one by name that proposes a drain: that node
            // refuses its own proposal, so that the others have a node that takes their guests.
            OtherNode::Proposes if !self.proposes_last(guests, now_ns) => return,
            OtherNode::Proposes => true,
            OtherNode::TakesNone => self.has_no_guests_to_move(guests, now_ns).is_err(),
        };
        if is_refused {
            self.drains = None;
            self.own.refused_drains = self.own.refused_drains.saturating_add(1);
        } else {
            self.drains = Some(DrainRequest::Drain);
        }
    }

    fn other_nodes<'g>(
        &'g self,
        guests: &Guests,
        now_ns: u64,
    ) -> impl Iterator<Item = (String, OtherNode)> + 'g {
        let others = names(guests).into_iter().filter(|node| *node != self.me);
        others.map(move |node| {
            let state = match self.node_record(&node).unwrap_or_default() {
                _ if !self.is_there(&node, now_ns) => OtherNode::TakesNone,
                record if record.drained => OtherNode::TakesNone,
                record if record.wants_drain => OtherNode::Proposes,
                _ => OtherNode::TakesGuests,
            };
            (node, state)
        })
    }

    /// Returns the best state among the other nodes. A node without others drains as if another one
    /// accepted its guests.
    fn others_take(&self, guests: &Guests, now_ns: u64) -> OtherNode {
        let states: Vec<OtherNode> = self
            .other_nodes(guests, now_ns)
            .map(|(_, state)| state)
            .collect();
        if states.is_empty() || states.contains(&OtherNode::TakesGuests) {
            OtherNode::TakesGuests
        } else if states.contains(&OtherNode::Proposes) {
            OtherNode::Proposes
        } else {
            OtherNode::TakesNone
        }
    }

    fn proposes_last(&self, guests: &Guests, now_ns: u64) -> bool {
        let mut others = self.other_nodes(guests, now_ns);
        !others.any(|(node, state)| state == OtherNode::Proposes && node > self.me)
    }

    /// Checks that no guest depends on this node: none runs here, and none moves here from a
    /// drained node.
    ///
    /// # Errors
    /// A guest depends on this node. The text names the guests that would shut down.
    fn has_no_guests_to_move(&self, guests: &Guests, now_ns: u64) -> Result<(), String> {
        let depends = |name: &String, prefer: &[String]| {
            let holder = self.holder(name);
            let is_placed = matches!(self.places.get(name), Some(PlacementResult::On(node)) if *node == self.me);
            let comes = is_placed
                && (holder.is_empty() || self.has_drained(holder) && self.is_there(holder, now_ns));
            self.record_of(name).stopped.is_empty()
                && prefer.contains(&self.me)
                && (holder == self.me || comes)
        };
        let left: Vec<&str> = guests
            .guests
            .iter()
            .filter(|(name, guest)| depends(name, &guest.prefer))
            .map(|(name, _)| name.as_str())
            .collect();
        if left.is_empty() {
            return Ok(());
        }
        Err(format!(
            "no other node accepts guests now, so {} would shut down. Nothing was changed. `--shut-down` \
             shuts them down; `node fill` lets another node accept guests again",
            left.join(", ")
        ))
    }
}
