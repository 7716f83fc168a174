//! Accepts the orders of operators about guests, keeps them until the cluster has recorded them,
//! and discards obsolete ones.

use super::{
    Agreement, AgreementDefect, GuestRecord, LocalState, OperatorOrder, PendingOrder, lease_of,
    words,
};
use crate::config::Guests;
use part::role::KnownLease;

impl Agreement {
    /// Accepts an order of an operator.
    ///
    /// # Errors
    /// The guest is not in the configuration, its lease or state does not permit the order on this
    /// node now, or the guest cannot run on the node of [`OperatorOrder::Move`].
    pub fn order(
        &mut self,
        guests: &Guests,
        name: &str,
        order: OperatorOrder,
        now_ns: u64,
    ) -> Result<(), String> {
        let Some(guest) = guests.guests.get(name) else {
            return Err(format!("the served configuration has no guest '{name}'"));
        };
        if guests.me.is_empty() {
            return self.order_alone(name, order);
        }
        if !self.is_known {
            return Err("no cluster has reported its leases yet".to_owned());
        }
        let lease = self.leases.get(&lease_of(name));
        let holder = lease.map_or("", |lease| lease.holder.as_str());
        let is_mine = lease.is_some_and(|lease| lease.until_ns > now_ns);
        let record = self.record_of(name);
        match &order {
            OperatorOrder::Start if record.stopped == words::RESTORING => {
                return Err(format!("guest '{name}': {}", words::restoring(name)));
            }
            OperatorOrder::EndRestore
                if !is_mine && (self.is_there(holder, now_ns) || self.is_alone(now_ns)) =>
            {
                return Err(self.not_mine(name, holder, now_ns));
            }
            OperatorOrder::Start
                if !is_mine && self.is_there(holder, now_ns) && record.stopped.is_empty() =>
            {
                return Err(format!("guest '{name}' is on {holder}"));
            }
            OperatorOrder::Start if !guest.prefer.contains(&self.me) => {
                return Err(format!(
                    "guest '{name}' may not run on this node: its line `prefer` does not name it"
                ));
            }
            OperatorOrder::Stop | OperatorOrder::Move(_) | OperatorOrder::Stay if !is_mine => {
                return Err(self.not_mine(name, holder, now_ns));
            }
            OperatorOrder::Move(to) if !guest.prefer.contains(to) => {
                let all = guest.prefer.join(", ");
                return Err(format!(
                    "guest '{name}' may not run on '{to}': its line `prefer` names {all}"
                ));
            }
            OperatorOrder::Move(to) if *to == self.me => {
                return Err(format!("guest '{name}' is already on {to}"));
            }
            OperatorOrder::Move(to) if !self.is_there(to, now_ns) => {
                return Err(format!(
                    "node {to} is not available: no guest can move to it"
                ));
            }
            OperatorOrder::Move(to) if self.has_drained(to) => {
                return Err(format!("node {to} is drained: no guest can move to it"));
            }
            _ => {}
        }
        let epoch = lease.map_or(0, |lease| lease.epoch);
        self.targets_gone.remove(name);
        let pending = PendingOrder { order, epoch };
        self.pending.insert(name.to_owned(), pending);
        Ok(())
    }

    fn not_mine(&self, name: &str, holder: &str, now_ns: u64) -> String {
        match holder {
            _ if self.is_alone(now_ns) => {
                "nothing was changed; changes are frozen: no majority of the cluster is reachable \
                 from this node"
                    .to_owned()
            }
            "" => format!("guest '{name}' is on no node"),
            _ if holder == self.me => format!(
                "nothing was changed: the cluster has not confirmed that this node holds the lease of guest \
                 '{name}'. Try again"
            ),
            _ => format!("guest '{name}' is on {holder}: run the command there"),
        }
    }

    /// Records that a migration of a guest of this node begins, or has failed (`to` is None). An
    /// operator's order that the cluster has not recorded yet is kept: the migration may belong to
    /// an earlier order, and if an order to start were lost, the earlier stop would stay in effect.
    ///
    /// # Errors
    /// As of [`Agreement::order`].
    pub fn settle_move(
        &mut self,
        guests: &Guests,
        name: &str,
        to: Option<&str>,
        now_ns: u64,
    ) -> Result<(), String> {
        let waits = self.pending.get(name).map(|pending| &pending.order);
        let is_operators = match (waits, to) {
            (Some(OperatorOrder::Start | OperatorOrder::Stop | OperatorOrder::EndRestore), _) => {
                true
            }
            // Keeps the order if its target differs: an operator has ordered another target since.
            (Some(OperatorOrder::Move(other)), Some(to)) => other != to,
            (Some(OperatorOrder::Move(_) | OperatorOrder::Stay) | None, _) => false,
        };
        if is_operators && !self.is(AgreementDefect::LosesOrders) {
            if to.is_none() {
                self.targets_gone.insert(name.to_owned());
            }
            return Ok(());
        }
        let order = to.map_or(OperatorOrder::Stay, |to| OperatorOrder::Move(to.to_owned()));
        self.order(guests, name, order, now_ns)
    }

    /// Updates the pending order of a guest whose lease this node holds. If another node has held
    /// the lease since the order, the order is obsolete. A guest that has arrived at a node has
    /// completed its migration.
    pub(super) fn resume(
        &mut self,
        name: &str,
        lease: &KnownLease,
        record: &GuestRecord,
        local: &LocalState,
    ) {
        let keeps = self.is(AgreementDefect::KeepsOrders);
        if let Some(pending) = self.pending.get_mut(name) {
            let is_old = lease.epoch > pending.epoch.saturating_add(1);
            pending.epoch = lease.epoch;
            if is_old && !keeps {
                self.pending.remove(name);
            }
        }
        if record.to.is_empty() {
            self.targets_gone.remove(name);
        } else if local.epoch != Some(lease.epoch) && !self.is(AgreementDefect::KeepsTarget) {
            self.targets_gone.insert(name.to_owned());
        }
    }

    /// Discards the pending order because another node holds the lease: if it were carried out
    /// later, it would surprise the operator.
    pub(super) fn forget(&mut self, name: &str, record: &GuestRecord) {
        self.targets_gone.remove(name);
        let holder = self.holder(name);
        let is_elsewhere = !holder.is_empty() && holder != self.me;
        let is_old = self
            .pending
            .get(name)
            .is_some_and(|pending| match pending.order {
                // Keeps an order to start while the guest still shuts down.
                OperatorOrder::Start => record.stopped.is_empty(),
                OperatorOrder::Stop
                | OperatorOrder::Move(_)
                | OperatorOrder::Stay
                | OperatorOrder::EndRestore => true,
            });
        if is_elsewhere && is_old && !self.is(AgreementDefect::KeepsOrders) {
            self.pending.remove(name);
        }
    }
}
