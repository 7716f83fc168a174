//! Runs a verify: the owner compares both copies while the volume is served, and counts
//! differences. A range is read locally, and its checksum is compared on the other node, under the
//! interval lock. A write is therefore never seen on one copy only. Differing ranges are compared
//! again block by block, and copied to the other node if requested: nobody knows which copy is
//! right, and clients read the owner's. Blocks that do not match their checksums on disk are known
//! to be wrong, and get the content of the other copy.
//!
//! A verify ends at the end of the volume, or when the other copy is no longer in sync, this node
//! is no longer the owner, or an operator stops it.

use super::defect::ReplicaDefect;
use super::exchange::{DiskResult, Notice, Time};
use super::geometry::Blocks;
use super::message::FollowerCommand;
use super::other::PeerPhase;
use super::requests::{RequestInitiator, RequestOperation, RequestPartState};
use super::tenure::LeaseRole;
use super::{Payload, Replica};
use std::collections::VecDeque;
use std::fmt;

/// Maximum number of listed ranges; all are counted.
pub const FOUND_MAX: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlockFault {
    Differs,
    UnreadableHere,
    UnreadableThere,
    /// The blocks do not match their checksums on the owner's disk, or on the disk of the only
    /// copy.
    Damaged,
    DamagedThere,
}

/// Reason why a verify ended early.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VerifyInterruption {
    NotOwner,
    NotInSync,
    LocalFailed,
    Stopped,
}

/// Progress or result of a verify.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Verify {
    /// Number of this verify within the process, counted from the start of the process.
    pub number: u64,
    pub repairs: bool,
    pub done: u64,
    pub total: u64,
    pub differing: u64,
    /// Number of unreadable blocks at the owner, and on the other node.
    pub unreadable: [u64; 2],
    /// True for a check of the only copy against its checksums.
    pub is_check: bool,
    /// Number of blocks that do not match their checksums on the owner's disk, or in the only copy.
    pub damaged: u64,
    pub damaged_there: u64,
    pub repaired: u64,
    /// Faulty ranges in order; at most [`FOUND_MAX`].
    pub found: Vec<(BlockFault, Blocks)>,
    pub more: u64,
    /// Result; None while the verify runs.
    pub ended: Option<Result<(), VerifyInterruption>>,
}

impl Verify {
    pub fn faults(&self) -> u64 {
        self.differing + self.damaged + self.damaged_there + self.unreadable[0] + self.unreadable[1]
    }

    pub(crate) fn find(&mut self, fault: BlockFault, blocks: Blocks) {
        let count = u64::from(blocks.count);
        match fault {
            BlockFault::Differs => self.differing += count,
            BlockFault::UnreadableHere => self.unreadable[0] += count,
            BlockFault::UnreadableThere => self.unreadable[1] += count,
            BlockFault::Damaged => self.damaged += count,
            BlockFault::DamagedThere => self.damaged_there += count,
        }
        if let Some((_, before)) = self
            .found
            .iter_mut()
            .find(|(of, before)| *of == fault && before.end() == blocks.first)
        {
            before.count += blocks.count;
        } else if self.found.len() < FOUND_MAX {
            self.found.push((fault, blocks));
            self.found.sort_by_key(|(_, blocks)| blocks.first);
        } else {
            self.more += 1;
        }
    }
}

/// Last verify, and the state of the running one.
#[derive(Clone, Debug, Default)]
pub struct VerifyState {
    pub(super) last: Option<Verify>,
    cursor: u64,
    narrow: VecDeque<Blocks>,
    repairs: VecDeque<(Blocks, BlockFault)>,
    under_way: u32,
    pub(super) next_at: Time,
}

impl VerifyState {
    fn present(&mut self) -> Option<&mut Verify> {
        self.last.as_mut().filter(|verify| verify.ended.is_none())
    }

    pub(super) fn is_running(&self) -> bool {
        self.last.as_ref().is_some_and(|one| one.ended.is_none())
    }
}

impl<P: Payload> Replica<P> {
    /// Starts a verify on an operator's order. A running one continues.
    pub(super) fn verify(&mut self, repairs: bool) {
        if self.verifying.is_running() {
            return;
        }
        let number = self.verifying.last.take().map_or(0, |last| last.number);
        self.verifying = VerifyState {
            last: Some(Verify {
                number: number + 1,
                repairs,
                total: self.settings.geometry.blocks,
                ..Verify::default()
            }),
            ..VerifyState::default()
        };
        self.interrupt_verify();
    }

