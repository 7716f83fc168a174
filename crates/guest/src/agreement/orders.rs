//! Orders of operators, until the cluster has them: which are taken, and which are of the past.

use super::{Agreement, Defect, GuestRecord, Local, Order, Pending, lease_of};
use crate::config::Guests;
use part::role::KnownLease;

impl Agreement {
    /// Takes an order of an operator.
    ///
    /// # Errors
    /// Why it cannot be carried out here, in words.
    pub fn order(
        &mut self,
        guests: &Guests,
        name: &str,
        order: Order,
        now_ns: u64,
    ) -> Result<(), String> {
        let Some(guest) = guests.guests.get(name) else {
            return Err(format!("the served configuration has no guest '{name}'"));
        };
        if guests.me.is_empty() {
            let pending = Pending { order, epoch: 0 };
            self.pending.insert(name.to_owned(), pending);
            return Ok(());
        }
        if !self.is_known {
            return Err("no cluster has reported its leases yet".to_owned());
        }
        let lease = self.leases.get(&lease_of(name));
        let holder = lease.map_or("", |lease| lease.holder.as_str());
        let is_mine = lease.is_some_and(|lease| lease.until_ns > now_ns);
        let record = self.record_of(name);
        match &order {
            Order::Start
                if !is_mine && self.is_there(holder, now_ns) && record.stopped.is_empty() =>
            {
                return Err(format!("guest '{name}' is on {holder}"));
            }
            Order::Start if !guest.prefer.contains(&self.me) => {
                return Err(format!(
                    "guest '{name}' may not run on this node: its line `prefer` does not name it"
                ));
            }
            Order::Stop | Order::Move(_) | Order::Stay if !is_mine => {
                return Err(self.not_mine(name, holder, now_ns));
            }
            Order::Move(to) if !guest.prefer.contains(to) => {
                let all = guest.prefer.join(", ");
                return Err(format!(
                    "guest '{name}' may not run on '{to}': its line `prefer` names {all}"
                ));
            }
            Order::Move(to) if *to == self.me => {
                return Err(format!("guest '{name}' is on {to} already"));
            }
            Order::Move(to) if !self.is_there(to, now_ns) => {
                return Err(format!("node {to} is not there: no guest can move to it"));
            }
            Order::Move(to) if self.has_drained(to) => {
                return Err(format!("node {to} is drained: no guest can move to it"));
            }
            _ => {}
        }
        let epoch = lease.map_or(0, |lease| lease.epoch);
        self.targets_gone.remove(name);
        let pending = Pending { order, epoch };
        self.pending.insert(name.to_owned(), pending);
        Ok(())
    }

    /// Why a guest cannot be stopped or moved by this node, which does not hold its lease.
    fn not_mine(&self, name: &str, holder: &str, now_ns: u64) -> String {
        match holder {
            _ if self.is_alone(now_ns) => {
                "nothing was changed; changes are frozen: no majority of the cluster is reachable \
                 from this node"
                    .to_owned()
            }
            "" => format!("guest '{name}' is on no node"),
            _ if holder == self.me => format!(
                "nothing was changed: the cluster has not confirmed that the lease of guest \
                 '{name}' is here. Try again"
            ),
            _ => format!("guest '{name}' is on {holder}: run the command there"),
        }
    }

    /// A move of a guest of this node begins, or has come to nothing (`to` is none). Where the cluster
    /// has not got what an operator wants, that remains: the move may be an earlier wish, and a start
    /// that was lost would leave the stop before it.
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
            (Some(Order::Start | Order::Stop), _) => true,
            // An operator wants it elsewhere meanwhile.
            (Some(Order::Move(other)), Some(to)) => other != to,
            (Some(Order::Move(_) | Order::Stay) | None, _) => false,
        };
        if is_operators && !self.is(Defect::LosesOrders) {
            if to.is_none() {
                self.targets_gone.insert(name.to_owned());
            }
            return Ok(());
        }
        let order = to.map_or(Order::Stay, |to| Order::Move(to.to_owned()));
        self.order(guests, name, order, now_ns)
    }

    /// This node holds the lease, perhaps after others. What was ordered here before another one had
    /// it is of the past; and where a guest came to a node, its move has ended.
    pub(super) fn resume(
        &mut self,
        name: &str,
        lease: &KnownLease,
        record: &GuestRecord,
        local: &Local,
    ) {
        let keeps = self.is(Defect::KeepsOrders);
        if let Some(pending) = self.pending.get_mut(name) {
            let is_old = lease.epoch > pending.epoch.saturating_add(1);
            pending.epoch = lease.epoch;
            if is_old && !keeps {
                self.pending.remove(name);
            }
        }
        if record.to.is_empty() {
            self.targets_gone.remove(name);
        } else if local.epoch != Some(lease.epoch) && !self.is(Defect::KeepsTarget) {
            self.targets_gone.insert(name.to_owned());
        }
    }

    /// Another node has the lease: an order that it has not got is not carried out later, when nobody
    /// expects it any more.
    pub(super) fn forget(&mut self, name: &str, record: &GuestRecord) {
        self.targets_gone.remove(name);
        let holder = self.holder(name);
        let is_elsewhere = !holder.is_empty() && holder != self.me;
        let is_old = self
            .pending
            .get(name)
            .is_some_and(|pending| match pending.order {
                // Where it still shuts down, the order to start waits for that.
                Order::Start => record.stopped.is_empty(),
                Order::Stop | Order::Move(_) | Order::Stay => true,
            });
        if is_elsewhere && is_old && !self.is(Defect::KeepsOrders) {
            self.pending.remove(name);
        }
    }
}
