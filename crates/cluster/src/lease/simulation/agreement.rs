//! Replaces consensus by an oracle in a single place: the leader of each term, and the committed
//! commands.

use crate::command::{Epoch, LeaseCommand};
use crate::lease::Lease;
use crate::lease::defect::{InjectedLeaseDefect, LeaseDefect};

pub struct Agreement {
    pub term: u64,
    pub leader: Option<usize>,
    /// Lease after each commit; the first one is the initial lease.
    pub leases: Vec<Lease>,
    broken: InjectedLeaseDefect,
}

impl Agreement {
    pub fn new(broken: InjectedLeaseDefect) -> Agreement {
        Agreement {
            term: 0,
            leader: None,
            leases: vec![Lease::default()],
            broken,
        }
    }

    pub fn confirm(&self, host: usize, term: u64) -> Option<usize> {
        (self.leader == Some(host) && self.term == term).then(|| self.committed())
    }

    pub fn committed(&self) -> usize {
        self.leases.len() - 1
    }

    /// Appends a command; one with a term is only accepted in that term. Returns whether
    /// it was accepted.
    pub fn append(&mut self, term: Option<u64>, command: &LeaseCommand) -> bool {
        let other = term.is_some_and(|term| term != self.term);
        if self.leader.is_none() || (other && !self.broken.is(LeaseDefect::GrantsInAnyTerm)) {
            return false;
        }
        let mut lease = *self.leases.last().expect("the first one stays");
        match command {
            LeaseCommand::Grant {
                holder,
                valid_ms,
                after,
                ..
            } => {
                if lease.epoch == *after || self.broken.is(LeaseDefect::GrantsOnAnyEpoch) {
                    lease = Lease {
                        epoch: Epoch(lease.epoch.0 + 1),
                        holder: Some(*holder),
                        valid_ms: *valid_ms,
                        asked_ns: 0,
                    };
                }
            }
            LeaseCommand::Release { epoch, .. } => {
                if lease.epoch == *epoch {
                    lease.holder = None;
                }
            }
            LeaseCommand::Pass {
                epoch,
                holder,
                next,
                ..
            } => {
                if lease.epoch == *epoch && lease.holder == Some(*holder) {
                    lease.holder = None;
                    if let Some(next) = next {
                        lease = Lease {
                            epoch: Epoch(lease.epoch.0 + 1),
                            holder: Some(next.member),
                            valid_ms: next.valid_ms,
                            asked_ns: next.asked_ns,
                        };
                    }
                }
            }
        }
        self.leases.push(lease);
        true
    }
}