    pub(super) fn stop_verify(&mut self) {
        self.end_verify(Err(VerifyInterruption::Stopped));
    }

    pub(super) fn interrupt_verify(&mut self) {
        let why = match (self.tenure.role, self.other.phase) {
            (LeaseRole::Serving, PeerPhase::Mirrored) => return,
            (LeaseRole::Yielding, _) => VerifyInterruption::LocalFailed,
            (LeaseRole::Serving, _) => VerifyInterruption::NotInSync,
            _ => VerifyInterruption::NotOwner,
        };
        self.end_verify(Err(why));
    }

    fn end_verify(&mut self, how: Result<(), VerifyInterruption>) {
        let Some(mut verify) = self.verifying.last.take_if(|one| one.ended.is_none()) else {
            return;
        };
        verify.ended = Some(how);
        self.requests.cancel(RequestInitiator::Verify);
        self.verifying = VerifyState {
            last: Some(verify.clone()),
            ..VerifyState::default()
        };
        self.say(Notice::Verified(Box::new(verify)));
    }

    pub(super) fn advance_verify(&mut self) {
        self.interrupt_verify();
        if self.tenure.hand_over.is_some() || !self.is_valid() {
            return;
        }
        while self.verifying.is_running() {
            let window = if self.requests.clients > 0 {
                1
            } else {
                self.settings.bounds.resync_window
            };
            if self.verifying.under_way >= window || self.now < self.verifying.next_at {
                return;
            }
            let Some((blocks, work)) = self.next_of_verify() else {
                if self.verifying.under_way == 0 {
                    self.end_verify(Ok(()));
                }
                return;
            };
            let rate = self.settings.bounds.resync_block_ns * u64::from(blocks.count);
            self.verifying.next_at = self.verifying.next_at.max(self.now).after(rate);
            self.verifying.under_way += 1;
            let slot = self.requests.open(RequestInitiator::Verify, work, blocks);
            self.begin_slot(slot);
        }
    }

    fn next_of_verify(&mut self) -> Option<(Blocks, RequestOperation<P>)> {
        let verifying = &mut self.verifying;
        if let Some((blocks, fault)) = verifying.repairs.pop_front() {
            let work = match fault {
                BlockFault::Damaged => RequestOperation::Repair,
                _ => RequestOperation::Copy { compare: false },
            };
            return Some((blocks, work));
        }
        if let Some(blocks) = verifying.narrow.pop_front() {
            return Some((blocks, RequestOperation::Verify { narrow: true }));
        }
        // Reads the size again, because the volume may have grown.
        let total = self.settings.geometry.blocks;
        let first = verifying.cursor;
        let most = u64::from(self.settings.bounds.resync_blocks);
        let count = total.saturating_sub(first).min(most) as u32;
        verifying.cursor = first + u64::from(count);
        verifying.present()?.total = total;
        (count > 0).then_some((
            Blocks { first, count },
            RequestOperation::Verify { narrow: false },
        ))
    }

    pub(super) fn verify_read(&mut self, place: u32, result: DiskResult<P>) {
        let now = self.now;
        let slot = self.requests.slot_mut(place);
        if slot.replied {
            return self.end_slot(place);
        }
        let data = match result {
            DiskResult::Data(data) => data,
            DiskResult::Damaged(_) => {
                return self.verify_compared(place, Some(BlockFault::Damaged));
            }
            DiskResult::Done | DiskResult::Failed => {
                return self.verify_compared(place, Some(BlockFault::UnreadableHere));
            }
        };
        slot.local = RequestPartState::Done;
        slot.remote = RequestPartState::Waiting;
        slot.sent_at = now;
        let (blocks, checksum) = (slot.blocks, data.checksum());
        self.command(place, FollowerCommand::Verify { blocks, checksum });
    }

