//! Handles damaged blocks: those that the disk returned without an error, but that do not match the
//! checksums on disk (`verify yes`).
//!
//! - Damaged blocks are never returned to a client, nor copied to the other node as valid.
//! - A damaged block is repaired from the other copy if that content matches the local checksum.
//!   The match proves that it is the last content written, whether or not that copy is in sync.
//!   Older or damaged content of the other copy does not match.
//! - A repair locks its block exclusively, like a write, from its local read to its local write.
//!   It never overwrites newer data.
//! - A client's read that finds damage restarts after the repairs. If they fail, the client gets
//!   an error.
//! - A resync skips blocks that are damaged here and missing on the other copy. They stay dirty,
//!   so the resync does not finish until they are overwritten.

use super::defect::ReplicaDefect;
use super::exchange::{DiskResult, Notice, Operation};
use super::geometry::Blocks;
use super::message::{FollowerCommand, WriteContent};
use super::operations::OperationPurpose;
use super::other::PeerPhase;
use super::requests::{RequestInitiator, RequestOperation, RequestPartState};
use super::verify::BlockFault;
use super::{Payload, Replica};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

const KNOWN_MAX: usize = 1024;
/// Maximum number of concurrent repairs. If more blocks are damaged, the disk has failed.
const REPAIRS_MAX: usize = 128;
/// Maximum number of restarts of a read after successful repairs. With more, the disk evidently
/// does not keep what is written.
const ROUNDS_MAX: u8 = 3;

/// Reason why a damaged block was not repaired.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RepairFailure {
    /// The other copy is not connected, or is not yet far enough in its resync to receive all
    /// writes.
    Away,
    Damaged,
    Unreadable,
    /// The other copy has different content: it is older, or its state is unknown.
    Differs,
}

/// Known damaged blocks of this copy, each with the reason why it was not repaired, and the blocks
/// with a repair in progress.
#[derive(Clone, Debug, Default)]
pub struct DamagedBlocks {
    known: BTreeMap<u64, RepairFailure>,
    repairs: BTreeSet<u64>,
}

impl<P: Payload> Replica<P> {
    pub(super) fn read_damaged(&mut self, place: u32, wrong: &[u64]) {
        let receives = self.other.receives();
        let rounds = self.requests.slot(place).rounds;
        let is_known = |block: &u64| self.damage.known.contains_key(block);
        let has_failed = rounds > 0 && wrong.iter().any(is_known);
        let has_room = self.damage.repairs.len() + wrong.len() <= REPAIRS_MAX;
        if receives && !has_failed && rounds < ROUNDS_MAX && has_room {
            self.requests.slot_mut(place).rounds += 1;
            for block in wrong {
                self.repair(*block);
            }
            return self.read_again(place);
        }
        if !receives {
            for block in wrong {
                self.cannot_repair(*block, RepairFailure::Away);
            }
        } else if !has_failed && self.other.phase == PeerPhase::Mirrored {
            // Treats the disk as failed: repairs had no lasting effect, or too many blocks are
            // damaged.
            self.requests.slot_mut(place).local = RequestPartState::Failed;
            return self.local_failed();
        }
        // Ends the read, which fails because no copy could supply valid data.
        self.requests.slot_mut(place).local = RequestPartState::Done;
        self.settle(place);
    }

    pub(super) fn copy_damaged(&mut self, place: u32, wrong: &[u64]) {
        let slot = self.requests.slot(place);
        if slot.replied || slot.origin == RequestInitiator::Verify {
            return self.end_slot(place);
        }
        if self.broken.is(ReplicaDefect::CopiesZeros) {
            let slot = self.requests.slot_mut(place);
            (slot.local, slot.remote) = (RequestPartState::Done, RequestPartState::Waiting);
            let (blocks, body, fua) = (slot.blocks, WriteContent::Zero, false);
            return self.command(place, FollowerCommand::Write { blocks, body, fua });
        }
        self.other.skips.extend(wrong);
        if self.other.skips.len() > KNOWN_MAX {
            self.drop_other(Notice::LocalFailed);
            return self.end_slot(place);
        }
        for block in wrong {
            self.repair(*block);
        }
        self.end_slot(place);
    }

    fn repair(&mut self, block: u64) {
        if !self.damage.repairs.insert(block) {
            return;
        }
        let blocks = Blocks {
            first: block,
            count: 1,
        };
        let slot = self
            .requests
            .open(RequestInitiator::Repair, RequestOperation::Repair, blocks);
        self.begin_slot(slot);
    }

