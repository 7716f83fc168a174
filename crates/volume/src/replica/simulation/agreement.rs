//! Simulated lease and record of the cluster: one linearizable value with the guarantees of
//! `cluster::lease`. Another node gets a grant only after the quarantine of all renewals. Only
//! proposals of the current epoch change the record.

use crate::replica::{Epoch, Record};

/// Validity of a renewal, nanoseconds.
pub const VALID_NS: u64 = 24_000_000;
/// Inverse of the maximum clock drift: no clock is off by more than one part in this number.
pub const DRIFT_DIVISOR: u64 = 8;

/// Time for which a request for the lease is remembered, nanoseconds.
const WISH_NS: u64 = 8_000_000;

#[derive(Clone, Debug)]
pub enum AgreementRequest {
    /// Requests the lease with this rank. The node must not get an epoch up to this one.
    Want(u32, Epoch),
    Renew(Epoch),
    Release(Epoch),
    Propose(Epoch, Record),
}

#[derive(Clone, Debug)]
pub enum AgreementReply {
    Granted(Epoch, Record),
    Renewed(Epoch),
    Over(Epoch),
    Recorded(Record),
}

#[derive(Clone, Debug)]
pub struct Agreement {
    pub epoch: Epoch,
    holder: Option<usize>,
    free_at: u64,
    pub record: Record,
    wishes: [(u32, u64); 2],
    /// Error of the leader's clock, parts per million too fast.
    pub fast_ppm: u64,
}

impl Agreement {
    pub fn new(record: Record, fast_ppm: u64) -> Agreement {
        Agreement {
            epoch: Epoch(0),
            holder: None,
            free_at: 0,
            record,
            wishes: [(0, 0); 2],
            fast_ppm,
        }
    }

    pub fn ask(&mut self, node: usize, ask: AgreementRequest, now: u64) -> Option<AgreementReply> {
        match ask {
            AgreementRequest::Want(_, seen) if self.holder == Some(node) && self.epoch > seen => {
                Some(AgreementReply::Granted(self.epoch, self.record.clone()))
            }
            AgreementRequest::Want(rank, _) => {
                self.wishes[node] = (rank, now);
                let (other, at) = self.wishes[1 - node];
                let better = other > rank && now < at + WISH_NS && at > 0;
                let is_held = self.holder == Some(1 - node) && now < self.free_at;
                if rank == 0 || better || is_held {
                    return None;
                }
                self.epoch.0 += 1;
                self.holder = Some(node);
                self.wishes[node] = (0, 0);
                self.free_at = self.free_at.max(now + self.quarantine_ns());
                Some(AgreementReply::Granted(self.epoch, self.record.clone()))
            }
            AgreementRequest::Renew(epoch) if epoch == self.epoch && self.holder == Some(node) => {
                self.free_at = self.free_at.max(now + self.quarantine_ns());
                Some(AgreementReply::Renewed(epoch))
            }
            AgreementRequest::Renew(epoch) => Some(AgreementReply::Over(epoch)),
            AgreementRequest::Release(epoch) => {
                if epoch == self.epoch && self.holder == Some(node) {
                    self.holder = None;
                }
                None
            }
            AgreementRequest::Propose(epoch, record) => {
                if epoch != self.epoch {
                    return Some(AgreementReply::Over(epoch));
                }
                if record.generation.0 == self.record.generation.0 + 1 {
                    self.record = record;
                }
                Some(AgreementReply::Recorded(self.record.clone()))
            }
        }
    }

    fn quarantine_ns(&self) -> u64 {
        let by_its_clock = VALID_NS + VALID_NS / DRIFT_DIVISOR + 1;
        by_its_clock * 1_000_000 / (1_000_000 + self.fast_ppm)
    }
}

/// Returns the time for which a holder may use the lease after it has sent a renewal, nanoseconds
/// of its own clock.
pub fn usable_ns() -> u64 {
    VALID_NS - VALID_NS / DRIFT_DIVISOR
}