    pub(super) fn verify_compared(&mut self, place: u32, fault: Option<BlockFault>) {
        let slot = self.requests.slot(place);
        let (blocks, cancelled) = (slot.blocks, slot.replied);
        let is_wide = matches!(slot.work, RequestOperation::Verify { narrow: false });
        let verifying = &mut self.verifying;
        if let Some(verify) = verifying.last.as_mut().filter(|_| !cancelled) {
            if is_wide {
                verify.done += u64::from(blocks.count);
            }
            match fault {
                None => {}
                Some(_) if blocks.count > 1 => {
                    let one = |first| Blocks { first, count: 1 };
                    verifying.narrow.extend(blocks.iter().map(one));
                }
                Some(fault) => {
                    verify.find(fault, blocks);
                    let forgets = self.broken.is(ReplicaDefect::VerifyForgetsDamage);
                    let is_left = fault == BlockFault::UnreadableHere
                        || fault == BlockFault::Damaged && forgets;
                    if verify.repairs && !is_left {
                        verifying.repairs.push_back((blocks, fault));
                    }
                }
            }
        }
        self.end_slot(place);
    }

    /// Handles the end of a request of the running verify. `repaired`: the blocks were written to a
    /// copy.
    pub(super) fn verify_slot_ended(&mut self, blocks: Blocks, repaired: bool) {
        self.verifying.under_way = self.verifying.under_way.saturating_sub(1);
        if let Some(verify) = self.verifying.present().filter(|_| repaired) {
            verify.repaired += u64::from(blocks.count);
        }
    }

    pub(super) fn verify_deadline(&self) -> Option<Time> {
        let waits = self.verifying.is_running() && self.now < self.verifying.next_at;
        waits.then_some(self.verifying.next_at)
    }
}

impl fmt::Display for VerifyInterruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            VerifyInterruption::NotOwner => "this node is no longer the owner",
            VerifyInterruption::NotInSync => "the other copy is lost or not in sync",
            VerifyInterruption::LocalFailed => "the local disk failed or stalls",
            VerifyInterruption::Stopped => "it was stopped",
        })
    }
}

