//! Decides for guests on a machine without a cluster: each runs on this machine, unless an operator
//! stopped it.

use super::{Agreement, GuestDecision, LocalState, OperatorOrder, PendingOrder, gone, words};
use crate::config::{Guest, Guests};
use crate::life::DesiredState;
use std::collections::{BTreeMap, BTreeSet};

impl Agreement {
    pub(super) fn without_cluster(
        &mut self,
        guests: &Guests,
        locals: &BTreeMap<String, LocalState>,
    ) -> BTreeMap<String, GuestDecision> {
        let unknown = LocalState::default();
        let is_stopped = |pending: Option<&PendingOrder>| pending.is_some_and(stops);
        let of = |(name, guest): (&String, &Guest)| {
            let local = locals.get(name).unwrap_or(&unknown);
            let stopped = is_stopped(self.pending.get(name));
            let waiting = guest.order.after.iter().find(|other| {
                let is_up = locals.get(*other).is_some_and(|other| other.is_up);
                let is_off = locals.get(*other).is_some_and(|other| other.is_off);
                guests.guests.contains_key(*other)
                    && !is_up
                    && !is_off
                    && !is_stopped(self.pending.get(*other))
            });
            let shut_down = DesiredState::ShutDown {
                within_ms: guest.stop_ms,
            };
            let is_without_volumes = !local.has_volumes && !local.may_run;
            let waits_for_volumes = !stopped && !self.own.drained && is_without_volumes;
            let (wish, why) = match (stopped, waiting) {
                (true, _) => (
                    shut_down,
                    format!(
                        "{}: `evenkeel guest start {name}` starts it",
                        words::BY_OPERATOR
                    ),
                ),
                _ if self.own.drained => (
                    shut_down,
                    "this node is drained: `evenkeel node fill` starts its guests".to_owned(),
                ),
                (false, _) if is_without_volumes => (
                    DesiredState::Hold,
                    "its volumes are not on this node yet".to_owned(),
                ),
                (false, Some(other)) if !local.is_there => (
                    DesiredState::Hold,
                    format!("it starts after {other}, which is not up yet"),
                ),
                (false, _) => (DesiredState::Run, String::new()),
            };
            let decided = GuestDecision {
                wish,
                epoch: Some(0),
                uses_volumes: !stopped && !self.own.drained || local.is_there,
                forgives: false,
                goes_to: None,
                not_taken_by: None,
                waits_for_volumes,
                why,
            };
            (name.clone(), decided)
        };
        let mut all: BTreeMap<String, GuestDecision> = guests.guests.iter().map(of).collect();
        for (name, local) in locals {
            if local.is_there && !guests.guests.contains_key(name) {
                all.insert(name.clone(), gone::alone(guests, name, local));
            }
        }
        all
    }

    pub fn stopped(&self) -> BTreeSet<String> {
        let stopped = self.pending.iter().filter(|(_, one)| stops(one));
        stopped.map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn order_alone(&mut self, name: &str, order: OperatorOrder) -> Result<(), String> {
        // Ignores an order to end a restore: only the record of a guest in a cluster can have such
        // a mark.
        if order == OperatorOrder::EndRestore {
            return Ok(());
        }
        let pending = PendingOrder { order, epoch: 0 };
        self.pending.insert(name.to_owned(), pending);
        Ok(())
    }

    /// Returns whether an earlier release marked the guest in its record because its disks were
    /// being restored.
    pub fn is_restoring(&self, name: &str) -> bool {
        self.record_of(name).stopped == words::RESTORING
    }

    pub fn drain_alone(&mut self, drained: bool) {
        self.own.drained = drained;
    }
}

fn stops(pending: &PendingOrder) -> bool {
    pending.order == OperatorOrder::Stop
}
