//! Computes on which nodes the guests of a simulation should run, according to the records of the
//! cluster.

use super::super::{GuestRecord, NodeRecord, OperatorOrder, lease_of, lease_of_node};
use super::{AgreementSimulation, GUESTS, NODES, SETTLE_ROUNDS};

impl AgreementSimulation {
    fn is_drained(&self, at: usize) -> bool {
        let lease = self.leases.get(&lease_of_node(NODES[at]));
        let record = lease.and_then(|lease| NodeRecord::decode(&lease.record));
        record.is_some_and(|record| record.drained)
    }

    pub(super) fn takes(&self, at: usize, name: &str) -> bool {
        let lease = self.leases.get(&lease_of(name));
        let record = lease.and_then(|lease| GuestRecord::decode(&lease.record));
        let has_failed = record.is_some_and(|record| record.failed.contains_key(NODES[at]));
        let seat = &self.seats[at];
        seat.is_powered && seat.is_connected && !self.is_drained(at) && !has_failed
    }

    pub(super) fn all_is_well(&self) -> Result<(), String> {
        for (name, guest) in &self.guests.guests {
            let lease = self.leases.get(&lease_of(name));
            let lease = lease.ok_or(format!("{name} has no lease"))?;
            let record = GuestRecord::decode(&lease.record).unwrap_or_default();
            self.forgot_copies(name, &record)?;
            let running = (0..2).find(|at| self.runs(*at, name));
            let takers: Vec<usize> = (0..2).filter(|at| self.takes(*at, name)).collect();
            let is_stopped = !record.stopped.is_empty();
            let is_held = lease.holder.is_some_and(|at| {
                let seat = &self.seats[at];
                seat.is_powered && seat.is_connected
            });
            let waits = guest.order.after.iter().any(|other| {
                let lease = self.leases.get(&lease_of(other));
                let record = lease.and_then(|lease| GuestRecord::decode(&lease.record));
                record.is_some_and(|record| record.stopped.is_empty() && !record.up)
            });
            match running {
                Some(_) if is_stopped => return Err(format!("{name} runs, and is stopped")),
                Some(at) if lease.holder != Some(at) => {
                    return Err(format!("{name} runs at {}, without its lease", NODES[at]));
                }
                Some(at) if !takers.contains(&at) => {
                    return Err(format!("{name} runs at {}, which takes none", NODES[at]));
                }
                Some(_) if !record.up => return Err(format!("{name} is not written down as up")),
                None if record.up && is_held => {
                    return Err(format!("{name} is written down as up"));
                }
                None if !is_stopped
                    && !takers.is_empty()
                    && !waits
                    && !self.is_stranded(name, &takers) =>
                {
                    return Err(format!("{name} does not run, and could at {takers:?}"));
                }
                Some(at) if guest.order.fails_back => {
                    let best = guest
                        .prefer
                        .iter()
                        .find_map(|node| takers.iter().find(|at| NODES[**at] == node));
                    if best != Some(&at) {
                        return Err(format!("{name} has not failed back to {best:?}"));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Checks that, without faults, a guest moves to the node that an operator orders.
    pub(super) fn moves(&mut self) -> Result<(), String> {
        let name = self.random.pick(&GUESTS).to_owned();
        let Some(at) = (0..2).find(|at| self.runs(*at, &name)) else {
            return Ok(());
        };
        let returns = self.guests.guests[&name].order.fails_back;
        if returns || !self.takes(1 - at, &name) || self.seats[1 - at].broken.contains(&name) {
            return Ok(());
        }
        self.give(at, &name, OperatorOrder::Move(NODES[1 - at].to_owned()));
        for _ in 0..SETTLE_ROUNDS {
            self.round()?;
        }
        if self.runs(1 - at, &name) {
            self.all_is_well()
        } else {
            Err(format!("{name} has not moved to {}", NODES[1 - at]))
        }
    }

    /// Checks that, without faults, a guest runs that was stopped and started again, even if a
    /// migration that began before fails in between.
    pub(super) fn starts_again(&mut self) -> Result<(), String> {
        let name = self.random.pick(&GUESTS).to_owned();
        let Some(at) = (0..2).find(|at| self.runs(*at, &name)) else {
            return Ok(());
        };
        if self.seats.iter().any(|seat| seat.broken.contains(&name)) {
            return Ok(());
        }
        self.give(at, &name, OperatorOrder::Stop);
        for _ in 0..self.random.below(10) {
            self.round()?;
        }
        self.give(at, &name, OperatorOrder::Start);
        let mut all = self.guests.clone();
        NODES[at].clone_into(&mut all.me);
        let now_ns = self.now * 1_000_000;
        // Where the lease has gone, no state of the migration is left either.
        let _ = self.seats[at]
            .agreement
            .settle_move(&all, &name, None, now_ns);
        for _ in 0..SETTLE_ROUNDS {
            self.round()?;
        }
        if (0..2).any(|at| self.runs(at, &name)) {
            self.all_is_well()
        } else {
            Err(format!("{name} was started last and does not run"))
        }
    }
}