impl fmt::Display for Verify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = |blocks: u64| format!("{} KiB", blocks * 4);
        let (did, nothing) = if self.is_check {
            ("checked", "; no damage found")
        } else {
            ("compared", "; no differences found")
        };
        match self.ended {
            None => write!(f, "{} of {} {did}", kib(self.done), kib(self.total))?,
            Some(Ok(())) => write!(f, "{} {did}", kib(self.total))?,
            Some(Err(why)) => {
                let (done, total) = (kib(self.done), kib(self.total));
                write!(f, "ended after {done} of {total}: {why}")?;
            }
        }
        if self.faults() == 0 {
            return f.write_str(nothing);
        }
        let damaged = if self.is_check {
            "do not match their checksums"
        } else {
            "do not match their checksums here"
        };
        let counts = [
            (self.differing, "differ"),
            (self.damaged, damaged),
            (
                self.damaged_there,
                "do not match their checksums at the other node",
            ),
            (self.unreadable[0], "cannot be read here"),
            (self.unreadable[1], "cannot be read at the other node"),
        ];
        for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "; {} {what}", kib(count))?;
        }
        match self.repairs {
            false if self.is_check => Ok(()),
            true => write!(f, "; {} repaired", kib(self.repaired)),
            false => f.write_str("; nothing was repaired"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::cost::{Handle, mirrored};
    use super::super::{
        Input, Operation, OtherState, Replica, ReplicaAction, ReplicaMessage, ReplicaOrder,
        Session, WriteContent,
    };
    use super::*;

    /// Faults of the simulated disk, by block.
    type Faults = fn(u64) -> Option<BlockFault>;

    /// Runs the owner's actions until its verify ends, or until it requests the block `until`.
    /// Returns the blocks that the other copy received.
    fn run(replica: &mut Replica<Handle>, repairs: bool, faults: Faults, until: u64) -> Vec<u64> {
        let order = Input::Order(ReplicaOrder::Verify { repairs });
        let (mut written, mut inputs) = (Vec::new(), VecDeque::from([order]));
        let mut now = Time(10);
        loop {
            let input = match inputs.pop_front() {
                Some(input) => input,
                None if !replica.is_verifying() => break,
                None => {
                    now = now.max(replica.deadline().unwrap());
                    Input::Tick
                }
            };
            let mut actions = Vec::new();
            replica.handle(now, input, &mut actions);
            for action in actions {
                match action {
                    ReplicaAction::Disk(id, Operation::Read(blocks)) => {
                        let fails = |block| faults(block) == Some(BlockFault::UnreadableHere);
                        inputs.push_back(Input::Disk(
                            id,
                            if blocks.iter().any(fails) {
                                DiskResult::Failed
                            } else {
                                DiskResult::Data(Handle)
                            },
                        ));
                    }
                    ReplicaAction::Disk(id, _) => {
                        inputs.push_back(Input::Disk(id, DiskResult::Done))
                    }
                    ReplicaAction::Store(number, _) => inputs.push_back(Input::Stored(number)),
                    ReplicaAction::Send(session, ReplicaMessage::Command { tag, command, .. }) => {
                        let message = match command {
                            FollowerCommand::Verify { blocks, .. } if blocks.end() > until => {
                                return written;
                            }
                            FollowerCommand::Verify { blocks, .. } => {
                                match blocks.iter().find_map(faults) {
                                    None => ReplicaMessage::Done { tag },
                                    Some(BlockFault::Differs) => ReplicaMessage::Differs { tag },
                                    Some(_) => ReplicaMessage::Unreadable { tag },
                                }
                            }
                            FollowerCommand::Write { blocks, body, .. } => {
                                assert!(matches!(body, WriteContent::Data(Handle)));
                                written.extend(blocks.iter());
                                ReplicaMessage::Done { tag }
                            }
                            _ => ReplicaMessage::Done { tag },
                        };
                        inputs.push_back(Input::Message(session, message));
                    }
                    _ => {}
                }
            }
        }
        written
    }

    fn last(replica: &Replica<Handle>) -> Verify {
        replica.report(Time(9)).verify.unwrap()
    }

    fn some(block: u64) -> Option<BlockFault> {
        match block {
            5 | 100 | 101 => Some(BlockFault::Differs),
            2000 => Some(BlockFault::UnreadableThere),
            3000 => Some(BlockFault::UnreadableHere),
            _ => None,
        }
    }

    #[test]
    fn differences_are_found_by_block_and_copied_on_request() {
        for repairs in [false, true] {
            let mut replica = mirrored();
            let mut written = run(&mut replica, repairs, some, u64::MAX);
            written.sort_unstable();
            let verify = last(&replica);
            assert_eq!(verify.ended, Some(Ok(())), "{verify}");
            assert_eq!((verify.done, verify.total), (1 << 20, 1 << 20));
            assert_eq!((verify.differing, verify.unreadable), (3, [1, 1]));
            let one = |first, count| Blocks { first, count };
            assert_eq!(
                verify.found,
                [
                    (BlockFault::Differs, one(5, 1)),
                    (BlockFault::Differs, one(100, 2)),
                    (BlockFault::UnreadableThere, one(2000, 1)),
                    (BlockFault::UnreadableHere, one(3000, 1)),
                ]
            );
            let expected: &[u64] = if repairs { &[5, 100, 101, 2000] } else { &[] };
            assert_eq!(written, expected);
            assert_eq!(verify.repaired, written.len() as u64);
            // An unreadable sector is no reason to exclude a copy.
            assert_eq!(replica.report(Time(9)).other, OtherState::InSync);
            assert!(!replica.report(Time(9)).faulty);
        }
    }

    #[test]
    fn many_differences_are_counted_and_some_are_listed() {
        let mut replica = mirrored();
        let every = |block: u64| block.is_multiple_of(1 << 10).then_some(BlockFault::Differs);
        run(&mut replica, false, every, u64::MAX);
        let verify = last(&replica);
        assert_eq!(verify.ended, Some(Ok(())), "{verify}");
        assert_eq!((verify.differing, verify.found.len()), (1024, FOUND_MAX));
        assert_eq!(verify.more, 1024 - FOUND_MAX as u64);
    }

    #[test]
    fn a_verify_ends_with_the_link_or_an_order_and_can_begin_again() {
        let mut replica = mirrored();
        run(&mut replica, true, some, 4096);
        let stop = Input::Order(ReplicaOrder::StopVerify);
        replica.handle(Time(9), stop, &mut Vec::new());
        assert_eq!(last(&replica).ended, Some(Err(VerifyInterruption::Stopped)));
        run(&mut replica, false, some, 4096);
        assert_eq!(last(&replica).number, 2);
        replica.handle(Time(9), Input::Lost(Session(1)), &mut Vec::new());
        let verify = last(&replica);
        assert_eq!(verify.ended, Some(Err(VerifyInterruption::NotInSync)));
        assert_eq!(verify.differing, 3);
        // Without the other copy there is nothing to compare with.
        run(&mut replica, false, some, 4096);
        let verify = last(&replica);
        assert_eq!((verify.number, verify.done), (3, 0));
        assert_eq!(verify.ended, Some(Err(VerifyInterruption::NotInSync)));
    }
}