    pub(super) fn repair_went_on(&mut self, place: u32, result: DiskResult<P>) {
        let now = self.now;
        let slot = self.requests.slot_mut(place);
        let (blocks, is_written) = (slot.blocks, slot.remote == RequestPartState::Done);
        match result {
            DiskResult::Done | DiskResult::Data(_) => {
                // Ends the repair: the block was rewritten in between, or is no longer damaged.
                (slot.local, slot.remote) = (RequestPartState::Done, RequestPartState::Done);
                self.forget_damage(blocks);
                self.end_slot(place);
            }
            _ if slot.replied => self.end_slot(place),
            DiskResult::Damaged(_) if is_written => {
                self.not_repaired(place, RepairFailure::Differs)
            }
            DiskResult::Damaged(_) if self.other.receives() => {
                (slot.local, slot.remote) = (RequestPartState::Done, RequestPartState::Waiting);
                slot.sent_at = now;
                self.command(place, FollowerCommand::Read { blocks });
            }
            DiskResult::Damaged(_) => self.not_repaired(place, RepairFailure::Away),
            DiskResult::Failed => {
                slot.local = RequestPartState::Failed;
                if is_written {
                    self.local_failed();
                }
                if self.requests.is_running(place) {
                    self.end_slot(place);
                }
            }
        }
    }

    pub(super) fn content(&mut self, place: u32, data: P) {
        if !self.is_fetched(place) {
            return;
        }
        let now = self.now;
        let slot = self.requests.slot_mut(place);
        (slot.local, slot.remote) = (RequestPartState::Waiting, RequestPartState::Done);
        slot.sent_at = now;
        let blocks = slot.blocks;
        self.start(
            OperationPurpose::Local(place),
            Operation::Repair { blocks, data },
        );
    }

    fn is_fetched(&self, place: u32) -> bool {
        self.requests.is_running(place) && {
            let slot = self.requests.slot(place);
            slot.remote == RequestPartState::Waiting
                && matches!(slot.work, RequestOperation::Repair)
        }
    }

    pub(super) fn remote_unreadable(&mut self, place: u32) {
        if self.is_fetched(place) {
            self.not_repaired(place, RepairFailure::Unreadable)
        } else {
            self.remote_verified(place, BlockFault::UnreadableThere)
        }
    }

    pub(super) fn remote_damaged(&mut self, place: u32) {
        if self.is_fetched(place) {
            self.not_repaired(place, RepairFailure::Damaged)
        } else {
            self.remote_verified(place, BlockFault::DamagedThere)
        }
    }

    fn remote_verified(&mut self, place: u32, fault: BlockFault) {
        if self.requests.is_running(place) {
            let slot = self.requests.slot(place);
            if slot.remote == RequestPartState::Waiting
                && matches!(slot.work, RequestOperation::Verify { .. })
            {
                self.verify_compared(place, Some(fault));
            }
        }
    }

    pub(super) fn not_repaired(&mut self, place: u32, why: RepairFailure) {
        let slot = self.requests.slot_mut(place);
        slot.local = RequestPartState::Failed;
        let block = slot.blocks.first;
        self.cannot_repair(block, why);
        self.end_slot(place);
    }

    pub(super) fn repair_ended(&mut self, blocks: Blocks) {
        self.damage.repairs.remove(&blocks.first);
    }

    pub(super) fn abandon_repairs(&mut self) {
        self.damage.repairs.clear();
    }

    fn cannot_repair(&mut self, block: u64, why: RepairFailure) {
        let known = &mut self.damage.known;
        let before = known.get(&block).copied();
        if before.is_none() && known.len() >= KNOWN_MAX {
            known.pop_first();
        }
        known.insert(block, why);
        if before != Some(why) {
            self.say(Notice::NotRepaired { block, why });
        }
    }

    pub(super) fn forget_damage(&mut self, blocks: Blocks) {
        if !self.damage.known.is_empty() || !self.other.skips.is_empty() {
            for block in blocks.iter() {
                self.damage.known.remove(&block);
                self.other.skips.remove(&block);
            }
        }
    }
}

impl fmt::Display for RepairFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RepairFailure::Away => "the other copy is not connected",
            RepairFailure::Damaged => "they are damaged in the other copy, too",
            RepairFailure::Unreadable => "the other node cannot read its copy of them",
            RepairFailure::Differs => "the other copy has something else, which may be older",
        })
    }
}
